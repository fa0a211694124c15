//! L6: what differs between two snapshots, or between a snapshot and the source as it is now. Nothing is written.
//!
//! The rules, for two entries of one path:
//!
//! - another kind: type changed (`T`); the entries of a folder that was there or came are removed or added;
//! - files: another size or content: modified (`M`); links: another target; devices: other numbers;
//! - else other permissions, owner, time or extended attributes: metadata (`U`). The time of a folder is not looked at:
//!   it changes with every entry that comes or goes, and those are reported themselves. Neither are names of owners
//!   (numbers count), hard links, holes, and what is known of databases.
//!
//! All entries of an added or removed folder are reported. Changes come in the order of their paths.

mod compare;
mod live;
mod stored;
#[cfg(test)]
mod tests;

pub use live::{LiveOptions, live};

use crate::base::{Error, Kind, Observer, Phase, Result, StoredPath};
use crate::browse::lookup;
use crate::model::{Change, Node};
use crate::repo::{Repo, Snapshot};
use compare::Compare;
use stored::Stored;

/// What differs, in numbers. What changed its kind counts as removed and added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffStatistics {
    /// Files whose content differs.
    pub changed_files: u64,
    /// Files that came.
    pub files_added: u64,
    /// Files that went.
    pub files_removed: u64,
    /// Folders that came.
    pub dirs_added: u64,
    /// Folders that went.
    pub dirs_removed: u64,
    /// Links and special files that came.
    pub others_added: u64,
    /// Links and special files that went.
    pub others_removed: u64,
    /// Bytes of files that came, and of changed files the pieces that were not in them before. Compared with the source
    /// as it is now there are no pieces: all of a changed file counts.
    pub bytes_added: u64,
    /// Bytes of files that went, and of changed files the pieces that are no longer in them.
    pub bytes_removed: u64,
}

/// Hands every difference at and below `path` to `visit`. Folders that are the same page in both are not read.
///
/// # Errors
/// [`Kind::NotFound`] if neither snapshot holds the path; what `visit` fails with. Folders that cannot be read whole are
/// told to `observer`, and the others compared.
pub fn snapshots(
    repo: &Repo,
    before: &Snapshot,
    after: &Snapshot,
    path: &StoredPath,
    observer: &dyn Observer,
    visit: &mut dyn FnMut(&Change) -> Result<()>,
) -> Result<DiffStatistics> {
    observer.phase(Phase::Comparing);
    let (first, second) = (find(repo, before, path)?, find(repo, after, path)?);
    if first.is_none() && second.is_none() {
        let why = format!("neither snapshot {} nor {} holds it", before.id.short(), after.id.short());
        return Err(Error::new(Kind::NotFound, "compare", path).because(why));
    }
    let folder = path.parent().unwrap_or_else(StoredPath::root);
    let mut compare =
        Compare::new(repo, folder, Stored::new(repo, observer, first), Stored::new(repo, observer, second));
    compare.run(observer, visit)?;
    Ok(compare.statistics)
}

/// The node of a path, if the snapshot holds it.
fn find(repo: &Repo, snapshot: &Snapshot, path: &StoredPath) -> Result<Option<Node>> {
    match lookup(repo, snapshot, path) {
        Ok(node) => Ok(Some(node)),
        Err(e) if e.kind() == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
