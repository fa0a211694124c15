//! L6: putting a state back: `plan` looks and refuses, `apply` writes.
//!
//! Everything below the target goes by descriptor, one name at a time and never through a link, so that neither a tree
//! made by an enemy nor a link that stands in the target leads out of it, and paths of any length and depth work.
//! One walk through snapshot and target decides about each entry ([`walk`]): `plan` prints and sums what it says, and each
//! part of `apply` does it. `apply` takes the walk up to four times, and holds none of it:
//!
//! 1. folders (closed to others), links and files: each file under a temporary name, and renamed when its content,
//!    checked as a whole, its times and its permissions are there;
//! 2. further names of files that had several, and the sidecars of databases, if there are any;
//! 3. each file once more, read from the disk, if that is asked for;
//! 4. from the bottom up: what the snapshot does not have goes, if that is asked for; times and permissions of folders.
//!
//! What stands in the way is replaced by renaming, never written into: until a file is whole, the old one is there. Only
//! a folder cannot take a file's place by renaming: what is there is removed before the folder is made.

mod apply;
mod create;
mod decide;
mod file;
mod kept;
mod links;
mod live;
mod metadata;
mod names;
mod options;
mod plan;
mod remove;
mod room;
mod selection;
mod tally;
mod target;
mod temporary;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod work;

pub use apply::apply;
pub use options::{Overwrite, Ownership, RestoreOptions};
pub use plan::{INTO_ITSELF, plan, plan_each};

use crate::base::{BlobId, Cancel, StoredPath, Timestamp, Warning};
use crate::browse::{FolderNodes, Walk};
use crate::model::{Content, Node, NodeKind};
use crate::repo::{Repo, Snapshot};
use crate::sqlite::capture::Sidecar;
use remove::Approved;
use selection::Selection;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use target::Identity;

/// What the name of a sidecar gets when it is moved out of the way of a restored database; a number may follow.
const ASIDE: &str = ".before-restore";

/// True for a name that a sidecar has got when it was moved out of the way, by whichever restore.
fn is_aside(name: &[u8]) -> bool {
    let Some(at) = name.windows(ASIDE.len()).rposition(|part| part == ASIDE.as_bytes()) else { return false };
    let (sidecar, rest) = name.split_at(at);
    let number = rest.get(ASIDE.len()..).unwrap_or_default();
    let is_number = number.is_empty()
        || number.strip_prefix(b"-").is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit));
    is_number && Sidecar::main_of(sidecar).is_some()
}

/// What a restore will do with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing is there: it is created.
    Make,
    /// What is there is replaced.
    Overwrite,
    /// A file of the stored size is there: it is replaced if it turns out to have another content. No plan that was asked
    /// to compare has this.
    Compare,
    /// What is there is as it was stored, and is not touched.
    Leave,
    /// What is there stays, though it is not what was stored.
    Keep,
    /// A folder that is there: what is restored comes into it.
    Merge,
    /// It is not in the snapshot: it is removed.
    Delete,
}

/// One entry of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// Where it is stored, or would be.
    pub path: &'a StoredPath,
    /// Where it is, or will be, in the target: absolute.
    pub target: &'a Path,
    /// What is restored or deleted.
    pub kind: NodeKind,
    /// Bytes that are written or deleted.
    pub size: u64,
    /// What is done.
    pub action: Action,
    /// True if what is there and goes is in no snapshot.
    pub is_only_here: bool,
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
    /// Pipes, sockets and devices.
    pub specials: u64,
    /// Bytes of the files, holes included.
    pub bytes: u64,
    /// Of all these: what replaces something, unless that has the stored content already.
    pub overwritten: u64,
    /// Of all these: what is there as it was stored.
    pub unchanged: u64,
    /// Of all these: what is not restored because something else is to stay there. Folders count without their content.
    pub kept: u64,
    /// Entries that the snapshot does not have and that will be removed.
    pub deleted: u64,
    /// Bytes of files that will be removed.
    pub deleted_bytes: u64,
    /// Entries that will go for good: what they hold is in no snapshot. Of files that are replaced only where the plan
    /// was asked to compare.
    pub discarded: u64,
    /// Entries that forbid the restore, because they would go for good. Not 0 only where the plan was asked to compare:
    /// another plan fails then.
    pub only_here: u64,
    /// Entries that cannot be restored because the target cannot look them up.
    pub failed: u64,
    /// Bytes that the target will need, at most: what is known of holes without reading content lists.
    pub needed_bytes: u64,
    /// Bytes that the target's file system has free.
    pub available_bytes: u64,
    /// Folders of which some entries cannot be read.
    pub damaged: BTreeSet<StoredPath>,
    /// Of these, the ones that are not known to be lost: this user may not read what tells of their entries.
    pub denied: u64,
    /// The folders of this repository: nothing comes into them.
    repositories: Vec<Identity>,
    /// What may be removed, and what of that is in no snapshot.
    approved: Approved,
    deleted_for_good: u64,
    snapshot: Snapshot,
    options: RestoreOptions,
    selection: Selection,
    start: Start,
    /// The target's own identity, if it is there already.
    existing: Option<Identity>,
}

