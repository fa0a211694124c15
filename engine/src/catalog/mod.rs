//! L3: the catalog, a SQLite database in the local cache that answers what would else be read from the repository.
//!
//! It can always be made again from the repository and is never the only copy of anything but convenience. It is also
//! the one file of this program that other programs, disks and users may have altered. Damage is noticed when it is
//! opened: by its seal (`seal.rs`) after a clean end, else row by row (`check.rs`). For what happens later, rows whose
//! wrong answer would do harm carry a keyed checksum. A row that fails it is taken for missing where that only costs
//! time (manifests, stat memory, writer), and reported as [`crate::base::Kind::Catalog`] where it would hide something
//! (blobs, packs).

mod blobs;
mod check;
mod deltas;
mod files;
mod folders;
mod log;
mod manifests;
mod memory;
mod orphans;
mod schema;
pub mod scratch;
mod seal;
mod settle;
mod staged;
#[cfg(test)]
mod tests;
mod writer;

pub use blobs::{BlobCopy, ClassTotals};
pub use deltas::DeltaTotals;
pub use folders::{CacheFolder, Clearing, caches, clear_cache};
pub use schema::SCHEMA;
pub use staged::Staged;
pub use writer::{WriterLock, WriterState};

use crate::base::{Error, Kind, RepoId, Result, SnapshotId};
use crate::crypto::Secret;
use files::Home;
use rusqlite::{Connection, OptionalExtension, Row};
use schema::Unusable;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The catalog of one repository. All methods may be called from several threads; each takes the one connection.
///
/// Every failure is [`Kind::Catalog`]: the caller may go on without it, or [`Catalog::destroy`] it and open again.
pub struct Catalog {
    // Closed before the home's lock is given back: the fields are dropped in this order.
    connection: Mutex<Connection>,
    key: Secret,
    /// The snapshot that [`Catalog::memory_open`] or [`Catalog::memory_commit`] last gave for a source.
    seen: Mutex<HashMap<[u8; 32], SnapshotId>>,
    home: Option<Home>,
    /// It is in memory because of its disk.
    disk_failed: bool,
}

impl Catalog {
    /// Opens the catalog in a folder that holds nothing else (it is made if missing), or one in memory for `None`.
    ///
    /// The text says why an earlier catalog was thrown away, or why this one is in memory: because the folder cannot be
    /// used, or because another running program uses a catalog in it that does not fit. It is a clause without a
    /// capital and a full stop. `mac_key` must be the same for every catalog of the repository and known to no other.
    pub fn open(
        dir: Option<&Path>,
        repo: &RepoId,
        mac_key: impl Into<Secret>,
    ) -> Result<(Self, Option<String>)> {
        let key = mac_key.into();
        let Some(dir) = dir else { return Ok((Self::in_memory(repo, key)?, None)) };
        match files::open(dir, repo, &key) {
            Ok((connection, home, why)) => Ok((Self::with(connection, key, Some(home)), why)),
            Err(Unusable { why, disk_failed }) => {
                let catalog = Self { disk_failed, ..Self::in_memory(repo, key)? };
                Ok((catalog, Some(format!("it is kept in memory for now: {why}"))))
            }
        }
    }

    /// Closes the catalog and deletes it. Fails, and deletes nothing, while another program uses it.
    pub fn destroy(self) -> Result<()> {
        self.distrust();
        let Self { connection, home, .. } = self;
        drop(connection);
        match home {
            Some(home) => home
                .delete_if_alone()
                .map_err(|why| Error::new(Kind::Catalog, "delete", "the local catalog").because(why)),
            None => Ok(()),
        }
    }

    /// Something of it turned out to be wrong: it is not sealed when it is closed, so that the next program that opens
    /// it looks at every row.
    pub fn distrust(&self) {
        self.home.iter().for_each(Home::distrust);
    }

