//! L3: the catalog's tables, and how a connection is set up.

use super::{get_meta, put_meta};
use crate::base::RepoId;
use crate::crypto::Secret;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, Error, ErrorCode};
use std::time::Duration;

/// The number of this layout; a catalog of any other number is thrown away.
pub const SCHEMA: i64 = 1;

/// Longest row that is written or read, in bytes.
pub(super) const MAX_ROW: usize = 128 * 1024 * 1024;

/// The statements that make the tables, in this order. SQLite keeps their text, and it is compared when a catalog is
/// opened, so that one with foreign tables, triggers or views is not used.
///
/// Numbers of packs and sources stand for their 32-byte names in the larger tables. In `blobs`, `copy` holds what
/// `blobs.rs` encodes; in `memory`, `path` is the folder with a slash at its end.
const TABLES: [&str; 7] = [
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL, mac BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE indexes (id BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE packs (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, \
     header BLOB NOT NULL, class INTEGER NOT NULL, padding INTEGER NOT NULL, blobs INTEGER NOT NULL, \
     plain INTEGER NOT NULL, sealed INTEGER NOT NULL, mac BLOB NOT NULL)",
    "CREATE TABLE blobs (id BLOB, kind INTEGER, pack INTEGER, ordinal INTEGER, copy BLOB NOT NULL, \
     PRIMARY KEY (id, kind, pack, ordinal)) WITHOUT ROWID",
    "CREATE TABLE manifests (id BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL, mac BLOB NOT NULL)",
    "CREATE TABLE sources (number INTEGER PRIMARY KEY, source BLOB NOT NULL UNIQUE, snapshot BLOB NOT NULL, \
     mac BLOB NOT NULL)",
    "CREATE TABLE memory (source INTEGER NOT NULL, path BLOB NOT NULL, bytes BLOB NOT NULL, mac BLOB NOT NULL, \
     UNIQUE (source, path))",
];

/// Why a catalog that is there is not used.
pub(super) enum Trouble {
    /// It must be made anew.
    Rebuild(String),
    /// It can be neither used nor replaced now.
    Unusable(Unusable),
}

/// Why no catalog can be kept in its folder now.
pub(super) struct Unusable {
    /// A clause without a capital and a full stop.
    pub(super) why: String,
    /// True if the disk is full or broken, and not merely closed to us.
    pub(super) disk_failed: bool,
}

impl From<Unusable> for Trouble {
    fn from(why: Unusable) -> Self {
        Self::Unusable(why)
    }
}

impl From<String> for Unusable {
    fn from(why: String) -> Self {
        Self { why, disk_failed: false }
    }
}

impl From<Error> for Unusable {
    fn from(e: Error) -> Self {
        Self { disk_failed: is_of_disk(&e), why: e.to_string() }
    }
}

/// True for failures of the disk: it is full, or it does not read or write. A file of our own folder that cannot be
/// opened or made is most likely one.
pub(super) fn is_of_disk(e: &Error) -> bool {
    matches!(
        e.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
    )
}

impl From<Error> for Trouble {
    fn from(e: Error) -> Self {
        match e.sqlite_error_code() {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::SystemIoFailure,
            ) => Self::Unusable(e.into()),
            _ => Self::Rebuild(format!("it is damaged ({e})")),
        }
    }
}

/// Sets up a connection: limits first, because the file is not trusted.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(MAX_ROW + 4096).unwrap_or(i32::MAX))?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        // Else each new value of a parameter may have its statement compiled again: 25 microseconds a look-up.
        (DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true),
    ] {
        connection.set_db_config(setting, on)?;
    }
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    // A file that shrinks under a memory map kills the process; a cell's size is checked before it is believed.
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    // To its end: it is then that the disk is asked, behind the one row.
    let mut change = connection.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = change.query(())?;
    while rows.next()?.is_some() {}
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
    connection.pragma_update(None, "synchronous", "NORMAL")
}

/// Makes the tables of an empty catalog.
pub(super) fn create(connection: &Connection, repo: &RepoId, key: &Secret) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    for table in TABLES {
        transaction.execute(table, ())?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    put_meta(&transaction, key, "repository", repo.as_bytes())?;
    transaction.commit()
}

/// Finds out whether a catalog is one of this version and this repository.
pub(super) fn verify(connection: &Connection, repo: &RepoId, key: &Secret) -> Result<(), Trouble> {
    let rebuild = |why: &str| Err(Trouble::Rebuild(why.to_owned()));
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != SCHEMA {
        return Err(Trouble::Rebuild(format!(
            "its layout has number {version}, and this program uses {SCHEMA}"
        )));
    }
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")?;
    let tables: Vec<String> = statement.query_map((), |row| row.get(0))?.collect::<Result<_, _>>()?;
    if tables != TABLES {
        return rebuild("its tables are not those of this program");
    }
    match get_meta(connection, key, "repository")? {
        Some(stored) if stored == repo.as_bytes() => Ok(()),
        Some(_) => rebuild("it belongs to another repository"),
        None => rebuild("it was written for another key, or it is damaged"),
    }
}
