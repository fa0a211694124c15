//! Looking before writing: the walk, printed and summed up, and what speaks against a restore.

use super::kept::{self, Kept};
use super::live::Suspects;
use super::remove::{Approved, DeleteScope, Guard, RemoveMode, Victim, remove};
use super::room::{Room, check_room};
use super::selection::{Selection, stored_beside};
use super::tally::Tally;
use super::target::{self, Identity, Place, shown};
use super::walk::{Decided, DecidedWalk, Event, Level, Rules};
use super::work::files_at_once;
use super::{Action, From, LinkKey, Overwrite, Planned, RestoreOptions, RestorePlan, Start};
use crate::base::{Error, Kind, Observer, Phase, Result, StoredPath, Warning, WarningKind, Whose};
use crate::browse::lookup;
use crate::model::{Node, NodeKind, Statistics};
use crate::repo::{Repo, Snapshot};
use crate::restore::decide::look;
use crate::source::{SourceDir, Stat};
use crate::sqlite::capture::Sidecar;
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is attempted, of a source, where its snapshot would come into it.
pub const INTO_ITSELF: &str = "restore a snapshot into its own source";

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
/// lies in the repository or in a source, if something would come into the repository, or if what is to be deleted could
/// be anything; [`Kind::AlreadyThere`] if something stands in the way; [`Kind::InUse`] if an app seems to use the target;
/// [`Kind::OnlyHere`] if something would go that is in no snapshot; [`Kind::NoSpace`] if there is too little room.
pub fn plan_each(
    repo: &Repo,
    snapshot: &Snapshot,
    options: &RestoreOptions,
    observer: &dyn Observer,
    tell: &mut dyn FnMut(&Planned<'_>),
) -> Result<RestorePlan> {
    observer.phase(Phase::Planning);
    check_options(options)?;
    let start = start(repo, snapshot, options.path.as_ref())?;
    let place = Place::find(&options.target)?;
    check_not_in_a_source(snapshot, options, &place)?;
    let mut options = options.clone();
    let mut repositories = Vec::new();
    for repository in
        [options.repository.clone(), repo.local_path().map(Path::to_owned)].into_iter().flatten()
    {
        repositories.push(place.keep_out_of(&repository)?);
        options.protected.push(repository);
    }
    let free = place.free()?;
    let mut plan = RestorePlan::new(&options, snapshot, start, &place);
    (plan.repositories, plan.available_bytes) = (repositories, free.bytes);
    warn_of_gaps(snapshot, &options, observer);
    let tally = look_at_all(repo, &plan, Room::new(free, files_at_once(repo.session())), observer, tell)?;
    tally.check(snapshot, &options, observer)?;
    let only_here = if tally.is_refused(&options) { tally.only_here.count } else { 0 };
    let Tally { sums, approved, room, .. } = tally;
    plan = RestorePlan { approved, only_here, ..sums.into_plan(plan) };
    check_room(repo, &mut plan, &room)?;
    Ok(plan)
}

/// Deleting needs a rule for what is there.
fn check_options(options: &RestoreOptions) -> Result<()> {
    if options.delete && matches!(options.overwrite, Overwrite::Refuse | Overwrite::Never) {
        return Err(Error::new(Kind::Usage, "delete from", shown(&options.target))
            .because("nothing says that the target is to become what the snapshot is"));
    }
    Ok(())
}

/// Without a path, the stored paths come below the target. In a source that makes a second copy of it within itself, and
/// never what was wanted.
fn check_not_in_a_source(snapshot: &Snapshot, options: &RestoreOptions, place: &Place) -> Result<()> {
    let Some(target) = StoredPath::from_fs(&place.path) else { return Ok(()) };
    let is_in = |source: &&StoredPath| !source.is_root() && target.is_within(source);
    match snapshot.manifest.paths.iter().find(is_in) {
        Some(source) if options.path.is_none() && !options.in_place => {
            Err(Error::new(Kind::Usage, INTO_ITSELF, source)
                .because(format!("{} lies in it and would get a second copy of it", shown(&place.path))))
        }
        _ => Ok(()),
    }
}

/// What could not be read when the snapshot was taken, or was excluded, is not in it.
fn warn_of_gaps(snapshot: &Snapshot, options: &RestoreOptions, observer: &dyn Observer) {
    let Statistics { unreadable, excluded, .. } = snapshot.manifest.statistics;
    if !options.delete || (unreadable == 0 && excluded == 0) {
        return;
    }
    let counts = [(unreadable, "could not be read"), (excluded, "were excluded")];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| format!("{count} {reason}"))
        .collect();
    let message = format!(
        "Snapshot {} lacks entries that were there when it was taken ({}); --delete removes such entries too",
        snapshot.id.short(),
        counts.join(", ")
    );
    observer.warn(&Warning { kind: WarningKind::NotRestored, path: None, message });
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
    target::failed("look into the target for", path)
}

