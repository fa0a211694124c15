//! One step of a life; numbers choose among what is there.

use proptest::prelude::*;

/// What an app does to its database.
#[derive(Clone, Debug)]
pub enum Edit {
    Insert {
        rows: u8,
        size: u16,
        seed: u8,
    },
    Update {
        from: u8,
        rows: u8,
        seed: u8,
    },
    Delete {
        part: u8,
    },
    Blob {
        size: u32,
        seed: u8,
    },
    Vacuum,
    /// A power of two.
    PageSize {
        power: u8,
    },
    Journal {
        mode: &'static str,
    },
    AutoVacuum {
        mode: u8,
    },
    IncrementalVacuum {
        pages: u8,
    },
    Index,
}

/// How the app stops after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Closed,
    /// With a log that is not merged.
    FramesLeft,
    /// It does not.
    Open,
}

/// What is done to the files of a database whose app is closed.
#[derive(Clone, Debug)]
pub enum Files {
    Create {
        name: u8,
        power: u8,
    },
    Rename {
        name: u8,
    },
    /// The copy `.1` becomes `.2`, and the database is copied as `.1`.
    Rotate,
    /// An older version of any database takes its place.
    Older {
        version: u8,
    },
    Truncate {
        keep: u8,
    },
    Remove,
    /// The other machine gets a copy.
    Bring,
    /// Its app is killed in the middle of a transaction.
    CutOff {
        seed: u8,
    },
}

#[derive(Clone, Debug)]
pub enum Step {
    Edit { machine: usize, db: u8, edit: Edit, ending: Ending },
    Files { machine: usize, db: u8, files: Files },
    Snapshot { machine: usize, settled: bool },
    Restore { which: u8 },
    DeleteCatalog { machine: usize },
    Reopen { machine: usize },
}

fn edit() -> impl Strategy<Value = Edit> {
    let mode = prop_oneof![
        4 => Just("WAL"), 1 => Just("DELETE"), 1 => Just("TRUNCATE"), 1 => Just("PERSIST")
    ];
    prop_oneof![
        8 => (1..60u8, 20..400u16, any::<u8>()).prop_map(|(rows, size, seed)| Edit::Insert { rows, size, seed }),
        8 => (any::<u8>(), 1..20u8, any::<u8>()).prop_map(|(from, rows, seed)| Edit::Update { from, rows, seed }),
        3 => any::<u8>().prop_map(|part| Edit::Delete { part }),
        3 => (1000..120_000u32, any::<u8>()).prop_map(|(size, seed)| Edit::Blob { size, seed }),
        2 => Just(Edit::Vacuum),
        2 => (9..17u8).prop_map(|power| Edit::PageSize { power }),
        5 => mode.prop_map(|mode| Edit::Journal { mode }),
        1 => (0..3u8).prop_map(|mode| Edit::AutoVacuum { mode }),
        1 => (1..9u8).prop_map(|pages| Edit::IncrementalVacuum { pages }),
        2 => Just(Edit::Index),
    ]
}

fn files() -> impl Strategy<Value = Files> {
    prop_oneof![
        4 => (0..5u8, 9..14u8).prop_map(|(name, power)| Files::Create { name, power }),
        3 => (0..5u8).prop_map(|name| Files::Rename { name }),
        2 => Just(Files::Rotate),
        2 => any::<u8>().prop_map(|version| Files::Older { version }),
        1 => any::<u8>().prop_map(|keep| Files::Truncate { keep }),
        1 => Just(Files::Remove),
        2 => Just(Files::Bring),
        2 => any::<u8>().prop_map(|seed| Files::CutOff { seed }),
    ]
}

/// Any step. The second machine does less.
pub fn step() -> impl Strategy<Value = Step> {
    let machine = || prop_oneof![3 => Just(0usize), 1 => Just(1usize)];
    let ending =
        prop_oneof![3 => Just(Ending::Closed), 2 => Just(Ending::FramesLeft), 1 => Just(Ending::Open)];
    prop_oneof![
        15 => (machine(), any::<u8>(), edit(), ending)
            .prop_map(|(machine, db, edit, ending)| Step::Edit { machine, db, edit, ending }),
        5 => (machine(), any::<u8>(), files()).prop_map(|(machine, db, files)| Step::Files { machine, db, files }),
        4 => (machine(), prop::bool::weighted(0.4))
            .prop_map(|(machine, settled)| Step::Snapshot { machine, settled }),
        1 => any::<u8>().prop_map(|which| Step::Restore { which }),
        1 => machine().prop_map(|machine| Step::DeleteCatalog { machine }),
        1 => machine().prop_map(|machine| Step::Reopen { machine }),
    ]
}
