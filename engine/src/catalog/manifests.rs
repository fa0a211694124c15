//! L3: decoded manifests, so that a list of snapshots opens none of them again.

use super::{Catalog, check, failed, row_mac, schema};
use crate::base::{Result, SnapshotId};
use crate::crypto::Secret;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use std::collections::HashSet;

impl Catalog {
    /// The bytes that were put for a snapshot; none if there are none or they were altered since.
    pub fn manifest(&self, id: &SnapshotId) -> Result<Option<Vec<u8>>> {
        let connection = self.connection();
        let read = || {
            let mut statement = connection.prepare_cached("SELECT bytes, mac FROM manifests WHERE id = ?")?;
            let row = statement.query_row([id.as_bytes()], |row| {
                let (bytes, mac) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
                let is_ours = mac == row_mac::<16>(&self.key, "manifests", &[id.as_bytes(), bytes]);
                Ok(is_ours.then(|| bytes.to_vec()))
            });
            row.optional()
        };
        Ok(read().map_err(failed("read a manifest from"))?.flatten())
    }

    /// Keeps the decoded bytes of a manifest; ones longer than a row may be are not kept.
    pub fn put_manifest(&self, id: &SnapshotId, bytes: &[u8]) -> Result<()> {
        if bytes.len() > schema::MAX_ROW {
            return Ok(());
        }
        let mac: [u8; 16] = row_mac(&self.key, "manifests", &[id.as_bytes(), bytes]);
        let act = "write a manifest to";
        let connection = self.writing(act)?;
        let write = || {
            let mut statement =
                connection.prepare_cached("REPLACE INTO manifests (id, bytes, mac) VALUES (?, ?, ?)")?;
            statement.execute((id.as_bytes(), bytes, mac))
        };
        write().map(|_| ()).map_err(failed(act))
    }

    /// Forgets the manifests of all other snapshots.
    pub fn forget_manifests_except(&self, keep: &HashSet<SnapshotId>) -> Result<()> {
        let act = "forget manifests of";
        // Mostly there is nothing to forget: then nobody has to wait for us.
        if gone(&self.connection(), keep).map_err(failed(act))?.is_empty() {
            return Ok(());
        }
        let mut connection = self.writing(act)?;
        let mut forget = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for row in gone(&transaction, keep)? {
                transaction.prepare_cached("DELETE FROM manifests WHERE rowid = ?")?.execute([row])?;
            }
            transaction.commit()
        };
        forget().map_err(failed(act))
    }
}

/// True if all rows are what was written.
pub(super) fn are_sound(connection: &Connection, key: &Secret) -> rusqlite::Result<bool> {
    check::all(connection, "SELECT id, bytes, mac FROM manifests", |row| {
        let [id, bytes, mac] =
            [row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?];
        Ok(mac == row_mac::<16>(key, "manifests", &[id, bytes]))
    })
}

/// The rows of all other snapshots.
fn gone(connection: &Connection, keep: &HashSet<SnapshotId>) -> rusqlite::Result<Vec<i64>> {
    let mut all = connection.prepare_cached("SELECT rowid, id FROM manifests")?;
    let (mut gone, mut rows) = (Vec::new(), all.query(())?);
    while let Some(row) = rows.next()? {
        let id = SnapshotId::from_slice(row.get_ref(1)?.as_blob()?);
        if !id.is_some_and(|id| keep.contains(&id)) {
            gone.push(row.get(0)?);
        }
    }
    Ok(gone)
}
