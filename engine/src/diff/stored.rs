//! A stored tree as one side of a comparison.

use super::compare::{Entry, Side};
use crate::base::{Observer, Result, StoredPath, Warning};
use crate::browse::{FolderNodes, Sharing};
use crate::model::Node;
use crate::repo::Repo;

/// Folders on the way down whose pages are kept in memory; the places in those above are found again by name.
const MOST_OPEN: usize = 32;

/// A stored tree.
pub(super) struct Stored<'r> {
    repo: &'r Repo,
    observer: &'r dyn Observer,
    levels: Vec<Level<'r>>,
    sharing: Sharing,
}

struct Level<'r> {
    nodes: FolderNodes<'r>,
    /// The entry that comes next, if it was looked at.
    head: Option<Entry>,
    /// True if entries before the next one could not be read.
    has_gap: bool,
    /// The name under which we went down.
    went: Vec<u8>,
}

impl<'r> Stored<'r> {
    /// Begins with one node, as the only entry of a folder.
    pub(super) fn new(repo: &'r Repo, observer: &'r dyn Observer, start: Option<Node>) -> Self {
        let nodes = FolderNodes::given(repo, start.into_iter().collect()).without_logs();
        let levels = vec![Level { nodes, head: None, has_gap: false, went: Vec::new() }];
        Self { repo, observer, levels, sharing: Sharing::default() }
    }
}

impl Side for Stored<'_> {
    fn peek(&mut self, folder: &StoredPath) -> Result<Option<&Entry>> {
        let Some(level) = self.levels.last_mut() else { return Ok(None) };
        while level.head.is_none() {
            match level.nodes.next_node() {
                Ok(Some(node)) => level.head = Some(Entry { name: node.name.clone(), node: Some(node) }),
                Ok(None) => break,
                Err(e) if e.is_unreadable() => {
                    level.has_gap = true;
                    let what = "Not all entries of this folder can be read; nothing is said of the others";
                    self.observer.warn(&Warning::of_unreadable(Some(folder), what, &e));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(level.head.as_ref())
    }

    fn take(&mut self) -> Option<Entry> {
        let level = self.levels.last_mut()?;
        level.has_gap = false;
        level.head.take()
    }

    fn has_gap(&self) -> bool {
        self.levels.last().is_some_and(|level| level.has_gap)
    }

    fn enter(&mut self, node: &Node, _: &StoredPath) -> Result<bool> {
        let Some(tree) = node.subtree else { return Ok(false) };
        self.sharing.enter(self.repo, &tree)?;
        if let Some(level) = self.levels.last_mut() {
            level.went.clone_from(&node.name);
        }
        let nodes = FolderNodes::new(self.repo, tree).without_logs();
        self.levels.push(Level { nodes, head: None, has_gap: false, went: Vec::new() });
        if let Some(far) = self.levels.len().checked_sub(MOST_OPEN + 1)
            && let Some(level) = self.levels.get_mut(far)
            && level.nodes.park(&level.went)
        {
            level.head = None;
        }
        Ok(true)
    }

    fn leave(&mut self, _: &StoredPath) -> bool {
        self.levels.pop();
        true
    }
}
