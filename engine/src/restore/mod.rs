//! L6: putting a state back: `plan` looks and refuses, `apply` writes.
//!
//! Everything below the target goes by descriptor, one name at a time and never through a link, so that neither a tree
//! made by an enemy nor a link that stands in the target leads out of it, and paths of any length and depth work.
//! `apply` goes through the tree up to three times, and holds none of it:
//!
//! 1. folders (closed to others), links and files: each file under a temporary name, and renamed when its content,
//!    checked as a whole, its times and its permissions are there;
//! 2. further names of files that had several, if there are any;
//! 3. times and permissions of folders, from the bottom up.

mod apply;
mod file;
mod links;
mod plan;
mod target;
#[cfg(test)]
mod tests;

pub use apply::apply;
pub use plan::plan;

use crate::base::{BlobId, StoredPath, Timestamp, Warning};
use crate::browse::{FolderNodes, Walk};
use crate::model::{Content, Node};
use crate::repo::Repo;
use std::collections::BTreeSet;
use std::path::PathBuf;
use target::Identity;

/// What to restore, and where to.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// The folder that gets the files; made if it is not there.
    pub target: PathBuf,
    /// Only this path: the content of a folder, or the file itself, straight into the target. Without it everything,
    /// under the stored paths.
    pub path: Option<StoredPath>,
    /// The folder of the repository, if it is on this machine: the target must not overlap with it.
    pub repository: Option<PathBuf>,
}

/// What a restore will do. Nothing has been written yet.
#[derive(Clone, Debug)]
pub struct RestorePlan {
    /// The folder that gets the files: absolute, without links.
    pub target: PathBuf,
    /// Files; of several names of one file only the first.
    pub files: u64,
    /// Folders.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// Pipes, sockets and devices, which are not restored.
    pub specials: u64,
    /// Bytes of the files, holes included.
    pub bytes: u64,
    /// Bytes that the target will need, at most: what is known of holes without reading content lists.
    pub needed_bytes: u64,
    /// Bytes that the target's file system has free.
    pub available_bytes: u64,
    /// Folders of which some entries cannot be read.
    pub damaged: BTreeSet<StoredPath>,
    start: Start,
    /// The target's own identity, if it is there already.
    existing: Option<Identity>,
}

/// What was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Files, without further names.
    pub files: u64,
    /// Folders, those included that were there.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// Bytes of the files, holes included.
    pub bytes: u64,
    /// Files and folders that are not restored, or not whole, because the repository is damaged.
    pub damaged: u64,
    /// What is not restored because the target refused it.
    pub failed: u64,
    /// Pipes, sockets and devices, which are not restored.
    pub specials: u64,
    /// What the observer was told; at most 10,000.
    pub warnings: Vec<Warning>,
}

/// Where the walk through the tree begins.
#[derive(Clone, Debug)]
struct Start {
    /// The stored folder whose entries go straight into the target.
    folder: StoredPath,
    from: From,
    /// Mode and time of the target, if we make it.
    own: Option<Metadata>,
}

#[derive(Clone, Debug)]
enum From {
    Tree(BlobId),
    Node(Box<Node>),
}

impl Start {
    fn walk<'r>(&self, repo: &'r Repo, cancel: &'r crate::base::Cancel) -> Walk<'r> {
        let nodes = match &self.from {
            From::Tree(root) => FolderNodes::new(repo, *root),
            From::Node(node) => FolderNodes::given(repo, vec![node.as_ref().clone()]),
        };
        Walk::new(repo, self.folder.clone(), nodes, cancel)
    }
}

/// What is set on an entry after its content. Without a time nothing is set: so are the folders above the sources.
#[derive(Clone, Copy, Debug)]
struct Metadata {
    mode: u32,
    mtime: Timestamp,
}

impl Metadata {
    fn of(node: &Node) -> Option<Self> {
        node.mtime.map(|mtime| Self { mode: node.mode, mtime })
    }
}

/// Names of one file: the number of its group, and its content, so that a tree that contradicts itself cannot give a
/// file the content of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LinkKey {
    group: u64,
    size: u64,
    content: Content,
}

impl LinkKey {
    fn of(node: &Node) -> Option<Self> {
        node.hard_link.map(|group| Self { group, size: node.size, content: node.content })
    }
}
