//! Looking before writing: what is to be restored, what stands in its way, and whether there is room.

use super::existing::{Decision, look};
use super::live::Suspects;
use super::remove::{Act, Extras, Ground, Guard, remove};
use super::room::{ENTRY_COST, check_room, entries, no_room};
use super::selection::{Met, Selection, Way, stored_beside};
use super::target::{self, Identity, Place, shown};
use super::work::files_at_once;
use super::{Action, From, LinkKey, Overwrite, Planned, RestoreOptions, RestorePlan, Start};
use crate::base::{Error, Kind, Observer, Phase, Result, StoredPath, Warning};
use crate::browse::lookup;
use crate::model::{Node, NodeKind, Statistics};
use crate::repo::{Repo, Snapshot};
use crate::source::{Descent, SourceDir, Stat};
use crate::sqlite::capture::Sidecar;
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Most things in the way that are named.
const MOST_NAMED: u64 = 5;

/// Looks at snapshot and target; writes nothing.
///
/// # Errors
/// As [`plan_each`].
pub fn plan(
    repo: &Repo,
    snapshot: &Snapshot,
    options: &RestoreOptions,
    observer: &dyn Observer,
) -> Result<RestorePlan> {
    plan_each(repo, snapshot, options, observer, &mut |_| {})
}

/// As [`plan`], and hands to `tell` what will be done with each entry.
///
/// # Errors
/// [`Kind::NotFound`] if the snapshot does not hold the path, or nothing that is meant; [`Kind::Usage`] if the target
/// lies in the repository, or something would come into that; [`Kind::AlreadyThere`] if something stands in the way; [`Kind::InUse`] if an app seems
/// to use the target; [`Kind::NoSpace`] if there is too little room.
pub fn plan_each(
    repo: &Repo,
    snapshot: &Snapshot,
    options: &RestoreOptions,
    observer: &dyn Observer,
    tell: &mut dyn FnMut(&Planned<'_>),
) -> Result<RestorePlan> {
    observer.phase(Phase::Planning);
    check_complete(snapshot, options)?;
    let start = start(repo, snapshot, options.path.as_ref())?;
    let place = Place::find(&options.target)?;
    let mut options = options.clone();
    let mut repositories = Vec::new();
    for repository in
        [options.repository.clone(), repo.local_path().map(Path::to_owned)].into_iter().flatten()
    {
        repositories.push(place.keep_out_of(&repository)?);
        options.protected.push(repository);
    }
    let (available_bytes, available_entries) = place.room()?;
    let plan = RestorePlan::new(&options, start, &place, available_bytes);
    let selection = plan.selection.clone();
    let protected = target::identities(&options.protected);
    let guard = Guard { selection: &selection, protected: &protected, cancel: &repo.session().cancel };
    let conflicts = |why| Conflicts::new(why, &plan.start.folder, &plan.target);
    let mut planner = Planner {
        snapshot,
        repositories,
        observer,
        tell,
        guard,
        target: None,
        levels: Vec::new(),
        absent: 0,
        groups: HashSet::new(),
        largest: 0,
        left_out: false,
        conflicts: conflicts("these are there already"),
        live: conflicts("an app seems to be using these"),
        plan,
    };
    planner.look(repo)?;
    let Planner { mut plan, conflicts, live, largest, left_out, .. } = planner;
    live.check(Kind::InUse)?;
    conflicts.check(Kind::AlreadyThere)?;
    let is_nothing = plan.files + plan.dirs + plan.symlinks + plan.specials + plan.deleted == 0;
    if is_nothing && (left_out || !options.include.is_empty()) && plan.damaged.is_empty() {
        let subject = format!("snapshot {}", snapshot.id.short());
        return Err(Error::new(Kind::NotFound, "find in", subject)
            .because("nothing in it fits the patterns, or they leave nothing of it"));
    }
    // Files that are replaced are there twice for a while.
    let twice = plan.overwritten.min(files_at_once(repo.session()) as u64);
    plan.needed_bytes = plan.needed_bytes.saturating_add(largest.saturating_mul(twice));
    check_room(repo, &mut plan, available_entries)?;
    Ok(plan)
}

/// What could not be read when the snapshot was taken, or was to be left out, is not in it: deleting that would be
/// wrong.
fn check_complete(snapshot: &Snapshot, options: &RestoreOptions) -> Result<()> {
    let Statistics { unreadable, excluded, .. } = snapshot.manifest.statistics;
    if !options.delete || options.force_delete || (unreadable == 0 && excluded == 0) {
        return Ok(());
    }
    let reasons = [(unreadable, "that could not be read"), (excluded, "left out by its own options")];
    let reasons: Vec<String> = reasons
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| format!("{count} {reason}"))
        .collect();
    let subject = format!("what snapshot {} does not have", snapshot.id.short());
    Err(Error::new(Kind::Usage, "delete", subject)
        .because(format!("what did not come into it would be deleted too: {}", reasons.join(", "))))
}

