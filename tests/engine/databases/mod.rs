//! Random lives of databases, on two machines with one repository: every version that was captured comes back from
//! repository and key alone. What a version must be is said by SQLite: it opens copies of the files as they lay, merges
//! what is pending, and leaves the bytes that count.
//!
//! The apps of these lives write, grow, vacuum, change the size of pages and the kind of journal, stop in the middle of
//! a transaction, and stay open; people rename, copy back older states, keep numbered copies, and move to a new phone.
//!
//! `CHATVAULT_EDITS` is the number of edits of all lives together, `CHATVAULT_SEED` the seed of the first one; a failure
//! prints its own.

mod chains;
mod named;
mod sql;
mod step;
mod world;

use crate::lives::{from_environment, live_once};
use chatvault_engine::base::BlobId;
use chatvault_engine::base::event::Silent;
use chatvault_engine::model::{BlobKind, Content, ListItem};
use chatvault_engine::repo::{Repo, Session, Snapshot};
use chatvault_engine::store::MemoryStore;
use chatvault_tests::Lab;
use rusqlite::Connection;
use std::cell::Cell;
use std::fs;
use std::sync::Arc;
use step::{Step, step};
use world::World;

/// Deltas rest on deltas so many times at most.
const MOST_DEPTH: u8 = 16;

/// What all lives together went through: proof that the lives were lives.
#[derive(Debug, Default)]
struct Seen {
    edits: Cell<u64>,
    snapshots: Cell<u64>,
    versions: Cell<u64>,
    restores: Cell<u64>,
    /// Databases that were stored with frames of their log merged, and with an unfinished change taken back.
    merged: Cell<u64>,
    rolled_back: Cell<u64>,
    vacuums: Cell<u64>,
    page_sizes: Cell<u64>,
    cut_off: Cell<u64>,
    older_states: Cell<u64>,
    /// New names of databases whose line was recognised, with and without one that kept the old name.
    renamed: Cell<u64>,
    copied: Cell<u64>,
    /// Databases that both machines have, in one line.
    on_both: Cell<u64>,
    deleted_catalogs: Cell<u64>,
    deltas: Cell<u64>,
    full_copies: Cell<u64>,
    deepest: Cell<u64>,
}

fn live(steps: &[Step], seen: &Seen) {
    let mut world = World::new(seen);
    for step in steps {
        world.take(step);
    }
    world.end();
}

#[test]
fn every_version_of_every_database_comes_back() {
    let (edits, mut seed) =
        (from_environment("CHATVAULT_EDITS", 1000), from_environment("CHATVAULT_SEED", 1));
    let seen = Seen::default();
    let mut lives = 0;
    while seen.edits.get() < edits {
        let steps = proptest::collection::vec(step(), 30..150);
        live_once(seed, 200, "CHATVAULT_EDITS=1", &steps, |steps| live(&steps, &seen));
        (seed, lives) = (seed + 1, lives + 1);
    }
    println!("{lives} lives: {seen:?}");
    assert!(
        seen.versions.get() > seen.snapshots.get() && seen.restores.get() > seen.snapshots.get(),
        "{seen:?}"
    );
    assert!(seen.deltas.get() > seen.snapshots.get(), "{seen:?}");
    assert!((3..=u64::from(MOST_DEPTH)).contains(&seen.deepest.get()), "{seen:?}");
    // A single life may lack any of it.
    let least = if edits < 500 { 0 } else { edits / 500 };
    for counter in [
        &seen.merged,
        &seen.rolled_back,
        &seen.vacuums,
        &seen.page_sizes,
        &seen.cut_off,
        &seen.older_states,
        &seen.renamed,
        &seen.copied,
        &seen.on_both,
        &seen.deleted_catalogs,
        &seen.full_copies,
    ] {
        assert!(counter.get() >= least, "{seen:?}");
    }
}

/// A small database that is changed a little every day, on some days by a machine without a catalog.
#[test]
fn three_hundred_days_are_a_chain_that_is_never_too_deep_and_begins_anew_once() {
    const DAYS: usize = 300;
    let (lab, store) = (Lab::light(), Arc::new(MemoryStore::new()));
    let path = lab.source().join("chat.db");
    let mut repo = lab.create_in(store.clone());
    let db = Connection::open(&path).unwrap();
    sql::create(&db, 4096);
    sql::insert(&db, 1500, 150, 0);
    db.close().unwrap();
    let mut taken = Vec::new();
    for day in 0..DAYS {
        let db = Connection::open(&path).unwrap();
        sql::update(&db, 40, 3, u8::try_from(day % 251).unwrap());
        db.close().unwrap();
        lab.follow_file_system();
        if day % 40 == 39 {
            drop(repo);
            lab.delete_cache();
            repo = lab.open_in(store.clone());
        }
        let image = fs::read(&path).unwrap();
        taken.push((lab.snapshot(&repo).id, blake3::hash(&image)));
    }
    drop(repo);
    let session = Session { cache_dir: None, ..lab.session() };
    let alone = Repo::open(store.clone(), &lab.credential(), session, &Silent).unwrap();
    let chains = chains::read(store.as_ref(), &lab.credential());
    assert_eq!(chains.deepest, MOST_DEPTH);
    let snapshots = alone.snapshots(&Silent).unwrap();
    for (day, (id, hash)) in taken.iter().enumerate() {
        let snapshot = snapshots.iter().find(|snapshot| snapshot.id == *id).unwrap();
        // The first run, which has SQLite's counter of changes, is another one on each day.
        let [copy] = chains.copies[&(BlobKind::Data, first_run(&alone, snapshot))].as_slice() else {
            panic!()
        };
        assert_eq!(usize::from(copy.generation), day % 256, "day {day}");
        let restored = lab.restore_what_is_left(&alone, snapshot, &lab.source());
        let bytes = fs::read(restored.folder.join("chat.db")).unwrap();
        assert_eq!(blake3::hash(&bytes), *hash, "day {day}");
    }
}

/// The first run of the only database.
fn first_run(repo: &Repo, snapshot: &Snapshot) -> BlobId {
    let (records, _) = repo.read_lineage(&snapshot.manifest.lineage.unwrap()).unwrap();
    let list = match records[0].content {
        Content::List(list) => list,
        Content::Chunk(only) => return only,
        Content::None => panic!("{records:?}"),
    };
    let mut first = None;
    let mut look = |item| {
        if let ListItem::Chunk { id, .. } = item {
            first.get_or_insert(id);
        }
        Ok(())
    };
    repo.each_list_item(&list, &mut look).unwrap();
    first.unwrap()
}
