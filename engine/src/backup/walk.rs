//! The walk: through the folders above the sources, then through the sources, in the order of names.

use super::file::{FileTask, read_files};
use super::folder::Folder;
use super::memory::{Previous, RowEntry, StatKey, UNTRUSTED, is_settled, stat_key};
use super::plan::Plan;
use super::{OPEN_FILES, Status, Work};
use crate::base::{BlobId, Counter, Error, Kind, Result, StoredPath, WarningKind};
use crate::format::tree::encode_node;
use crate::model::{Node, NodeKind};
use crate::source::{Descent, Entry, SourceDir, Stat};
use crossbeam_channel::{Sender, bounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Most threads that read files: each has a buffer of its own.
const MAX_READERS: usize = 4;

/// Stores everything the plan names and says the root page of the tree. `parent` is the root of the parent's tree.
pub fn store(work: &Work<'_>, plan: &Plan, parent: Option<BlobId>) -> Result<BlobId> {
    let threads = work.repo.session().threads.max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| Error::new(Kind::Io, "start", "the worker threads").because(e))?;
    let (files, queue) = bounded(OPEN_FILES);
    let walk = Walk { work, files, own: own_folders(work), parent_tree: parent };
    let root = pool.in_place_scope(|scope| {
        std::thread::scope(|readers| {
            for _ in 0..threads.min(MAX_READERS) {
                let queue = queue.clone();
                readers.spawn(move || read_files(work, &queue, scope));
            }
            let root = walk.run(plan);
            if let Err(e) = &root {
                work.writer.fail(Error::new(e.kind(), e.act(), e.subject()));
            }
            // The last sender: the readers end when the queue is empty.
            drop(walk);
            drop(queue);
            root
        })
    })?;
    work.writer.cancel.check()?;
    root.tree().ok_or_else(|| Error::new(Kind::Internal, "close", "the root folder"))
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
    files: Sender<FileTask>,
    own: Vec<(u64, u64)>,
    parent_tree: Option<BlobId>,
}

/// A folder that the walk is in.
struct Frame {
    folder: Arc<Folder>,
    entries: Vec<Entry>,
    next: usize,
}

