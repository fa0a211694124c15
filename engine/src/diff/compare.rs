//! Two trees side by side: the one loop that all comparisons share. No recursion, however deep the trees are.

use super::DiffStatistics;
use crate::base::{BlobId, Counter, Kind, Observer, Result, StoredPath};
use crate::model::{Change, Content, DatabaseState, ListItem, Modifier, Node, NodeKind};
use crate::repo::Repo;
use crate::sqlite::capture::Sidecar;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// Pieces of one file that are remembered to tell which are new; of a file with more all bytes count.
const MOST_PIECES: usize = 1 << 20;

/// An entry of one of the trees.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    /// None if it is there but cannot be read: then nothing is said of it.
    pub(super) node: Option<Node>,
}

/// One of the two trees: a place in it, and the ways on. Paths are those of the folder where we are, or enter, or left.
pub(super) trait Side {
    /// The next entry of the folder where we are; entries ascend by name.
    fn peek(&mut self, folder: &StoredPath) -> Result<Option<&Entry>>;
    /// True if entries before the one that comes next cannot be read: what only the other side has there may be here too.
    fn has_gap(&self) -> bool {
        false
    }
    /// Takes the entry that was looked at.
    fn take(&mut self) -> Option<Entry>;
    /// Goes into a folder that was taken; false if that cannot be read.
    fn enter(&mut self, node: &Node, path: &StoredPath) -> Result<bool>;
    /// Goes back to the folder above, which is at this path; false if what comes next in it can no longer be read.
    fn leave(&mut self, folder: &StoredPath) -> bool;
    /// True for the files of apps that may be running: databases are compared by their committed state then, and what
    /// lies beside them is part of them.
    fn is_live(&self) -> bool {
        false
    }
    /// True if a file of equal size has another content than `before`. None if it cannot be read.
    fn has_other_content(&mut self, before: &Node, after: &Node, _: &StoredPath) -> Result<Option<bool>> {
        Ok(Some(before.content_hash() != after.content_hash()))
    }
}

/// A folder on the way down.
#[derive(Clone, Copy)]
struct Level {
    in_before: bool,
    in_after: bool,
    /// True if nothing can be said of its other entries.
    ended: bool,
}

/// True for a database that was stored in one image of a committed state.
pub(super) fn is_captured(node: &Node) -> bool {
    node.database
        .as_ref()
        .is_some_and(|database| matches!(database.state, DatabaseState::Quiescent | DatabaseState::Captured))
}

/// Two trees, and what was found so far.
pub(super) struct Compare<'r, A, B> {
    repo: &'r Repo,
    before: A,
    after: B,
    folder: StoredPath,
    /// The folders from the start down to where we are.
    levels: Vec<Level>,
    /// The captured databases of the first tree in the folders on the way down.
    databases: HashSet<StoredPath>,
    pub(super) statistics: DiffStatistics,
}

impl<'r, A: Side, B: Side> Compare<'r, A, B> {
    /// Begins where both trees have the entries of one folder.
    pub(super) fn new(repo: &'r Repo, folder: StoredPath, before: A, after: B) -> Self {
        let statistics = DiffStatistics::default();
        let levels = vec![Level { in_before: true, in_after: true, ended: false }];
        Self { repo, before, after, folder, levels, databases: HashSet::new(), statistics }
    }

