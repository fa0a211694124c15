//! An app that does one thing at a time.

use crate::app::App;
use crate::judge::{judge, state_of};
use crate::take::{now, patience, take, take_with};
use crate::{Case, Outcome};
use chatvault_engine::sqlite::capture::{Failed, Impossible, Patience, Sidecar, State};
use chatvault_tests::sqlite::beside;
use std::cell::{Cell, RefCell};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

pub const CASES: &[Case] = &[
    ("quiet::fifty_commits_may_leave_the_main_file_untouched", fifty_commits),
    ("quiet::a_transaction_that_spills_and_rolls_back_during_the_read_is_noticed", spills_and_rolls_back),
    ("quiet::commits_go_through_while_the_image_is_read_and_are_not_in_it", commits_go_through),
    ("quiet::a_sleeping_app_finds_everything_as_it_was", no_trace),
    ("quiet::an_open_transaction_that_spilled_nothing_is_left_out", reserved),
    ("quiet::an_app_in_exclusive_locking_mode_is_read_while_it_is_idle", exclusive),
    ("quiet::an_app_that_is_writing_for_long_is_waited_for_and_told", writing),
];

const WAL: &str = "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0";
const SMALL_CACHE: &str = "PRAGMA journal_mode=DELETE; PRAGMA cache_size=5";

/// Size, times, inode, content of everything in a folder.
fn listing(folder: &Path) -> Vec<impl PartialEq + Ord + std::fmt::Debug + use<>> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
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
}

fn fifty_commits() -> Outcome {
    let mut app = App::with(WAL);
    app.say("PRAGMA wal_checkpoint(TRUNCATE)");
    let main = |app: &App| {
        let stat = std::fs::metadata(&app.path).unwrap();
        (stat.len(), stat.mtime(), stat.mtime_nsec(), stat.ctime_nsec(), std::fs::read(&app.path).unwrap())
    };
    let before = main(&app);
    (0..50).for_each(|_| app.commit());
    assert!(main(&app) == before, "the main file was touched: this shows nothing");
    let captured = take(&app.path, &mut |_| {}).unwrap();
    let State::Merged { frames } = captured.state else { panic!("{:?}", captured.state) };
    let state = judge(&captured.value).unwrap();
    assert_eq!((state.commit, state.rows), (50, 1000));
    assert!(main(&app) == before);
    Outcome::Passed(format!("1,000 rows, all of them in {frames} frames of the log"))
}

fn spills_and_rolls_back() -> Outcome {
    let mut app = App::with(SMALL_CACHE);
    (0..20).for_each(|_| app.commit());
    let (before, path) = (std::fs::read(&app.path).unwrap(), app.path.clone());
    let app = RefCell::new(app);
    let spill = |read| {
        if read == 1 {
            app.borrow_mut().say("BEGIN; UPDATE message SET text = hex(randomblob(61))");
            assert!(std::fs::read(&path).unwrap() != before, "nothing was spilled");
        }
    };
    let mut torn = None;
    let roll_back = |read, image: &[u8]| {
        if read == 1 {
            torn = Some(judge(image));
            app.borrow_mut().say("ROLLBACK");
            // Size, change counter and every other byte are as before.
            assert!(std::fs::read(&path).unwrap() == before);
        }
    };
    let captured = take_with(&path, &patience(), &mut { roll_back }, &mut { spill }).unwrap();
    let torn = torn.unwrap().unwrap_err();
    assert!(captured.reads >= 2 && captured.value == before, "{} readings", captured.reads);
    // If it neither ends nor rolls back, it keeps the main file locked.
    let impatient = Patience { wait: Duration::from_millis(30), ..patience() };
    let failed = take_with(&path, &impatient, &mut |_, _| {}, &mut { spill }).unwrap_err();
    assert!(matches!(failed, Failed::Impossible(Impossible::LockedExclusively)), "{failed:?}");
    Outcome::Passed(format!("{} readings, the first one torn: {torn:.40}", captured.reads))
}

fn commits_go_through() -> Outcome {
    let mut app = App::with(WAL);
    (0..20).for_each(|_| app.commit());
    let path = app.path.clone();
    let captured = take(&path, &mut |_| (0..30).for_each(|_| app.commit())).unwrap();
    assert_eq!((judge(&captured.value).unwrap().commit, captured.reads), (20, 1));
    let captured = take(&path, &mut |_| {}).unwrap();
    assert_eq!(judge(&captured.value).unwrap().commit, 50);
    Outcome::Passed("30 commits during one reading".to_owned())
}