/// Walks through everything once.
fn look_at_all(
    repo: &Repo,
    plan: &RestorePlan,
    room: Room,
    observer: &dyn Observer,
    tell: &mut dyn FnMut(&Planned<'_>),
) -> Result<Tally> {
    let cancel = &repo.session().cancel;
    let options = &plan.options;
    let rules = Rules {
        repo,
        plan,
        cancel,
        compares: options.compare || options.in_place || options.overwrite == Overwrite::Refuse,
        lists_extras: true,
        only_folders: false,
    };
    let root = plan.existing.map(|known| target::open(&plan.target, Some(known), false)).transpose()?;
    let protected = target::identities(&options.protected);
    let guard = Guard { selection: &plan.selection, protected: &protected, cancel };
    let kept = Kept::new(repo, plan);
    let mut walk = DecidedWalk::new(rules, root)?;
    let tally = Tally::new(plan, room);
    let mut planner = Planner { plan, observer, tell, guard, kept, groups: HashSet::new(), tally };
    while let Some(event) = walk.step()? {
        match event {
            Event::Entry(entry) => planner.meet(&entry, &mut walk)?,
            Event::Leave(level, path) => planner.leave(walk.here(&path)?, level, &path)?,
            Event::Lost(node, path, error) => planner.lost(node.kind, &path, &error),
            Event::Broken(path, error) => planner.broken(&path, &error),
        }
    }
    let sums = &mut planner.tally.sums;
    (sums.specials, planner.tally.has_excluded) = (sums.specials + walk.specials(), walk.has_excluded());
    if let Some((here, level)) = walk.into_top() {
        planner.leave(&here, level, &plan.start.folder)?;
    }
    Ok(planner.tally)
}

struct Planner<'a> {
    plan: &'a RestorePlan,
    observer: &'a dyn Observer,
    tell: &'a mut dyn FnMut(&Planned<'_>),
    guard: Guard<'a>,
    kept: Kept<'a>,
    groups: HashSet<LinkKey>,
    tally: Tally,
}