/// What was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Files that were written, without further names.
    pub files: u64,
    /// Folders, those included that were there.
    pub dirs: u64,
    /// Symbolic links that were made.
    pub symlinks: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// Bytes of the files that were written, holes included.
    pub bytes: u64,
    /// Of what was written: what replaced something.
    pub overwritten: u64,
    /// What was there as it was stored.
    pub unchanged: u64,
    /// What stayed because it was to stay.
    pub kept: u64,
    /// What the snapshot did not have, and is gone.
    pub deleted: u64,
    /// Of what was overwritten or deleted: what was in no snapshot.
    pub discarded: u64,
    /// Files that were read again and are what was stored; those in `unchecked_databases` are not among them.
    pub verified: u64,
    /// Files that were read again and are not, or could not be read.
    pub differing: u64,
    /// Databases that were read again and that SQLite finds sound.
    pub sound_databases: u64,
    /// Databases that are what was stored, and that SQLite finds damaged.
    pub unsound_databases: u64,
    /// Databases that are what was stored, and that SQLite could not be asked about.
    pub unchecked_databases: u64,
    /// Entries whose owner could not be set.
    pub owners_failed: u64,
    /// Files and folders that are not restored, or not whole, because the repository is damaged.
    pub damaged: u64,
    /// Files and folders that are not restored because this user may not read the repository's objects.
    pub denied: u64,
    /// What is not restored, or not removed, because the target refused it.
    pub failed: u64,
    /// Pipes, sockets and devices that are not restored because that was not asked for.
    pub specials: u64,
    /// Pipes, sockets and devices that were made.
    pub specials_restored: u64,
    /// What the observer was told; at most 10,000.
    pub warnings: Vec<Warning>,
}

/// Where the walk through the tree begins.
#[derive(Clone, Debug)]
struct Start {
    /// The stored folder whose entries go straight into the target.
    folder: StoredPath,
    from: From,
    /// The stored folder itself, if it was stored as a whole: it is the target, if we make that.
    own: Option<Box<Node>>,
    /// True if all that was in that folder was to be stored. So it may be of `/`, of which nothing is stored itself.
    is_whole: bool,
}

#[derive(Clone, Debug)]
enum From {
    Tree(BlobId),
    /// One entry, and what is useless without it or it without that.
    Nodes(Vec<Node>),
}

impl Start {
    fn walk<'r>(&self, repo: &'r Repo, cancel: &'r Cancel) -> Walk<'r> {
        Walk::new(repo, self.folder.clone(), self.nodes(repo), cancel)
    }

    fn nodes<'r>(&self, repo: &'r Repo) -> FolderNodes<'r> {
        match &self.from {
            From::Tree(root) => FolderNodes::new(repo, *root),
            From::Nodes(nodes) => FolderNodes::given(repo, nodes.clone()),
        }
    }
}

/// What is set on an entry after its content. Without a time nothing is set: so are the folders above the sources.
#[derive(Clone, Copy, Debug)]
struct Metadata {
    mtime: Timestamp,
}

impl Metadata {
    fn of(node: &Node) -> Option<Self> {
        node.mtime.map(|mtime| Self { mtime })
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
