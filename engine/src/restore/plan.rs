//! Looking before writing: what is to be restored, what stands in its way, and whether there is room.

use super::target::{Place, shown};
use super::{From, LinkKey, Metadata, RestoreOptions, RestorePlan, Start};
use crate::base::{
    Cancel, Error, Kind, Observer, Phase, Result, SnapshotId, StoredPath, Warning, WarningKind,
};
use crate::browse::{Step, lookup};
use crate::model::{Content, ListItem, Node, NodeKind};
use crate::repo::{Repo, Snapshot};
use crate::source::{Descent, SourceDir};
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What an entry costs in the file system besides its content, in bytes.
const ENTRY_COST: u64 = 4096;
/// Most pieces of files that are looked at for holes: 32 GiB in chunks of the usual size. A list can stand for any number.
const MOST_PIECES: u64 = 1 << 15;
/// Most things in the way that are named.
const MOST_NAMED: u64 = 5;
/// Files that SQLite would take for part of a database that it finds beside them.
const SIDECARS: [&[u8]; 3] = [b"-wal", b"-shm", b"-journal"];

/// Looks at snapshot and target; writes nothing.
///
/// # Errors
/// [`Kind::NotFound`] if the snapshot does not hold the path; [`Kind::Usage`] if the target overlaps with the
/// repository; [`Kind::AlreadyThere`] if something stands in the way; [`Kind::NoSpace`] if there is too little room.
pub fn plan(
    repo: &Repo,
    snapshot: &Snapshot,
    options: &RestoreOptions,
    observer: &dyn Observer,
) -> Result<RestorePlan> {
    observer.phase(Phase::Planning);
    let start = start(repo, snapshot, options.path.as_ref())?;
    let place = Place::find(&options.target)?;
    for repository in [options.repository.as_deref(), repo.local_path()].into_iter().flatten() {
        place.keep_apart_from(repository)?;
    }
    let (available_bytes, available_entries) = place.room()?;
    let plan = RestorePlan {
        target: place.path.clone(),
        files: 0,
        dirs: 0,
        symlinks: 0,
        hard_links: 0,
        specials: 0,
        bytes: 0,
        needed_bytes: 0,
        available_bytes,
        damaged: BTreeSet::new(),
        start,
        existing: place.existing,
    };
    let target = match place.existing {
        Some(_) => {
            Some(SourceDir::open(&place.path).and_then(Descent::new).map_err(looking(&plan.start.folder))?)
        }
        None => None,
    };
    let conflicts =
        Conflicts { from: plan.start.folder.clone(), to: plan.target.clone(), count: 0, first: Vec::new() };
    let mut planner = Planner {
        snapshot: snapshot.id,
        observer,
        plan,
        target,
        absent: 0,
        groups: HashSet::new(),
        conflicts,
    };
    planner.look(repo)?;
    let Planner { mut plan, conflicts, .. } = planner;
    conflicts.check(&options.target)?;
    check_room(repo, &mut plan, available_entries)?;
    Ok(plan)
}

/// Where the walk begins: at the root, in a folder, or with one entry.
fn start(repo: &Repo, snapshot: &Snapshot, path: Option<&StoredPath>) -> Result<Start> {
    let folder = path.cloned().unwrap_or_else(StoredPath::root);
    let node = lookup(repo, snapshot, &folder)?;
    Ok(match node.subtree {
        Some(tree) => Start { folder, from: From::Tree(tree), own: Metadata::of(&node) },
        None => {
            let folder = folder.parent().unwrap_or(folder);
            Start { folder, from: From::Node(Box::new(node)), own: None }
        }
    })
}

fn looking(path: &StoredPath) -> impl FnOnce(io::Error) -> Error {
    move |e| Error::io("look into the target for", path, e)
}

/// What stands where something else is to be.
struct Conflicts {
    /// The stored folder whose content comes into the target.
    from: StoredPath,
    /// The target.
    to: PathBuf,
    count: u64,
    first: Vec<String>,
}

