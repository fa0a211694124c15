//! The one walk of a restore: through a snapshot and the target at the same time. It says for each entry what is to be done
//! with it; `plan` prints and sums that, every part of `apply` does it. The walk can be run again at any time and holds
//! nothing but the way down, so that the number of entries costs no memory.

use super::decide::{look, same_content};
use super::names::{Siblings, Twins};
use super::remove::{DeleteScope, Extras};
use super::selection::{Judgement, SelectedWalk, WalkEvent};
use super::target::{check_name, failed, shown};
use super::{Action, Overwrite, RestorePlan};
use crate::base::{Cancel, Error, Kind, Result, StoredPath, Whose};
use crate::browse::FolderNodes;
use crate::model::{BlobKind, Node, NodeKind};
use crate::repo::Repo;
use crate::restore::live::Suspects;
use crate::source::{Descent, SourceDir, Stat};
use crate::sqlite::capture::Sidecar;
use std::io;

/// Says by which rule the sidecar of a restored database is decided about: from the open folder, the database and its path.
/// Nothing if it is not restored.
pub(super) type RuleBeside<'w> = &'w dyn Fn(&SourceDir, &Node, &StoredPath) -> Result<Option<Overwrite>>;

/// An entry, and what is to be done with it.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) node: Node,
    pub(super) path: StoredPath,
    pub(super) action: Action,
    /// What the target has at its place.
    pub(super) found: Option<Stat>,
    /// The rule that it was decided by.
    pub(super) rule: Overwrite,
    /// The database that it is a sidecar of, if that is restored too.
    pub(super) database: Option<(Node, StoredPath)>,
}

/// The same, without the entry.
struct Decision {
    action: Action,
    found: Option<Stat>,
    rule: Overwrite,
    database: Option<(Node, StoredPath)>,
}

/// What comes next on the walk.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, taken apart at once")]
pub(super) enum Event {
    /// An entry. A folder that is there has been entered; into one that is made the consumer goes with
    /// [`DecidedWalk::enter`], else what lies below counts as absent.
    Entry(Decided),
    /// All of a folder that is there has been met. The walk is still in it, until the next step.
    Leave(Level, StoredPath),
    /// An entry that cannot be restored, whatever was decided; of a folder nothing below is met.
    Lost(Box<Node>, StoredPath, Error),
    /// Some entries of this folder of the snapshot cannot be read.
    Broken(StoredPath, Error),
}

/// A folder of the target that is there, as far as it has been looked at.
#[derive(Debug)]
pub(super) struct Level {
    /// The stored folder; none for the target itself.
    pub(super) node: Option<Node>,
    pub(super) scope: DeleteScope,
    /// What is in it that the snapshot does not have, if that is to go.
    pub(super) extras: Option<Extras>,
    /// True if the folder is meant, and not only passed through.
    pub(super) is_included: bool,
    pub(super) suspects: Option<Suspects>,
    twins: Twins,
}

/// What the walk decides by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'w> {
    pub(super) repo: &'w Repo,
    pub(super) plan: &'w RestorePlan,
    pub(super) cancel: &'w Cancel,
    /// Reads files of the stored size and says what becomes of them, instead of [`Action::Compare`].
    pub(super) compares: bool,
    /// Lists what is too much in the folders, if that is to be deleted.
    pub(super) lists_extras: bool,
    /// Decides about folders alone: everything else has been seen to, and is [`Action::Leave`].
    pub(super) only_folders: bool,
}

/// The walk.
pub(super) struct DecidedWalk<'w> {
    rules: Rules<'w>,
    beside: Option<RuleBeside<'w>>,
    walk: SelectedWalk<'w>,
    /// Where we are in the target, or the last folder above that is there; none if the target is not there.
    descent: Option<Descent>,
    levels: Vec<Level>,
    /// Folders between that one and where we are.
    absent: u64,
    /// A folder was met that is not there, and not entered yet.
    is_unmade: bool,
    /// The folder that we are in is to be left at the next step.
    is_leaving: bool,
    /// Pipes, sockets and devices that are not asked for.
    specials: u64,
}

