//! L3: what deltas take, and what full copies of the same kind of content take.

use super::blobs::decoded;
use super::{Catalog, altered, failed};
use crate::base::Result;
use crate::model::{BlobKind, PackClass};

/// The stored copies of page runs of databases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeltaTotals {
    /// Deltas.
    pub deltas: u64,
    /// Bytes of their plaintexts.
    pub delta_plain: u64,
    /// Bytes that they take in packs.
    pub delta_stored: u64,
    /// Bytes of the plaintexts of full copies.
    pub full_plain: u64,
    /// Bytes that full copies take in packs.
    pub full_stored: u64,
    /// The greatest depth of a delta: so many bases are read for it.
    pub deepest: u8,
}

impl DeltaTotals {
    /// Bytes that deltas save, if full copies in their place shrank as the other full copies do.
    #[must_use]
    pub fn saved(&self) -> u64 {
        if self.full_plain == 0 {
            return 0;
        }
        let whole = u128::from(self.delta_plain) * u128::from(self.full_stored) / u128::from(self.full_plain);
        u64::try_from(whole).unwrap_or(u64::MAX).saturating_sub(self.delta_stored)
    }
}

impl Catalog {
    /// Counts the stored copies of page runs.
    pub fn delta_totals(&self) -> Result<DeltaTotals> {
        let connection = self.connection();
        let mut totals = DeltaTotals::default();
        let mut read = || {
            let mut statement = connection.prepare_cached(
                "SELECT b.id, b.pack, b.ordinal, b.copy FROM blobs b JOIN packs p ON p.number = b.pack \
                 WHERE b.kind = ? AND p.class = ?",
            )?;
            let mut rows = statement.query((BlobKind::Data as u8, PackClass::Runs as u8))?;
            while let Some(row) = rows.next()? {
                let Some(entry) = decoded(&self.key, BlobKind::Data, row)? else { return Ok(false) };
                let (plain, stored) = (u64::from(entry.plain_len), u64::from(entry.sealed_len));
                if entry.base.is_some() {
                    totals.deltas += 1;
                    totals.delta_plain += plain;
                    totals.delta_stored += stored;
                    totals.deepest = totals.deepest.max(entry.depth);
                } else {
                    totals.full_plain += plain;
                    totals.full_stored += stored;
                }
            }
            Ok(true)
        };
        if read().map_err(failed("count deltas in"))? { Ok(totals) } else { Err(altered("blobs")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_reckoned_by_what_full_copies_take() {
        let totals = DeltaTotals {
            deltas: 10,
            delta_plain: 1000,
            delta_stored: 50,
            full_plain: 4000,
            full_stored: 2000,
            deepest: 3,
        };
        assert_eq!(totals.saved(), 450);
        assert_eq!(DeltaTotals { full_plain: 0, ..totals }.saved(), 0);
        assert_eq!(DeltaTotals { delta_stored: 900, ..totals }.saved(), 0);
    }
}
