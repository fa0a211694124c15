//! An app that replaces its database by a new one, as synchronising programs and restores of an app's own backup do, and
//! that trusts SQLite's word: after the last close there is no log.
//!
//! Snapshots are taken by the engine as a whole: what is opened by the walk may wait for a reader.

use crate::{Case, Outcome};
use chatvault_engine::backup::{self, BackupOptions, BackupSummary};
use chatvault_engine::base::{Observer, StoredPath, Timestamp};
use chatvault_engine::model::DatabaseState;
use chatvault_engine::repo::{Repo, Session};
use chatvault_engine::sqlite::capture::Sidecar;
use chatvault_engine::store::LocalStore;
use chatvault_tests::lab::Lab;
use chatvault_tests::sqlite::beside;
use rusqlite::Connection;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub const ROLE: &str = "--play-replacing";

pub const CASES: &[Case] = &[
    ("replaced::a_database_that_is_replaced_all_the_time_is_never_mixed_with_the_log_of_another", at_random),
    ("replaced::a_database_that_is_replaced_while_it_waits_for_a_reader_is_opened_anew", in_the_queue),
    ("replaced::an_app_that_trusts_its_close_never_finds_a_log_left", trusting),
];

/// How many snapshots, or generations, of so many in the long run.
fn count(of: u32) -> u32 {
    let captures = std::env::var("CHATVAULT_CAPTURES").map_or(100, |number| number.parse().unwrap());
    (of * captures / 1000).clamp(of / 10, of)
}

/// The app's side, until its input ends: one generation after the other. It tells how often a log was left.
pub fn play(arguments: &[String]) -> ExitCode {
    let [path, progress] = arguments else { return ExitCode::FAILURE };
    let (path, progress) = (Path::new(path), File::create(progress).unwrap());
    let ended = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let (mut generation, mut left) = (0_u64, 0_u64);
    while !ended.is_finished() {
        generation += 1;
        let aside = path.with_extension("aside");
        let db = Connection::open(&aside).unwrap();
        db.execute_batch(&format!(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;
             CREATE TABLE message(id INTEGER PRIMARY KEY, generation, text);
             WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 300)
             INSERT INTO message(generation, text) SELECT {generation}, hex(randomblob(200)) FROM r"
        ))
        .unwrap();
        db.close().unwrap();
        std::fs::rename(&aside, path).unwrap();
        let db = Connection::open(path).unwrap();
        db.execute_batch("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0").unwrap();
        for part in 0..4 {
            let sql =
                format!("UPDATE message SET text = hex(randomblob(200)) WHERE id % 4 = {part} AND id <= 60");
            db.execute_batch(&sql).unwrap();
        }
        pause(generation * 7);
        while path.with_extension("hold").exists() {
            progress.write_all_at(&generation.to_le_bytes(), 8).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        db.close().unwrap();
        let log = beside(path, Sidecar::Wal);
        if log.exists() {
            left += 1;
            // Else it would be that of the next generation.
            let _ = std::fs::remove_file(log);
            let _ = std::fs::remove_file(beside(path, Sidecar::Shm));
        }
        progress.write_all_at(&generation.to_le_bytes(), 0).unwrap();
        pause(generation * 5);
    }
    println!("{generation} {left}");
    ExitCode::SUCCESS
}

/// A moment, now longer, now shorter: without any, no reading would ever be fast enough to show anything.
fn pause(number: u64) {
    std::thread::sleep(std::time::Duration::from_millis(number % 12));
}

/// The tests' side.
struct Replacing {
    child: Child,
    progress: PathBuf,
    hold: PathBuf,
}

impl Replacing {
    fn start(lab: &Lab) -> Self {
        let (path, progress) = (lab.source().join("chat.db"), lab.path().join("progress"));
        let child = Command::new(std::env::current_exe().unwrap())
            .arg(ROLE)
            .args([&path, &progress])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let app = Self { child, progress, hold: path.with_extension("hold") };
        app.let_replace(2);
        app
    }

    fn generation(&self) -> u64 {
        self.number(0)
    }

    fn number(&self, at: u64) -> u64 {
        let mut raw = [0; 8];
        let file = File::open(&self.progress);
        file.and_then(|file| file.read_exact_at(&mut raw, at)).map_or(0, |()| u64::from_le_bytes(raw))
    }

