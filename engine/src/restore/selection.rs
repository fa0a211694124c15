//! Which entries of a snapshot are meant, and the way through a tree that meets only those.

use crate::base::{Error, Result, StoredPath};
use crate::browse::{Step, Walk};
use crate::filter::{Patterns, Verdict};
use crate::model::{Database, DatabaseState, Node, NodeKind};
use crate::sqlite::capture::Sidecar;
use std::collections::VecDeque;

/// The patterns of a restore. What lies below an included folder is included, what lies below an excluded one is
/// excluded, and excluding is stronger.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub(super) include: Patterns,
    pub(super) exclude: Patterns,
}

/// What the patterns say of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Included,
    /// Not meant itself; entries below may be.
    Passing,
    Excluded,
}

impl Selection {
    /// Judges an entry of a folder that is included or not.
    pub(super) fn judge(&self, folder_included: bool, path: &StoredPath) -> Judgement {
        if self.exclude.matches(path) {
            return Judgement::Excluded;
        }
        let included = match self.include.verdict(path) {
            Verdict::Matched => true,
            Verdict::TakenOut => false,
            Verdict::Unmentioned => folder_included,
        };
        if included { Judgement::Included } else { Judgement::Passing }
    }

    /// True if the folder where a restore begins is included as a whole.
    pub(super) fn includes_start(&self, folder: &StoredPath) -> bool {
        let mut included = self.include.is_empty() || self.include.matches(&StoredPath::root());
        let mut at = StoredPath::root();
        for name in folder.components() {
            at = at.join(name);
            match self.include.verdict(&at) {
                Verdict::Matched => included = true,
                Verdict::TakenOut => included = false,
                Verdict::Unmentioned => {}
            }
        }
        included
    }
}

/// What is met next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, taken apart at once")]
pub(super) enum WalkEvent {
    /// An entry that is meant, or a folder on the way to one.
    Entry(Node, StoredPath),
    /// All of this folder, which was met as an entry, has been met.
    Leave(StoredPath),
    /// Some entries of this folder cannot be read.
    Broken(StoredPath, Error),
}

/// A way through a tree that meets what a selection means, in the order of its paths. Folders that are not meant
/// themselves are met once something in them is.
#[derive(Debug)]
pub(super) struct SelectedWalk<'r> {
    walk: Walk<'r>,
    selection: &'r Selection,
    start_included: bool,
    levels: Vec<Level>,
    /// Entries that are to be handed out, each with the number of the level that it opens if it opens one.
    ready: VecDeque<(Node, StoredPath, Option<usize>)>,
    /// The level that was handed out last, if it was the last thing handed out.
    handed: Option<usize>,
    /// Levels from this number on are passed over.
    skipped: Option<usize>,
    has_excluded: bool,
}

#[derive(Debug)]
struct Level {
    path: StoredPath,
    included: bool,
    /// The folder itself, until it is handed out.
    waiting: Option<Node>,
}

impl<'r> SelectedWalk<'r> {
    pub(super) fn new(walk: Walk<'r>, selection: &'r Selection) -> Self {
        let start_included = selection.includes_start(walk.folder());
        Self {
            walk,
            selection,
            start_included,
            levels: Vec::new(),
            ready: VecDeque::new(),
            handed: None,
            skipped: None,
            has_excluded: false,
        }
    }

    /// True if something that was met so far was excluded.
    pub(super) fn has_excluded(&self) -> bool {
        self.has_excluded
    }

    /// True if the folder whose entries are met now is meant, and not only passed through.
    pub(super) fn is_included(&self) -> bool {
        self.levels.last().map_or(self.start_included, |level| level.included)
    }

    /// True if a folder that was just met is meant itself, and not only passed through.
    pub(super) fn is_meant(&self, folder: &StoredPath) -> bool {
        self.levels.iter().rev().find(|level| level.path == *folder).is_some_and(|level| level.included)
    }

    /// True if another name in the folder of the entry that was met last is a file that is restored too.
    pub(super) fn restores(&self, path: &StoredPath) -> bool {
        self.selection.judge(self.is_included(), path) == Judgement::Included
            && self.walk.find(path.name()).is_some_and(|node| node.kind == NodeKind::File)
    }

