//! L3: what a source's folders looked like when they were last stored, so that a snapshot skips what did not change.
//!
//! The caller makes the rows and reads them; here they are kept whole, consistent and authentic. All rows of a source
//! speak of one snapshot, in whose tree everything is found that they name.

use super::{Catalog, Staged, check, failed, row_mac, schema};
use crate::base::{Error, Kind, Result, SnapshotId, StoredPath};
use crate::crypto::Secret;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use std::sync::PoisonError;

/// Why rows could not be written: by SQLite, or by the file that held them.
struct Trouble(Box<dyn std::error::Error + Send + Sync>);

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Trouble {
    fn from(e: E) -> Self {
        Self(e.into())
    }
}

impl Catalog {
    /// The snapshot of which the rows of a source speak; none if there are no rows. From now on
    /// [`Self::memory_row`] gives rows of this snapshot only.
    pub fn memory_open(&self, source: &[u8; 32]) -> Result<Option<SnapshotId>> {
        let head = head_of(&self.connection(), &self.key, source).map_err(failed("read the memory of"))?;
        self.see(source, head);
        Ok(head)
    }

    /// The row of a folder. None if there is none, if it was altered, or if since [`Self::memory_open`] another program
    /// committed rows that speak of another snapshot.
    pub fn memory_row(&self, source: &[u8; 32], folder: &StoredPath) -> Result<Option<Vec<u8>>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(source).copied();
        let Some(seen) = seen else { return Ok(None) };
        let path = path_key(folder);
        let connection = self.connection();
        let read = || {
            let mut statement = connection.prepare_cached(
                "SELECT m.bytes, m.mac FROM sources s JOIN memory m ON m.source = s.number AND m.path = ?3 \
                 WHERE s.source = ?1 AND s.snapshot = ?2",
            )?;
            let row = statement.query_row((source, seen.as_bytes(), &path), |row| {
                let (bytes, mac) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
                Ok((mac == row_mac::<16>(&self.key, "memory", &[source, &path, bytes]))
                    .then(|| bytes.to_vec()))
            });
            row.optional()
        };
        Ok(read().map_err(failed("read the memory of"))?.flatten())
    }

    /// Replaces rows of a source, so that all of them speak of the snapshot `new`: the removed folders go with
    /// everything below them, then the changed ones are written; without `expected`, all earlier rows go first.
    ///
    /// False, and nothing is written, if the rows do not speak of `expected` any more.
    pub fn memory_commit(
        &self,
        source: &[u8; 32],
        expected: Option<SnapshotId>,
        new: SnapshotId,
        changed: impl Into<Staged>,
        removed: Vec<StoredPath>,
    ) -> Result<bool> {
        let mut connection = self.writing("write the memory of")?;
        let commit = || -> std::result::Result<bool, Trouble> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if head_of(&transaction, &self.key, source)? != expected {
                return Ok(false);
            }
            let number = write_head(&transaction, &self.key, source, new)?;
            if expected.is_none() {
                remove_below(&transaction, number, &StoredPath::root())?;
            }
            for folder in removed {
                remove_below(&transaction, number, &folder)?;
            }
            changed.into().drain(|folder, bytes| {
                write_row(&transaction, &self.key, source, number, &folder, &bytes).map_err(Trouble::from)
            })?;
            transaction.commit()?;
            Ok(true)
        };
        let is_committed = commit().map_err(|e| {
            Error::new(Kind::Catalog, "write the memory of", "the local catalog").because(e.0)
        })?;
        drop(connection);
        if is_committed {
            self.see(source, Some(new));
        }
        Ok(is_committed)
    }

    /// Forgets all rows of a source.
    pub fn memory_clear(&self, source: &[u8; 32]) -> Result<()> {
        let mut connection = self.writing("clear the memory of")?;
        let mut clear = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(
                "DELETE FROM memory WHERE source IN (SELECT number FROM sources WHERE source = ?)",
                [source],
            )?;
            transaction.execute("DELETE FROM sources WHERE source = ?", [source])?;
            transaction.commit()
        };
        let cleared = clear().map_err(failed("clear the memory of"));
        drop(connection);
        self.see(source, None);
        cleared
    }

    /// How many folders are remembered, of all sources.
    #[cfg(test)]
    pub(crate) fn memory_rows(&self) -> i64 {
        self.connection().query_row("SELECT count(*) FROM memory", (), |row| row.get(0)).unwrap()
    }

    fn see(&self, source: &[u8; 32], head: Option<SnapshotId>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match head {
            Some(head) => seen.insert(*source, head),
            None => seen.remove(source),
        };
    }
}