impl Planner<'_> {
    fn meet(&mut self, entry: &Decided, walk: &mut DecidedWalk<'_>) -> Result<()> {
        let Decided { node, path, action, found, rule, .. } = entry;
        let is_first =
            node.kind != NodeKind::File || LinkKey::of(node).is_none_or(|key| self.groups.insert(key));
        self.tally.met += u64::from(found.is_some());
        if node.kind != NodeKind::Dir
            && !self.plan.options.force
            && let Some((here, level)) = walk.level_here()
        {
            suspect(level, here, node, found.as_ref()).map_err(looking(path))?;
        }
        let mut is_only_here = false;
        if let Some(found) = found.as_ref().filter(|_| is_replaced(*action)) {
            let here = walk.here(path)?;
            if *rule == Overwrite::Refuse {
                self.tally.conflicts.add(self.plan.real_path(path), found.kind.name());
            } else {
                is_only_here = self.replaces(entry, found, here, walk)?;
            }
        }
        if *rule == Overwrite::Refuse
            && *action != Action::Merge
            && found.is_none_or(|found| found.kind != NodeKind::Dir)
        {
            self.sidecars(walk, node, path)?;
        }
        let target = self.plan.real_path(path);
        let (kind, size, action) = (node.kind, node.size, *action);
        (self.tell)(&Planned { path, target: &target, kind, size, action, is_only_here });
        if is_first && !self.tally.room.add(entry, node.size) {
            return Err(self.tally.room.error("at least ", &self.plan.target));
        }
        self.count(node, action, is_first);
        Ok(())
    }

    fn count(&mut self, node: &Node, action: Action, is_first: bool) {
        let sums = &mut self.tally.sums;
        match node.kind {
            NodeKind::Dir => sums.dirs += 1,
            NodeKind::Symlink => sums.symlinks += 1,
            NodeKind::File if is_first => {
                sums.files += 1;
                sums.bytes = sums.bytes.saturating_add(node.size);
            }
            NodeKind::File => sums.hard_links += 1,
            _ => sums.specials += 1,
        }
        match action {
            Action::Overwrite | Action::Compare => sums.overwritten += 1,
            Action::Keep => sums.kept += 1,
            Action::Leave => sums.unchanged += 1,
            Action::Make | Action::Merge | Action::Delete => {}
        }
    }

    /// What goes when an entry takes the place of what was found. True if that is in no snapshot.
    fn replaces(
        &mut self,
        entry: &Decided,
        found: &Stat,
        here: &SourceDir,
        walk: &DecidedWalk<'_>,
    ) -> Result<bool> {
        let Decided { node, path, action, .. } = entry;
        if found.kind == NodeKind::Dir {
            self.replaces_folder(node, path, found, here, walk)?;
            return Ok(false);
        }
        let options = &self.plan.options;
        if *action == Action::Compare || !(options.compare || options.in_place) {
            return Ok(false);
        }
        let there = kept::Entry { folder: here, name: &node.name, stat: found, path };
        let is_only_here = !self.kept.holds(&there, self.guard.cancel)?;
        if is_only_here {
            self.tally.sums.discarded += 1;
            if options.in_place && !options.discard {
                self.tally.only_here.add(self.plan.real_path(path), found.kind.name());
            }
        }
        Ok(is_only_here)
    }

    /// A folder cannot be replaced by renaming: it is emptied before, if anything may be deleted.
    fn replaces_folder(
        &mut self,
        node: &Node,
        path: &StoredPath,
        found: &Stat,
        here: &SourceDir,
        walk: &DecidedWalk<'_>,
    ) -> Result<()> {
        let is_elsewhere = walk.scope() == Some(DeleteScope::Elsewhere);
        let place = self.plan.real_path(path);
        if self.plan.options.delete && !is_elsewhere {
            let (_, spared) = self.victims(here, (&node.name, found), path, true)?;
            if spared > 0 {
                self.tally.conflicts.add(place, "a folder that holds what must not be deleted");
            }
            return Ok(());
        }
        let is_empty = here.open_dir(&node.name).and_then(|dir| dir.names()).is_ok_and(|all| all.is_empty());
        if !is_empty {
            let what = match is_elsewhere {
                true => "a folder that is not empty, on a file system that is mounted there",
                false => "a folder that is not empty; --delete removes it",
            };
            self.tally.conflicts.add(place, what);
        }
        Ok(())
    }

    /// Leaves a folder that is there: what it has too much, and what speaks for an app that uses it.
    fn leave(&mut self, here: &SourceDir, level: Level, path: &StoredPath) -> Result<()> {
        for (name, why) in level.suspects.into_iter().flat_map(Suspects::reasons) {
            self.tally.live.add(self.plan.real_path(&path.join(&name)), why);
        }
        let is_whole = !self.tally.sums.damaged.contains(path);
        let Some(extras) = level.extras.filter(|_| is_whole) else { return Ok(()) };
        for (name, stat) in extras.left() {
            let (bytes, _) = self.victims(here, (&name, &stat), &path.join(&name), level.is_included)?;
            let sums = &mut self.tally.sums;
            sums.deleted_bytes = sums.deleted_bytes.saturating_add(bytes);
        }
        Ok(())
    }

    /// Names what would be removed with an entry, and finds out what of it is in no snapshot. Bytes that go, and entries
    /// that have to stay.
    fn victims(
        &mut self,
        here: &SourceDir,
        entry: (&[u8], &Stat),
        path: &StoredPath,
        is_included: bool,
    ) -> Result<(u64, u64)> {
        let Self { plan, tell, guard, kept, tally, .. } = self;
        let mut look = |victim: Victim<'_>| {
            let Victim { folder, name, stat, path } = victim;
            tally.approved.add(path, stat);
            let there = kept::Entry { folder, name, stat, path };
            let is_only_here = !kept.holds(&there, guard.cancel)?;
            let target = plan.real_path(path);
            let size = if stat.kind == NodeKind::File { stat.size } else { 0 };
            let (kind, action) = (stat.kind, Action::Delete);
            tell(&Planned { path, target: &target, kind, size, action, is_only_here });
            if is_only_here {
                tally.sums.discarded += 1;
                tally.sums.deleted_for_good += 1;
                tally.only_here.add(target, stat.kind.name());
            }
            Ok(())
        };
        let gone = remove(guard, here, entry, path, is_included, &mut RemoveMode::Look(&mut look))?;
        self.tally.sums.deleted += gone.entries;
        Ok((gone.bytes, gone.spared))
    }

    /// An entry that cannot be looked up is left out. Where the restore itself follows, that tells it.
    fn lost(&mut self, kind: NodeKind, path: &StoredPath, error: &Error) {
        if error.kind() == Kind::AlreadyThere && self.plan.options.overwrite == Overwrite::Refuse {
            self.tally.conflicts.add(self.plan.real_path(path), "its name is taken for another one");
            return;
        }
        if error.is_unreadable() && error.whose() != Some(Whose::Target) && kind != NodeKind::Dir {
            return;
        }
        self.tally.sums.failed += 1;
        if self.plan.options.compare {
            self.observer.warn(&Warning {
                kind: WarningKind::NotRestored,
                path: Some(path.clone()),
                message: format!("Cannot be restored: {}", error.full_text()),
            });
        }
    }

    fn broken(&mut self, folder: &StoredPath, error: &Error) {
        let sums = &mut self.tally.sums;
        if sums.damaged.insert(folder.clone()) {
            sums.denied += u64::from(error.kind() == Kind::Denied);
            let id = self.plan.snapshot.id.short();
            let what = format!("Not all entries of this folder in snapshot {id} can be read");
            self.observer.warn(&Warning::of_unreadable(Some(folder), &what, error));
        }
    }

    /// What stands beside a database that would be taken for part of it.
    fn sidecars(&mut self, walk: &mut DecidedWalk<'_>, node: &Node, path: &StoredPath) -> Result<()> {
        let Some((here, _)) = walk.level_here() else { return Ok(()) };
        if node.kind != NodeKind::File || node.database.is_none() {
            return Ok(());
        }
        for sidecar in Sidecar::ALL {
            let name = sidecar.beside(&node.name);
            if look(here, &name).map_err(looking(path))?.is_some() {
                let beside = path.parent().unwrap_or_else(StoredPath::root).join(&name);
                let what = "it would be taken for part of the restored database";
                self.tally.conflicts.add(self.plan.real_path(&beside), what);
            }
        }
        Ok(())
    }
}

