//! What the parent snapshot has and this one does not: files that are gone from their paths, and databases that shrank.
//!
//! A folder is compared when it closes, by the names that it has now and had before, and only if any of its nodes
//! changed. A folder that is gone is followed in the parent's tree. What options exclude, and what could not be read, is
//! not gone: whoever leaves an entry out says so ([`super::folder::Folder::spare`]).

use super::Work;
use super::folder::Folder;
use super::memory::{Previous, RowEntry};
use super::tally::Status;
use crate::base::{BlobId, Found, Result, StoredPath};
use crate::model::{Node, NodeKind};
use crate::sqlite::capture::Sidecar;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::PoisonError;

/// Most files, and most databases that shrank, that are named.
const MOST_NAMED: usize = 20;
/// Most new files whose content is remembered, to notice that one moved.
const MOST_NEW: usize = 10_000;
/// Most entries of gone folders that are counted: a tree that refers to the same folders again and again could have any
/// number of them.
const MOST_COUNTED: u64 = 20_000_000;

/// What is gone since the parent snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Files that are no longer at their paths.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, databases.
    pub databases: u64,
    /// Some of them: databases first, then the largest.
    pub named: Vec<GoneFile>,
    /// Databases with less than half of the bytes that they had; of very many not all.
    pub shrunk: Vec<ShrunkDatabase>,
    /// True if a part of the parent could not be read, so that there may be more.
    pub is_incomplete: bool,
}

/// A file that is no longer at its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoneFile {
    /// Where it was.
    pub path: StoredPath,
    /// Its bytes.
    pub size: u64,
    /// True if it was a database.
    pub is_database: bool,
    /// A path at which the same content is new.
    pub moved_to: Option<StoredPath>,
    /// What it held.
    content: Option<BlobId>,
}

/// A database that lost more than half of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShrunkDatabase {
    /// Where it is.
    pub path: StoredPath,
    /// The bytes that it had in the parent snapshot.
    pub before: u64,
    /// Its bytes now.
    pub now: u64,
}

/// What a run has compared so far.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    gone: Gone,
    /// Entries of gone folders that were counted.
    counted: u64,
    new: HashMap<BlobId, StoredPath>,
}

impl Comparison {
    fn add(&mut self, path: StoredPath, node: &Node) {
        let is_database = node.database.is_some();
        self.gone.files += 1;
        self.gone.bytes = self.gone.bytes.saturating_add(node.size);
        self.gone.databases += u64::from(is_database);
        let content = node.content_hash();
        let file = GoneFile { path, size: node.size, is_database, moved_to: None, content };
        let named = &mut self.gone.named;
        let at = named.partition_point(|other| rank(other) <= rank(&file));
        if at < MOST_NAMED {
            named.insert(at, file);
            named.truncate(MOST_NAMED);
        }
    }

    pub(super) fn finish(self) -> Gone {
        let Self { mut gone, new, .. } = self;
        for file in &mut gone.named {
            file.moved_to = file.content.and_then(|content| new.get(&content).cloned());
        }
        gone.shrunk.sort_by(|a, b| a.path.cmp(&b.path));
        gone
    }
}

/// Databases first, then by size, then by path: the same whatever thread comes first.
fn rank(file: &GoneFile) -> (Reverse<bool>, Reverse<u64>, &StoredPath) {
    (Reverse(file.is_database), Reverse(file.size), &file.path)
}

impl Work<'_> {
    fn comparison<T>(&self, change: impl FnOnce(&mut Comparison) -> T) -> T {
        change(&mut self.tally.comparison.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what a folder had that it has no more.
    pub(super) fn compare_folder(&self, folder: &Folder, before: &Previous, now: &Previous) -> Result<()> {
        for entry in before.entries() {
            let same = now.find(entry.name);
            if same.is_some_and(|same| same.kind == entry.kind) || folder.is_spared(entry.name) {
                continue;
            }
            // The log of a database comes and goes with its use.
            let main = Sidecar::main_of(entry.name).and_then(|(main, _)| now.find(main));
            if main.is_none_or(|main| main.kind != NodeKind::File) {
                self.is_gone(folder, entry)?;
            }
        }
        Ok(())
    }

    fn is_gone(&self, folder: &Folder, entry: RowEntry<'_>) -> Result<()> {
        if !matches!(entry.kind, NodeKind::File | NodeKind::Dir) {
            return Ok(());
        }
        let path = folder.path.join(entry.name);
        match entry.decode() {
            Ok(node) if node.kind == NodeKind::File => self.file_is_gone(path, &node),
            Ok(Node { subtree: Some(tree), .. }) => return self.folder_is_gone(path, tree),
            Ok(_) => {}
            Err(_) => self.comparison(|comparison| comparison.gone.is_incomplete = true),
        }
        Ok(())
    }

    fn file_is_gone(&self, path: StoredPath, node: &Node) {
        self.observer.found(&path, Found::Gone);
        self.comparison(|comparison| comparison.add(path, node));
    }

    /// Counts the files of a folder of the parent. Of what cannot be read there nothing is known.
    fn folder_is_gone(&self, path: StoredPath, tree: BlobId) -> Result<()> {
        let mut open = vec![(path, tree)];
        while let Some((path, tree)) = open.pop() {
            let read = self.repo.each_tree_leaf(&tree, &self.writer.cancel, &mut |nodes| {
                for node in nodes {
                    match (node.kind, node.subtree) {
                        (NodeKind::File, _) => self.file_is_gone(path.join(&node.name), &node),
                        (NodeKind::Dir, Some(tree)) => open.push((path.join(&node.name), tree)),
                        _ => {}
                    }
                    self.comparison(|comparison| comparison.counted += 1);
                }
                Ok(())
            });
            self.writer.cancel.check()?;
            let is_enough = self.comparison(|comparison| {
                comparison.gone.is_incomplete |= read.is_err() || comparison.counted > MOST_COUNTED;
                comparison.counted > MOST_COUNTED
            });
            if is_enough {
                break;
            }
        }
        Ok(())
    }

    /// Notes what a new or changed file says of what is gone: that it moved here, or that most of a database is.
    pub(super) fn compare_file(
        &self,
        folder: &Folder,
        before: Option<RowEntry<'_>>,
        status: Status,
        node: &Node,
    ) {
        match (status, before) {
            (Status::New, _) if self.has_parent => {
                let Some(content) = node.content_hash() else { return };
                self.comparison(|comparison| {
                    if comparison.new.len() < MOST_NEW {
                        comparison.new.insert(content, folder.path.join(&node.name));
                    }
                });
            }
            (Status::Changed, Some(before)) => {
                let Ok(old) = before.decode() else { return };
                if old.database.is_some() && node.size < old.size / 2 {
                    let path = folder.path.join(&node.name);
                    let shrunk = ShrunkDatabase { path, before: old.size, now: node.size };
                    self.comparison(|comparison| {
                        if comparison.gone.shrunk.len() < MOST_NAMED {
                            comparison.gone.shrunk.push(shrunk);
                        }
                    });
                }
            }
            _ => {}
        }
    }
}
