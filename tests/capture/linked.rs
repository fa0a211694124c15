//! A database with several names (hard links), of which an app uses one that is not in the snapshot.

use crate::app::App;
use crate::judge::judge;
use crate::{Case, Outcome};
use chatvault_engine::backup::BackupSummary;
use chatvault_engine::base::WarningKind;
use chatvault_engine::model::DatabaseState;
use chatvault_engine::repo::Repo;
use chatvault_engine::store::MemoryStore;
use chatvault_tests::Lab;
use chatvault_tests::lab::find;
use std::fs;
use std::sync::Arc;

pub const CASES: &[Case] = &[
    ("linked::a_name_whose_log_lies_outside_the_sources_is_flagged_and_told", outside),
    ("linked::a_name_in_rollback_mode_is_captured_without_its_journal", rollback),
];

/// A lab, and an app whose database lies beside its source.
fn with_app(pragmas: &str) -> (Lab, Repo, App) {
    let lab = Lab::light();
    let repo = lab.create_in(Arc::new(MemoryStore::new()));
    fs::create_dir(lab.path().join("app")).unwrap();
    let app = App::made(&lab.path().join("app/chat.db"), pragmas);
    (lab, repo, app)
}

/// Gives the database a further name, in the source.
fn link(lab: &Lab, app: &App) {
    fs::hard_link(&app.path, lab.source().join("other.db")).unwrap();
}

/// The state of the only database of a snapshot, and the number of the last commit in it.
fn stored(lab: &Lab, repo: &Repo, taken: &BackupSummary) -> (DatabaseState, u64) {
    let [report] = taken.databases.as_slice() else { panic!("{:?}", taken.databases) };
    let restored = lab.try_restore(repo, &find(repo, &taken.id), &lab.source()).unwrap();
    let image = fs::read(restored.folder.join("other.db")).unwrap();
    (report.state, judge(&image).unwrap().commit)
}

fn outside() -> Outcome {
    let (lab, repo, mut app) = with_app("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0");
    app.say("PRAGMA wal_checkpoint(TRUNCATE)");
    app.commit();
    link(&lab, &app);
    for round in 0..2 {
        lab.let_time_pass();
        let taken = lab.snapshot_of(&repo, &lab.source());
        let [warning] = taken.warnings.as_slice() else { panic!("{round}: {:?}", taken.warnings) };
        assert_eq!(warning.kind, WarningKind::DatabaseNotCaptured);
        assert!(warning.message.contains("it has several names"), "{}", warning.message);
        assert_eq!(stored(&lab, &repo, &taken), (DatabaseState::AsItLay, 0), "{round}");
    }
    app.close();
    lab.let_time_pass();
    let taken = lab.snapshot_of(&repo, &lab.source());
    assert_eq!(taken.warnings, []);
    assert_eq!(stored(&lab, &repo, &taken), (DatabaseState::Quiescent, 1));
    Outcome::Passed("until the app has closed it".to_owned())
}

fn rollback() -> Outcome {
    let (lab, repo, mut app) = with_app("PRAGMA journal_mode=DELETE");
    app.commit();
    app.say("BEGIN IMMEDIATE; UPDATE message SET text = 'not yet' WHERE id < 5");
    link(&lab, &app);
    lab.let_time_pass();
    let taken = lab.snapshot_of(&repo, &lab.source());
    assert_eq!(taken.warnings, []);
    assert_eq!(stored(&lab, &repo, &taken), (DatabaseState::Quiescent, 1));
    app.say("COMMIT");
    Outcome::Passed("nothing of its open transaction is in the main file".to_owned())
}