impl Walk<'_> {
    fn run(&self, plan: &Plan) -> Result<Arc<Folder>> {
        let mut node = Node::new(Vec::new(), NodeKind::Dir);
        node.mode = 0o755;
        let path = StoredPath::root();
        let previous = self.previous(&path, self.parent_tree);
        let root = Folder::open(path, node, None, previous);
        if plan.whole {
            self.source_folder(SourceDir::open(std::path::Path::new("/")), &root)?;
        } else {
            self.above(plan, &root)?;
        }
        Ok(root)
    }

    /// Goes through folders above sources; they are few, so each level may be a call.
    fn above(&self, plan: &Plan, folder: &Arc<Folder>) -> Result<()> {
        for (name, child) in &plan.children {
            self.work.writer.cancel.check()?;
            let path = folder.path.join(name);
            let stat = SourceDir::open(&folder.path.to_fs()).and_then(|dir| dir.stat_of(name));
            match stat {
                Err(e) => self.work.missing(folder, path, &e),
                Ok(stat) if child.whole => self.source(folder, name, &stat)?,
                Ok(_) => match SourceDir::open(&path.to_fs()).and_then(|dir| dir.stat()) {
                    Err(e) => self.work.missing(folder, path, &e),
                    Ok(stat) => {
                        let node = Node { mtime: None, ..self.node(name, &stat) };
                        let previous = self.previous(&path, before_tree(folder, name));
                        self.above(child, &Folder::open(path, node, Some(folder), previous))?;
                    }
                },
            }
        }
        self.forget_removed(folder, |name| plan.children.contains_key(name));
        folder.one_done(self.work)
    }

    /// Stores one source, which may be anything.
    fn source(&self, folder: &Arc<Folder>, name: &[u8], stat: &Stat) -> Result<()> {
        let path = folder.path.join(name);
        if stat.kind == NodeKind::Dir {
            let opened = self.enter(folder, name, stat, path);
            return match opened {
                Some(child) => self.source_folder(SourceDir::open(&child.path.to_fs()), &child),
                None => Ok(()),
            };
        }
        let parent = SourceDir::open(&folder.path.to_fs());
        let dir = match parent {
            Ok(dir) => dir,
            Err(e) => {
                self.work.missing(folder, path, &e);
                return Ok(());
            }
        };
        let sidecars = [&b"-wal"[..], b"-journal"].map(|suffix| {
            dir.stat_of(&[name, suffix].concat()).ok().filter(|stat| stat.kind == NodeKind::File)
        });
        self.entry(folder, &dir, name, stat, &sidecars)
    }

    /// Stores a source folder and everything below it.
    fn source_folder(&self, dir: io::Result<SourceDir>, folder: &Arc<Folder>) -> Result<()> {
        let opened = dir.and_then(Descent::new).and_then(|descent| {
            let entries = descent.here()?.entries()?;
            Ok((descent, entries))
        });
        let (mut descent, entries) = match opened {
            Ok(opened) => opened,
            Err(e) => return self.unreadable_folder(folder, &e),
        };
        let mut frames = vec![self.frame(folder, entries)];
        while let Some(frame) = frames.last_mut() {
            self.work.writer.cancel.check()?;
            let Some(entry) = frame.entries.get(frame.next) else {
                frame.folder.one_done(self.work)?;
                frames.pop();
                if let Err(e) = descent.leave()
                    && let Some(above) = frames.last_mut()
                {
                    // The folder above was moved away while we were below it: its other entries are out of reach.
                    let folder = Arc::clone(&above.folder);
                    for entry in above.entries.iter().skip(above.next) {
                        self.work.missing(&folder, folder.path.join(&entry.name), &e);
                    }
                    above.next = above.entries.len();
                }
                continue;
            };
            frame.next += 1;
            if let Some(child) = self.step(&descent, &frame.folder, &frame.entries, entry)? {
                let below = descent.enter(child.path.name()).and_then(|()| descent.here()?.entries());
                match below {
                    Ok(entries) => frames.push(self.frame(&child, entries)),
                    Err(e) => {
                        self.unreadable_folder(&child, &e)?;
                        if descent.depth() >= frames.len() {
                            let _back_where_we_were = descent.leave();
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn frame(&self, folder: &Arc<Folder>, entries: Vec<Entry>) -> Frame {
        self.forget_removed(folder, |name| {
            let at = entries.binary_search_by(|entry| entry.name.as_slice().cmp(name));
            let entry = at.ok().and_then(|at| entries.get(at));
            entry.is_some_and(|entry| entry.stat.as_ref().is_ok_and(|stat| stat.kind == NodeKind::Dir))
        });
        Frame { folder: Arc::clone(folder), entries, next: 0 }
    }

    /// A folder that cannot be listed is stored empty and counted: its node is known, its entries are not.
    fn unreadable_folder(&self, folder: &Arc<Folder>, error: &io::Error) -> Result<()> {
        self.work.unlisted(folder, error);
        self.forget_removed(folder, |_| false);
        folder.one_done(self.work)
    }

    /// Stores one entry of a folder; a folder to go into is returned.
    fn step(
        &self,
        descent: &Descent,
        folder: &Arc<Folder>,
        siblings: &[Entry],
        entry: &Entry,
    ) -> Result<Option<Arc<Folder>>> {
        let path = || folder.path.join(&entry.name);
        let stat = match &entry.stat {
            Ok(stat) => stat,
            Err(e) => {
                self.work.missing(folder, path(), e);
                return Ok(None);
            }
        };
        if stat.kind == NodeKind::Dir {
            return Ok(self.enter(folder, &entry.name, stat, path()));
        }
        let sidecars = [&b"-wal"[..], b"-journal"].map(|suffix| sibling(siblings, &entry.name, suffix));
        match descent.here() {
            Ok(dir) => self.entry(folder, dir, &entry.name, stat, &sidecars)?,
            Err(e) => self.work.missing(folder, path(), &e),
        }
        Ok(None)
    }

    /// Opens a folder unless it is one of this program's own.
    fn enter(&self, folder: &Arc<Folder>, name: &[u8], stat: &Stat, path: StoredPath) -> Option<Arc<Folder>> {
        if self.own.contains(&(stat.dev, stat.ino)) {
            let message = "This folder belongs to chatvault itself and was left out";
            self.work.warn(WarningKind::OwnFolderLeftOut, &path, message);
            self.work.forget_folder(path);
            return None;
        }
        let previous = self.previous(&path, before_tree(folder, name));
        Some(Folder::open(path, self.node(name, stat), Some(folder), previous))
    }

    /// Stores an entry that is no folder: from memory, or by reading it.
    fn entry(
        &self,
        folder: &Arc<Folder>,
        dir: &SourceDir,
        name: &[u8],
        stat: &Stat,
        sidecars: &[Option<Stat>; 2],
    ) -> Result<()> {
        let work = self.work;
        let key = stat_key(&work.memory.stats, stat, sidecars);
        let before = folder.previous.as_ref().and_then(|previous| previous.find(name));
        if let Some(before) = before
            && before.key == key
            && before.kind == stat.kind
            && !work.options.force
        {
            self.count_unmodified(stat);
            if sidecars.iter().flatten().any(|sidecar| sidecar.size > 0) {
                work.warn_of_database(&folder.path.join(name), &before.decode()?);
            }
            folder.push(RowEntry { name: name.to_vec(), key, kind: stat.kind, node: before.node.to_vec() });
            return Ok(());
        }
        let mut node = self.node(name, stat);
        match stat.kind {
            NodeKind::File => return self.open_file(folder, dir, node, key, sidecars),
            NodeKind::Symlink => match dir.read_link(name, stat.size) {
                Ok(target) => node.target = Some(target),
                Err(e) => {
                    work.missing(folder, folder.path.join(name), &e);
                    return Ok(());
                }
            },
            _ => {
                let message = "Recorded only: pipes, sockets and devices are not read";
                work.warn(WarningKind::SpecialFile, &folder.path.join(name), message);
            }
        }
        self.count_unmodified(stat);
        let settled = is_settled(work.repo.session().now(), &[Some(*stat)]);
        let key = if settled { key } else { UNTRUSTED };
        folder.push(RowEntry { name: name.to_vec(), key, kind: stat.kind, node: encode_node(&node) });
        Ok(())
    }

    fn open_file(
        &self,
        folder: &Arc<Folder>,
        dir: &SourceDir,
        node: Node,
        key: StatKey,
        sidecars: &[Option<Stat>; 2],
    ) -> Result<()> {
        match dir.open_file(&node.name) {
            Ok(file) => {
                folder.expect_one();
                let task = FileTask { folder: Arc::clone(folder), file, node, key, sidecars: *sidecars };
                self.files.send(task).map_err(|_| Error::cancelled())
            }
            Err(e) => {
                self.work.missing(folder, folder.path.join(&node.name), &e);
                Ok(())
            }
        }
    }

    fn count_unmodified(&self, stat: &Stat) {
        match stat.kind {
            NodeKind::File => {
                self.work.count_file(Status::Unmodified, stat.size);
                self.work.observer.add(Counter::Files, 1);
                self.work.observer.add(Counter::Bytes, stat.size);
            }
            NodeKind::Symlink => {
                self.work.counts.symlinks.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                self.work.counts.specials.fetch_add(1, Ordering::Relaxed);
            }
        }
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
        Previous::from_tree(tree, &nodes)
    }

    /// Notes folders that were remembered and are gone or no folders any more.
    fn forget_removed(&self, folder: &Folder, is_there: impl Fn(&[u8]) -> bool) {
        let gone = folder.previous.iter().flat_map(Previous::entries);
        let gone = gone.filter(|before| before.kind == NodeKind::Dir && !is_there(before.name));
        gone.for_each(|before| self.work.forget_folder(folder.path.join(before.name)));
    }

    /// The node of an entry as far as its metadata tell.
    fn node(&self, name: &[u8], stat: &Stat) -> Node {
        let owners = &self.work.options.owners;
        let linked = stat.kind == NodeKind::File && stat.nlink > 1;
        Node {
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            user: owners.user(stat.uid).map(str::to_owned),
            group: owners.group(stat.gid).map(str::to_owned),
            mtime: Some(stat.mtime),
            hard_link: linked.then(|| link_group(&self.work.memory.links, stat)),
            device: matches!(stat.kind, NodeKind::CharDevice | NodeKind::BlockDevice).then_some(stat.device),
            ..Node::new(name.to_vec(), stat.kind)
        }
    }
}

/// A number that all names of one file have in common, and that does not change from snapshot to snapshot.
fn link_group(secret: &[u8; 32], stat: &Stat) -> u64 {
    let material = [&stat.dev.to_le_bytes()[..], &stat.ino.to_le_bytes()].concat();
    let hash = crate::base::hash::IdKey::new(*secret).name(&material);
    u64::from_le_bytes(hash.as_bytes().first_chunk::<8>().copied().unwrap_or_default())
}

/// The regular file beside `name` with this suffix.
fn sibling(siblings: &[Entry], name: &[u8], suffix: &[u8]) -> Option<Stat> {
    let wanted = [name, suffix].concat();
    let at = siblings.binary_search_by(|entry| entry.name.cmp(&wanted)).ok()?;
    siblings.get(at)?.stat.as_ref().ok().filter(|stat| stat.kind == NodeKind::File).copied()
}

/// The tree of a folder in the parent snapshot, by what its parent was there.
fn before_tree(folder: &Folder, name: &[u8]) -> Option<BlobId> {
    folder.previous.as_ref()?.find(name)?.decode().ok()?.subtree
}
