//! Files that somebody deletes or renames under an app that has its database open.

use crate::app::App;
use crate::judge::judge;
use crate::take::take;
use crate::{Case, Outcome};
use chatvault_engine::sqlite::capture::{Missing, Sidecar};
use chatvault_tests::sqlite::beside;
use std::fs::{remove_file, rename};

pub const CASES: &[Case] = &[("missing::what_was_deleted_or_renamed_under_an_app_is_told", told)];

const WAL: &str = "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0";

fn told() -> Outcome {
    let app_with = |commits: u32| {
        let mut app = App::with(WAL);
        app.say("PRAGMA wal_checkpoint(TRUNCATE)");
        (0..commits).for_each(|_| app.commit());
        app
    };
    let app = app_with(3);
    let captured = take(&app.path, &mut |_| {}).unwrap();
    assert_eq!((captured.missing, judge(&captured.value).unwrap().commit), (None, 3));
    remove_file(beside(&app.path, Sidecar::Shm)).unwrap();
    let captured = take(&app.path, &mut |_| {}).unwrap();
    assert_eq!((captured.missing, judge(&captured.value).unwrap().commit), (Some(Missing::Index), 3));

    let app = app_with(3);
    remove_file(beside(&app.path, Sidecar::Wal)).unwrap();
    let captured = take(&app.path, &mut |_| {}).unwrap();
    assert_eq!((captured.missing, judge(&captured.value).unwrap().commit), (Some(Missing::Log), 0));

    let mut app = app_with(3);
    let other = app.path.with_file_name("other.db");
    rename(&app.path, &other).unwrap();
    let captured = take(&other, &mut |_| {}).unwrap();
    assert_eq!((captured.missing, judge(&captured.value).unwrap().commit), (Some(Missing::Name), 0));
    rename(&other, &app.path).unwrap();
    app.close();
    // Nobody has it open: then nothing is missing.
    let captured = take(&app.path, &mut |_| {}).unwrap();
    assert_eq!((captured.missing, judge(&captured.value).unwrap().commit), (None, 3));
    Outcome::Passed("log, index and name".to_owned())
}
