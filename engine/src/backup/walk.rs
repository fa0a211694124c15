//! The walk: through the folders above the sources, then through the sources, in the order of names.

use super::Work;
use super::beside::{Beside, Candidate, beside_source, is_beside_source};
use super::entry::Place;
use super::file::{FileTask, read_files, read_linked, read_new_databases};
use super::folder::Folder;
use super::memory::Previous;
use super::plan::{Branch, Plan};
use super::tally::is_gone;
use crate::base::{BlobId, Error, Kind, Result, StoredPath, WarningKind};
use crate::model::{Node, NodeKind};
use crate::source::{Descent, Entry, Named, SourceDir, Stat, xattrs_of};
use crate::sqlite::capture::Sidecar;
use crossbeam_channel::{Sender, bounded};
use std::cell::{Cell, OnceCell};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// Most threads that read files: each has a buffer of its own.
const MAX_READERS: usize = 4;

/// Stores everything the plan names and says the root page of the tree. `parent` is the root of the parent's tree.
pub fn store(work: &Work<'_>, plan: &Plan, parent: Option<BlobId>) -> Result<BlobId> {
    let threads = work.repo.session().threads.max(1);
    let pool = worker_pool(work)?;
    let (files, queue) = bounded(work.open_files);
    let walk = Walk { work, plan, files, own: own_folders(work), parent_tree: parent, seen: Cell::new(0) };
    let root = pool.in_place_scope(|scope| {
        let root = std::thread::scope(|readers| {
            let (new_databases, databases) = bounded(work.open_files);
            let writer = work.writer;
            readers.spawn(move || writer.guard_thread(move || read_new_databases(work, &databases, scope)));
            for _ in 0..threads.min(MAX_READERS) {
                let (queue, new_databases) = (queue.clone(), new_databases.clone());
                readers.spawn(move || {
                    writer.guard_thread(move || read_files(work, &queue, &new_databases, scope));
                });
            }
            // With no reader left, the walk waits for none.
            drop(queue);
            drop(new_databases);
            let root = writer.guard(|| walk.run());
            if let Err(e) = &root {
                work.writer.fail(Error::new(e.kind(), e.act(), e.subject()));
            }
            // The last sender: the readers end when the queue is empty.
            drop(walk);
            root
        });
        // All names of the sources have been met.
        read_linked(work, scope);
        root
    })?;
    work.writer.cancel.check()?;
    root.tree().ok_or_else(|| Error::new(Kind::Internal, "close", "the root folder"))
}

/// The threads that name, compress and pack.
pub(super) fn worker_pool(work: &Work<'_>) -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(work.repo.session().threads.max(1))
        .build()
        .map_err(|e| Error::new(Kind::Io, "start", "the worker threads").because(e))
}

/// File system and number of this program's folders.
fn own_folders(work: &Work<'_>) -> Vec<(u64, u64)> {
    work.options
        .own_folders
        .iter()
        .filter_map(|path| SourceDir::open(path).ok()?.stat().ok())
        .map(|stat| (stat.dev, stat.ino))
        .collect()
}

struct Walk<'w> {
    work: &'w Work<'w>,
    plan: &'w Plan,
    files: Sender<FileTask>,
    own: Vec<(u64, u64)>,
    parent_tree: Option<BlobId>,
    /// Files that were found and not left out.
    seen: Cell<u64>,
}

/// A folder that the walk is in.
struct Frame {
    folder: Arc<Folder>,
    entries: Vec<Entry>,
    next: usize,
    /// The one entry to take, because it says that the others are not wanted.
    only: Option<Vec<u8>>,
    /// True if some entry may be the sidecar of a database: nearly no folder has any, and nothing is looked for then.
    has_sidecars: bool,
    /// The folder for those who read its files later.
    kept: OnceCell<Arc<SourceDir>>,
}

/// A folder that the walk is about to go into.
struct Below {
    path: StoredPath,
    node: Node,
    /// The file system that it lies on.
    dev: u64,
    previous: Option<Previous>,
}

