//! What the apps of these lives do to their databases.

use chatvault_engine::sqlite::capture::Sidecar;
use chatvault_tests::bytes::{noise, text};
use chatvault_tests::sqlite::{all, beside};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::fs;
use std::path::Path;

/// Makes the tables of a new database.
pub fn create(db: &Connection, page: u32) {
    all(db, &format!("PRAGMA page_size={page}"));
    for table in [
        "CREATE TABLE message(id INTEGER PRIMARY KEY, chat INTEGER, key BLOB, words TEXT)",
        "CREATE TABLE media(id INTEGER PRIMARY KEY, content BLOB)",
    ] {
        all(db, table);
    }
}

/// Adds messages.
pub fn insert(db: &Connection, rows: u32, size: usize, seed: u8) {
    let transaction = db.unchecked_transaction().unwrap();
    let mut insert = db.prepare("INSERT INTO message(chat, key, words) VALUES(?, ?, ?)").unwrap();
    let words = String::from_utf8(text(&seed.to_string(), size + rows as usize)).unwrap();
    for (row, key) in (0..rows).zip(noise(&seed.to_string(), 16 * rows as usize).chunks(16)) {
        insert.execute((row % 7, key, &words[row as usize..row as usize + size])).unwrap();
    }
    drop(insert);
    transaction.commit().unwrap();
}

/// Changes some messages in a row.
pub fn update(db: &Connection, from: u32, rows: u32, seed: u8) {
    db.execute(
        "UPDATE message SET chat = chat + 1, words = ?1 || id || substr(words, 8)
         WHERE id IN (SELECT id FROM message ORDER BY id LIMIT ?2 OFFSET ?3)",
        (format!("<{seed:03}> "), rows, from),
    )
    .unwrap();
}

/// Deletes a part of all.
pub fn delete(db: &Connection, part: u8) {
    db.execute("DELETE FROM message WHERE id % 6 = ?1 % 6", [part]).unwrap();
    db.execute("DELETE FROM media WHERE id % 3 = ?1 % 3", [part]).unwrap();
}

/// Stores a medium.
pub fn blob(db: &Connection, size: u32, seed: u8) {
    db.execute("INSERT INTO media(content) VALUES(?)", [noise(&format!("medium {seed}"), size as usize)])
        .unwrap();
}

/// Rewrites the database with pages of another size; true if it has them then.
pub fn page_size(db: &Connection, bytes: u32) -> bool {
    let size = || db.query_row("PRAGMA page_size", (), |row| row.get::<_, u32>(0)).unwrap();
    let (before, mode): (u32, String) =
        (size(), db.query_row("PRAGMA journal_mode", (), |row| row.get(0)).unwrap());
    // A database in WAL mode keeps its pages.
    all(db, "PRAGMA journal_mode=DELETE");
    all(db, &format!("PRAGMA page_size={bytes}"));
    all(db, "VACUUM");
    all(db, &format!("PRAGMA journal_mode={mode}"));
    size() == bytes && before != bytes
}

/// Makes an index, or takes it away.
pub fn index(db: &Connection) {
    let there =
        db.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'by_key'", (), |row| row.get(0));
    match there.unwrap() {
        0 => all(db, "CREATE INDEX by_key ON message(key, chat)"),
        1 => all(db, "DROP INDEX by_key"),
        other => panic!("{other} indexes"),
    }
}

/// Leaves the files as an app does that is killed while it writes a large change: pages of it are in the main file, and
/// a journal says what they were. False if nothing was written yet.
pub fn cut_off(path: &Path, scratch: &Path, seed: u8) -> bool {
    let db = Connection::open(path).unwrap();
    all(&db, "PRAGMA journal_mode=DELETE");
    all(&db, "PRAGMA cache_size=2");
    all(&db, "BEGIN");
    update(&db, 0, 100_000, seed);
    blob(&db, 60_000, seed);
    let files = [path.to_owned(), beside(path, Sidecar::Journal)];
    let kept = [scratch.join("main"), scratch.join("journal")];
    for (file, kept) in files.iter().zip(&kept) {
        fs::copy(file, kept).unwrap();
    }
    all(&db, "ROLLBACK");
    db.close().unwrap();
    let is_written = fs::read(path).unwrap() != fs::read(&kept[0]).unwrap();
    if is_written {
        for (file, kept) in files.iter().zip(&kept) {
            fs::write(file, fs::read(kept).unwrap()).unwrap();
        }
    }
    is_written
}

/// From now on the last connection leaves its log as it is.
pub fn leave_frames(db: &Connection) {
    assert!(db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap());
}
