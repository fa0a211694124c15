//! The catalog's memory of a source: what it may be used for, and how it is renewed.

use super::BackupOptions;
use crate::base::hash::derive_key;
use crate::base::{SnapshotId, StoredPath, Timestamp};
use crate::catalog::Staged;
use crate::repo::Repo;
use crate::repo::snapshots::History;

/// The catalog's memory of this source.
pub(super) struct Memory {
    pub(super) source: [u8; 32],
    /// The snapshot that holds everything the memory names.
    pub(super) base: Option<SnapshotId>,
    /// When that snapshot was written.
    pub(super) created: Option<Timestamp>,
    /// What the catalog said, to notice when another run committed in between.
    expected: Option<SnapshotId>,
    /// Key of the stat keys.
    pub(super) stats: [u8; 32],
    /// Key of the hard-link groups.
    pub(super) links: [u8; 32],
}

impl Memory {
    /// Memory counts only while the snapshot that vouches for it is there, because then nothing it names can be gone; and
    /// not at all where another snapshot is to be compared with.
    pub(super) fn open(
        repo: &Repo,
        history: &History,
        options: &BackupOptions,
        host: &str,
        paths: &[StoredPath],
    ) -> Self {
        let key = repo.sealer.bundle.mac_key();
        let secret: &[u8] = key.expose();
        let stats = derive_key("chatvault 1 stat keys of a memory", &[secret]);
        let links = derive_key("chatvault 1 hard-link groups", &[secret]);
        let mut material: Vec<&[u8]> = vec![secret, host.as_bytes()];
        for path in paths {
            material.push(&[0]);
            material.push(path.as_bytes());
        }
        let source = derive_key("chatvault 1 source of a memory", &material);
        // A memory that cannot be read only costs time: everything is read again.
        let expected = repo.catalog().memory_open(&source).unwrap_or(None);
        let base = expected
            .and_then(|id| history.snapshots.iter().find(|snapshot| snapshot.id == id))
            .filter(|snapshot| options.parent.is_none_or(|parent| parent == snapshot.id));
        let (base, created) = (base.map(|base| base.id), base.map(|base| base.manifest.created));
        Self { source, base, created, expected, stats, links }
    }

    /// Room for what is remembered of the new state.
    pub(super) fn staged(repo: &Repo) -> Staged {
        repo.catalog().staged()
    }

    /// Remembers the new state. The snapshot is acknowledged whatever happens here: the memory only saves time.
    pub(super) fn commit(&self, repo: &Repo, id: SnapshotId, rows: Staged, removed: Vec<StoredPath>) {
        let catalog = repo.catalog();
        let is_of_no_use = rows.is_lost() || (self.base.is_none() && self.expected.is_some());
        if is_of_no_use && catalog.memory_clear(&self.source).is_err() {
            return;
        }
        if rows.is_lost() {
            return;
        }
        let committed = catalog.memory_commit(&self.source, self.base, id, rows, removed);
        if committed.is_err() {
            let _forgotten_is_safe = catalog.memory_clear(&self.source);
        }
        repo.only_costs_time(committed);
    }
}