impl Walk<'_> {
    fn run(&self) -> Result<Arc<Folder>> {
        for (link, other) in &self.plan.doubled {
            let message = format!("Leads to what is stored as {other} and is not stored a second time");
            self.work.warn(WarningKind::SameSource, link, message);
        }
        let mut node = Node::new(Vec::new(), NodeKind::Dir);
        node.mode = 0o755;
        let path = StoredPath::root();
        let previous = self.previous(&path, self.parent_tree);
        let plan = &self.plan.root;
        if !plan.whole {
            let root = Folder::open(path, node, None, previous, 0);
            self.above(plan, &root)?;
            return Ok(root);
        }
        let looked = SourceDir::open(&path.to_fs()).and_then(|dir| {
            let dev = dir.stat()?.dev;
            let descent = Descent::new(dir)?;
            let entries = descent.here()?.entries()?;
            Ok((descent, dev, entries))
        });
        let (mut descent, dev, entries) =
            looked.map_err(|e| Error::new(Kind::NotFound, "take a snapshot of", &path).because(e))?;
        self.work.tally.has_folder();
        let frame = self.frame(&descent, None, Below { path, node, dev, previous }, entries);
        let root = Arc::clone(&frame.folder);
        self.descend(&mut descent, frame, dev)?;
        Ok(root)
    }

    /// Goes through folders above sources; they are few, so each level may be a call.
    fn above(&self, plan: &Branch, folder: &Arc<Folder>) -> Result<()> {
        for (name, child) in &plan.children {
            self.work.writer.cancel.check()?;
            let path = folder.path.join(name);
            if child.whole {
                match Named::open(&path.to_fs()) {
                    // A sidecar of another source is stored with that.
                    Ok(named) if is_beside_source(plan, &folder.path, name, &named.stat) => {}
                    Err(e) => self.work.missing(folder, path, &e),
                    Ok(named) => self.source(plan, folder, name, named)?,
                }
                continue;
            }
            match SourceDir::open(&path.to_fs()).and_then(|dir| dir.stat()) {
                Err(e) => self.work.missing(folder, path, &e),
                Ok(stat) => {
                    let node = Node { mtime: None, ..self.work.node(name, &stat) };
                    let previous = self.previous(&path, before_tree(folder, name));
                    self.above(child, &Folder::open(path, node, Some(folder), previous, stat.dev))?;
                }
            }
        }
        self.forget_removed(folder, |name| plan.children.contains_key(name));
        // Another snapshot to compare with may have had other sources.
        let others = folder.previous.iter().flat_map(Previous::entries);
        others
            .filter(|other| !plan.children.contains_key(other.name))
            .for_each(|other| folder.spare(other.name));
        folder.one_done(self.work)
    }

    /// Stores one source, which may be anything, and says so if it gave no file. `plan` holds the sources beside it.
    fn source(&self, plan: &Branch, folder: &Arc<Folder>, name: &[u8], named: Named) -> Result<()> {
        let path = folder.path.join(name);
        let Named { dir, stat, leads_to } = named;
        if self.is_in_own(leads_to.as_deref().unwrap_or(&path.to_fs())) {
            self.work.leave_out_own(folder, path);
            return Ok(());
        }
        if let Some(target) = leads_to {
            self.work.follow(path.clone(), target);
        }
        let before = self.seen.get();
        let is_stored = if stat.kind == NodeKind::Dir {
            match self.below(folder, name, &stat, path.clone()) {
                Some(below) => self.source_folder(dir.open_dir(name), folder, below)?,
                None => false,
            }
        } else {
            self.source_entry(plan, folder, name, &stat, &dir)?;
            true
        };
        if is_stored && self.seen.get() == before {
            let message = "No file of this source is in the snapshot: there is none, or all are excluded";
            self.work.warn(WarningKind::SourceWithoutFiles, &path, message);
        }
        Ok(())
    }

    /// Stores a source that is no folder.
    fn source_entry(
        &self,
        plan: &Branch,
        folder: &Arc<Folder>,
        name: &[u8],
        stat: &Stat,
        dir: &SourceDir,
    ) -> Result<()> {
        self.work.clocks.see(stat.dev, dir, self.work.repo.session().now(), [stat]);
        let place = Place { folder, dir, device: stat.dev, kept: &OnceCell::new() };
        self.count(stat);
        self.send(self.work.entry(&place, name, stat, beside_source(plan, dir, name))?)
    }

    fn count(&self, stat: &Stat) {
        self.seen.set(self.seen.get() + u64::from(stat.kind == NodeKind::File));
    }

    /// True for what lies in a folder of this program.
    fn is_in_own(&self, path: &Path) -> bool {
        let real = std::fs::canonicalize(path);
        let above = real.as_deref().unwrap_or(path).ancestors().skip(1);
        !self.own.is_empty()
            && above
                .filter_map(|above| above.metadata().ok())
                .any(|above| self.own.contains(&(above.dev(), above.ino())))
    }

    fn send(&self, tasks: Vec<FileTask>) -> Result<()> {
        tasks.into_iter().try_for_each(|task| self.files.send(task).map_err(|_| Error::cancelled()))
    }

    /// Stores a source folder and everything below it; false if it cannot be read.
    fn source_folder(&self, dir: io::Result<SourceDir>, above: &Arc<Folder>, below: Below) -> Result<bool> {
        let device = below.dev;
        let opened = dir.and_then(Descent::new).and_then(|descent| {
            let entries = descent.here()?.entries()?;
            Ok((descent, entries))
        });
        match opened {
            Err(e) => self.unreadable_folder(above, below, &e).map(|()| false),
            Ok((mut descent, entries)) => {
                self.work.tally.has_folder();
                let first = self.frame(&descent, Some(above), below, entries);
                self.descend(&mut descent, first, device).map(|()| true)
            }
        }
    }

    fn descend(&self, descent: &mut Descent, first: Frame, device: u64) -> Result<()> {
        let mut frames = vec![first];
        while let Some(frame) = frames.last_mut() {
            self.work.writer.cancel.check()?;
            let Some(entry) = frame.entries.get(frame.next) else {
                frame.folder.one_done(self.work)?;
                frames.pop();
                self.leave(descent, frames.last_mut());
                continue;
            };
            frame.next += 1;
            if frame.only.as_ref().is_some_and(|only| *only != entry.name) {
                self.work.exclude(&frame.folder, &entry.name);
                continue;
            }
            let Some(below) = self.step(descent, frame, entry)? else { continue };
            let folder = Arc::clone(&frame.folder);
            if self.work.options.select.one_file_system && below.dev != device {
                self.other_file_system(&folder, below)?;
                continue;
            }
            match descent.enter(below.path.name()).and_then(|()| descent.here()?.entries()) {
                Ok(entries) => {
                    // One descriptor for each level would be too many in a deep tree: what waits keeps its own.
                    let _opened_again_if_needed = frame.kept.take();
                    frames.push(self.frame(descent, Some(&folder), below, entries));
                }
                Err(e) => {
                    if is_gone(&e) {
                        self.work.vanished(&folder, &below.path);
                        self.work.forget_folder(below.path);
                    } else {
                        self.unreadable_folder(&folder, below, &e)?;
                    }
                    if descent.depth() >= frames.len() {
                        let _back_where_we_were = descent.leave();
                    }
                }
            }
        }
        Ok(())
    }

    /// Goes up into the folder of this frame.
    fn leave(&self, descent: &mut Descent, above: Option<&mut Frame>) {
        if let Err(e) = descent.leave()
            && let Some(above) = above
        {
            // The folder above was moved away while we were below it: its other entries are out of reach.
            let folder = Arc::clone(&above.folder);
            for entry in above.entries.iter().skip(above.next) {
                self.work.missing(&folder, folder.path.join(&entry.name), &e);
            }
            above.next = above.entries.len();
        }
    }

    /// Begins a folder in which the descent stands, and whose entries are known.
    fn frame(
        &self,
        descent: &Descent,
        above: Option<&Arc<Folder>>,
        below: Below,
        entries: Vec<Entry>,
    ) -> Frame {
        let Below { path, mut node, previous, dev } = below;
        let mut only = None;
        if let Ok(here) = descent.here() {
            let now = self.work.repo.session().now();
            self.work.clocks.see(dev, here, now, entries.iter().filter_map(|entry| entry.stat.as_ref().ok()));
            if above.is_some() {
                node.xattrs = self.work.xattrs(&path, xattrs_of(here)).unwrap_or_default();
            }
            only = self.work.options.select.marker_in(here, &entries).map(<[u8]>::to_vec);
        }
        let folder = Folder::open(path, node, above, previous, dev);
        self.forget_removed(&folder, |name| {
            let at = entries.binary_search_by(|entry| entry.name.as_slice().cmp(name));
            let entry = at.ok().and_then(|at| entries.get(at));
            entry.is_some_and(|entry| entry.stat.as_ref().is_ok_and(|stat| stat.kind == NodeKind::Dir))
        });
        let has_sidecars = entries.iter().any(|entry| Sidecar::main_of(&entry.name).is_some());
        Frame { folder, entries, next: 0, only, has_sidecars, kept: OnceCell::new() }
    }

    /// A folder at which another file system begins is stored empty.
    fn other_file_system(&self, above: &Arc<Folder>, below: Below) -> Result<()> {
        self.work.exclude(above, below.path.name());
        let folder = Folder::open(below.path, below.node, Some(above), below.previous, below.dev);
        folder.spare_all();
        folder.one_done(self.work)
    }

    /// A folder that cannot be listed is stored empty and counted: its node is known, its entries are not.
    fn unreadable_folder(&self, above: &Arc<Folder>, below: Below, error: &io::Error) -> Result<()> {
        let folder = Folder::open(below.path, below.node, Some(above), below.previous, below.dev);
        self.work.unlisted(&folder, error);
        self.forget_removed(&folder, |_| false);
        folder.one_done(self.work)
    }

    /// Stores one entry of a folder; a folder to go into is returned.
    fn step(&self, descent: &Descent, frame: &Frame, entry: &Entry) -> Result<Option<Below>> {
        let folder = &frame.folder;
        let path = || folder.path.join(&entry.name);
        let stat = match &entry.stat {
            Ok(stat) => stat,
            Err(e) => {
                self.work.missing(folder, path(), e);
                return Ok(None);
            }
        };
        if stat.kind == NodeKind::Symlink && !self.plan.links.is_empty() && self.plan.links.contains(&path())
        {
            match Named::open(&path().to_fs()) {
                Err(e) => self.work.missing(folder, path(), &e),
                Ok(named) => self.source(&Branch::default(), folder, &entry.name, named)?,
            }
            return Ok(None);
        }
        if descent.here().is_ok_and(|dir| self.belongs_to_another(dir, frame, &entry.name)) {
            return Ok(None);
        }
        if self.work.options.select.leaves_out(path, stat.kind, stat.size) {
            self.work.exclude(folder, &entry.name);
            return Ok(None);
        }
        if stat.kind == NodeKind::Dir {
            return Ok(self.below(folder, &entry.name, stat, path()));
        }
        if let Ok(dir) = descent.here()
            && self.work.options.select.leaves_out_content(dir, &entry.name, stat)
        {
            self.work.exclude(folder, &entry.name);
            return Ok(None);
        }
        match descent.here() {
            Ok(dir) => {
                let beside = self.beside(dir, frame, &entry.name);
                let place = Place { folder, dir, device: folder.device, kept: &frame.kept };
                self.count(stat);
                self.send(self.work.entry(&place, &entry.name, stat, beside)?)?;
            }
            Err(e) => self.work.missing(folder, path(), &e),
        }
        Ok(None)
    }

    /// What lies beside an entry and may be part of it, and beside that in turn. What the options leave out is counted.
    fn beside(&self, dir: &SourceDir, frame: &Frame, name: &[u8]) -> Beside {
        if !frame.has_sidecars {
            return Beside::default();
        }
        let found = Sidecar::ALL.map(|sidecar| sibling(&frame.entries, &sidecar.beside(name)));
        let mut candidates = Vec::new();
        for (sidecar, stat) in Sidecar::ALL.into_iter().zip(found) {
            let Some(stat) = stat else { continue };
            let name = sidecar.beside(name);
            let select = &self.work.options.select;
            if select.leaves_out(|| frame.folder.path.join(&name), stat.kind, stat.size)
                || select.leaves_out_content(dir, &name, &stat)
            {
                self.work.exclude(&frame.folder, &name);
            } else {
                let beside = self.beside(dir, frame, &name);
                candidates.push(Candidate::new(name, stat, true, beside));
            }
        }
        let [wal, _, journal] = found;
        Beside { stats: [wal, journal], candidates }
    }

    /// True for what has the name of a sidecar of an entry that is there and not left out: it is stored with that.
    fn belongs_to_another(&self, dir: &SourceDir, frame: &Frame, name: &[u8]) -> bool {
        if !frame.has_sidecars || frame.only.is_some() || sibling(&frame.entries, name).is_none() {
            return false;
        }
        let select = &self.work.options.select;
        let main = Sidecar::main_of(name);
        let main = main.and_then(|(main, _)| Some((main, sibling(&frame.entries, main)?)));
        main.is_some_and(|(main, stat)| {
            !select.leaves_out(|| frame.folder.path.join(main), stat.kind, stat.size)
                && !select.leaves_out_content(dir, main, &stat)
        })
    }

    /// A folder to go into, unless it is one of this program's own.
    fn below(&self, folder: &Folder, name: &[u8], stat: &Stat, path: StoredPath) -> Option<Below> {
        if self.own.contains(&(stat.dev, stat.ino)) {
            self.work.leave_out_own(folder, path);
            return None;
        }
        let previous = self.previous(&path, before_tree(folder, name));
        Some(Below { node: self.work.node(name, stat), dev: stat.dev, previous, path })
    }

    /// What a folder was: by the catalog's memory where there is one, else by the parent's tree.
    fn previous(&self, path: &StoredPath, tree: Option<BlobId>) -> Option<Previous> {
        let repo = self.work.repo;
        if self.work.memory.base.is_some() {
            return repo
                .catalog()
                .memory_row(&self.work.memory.source, path)
                .ok()
                .flatten()
                .and_then(Previous::parse);
        }
        let tree = tree?;
        // A parent that cannot be read only means that everything counts as new.
        let nodes = repo.read_tree(&tree, &self.work.writer.cancel).ok()?;
        Some(Previous::from_tree(tree, &nodes))
    }

    /// Notes folders that were remembered and are gone or no folders any more.
    fn forget_removed(&self, folder: &Folder, is_there: impl Fn(&[u8]) -> bool) {
        let gone = folder.previous.iter().flat_map(Previous::entries);
        let gone = gone.filter(|before| before.kind == NodeKind::Dir && !is_there(before.name));
        gone.for_each(|before| self.work.forget_folder(folder.path.join(before.name)));
    }
}

/// The regular file of this name.
fn sibling(siblings: &[Entry], name: &[u8]) -> Option<Stat> {
    let at = siblings.binary_search_by(|entry| entry.name.as_slice().cmp(name)).ok()?;
    siblings.get(at)?.stat.as_ref().ok().filter(|stat| stat.kind == NodeKind::File).copied()
}

/// The tree of a folder in the parent snapshot, by what its parent was there.
fn before_tree(folder: &Folder, name: &[u8]) -> Option<BlobId> {
    folder.previous.as_ref()?.find(name)?.decode().ok()?.subtree
}
