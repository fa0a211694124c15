//! An app that writes without a pause: transactions of twenty rows, checkpoints of all kinds, VACUUM, changes of the
//! schema and of the journal mode, and a connection that is closed and opened again. It waits for nobody, so that every
//! lock that it meets is counted.

use crate::app::COMMIT;
use rusqlite::{Connection, ErrorCode};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

pub const ROLE: &str = "--play-busy";

/// What the app counts, in this order in its report.
pub const COUNTED: [&str; 13] = [
    "commits in WAL mode",
    "of them refused",
    "commits in rollback mode",
    "of them refused",
    "checkpoints",
    "of them put off",
    "VACUUM",
    "of them refused",
    "schema changes",
    "of them refused",
    "journal modes changed",
    "of them put off",
    "reopened",
];

const COMMITS_WAL: usize = 0;
const COMMITS_ROLLBACK: usize = 2;
const CHECKPOINTS: usize = 4;
const VACUUM: usize = 6;
const SCHEMA: usize = 8;
const MODES: usize = 10;
const REOPENED: usize = 12;

/// The app keeps the last rows only.
const TRIM: &str = "DELETE FROM message WHERE id <= (SELECT max(id) FROM message) - 6000;
    UPDATE s SET n = (SELECT count(*) FROM message)";

struct Writer {
    path: String,
    db: Connection,
    /// Where the number of the last commit is told.
    progress: File,
    random: u64,
    is_wal: bool,
    counts: [u64; COUNTED.len()],
    commits: u64,
}

/// The app's side: until its input ends.
pub fn play(arguments: &[String]) -> ExitCode {
    let [path, progress, seed, stays_wal] = arguments else { return ExitCode::FAILURE };
    let progress = File::create(progress).unwrap();
    let db = opened(path);
    let random = seed.parse().unwrap();
    let mut writer = Writer {
        path: path.clone(),
        db,
        progress,
        random,
        is_wal: true,
        counts: [0; COUNTED.len()],
        commits: 0,
    };
    let ended = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    while !ended.is_finished() {
        writer.step(stays_wal == "1");
    }
    let report: Vec<String> = writer.counts.iter().map(u64::to_string).collect();
    println!("{}", report.join(" "));
    ExitCode::SUCCESS
}

fn opened(path: &str) -> Connection {
    let db = Connection::open(path).unwrap();
    // Until the database is made, and after a reopening, the connection is patient: both are no commits.
    db.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    db.execute_batch("PRAGMA wal_autocheckpoint=50; PRAGMA synchronous=OFF; PRAGMA cache_size=40").unwrap();
    db.query_row("SELECT count(*) FROM s", [], |row| row.get::<_, i64>(0)).unwrap();
    db.busy_timeout(std::time::Duration::ZERO).unwrap();
    db
}

impl Writer {
    fn below(&mut self, most: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % most
    }

    fn step(&mut self, stays_wal: bool) {
        self.commit();
        if self.below(12) == 0 {
            self.checkpoint();
        }
        if self.below(60) == 0 {
            // In rollback mode the size of the pages changes with it.
            let size = [1024, 4096, 8192][usize::try_from(self.below(3)).unwrap()];
            self.counted(VACUUM, &format!("PRAGMA page_size={size}; VACUUM"));
        }
        if self.below(30) == 0 {
            let name = self.below(3);
            self.counted(SCHEMA, &format!("CREATE TABLE IF NOT EXISTS extra{name}(a, b); CREATE INDEX IF NOT EXISTS i{name} ON extra{name}(a)"));
            let gone = self.below(3);
            self.counted(SCHEMA, &format!("DROP TABLE IF EXISTS extra{gone}"));
        }
        if !stays_wal && self.below(80) == 0 {
            self.change_mode();
        }
        if self.below(150) == 0 {
            self.reopen();
        }
    }

    /// Tries again until it is done; it counts as refused once, however often that was.
    fn commit(&mut self) {
        let at = if self.is_wal { COMMITS_WAL } else { COMMITS_ROLLBACK };
        let refused = self.counts[at + 1];
        let (body, end) = COMMIT.rsplit_once(';').unwrap();
        while !self.is_done(at + 1, &format!("{body};")) {
            let _ = self.db.execute_batch("ROLLBACK");
        }
        if self.below(40) == 0 {
            while !self.is_done(at + 1, &format!("{TRIM};")) {}
        }
        while !self.is_done(at + 1, end) {
            std::thread::yield_now();
        }
        self.counts[at] += 1;
        self.counts[at + 1] = self.counts[at + 1].min(refused + 1);
        self.commits += 1;
        self.progress.write_all_at(&self.commits.to_le_bytes(), 0).unwrap();
    }

