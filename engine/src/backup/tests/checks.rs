//! What SQLite's check of a new state finds: told, recorded, and not asked again.

use super::databases::made;
use super::*;
use crate::model::lineage::Checked;
use crate::sqlite::verify::Integrity;
use rusqlite::Connection;

/// Alters a page in the middle of the table, so that SQLite notices.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let leaf = (20..).find(|page| bytes[page * 4096] == 0x0d).unwrap() * 4096;
    bytes[leaf + 8..leaf + 40].fill(0xff);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_database_is_stored_and_told_and_alarms_once() {
    let bench = Bench::new();
    made(&bench.path("chat.db"));
    bench.take();
    damage(&bench.path("chat.db"));
    let told = |summary: &BackupSummary| {
        let warned = summary.warnings.iter().filter(|w| w.kind == WarningKind::IntegrityFailed).count();
        (warned, summary.databases.iter().filter(|report| report.newly_damaged).count())
    };
    let first = bench.take();
    assert_eq!(told(&first), (1, 1));
    let stored = bench.content(&bench.database(&first, "chat.db"));
    assert!(stored == fs::read(bench.path("chat.db")).unwrap());
    assert_eq!(bench.lineage(&first)[0].checked, Checked::Failed);
    // The same state, read again: known, still told, no new alarm; and a run that asks nothing forgets nothing.
    for (integrity, warned) in [(Integrity::Quick, 1), (Integrity::None, 0), (Integrity::Quick, 1)] {
        let options = BackupOptions { force: true, integrity, ..bench.options() };
        assert_eq!(told(&snapshot(&bench.repo, &options, &Silent).unwrap()), (warned, 0));
    }
    // Another state that is damaged as well.
    let mut bytes = fs::read(bench.path("chat.db")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(bench.path("chat.db"), bytes).unwrap();
    assert_eq!(told(&bench.take()), (1, 1));
}

#[test]
fn a_preview_copies_and_checks_nothing() {
    struct Told(Mutex<Vec<Warning>>);
    impl Observer for Told {
        fn warn(&self, warning: &Warning) {
            self.0.lock().unwrap().push(warning.clone());
        }
    }
    let bench = Bench::new();
    made(&bench.path("chat.db"));
    damage(&bench.path("chat.db"));
    // Where a copy cannot be made, to want one would be told.
    for scratch_dir in [bench.dir.path().join("not there"), bench.dir.path().to_owned()] {
        let session = crate::repo::Session { scratch_dir: Some(scratch_dir), ..session(None) };
        let store = Arc::clone(&bench.store) as Arc<dyn Store>;
        let repo = Repo::open(store, &bench.key, session, &Silent).unwrap();
        let told = Told(Mutex::default());
        let seen = preview(&repo, &bench.options(), &told).unwrap();
        assert_eq!((seen.statistics.files_new, seen.warnings), (1, Vec::new()));
        assert_eq!(told.0.into_inner().unwrap(), []);
    }
    assert_eq!(bench.take().warnings[0].kind, WarningKind::IntegrityFailed, "the snapshot itself checks it");
}

#[test]
fn an_image_that_passed_is_not_checked_again_and_a_stricter_check_is_made() {
    let bench = Bench::new();
    made(&bench.path("chat.db"));
    let none = BackupOptions { integrity: Integrity::None, force: true, ..bench.options() };
    let checked =
        |options: &BackupOptions| snapshot(&bench.repo, options, &Silent).unwrap().databases[0].checked;
    assert_eq!(checked(&none), Checked::No);
    let quick = BackupOptions { integrity: Integrity::Quick, ..none.clone() };
    assert_eq!(checked(&quick), Checked::Quick);
    // Where a copy cannot be made a check would end as "not checked": what is known needs none.
    let mut session = session(None);
    session.scratch_dir = Some(bench.dir.path().join("not there"));
    let store = Arc::clone(&bench.store) as Arc<dyn Store>;
    let elsewhere = Repo::open(store, &bench.key, session, &Silent).unwrap();
    let summary = snapshot(&elsewhere, &quick, &Silent).unwrap();
    assert_eq!((summary.databases[0].checked, summary.warnings.len()), (Checked::Quick, 0));
    let full = BackupOptions { integrity: Integrity::Full, ..none };
    let summary = snapshot(&elsewhere, &full, &Silent).unwrap();
    assert_eq!(summary.databases[0].checked, Checked::No);
    assert_eq!(summary.warnings[0].kind, WarningKind::IntegrityNotChecked);
    assert_eq!(checked(&full), Checked::Full);
    assert_eq!(checked(&quick), Checked::Full, "what is known says more than is asked");
}

/// Writes other words into the description of a database, as an app with its own SQLite would have them.
fn reword(path: &Path, old: &str, new: &str) {
    let db = Connection::open(path).unwrap();
    let sql =
        format!("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '{old}', '{new}')");
    db.execute_batch(&sql).unwrap();
}

#[test]
fn what_a_check_left_out_is_told_and_a_full_one_then_counts_as_quick() {
    let bench = Bench::new();
    let path = bench.path("chat.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TABLE m(t TEXT); CREATE INDEX i ON m(t COLLATE NOCASE); INSERT INTO m VALUES(1)",
    )
    .unwrap();
    drop(db);
    reword(&path, "NOCASE", "LOCALIZED");
    let full = BackupOptions { integrity: Integrity::Full, force: true, ..bench.options() };
    // The second time it is asked again: a quick check is less than what is wanted.
    for _ in 0..2 {
        let summary = snapshot(&bench.repo, &full, &Silent).unwrap();
        assert_eq!(summary.databases[0].checked, Checked::Quick);
        assert_eq!(bench.lineage(&summary)[0].checked, Checked::Quick);
        let [warning] = &summary.warnings[..] else { panic!("{:?}", summary.warnings) };
        assert_eq!(warning.kind, WarningKind::IntegrityIncomplete);
        let words = "left out: the indexes of the table m: no such collation sequence: LOCALIZED";
        assert!(warning.message.ends_with(words), "{}", warning.message);
    }
    let quick = BackupOptions { integrity: Integrity::Quick, ..full };
    let summary = snapshot(&bench.repo, &quick, &Silent).unwrap();
    assert_eq!((summary.databases[0].checked, summary.warnings.len()), (Checked::Quick, 0));
}

#[test]
fn odd_values_are_told_and_alarm_nobody() {
    let bench = Bench::new();
    let path = bench.path("chat.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE m(t TEXT); INSERT INTO m VALUES(NULL)")
        .unwrap();
    reword(&path, "t TEXT", "t TEXT NOT NULL");
    let summary = bench.take();
    let report = &summary.databases[0];
    assert_eq!((report.checked, report.newly_damaged), (Checked::Quick, false));
    let [warning] = &summary.warnings[..] else { panic!("{:?}", summary.warnings) };
    assert_eq!(warning.kind, WarningKind::OddValues);
    assert!(warning.message.ends_with("tables do not allow: NULL value in m.t"), "{}", warning.message);
}
