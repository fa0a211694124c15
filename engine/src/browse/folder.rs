//! The nodes of one folder, page by page, with a place that can be left and found again.

use crate::base::{BlobId, Error, Result};
use crate::format::tree::{Above, TreePage};
use crate::model::{DamagedLog, Node};
use crate::repo::Repo;
use std::collections::BTreeMap;

/// The nodes of one folder, ascending by name. Holds one page of nodes at a time.
#[derive(Debug)]
pub struct FolderNodes<'r> {
    repo: &'r Repo,
    /// None where the nodes were given.
    root: Option<BlobId>,
    /// Pages that are still to be read, the next one last, each with what the page above says of it (none: the root).
    pages: Vec<(BlobId, Option<Above>)>,
    leaf: std::vec::IntoIter<Node>,
    /// The last name of the leaves before this one.
    last: Option<Vec<u8>>,
    /// Names up to this one have been seen.
    seen: Option<Vec<u8>>,
    /// The node that was taken from the page last, if something comes before it.
    next: Option<Node>,
    /// What stands for damaged logs of databases that were handed over, until its place comes.
    logs: BTreeMap<Vec<u8>, Node>,
    /// False where only what a folder really had is wanted.
    with_logs: bool,
}

impl<'r> FolderNodes<'r> {
    /// The nodes of the folder with this root page.
    #[must_use]
    pub fn new(repo: &'r Repo, root: BlobId) -> Self {
        Self { root: Some(root), pages: vec![(root, None)], ..Self::given(repo, Vec::new()) }
    }

    /// These nodes and no others, as if they were a folder.
    #[must_use]
    pub fn given(repo: &'r Repo, nodes: Vec<Node>) -> Self {
        Self {
            repo,
            root: None,
            pages: Vec::new(),
            leaf: nodes.into_iter(),
            last: None,
            seen: None,
            next: None,
            logs: BTreeMap::new(),
            with_logs: true,
        }
    }

    /// Only what the folder really had: damaged logs that are kept with their databases are no entries of their own.
    #[must_use]
    pub fn without_logs(self) -> Self {
        Self { with_logs: false, ..self }
    }

    /// The root page; none where the nodes were given.
    #[must_use]
    pub(super) fn root(&self) -> Option<BlobId> {
        self.root
    }

    /// Gives back the memory; goes on behind `name` when the next node is asked for. False, and nothing happens, for
    /// nodes that were given.
    pub fn park(&mut self, name: &[u8]) -> bool {
        let Some(root) = self.root else { return false };
        self.pages = vec![(root, None)];
        self.leaf = Vec::new().into_iter();
        self.last = None;
        // It is read again; logs whose databases were handed over stay.
        self.next = None;
        self.seen = Some(name.to_vec());
        true
    }

    /// The node of a name, wherever we are; nothing for nodes that were given, and where it cannot be read.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<Node> {
        self.root.and_then(|root| find(self.repo, &root, name).ok().flatten())
    }

    /// The next node: an entry, or a damaged log that is kept with one.
    ///
    /// # Errors
    /// [`crate::base::Kind::Damaged`] if a page cannot be used. What lies behind that page can still be asked for.
    pub fn next_node(&mut self) -> Result<Option<Node>> {
        let entry = match self.next.take() {
            Some(entry) => Some(entry),
            None => self.next_entry()?,
        };
        let Some(entry) = entry else { return Ok(self.logs.pop_first().map(|(_, log)| log)) };
        if let Some(mut first) = self.logs.first_entry().filter(|first| *first.key() <= entry.name) {
            if *first.key() < entry.name {
                self.next = Some(entry);
                return Ok(Some(first.remove()));
            }
            // An entry of that name is really there.
            let log = first.get_mut().clone();
            first.remove();
            let log = renamed(log);
            self.logs.insert(log.name.clone(), log);
        }
        if let Some(log) = entry.damaged_log().filter(|_| self.with_logs) {
            self.logs.insert(log.name.clone(), log);
        }
        Ok(Some(entry))
    }

    fn next_entry(&mut self) -> Result<Option<Node>> {
        loop {
            if let Some(node) = self.leaf.next() {
                return Ok(Some(node));
            }
            let Some((id, above)) = self.pages.pop() else { return Ok(None) };
            self.repo.session().cancel.check()?;
            let page = self.repo.tree_page(&id)?;
            page.check_place(above.as_ref()).map_err(|why| self.broken(why))?;
            match page {
                TreePage::Leaf(nodes) => self.take_leaf(nodes)?,
                TreePage::Inner { level, children } => {
                    let before = |name: &Vec<u8>| self.seen.as_ref().is_some_and(|seen| name <= seen);
                    let start = children.partition_point(|(first, _)| before(first)).saturating_sub(1);
                    let ahead = children.into_iter().skip(start).rev();
                    self.pages.extend(ahead.map(|(first, id)| (id, Some((level, first)))));
                }
            }
        }
    }

    fn take_leaf(&mut self, mut nodes: Vec<Node>) -> Result<()> {
        if let (Some(last), Some(first)) = (&self.last, nodes.first())
            && *last >= first.name
        {
            return Err(self.broken("its names do not ascend"));
        }
        self.last = nodes.last().map(|node| node.name.clone()).or_else(|| self.last.take());
        if let Some(seen) = &self.seen {
            nodes.retain(|node| node.name > *seen);
        }
        self.leaf = nodes.into_iter();
        Ok(())
    }

    /// No page of a folder that contradicts itself is used any more.
    fn broken(&mut self, why: &str) -> Error {
        self.pages.clear();
        let root = self.root.map(|root| root.short()).unwrap_or_default();
        Error::damaged("read a folder at page", root, why)
    }
}

/// What is added to the name of a damaged log as long as an entry has it.
const TAKEN: &[u8] = b".damaged";

fn renamed(log: Node) -> Node {
    Node { name: [log.name.as_slice(), TAKEN].concat(), ..log }
}

/// The node of a name in the folder with this root page: an entry, or the damaged log that is kept with one.
pub(crate) fn find(repo: &Repo, root: &BlobId, name: &[u8]) -> Result<Option<Node>> {
    if let Some(entry) = repo.find_node(root, name)? {
        return Ok(Some(entry));
    }
    let mut free = name;
    loop {
        if let Some(database) = free.strip_suffix(DamagedLog::SUFFIX).filter(|database| !database.is_empty())
        {
            let log = repo.find_node(root, database)?.and_then(|database| database.damaged_log());
            return Ok(log.map(|log| Node { name: name.to_vec(), ..log }));
        }
        // Only where all shorter names are taken.
        let Some(shorter) = free.strip_suffix(TAKEN) else { return Ok(None) };
        if repo.find_node(root, shorter)?.is_none() {
            return Ok(None);
        }
        free = shorter;
    }
}
