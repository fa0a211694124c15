//! An app that closes, opens, checkpoints or dies while its database is read.

use crate::app::{App, COMMIT};
use crate::judge::{judge, state_of};
use crate::take::take;
use crate::{Case, Outcome};
use chatvault_engine::sqlite::capture::{Sidecar, State};
use chatvault_tests::sqlite::beside;
use std::path::Path;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    ("closing::an_app_that_closes_during_the_read_leaves_its_log_and_loses_nothing", closes),
    ("closing::an_app_that_opens_again_during_the_read_can_go_on_at_once", opens_again),
    ("closing::a_checkpoint_during_the_read_is_told_at_once_that_it_must_come_later", checkpoints),
    ("closing::an_app_that_starts_during_the_read_is_noticed", starts),
    ("closing::the_journal_mode_may_change_during_the_read", changes_mode),
    ("closing::what_a_killed_app_left_is_recovered_without_touching_it", killed),
];

const WAL: &str = "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0";
/// What an app may be kept waiting for where it should not wait at all. Generous: machines are shared.
const AT_ONCE: Duration = Duration::from_secs(3);

fn with_commits(pragmas: &str, commits: u32) -> App {
    let mut app = App::with(pragmas);
    (0..commits).for_each(|_| app.commit());
    app
}

fn log_of(path: &Path) -> Option<u64> {
    std::fs::metadata(beside(path, Sidecar::Wal)).ok().map(|stat| stat.len())
}

fn closes() -> Outcome {
    let mut app = with_commits(WAL, 20);
    let path = app.path.clone();
    let len = log_of(&path);
    let captured = take(&path, &mut |_| {
        app.commit();
        app.close();
        assert!(log_of(&path) > len, "whoever closes last writes the log back");
    })
    .unwrap();
    assert_eq!((judge(&captured.value).unwrap().commit, captured.reads), (20, 1));
    app.open().unwrap();
    assert_eq!(app.say("SELECT seq FROM s"), "21");
    app.close();
    assert_eq!(log_of(&path), None, "the next time it does");
    assert_eq!(state_of(&path).unwrap().commit, 21);
    Outcome::Passed("the next one to close writes it back".to_owned())
}

fn opens_again() -> Outcome {
    let mut app = with_commits(WAL, 20);
    let path = app.path.clone();
    app.say("PRAGMA wal_checkpoint(PASSIVE)");
    app.commit();
    let mut waited = Duration::ZERO;
    let captured = take(&path, &mut |_| {
        app.close();
        app.open().unwrap();
        // The first that opens makes the index of the log anew, for which it needs the lock of checkpoints: this gives it
        // back at the next piece that is read, so the answer is waited for later.
        app.begin(COMMIT);
    })
    .unwrap();
    let begun = Instant::now();
    app.answer().unwrap();
    waited += begun.elapsed();
    assert!(waited < AT_ONCE, "{waited:?}");
    assert_eq!((judge(&captured.value).unwrap().commit, captured.reads), (21, 1));
    assert_eq!(app.say("SELECT seq FROM s"), "22");
    Outcome::Passed(format!("its first commit came {} ms after the end", waited.as_millis()))
}

fn checkpoints() -> Outcome {
    let mut app = with_commits(WAL, 20);
    app.say("PRAGMA busy_timeout=60000");
    let path = app.path.clone();
    let mut longest = Duration::ZERO;
    let captured = take(&path, &mut |_| {
        for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
            let begun = Instant::now();
            assert!(app.say(&format!("PRAGMA wal_checkpoint({mode})")).starts_with("1|"), "{mode}: not busy");
            longest = longest.max(begun.elapsed());
            app.commit();
        }
    })
    .unwrap();
    assert!(longest < AT_ONCE, "{longest:?}");
    assert_eq!((judge(&captured.value).unwrap().commit, captured.reads), (20, 1));
    assert!(app.say("PRAGMA wal_checkpoint(TRUNCATE)").starts_with("0|"), "afterwards it can");
    Outcome::Passed(format!("all four kinds, with a minute's busy timeout, in {} ms", longest.as_millis()))
}

fn starts() -> Outcome {
    let mut app = with_commits(WAL, 20);
    let path = app.path.clone();
    app.kill();
    std::fs::remove_file(beside(&path, Sidecar::Shm)).unwrap();
    let mut next = None;
    let captured = take(&path, &mut |read| {
        if read == 1 {
            let next = next.get_or_insert(App::on(&path));
            next.commit();
            assert!(
                next.say("PRAGMA wal_checkpoint(FULL)").starts_with("0|"),
                "nothing kept it from writing back"
            );
        }
    })
    .unwrap();
    assert!(captured.reads >= 2);
    assert_eq!(judge(&captured.value).unwrap().commit, 21);
    Outcome::Passed(format!("{} readings", captured.reads))
}

fn changes_mode() -> Outcome {
    let mut app = with_commits("PRAGMA journal_mode=DELETE", 20);
    let path = app.path.clone();
    let captured = take(&path, &mut |read| {
        if read == 1 {
            assert_eq!(app.say("PRAGMA journal_mode=WAL"), "wal");
            app.commit();
        }
    })
    .unwrap();
    assert!(captured.reads == 2 && matches!(captured.state, State::Merged { .. }), "{:?}", captured.state);
    assert_eq!(judge(&captured.value).unwrap().commit, 21);
    // The other way it has to wait: every connection in WAL mode has the same lock as we.
    let captured = take(&path, &mut |_| {
        let refused = app.try_say("PRAGMA busy_timeout=0; PRAGMA journal_mode=DELETE");
        assert!(refused.as_deref() != Ok("delete"), "{refused:?}");
    })
    .unwrap();
    assert_eq!((judge(&captured.value).unwrap().commit, captured.reads), (21, 1));
    assert_eq!(app.say("PRAGMA journal_mode=DELETE"), "delete");
    Outcome::Passed("noticed the one way, put off the other".to_owned())
}

fn killed() -> Outcome {
    let mut seen = Vec::new();
    for pragmas in [
        "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=5",
        "PRAGMA journal_mode=DELETE; PRAGMA cache_size=5",
        "PRAGMA journal_mode=TRUNCATE; PRAGMA cache_size=5; PRAGMA synchronous=OFF",
        "PRAGMA journal_mode=PERSIST; PRAGMA cache_size=5",
    ] {
        let mut app = with_commits(pragmas, 20);
        app.say("BEGIN; UPDATE message SET text = hex(randomblob(61))");
        app.kill();
        let names = || {
            let entries = std::fs::read_dir(app.path.parent().unwrap()).unwrap();
            let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            entries.into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
        };
        let before = names();
        let captured = take(&app.path, &mut |_| {}).unwrap();
        assert!(names() == before, "{pragmas}");
        assert_eq!(judge(&captured.value).unwrap().commit, 20, "{pragmas}");
        seen.push(captured.state);
        // What SQLite itself makes of it when the app comes back.
        assert_eq!(App::on(&app.path).say("SELECT n FROM s"), "400");
    }
    assert!(matches!(seen[0], State::Merged { .. }), "{seen:?}");
    assert!(seen[1..].iter().all(|state| matches!(state, State::RolledBack { .. })), "{seen:?}");
    Outcome::Passed(format!("{} journal modes", seen.len()))
}
