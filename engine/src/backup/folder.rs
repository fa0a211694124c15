//! Folders under way: each collects its entries and, when the last one is done, becomes a tree page and an entry of the
//! folder above.

use super::memory::{Previous, RowBuilder, RowEntry, UNTRUSTED};
use super::{Status, Work};
use crate::base::{BlobId, Result, StoredPath};
use crate::format::tree::encode_node;
use crate::model::{BlobKind, Node};
use crate::repo::pages::{EncodedNode, write_tree};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A folder whose entries are being stored.
pub struct Folder {
    /// Where it is.
    pub path: StoredPath,
    /// What it was before.
    pub previous: Option<Previous>,
    /// The file system that its entries lie on.
    pub device: u64,
    parent: Option<Arc<Folder>>,
    node: Node,
    row: Mutex<RowBuilder>,
    /// Entries under way, and one for the walk while it is in this folder.
    outstanding: AtomicUsize,
    /// The tree page, once it is known.
    tree: OnceLock<BlobId>,
    spared: Mutex<Spared>,
}

/// What a folder had before, is missing from it now, and is not gone.
#[derive(Debug, Default)]
struct Spared {
    all: bool,
    names: BTreeSet<Vec<u8>>,
}

impl Folder {
    /// Opens a folder of `parent`; `node` lacks only its tree page.
    pub fn open(
        path: StoredPath,
        node: Node,
        parent: Option<&Arc<Self>>,
        previous: Option<Previous>,
        device: u64,
    ) -> Arc<Self> {
        if let Some(parent) = parent {
            parent.expect_one();
        }
        Arc::new(Self {
            path,
            previous,
            device,
            parent: parent.cloned(),
            node,
            row: Mutex::default(),
            outstanding: AtomicUsize::new(1),
            tree: OnceLock::new(),
            spared: Mutex::default(),
        })
    }

    /// Says that an entry is left out of the snapshot, or could not be read: it is not gone.
    pub fn spare(&self, name: &[u8]) {
        if self.previous.as_ref().is_some_and(|previous| previous.find(name).is_some()) {
            self.spared().names.insert(name.to_vec());
        }
    }

    /// Says so of all entries that this folder will not have.
    pub fn spare_all(&self) {
        self.spared().all = true;
    }

    /// True if a missing entry is not gone.
    pub fn is_spared(&self, name: &[u8]) -> bool {
        let spared = self.spared();
        spared.all || spared.names.contains(name)
    }

    fn spared(&self) -> MutexGuard<'_, Spared> {
        self.spared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces an entry that will be done later, by [`Self::one_done`].
    pub fn expect_one(&self) {
        self.outstanding.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes an entry.
    pub fn push(&self, entry: RowEntry<'_>) {
        self.row.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// The tree page of a folder that is closed.
    pub fn tree(&self) -> Option<BlobId> {
        self.tree.get().copied()
    }

    /// Says that one announced entry is done, or that the walk has left. The last one closes the folder, and through it
    /// perhaps the folders above.
    pub fn one_done(self: &Arc<Self>, work: &Work<'_>) -> Result<()> {
        let mut folder = Arc::clone(self);
        while folder.outstanding.fetch_sub(1, Ordering::SeqCst) == 1 {
            let node = folder.close(work)?;
            let Some(parent) = folder.parent.clone() else { return Ok(()) };
            let bytes = encode_node(&node);
            // Folders above the sources have no time and are nobody's to count.
            if node.mtime.is_some() {
                let before = parent.previous.as_ref().and_then(|p| p.find(&node.name));
                work.count_dir(Status::of(before.map(|before| before.node), &bytes));
            }
            parent.push(RowEntry { name: &node.name, key: UNTRUSTED, kind: node.kind, node: &bytes });
            folder = parent;
        }
        Ok(())
    }

    fn close(&self, work: &Work<'_>) -> Result<Node> {
        let mut row = std::mem::take(&mut *self.row.lock().unwrap_or_else(PoisonError::into_inner)).finish();
        let known = self.previous.as_ref().filter(|previous| previous.has_same_nodes(&row));
        if let (Some(previous), None) = (&self.previous, known) {
            work.compare_folder(self, previous, &row)?;
        }
        let is_present = |tree| work.repo.with_catalog(|catalog| catalog.contains(BlobKind::TreePage, tree));
        let tree = match known {
            Some(previous) if is_present(&previous.tree)? => previous.tree,
            _ => {
                let nodes: Vec<EncodedNode<'_>> =
                    row.entries().map(|entry| EncodedNode { name: entry.name, bytes: entry.node }).collect();
                write_tree(work.writer, &work.boundaries, &nodes)?
            }
        };
        row.set_tree(tree);
        let is_remembered = work.memory.base.is_some()
            && self.previous.as_ref().is_some_and(|previous| previous.as_bytes() == row.as_bytes());
        if !is_remembered {
            work.remember(self, row.into_bytes());
        }
        let _first_to_close = self.tree.set(tree);
        Ok(Node { subtree: Some(tree), ..self.node.clone() })
    }
}
