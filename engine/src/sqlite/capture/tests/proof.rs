//! What the proof of a reading in WAL mode rests on, part by part: with each part left out, an image is accepted that is
//! no state of the database. The app's real life is in `tests/capture/`; here its index is written by hand.
#![expect(clippy::host_endian_bytes, reason = "the index is memory that the programs of one machine share")]

use super::super::locks::{self, ALIVE, PENDING, RECOVERY, SHARED};
use super::*;
use nix::libc::{self, F_RDLCK, F_UNLCK, F_WRLCK};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

/// Where the index has how far checkpoints tried to come.
const ATTEMPTED: u64 = 128;

/// A database with a log whose app is played by hand: its files as a live app leaves them, and the lock of somebody alive.
struct Played {
    crash: Crash,
    shm: File,
    main: File,
}

impl Played {
    fn new() -> Self {
        let crash = Crash::new("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;");
        crash
            .run(FILL)
            .run("PRAGMA wal_checkpoint(PASSIVE); UPDATE message SET text = 'q' WHERE id < 90")
            .leave();
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path).unwrap();
        let (main, shm) = (open(&crash.left), open(&sidecar_of(&crash.left, Sidecar::Shm)));
        let played = Self { crash, shm, main };
        played.locks(&played.shm, F_RDLCK, ALIVE);
        played
    }

    fn locks(&self, file: &File, kind: libc::c_int, bytes: Bytes) {
        locks::set(file.as_fd(), kind, bytes).unwrap();
    }

    /// Captures with something that happens at the first reading; how many readings it took, and the image.
    fn taken(&self, checks: Checks, event: &dyn Fn()) -> Option<(u32, Vec<u8>)> {
        let patience = Patience { checks, ..Patience::new(&|_| {}, &later) };
        let file = File::open(&self.crash.left).unwrap();
        let mut reads = 0;
        let captured =
            capture(file.as_fd(), &Folder(&self.crash.left), Kind::Plain, &patience, &mut |image| {
                reads += 1;
                if reads == 1 {
                    event();
                }
                let mut bytes = Vec::new();
                image.reader().read_to_end(&mut bytes).map(|_| bytes)
            });
        match captured {
            Ok(captured) => Some((captured.reads, captured.value)),
            Err(Failed::Impossible(Impossible::NeverStill)) => None,
            Err(e) => panic!("{e:?}"),
        }
    }

    /// Where a page starts that has no frame in the log.
    fn not_logged(&self) -> u64 {
        let log = std::fs::read(sidecar_of(&self.crash.left, Sidecar::Wal)).unwrap();
        let logged: Vec<u32> = log[32..]
            .chunks(4096 + 24)
            .map(|frame| u32::from_be_bytes(*frame.first_chunk().unwrap()))
            .collect();
        let page = (2..).find(|page| !logged.contains(page)).unwrap();
        assert!(u64::from(page) * 4096 < self.main.metadata().unwrap().len());
        u64::from(page - 1) * 4096
    }

    fn number(&self, at: u64) -> u32 {
        let mut raw = [0; 4];
        self.shm.read_exact_at(&mut raw, at).unwrap();
        u32::from_ne_bytes(raw)
    }
}

#[test]
fn an_undisturbed_reading_is_proved_by_the_index_and_waits_for_nothing() {
    let played = Played::new();
    let expected = by_sqlite(&played.crash.left).unwrap();
    // A main file, and a log, that changed a moment ago: their times prove nothing, and need not.
    let now = std::fs::metadata(&played.crash.left).unwrap();
    let clock = || Timestamp::new(now.ctime(), u32::try_from(now.ctime_nsec()).unwrap());
    let pause = |_| panic!("nothing is to be waited for");
    let file = File::open(&played.crash.left).unwrap();
    let captured = capture(
        file.as_fd(),
        &Folder(&played.crash.left),
        Kind::Plain,
        &Patience::new(&pause, &clock),
        &mut |image| {
            let mut bytes = Vec::new();
            image.reader().read_to_end(&mut bytes).map(|_| bytes)
        },
    )
    .unwrap();
    assert!(captured.value == expected && captured.reads == 1);
}

#[test]
fn a_checkpoint_beyond_the_commit_is_noticed_by_what_it_attempted() {
    let event = |played: &Played| {
        let beyond = played.number(16) + 1;
        played.shm.write_all_at(&beyond.to_ne_bytes(), ATTEMPTED).unwrap();
        // It came to its end, and so the main file may look as it likes.
        played.shm.write_all_at(&beyond.to_ne_bytes(), 96).unwrap();
        played.main.write_all_at(b"torn", played.not_logged()).unwrap();
    };
    let played = Played::new();
    let before = played.taken(Checks::ALL, &|| {}).unwrap().1;
    let (reads, bad) =
        played.taken(Checks { checkpoints: false, ..Checks::ALL }, &|| event(&played)).unwrap();
    let at = usize::try_from(played.not_logged()).unwrap();
    assert!(reads == 1 && bad != before && bad[at..].starts_with(b"torn"), "accepted without this part");
    let played = Played::new();
    assert_eq!(played.taken(Checks::ALL, &|| event(&played)), None, "and never with it");
}