impl<'w> DecidedWalk<'w> {
    /// Begins in the target, which may be missing.
    pub(super) fn new(rules: Rules<'w>, root: Option<SourceDir>) -> Result<Self> {
        let start = &rules.plan.start;
        let walk = SelectedWalk::new(start.walk(rules.repo, rules.cancel), &rules.plan.selection);
        let mut new = Self {
            rules,
            beside: None,
            walk,
            descent: None,
            levels: Vec::new(),
            absent: 0,
            is_unmade: false,
            is_leaving: false,
            specials: 0,
        };
        if let Some(root) = root {
            let is_included = new.walk.is_included();
            let level =
                new.level(&root, None, start.is_whole, is_included).map_err(looking(&start.folder))?;
            new.levels.push(level);
            new.descent = Some(Descent::new(root).map_err(looking(&start.folder))?);
        }
        Ok(new)
    }

    /// Decides about sidecars by this rule, and not by what would be decided about their databases.
    pub(super) fn with_beside(self, beside: RuleBeside<'w>) -> Self {
        Self { beside: Some(beside), ..self }
    }

    /// True if something that was met so far was excluded.
    pub(super) fn has_excluded(&self) -> bool {
        self.walk.has_excluded()
    }

    /// True if a folder that was just met is meant itself, and not only passed through.
    pub(super) fn is_meant(&self, folder: &StoredPath) -> bool {
        self.walk.is_meant(folder)
    }

    /// True if another name in the folder of the entry that was met last is a file that is restored too.
    pub(super) fn restores(&self, path: &StoredPath) -> bool {
        self.walk.restores(path)
    }

    /// Whether what is too much in the folder that we are in may go; nothing where there is none.
    pub(super) fn scope(&self) -> Option<DeleteScope> {
        self.levels.last().filter(|_| self.absent == 0).map(|level| level.scope)
    }

    /// Pipes, sockets and devices that were met and are not asked for.
    pub(super) fn specials(&self) -> u64 {
        self.specials
    }

    /// The folder of the target that we are in.
    pub(super) fn here(&self, path: &StoredPath) -> Result<&SourceDir> {
        match self.descent.as_ref().filter(|_| self.absent == 0) {
            Some(descent) => descent.here().map_err(failed("open the folder of", path)),
            None => Err(failed("open the folder of", path)(io::ErrorKind::NotFound.into())),
        }
    }

    /// The folder of the target that we are in and what is known of it; nothing where there is none.
    pub(super) fn level_here(&mut self) -> Option<(&SourceDir, &mut Level)> {
        let descent = self.descent.as_ref().filter(|_| self.absent == 0)?;
        Some((descent.here().ok()?, self.levels.last_mut()?))
    }

    /// In a later part of the work every folder is there, or else it could not be made, was to be left alone, or has been
    /// moved away. True for one that is not: nothing below it is met then.
    pub(super) fn skips_missing(&mut self, entry: &Decided) -> bool {
        let is_missing = entry.node.kind == NodeKind::Dir && entry.action != Action::Merge;
        if is_missing {
            self.skip();
        }
        is_missing
    }

    /// Enters the folder that was met last, now that it has been made.
    pub(super) fn enter(&mut self, node: &Node, path: &StoredPath) -> Result<()> {
        self.is_unmade = false;
        self.go_down(node, path).map_err(failed("open folder", path))
    }

    /// Does not go on below the folder that was met last.
    pub(super) fn skip(&mut self) {
        self.is_unmade = false;
        self.walk.skip();
    }

    /// The target itself, once everything has been met.
    pub(super) fn into_top(mut self) -> Option<(SourceDir, Level)> {
        let level = self.levels.pop()?;
        let here = self.descent?.here().ok()?.try_clone().ok()?;
        Some((here, level))
    }

    fn level(
        &self,
        dir: &SourceDir,
        node: Option<Node>,
        is_whole: bool,
        is_included: bool,
    ) -> io::Result<Level> {
        let above = self.levels.last().map_or(DeleteScope::Above, |level| level.scope);
        let scope = DeleteScope::of(above, is_whole, dir)?;
        let lists = self.rules.lists_extras && self.rules.plan.options.delete && scope.may_lose();
        let extras = if lists { Some(Extras::of(dir)?) } else { None };
        Ok(Level { node, scope, extras, is_included, suspects: None, twins: Twins::default() })
    }

