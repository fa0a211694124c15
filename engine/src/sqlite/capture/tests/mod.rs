//! Captures of databases whose app is not running, compared byte for byte with what SQLite itself makes of a copy of
//! theirs. What needs a running app stands in `tests/capture/`: SQLite's locks are those of a process.

mod damage;
mod hostile;
mod journals;
mod logs;
mod names;
mod proof;
mod waiting;

use super::*;
use rusqlite::Connection;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What lies beside a main file, by path.
struct Folder<'a>(&'a Path);

impl Beside for Folder<'_> {
    fn open(&self, sidecar: Sidecar) -> io::Result<Option<OwnedFd>> {
        match File::open(sidecar_of(self.0, sidecar)) {
            Ok(file) => Ok(Some(file.into())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn identity(&self, sidecar: Option<Sidecar>) -> io::Result<Option<(u64, u64)>> {
        let path = sidecar.map_or_else(|| self.0.to_owned(), |sidecar| sidecar_of(self.0, sidecar));
        match path.metadata() {
            Ok(stat) => Ok(Some((stat.dev(), stat.ino()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn sidecar_of(main: &Path, sidecar: Sidecar) -> PathBuf {
    PathBuf::from(format!("{}{}", main.display(), sidecar.suffix()))
}

const SIDECARS: [Sidecar; 3] = [Sidecar::Wal, Sidecar::Shm, Sidecar::Journal];

/// A time at which every file was long settled.
fn later() -> Timestamp {
    Timestamp::new(1 << 40, 1)
}

/// An image, whole, with what the capture said of it.
type Whole = Result<(Vec<u8>, Captured<()>), Failed<io::Error>>;

fn taken(main: &Path, kind: Kind) -> Whole {
    let file = File::open(main).unwrap();
    let mut bytes = Vec::new();
    let patience = Patience::new(&|_| {}, &later);
    let captured = capture(file.as_fd(), &Folder(main), kind, &patience, &mut |image| {
        bytes.clear();
        image.reader().read_to_end(&mut bytes)?;
        assert_eq!(bytes.len() as u64, image.len());
        check_places(image, &bytes);
        Ok(())
    })?;
    assert_eq!(captured.len, bytes.len() as u64);
    Ok((bytes, captured))
}

/// Reads at odd places, with odd lengths.
fn check_places(image: &Image<'_>, whole: &[u8]) {
    let mut buf = vec![0; 70_001];
    let len = whole.len();
    for at in [0, 1, 99, 511, 513, 4095, 65_537, len / 2, len.saturating_sub(3), len, len + 9] {
        for most in [0, 1, 700, 70_001] {
            let count = image.read_at(&mut buf[..most], at as u64).unwrap();
            assert_eq!(buf[..count], whole[at.min(len)..(at + most).min(len)], "{most} bytes at {at}");
        }
    }
}

/// A folder in which a database is written, and another in which it is left as by an app that was killed.
struct Crash {
    _folder: tempfile::TempDir,
    written: PathBuf,
    left: PathBuf,
    db: Connection,
}

impl Crash {
    fn new(pragmas: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder.join("chat.db")
        };
        let (written, left) = (place("written"), place("left"));
        let db = Connection::open(&written).unwrap();
        db.execute_batch(pragmas).unwrap();
        Self { _folder: folder, written, left, db }
    }

    fn run(&self, sql: &str) -> &Self {
        self.db.execute_batch(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        self
    }

    /// Leaves the files as they lie now.
    fn leave(&self) -> &Path {
        copy(&self.written, &self.left, &SIDECARS);
        &self.left
    }
}

/// Copies a database with these sidecars, and removes others.
fn copy(from: &Path, to: &Path, sidecars: &[Sidecar]) {
    std::fs::copy(from, to).unwrap();
    for sidecar in SIDECARS {
        let (from, to) = (sidecar_of(from, sidecar), sidecar_of(to, sidecar));
        if sidecars.contains(&sidecar) && from.exists() {
            std::fs::copy(from, to).unwrap();
        } else if to.exists() {
            std::fs::remove_file(to).unwrap();
        }
    }
}

/// What SQLite leaves as the main file after it has recovered a copy, and written its log back.
fn by_sqlite(main: &Path) -> rusqlite::Result<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own.db");
    copy(main, &own, &[Sidecar::Wal, Sidecar::Journal]);
    let db = Connection::open(&own)?;
    let checkpoint = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(0)?))
    });
    match checkpoint {
        Ok((mode, busy)) => assert!(busy == 0 && mode <= 0, "{busy} {mode}"),
        // It rolled back what a damaged journal said, and only then found that this is no sound database.
        Err(e)
            if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt)
                && was_rolled_back(main, &own) => {}
        Err(e) => return Err(e),
    }
    // A database in rollback mode is recovered by who reads it.
    let _ = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    db.close().map_err(|(_, e)| e)?;
    // SQLite believes a journal that claims terabytes, and leaves a file of holes.
    if std::fs::metadata(&own).unwrap().len() > 1 << 26 {
        return Err(rusqlite::Error::InvalidQuery);
    }
    Ok(std::fs::read(own).unwrap())
}

/// True if there was a journal, and SQLite has taken it away from its own copy.
fn was_rolled_back(main: &Path, own: &Path) -> bool {
    sidecar_of(main, Sidecar::Journal).exists() && !sidecar_of(own, Sidecar::Journal).exists()
}

/// Captures a database and compares it with what SQLite makes of it.
fn same_as_sqlite(main: &Path) -> Captured<()> {
    let (bytes, captured) = taken(main, Kind::Plain).unwrap();
    let expected = by_sqlite(main).unwrap();
    assert_eq!(bytes.len(), expected.len());
    let size = captured.page_size.unwrap() as usize;
    let differ: Vec<usize> = (0..bytes.len().div_ceil(size))
        .filter(|at| page(&bytes, *at, size) != page(&expected, *at, size))
        .collect();
    assert!(differ.is_empty(), "pages {differ:?} (from 0) differ");
    captured
}

fn page(bytes: &[u8], at: usize, size: usize) -> &[u8] {
    &bytes[at * size..((at + 1) * size).min(bytes.len())]
}

/// Rows that fill many pages.
const FILL: &str = "CREATE TABLE message(id INTEGER PRIMARY KEY, text);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
    INSERT INTO message SELECT i, hex(randomblob(200)) FROM n;
    CREATE INDEX by_text ON message(text);";

const PAGE_SIZES: [u32; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];
