//! L3: the end of a run's writing to the catalog, while somebody can still be told that it failed.

use super::{Catalog, failed};
use crate::base::Result;
use rusqlite::config::DbConfig;

impl Catalog {
    /// Brings what is in the log into the database, and makes it durable. SQLite does the same when the last program
    /// closes the database, but keeps to itself what came of it. Another program that is reading holds nothing up: what
    /// it still needs of the log stays there.
    ///
    /// # Errors
    /// Fails if the disk does. Then the log stays as it is, and the next program that opens the catalog looks at it: a
    /// flush that failed proves nothing when it is repeated.
    pub fn settle(&self) -> Result<()> {
        if self.is_in_memory() {
            return Ok(());
        }
        let connection = self.connection();
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(())).map_err(|e| {
            // Without this it is only tried again.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            failed("write the log of")(e)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::RepoId;
    use std::fs;
    use std::os::unix::fs::DirBuilderExt;

    const REPO: RepoId = RepoId::new([1; 32]);

    #[test]
    fn what_was_written_is_in_the_database_alone_once_it_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let (catalog, why) = Catalog::open(Some(&dir.path().join(name)), &REPO, [7; 32]).unwrap();
            assert!(why.is_none() && !catalog.is_in_memory(), "{why:?}");
            catalog
        };
        let catalog = open("kept");
        catalog.set_prune_epoch(3).unwrap();
        // The epoch that the database has without its log.
        let without_log = |name: &str| {
            let copy = dir.path().join(name);
            fs::DirBuilder::new().mode(0o700).create(&copy).unwrap();
            fs::copy(dir.path().join("kept/catalog.sqlite"), copy.join("catalog.sqlite")).unwrap();
            let (catalog, _made_anew) = Catalog::open(Some(&copy), &REPO, [7; 32]).unwrap();
            catalog.prune_epoch().unwrap()
        };
        assert_eq!(without_log("before"), 0);
        catalog.settle().unwrap();
        assert_eq!(without_log("after"), 3);
        drop(catalog);
        assert_eq!(open("kept").prune_epoch().unwrap(), 3);
    }
}