    /// The database that the file that was met last is a sidecar of, if it is restored too, and where it is stored.
    pub(super) fn database_of(&self, node: &Node, path: &StoredPath) -> Option<(Node, StoredPath)> {
        if node.kind != NodeKind::File {
            return None;
        }
        let (name, _) = Sidecar::main_of(&node.name)?;
        let database = self.walk.find(name).filter(|found| found.database.is_some())?;
        let path = path.parent()?.join(name);
        let is_restored = database.kind == NodeKind::File
            && self.selection.judge(self.is_included(), &path) == Judgement::Included;
        is_restored.then_some((database, path))
    }

    /// True for a log or journal without which a database that is restored would not be what it was.
    fn comes_along(&self, node: &Node, path: &StoredPath) -> bool {
        let database = self.database_of(node, path);
        database.is_some_and(|(database, _)| stored_beside(&database).contains(&node.name))
    }

    /// Does not enter the folder that was met last: neither its entries nor its [`WalkEvent::Leave`] follow.
    pub(super) fn skip(&mut self) {
        let Some(level) = self.handed.take() else { return };
        self.ready.clear();
        if level + 1 == self.levels.len() && self.walk.skip() {
            self.levels.truncate(level);
        } else {
            self.skipped = Some(level);
        }
    }

    /// Goes one step on; nothing at the end.
    ///
    /// # Errors
    /// As [`Walk::step`].
    pub(super) fn step(&mut self) -> Result<Option<WalkEvent>> {
        self.handed = None;
        loop {
            if let Some((node, path, level)) = self.ready.pop_front() {
                self.handed = level;
                return Ok(Some(WalkEvent::Entry(node, path)));
            }
            let Some(step) = self.walk.step()? else { return Ok(None) };
            match step {
                Step::Entry(node) => self.meet(node),
                Step::Leave => {
                    let left = self.levels.pop();
                    let was_skipped = self.skipped.is_some();
                    if self.skipped.is_some_and(|from| self.levels.len() <= from) {
                        self.skipped = None;
                    }
                    if let Some(level) = left.filter(|level| !was_skipped && level.waiting.is_none()) {
                        return Ok(Some(WalkEvent::Leave(level.path)));
                    }
                }
                Step::Broken(error) if self.skipped.is_none() => {
                    return Ok(Some(WalkEvent::Broken(self.walk.folder().clone(), error)));
                }
                Step::Broken(_) => {}
            }
        }
    }

    fn meet(&mut self, node: Node) {
        if self.skipped.is_some() {
            self.walk.skip();
            return;
        }
        let path = self.walk.path_of(&node);
        let judgement = self.selection.judge(self.is_included(), &path);
        let opens = node.kind == NodeKind::Dir && node.subtree.is_some();
        if judgement == Judgement::Excluded {
            self.has_excluded = true;
            self.walk.skip();
            return;
        }
        let included = judgement == Judgement::Included || self.comes_along(&node, &path);
        if included {
            for (number, level) in self.levels.iter_mut().enumerate() {
                if let Some(folder) = level.waiting.take() {
                    self.ready.push_back((folder, level.path.clone(), Some(number)));
                }
            }
        }
        let number = opens.then_some(self.levels.len());
        match (included, opens) {
            (true, true) => {
                self.levels.push(Level { path: path.clone(), included, waiting: None });
                self.ready.push_back((node, path, number));
            }
            (true, false) => self.ready.push_back((node, path, None)),
            (false, true) => self.levels.push(Level { path, included, waiting: Some(node) }),
            (false, false) => {}
        }
    }
}

/// The names of the files beside a database that was not stored in one image: only together they are what its app had. A
/// record may name anything; of that, what is named as its sidecars are.
pub(super) fn stored_beside(node: &Node) -> Vec<Vec<u8>> {
    let Some(Database { state: DatabaseState::AsItLay | DatabaseState::Pair, sidecars, .. }) = &node.database
    else {
        return Vec::new();
    };
    let own = Sidecar::ALL.map(|sidecar| sidecar.beside(&node.name));
    own.into_iter().filter(|name| sidecars.contains(name)).collect()
}
