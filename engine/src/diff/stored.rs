//! A stored tree as one side of a comparison.

use super::compare::{Entry, Side};
use crate::base::{Result, StoredPath};
use crate::browse::{FolderNodes, Sharing};
use crate::model::Node;
use crate::repo::Repo;

/// Folders on the way down whose pages are kept in memory; the places in those above are found again by name.
const MOST_OPEN: usize = 32;

/// A stored tree.
pub(super) struct Stored<'r> {
    repo: &'r Repo,
    levels: Vec<Level<'r>>,
    sharing: Sharing,
}

struct Level<'r> {
    nodes: FolderNodes<'r>,
    /// The entry that comes next, if it was looked at.
    head: Option<Entry>,
    /// The name under which we went down.
    went: Vec<u8>,
}

impl<'r> Stored<'r> {
    /// Begins with one node, as the only entry of a folder.
    pub(super) fn new(repo: &'r Repo, start: Option<Node>) -> Self {
        let nodes = FolderNodes::given(repo, start.into_iter().collect()).without_logs();
        let levels = vec![Level { nodes, head: None, went: Vec::new() }];
        Self { repo, levels, sharing: Sharing::default() }
    }
}

impl Side for Stored<'_> {
    fn peek(&mut self, _: &StoredPath) -> Result<Option<&Entry>> {
        let Some(level) = self.levels.last_mut() else { return Ok(None) };
        if level.head.is_none() {
            level.head =
                level.nodes.next_node()?.map(|node| Entry { name: node.name.clone(), node: Some(node) });
        }
        Ok(level.head.as_ref())
    }

    fn take(&mut self) -> Option<Entry> {
        self.levels.last_mut()?.head.take()
    }

    fn enter(&mut self, node: &Node, _: &StoredPath) -> Result<bool> {
        let Some(tree) = node.subtree else { return Ok(false) };
        self.sharing.enter(self.repo, &tree)?;
        if let Some(level) = self.levels.last_mut() {
            level.went.clone_from(&node.name);
        }
        self.levels.push(Level {
            nodes: FolderNodes::new(self.repo, tree).without_logs(),
            head: None,
            went: Vec::new(),
        });
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