    /// True if nothing of it outlives this program.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.home.is_none()
    }

    /// True if it is in memory because the disk of its folder is full or broken.
    #[must_use]
    pub fn disk_failed(&self) -> bool {
        self.disk_failed
    }

    /// The folder it is kept in, for people: safe on a terminal.
    #[must_use]
    pub fn location(&self) -> Option<String> {
        self.home.as_ref().map(Home::shown)
    }

    /// The prune epoch of the repository when blobs were last loaded; 0 before.
    pub fn prune_epoch(&self) -> Result<u64> {
        let stored =
            get_meta(&self.connection(), &self.key, "prune epoch").map_err(failed("read the epoch from"))?;
        Ok(stored.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes))
    }

    /// Remembers the prune epoch; the caller clears the blobs before when it differs.
    pub fn set_prune_epoch(&self, epoch: u64) -> Result<()> {
        let act = "write the epoch to";
        let connection = self.writing(act)?;
        put_meta(&connection, &self.key, "prune epoch", &epoch.to_le_bytes()).map_err(failed(act))
    }

    fn in_memory(repo: &RepoId, key: Secret) -> Result<Self> {
        let open = || {
            let connection = Connection::open_in_memory()?;
            schema::prepare(&connection)?;
            schema::create(&connection, repo, &key)?;
            Ok(connection)
        };
        let connection = open().map_err(failed("make in memory"))?;
        Ok(Self::with(connection, key, None))
    }

    fn with(connection: Connection, key: Secret, home: Option<Home>) -> Self {
        Self { connection: Mutex::new(connection), key, seen: Mutex::default(), home, disk_failed: false }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, to write: from here on the database is not what its seal says.
    fn writing(&self, act: &'static str) -> Result<MutexGuard<'_, Connection>> {
        let connection = self.connection();
        if let Some(home) = &self.home {
            let broken = home.break_seal();
            if broken.map_err(|e| Error::new(Kind::Catalog, act, "the local catalog").because(e))? {
                connection.pragma_update(None, "query_only", false).map_err(failed(act))?;
            }
        }
        Ok(connection)
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").field("home", &self.home).finish_non_exhaustive()
    }
}

/// True if a catalog's failure is its disk's: full, or not reading or writing. The catalog itself may be sound.
#[must_use]
pub fn is_of_disk(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| {
        source.downcast_ref().is_some_and(schema::is_of_disk)
            || source.downcast_ref().is_some_and(files::is_of_disk)
    })
}

/// Makes the error of a failed call of SQLite.
fn failed(act: &'static str) -> impl FnOnce(rusqlite::Error) -> Error {
    move |e| Error::new(Kind::Catalog, act, "the local catalog").because(e)
}

/// The error of a row that is not what was written.
fn altered(table: &str) -> Error {
    let why = format!("a row of its table of {table} is not what was written");
    Error::new(Kind::Catalog, "read", "the local catalog").because(why)
}

/// Keyed BLAKE3 over a table's name and the parts of a row, each with its length before it. Callers keep as many bytes
/// as chance alone should not forge.
fn row_mac<const N: usize>(key: &Secret, table: &str, parts: &[&[u8]]) -> [u8; N] {
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    for part in [table.as_bytes()].iter().chain(parts) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut mac = [0; N];
    hasher.finalize_xof().fill(&mut mac);
    mac
}

/// A value of the table `meta`; none if it is missing or altered.
fn get_meta(connection: &Connection, key: &Secret, name: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached("SELECT key, value, mac FROM meta WHERE key = ?")?;
    let row = statement.query_row([name], |row| {
        let is_ours = is_value_ours(row, key)?;
        Ok(if is_ours { Some(row.get_ref(1)?.as_blob()?.to_vec()) } else { None })
    });
    Ok(row.optional()?.flatten())
}

/// True if a row of the table `meta` (key, value, mac) is what was written.
fn is_value_ours(row: &Row<'_>, key: &Secret) -> rusqlite::Result<bool> {
    let [name, value] = [row.get_ref(0)?.as_bytes()?, row.get_ref(1)?.as_blob()?];
    Ok(row.get_ref(2)?.as_blob()? == row_mac::<16>(key, "meta", &[name, value]))
}

fn put_meta(connection: &Connection, key: &Secret, name: &str, value: &[u8]) -> rusqlite::Result<()> {
    let mac: [u8; 16] = row_mac(key, "meta", &[name.as_bytes(), value]);
    let mut statement = connection.prepare_cached("REPLACE INTO meta (key, value, mac) VALUES (?, ?, ?)")?;
    statement.execute((name, value, mac)).map(|_| ())
}
