//! L3: which blobs snapshots use, each counted once, and whether one snapshot alone uses them.

use super::{failed, open, signed, unsigned};
use crate::base::{BlobId, Result};
use crate::model::BlobKind;
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeMap;

const TABLES: &str = "
    CREATE TABLE uses (id BLOB NOT NULL, kind INTEGER NOT NULL, user INTEGER NOT NULL, shared INTEGER NOT NULL,
        class INTEGER NOT NULL, plain INTEGER NOT NULL, stored INTEGER NOT NULL, sums BLOB,
        PRIMARY KEY (id, kind)) WITHOUT ROWID;
";

/// Files and bytes below a page, one pair for each class of content.
pub type Sums = Vec<(u64, u64)>;

/// What is known of a blob when a user meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// Nothing yet.
    New,
    /// It is used by others alone so far: from now on it is shared, and so must be what it rests on.
    NowShared(Sums),
    /// It is known, and nothing changes.
    Known(Sums),
}

/// Blobs counted once each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UseTotals {
    /// How many.
    pub blobs: u64,
    /// Bytes of their plaintexts.
    pub plain_bytes: u64,
    /// Bytes that they take in the packs.
    pub stored_bytes: u64,
}

/// The table of one count. Users are numbered from 0; [`Uses::NOBODY`] is for those that are not counted themselves.
#[derive(Debug)]
pub struct Uses {
    connection: Connection,
}

impl Uses {
    /// The user of what only counts for sharing.
    pub const NOBODY: usize = usize::MAX;

    /// An empty table.
    pub fn new() -> Result<Self> {
        Ok(Self { connection: open(TABLES)? })
    }