impl Conflicts {
    fn add(&mut self, path: &StoredPath, what: &str) {
        self.count += 1;
        if self.count <= MOST_NAMED {
            // What is in the way is in the target: naming the stored path would read as if the original were meant.
            let below = path.as_bytes().strip_prefix(self.from.as_bytes()).unwrap_or(path.as_bytes());
            let below = below.strip_prefix(b"/").unwrap_or(below);
            self.first.push(format!("{} ({what})", shown(&self.to.join(OsStr::from_bytes(below)))));
        }
    }

    fn check(self, target: &Path) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let mut why = format!("these are there already: {}", self.first.join(", "));
        if self.count > MOST_NAMED {
            why.push_str(&format!(" and {} more", self.count - MOST_NAMED));
        }
        Err(Error::new(Kind::AlreadyThere, "restore into", shown(target)).because(why))
    }
}

struct Planner<'a> {
    snapshot: SnapshotId,
    observer: &'a dyn Observer,
    plan: RestorePlan,
    /// The folder of the target that we are in, or the last one above it that is there.
    target: Option<Descent>,
    /// Folders between that one and where we are.
    absent: u64,
    groups: HashSet<LinkKey>,
    conflicts: Conflicts,
}

impl Planner<'_> {
    fn look(&mut self, repo: &Repo) -> Result<()> {
        let start = self.plan.start.clone();
        let mut walk = start.walk(repo, &repo.session().cancel);
        while let Some(step) = walk.step()? {
            match step {
                Step::Entry(node) => {
                    let path = walk.path_of(&node);
                    self.count(&node)?;
                    self.compare(&node, &path)?;
                }
                Step::Leave if self.absent > 0 => self.absent -= 1,
                Step::Leave => {
                    if let Some(target) = &mut self.target {
                        target.leave().map_err(looking(walk.folder()))?;
                    }
                }
                Step::Broken(error) => self.broken(walk.folder(), &error),
            }
        }
        Ok(())
    }

    fn count(&mut self, node: &Node) -> Result<()> {
        let plan = &mut self.plan;
        match node.kind {
            NodeKind::Dir => plan.dirs += 1,
            NodeKind::Symlink => plan.symlinks += 1,
            NodeKind::File => {
                if LinkKey::of(node).is_some_and(|key| !self.groups.insert(key)) {
                    plan.hard_links += 1;
                    return Ok(());
                }
                plan.files += 1;
                plan.bytes = plan.bytes.saturating_add(node.size);
                plan.needed_bytes = plan.needed_bytes.saturating_add(node.size);
            }
            _ => {
                plan.specials += 1;
                return Ok(());
            }
        }
        plan.needed_bytes = plan.needed_bytes.saturating_add(ENTRY_COST);
        // A tree whose folders share their subtrees can have more entries than anybody could count.
        let least = entries(plan).saturating_mul(ENTRY_COST);
        if least > plan.available_bytes { Err(no_room("at least ", least, plan)) } else { Ok(()) }
    }

    /// Looks at what stands at the place of an entry, and goes down into folders.
    fn compare(&mut self, node: &Node, path: &StoredPath) -> Result<()> {
        let Some(target) = self.target.as_mut().filter(|_| self.absent == 0) else {
            self.absent += u64::from(node.kind == NodeKind::Dir);
            return Ok(());
        };
        if node.kind.is_special() {
            return Ok(());
        }
        let there = |name: &[u8]| match target.here().and_then(|here| here.stat_of(name)) {
            Ok(stat) => Ok(Some(stat.kind)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::InvalidFilename => Ok(None),
            Err(e) => Err(looking(path)(e)),
        };
        let found = there(&node.name)?;
        if node.kind == NodeKind::Dir {
            if found == Some(NodeKind::Dir) {
                return target.enter(&node.name).map_err(looking(path));
            }
            self.absent += 1;
        }
        if let Some(kind) = found {
            self.conflicts.add(path, kind.name());
        }
        if node.database.is_some() {
            for sidecar in SIDECARS {
                let name = [&node.name, sidecar].concat();
                if there(&name)?.is_some() {
                    let what = "it would be taken for part of the restored database";
                    self.conflicts.add(&path.parent().unwrap_or_else(StoredPath::root).join(&name), what);
                }
            }
        }
        Ok(())
    }

    fn broken(&mut self, folder: &StoredPath, error: &Error) {
        if self.plan.damaged.insert(folder.clone()) {
            self.observer.warn(&Warning {
                kind: WarningKind::NotRestored,
                path: Some(folder.clone()),
                message: format!(
                    "Entries of this folder in snapshot {} cannot be read: {}",
                    self.snapshot.short(),
                    error.full_text()
                ),
            });
        }
    }
}

