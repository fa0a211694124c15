//! Finding a path in a snapshot, and going through all that lies below it.

use super::folder::{FolderNodes, find};
use super::sharing::Sharing;
use crate::base::{BlobId, Cancel, Error, Kind, Observer, Result, StoredPath, Warning};
use crate::model::{Node, NodeKind};
use crate::repo::{Repo, Snapshot};

/// Folders on the way down whose pages are kept in memory; the places in those above are found again by name.
const MOST_OPEN: usize = 32;

/// The node of a path; for `/` a folder without a name.
///
/// # Errors
/// [`Kind::NotFound`] if the snapshot does not hold the path.
pub fn lookup(repo: &Repo, snapshot: &Snapshot, path: &StoredPath) -> Result<Node> {
    let mut node = Node::new(Vec::new(), NodeKind::Dir);
    node.subtree = Some(snapshot.manifest.root);
    let mut at = StoredPath::root();
    let missing = |why: String| Error::new(Kind::NotFound, "find", path).because(why);
    for name in path.components() {
        let Some(tree) = node.subtree else {
            return Err(missing(format!("in snapshot {} {at} is no folder", snapshot.id.short())));
        };
        at = at.join(name);
        node = find(repo, &tree, name)?
            .ok_or_else(|| missing(format!("snapshot {} does not hold {at}", snapshot.id.short())))?;
    }
    Ok(node)
}

/// Hands the entries of a folder to `visit`, sorted, each folder before its own entries; all below it or only the
/// direct ones. The folder itself is not handed over; what is no folder is handed over itself. A folder that cannot be
/// read whole is told to `observer`, and the rest follows.
///
/// # Errors
/// The first failure of reading or of `visit`; [`Kind::NotFound`] if there is no such path.
pub fn list(
    repo: &Repo,
    snapshot: &Snapshot,
    path: &StoredPath,
    recursive: bool,
    cancel: &Cancel,
    observer: &dyn Observer,
    visit: &mut dyn FnMut(&StoredPath, &Node) -> Result<()>,
) -> Result<()> {
    let node = lookup(repo, snapshot, path)?;
    let Some(tree) = node.subtree else { return visit(path, &node) };
    let mut walk = Walk::new(repo, path.clone(), FolderNodes::new(repo, tree), cancel);
    while let Some(step) = walk.step()? {
        match step {
            Step::Entry(node) => {
                if !recursive {
                    walk.skip();
                }
                visit(&walk.path_of(&node), &node)?;
            }
            Step::Leave => {}
            Step::Broken(error) => {
                let what = "Not all entries of this folder can be read";
                observer.warn(&Warning::of_unreadable(Some(walk.folder()), what, &error));
            }
        }
    }
    Ok(())
}

/// What is met next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, taken apart at once")]
pub enum Step {
    /// An entry of the folder where we are. If it is a folder, its entries follow, up to its [`Step::Leave`].
    Entry(Node),
    /// The folder where we were has no more entries: we are in the one above again. The start is not left.
    Leave,
    /// Some entries of the folder where we are cannot be read ([`Error::is_unreadable`]); the others follow.
    Broken(Error),
}

/// A way through a tree in the order of its paths. Memory is bounded, however deep or wide the tree is.
#[derive(Debug)]
pub struct Walk<'r> {
    repo: &'r Repo,
    cancel: &'r Cancel,
    /// From the start down to where we are, each with the name under which we went further down.
    levels: Vec<(FolderNodes<'r>, Vec<u8>)>,
    folder: StoredPath,
    /// The folder that was met last, if it is to be entered.
    pending: Option<(Vec<u8>, BlobId)>,
    sharing: Sharing,
}

impl<'r> Walk<'r> {
    /// Begins with the nodes of a folder, which lies at `folder`.
    #[must_use]
    pub fn new(repo: &'r Repo, folder: StoredPath, start: FolderNodes<'r>, cancel: &'r Cancel) -> Self {
        let sharing = Sharing::from(start.root());
        Self { repo, cancel, levels: vec![(start, Vec::new())], folder, pending: None, sharing }
    }

    /// The folder where we are.
    #[must_use]
    pub fn folder(&self) -> &StoredPath {
        &self.folder
    }

    /// The path of an entry that was met in the folder where we are.
    #[must_use]
    pub fn path_of(&self, node: &Node) -> StoredPath {
        self.folder.join(&node.name)
    }

    /// Does not enter the folder that was met last: neither its entries nor its [`Step::Leave`] follow. False if what was
    /// met last is none that would be entered.
    pub fn skip(&mut self) -> bool {
        self.pending.take().is_some()
    }

    /// The node of a name in the folder where we are; nothing also where it cannot be read.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<Node> {
        self.levels.last().and_then(|(level, _)| level.find(name))
    }

    /// Goes one step on; nothing at the end.
    ///
    /// # Errors
    /// Whatever is no damage of a folder (that is [`Step::Broken`]): the store failed, the run was cancelled, or the tree
    /// has more entries than anyone can read.
    pub fn step(&mut self) -> Result<Option<Step>> {
        self.cancel.check()?;
        if let Some((name, tree)) = self.pending.take() {
            self.sharing.enter(self.repo, &tree)?;
            self.enter(name, tree);
        }
        let Some((level, _)) = self.levels.last_mut() else { return Ok(None) };
        match level.next_node() {
            Ok(Some(node)) => {
                self.pending = node.subtree.map(|tree| (node.name.clone(), tree));
                Ok(Some(Step::Entry(node)))
            }
            Ok(None) => {
                self.levels.pop();
                if self.levels.is_empty() {
                    return Ok(None);
                }
                self.folder = self.folder.parent().unwrap_or_else(StoredPath::root);
                Ok(Some(Step::Leave))
            }
            Err(e) if e.is_unreadable() => Ok(Some(Step::Broken(e))),
            Err(e) => Err(e),
        }
    }

    fn enter(&mut self, name: Vec<u8>, tree: BlobId) {
        self.folder = self.folder.join(&name);
        if let Some((_, went)) = self.levels.last_mut() {
            *went = name;
        }
        self.levels.push((FolderNodes::new(self.repo, tree), Vec::new()));
        if let Some(far) = self.levels.len().checked_sub(MOST_OPEN + 1)
            && let Some((level, went)) = self.levels.get_mut(far)
        {
            level.park(went);
        }
    }
}
