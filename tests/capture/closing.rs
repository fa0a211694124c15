//! An app that closes, opens, checkpoints or dies while its database is read.

use crate::app::App;
use crate::judge::{judge, state_of};
use crate::take::take;
use crate::{Case, Outcome};
use chatvault_engine::sqlite::capture::{Sidecar, State};
use chatvault_tests::sqlite::beside;
use std::path::Path;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    ("closing::an_app_that_closes_during_the_read_leaves_nothing_beside_its_database", closes),
    ("closing::an_app_that_opens_again_during_the_read_can_go_on_at_once", opens_again),
    ("closing::checkpoints_during_the_read_go_through_and_at_the_last_resort_are_told_at_once", checkpoints),
    ("closing::an_app_that_closes_at_the_last_resort_leaves_nothing_either", closes_at_last),
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
    assert!(log_of(&path).is_some());
    let captured = take(&path, &mut |read| {
        if read == 1 {
            app.commit();
            app.close();
            assert_eq!(log_of(&path), None, "whoever closes last takes the log away");
            assert!(!beside(&path, Sidecar::Shm).exists());
        }
    })
    .unwrap();
    assert_eq!((captured.reads, captured.state, captured.held), (2, State::Quiescent, Duration::ZERO));
    assert_eq!(judge(&captured.value).unwrap().commit, 21);
    assert_eq!(state_of(&path).unwrap().commit, 21);
    Outcome::Passed("it was noticed, and the quiescent database read".to_owned())
}

/// The app commits and writes back at each of the first three readings, so that locks are held at the fourth.
fn overtake(app: &mut App, read: u32) -> bool {
    if read > 3 {
        return false;
    }
    app.commit();
    assert!(app.say("PRAGMA wal_checkpoint(PASSIVE)").starts_with("0|"));
    true
}

fn closes_at_last() -> Outcome {
    let mut app = with_commits(WAL, 20);
    let path = app.path.clone();
    let mut closed = false;
    let captured = take(&path, &mut |read| {
        if !overtake(&mut app, read) && !closed {
            app.commit();
            app.close();
            closed = true;
            assert_eq!(log_of(&path), None);
        }
    })
    .unwrap();
    assert!(closed && captured.reads == 5 && captured.state == State::Quiescent, "{:?}", captured.state);
    assert_eq!(judge(&captured.value).unwrap().commit, 24);
    Outcome::Passed("it won, and was read anew".to_owned())
}

fn opens_again() -> Outcome {
    let mut seen = Vec::new();
    for last in [1, 4] {
        let mut app = with_commits(WAL, 20);
        let path = app.path.clone();
        let mut waited = Duration::ZERO;
        let captured = take(&path, &mut |read| {
            if read < last {
                overtake(&mut app, read);
            } else if read == last {
                app.close();
                app.open().unwrap();
                let begun = Instant::now();
                app.commit();
                waited = begun.elapsed();
            }
        })
        .unwrap();
        assert!(waited < AT_ONCE, "{waited:?}");
        let commit = u64::from(20 + last);
        assert_eq!((judge(&captured.value).unwrap().commit, captured.reads), (commit, last + 1));
        seen.push(waited.as_millis());
    }
    Outcome::Passed(format!("its first commit took {seen:?} ms"))
}

fn checkpoints() -> Outcome {
    let mut app = with_commits(WAL, 20);
    app.say("PRAGMA busy_timeout=60000");
    let path = app.path.clone();
    let (mut longest, mut told) = (Duration::ZERO, 0);
    let captured = take(&path, &mut |read| {
        for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
            let begun = Instant::now();
            let answer = app.say(&format!("PRAGMA wal_checkpoint({mode})"));
            assert_eq!(answer.starts_with("1|"), read > 3, "{mode} during reading {read}: {answer}");
            told += u32::from(read > 3);
            longest = longest.max(begun.elapsed());
            app.commit();
        }
    })
    .unwrap();
    assert!(longest < AT_ONCE, "{longest:?}");
    assert_eq!((captured.reads, told), (4, 4));
    assert_eq!(judge(&captured.value).unwrap().commit, 32);
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
    let captured = take(&path, &mut |read| {
        if read == 1 {
            assert_eq!(app.say("PRAGMA journal_mode=DELETE"), "delete");
            app.commit();
        }
    })
    .unwrap();
    assert!(captured.reads == 2 && captured.state == State::Quiescent, "{:?}", captured.state);
    assert_eq!(judge(&captured.value).unwrap().commit, 22);
    Outcome::Passed("noticed in both directions".to_owned())
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