fn entries(plan: &RestorePlan) -> u64 {
    plan.files + plan.dirs + plan.symlinks
}

fn no_room(about: &str, needed: u64, plan: &RestorePlan) -> Error {
    Error::new(Kind::NoSpace, "restore into", shown(&plan.target))
        .because(format!("{about}{needed} bytes are needed, and {} are free", plan.available_bytes))
}

/// Compares what is needed with what is there. Holes are counted only when there is too little room without that.
fn check_room(repo: &Repo, plan: &mut RestorePlan, available_entries: Option<u64>) -> Result<()> {
    if let Some(available) = available_entries.filter(|available| *available < entries(plan)) {
        return Err(Error::new(Kind::NoSpace, "restore into", shown(&plan.target)).because(format!(
            "room for {} files and folders is needed, and there is for {available}",
            entries(plan)
        )));
    }
    if plan.needed_bytes > plan.available_bytes {
        // Counting ends where nothing could help: the same pages may stand for any number of bytes.
        let limit = plan.available_bytes.saturating_mul(16);
        plan.needed_bytes = without_holes(repo, plan, limit)?;
    }
    if plan.needed_bytes <= plan.available_bytes {
        return Ok(());
    }
    let about = if plan.needed_bytes > plan.available_bytes.saturating_mul(16) { "at least " } else { "" };
    Err(no_room(about, plan.needed_bytes, plan))
}

/// Bytes that are needed when holes are left out; ends early beyond `limit`.
fn without_holes(repo: &Repo, plan: &RestorePlan, limit: u64) -> Result<u64> {
    let cancel = &repo.session().cancel;
    let mut needed = entries(plan).saturating_mul(ENTRY_COST);
    let (mut groups, mut pieces) = (HashSet::new(), MOST_PIECES);
    let mut walk = plan.start.walk(repo, cancel);
    while let Some(step) = walk.step()? {
        let Step::Entry(node) = step else { continue };
        if node.kind == NodeKind::File && LinkKey::of(&node).is_none_or(|key| groups.insert(key)) {
            needed = needed.saturating_add(data_of(
                repo,
                &node,
                limit.saturating_sub(needed),
                &mut pieces,
                cancel,
            )?);
        }
        if needed > limit {
            break;
        }
    }
    Ok(needed)
}

/// Bytes of a file without its holes; a list that cannot be read, or is longer than the pieces that may still be looked
/// at, counts as all data. Ends early beyond `limit`.
fn data_of(repo: &Repo, node: &Node, limit: u64, pieces: &mut u64, cancel: &Cancel) -> Result<u64> {
    let Content::List(root) = node.content else { return Ok(node.size) };
    let mut data = 0u64;
    let counted = repo.each_list_item(&root, &mut |item| {
        cancel.check()?;
        let too_many = || Error::damaged("count", "the bytes of a file", "it has too many pieces");
        *pieces = pieces.checked_sub(1).ok_or_else(too_many)?;
        if let ListItem::Chunk { len, .. } = item {
            data = data.saturating_add(len.into());
        }
        let more = Error::new(Kind::NoSpace, "count", "the bytes of a file");
        if data > limit { Err(more) } else { Ok(()) }
    });
    match counted {
        Ok(()) => Ok(data),
        Err(e) if e.kind() == Kind::NoSpace => Ok(data),
        Err(e) if e.kind() == Kind::Damaged => Ok(node.size),
        Err(e) => Err(e),
    }
}