    pub(super) fn run(
        &mut self,
        observer: &dyn Observer,
        visit: &mut dyn FnMut(&Change) -> Result<()>,
    ) -> Result<()> {
        let cancel = &self.repo.session().cancel;
        while let Some(level) = self.levels.last().copied() {
            cancel.check()?;
            let first = if level.in_before && !level.ended { self.before.peek(&self.folder)? } else { None };
            let second = if level.in_after && !level.ended { self.after.peek(&self.folder)? } else { None };
            let order = match (first, second) {
                (None, None) => {
                    self.leave(level);
                    continue;
                }
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(first), Some(second)) => first.name.cmp(&second.name),
            };
            let is_unknown = match order {
                Ordering::Less => level.in_after && self.after.has_gap(),
                Ordering::Greater => level.in_before && self.before.has_gap(),
                Ordering::Equal => false,
            };
            let before = if order == Ordering::Greater { None } else { self.before.take() };
            let after = if order == Ordering::Less { None } else { self.after.take() };
            observer.add(Counter::Files, 1);
            if !is_unknown {
                self.entry(before, after, visit)?;
            }
        }
        Ok(())
    }

    fn leave(&mut self, level: Level) {
        self.levels.pop();
        let folder = std::mem::replace(&mut self.folder, StoredPath::root());
        self.databases.retain(|path| path.parent().as_ref() != Some(&folder));
        self.folder = folder.parent().unwrap_or_else(StoredPath::root);
        let first = !level.in_before || self.before.leave(&self.folder);
        let second = !level.in_after || self.after.leave(&self.folder);
        if let Some(above) = self.levels.last_mut() {
            above.ended |= !(first && second);
        }
    }

    fn entry(
        &mut self,
        before: Option<Entry>,
        after: Option<Entry>,
        visit: &mut dyn FnMut(&Change) -> Result<()>,
    ) -> Result<()> {
        let Some(name) = before.as_ref().or(after.as_ref()).map(|entry| &entry.name) else { return Ok(()) };
        let path = self.folder.join(name);
        // An entry that cannot be read was said to be so by its side.
        let is_unreadable = [&before, &after].into_iter().flatten().any(|entry| entry.node.is_none());
        let (before, after) = (before.and_then(|entry| entry.node), after.and_then(|entry| entry.node));
        if is_unreadable {
            return Ok(());
        }
        if self.after.is_live() {
            if before.as_ref().is_some_and(is_captured) {
                self.databases.insert(path.clone());
            } else if before.is_none() && self.belongs_to_database(&path) {
                return Ok(());
            }
        }
        let modifier = match (&before, &after) {
            (Some(first), Some(second)) => self.modifier(first, second, &path)?,
            (Some(_), None) => Some(Modifier::Removed),
            (None, _) => Some(Modifier::Added),
        };
        // A folder that cannot be read on one side may hold what seems to be gone: it is entered on none.
        let below = self.enter(before.as_ref(), after.as_ref(), &path)?;
        if let Some(modifier) = modifier {
            self.count(modifier, before.as_ref(), after.as_ref())?;
            visit(&Change { path: path.clone(), modifier, before, after })?;
        }
        if let Some(level) = below {
            self.levels.push(level);
            self.folder = path;
        }
        Ok(())
    }

    /// True for what lies beside a database and is part of it.
    fn belongs_to_database(&self, path: &StoredPath) -> bool {
        Sidecar::main_of(path.name())
            .is_some_and(|(main, _)| self.databases.contains(&self.folder.join(main)))
    }

    /// Goes down where there are folders, unless both are the same page.
    fn enter(
        &mut self,
        before: Option<&Node>,
        after: Option<&Node>,
        path: &StoredPath,
    ) -> Result<Option<Level>> {
        let first = before.filter(|node| node.kind == NodeKind::Dir);
        let second = after.filter(|node| node.kind == NodeKind::Dir);
        if let (Some(first), Some(second)) = (first, second)
            && first.subtree.is_some()
            && first.subtree == second.subtree
        {
            return Ok(None);
        }
        if let Some(node) = second
            && !self.after.enter(node, path)?
        {
            return Ok(None);
        }
        if let Some(node) = first
            && !self.before.enter(node, path)?
        {
            if second.is_some() {
                self.after.leave(&self.folder);
            }
            return Ok(None);
        }
        let level = Level { in_before: first.is_some(), in_after: second.is_some(), ended: false };
        Ok((level.in_before || level.in_after).then_some(level))
    }

    fn modifier(&mut self, before: &Node, after: &Node, path: &StoredPath) -> Result<Option<Modifier>> {
        if before.kind != after.kind {
            return Ok(Some(Modifier::TypeChanged));
        }
        let is_modified = match before.kind {
            NodeKind::File if before.size != after.size && !self.has_states(before) => Some(true),
            NodeKind::File => self.after.has_other_content(before, after, path)?,
            _ => Some(before.target != after.target || before.device != after.device),
        };
        let Some(is_modified) = is_modified else { return Ok(None) };
        if is_modified {
            return Ok(Some(Modifier::Modified));
        }
        // A state may be later than the main file.
        let has_time = before.kind != NodeKind::Dir && !self.has_states(before);
        let has_other_time = has_time && before.mtime != after.mtime;
        let numbers = |node: &Node| (node.mode, node.uid, node.gid);
        let differs = has_other_time || numbers(before) != numbers(after) || before.xattrs != after.xattrs;
        Ok(differs.then_some(Modifier::Metadata))
    }

    /// True if the committed state counts, and not what the main file's size and time say.
    fn has_states(&self, before: &Node) -> bool {
        self.after.is_live() && is_captured(before)
    }

    fn count(&mut self, modifier: Modifier, before: Option<&Node>, after: Option<&Node>) -> Result<()> {
        if modifier == Modifier::Modified
            && let (Some(before), Some(after)) = (before, after)
        {
            if before.kind == NodeKind::File {
                let (added, removed) = self.new_bytes(before, after)?;
                self.statistics.changed_files += 1;
                self.statistics.bytes_added = self.statistics.bytes_added.saturating_add(added);
                self.statistics.bytes_removed = self.statistics.bytes_removed.saturating_add(removed);
            }
            return Ok(());
        }
        if modifier == Modifier::Metadata {
            return Ok(());
        }
        let statistics = &mut self.statistics;
        if let Some(node) = before {
            statistics.bytes_removed = statistics.bytes_removed.saturating_add(node.size);
            *match node.kind {
                NodeKind::File => &mut statistics.files_removed,
                NodeKind::Dir => &mut statistics.dirs_removed,
                _ => &mut statistics.others_removed,
            } += 1;
        }
        if let Some(node) = after {
            statistics.bytes_added = statistics.bytes_added.saturating_add(node.size);
            *match node.kind {
                NodeKind::File => &mut statistics.files_added,
                NodeKind::Dir => &mut statistics.dirs_added,
                _ => &mut statistics.others_added,
            } += 1;
        }
        Ok(())
    }

    /// Bytes of the pieces that only the second and only the first file has.
    fn new_bytes(&self, before: &Node, after: &Node) -> Result<(u64, u64)> {
        let whole = (after.size, before.size);
        let (Some(first), Some(second)) = (self.pieces(before)?, self.pieces(after)?) else {
            return Ok(whole);
        };
        let missing_in = |one: &HashMap<BlobId, u64>, other: &HashMap<BlobId, u64>| {
            let alone = one.iter().filter(|(id, _)| !other.contains_key(*id));
            alone.fold(0u64, |sum, (_, len)| sum.saturating_add(*len))
        };
        Ok((missing_in(&second, &first), missing_in(&first, &second)))
    }

    /// The pieces of a stored file, each with all bytes that it stands for. None if they are not known or too many.
    fn pieces(&self, node: &Node) -> Result<Option<HashMap<BlobId, u64>>> {
        let mut pieces = HashMap::new();
        let root = match node.content {
            Content::Chunk(id) => return Ok(Some(HashMap::from([(id, node.size)]))),
            Content::None => return Ok((node.size == 0).then_some(pieces)),
            Content::List(root) => root,
        };
        let mut seen = 0;
        let too_many = || crate::base::Error::new(Kind::Usage, "compare", "the pieces of a file");
        let done = self.repo.each_list_item(&root, &mut |item| {
            self.repo.session().cancel.check()?;
            seen += 1;
            if let ListItem::Chunk { id, len } = item {
                *pieces.entry(id).or_insert(0u64) += u64::from(len);
            }
            if seen > MOST_PIECES { Err(too_many()) } else { Ok(()) }
        });
        match done {
            Ok(()) => Ok(Some(pieces)),
            // The comparison does not need the pieces: only the statistics do.
            Err(e) if e.is_unreadable() || e.kind() == Kind::Usage => Ok(None),
            Err(e) => Err(e),
        }
    }
}
