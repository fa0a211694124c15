//! L3: deltas whose base is not there. A blob is *present* only if everything that it rests on is: what a lost pack held
//! takes all deltas with it that rested on it, so that they are stored again, full or on another base.

use super::{Catalog, failed};
use crate::base::Result;
use rusqlite::{Connection, TransactionBehavior};

/// A delta's `copy` has 56 bytes, a full copy's 24; the base stands at its 17th byte, the depth is its first one (see
/// `blobs.rs`). A base counts only if it has a copy that is shallower, as for a reader.
const ORPHANS: &str = "SELECT d.id, d.kind, d.pack, d.ordinal FROM blobs d WHERE length(d.copy) = 56 AND NOT EXISTS \
     (SELECT 1 FROM blobs b WHERE b.id = substr(d.copy, 17, 32) AND b.kind = d.kind \
     AND substr(b.copy, 1, 1) < substr(d.copy, 1, 1))";

impl Catalog {
    /// Forgets all deltas that rest on something that is not there, and what rests on them; says how many.
    pub fn drop_orphans(&self) -> Result<u64> {
        let failed = || failed("look for bases in");
        let mut connection = self.connection();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        let dropped = delete_orphans(&transaction).map_err(failed())?;
        transaction.commit().map_err(failed())?;
        Ok(dropped)
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