#[test]
fn a_checkpoint_up_to_the_commit_disturbs_nothing() {
    let played = Played::new();
    let expected = by_sqlite(&played.crash.left).unwrap();
    let (reads, image) = played
        .taken(Checks::ALL, &|| {
            let all = played.number(16);
            played.shm.write_all_at(&all.to_ne_bytes(), ATTEMPTED).unwrap();
            // As far as it came: what it wrote is in the log as well.
            played.main.write_all_at(&expected[..4096], 0).unwrap();
            played.shm.write_all_at(&all.to_ne_bytes(), 96).unwrap();
        })
        .unwrap();
    assert!(reads == 1 && image == expected);
}

#[test]
fn what_says_that_the_index_is_not_that_of_the_log_is_noticed() {
    let rebuilt = |played: &Played| {
        played.locks(&played.shm, F_WRLCK, RECOVERY);
    };
    let exclusive = |played: &Played| {
        for bytes in [PENDING, SHARED] {
            played.locks(&played.main, F_WRLCK, bytes);
        }
    };
    let dead = |played: &Played| played.locks(&played.shm, F_UNLCK, ALIVE);
    let header = |played: &Played| played.shm.write_all_at(&[9], 33).unwrap();
    let log = |played: &Played| {
        let path = sidecar_of(&played.crash.left, Sidecar::Wal);
        let aside = path.with_extension("aside");
        std::fs::copy(&path, &aside).unwrap();
        std::fs::rename(&aside, &path).unwrap();
    };
    let index = |played: &Played| {
        let path = sidecar_of(&played.crash.left, Sidecar::Shm);
        let aside = path.with_extension("aside");
        std::fs::copy(&path, &aside).unwrap();
        std::fs::rename(&aside, &path).unwrap();
    };
    let main = |played: &Played| {
        played.main.write_all_at(b"written by nobody's rule", played.not_logged()).unwrap();
    };
    type Event<'e> = (&'e str, &'e dyn Fn(&Played));
    let events: [Event<'_>; 7] = [
        ("rebuilt", &rebuilt),
        ("exclusive", &exclusive),
        ("dead", &dead),
        ("header", &header),
        ("log", &log),
        ("index", &index),
        ("main", &main),
    ];
    for (what, event) in events {
        let played = Played::new();
        // A second descriptor, because ours meets no lock of ours.
        let other = OpenOptions::new().read(true).write(true).open(&played.crash.left).unwrap();
        let played = Played { main: other, ..played };
        let taken = played.taken(Checks::ALL, &|| event(&played));
        assert!(taken.is_none_or(|(reads, _)| reads > 1), "{what}: not noticed");
        let played = Played::new();
        assert_eq!(played.taken(Checks::ALL, &|| {}).unwrap().0, 1, "{what}");
    }
}

#[test]
fn a_database_that_is_replaced_is_not_mixed_with_the_log_of_the_other() {
    let other = Crash::new("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;");
    other.run(FILL).run("PRAGMA wal_checkpoint(PASSIVE); UPDATE message SET text = 'other' WHERE id < 50");
    let replace = |left: &Path| {
        for sidecar in [None, Some(Sidecar::Wal), Some(Sidecar::Shm)] {
            let [from, to] = [&other.written, left].map(|main: &Path| {
                sidecar.map_or_else(|| main.to_owned(), |sidecar| sidecar_of(main, sidecar))
            });
            let aside = to.with_extension("aside");
            std::fs::copy(from, &aside).unwrap();
            std::fs::rename(&aside, &to).unwrap();
        }
    };
    for checks in [Checks::ALL, Checks { names: false, ..Checks::ALL }] {
        // In the queue: opened, and replaced before it is read.
        let crash = Crash::new("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;");
        crash
            .run(FILL)
            .run("PRAGMA wal_checkpoint(PASSIVE); UPDATE message SET text = 'q' WHERE id < 90")
            .leave();
        let file = File::open(&crash.left).unwrap();
        let old = std::fs::read(&crash.left).unwrap();
        replace(&crash.left);
        let patience = Patience { checks, ..Patience::new(&|_| {}, &later) };
        let result = capture(file.as_fd(), &Folder(&crash.left), Kind::Plain, &patience, &mut |image| {
            let mut bytes = Vec::new();
            image.reader().read_to_end(&mut bytes).map(|_| bytes)
        });
        if checks.names {
            assert!(matches!(result, Err(Failed::Replaced)), "{result:?}");
        } else {
            let image = result.unwrap().value;
            assert!(image != old && image != by_sqlite(&crash.left).unwrap(), "a mixture of both");
        }
    }
    // During the read.
    let played = Played::new();
    let file = File::open(&played.crash.left).unwrap();
    let result = capture(
        file.as_fd(),
        &Folder(&played.crash.left),
        Kind::Plain,
        &Patience::new(&|_| {}, &later),
        &mut |_| {
            replace(&played.crash.left);
            Ok::<_, io::Error>(())
        },
    );
    assert!(matches!(result, Err(Failed::Replaced)), "{result:?}");
}