/// Looks for an app that uses a folder; the first entry that is written there gives the occasion.
fn suspect(level: &mut Level, here: &SourceDir, node: &Node, found: Option<&Stat>) -> io::Result<()> {
    let suspects = match &mut level.suspects {
        Some(suspects) => suspects,
        None => level.suspects.insert(Suspects::of(here)?),
    };
    if found.is_some() {
        suspects.meet(here, node);
        if node.database.is_some() {
            suspects.look(here, &node.name);
        }
    }
    Ok(())
}

fn is_replaced(action: Action) -> bool {
    matches!(action, Action::Overwrite | Action::Compare)
}

/// Where a stored path comes in a target that gets the content of this folder.
pub(super) fn real_path(target: &Path, folder: &StoredPath, path: &StoredPath) -> PathBuf {
    let below = path.as_bytes().strip_prefix(folder.as_bytes()).unwrap_or(path.as_bytes());
    target.join(OsStr::from_bytes(below.strip_prefix(b"/").unwrap_or(below)))
}

impl RestorePlan {
    /// Where a stored path comes in the target.
    pub(super) fn real_path(&self, path: &StoredPath) -> PathBuf {
        real_path(&self.target, &self.start.folder, path)
    }

    fn new(options: &RestoreOptions, snapshot: &Snapshot, start: Start, place: &Place) -> Self {
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
            discarded: 0,
            deleted_for_good: 0,
            only_here: 0,
            failed: 0,
            needed_bytes: 0,
            available_bytes: 0,
            damaged: BTreeSet::new(),
            denied: 0,
            repositories: Vec::new(),
            approved: Approved::default(),
            snapshot: snapshot.clone(),
            selection: Selection { include: options.include.clone(), exclude: options.exclude.clone() },
            options: options.clone(),
            start,
            existing,
        }
    }
}
