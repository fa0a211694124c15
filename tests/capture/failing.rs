//! Apps whose checkpoints and commits fail in the middle, or that die there, while their database is read; and what
//! becomes of a reader that leaves out a part of the proof.

use crate::app::App;
use crate::judge::judge;
use crate::take::{patience, take, take_with};
use crate::{Case, Outcome};
use chatvault_engine::sqlite::capture::{Checks, Patience, Sidecar};
use chatvault_tests::sqlite::beside;
use std::os::unix::fs::FileExt;

pub const CASES: &[Case] = &[
    ("failing::a_checkpoint_that_fails_in_the_middle_is_noticed", checkpoint_fails),
    ("failing::a_log_that_was_begun_anew_but_could_not_be_written_counts_for_nothing", restart_fails),
    ("failing::an_app_that_dies_in_a_checkpoint_and_comes_back_is_noticed", dies),
    ("failing::in_rollback_mode_no_commit_is_refused_while_nothing_is_locked", quick_path),
    ("failing::without_the_checkpoints_in_the_proof_a_torn_image_is_taken", without_checkpoints),
];

const WAL: &str = "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0";

/// An app whose main file has pages that later commits change, and whose log is short.
fn app() -> App {
    let mut app = App::with(WAL);
    (0..30).for_each(|_| app.commit());
    app.say("PRAGMA wal_checkpoint(TRUNCATE)");
    app.commit();
    app
}

/// Changes pages all over the main file.
const EVERYWHERE: &str =
    "BEGIN; UPDATE message SET text = hex(randomblob(61)); UPDATE s SET seq = seq + 1; COMMIT";

fn main_len(app: &App) -> u64 {
    std::fs::metadata(&app.path).unwrap().len()
}

/// How far the last checkpoint came, and how far it tried to.
#[expect(clippy::host_endian_bytes, reason = "the index is memory that the programs of one machine share")]
fn checkpoints(app: &App) -> (u32, u32) {
    let shm = std::fs::File::open(beside(&app.path, Sidecar::Shm)).unwrap();
    let number = |at| {
        let mut raw = [0; 4];
        shm.read_exact_at(&mut raw, at).unwrap();
        u32::from_ne_bytes(raw)
    };
    (number(96), number(128))
}

fn checkpoint_fails() -> Outcome {
    let mut app = app();
    let path = app.path.clone();
    let before = std::fs::read(&path).unwrap();
    let captured = take(&path, &mut |read| {
        if read == 1 {
            app.say(EVERYWHERE);
            app.limit(Some(main_len(&app) / 2));
            let failed = app.try_say("PRAGMA wal_checkpoint(PASSIVE)");
            assert!(failed.is_err(), "{failed:?}");
            app.limit(None);
            let (done, tried) = checkpoints(&app);
            assert!(done < tried, "it did not fail in the middle: {done} of {tried}");
            assert!(std::fs::read(&path).unwrap() != before, "nothing was written");
        }
    })
    .unwrap();
    assert_eq!((captured.reads, judge(&captured.value).unwrap().commit), (2, 32));
    app.commit();
    assert_eq!(app.say("PRAGMA integrity_check"), "ok");
    Outcome::Passed("half of the pages had been written".to_owned())
}

fn restart_fails() -> Outcome {
    let mut app = app();
    let path = app.path.clone();
    let header = || std::fs::read(beside(&path, Sidecar::Wal)).unwrap()[..32].to_vec();
    let before = header();
    for at in [0, 1] {
        let captured = take(&path, &mut |read| {
            if read == 1 && at == 1 {
                app.say(EVERYWHERE);
                assert!(app.say("PRAGMA wal_checkpoint(RESTART)").starts_with("0|"));
                app.limit(Some(0));
                // So little that nothing of it goes to a temporary file first.
                assert!(app.try_say("UPDATE s SET seq = seq + 1").is_err());
                let _ = app.try_say("ROLLBACK");
                app.limit(None);
                assert_eq!(header(), before, "the log was begun anew after all");
                assert_eq!(checkpoints(&app), (0, 0), "the index does not know of a new generation");
            }
        })
        .unwrap();
        assert_eq!((captured.reads, judge(&captured.value).unwrap().commit), (1 + at, u64::from(31 + at)));
    }
    // And once more, with nothing going on.
    assert_eq!(judge(&take(&path, &mut |_| {}).unwrap().value).unwrap().commit, 32);
    app.commit();
    assert_eq!(judge(&take(&path, &mut |_| {}).unwrap().value).unwrap().commit, 33);
    Outcome::Passed("the main file alone".to_owned())
}

fn dies() -> Outcome {
    let mut app = Some(app());
    let path = app.as_ref().unwrap().path.clone();
    let mut next = None;
    let captured = take(&path, &mut |read| {
        if read == 1 {
            let old = app.as_mut().unwrap();
            old.say(EVERYWHERE);
            old.limit(Some(main_len(old) / 2));
            assert!(old.try_say("PRAGMA wal_checkpoint(PASSIVE)").is_err());
            old.kill();
            let mut new = App::on(&path);
            new.commit();
            next = Some(new);
        }
    })
    .unwrap();
    assert!(captured.reads >= 2);
    assert_eq!(judge(&captured.value).unwrap().commit, 33);
    Outcome::Passed(format!("{} readings", captured.reads))
}

fn quick_path() -> Outcome {
    let mut readings = 0;
    for mode in ["DELETE", "TRUNCATE", "PERSIST"] {
        let mut app = App::with(&format!("PRAGMA journal_mode={mode}; PRAGMA busy_timeout=0"));
        (0..20).for_each(|_| app.commit());
        for number in 0..20 {
            // Each of them must go through at once: nobody tries again.
            let captured = take(&app.path.clone(), &mut |read| {
                if read <= number % 3 {
                    app.commit();
                }
            })
            .unwrap();
            assert_eq!((captured.reads, captured.held.as_nanos()), (number % 3 + 1, 0));
            judge(&captured.value).unwrap();
            readings += captured.reads;
            app.commit();
        }
    }
    Outcome::Passed(format!("{readings} readings"))
}

fn without_checkpoints() -> Outcome {
    let mut seen = Vec::new();
    for checks in [Checks { checkpoints: false, ..Checks::ALL }, Checks::ALL] {
        let mut app = app();
        let path = app.path.clone();
        let careless = Patience { checks, ..patience() };
        let captured = take_with(&path, &careless, &mut |_, _| {}, &mut |read| {
            if read == 1 {
                app.say(EVERYWHERE);
                assert!(app.say("PRAGMA wal_checkpoint(PASSIVE)").starts_with("0|"));
            }
        })
        .unwrap();
        seen.push((captured.reads, judge(&captured.value).is_ok()));
    }
    assert_eq!(seen, [(1, false), (2, true)]);
    Outcome::Passed("and with them it is read again".to_owned())
}