    /// Lets the app replace its database twice, and then stop while it has the new one open and its last changes are in
    /// the log.
    fn hold(&self) {
        self.let_replace(2);
        let from = self.generation();
        File::create(&self.hold).unwrap();
        while self.number(8) <= from {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn go_on(&self) {
        std::fs::remove_file(&self.hold).unwrap();
    }

    fn let_replace(&self, times: u64) {
        let from = self.generation();
        while self.generation() < from + times {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Ends the app: its generations, and how often a log was left after a close.
    fn stop(mut self) -> (u64, u64) {
        drop(self.child.stdin.take());
        let mut line = String::new();
        BufReader::new(self.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(self.child.wait().unwrap().success(), "the app met an error");
        let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }
}

/// Between the walk, which has opened the database, and its reader: has the app replace it there, if there is an app.
struct Queue<'a>(Option<&'a Replacing>);

impl Observer for Queue<'_> {
    fn working_on(&self, path: &StoredPath) {
        if let Some(app) = self.0
            && path.name() == b"chat.db"
        {
            app.hold();
        }
    }
}

/// A repository whose sessions have the real time: stamps of files are compared with it.
fn repo(lab: &Lab) -> Repo {
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp::new(i64::try_from(since.as_secs()).unwrap(), since.subsec_nanos())
    };
    let session = Session { clock: Arc::new(now), pause: Arc::new(std::thread::sleep), ..lab.session() };
    let store = Arc::new(LocalStore::create(&lab.repository()).unwrap());
    Repo::create(store, &[lab.credential()], session).unwrap()
}

fn taken(lab: &Lab, repo: &Repo, observer: &dyn Observer) -> BackupSummary {
    let options = BackupOptions { paths: vec![lab.source()], ..BackupOptions::default() };
    backup::snapshot(repo, &options, observer).unwrap()
}

/// What the snapshots hold.
#[derive(Debug, Default)]
struct Seen {
    one_state: u32,
    /// Why they were stored as their files lay.
    as_it_lay: Vec<String>,
    mixed: Vec<String>,
}

impl Seen {
    /// Restores a snapshot and judges its database.
    fn judge(&mut self, lab: &Lab, repo: &Repo, summary: &BackupSummary) {
        let is_captured = summary
            .databases
            .iter()
            .find(|report| report.path.name() == b"chat.db")
            .is_some_and(|report| report.state != DatabaseState::AsItLay);
        if !is_captured {
            assert!(!summary.warnings.is_empty(), "told");
            self.as_it_lay.push(format!("{:?}", summary.warnings));
            return;
        }
        let restored =
            lab.restore_what_is_left(repo, &chatvault_tests::lab::find(repo, &summary.id), &lab.source());
        match generations(&restored.folder.join("chat.db")) {
            Ok(1) => self.one_state += 1,
            Ok(several) => self.mixed.push(format!("rows of {several} generations")),
            Err(e) => self.mixed.push(e),
        }
    }
}

/// Of how many generations the rows are, in a sound database.
fn generations(path: &Path) -> Result<i64, String> {
    let failed = |e: rusqlite::Error| e.to_string();
    let db = Connection::open(path).map_err(failed)?;
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(failed)?;
    if check != "ok" {
        return Err(check);
    }
    let sql = "SELECT count(*), count(DISTINCT generation) FROM message";
    let (rows, generations): (i64, i64) =
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    if rows == 300 { Ok(generations) } else { Err(format!("{rows} rows")) }
}

fn at_random() -> Outcome {
    let lab = Lab::light();
    let (repo, app) = (repo(&lab), Replacing::start(&lab));
    let mut seen = Seen::default();
    for _ in 0..count(300) {
        let summary = taken(&lab, &repo, &Queue(None));
        seen.judge(&lab, &repo, &summary);
    }
    let (generations, left) = app.stop();
    assert!(seen.mixed.is_empty(), "{seen:?}");
    // An app that is faster than any reading can be told, and is.
    assert!(seen.as_it_lay.len() * 4 <= count(300) as usize, "{seen:?}");
    assert!(generations > u64::from(count(300)), "the app hardly got on: {generations}");
    assert_eq!(left, 0, "logs left");
    Outcome::Passed(format!(
        "{} snapshots beside {generations} generations, {} as it lay",
        seen.one_state,
        seen.as_it_lay.len()
    ))
}

fn in_the_queue() -> Outcome {
    let lab = Lab::light();
    let (repo, app) = (repo(&lab), Replacing::start(&lab));
    let mut seen = Seen::default();
    for _ in 0..count(50) {
        let before = app.generation();
        let summary = taken(&lab, &repo, &Queue(Some(&app)));
        app.go_on();
        assert!(app.generation() >= before + 2, "it was not replaced meanwhile");
        seen.judge(&lab, &repo, &summary);
    }
    app.stop();
    assert!(seen.mixed.is_empty(), "{seen:?}");
    assert!(seen.as_it_lay.len() * 10 <= count(50) as usize, "{seen:?}");
    Outcome::Passed(format!("{} snapshots, {} as it lay", seen.one_state, seen.as_it_lay.len()))
}

fn trusting() -> Outcome {
    let lab = Lab::light();
    let (repo, app) = (repo(&lab), Replacing::start(&lab));
    let mut snapshots = 0;
    // On a slow machine few snapshots show nothing, however many generations there were.
    while app.generation() < u64::from(count(1000)) || snapshots < 10 {
        taken(&lab, &repo, &Queue(None));
        snapshots += 1;
    }
    let (generations, left) = app.stop();
    assert_eq!(left, 0, "logs left of {generations} closes beside {snapshots} snapshots");
    Outcome::Passed(format!("{generations} closes beside {snapshots} snapshots"))
}