/// Where the walk begins: at the root, in a folder, or with one entry.
fn start(repo: &Repo, snapshot: &Snapshot, path: Option<&StoredPath>) -> Result<Start> {
    let folder = path.cloned().unwrap_or_else(StoredPath::root);
    let node = lookup(repo, snapshot, &folder)?;
    Ok(match node.subtree {
        Some(tree) => {
            let own = node.mtime.is_some().then(|| Box::new(node));
            let is_whole = own.is_some() || snapshot.manifest.paths.contains(&folder);
            Start { folder, from: From::Tree(tree), own, is_whole }
        }
        None => {
            let folder = folder.parent().unwrap_or(folder);
            let mut nodes = Vec::new();
            for name in stored_beside(&node) {
                match lookup(repo, snapshot, &folder.join(&name)) {
                    Ok(sidecar) if sidecar.kind == NodeKind::File => nodes.push(sidecar),
                    Ok(_) => {}
                    Err(e) if e.kind() == Kind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
            nodes.push(node);
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
            Start { folder, from: From::Nodes(nodes), own: None, is_whole: false }
        }
    })
}

fn looking(path: &StoredPath) -> impl FnOnce(io::Error) -> Error {
    move |e| Error::io("look into the target for", path, e)
}

/// What speaks against a restore.
struct Conflicts {
    why: &'static str,
    /// The stored folder whose content comes into the target.
    from: StoredPath,
    /// The target.
    to: PathBuf,
    count: u64,
    first: Vec<String>,
}

impl Conflicts {
    fn new(why: &'static str, from: &StoredPath, to: &Path) -> Self {
        Self { why, from: from.clone(), to: to.to_owned(), count: 0, first: Vec::new() }
    }

    fn add(&mut self, path: &StoredPath, what: &str) {
        self.count += 1;
        if self.count <= MOST_NAMED {
            // What is in the way is in the target: naming the stored path would read as if the original were meant.
            let below = path.as_bytes().strip_prefix(self.from.as_bytes()).unwrap_or(path.as_bytes());
            let below = below.strip_prefix(b"/").unwrap_or(below);
            self.first.push(format!("{} ({what})", shown(&self.to.join(OsStr::from_bytes(below)))));
        }
    }

    fn check(self, kind: Kind) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let mut why = format!("{}: {}", self.why, self.first.join(", "));
        if self.count > MOST_NAMED {
            why.push_str(&format!(" and {} more", self.count - MOST_NAMED));
        }
        Err(Error::new(kind, "restore into", shown(&self.to)).because(why))
    }
}

/// A folder of the target that is there, as far as it has been looked at.
struct Level {
    ground: Ground,
    extras: Option<Extras>,
    suspects: Option<Suspects>,
    included: bool,
}

struct Planner<'a> {
    snapshot: &'a Snapshot,
    /// The folders of this repository: nothing comes into them.
    repositories: Vec<Identity>,
    observer: &'a dyn Observer,
    tell: &'a mut dyn FnMut(&Planned<'_>),
    guard: Guard<'a>,
    plan: RestorePlan,
    /// The folder of the target that we are in, or the last one above it that is there.
    target: Option<Descent>,
    /// One for each folder that is there, from the target down.
    levels: Vec<Level>,
    /// Folders between that one and where we are.
    absent: u64,
    groups: HashSet<LinkKey>,
    /// Bytes of the largest file that is replaced.
    largest: u64,
    /// Something was excluded by a pattern.
    left_out: bool,
    conflicts: Conflicts,
    live: Conflicts,
}