    /// Notes that `user` met a blob.
    pub fn meet(&self, kind: BlobKind, id: &BlobId, user: usize) -> Result<Meeting> {
        let meet = || {
            let known = self
                .connection
                .prepare_cached("SELECT user, shared, sums FROM uses WHERE id = ? AND kind = ?")?
                .query_row((id.as_bytes(), kind as u8), |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
                })
                .optional()?;
            let Some((before, shared, sums)) = known else { return Ok(Meeting::New) };
            let sums = sums.map(|bytes| decode(&bytes)).unwrap_or_default();
            if shared || before == number(user) {
                return Ok(Meeting::Known(sums));
            }
            self.connection
                .prepare_cached("UPDATE uses SET shared = 1 WHERE id = ? AND kind = ?")?
                .execute((id.as_bytes(), kind as u8))?;
            Ok(Meeting::NowShared(sums))
        };
        meet().map_err(failed)
    }

    /// Adds a blob that was new when `user` met it.
    pub fn add(
        &self,
        kind: BlobKind,
        id: &BlobId,
        user: usize,
        class: usize,
        plain: u64,
        stored: u64,
    ) -> Result<()> {
        let add = || {
            self.connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO uses (id, kind, user, shared, class, plain, stored) VALUES (?, ?, ?, 0, ?, ?, ?)",
                )?
                .execute((id.as_bytes(), kind as u8, number(user), number(class), signed(plain), signed(stored)))
        };
        add().map(|_| ()).map_err(failed)
    }

    /// Remembers what lies below a page.
    pub fn set_sums(&self, kind: BlobKind, id: &BlobId, sums: &Sums) -> Result<()> {
        let set =
            || {
                self.connection
                    .prepare_cached("UPDATE uses SET sums = ? WHERE id = ? AND kind = ?")?
                    .execute((encode(sums), id.as_bytes(), kind as u8))
            };
        set().map(|_| ()).map_err(failed)
    }

    /// What only one user uses, for each user that has any.
    pub fn alone(&self) -> Result<BTreeMap<usize, UseTotals>> {
        self.grouped(
            "SELECT user, count(*), sum(plain), sum(stored) FROM uses WHERE shared = 0 AND user >= 0 GROUP BY user",
        )
    }

    /// Data blobs of counted users, by class.
    pub fn by_class(&self) -> Result<BTreeMap<usize, UseTotals>> {
        self.grouped(
            "SELECT class, count(*), sum(plain), sum(stored) FROM uses WHERE kind = 0 AND user >= 0 GROUP BY class",
        )
    }

    /// All other blobs of counted users.
    pub fn metadata(&self) -> Result<UseTotals> {
        let found = self.grouped(
            "SELECT 0, count(*), sum(plain), sum(stored) FROM uses WHERE kind <> 0 AND user >= 0 GROUP BY 1",
        )?;
        Ok(found.into_values().next().unwrap_or_default())
    }

    /// All blobs of all users.
    pub fn all(&self) -> Result<UseTotals> {
        let found = self.grouped("SELECT 0, count(*), sum(plain), sum(stored) FROM uses GROUP BY 1")?;
        Ok(found.into_values().next().unwrap_or_default())
    }

    fn grouped(&self, query: &str) -> Result<BTreeMap<usize, UseTotals>> {
        let read = || {
            let mut statement = self.connection.prepare(query)?;
            let rows = statement.query_map((), |row| {
                let number = |column| row.get::<_, i64>(column).map(unsigned);
                let group = usize::try_from(number(0)?).unwrap_or(usize::MAX);
                let totals =
                    UseTotals { blobs: number(1)?, plain_bytes: number(2)?, stored_bytes: number(3)? };
                Ok((group, totals))
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(failed)
    }
}

/// A user's number in the table; -1 for nobody.
fn number(user: usize) -> i64 {
    i64::try_from(user).unwrap_or(-1)
}

fn encode(sums: &Sums) -> Vec<u8> {
    sums.iter().flat_map(|(files, bytes)| [files.to_le_bytes(), bytes.to_le_bytes()]).flatten().collect()
}

fn decode(bytes: &[u8]) -> Sums {
    let numbers: Vec<u64> =
        bytes.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number)).collect();
    numbers.as_chunks::<2>().0.iter().map(|[files, bytes]| (*files, *bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_belongs_to_its_only_user_until_another_one_meets_it() {
        let uses = Uses::new().unwrap();
        let id = |n: u8| BlobId::new([n; 32]);
        let meet = |n, user| uses.meet(BlobKind::Data, &id(n), user).unwrap();
        for (n, user) in [(1, 0), (2, 0), (3, 1), (4, Uses::NOBODY)] {
            assert_eq!(meet(n, user), Meeting::New);
            uses.add(BlobKind::Data, &id(n), user, usize::from(n % 2), 100, 10).unwrap();
        }
        uses.set_sums(BlobKind::Data, &id(2), &vec![(1, 2), (3, 4)]).unwrap();
        assert_eq!(meet(1, 0), Meeting::Known(Vec::new()));
        assert_eq!(meet(2, 1), Meeting::NowShared(vec![(1, 2), (3, 4)]));
        assert_eq!(meet(2, Uses::NOBODY), Meeting::Known(vec![(1, 2), (3, 4)]));
        // The same name of another kind is another blob.
        assert_eq!(uses.meet(BlobKind::ListPage, &id(1), 0).unwrap(), Meeting::New);
        uses.add(BlobKind::ListPage, &id(1), 0, 0, 50, 5).unwrap();
        let alone = uses.alone().unwrap();
        let totals = |blobs, plain_bytes, stored_bytes| UseTotals { blobs, plain_bytes, stored_bytes };
        assert_eq!(alone, BTreeMap::from([(0, totals(2, 150, 15)), (1, totals(1, 100, 10))]));
        assert_eq!(
            uses.by_class().unwrap(),
            BTreeMap::from([(0, totals(1, 100, 10)), (1, totals(2, 200, 20))])
        );
        assert_eq!(uses.metadata().unwrap(), totals(1, 50, 5));
        assert_eq!(uses.all().unwrap(), totals(5, 450, 45));
        assert_eq!(meet(3, Uses::NOBODY), Meeting::NowShared(Vec::new()));
        assert_eq!(uses.alone().unwrap().len(), 1);
    }
}