    fn counted(&mut self, at: usize, sql: &str) {
        self.counts[at] += 1;
        self.is_done(at + 1, sql);
    }

    /// Runs it; if it was refused, counts that. Every other error ends the app, and with it the test.
    fn is_done(&mut self, refused: usize, sql: &str) -> bool {
        match self.db.execute_batch(sql) {
            Ok(()) => true,
            Err(e)
                if matches!(
                    e.sqlite_error_code(),
                    Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
                ) =>
            {
                self.counts[refused] += 1;
                false
            }
            Err(e) => panic!("{sql}: {e}"),
        }
    }

    fn checkpoint(&mut self) {
        let mode = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][usize::try_from(self.below(4)).unwrap()];
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let busy: i64 = self.db.query_row(&sql, [], |row| row.get(0)).unwrap();
        self.counts[CHECKPOINTS] += u64::from(self.is_wal);
        self.counts[CHECKPOINTS + 1] += u64::from(busy == 1);
    }

    fn change_mode(&mut self) {
        let other = ["DELETE", "TRUNCATE", "PERSIST"][usize::try_from(self.below(3)).unwrap()];
        let sql = format!("PRAGMA journal_mode={}", if self.is_wal { other } else { "WAL" });
        self.counts[MODES] += 1;
        match self.db.query_row(&sql, [], |row| row.get::<_, String>(0)) {
            Ok(mode) => {
                let was_wal = std::mem::replace(&mut self.is_wal, mode == "wal");
                self.counts[MODES + 1] += u64::from(was_wal == self.is_wal);
            }
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => self.counts[MODES + 1] += 1,
            Err(e) => panic!("{sql}: {e}"),
        }
    }

    fn reopen(&mut self) {
        let closed = std::mem::replace(&mut self.db, Connection::open_in_memory().unwrap());
        closed.close().map_err(|(_, e)| e).unwrap();
        self.db = opened(&self.path);
        self.counts[REOPENED] += 1;
    }
}

/// The tests' side.
#[derive(Debug)]
pub struct Busy {
    child: Child,
    progress: File,
    /// The main file.
    pub path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Busy {
    pub fn start(seed: u64, stays_wal: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, progress) = (folder.path().join("db").join("chat.db"), folder.path().join("progress"));
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        make(&path);
        std::fs::write(&progress, [0; 8]).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .arg(ROLE)
            .args([&path, &progress])
            .arg(seed.to_string())
            .arg(if stays_wal { "1" } else { "0" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let progress = File::open(progress).unwrap();
        Self { child, progress, path, _folder: folder }
    }

    /// Commits that the app has made.
    pub fn commits(&self) -> u64 {
        let mut number = [0; 8];
        // While the app starts there is none.
        if self.progress.read_exact_at(&mut number, 0).is_err() {
            return 0;
        }
        u64::from_le_bytes(number)
    }

    /// Lets the app go on until it has made so many more commits, or until it has had long enough for them.
    pub fn let_commit(&mut self, more: u64) -> bool {
        let (from, begun) = (self.commits(), std::time::Instant::now());
        while self.commits() < from + more {
            assert!(self.child.try_wait().unwrap().is_none(), "the app has ended");
            if begun.elapsed() > std::time::Duration::from_millis(400) {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    /// Ends the app; what it counted.
    pub fn stop(mut self) -> [u64; COUNTED.len()] {
        drop(self.child.stdin.take());
        let mut line = String::new();
        BufReader::new(self.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(self.child.wait().unwrap().success(), "the app met an error");
        assert!(crate::judge::state_of(&self.path).is_ok(), "the app's own database is sound");
        let counts: Vec<u64> = line.split_whitespace().map(|count| count.parse().unwrap()).collect();
        counts.try_into().unwrap()
    }
}

/// In a process of nobody: it is closed before the app starts, and before anybody looks.
fn make(path: &Path) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;
         CREATE TABLE message(id INTEGER PRIMARY KEY, text); CREATE INDEX by_text ON message(text);
         CREATE TABLE s(n, seq); INSERT INTO s VALUES(0, 0)",
    )
    .unwrap();
    for _ in 0..100 {
        db.execute_batch(COMMIT).unwrap();
    }
    db.execute_batch("UPDATE s SET seq = 0").unwrap();
    db.close().unwrap();
}