    fn go_down(&mut self, node: &Node, path: &StoredPath) -> io::Result<()> {
        let Some(descent) = &mut self.descent else { return Err(io::ErrorKind::NotFound.into()) };
        descent.enter(&node.name)?;
        let is_included = self.walk.is_meant(path);
        let is_whole = DeleteScope::is_whole(node);
        let level = match self.descent.as_ref().map(Descent::here) {
            Some(Ok(here)) => self.level(here, Some(node.clone()), is_whole, is_included),
            Some(Err(e)) => Err(e),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        match level {
            Ok(level) => self.levels.push(level),
            Err(e) => {
                let _back_where_we_were = self.descent.as_mut().map(Descent::leave);
                return Err(e);
            }
        }
        Ok(())
    }

    /// Goes one step on; nothing at the end.
    ///
    /// # Errors
    /// A failure of the repository's store, the wish to stop, or an entry that would come into the repository.
    pub(super) fn step(&mut self) -> Result<Option<Event>> {
        if std::mem::take(&mut self.is_unmade) {
            self.absent += 1;
        }
        loop {
            if std::mem::take(&mut self.is_leaving)
                && let Some(descent) = &mut self.descent
            {
                descent.leave().map_err(failed("leave a folder in", &self.rules.plan.start.folder))?;
            }
            let Some(event) = self.walk.step()? else { return Ok(None) };
            match event {
                WalkEvent::Entry(node, path) => {
                    if let Some(event) = self.meet(node, path)? {
                        return Ok(Some(event));
                    }
                }
                WalkEvent::Leave(_) if self.absent > 0 => self.absent -= 1,
                WalkEvent::Leave(path) => {
                    self.is_leaving = true;
                    if let Some(level) = self.levels.pop() {
                        return Ok(Some(Event::Leave(level, path)));
                    }
                }
                WalkEvent::Broken(path, error) => return Ok(Some(Event::Broken(path, error))),
            }
        }
    }

    fn meet(&mut self, node: Node, path: StoredPath) -> Result<Option<Event>> {
        let kind = node.kind;
        self.is_no_extra(&node);
        if kind.is_special() && !self.rules.plan.options.special {
            self.specials += 1;
            return Ok(None);
        }
        let decided = match check_name(&node.name, &path) {
            Ok(()) => self.decide(&node, &path),
            Err(e) => Err(e),
        };
        match decided {
            Ok(Decision { action, found, rule, database }) => {
                match action {
                    Action::Keep if kind == NodeKind::Dir => self.skip(),
                    Action::Merge => {}
                    _ => self.is_unmade = kind == NodeKind::Dir,
                }
                Ok(Some(Event::Entry(Decided { node, path, action, found, rule, database })))
            }
            Err(e) if matches!(e.kind(), Kind::Cancelled | Kind::Usage) => Err(e),
            Err(e) => {
                if kind == NodeKind::Dir {
                    self.skip();
                }
                Ok(Some(Event::Lost(Box::new(node), path, e)))
            }
        }
    }

    /// The snapshot has this entry: it is not too much. Nor is what lies beside a database: it is moved out of the way of
    /// one that is restored, and is part of one that stays.
    fn is_no_extra(&mut self, node: &Node) {
        let Some(level) = self.levels.last_mut().filter(|_| self.absent == 0) else { return };
        let Some(extras) = &mut level.extras else { return };
        extras.has(&node.name);
        if node.kind == NodeKind::File && node.database.is_some() {
            Sidecar::ALL.iter().for_each(|sidecar| extras.has(&sidecar.beside(&node.name)));
        }
    }

    fn decide(&mut self, node: &Node, path: &StoredPath) -> Result<Decision> {
        let rule = self.rules.plan.options.overwrite;
        if self.rules.only_folders && node.kind != NodeKind::Dir {
            return Ok(Decision { action: Action::Leave, found: None, rule, database: None });
        }
        let database = self.walk.database_of(node, path);
        if self.absent > 0 || self.descent.is_none() {
            return Ok(Decision { action: Action::Make, found: None, rule, database });
        }
        let found = look(self.here(path)?, &node.name).map_err(looking(path))?;
        if let Some(found) = &found {
            self.check_found(node, path, found)?;
        }
        let here = self.here(path)?;
        let beside = match &database {
            Some((database, at)) => self.rule_beside(here, database, at)?,
            None => Some(rule),
        };
        let Some(rule) = beside else {
            return Ok(Decision { action: Action::Keep, found, rule, database });
        };
        let mut action = rule.decide(here, found.as_ref(), node);
        if action == Action::Compare && self.rules.compares {
            let is_same = self.has_stored_content(here, node, path)?;
            action = if is_same { Action::Leave } else { Action::Overwrite };
        }
        if action == Action::Merge {
            self.go_down(node, path).map_err(failed("open folder", path))?;
        }
        Ok(Decision { action, found, rule, database })
    }

    /// Refuses what is found there but must not be touched.
    fn check_found(&mut self, node: &Node, path: &StoredPath, found: &Stat) -> Result<()> {
        if self.rules.plan.repositories.contains(&found.identity()) {
            return Err(Error::new(Kind::Usage, "restore into", shown(&self.rules.plan.target))
                .because(format!("{path} of the snapshot would come into the folder of the repository")));
        }
        let rules = self.rules;
        let (is_included, nodes) = (self.walk.is_included(), self.nodes_here());
        let folder = path.parent().unwrap_or_else(StoredPath::root);
        let load = || siblings(rules, nodes, is_included, &folder);
        let Some((here, level)) = self.level_here() else { return Ok(()) };
        if !level.twins.is_of_another(here, &node.name, found, load).map_err(|e| e.told(path))? {
            return Ok(());
        }
        Err(Error::new(Kind::AlreadyThere, "restore", path).because(
            "the target takes its name for that of another restored entry, as one that differs only in upper and lower \
             case",
        ))
    }

    /// All entries of the stored folder that we are in.
    fn nodes_here(&self) -> FolderNodes<'w> {
        match self.levels.last().and_then(|level| level.node.as_ref()).and_then(|node| node.subtree) {
            Some(tree) => FolderNodes::new(self.rules.repo, tree),
            None => self.rules.plan.start.nodes(self.rules.repo),
        }
    }