/// True if all rows are what was written.
pub(super) fn is_sound(connection: &Connection, key: &Secret) -> rusqlite::Result<bool> {
    let sources = check::all(connection, "SELECT source, snapshot, mac FROM sources", |row| {
        let [source, snapshot] = [row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?];
        Ok(row.get_ref(2)?.as_blob()? == row_mac::<16>(key, "sources", &[source, snapshot]))
    })?;
    let of_a_source = "SELECT s.source, m.path, m.bytes, m.mac FROM memory m LEFT JOIN sources s \
                       ON s.number = m.source";
    let rows = || {
        check::all(connection, of_a_source, |row| {
            let Some(source) = row.get_ref(0)?.as_blob_or_null()? else { return Ok(false) };
            let [path, bytes] = [row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?];
            Ok(row.get_ref(3)?.as_blob()? == row_mac::<16>(key, "memory", &[source, path, bytes]))
        })
    };
    Ok(sources && rows()?)
}

fn head_of(connection: &Connection, key: &Secret, source: &[u8; 32]) -> rusqlite::Result<Option<SnapshotId>> {
    let mut statement = connection.prepare_cached("SELECT snapshot, mac FROM sources WHERE source = ?")?;
    let head = statement.query_row([source], |row| {
        let (snapshot, mac) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        let is_ours = mac == row_mac::<16>(key, "sources", &[source, snapshot]);
        Ok(SnapshotId::from_slice(snapshot).filter(|_| is_ours))
    });
    Ok(head.optional()?.flatten())
}

/// Lets a source's rows speak of a snapshot; returns the source's number.
fn write_head(
    connection: &Connection,
    key: &Secret,
    source: &[u8; 32],
    new: SnapshotId,
) -> rusqlite::Result<i64> {
    let mac: [u8; 16] = row_mac(key, "sources", &[source, new.as_bytes()]);
    let mut statement = connection.prepare_cached(
        "INSERT INTO sources (source, snapshot, mac) VALUES (?, ?, ?) ON CONFLICT (source) \
         DO UPDATE SET snapshot = excluded.snapshot, mac = excluded.mac RETURNING number",
    )?;
    statement.query_row((source, new.as_bytes(), mac), |row| row.get(0))
}

/// Writes a row; one that is longer than a row may be is removed instead, which only costs time.
fn write_row(
    connection: &Connection,
    key: &Secret,
    source: &[u8; 32],
    number: i64,
    folder: &StoredPath,
    bytes: &[u8],
) -> rusqlite::Result<()> {
    let path = path_key(folder);
    if bytes.len() > schema::MAX_ROW || path.len() > schema::MAX_ROW {
        let mut statement = connection.prepare_cached("DELETE FROM memory WHERE source = ? AND path = ?")?;
        return statement.execute((number, path)).map(|_| ());
    }
    let mac: [u8; 16] = row_mac(key, "memory", &[source, &path, bytes]);
    let mut statement = connection.prepare_cached(
        "INSERT INTO memory (source, path, bytes, mac) VALUES (?, ?, ?, ?) ON CONFLICT (source, path) \
         DO UPDATE SET bytes = excluded.bytes, mac = excluded.mac",
    )?;
    statement.execute((number, path, bytes, mac)).map(|_| ())
}

/// Removes a folder's row and all rows below it: the keys that begin with the folder's key.
fn remove_below(connection: &Connection, number: i64, folder: &StoredPath) -> rusqlite::Result<()> {
    let first = path_key(folder);
    let mut end = first.clone();
    if let Some(last) = end.last_mut() {
        // The byte behind the slash: no key that begins with the folder's reaches it.
        *last += 1;
    }
    let mut statement =
        connection.prepare_cached("DELETE FROM memory WHERE source = ? AND path >= ? AND path < ?")?;
    statement.execute((number, first, end)).map(|_| ())
}

/// A folder's path with a slash at its end.
fn path_key(folder: &StoredPath) -> Vec<u8> {
    let mut key = folder.as_bytes().to_vec();
    if key.last() != Some(&b'/') {
        key.push(b'/');
    }
    key
}
