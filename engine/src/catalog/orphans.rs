//! L3: deltas whose base is not there. A blob is *present* only if everything that it rests on is: what a lost pack held
//! takes all deltas with it that rested on it, so that they are stored again, full or on another base.

use super::{Catalog, failed};
use crate::base::{BlobId, PackId, Result};
use crate::model::BlobKind;
use rusqlite::{Connection, TransactionBehavior};
use std::collections::HashSet;

/// A delta's `copy` has 56 bytes, a full copy's 24; the base stands at its 17th byte, the depth is its first one (see
/// `blobs.rs`). A base counts only if it has a copy that is shallower, as for a reader.
const ORPHANS: &str = "SELECT d.id, d.kind, d.pack, d.ordinal FROM blobs d WHERE length(d.copy) = 56 AND NOT EXISTS \
     (SELECT 1 FROM blobs b WHERE b.id = substr(d.copy, 17, 32) AND b.kind = d.kind \
     AND substr(b.copy, 1, 1) < substr(d.copy, 1, 1))";

impl Catalog {
    /// Forgets all deltas that rest on something that is not there, and what rests on them; says how many.
    pub fn drop_orphans(&self) -> Result<u64> {
        let act = "look for bases in";
        let failed = || failed(act);
        let mut connection = self.writing(act)?;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        let dropped = delete_orphans(&transaction).map_err(failed())?;
        transaction.commit().map_err(failed())?;
        Ok(dropped)
    }
}

impl Catalog {
    /// The blobs of some packs, each once.
    pub fn blobs_of(&self, packs: &[PackId]) -> Result<HashSet<(BlobKind, BlobId)>> {
        let connection = self.connection();
        let read = || {
            let mut blobs = HashSet::new();
            let mut statement = connection.prepare_cached(
                "SELECT id, kind FROM blobs WHERE pack IN (SELECT number FROM packs WHERE id = ?)",
            )?;
            for pack in packs {
                let mut rows = statement.query([pack.as_bytes()])?;
                while let Some(row) = rows.next()? {
                    let id = BlobId::from_slice(row.get_ref(0)?.as_blob()?);
                    blobs.extend(BlobKind::from_number(row.get::<_, u8>(1)?.into()).zip(id));
                }
            }
            Ok(blobs)
        };
        read().map_err(failed("look for blobs in"))
    }

    /// Of some blobs that cannot be read, all blobs that cannot be read because of them, and they themselves: those of
    /// which every copy is a delta against one of them. Goes through all deltas once for each step of the chains.
    pub fn resting_on(&self, lost: &HashSet<(BlobKind, BlobId)>) -> Result<HashSet<(BlobKind, BlobId)>> {
        let mut all = lost.clone();
        loop {
            let more = self.one_step_above(&all).map_err(failed("look for deltas in"))?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }

    fn one_step_above(
        &self,
        lost: &HashSet<(BlobKind, BlobId)>,
    ) -> rusqlite::Result<Vec<(BlobKind, BlobId)>> {
        let connection = self.connection();
        let mut deltas = connection
            .prepare_cached("SELECT id, kind, substr(copy, 17, 32) FROM blobs WHERE length(copy) = 56")?;
        // A full copy, or a delta against something that is not lost, is enough.
        let mut others = connection.prepare_cached(
            "SELECT CASE length(copy) WHEN 56 THEN substr(copy, 17, 32) END FROM blobs WHERE id = ? AND kind = ?",
        )?;
        let mut more = Vec::new();
        let mut rows = deltas.query(())?;
        while let Some(row) = rows.next()? {
            let (id, kind) = (BlobId::from_slice(row.get_ref(0)?.as_blob()?), row.get::<_, u8>(1)?);
            let base = BlobId::from_slice(row.get_ref(2)?.as_blob()?);
            let Some(((id, base), known)) = id.zip(base).zip(BlobKind::from_number(kind.into())) else {
                continue;
            };
            if !lost.contains(&(known, base)) || lost.contains(&(known, id)) {
                continue;
            }
            let bases = others.query_map((id.as_bytes(), kind), |row| {
                Ok(row.get_ref(0)?.as_blob_or_null()?.and_then(BlobId::from_slice))
            })?;
            let bases = bases.collect::<rusqlite::Result<Vec<Option<BlobId>>>>()?;
            if bases.iter().all(|base| base.is_some_and(|base| lost.contains(&(known, base)))) {
                more.push((known, id));
            }
        }
        Ok(more)
    }
}

/// Deletes orphans until there are none; each round takes those that rested on the last ones. Depths descend along every
/// chain, so there are no more rounds than depths.
pub(super) fn delete_orphans(connection: &Connection) -> rusqlite::Result<u64> {
    let delete = "DELETE FROM blobs WHERE (id, kind, pack, ordinal) IN (".to_owned() + ORPHANS + ")";
    let mut statement = connection.prepare_cached(&delete)?;
    let mut dropped = 0;
    loop {
        match statement.execute(())? {
            0 => return Ok(dropped),
            count => dropped += count as u64,
        }
    }
}