impl Planner<'_> {
    fn look(&mut self, repo: &Repo) -> Result<()> {
        let start = self.plan.start.clone();
        let selection = self.guard.selection;
        let mut way = Way::new(start.walk(repo, &repo.session().cancel), selection);
        if self.plan.existing.is_some() {
            let dir = SourceDir::open(&self.plan.target).map_err(looking(&start.folder))?;
            self.levels.push(self.level(&dir, start.is_whole, way.is_included(), &start.folder)?);
            self.target = Some(Descent::new(dir).map_err(looking(&start.folder))?);
        }
        while let Some(met) = way.step()? {
            match met {
                Met::Entry(node, path) => self.meet(&node, &path, &mut way)?,
                Met::Leave(_) if self.absent > 0 => self.absent -= 1,
                Met::Leave(path) => {
                    self.finish(&path)?;
                    if let Some(target) = &mut self.target {
                        target.leave().map_err(looking(&path))?;
                    }
                }
                Met::Broken(folder, error) => self.broken(&folder, &error),
            }
        }
        self.left_out = way.has_excluded();
        self.finish(&start.folder)
    }

    fn level(&self, dir: &SourceDir, is_whole: bool, included: bool, path: &StoredPath) -> Result<Level> {
        let above = self.levels.last().map_or(Ground::Above, |level| level.ground);
        let ground = Ground::of(above, is_whole, dir).map_err(looking(path))?;
        let deletes = self.plan.options.delete && ground.may_lose();
        let extras = if deletes { Some(Extras::of(dir).map_err(looking(path))?) } else { None };
        Ok(Level { ground, extras, suspects: None, included })
    }

    fn meet(&mut self, node: &Node, path: &StoredPath, way: &mut Way<'_>) -> Result<()> {
        let is_first =
            node.kind != NodeKind::File || LinkKey::of(node).is_none_or(|key| self.groups.insert(key));
        let action = self.compare(node, path, way, is_first)?;
        let Some(action) = action else { return Ok(()) };
        (self.tell)(&Planned { path, kind: node.kind, size: node.size, action });
        if action == Action::Keep && node.kind == NodeKind::Dir {
            way.skip();
            self.plan.kept += 1;
            self.plan.dirs += 1;
            return Ok(());
        }
        self.count(node, action, is_first)
    }

    fn count(&mut self, node: &Node, action: Action, is_first: bool) -> Result<()> {
        let plan = &mut self.plan;
        match node.kind {
            NodeKind::Dir => plan.dirs += 1,
            NodeKind::Symlink => plan.symlinks += 1,
            NodeKind::File if is_first => {
                plan.files += 1;
                plan.bytes = plan.bytes.saturating_add(node.size);
            }
            NodeKind::File => plan.hard_links += 1,
            _ => plan.specials += 1,
        }
        match action {
            Action::Make if node.kind.is_special() || !is_first => {}
            Action::Make => {
                let size = if node.kind == NodeKind::File { node.size } else { 0 };
                plan.needed_bytes = plan.needed_bytes.saturating_add(size).saturating_add(ENTRY_COST);
            }
            Action::Overwrite => plan.overwritten += 1,
            Action::Keep => plan.kept += 1,
            Action::Leave => plan.unchanged += 1,
            Action::Merge => plan.merged += 1,
            Action::Delete => {}
        }
        // A tree whose folders share their subtrees can have more entries than anybody could count.
        let least = entries(plan).saturating_mul(ENTRY_COST);
        let is_beyond = least > plan.available_bytes && plan.options.overwrite == Overwrite::Refuse;
        if is_beyond { Err(no_room("at least ", least, plan)) } else { Ok(()) }
    }

    /// Looks at what stands at the place of an entry, and goes down into folders.
    fn compare(
        &mut self,
        node: &Node,
        path: &StoredPath,
        way: &Way<'_>,
        is_first: bool,
    ) -> Result<Option<Action>> {
        if node.kind.is_special() && !self.plan.options.special {
            self.plan.specials += 1;
            if let Some(level) = self.levels.last_mut().filter(|_| self.absent == 0)
                && let Some(extras) = &mut level.extras
            {
                extras.has(&node.name);
            }
            return Ok(None);
        }
        let Some(target) = self.target.as_mut().filter(|_| self.absent == 0) else {
            self.absent += u64::from(node.kind == NodeKind::Dir);
            return Ok(Some(Action::Make));
        };
        let here = target.here().map_err(looking(path))?;
        let found = look(here, &node.name).map_err(looking(path))?;
        if found.is_some_and(|found| self.repositories.contains(&found.identity())) {
            return Err(Error::new(Kind::Usage, "restore into", shown(&self.plan.target))
                .because(format!("{path} of the snapshot would come into the folder of the repository")));
        }
        if let Some(level) = self.levels.last_mut() {
            if let Some(extras) = &mut level.extras {
                extras.has(&node.name);
            }
            if node.kind != NodeKind::Dir && !self.plan.options.force {
                level.suspect(here, node, found.as_ref()).map_err(looking(path))?;
            }
        }
        if node.kind == NodeKind::Dir && found.is_some_and(|found| found.kind == NodeKind::Dir) {
            target.enter(&node.name).map_err(looking(path))?;
            let dir = self.target.as_ref().and_then(|target| target.here().ok());
            if let Some(dir) = dir {
                let level = self.level(dir, Ground::is_whole(node), way.is_meant(path), path)?;
                self.levels.push(level);
            }
            return Ok(Some(Action::Merge));
        }
        let Some(rule) = self.rule(node, path, way)? else { return Ok(Some(Action::Keep)) };
        let action = self.act(node, path, found.as_ref(), rule, is_first)?;
        self.absent += u64::from(node.kind == NodeKind::Dir && action != Action::Keep);
        Ok(Some(action))
    }

    /// The rule for what stands in the way of an entry: a sidecar follows its database. Nothing if it is not restored.
    fn rule(&self, node: &Node, path: &StoredPath, way: &Way<'_>) -> Result<Option<Overwrite>> {
        let rule = self.plan.options.overwrite;
        let (Some(target), Some((database, _))) = (&self.target, way.database_of(node, path)) else {
            return Ok(Some(rule));
        };
        let here = target.here().map_err(looking(path))?;
        let found = look(here, &database.name).map_err(looking(path))?;
        Ok(rule.beside(rule.decide(here, found.as_ref(), &database)))
    }

    /// What is to be done where two folders do not just become one.
    fn act(
        &mut self,
        node: &Node,
        path: &StoredPath,
        found: Option<&Stat>,
        rule: Overwrite,
        is_first: bool,
    ) -> Result<Action> {
        let Some(target) = &self.target else { return Ok(Action::Make) };
        let here = target.here().map_err(looking(path))?;
        if rule == Overwrite::Refuse {
            if let Some(found) = found {
                self.conflicts.add(path, found.kind.name());
            }
            sidecars(here, node, path, &mut self.conflicts)?;
            return Ok(Action::Make);
        }
        let Some(found) = found else { return Ok(Action::Make) };
        match rule.decide(here, Some(found), node) {
            Decision::Keep => return Ok(Action::Keep),
            Decision::Same => return Ok(Action::Leave),
            Decision::Make | Decision::Replace | Decision::Compare => {}
        }
        if node.kind == NodeKind::File && is_first {
            let grows = node.size.saturating_sub(found.size);
            self.plan.needed_bytes = self.plan.needed_bytes.saturating_add(grows);
            self.largest = self.largest.max(node.size);
        }
        if found.kind == NodeKind::Dir {
            let is_elsewhere = self.levels.last().is_some_and(|level| level.ground == Ground::Elsewhere);
            let is_empty =
                || here.open_dir(&node.name).and_then(|dir| dir.entries()).is_ok_and(|all| all.is_empty());
            if self.plan.options.delete && !is_elsewhere {
                let entry = (node.name.as_slice(), found);
                let gone = remove(&self.guard, here, entry, path, true, &Act::Count)?;
                self.plan.deleted += gone.entries;
                if gone.spared > 0 {
                    self.conflicts.add(path, "a folder that holds what must not be deleted");
                }
            } else if !is_empty() {
                self.conflicts.add(
                    path,
                    match is_elsewhere {
                        true => "a folder that is not empty, on a file system that is mounted there",
                        false => "a folder that is not empty; --delete removes it",
                    },
                );
            }
        }
        Ok(Action::Overwrite)
    }

    /// Leaves a folder that is there: what it has too much, and what speaks for an app that uses it.
    fn finish(&mut self, path: &StoredPath) -> Result<()> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        for (name, why) in level.suspects.into_iter().flat_map(Suspects::reasons) {
            self.live.add(&path.join(&name), why);
        }
        let Some(extras) = level.extras.filter(|_| !self.plan.damaged.contains(path)) else { return Ok(()) };
        let Some(target) = &self.target else { return Ok(()) };
        let here = target.here().map_err(looking(path))?;
        for (name, stat) in extras.left() {
            let below = path.join(&name);
            let entry = (name.as_slice(), &stat);
            let gone = remove(&self.guard, here, entry, &below, level.included, &Act::Count)?;
            self.plan.deleted += gone.entries;
            self.plan.deleted_bytes = self.plan.deleted_bytes.saturating_add(gone.bytes);
            if gone.entries > 0 {
                let (kind, size) = (stat.kind, gone.bytes);
                (self.tell)(&Planned { path: &below, kind, size, action: Action::Delete });
            }
        }
        Ok(())
    }

    fn broken(&mut self, folder: &StoredPath, error: &Error) {
        if self.plan.damaged.insert(folder.clone()) {
            self.plan.denied += u64::from(error.kind() == Kind::Denied);
            let id = self.snapshot.id.short();
            let what = format!("Not all entries of this folder in snapshot {id} can be read");
            self.observer.warn(&Warning::of_unreadable(Some(folder), &what, error));
        }
    }
}

