//! Locks that somebody else has, changes while a database is read, limits. The app is played by a descriptor of its own:
//! its locks meet ours as those of another process would.

use super::super::locks::{
    self, ALIVE, CHECKPOINT, PENDING, READ_LAST, READ_MAIN, RECOVERY, RESERVED, SHARED,
};
use super::*;
use nix::libc::{self, F_RDLCK, F_UNLCK, F_WRLCK};
use std::cell::RefCell;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

/// Of the `-shm`: the one writer.
const WRITER: Bytes = Bytes { start: 120, len: 1 };

/// An app that has one of the files open.
struct App(File);

impl App {
    fn of(path: &Path) -> Self {
        Self(OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    fn has(&self, kind: libc::c_int, bytes: Bytes) -> &Self {
        locks::set(self.0.as_fd(), kind, bytes).unwrap();
        self
    }

    /// True if it gets this lock; it gives it back at once.
    fn gets(&self, kind: libc::c_int, bytes: Bytes) -> bool {
        let result = locks::set(self.0.as_fd(), kind, bytes);
        if result.is_ok() {
            self.has(F_UNLCK, bytes);
        }
        result.is_ok()
    }
}

/// A database in rollback mode, and one in WAL mode with frames in its log, its app killed.
fn rollback_mode() -> Crash {
    let crash = Crash::new("");
    crash.run(FILL).leave();
    crash
}

fn wal_mode() -> Crash {
    let crash = Crash::new("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;");
    crash
        .run(FILL)
        .run("PRAGMA wal_checkpoint(TRUNCATE); UPDATE message SET text = 'q' WHERE id < 9")
        .leave();
    crash
}

/// Captures with what happens at each pause and each reading.
fn eventful(
    main: &Path,
    locks: &dyn Locks,
    at_pause: &dyn Fn(Duration),
    at_read: &mut dyn FnMut(u32),
) -> Result<Captured<Vec<u8>>, Failed<io::Error>> {
    let file = File::open(main).unwrap();
    let mut reads = 0;
    let patience = Patience { locks, ..Patience::new(at_pause, &later) };
    capture(file.as_fd(), &Folder(main), Kind::Plain, &patience, &mut |image| {
        reads += 1;
        let mut bytes = vec![0; image.len() as usize / 2];
        let mut reader = image.reader();
        reader.read_exact(&mut bytes)?;
        at_read(reads);
        reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

/// A transaction that has spilled pages into the main file, and whose writer lives.
fn being_written() -> (Crash, App) {
    let crash = Crash::new("PRAGMA cache_size=5;");
    crash.run(FILL).run("BEGIN; UPDATE message SET text = hex(randomblob(200))").leave();
    let app = App::of(&crash.left);
    app.has(F_WRLCK, RESERVED).has(F_WRLCK, PENDING).has(F_WRLCK, SHARED);
    (crash, app)
}

#[test]
fn a_transaction_that_is_being_written_for_a_minute_is_waited_for_five_seconds() {
    let (crash, _app) = being_written();
    let waited = Cell::new(Duration::ZERO);
    let failed = eventful(&crash.left, &Ofd, &|pause| waited.set(waited.get() + pause), &mut |_| {});
    let failed = failed.unwrap_err();
    assert!(matches!(failed, Failed::Impossible(Impossible::LockedExclusively)), "{failed:?}");
    assert_eq!(waited.get(), Duration::from_secs(5));
}

#[test]
fn a_transaction_that_is_taken_back_in_time_is_waited_for() {
    let (crash, app) = being_written();
    let expected = by_sqlite(&crash.left).unwrap();
    let pauses = Cell::new(0);
    let at_pause = |_| {
        pauses.set(pauses.get() + 1);
        if pauses.get() == 200 {
            std::fs::write(&crash.left, &expected).unwrap();
            std::fs::remove_file(sidecar_of(&crash.left, Sidecar::Journal)).unwrap();
            app.has(F_UNLCK, SHARED).has(F_UNLCK, PENDING).has(F_UNLCK, RESERVED);
        }
    };
    let captured = eventful(&crash.left, &Ofd, &at_pause, &mut |_| {}).unwrap();
    assert_eq!((pauses.get(), captured.reads), (200, 1));
    assert!(captured.value == expected);
}

#[test]
fn an_idle_app_that_locks_exclusively_is_neither_waited_for_nor_left_out() {
    for crash in [rollback_mode(), wal_mode()] {
        let app = App::of(&crash.left);
        app.has(F_WRLCK, RESERVED).has(F_WRLCK, PENDING).has(F_WRLCK, SHARED);
        let pauses = Cell::new(0);
        let captured = eventful(&crash.left, &Ofd, &|_| pauses.set(pauses.get() + 1), &mut |_| {}).unwrap();
        assert_eq!((pauses.get(), captured.reads, captured.held), (0, 1, Duration::ZERO));
        assert!(captured.value == by_sqlite(&crash.left).unwrap());
    }
}

#[test]
fn all_captures_of_a_run_wait_together_no_longer_than_its_budget() {
    let (crash, _app) = being_written();
    let budget = WaitBudget::new(Duration::from_secs(6));
    let waited = Cell::new(Duration::ZERO);
    let pause = |pause| waited.set(waited.get() + pause);
    let patience = Patience { budget: Some(&budget), ..Patience::new(&pause, &later) };
    let file = File::open(&crash.left).unwrap();
    for most in [5, 6, 6] {
        let failed = capture(file.as_fd(), &Folder(&crash.left), Kind::Plain, &patience, &mut |_| {
            Ok::<_, io::Error>(())
        });
        assert!(matches!(failed, Err(Failed::Impossible(Impossible::LockedExclusively))));
        assert_eq!(waited.get(), Duration::from_secs(most));
    }
}

#[test]
fn in_rollback_mode_commits_are_not_kept_waiting() {
    let crash = rollback_mode();
    let app = App::of(&crash.left);
    let captured = eventful(&crash.left, &Ofd, &|_| {}, &mut |_| {
        assert!(app.gets(F_WRLCK, RESERVED) && app.gets(F_WRLCK, PENDING) && app.gets(F_WRLCK, SHARED));
    });
    assert_eq!(captured.unwrap().reads, 1);
    assert!(app.gets(F_WRLCK, PENDING) && app.gets(F_WRLCK, SHARED), "nothing stays locked");
}

#[test]
fn a_change_during_the_read_is_noticed_though_size_and_counter_are_the_same() {
    let crash = rollback_mode();
    let app = App::of(&crash.left);
    let end = std::fs::metadata(&crash.left).unwrap().len() - 1;
    let mut bytes = Vec::new();
    let captured = eventful(&crash.left, &Ofd, &|_| {}, &mut |read| {
        if read == 1 {
            bytes = std::fs::read(&crash.left).unwrap();
            app.0.write_all_at(b"#", end).unwrap();
            // Taken back, and with the time as it was: what a program can set.
            app.0.write_all_at(&bytes[bytes.len() - 1..], end).unwrap();
            let before = File::open(&crash.written).unwrap().metadata().unwrap().modified().unwrap();
            app.0.set_modified(before).unwrap();
        }
    });
    let captured = captured.unwrap();
    assert_eq!(captured.reads, 2);
    assert!(captured.value == bytes);
}

#[test]
fn a_database_that_changes_each_time_is_read_under_the_lock_after_three_times() {
    let crash = rollback_mode();
    let app = App::of(&crash.left);
    let captured = eventful(&crash.left, &Ofd, &|_| {}, &mut |read| {
        if app.gets(F_WRLCK, SHARED) {
            assert!(read <= 3, "the fourth reading holds the lock");
            app.0.write_all_at(&[b'0' + u8::try_from(read).unwrap()], 5000).unwrap();
        }
    });
    let captured = captured.unwrap();
    assert_eq!((captured.reads, captured.value[5000]), (4, b'3'));
    assert!(app.gets(F_WRLCK, SHARED), "nothing stays locked");
}

#[test]
fn who_writes_under_our_lock_is_noticed_all_the_same() {
    let crash = rollback_mode();
    let app = App::of(&crash.left);
    let failed = eventful(&crash.left, &Ofd, &|_| {}, &mut |read| {
        app.0.write_all_at(&[u8::try_from(read).unwrap()], 5000).unwrap();
    });
    let failed = failed.unwrap_err();
    assert!(matches!(failed, Failed::Impossible(Impossible::NeverStill)), "{failed:?}");
}

#[test]
fn a_file_that_changed_a_moment_ago_is_read_only_when_a_change_would_show() {
    let crash = rollback_mode();
    let file = File::open(&crash.left).unwrap();
    let changed = rustix::fs::fstat(&file).unwrap();
    let now = Cell::new(Timestamp::new(changed.st_ctime, u32::try_from(changed.st_ctime_nsec).unwrap()));
    let pause = |pause: Duration| {
        let nanos = u32::try_from(now.get().as_nanos() % 1_000_000_000).unwrap() + pause.subsec_nanos();
        let secs = now.get().secs + i64::from(nanos / 1_000_000_000);
        now.set(Timestamp::new(secs, nanos % 1_000_000_000));
    };
    let clock = || now.get();
    let mut at = Vec::new();
    let captured =
        capture(file.as_fd(), &Folder(&crash.left), Kind::Plain, &Patience::new(&pause, &clock), &mut |_| {
            at.push(now.get());
            Ok::<_, io::Error>(())
        })
        .unwrap();
    assert_eq!((captured.reads, at.len()), (1, 1));
    let waited =
        at[0].as_nanos() - i128::from(changed.st_ctime) * 1_000_000_000 - i128::from(changed.st_ctime_nsec);
    assert_eq!(waited, 25_000_000);
}

/// Captures a database that changes at each of the first three readings, so that the fourth one holds locks.
fn last_resort<T>(
    main: &Path,
    patience: &Patience<'_>,
    read: &mut dyn FnMut(&Image<'_>) -> io::Result<T>,
) -> Result<Captured<Option<T>>, Failed<io::Error>> {
    let (file, app) = (File::open(main).unwrap(), App::of(main));
    let mut reads = 0;
    capture(file.as_fd(), &Folder(main), Kind::Plain, patience, &mut |image| {
        reads += 1;
        if reads <= 3 {
            // The change counter, at a place that no log has laid over.
            let end = app.0.metadata().unwrap().len() - 1;
            app.0.write_all_at(&[reads], end).unwrap();
            return Ok(None);
        }
        read(image).map(Some)
    })
}

#[test]
fn a_reading_that_takes_too_long_gives_the_locks_back() {
    for (crash, limit, shm) in [(rollback_mode(), 10, false), (wal_mode(), 900, true)] {
        let locked = if shm { sidecar_of(&crash.left, Sidecar::Shm) } else { crash.left.clone() };
        let (app, bytes) = (App::of(&locked), if shm { READ_MAIN } else { SHARED });
        let now = Cell::new(later());
        let clock = || now.get();
        let patience = Patience::new(&|_| {}, &clock);
        let read = |secs: i64| {
            last_resort(&crash.left, &patience, &mut |image| {
                assert!(!app.gets(F_WRLCK, bytes));
                now.set(Timestamp::new(now.get().secs + secs, 1));
                image.read_at(&mut [0], 0)
            })
        };
        let failed = read(limit + 1).unwrap_err();
        assert!(matches!(failed, Failed::Impossible(Impossible::HeldTooLong)), "{failed:?}");
        assert!(app.gets(F_WRLCK, bytes));
        let held = read(1).unwrap().held;
        assert_eq!(held, Duration::from_secs(1));
    }
}

#[test]
fn commits_are_kept_waiting_for_as_long_as_a_reading_just_took_and_not_if_that_is_too_long() {
    for (took, may_hold) in [(4, true), (10, true), (11, false)] {
        let crash = rollback_mode();
        let app = App::of(&crash.left);
        let now = Cell::new(later());
        let clock = || now.get();
        let file = File::open(&crash.left).unwrap();
        let mut locked = 0;
        let captured = capture(
            file.as_fd(),
            &Folder(&crash.left),
            Kind::Plain,
            &Patience::new(&|_| {}, &clock),
            &mut |image| {
                now.set(Timestamp::new(now.get().secs + took, 1));
                if app.gets(F_WRLCK, SHARED) {
                    app.0.write_all_at(&[1], 5000).unwrap();
                } else {
                    locked += 1;
                }
                image.read_at(&mut [0], 0)
            },
        );
        if may_hold {
            let captured = captured.unwrap();
            assert_eq!((captured.reads, locked, captured.held.as_secs()), (4, 1, took.unsigned_abs()));
        } else {
            let failed = captured.unwrap_err();
            assert!(matches!(failed, Failed::Impossible(Impossible::HeldTooLong)), "{failed:?}");
            assert_eq!(locked, 0, "nobody was kept waiting in vain");
        }
    }
}

#[test]
fn the_journal_of_a_live_writer_is_not_rolled_back() {
    let crash = Crash::new("PRAGMA cache_size=5;");
    crash.run(FILL).run("BEGIN; UPDATE message SET text = hex(randomblob(200))");
    let left = crash.leave();
    let app = App::of(left);
    app.has(F_WRLCK, RESERVED);
    let captured = eventful(left, &Ofd, &|_| {}, &mut |_| {}).unwrap();
    assert_eq!(captured.state, State::Quiescent);
    assert!(captured.value == std::fs::read(left).unwrap());
    app.has(F_UNLCK, RESERVED);
    let captured = eventful(left, &Ofd, &|_| {}, &mut |_| {}).unwrap();
    assert!(matches!(captured.state, State::RolledBack { .. }));
}

#[test]
fn a_hot_journal_that_is_rolled_back_by_somebody_else_is_noticed() {
    let crash = Crash::new("PRAGMA cache_size=5;");
    crash.run(FILL).run("BEGIN; UPDATE message SET text = hex(randomblob(200))");
    let left = crash.leave();
    let expected = by_sqlite(left).unwrap();
    let captured = eventful(left, &Ofd, &|_| {}, &mut |read| {
        if read == 1 {
            std::fs::remove_file(sidecar_of(left, Sidecar::Journal)).unwrap();
            std::fs::write(left, &expected).unwrap();
        }
    });
    let captured = captured.unwrap();
    assert_eq!((captured.reads, captured.state), (2, State::Quiescent));
    assert!(captured.value == expected);
}

#[test]
fn in_wal_mode_nothing_is_locked_and_at_the_last_resort_only_the_index() {
    let crash = wal_mode();
    let (main, shm) = (App::of(&crash.left), App::of(&sidecar_of(&crash.left, Sidecar::Shm)));
    let expected = by_sqlite(&crash.left).unwrap();
    let all = Bytes { start: 0, len: 200 };
    let captured = eventful(&crash.left, &Ofd, &|_| {}, &mut |_| {
        assert!(main.gets(F_WRLCK, PENDING) && main.gets(F_WRLCK, SHARED), "who closes last can write back");
        assert!(shm.gets(F_WRLCK, all));
    });
    assert!(captured.unwrap().value == expected);
    for is_alive in [true, false] {
        shm.has(if is_alive { F_RDLCK } else { F_UNLCK }, ALIVE);
        let captured = last_resort(&crash.left, &Patience::new(&|_| {}, &later), &mut |image| {
            assert!(main.gets(F_WRLCK, PENDING) && main.gets(F_WRLCK, SHARED), "never, in any path");
            assert!(!shm.gets(F_WRLCK, READ_MAIN) && !shm.gets(F_WRLCK, READ_LAST));
            assert!(shm.gets(F_WRLCK, WRITER) && shm.gets(F_WRLCK, RECOVERY));
            for slot in 1..4 {
                assert!(shm.gets(F_WRLCK, Bytes { start: READ_MAIN.start + slot, len: 1 }));
            }
            assert!(shm.gets(F_RDLCK, READ_MAIN) && shm.gets(F_RDLCK, READ_LAST));
            assert_eq!(shm.gets(F_WRLCK, CHECKPOINT), !is_alive, "the next one to come needs it");
            assert!(is_alive || shm.gets(F_WRLCK, ALIVE), "never taken");
            let mut bytes = Vec::new();
            image.reader().read_to_end(&mut bytes).map(|_| bytes)
        });
        let captured = captured.unwrap();
        assert_eq!(captured.reads, 4);
        assert!(captured.value.unwrap() == by_sqlite(&crash.left).unwrap());
        assert!(shm.gets(F_WRLCK, Bytes { start: 0, len: 128 }), "nothing stays locked");
    }
}

#[test]
fn who_must_rebuild_the_index_gets_the_lock_of_checkpoints() {
    let crash = wal_mode();
    let shm = App::of(&sidecar_of(&crash.left, Sidecar::Shm));
    shm.has(F_RDLCK, ALIVE);
    let header = std::fs::read(sidecar_of(&crash.left, Sidecar::Shm)).unwrap();
    let captured = last_resort(&crash.left, &Patience::new(&|_| {}, &later), &mut |image| {
        image.read_at(&mut [0], 0)?;
        assert!(!shm.gets(F_WRLCK, CHECKPOINT));
        shm.0.set_len(3).unwrap();
        shm.0.set_len(32768).unwrap();
        image.read_at(&mut [0], 0)?;
        assert!(shm.gets(F_WRLCK, CHECKPOINT) && shm.gets(F_WRLCK, RECOVERY));
        assert!(!shm.gets(F_WRLCK, READ_MAIN) && !shm.gets(F_WRLCK, READ_LAST), "what is needed stays");
        shm.0.write_all_at(&header, 0).unwrap();
        Ok(())
    });
    assert_eq!(captured.unwrap().reads, 4);
}

#[test]
fn a_checkpoint_that_runs_is_waited_for_at_the_last_resort() {
    let crash = wal_mode();
    let shm = App::of(&sidecar_of(&crash.left, Sidecar::Shm));
    let other = App::of(&sidecar_of(&crash.left, Sidecar::Shm));
    other.has(F_RDLCK, ALIVE);
    shm.has(F_WRLCK, CHECKPOINT).has(F_WRLCK, READ_MAIN);
    let pauses = Cell::new(0);
    let at_pause = |_| {
        pauses.set(pauses.get() + 1);
        if pauses.get() == 30 {
            shm.has(F_UNLCK, READ_MAIN).has(F_UNLCK, CHECKPOINT);
        }
    };
    assert_eq!(
        last_resort(&crash.left, &Patience::new(&at_pause, &later), &mut |_| Ok(())).unwrap().reads,
        4
    );
    assert_eq!(pauses.get(), 30);
    // One that waits for the app's own readers has not begun to write: the slots are enough.
    shm.has(F_WRLCK, CHECKPOINT);
    let patience = Patience { wait: Duration::from_secs(1), ..Patience::new(&|_| {}, &later) };
    assert_eq!(last_resort(&crash.left, &patience, &mut |_| Ok(())).unwrap().reads, 4);
    // One that never ends.
    shm.has(F_WRLCK, READ_MAIN);
    let failed = last_resort(&crash.left, &patience, &mut |_| Ok(())).unwrap_err();
    assert!(matches!(failed, Failed::Impossible(Impossible::LockedExclusively)), "{failed:?}");
}

#[test]
fn a_log_that_is_begun_anew_or_taken_back_during_the_read_is_noticed() {
    let crash = wal_mode();
    let log = App::of(&sidecar_of(&crash.left, Sidecar::Wal));
    let len = log.0.metadata().unwrap().len();
    let last = len - (len - 32) % (4096 + 24);
    assert_eq!(last, len);
    for at in [17, 32 + 18] {
        let mut byte = [0];
        log.0.read_exact_at(&mut byte, at).unwrap();
        let captured = eventful(&crash.left, &Ofd, &|_| {}, &mut |read| {
            if read == 1 {
                log.0.write_all_at(&[byte[0] ^ 1], at).unwrap();
            }
        });
        let captured = captured.unwrap();
        assert_eq!(
            (captured.reads, captured.state),
            (2, State::Quiescent),
            "a frame that does not fit ends the log"
        );
        log.0.write_all_at(&byte, at).unwrap();
    }
}

#[test]
fn without_an_index_an_app_that_comes_during_the_read_is_noticed() {
    let crash = wal_mode();
    let shm = sidecar_of(&crash.left, Sidecar::Shm);
    std::fs::remove_file(&shm).unwrap();
    let log = App::of(&sidecar_of(&crash.left, Sidecar::Wal));
    let come = || std::fs::write(&shm, vec![0; 32768]).unwrap();
    let append = || log.0.write_all_at(b"more", log.0.metadata().unwrap().len()).unwrap();
    for event in [&come as &dyn Fn(), &append] {
        let captured = eventful(&crash.left, &Ofd, &|_| {}, &mut |read| {
            if read == 1 {
                event();
            }
        });
        assert_eq!(captured.unwrap().reads, 2);
        let _ = std::fs::remove_file(&shm);
    }
}

/// A file system without locks.
#[derive(Debug)]
struct NoLocks(libc::c_int);

impl Locks for NoLocks {
    fn share(&self, _: BorrowedFd<'_>, _: Bytes) -> io::Result<bool> {
        Err(io::Error::from_raw_os_error(self.0))
    }
    fn release(&self, _: BorrowedFd<'_>, _: Bytes) {}
    fn is_held(&self, _: BorrowedFd<'_>, _: Bytes) -> io::Result<bool> {
        Err(io::Error::from_raw_os_error(self.0))
    }
    fn is_exclusive(&self, _: BorrowedFd<'_>, _: Bytes) -> io::Result<bool> {
        Err(io::Error::from_raw_os_error(self.0))
    }
}

#[test]
fn without_locks_a_database_is_taken_only_if_nothing_changes() {
    // Whatever is wrong with the locks, the file can be read.
    for code in [libc::EINVAL, libc::ENOLCK, libc::ENOTSUP, libc::ENOSYS, libc::EIO] {
        for crash in [rollback_mode(), wal_mode()] {
            let locks = NoLocks(code);
            let captured = eventful(&crash.left, &locks, &|_| {}, &mut |_| {}).unwrap();
            assert_eq!((captured.reads, captured.held), (1, Duration::ZERO));
            assert!(captured.value == by_sqlite(&crash.left).unwrap());
            let app = App::of(&crash.left);
            let reads = Cell::new(0);
            let failed = eventful(&crash.left, &locks, &|_| {}, &mut |read| {
                reads.set(read);
                app.0.write_all_at(b"x", 5000).unwrap();
            });
            let failed = failed.unwrap_err();
            assert!(matches!(failed, Failed::Impossible(Impossible::NeverStillWithoutLocks)), "{failed:?}");
            assert_eq!(reads.get(), 4);
        }
    }
}

#[test]
fn an_error_of_the_reading_counts_only_if_nothing_changed() {
    let crash = rollback_mode();
    let app = App::of(&crash.left);
    let file = File::open(&crash.left).unwrap();
    let patience = Patience::new(&|_| {}, &later);
    let reads = Cell::new(0);
    let read = |change: bool| {
        capture(file.as_fd(), &Folder(&crash.left), Kind::Plain, &patience, &mut |image| {
            reads.set(reads.get() + 1);
            if change && reads.get() == 1 {
                let len = app.0.metadata().unwrap().len();
                app.0.set_len(len - 4096).unwrap();
            }
            image.read_at(&mut [0; 9], image.len() - 9)?;
            if change { Ok(()) } else { Err(io::Error::other("the repository is full")) }
        })
    };
    let captured = read(true).unwrap();
    assert_eq!(
        captured.reads, 2,
        "what was cut off could not be read, and the second time nobody asked for it"
    );
    let failed = read(false).unwrap_err();
    assert!(matches!(&failed, Failed::Read(e) if e.to_string() == "the repository is full"), "{failed:?}");
}

/// A folder whose entries cannot be opened.
struct Unreadable(RefCell<Vec<Sidecar>>, (u64, u64));

impl Beside for Unreadable {
    fn open(&self, sidecar: Sidecar) -> io::Result<Option<OwnedFd>> {
        if self.0.borrow().contains(&sidecar) {
            Err(io::ErrorKind::PermissionDenied.into())
        } else {
            Ok(None)
        }
    }

    fn identity(&self, _: Option<Sidecar>) -> io::Result<Option<(u64, u64)>> {
        Ok(Some(self.1))
    }
}

#[test]
fn a_sidecar_that_cannot_be_read_is_named() {
    let crash = rollback_mode();
    let file = File::open(&crash.left).unwrap();
    let patience = Patience::new(&|_| {}, &later);
    let stat = file.metadata().unwrap();
    for sidecar in SIDECARS {
        let beside = Unreadable(RefCell::new(vec![sidecar]), (stat.dev(), stat.ino()));
        let failed = capture(file.as_fd(), &beside, Kind::Plain, &patience, &mut |_| Ok::<_, io::Error>(()));
        let failed = failed.unwrap_err();
        assert!(matches!(failed, Failed::Io(Some(named), _) if named == sidecar), "{failed:?}");
    }
}

#[test]
fn no_trace_is_left() {
    for crash in [rollback_mode(), wal_mode()] {
        let seen = || {
            let mut entries: Vec<_> = std::fs::read_dir(crash.left.parent().unwrap())
                .unwrap()
                .map(|entry| {
                    let entry = entry.unwrap();
                    let stat = entry.metadata().unwrap();
                    let times = (stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec());
                    (entry.file_name(), stat.ino(), stat.len(), times, std::fs::read(entry.path()).unwrap())
                })
                .collect();
            entries.sort();
            entries
        };
        let before = seen();
        taken(&crash.left, Kind::Plain).unwrap();
        assert!(seen() == before);
    }
}