fn no_trace() -> Outcome {
    let mut seen = Vec::new();
    for pragmas in [WAL, "PRAGMA journal_mode=PERSIST", "PRAGMA journal_mode=DELETE"] {
        let mut app = App::with(pragmas);
        (0..10).for_each(|_| app.commit());
        let folder = app.path.parent().unwrap().to_owned();
        let before = listing(&folder);
        let captured = take(&app.path, &mut |_| {}).unwrap();
        assert_eq!(judge(&captured.value).unwrap().commit, 10);
        assert!(listing(&folder) == before, "{pragmas}");
        seen.push(before.len());
        app.commit();
        assert_eq!(app.say("PRAGMA integrity_check"), "ok");
    }
    assert_eq!(seen, [3, 2, 1], "files that lay there");
    Outcome::Passed("bytes, times, inodes and names".to_owned())
}

fn reserved() -> Outcome {
    let mut app = App::with("PRAGMA journal_mode=DELETE");
    (0..10).for_each(|_| app.commit());
    app.say("BEGIN IMMEDIATE; UPDATE message SET text = 'not yet' WHERE id < 5");
    assert!(beside(&app.path, Sidecar::Journal).exists(), "there is no journal");
    let captured = take(&app.path, &mut |_| {}).unwrap();
    assert_eq!((captured.state, captured.reads), (State::Quiescent, 1));
    assert_eq!(judge(&captured.value).unwrap().commit, 10);
    app.say("COMMIT");
    assert_eq!(app.say("SELECT count(*) FROM message WHERE text = 'not yet'"), "4");
    Outcome::Passed("its journal was not rolled back".to_owned())
}

fn exclusive() -> Outcome {
    for pragmas in [
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=DELETE",
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=TRUNCATE",
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=PERSIST",
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0",
        // With the index of an earlier app left beside it.
        "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0",
    ] {
        let mut app = App::with(pragmas);
        (0..3).for_each(|_| app.commit());
        if !pragmas.contains("EXCLUSIVE") {
            app.kill();
            app = app.again();
            app.say("PRAGMA locking_mode=EXCLUSIVE");
            app.commit();
            assert!(beside(&app.path, Sidecar::Shm).exists());
        } else {
            app.commit();
        }
        let captured = take(&app.path, &mut |_| {}).unwrap();
        assert_eq!((judge(&captured.value).unwrap().commit, captured.reads), (4, 1), "{pragmas}");
        assert_eq!(captured.held, Duration::ZERO);
        // What it writes during the reading is noticed, by the times alone.
        let captured = take(&app.path.clone(), &mut |read| {
            if read == 1 {
                app.commit();
                app.say("PRAGMA wal_checkpoint(PASSIVE)");
            }
        })
        .unwrap();
        assert_eq!((judge(&captured.value).unwrap().commit, captured.reads), (5, 2), "{pragmas}");
        app.close();
    }
    Outcome::Passed("in all journal modes, and beside an index that nobody keeps".to_owned())
}

fn writing() -> Outcome {
    for pragmas in
        [SMALL_CACHE, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=DELETE; PRAGMA cache_size=5"]
    {
        let mut app = App::with(pragmas);
        (0..20).for_each(|_| app.commit());
        let before = std::fs::read(&app.path).unwrap();
        app.say("BEGIN; UPDATE message SET text = hex(randomblob(61))");
        assert!(std::fs::read(&app.path).unwrap() != before, "nothing was spilled");
        let waited = Cell::new(Duration::ZERO);
        // Time passes for the program only: nobody waits five seconds here.
        let pause = |pause| waited.set(waited.get() + pause);
        let impatient = Patience::new(&pause, &now);
        let taken = take_with(&app.path, &impatient, &mut |_, _| {}, &mut |_| {});
        let failed = taken.unwrap_err();
        assert!(matches!(failed, Failed::Impossible(Impossible::LockedExclusively)), "{failed:?}");
        assert_eq!(waited.get(), Duration::from_secs(5));
        app.say("ROLLBACK");
        app.close();
        assert_eq!(state_of(&app.path).unwrap().commit, 20);
    }
    Outcome::Passed("in both locking modes".to_owned())
}