impl Level {
    /// Looks for an app that uses the folder; the first entry that is written there gives the occasion.
    fn suspect(&mut self, here: &SourceDir, node: &Node, found: Option<&Stat>) -> io::Result<()> {
        let suspects = match &mut self.suspects {
            Some(suspects) => suspects,
            None => self.suspects.insert(Suspects::of(here)?),
        };
        if found.is_some() {
            suspects.meet(here, node);
            if node.database.is_some() {
                suspects.look(here, &node.name);
            }
        }
        Ok(())
    }
}

/// What stands beside a database that would be taken for part of it.
fn sidecars(here: &SourceDir, node: &Node, path: &StoredPath, conflicts: &mut Conflicts) -> Result<()> {
    if node.database.is_none() {
        return Ok(());
    }
    for sidecar in Sidecar::ALL {
        let name = sidecar.beside(&node.name);
        if look(here, &name).map_err(looking(path))?.is_some() {
            let what = "it would be taken for part of the restored database";
            conflicts.add(&path.parent().unwrap_or_else(StoredPath::root).join(&name), what);
        }
    }
    Ok(())
}

impl RestorePlan {
    fn new(options: &RestoreOptions, start: Start, place: &Place, available_bytes: u64) -> Self {
        let existing: Option<Identity> = place.existing;
        Self {
            target: place.path.clone(),
            files: 0,
            dirs: 0,
            symlinks: 0,
            hard_links: 0,
            specials: 0,
            bytes: 0,
            overwritten: 0,
            unchanged: 0,
            kept: 0,
            deleted: 0,
            deleted_bytes: 0,
            needed_bytes: 0,
            available_bytes,
            damaged: BTreeSet::new(),
            denied: 0,
            merged: 0,
            selection: Selection { include: options.include.clone(), exclude: options.exclude.clone() },
            options: options.clone(),
            start,
            existing,
        }
    }
}
