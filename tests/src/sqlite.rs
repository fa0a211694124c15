//! Databases as SQLite leaves them, and what it makes of them.

use chatvault_engine::sqlite::capture::Sidecar;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

/// The path of a sidecar.
#[must_use]
pub fn beside(path: &Path, sidecar: Sidecar) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(sidecar.suffix());
    name.into()
}

/// Runs a statement and all rows that it gives.
///
/// # Panics
/// Panics if SQLite refuses.
#[track_caller]
pub fn all(db: &Connection, sql: &str) {
    let mut statement = db.prepare(sql).unwrap();
    let mut rows = statement.query(()).unwrap();
    while rows.next().unwrap().is_some() {}
}

/// What a database is by its own rules: the bytes that SQLite leaves when it has merged, or taken back, what is pending
/// beside a copy of it. `scratch` is a folder for the copy.
///
/// # Panics
/// Panics if SQLite cannot open it.
#[must_use]
pub fn image(path: &Path, scratch: &Path) -> Vec<u8> {
    let copy = scratch.join("image.db");
    let mut is_pending = false;
    for sidecar in [Sidecar::Wal, Sidecar::Journal] {
        let _not_there = fs::remove_file(beside(&copy, sidecar));
        if fs::metadata(beside(path, sidecar)).is_ok_and(|metadata| metadata.len() > 0) {
            fs::copy(beside(path, sidecar), beside(&copy, sidecar)).unwrap();
            is_pending = true;
        }
    }
    if !is_pending {
        return fs::read(path).unwrap();
    }
    fs::copy(path, &copy).unwrap();
    let db = Connection::open(&copy).unwrap();
    // An unfinished change is taken back when the first page is read.
    all(&db, "SELECT * FROM sqlite_schema");
    all(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
    db.close().unwrap();
    fs::read(&copy).unwrap()
}
