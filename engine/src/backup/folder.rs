//! Folders under way: each collects its entries and, when the last one is done, becomes a tree page and an entry of the
//! folder above.

use super::memory::{Previous, RowEntry, UNTRUSTED, encode_row};
use super::{Status, Work};
use crate::base::{BlobId, Result, StoredPath};
use crate::format::tree::encode_node;
use crate::model::{BlobKind, Node};
use crate::repo::pages::{EncodedNode, write_tree};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A folder whose entries are being stored.
pub struct Folder {
    /// Where it is.
    pub path: StoredPath,
    /// What it was before.
    pub previous: Option<Previous>,
    parent: Option<Arc<Folder>>,
    node: Node,
    entries: Mutex<Vec<RowEntry>>,
    /// Entries under way, and one for the walk while it is in this folder.
    outstanding: AtomicUsize,
    /// The tree page, once it is known.
    tree: OnceLock<BlobId>,
}

impl Folder {
    /// Opens a folder of `parent`; `node` lacks only its tree page.
    pub fn open(
        path: StoredPath,
        node: Node,
        parent: Option<&Arc<Self>>,
        previous: Option<Previous>,
    ) -> Arc<Self> {
        if let Some(parent) = parent {
            parent.expect_one();
        }
        Arc::new(Self {
            path,
            previous,
            parent: parent.cloned(),
            node,
            entries: Mutex::default(),
            outstanding: AtomicUsize::new(1),
            tree: OnceLock::new(),
        })
    }

    /// Announces an entry that will be done later, by [`Self::one_done`].
    pub fn expect_one(&self) {
        self.outstanding.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes an entry.
    pub fn push(&self, entry: RowEntry) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
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
            let entry = RowEntry {
                name: node.name.clone(),
                key: UNTRUSTED,
                kind: node.kind,
                node: encode_node(&node),
            };
            // Folders above the sources have no time and are nobody's to count.
            if node.mtime.is_some() {
                let before =
                    parent.previous.as_ref().and_then(|p| p.find(&entry.name)).map(|before| before.node);
                work.count_dir(Status::of(before, &entry.node));
            }
            parent.push(entry);
            folder = parent;
        }
        Ok(())
    }

    fn close(&self, work: &Work<'_>) -> Result<Node> {
        let mut entries = std::mem::take(&mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner));
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let known = self.previous.as_ref().filter(|previous| previous.has_same_nodes(&entries));
        let is_present = |tree| work.repo.with_catalog(|catalog| catalog.contains(BlobKind::TreePage, tree));
        let tree = match known {
            Some(previous) if is_present(&previous.tree)? => previous.tree,
            _ => {
                let nodes: Vec<EncodedNode> = entries
                    .iter()
                    .map(|entry| EncodedNode { name: entry.name.clone(), bytes: entry.node.clone() })
                    .collect();
                write_tree(work.writer, &work.boundaries, &nodes)?
            }
        };
        let row = encode_row(&tree, &entries);
        if !self.previous.as_ref().is_some_and(|previous| work.memory.base.is_some() && previous.is_row(&row))
        {
            work.remember(self, row);
        }
        let _first_to_close = self.tree.set(tree);
        Ok(Node { subtree: Some(tree), ..self.node.clone() })
    }
}
