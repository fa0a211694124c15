//! Databases whose apps keep them locked, whose logs are damaged, or whose files are not where they belong. The app is
//! played by a descriptor that has its locks.

use super::*;
use crate::backup::NotChecked;
use crate::model::lineage::Checked;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A database as a killed app leaves it, with what lies beside it.
fn left(bench: &Bench, name: &str, mode: &str, last: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let from = scratch.path().join("chat.db");
    let db = Connection::open(&from).unwrap();
    db.execute_batch(&format!("PRAGMA journal_mode={mode}; PRAGMA cache_size=5; CREATE TABLE m(t); BEGIN"))
        .unwrap();
    for number in 0..400 {
        db.execute("INSERT INTO m VALUES(?)", [format!("{number:0>300}")]).unwrap();
    }
    db.execute_batch(&format!("COMMIT; {last}")).unwrap();
    fs::create_dir_all(bench.path(name).parent().unwrap()).unwrap();
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let file = scratch.path().join(format!("chat.db{suffix}"));
        if file.exists() {
            fs::copy(file, bench.path(&format!("{name}{suffix}"))).unwrap();
        }
    }
}

/// Has the database exclusively, as an app in exclusive locking mode has.
fn locked(path: &Path) -> File {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let small = |number: libc::c_int| libc::c_short::try_from(number).unwrap();
    let lock = libc::flock {
        l_type: small(libc::F_WRLCK),
        l_whence: small(libc::SEEK_SET),
        l_start: 1 << 30,
        l_len: 512,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    file
}

/// Takes a snapshot, and says how long it paused.
fn paused(bench: &Bench) -> (BackupSummary, Duration) {
    let waited = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&waited);
    let pause = move |time: Duration| {
        counted.fetch_add(u64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
    };
    let session = crate::repo::Session { pause: Arc::new(pause), ..session(None) };
    let store = Arc::clone(&bench.store) as Arc<dyn Store>;
    let repo = Repo::open(store, &bench.key, session, &Silent).unwrap();
    let summary = snapshot(&repo, &bench.options(), &Silent).unwrap();
    (summary, Duration::from_micros(waited.load(Ordering::SeqCst)))
}

#[test]
fn idle_apps_that_lock_their_databases_exclusively_cost_no_wait_and_are_checked() {
    let bench = Bench::new();
    let mut apps = Vec::new();
    for number in 0..24 {
        let name = format!("profile {number}/cookies.db");
        left(&bench, &name, ["WAL", "TRUNCATE", "PERSIST"][number % 3], "");
        apps.push(locked(&bench.path(&name)));
    }
    for _ in 0..2 {
        let (summary, waited) = paused(&bench);
        assert_eq!((waited, summary.warnings.as_slice()), (Duration::ZERO, &[][..]));
        assert_eq!((summary.database_counts.read, summary.database_counts.sound), (24, 24));
        assert!(
            summary.databases.iter().all(|report| report.checked == Checked::Quick && report.held_ms == 0)
        );
        assert!(summary.databases.iter().all(|report| report.state != DatabaseState::AsItLay));
    }
}

#[test]
fn apps_that_are_in_the_middle_of_writing_are_waited_for_ten_seconds_all_together() {
    let bench = Bench::new();
    let mut apps = Vec::new();
    for number in 0..12 {
        let name = format!("{number}.db");
        left(&bench, &name, "DELETE", "BEGIN; UPDATE m SET t = t || 'x'");
        assert!(bench.path(&format!("{name}-journal")).exists(), "nothing was spilled");
        apps.push(locked(&bench.path(&name)));
    }
    let (summary, waited) = paused(&bench);
    assert!(waited > Duration::from_secs(5) && waited <= Duration::from_secs(10), "{waited:?}");
    let told = summary.warnings.iter().filter(|w| w.kind == WarningKind::DatabaseNotCaptured);
    assert_eq!(told.count(), 12);
    for report in &summary.databases {
        assert_eq!(
            (report.state, report.not_checked),
            (DatabaseState::AsItLay, Some(NotChecked::NotCaptured))
        );
    }
}

/// A bit of a frame in the middle of the log, behind which transactions end.
fn damage(path: &Path) {
    let mut log = fs::read(path).unwrap();
    let middle = 32 + (log.len() - 32) / 4120 / 2 * 4120 + 999;
    log[middle] ^= 1;
    fs::write(path, log).unwrap();
}

#[test]
fn a_damaged_log_is_kept_with_its_database_and_told_each_time() {
    let bench = Bench::new();
    let more =
        "INSERT INTO m VALUES(zeroblob(3000)); INSERT INTO m VALUES(1); INSERT INTO m VALUES(zeroblob(9999))";
    left(&bench, "chat.db", "WAL", more);
    let log = bench.path("chat.db-wal");
    let sound = bench.take();
    assert_eq!((sound.warnings.len(), sound.database_counts.damaged_logs), (0, 0));
    damage(&log);
    for _ in 0..2 {
        let summary = bench.take();
        assert_eq!(summary.warnings.iter().map(|w| w.kind).collect::<Vec<_>>(), [WarningKind::LogDamaged]);
        assert_eq!(summary.database_counts.damaged_logs, 1);
        let node = bench.node(&summary, &bench.path("chat.db")).unwrap();
        let kept = node.damaged_log().unwrap();
        assert_eq!(kept.name, b"chat.db-wal.damaged");
        assert!(bench.elsewhere().content(&kept) == fs::read(&log).unwrap());
        assert!(bench.node(&summary, &log).is_none(), "no entry of its own");
    }
}

#[test]
fn a_log_whose_main_file_is_gone_is_told() {
    let bench = Bench::new();
    left(&bench, "chat.db", "WAL", "");
    fs::rename(bench.path("chat.db"), bench.path("renamed.db")).unwrap();
    left(&bench, "empty.db", "WAL", "PRAGMA wal_checkpoint(TRUNCATE)");
    fs::remove_file(bench.path("empty.db")).unwrap();
    let summary = bench.take();
    let told: Vec<_> = summary.warnings.iter().map(|w| (w.kind, w.path.as_ref().unwrap().name())).collect();
    assert_eq!(told, [(WarningKind::DatabaseFileMissing, &b"chat.db-wal"[..])]);
    assert!(summary.warnings[0].message.ends_with("there is no chat.db beside it"));
}