    fn rule_beside(&self, here: &SourceDir, database: &Node, path: &StoredPath) -> Result<Option<Overwrite>> {
        if let Some(beside) = self.beside {
            return beside(here, database, path);
        }
        let rule = self.rules.plan.options.overwrite;
        let found = look(here, &database.name).map_err(looking(path))?;
        Ok(rule.beside(rule.decide(here, found.as_ref(), database)))
    }

    fn has_stored_content(&self, here: &SourceDir, node: &Node, path: &StoredPath) -> Result<bool> {
        let key = self.rules.repo.id_key(BlobKind::Data);
        match here.open_file(&node.name) {
            Ok(file) => same_content(&file, node, key, path, self.rules.cancel),
            // A file that cannot be read gives way.
            Err(_) => Ok(false),
        }
    }
}

/// Why it is not known whose name something has.
enum Unknown {
    Target(io::Error),
    Other(Error),
}

impl From<io::Error> for Unknown {
    fn from(error: io::Error) -> Self {
        Self::Target(error)
    }
}

impl Unknown {
    fn told(self, path: &StoredPath) -> Error {
        match self {
            Self::Target(e) => looking(path)(e),
            Self::Other(e) => e,
        }
    }
}

/// The names of a stored folder that are restored.
fn siblings(
    rules: Rules<'_>,
    mut nodes: FolderNodes<'_>,
    is_included: bool,
    folder: &StoredPath,
) -> std::result::Result<Siblings, Unknown> {
    let mut siblings = Siblings::default();
    loop {
        match nodes.next_node() {
            Ok(Some(node)) => {
                let judgement = rules.plan.selection.judge(is_included, &folder.join(&node.name));
                if judgement == Judgement::Included
                    || (judgement == Judgement::Passing && node.subtree.is_some())
                {
                    siblings.add(&node.name);
                }
            }
            Ok(None) => return Ok(siblings),
            // What cannot be read is not restored either.
            Err(e) if e.is_unreadable() => {}
            Err(e) => return Err(Unknown::Other(e.of(Whose::Repository))),
        }
    }
}

fn looking(path: &StoredPath) -> impl FnOnce(io::Error) -> Error {
    failed("look into the target for", path)
}
