//! What would be lost for good: whether an entry of the target is *kept elsewhere*, in the restored snapshot or in the
//! newest one of that computer that holds its path, or *only here*. Its path is where it is stored or would be, and where it
//! really is. Whatever cannot be found out counts as only here.

use super::RestorePlan;
use super::decide::hash_of;
use super::plan::real_path;
use super::target::failed;
use crate::base::event::Silent;
use crate::base::{BlobId, Cancel, Error, Result, StoredPath, Whose};
use crate::browse::find_entry;
use crate::model::{BlobKind, Database, DatabaseState, Node, NodeKind};
use crate::repo::Repo;
use crate::source::{Neighbours, SourceDir, SourceFile, Stat};
use crate::sqlite::capture::{Kind, Patience, Sidecar, capture};
use crate::sqlite::{Image, encrypted};
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Bytes of an image that are hashed at once.
const STEP: usize = 1 << 20;

/// The snapshots in which an entry may be kept.
#[derive(Debug)]
pub(super) struct Kept<'r> {
    repo: &'r Repo,
    /// The computer that the restored snapshot is of, and its tree.
    host: String,
    root: BlobId,
    /// Where a stored path comes in the target.
    place: (PathBuf, StoredPath),
    /// The ways down to the folders that were asked for last: as they are stored, and as they are in the target. Loaded
    /// with the first question.
    folders: Mutex<[Vec<Versions>; 2]>,
}

/// One folder in all snapshots.
#[derive(Debug)]
struct Versions {
    path: StoredPath,
    /// In the restored snapshot.
    restored: Option<BlobId>,
    /// In the others, the newest first, each once.
    others: Vec<BlobId>,
}

/// An entry of the target, in its open folder.
#[derive(Clone, Copy)]
pub(super) struct Entry<'e> {
    pub(super) folder: &'e SourceDir,
    pub(super) name: &'e [u8],
    pub(super) stat: &'e Stat,
    /// Where it is stored, or would be.
    pub(super) path: &'e StoredPath,
}

impl<'r> Kept<'r> {
    pub(super) fn new(repo: &'r Repo, plan: &RestorePlan) -> Self {
        let manifest = &plan.snapshot.manifest;
        let place = (plan.target.clone(), plan.start.folder.clone());
        Self { repo, host: manifest.host.clone(), root: manifest.root, place, folders: Mutex::default() }
    }

    /// True if what the entry holds is stored.
    ///
    /// # Errors
    /// The wish to stop, and a repository that is gone.
    pub(super) fn holds(&self, entry: &Entry<'_>, stop: &Cancel) -> Result<bool> {
        if entry.stat.kind == NodeKind::Dir {
            return Ok(true);
        }
        let Entry { folder, name, .. } = *entry;
        if let Some((base, sidecar)) = Sidecar::main_of(name)
            && let Ok(main) = folder.stat_of(base)
            && main.kind == NodeKind::File
        {
            let path = entry.path.parent().unwrap_or_else(StoredPath::root).join(base);
            let nodes = self.nodes(&path)?;
            if nodes.iter().any(is_captured) {
                // What counts of it is part of the database's committed state; an index of a log holds nothing.
                let has_content = sidecar != Sidecar::Shm && entry.stat.size > 0;
                let main = Entry { folder, name: base, stat: &main, path: &path };
                return Ok(!has_content || self.is_one_of(&nodes, &main, stop)?);
            }
        }
        let nodes = self.nodes(entry.path)?;
        self.is_one_of(&nodes, entry, stop)
    }

    fn is_one_of(&self, nodes: &[Node], entry: &Entry<'_>, stop: &Cancel) -> Result<bool> {
        let Entry { folder, name, stat, .. } = *entry;
        let mut same = nodes.iter().filter(|node| node.kind == stat.kind);
        let found = match stat.kind {
            NodeKind::Symlink => {
                let target = folder.read_link(name, stat.size).ok();
                Ok(target.is_some() && same.any(|node| node.target == target))
            }
            NodeKind::File => {
                let Ok(file) = folder.open_file(name) else { return Ok(false) };
                let nodes: Vec<&Node> = same.collect();
                self.has_content(&nodes, &file, entry, stop)
            }
            // Neither folders nor pipes, sockets and devices hold anything.
            _ => Ok(true),
        };
        found.or_else(|e: Error| if must_end(&e) { Err(e) } else { Ok(false) })
    }

    fn has_content(
        &self,
        nodes: &[&Node],
        file: &SourceFile,
        entry: &Entry<'_>,
        stop: &Cancel,
    ) -> Result<bool> {
        if nodes.iter().any(|node| is_captured(node)) {
            let Some(now) = self.committed(file, entry, stop)? else { return Ok(false) };
            return Ok(nodes.iter().any(|node| (node.size, node.content_hash()) == now));
        }
        let size = entry.stat.size;
        let fitting: Vec<&&Node> = nodes.iter().filter(|node| node.size == size).collect();
        if fitting.is_empty() || size == 0 {
            return Ok(!fitting.is_empty());
        }
        let now = hash_of(file, size, self.repo.id_key(BlobKind::Data), entry.path, stop)?;
        Ok(now.is_some() && fitting.iter().any(|node| node.content_hash() == now))
    }

    /// Size and hash of the state that a database is in, what is in its log included. None if it cannot be read.
    fn committed(
        &self,
        file: &SourceFile,
        entry: &Entry<'_>,
        stop: &Cancel,
    ) -> Result<Option<(u64, Option<BlobId>)>> {
        let mut head = Vec::with_capacity(encrypted::HEAD_LEN);
        let read = file.reader(0, encrypted::HEAD_LEN as u64).read_to_end(&mut head);
        read.map_err(failed("read", entry.path))?;
        let kind = encrypted::kind_of(&head).map_or(Kind::Encrypted, |(kind, _)| kind);
        let session = self.repo.session();
        let (pause, now) = (|time| (session.pause)(time), || session.now());
        let patience = Patience::new(&pause, &now);
        let beside = Neighbours { dir: entry.folder, name: entry.name };
        let mut hash = |image: &Image<'_>| self.hash_image(image, stop);
        let captured = capture(file.as_fd(), &beside, kind, &patience, &mut hash);
        stop.check()?;
        Ok(captured.ok().map(|captured| (captured.len, captured.value.filter(|_| captured.len > 0))))
    }

    fn hash_image(&self, image: &Image<'_>, stop: &Cancel) -> io::Result<Option<BlobId>> {
        let mut hash = self.repo.id_key(BlobKind::Data).stream();
        let mut reader = image.reader();
        let mut buffer = vec![0; STEP];
        loop {
            if stop.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match reader.read(&mut buffer)? {
                0 => return Ok(Some(hash.finish())),
                count => hash.update(buffer.get(..count).unwrap_or_default()),
            };
        }
    }

    /// What is stored at a path: in the restored snapshot, and in the newest that holds it.
    fn nodes(&self, path: &StoredPath) -> Result<Vec<Node>> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let [stored, real] = &mut *folders;
        let mut nodes = Vec::new();
        self.add_nodes(stored, path, Some(self.root), &mut nodes)?;
        let place = StoredPath::from_fs(&real_path(&self.place.0, &self.place.1, path));
        if let Some(place) = place.filter(|place| place != path) {
            self.add_nodes(real, &place, None, &mut nodes)?;
        }
        Ok(nodes)
    }

    fn add_nodes(
        &self,
        folders: &mut Vec<Versions>,
        path: &StoredPath,
        restored: Option<BlobId>,
        nodes: &mut Vec<Node>,
    ) -> Result<()> {
        self.go_to(folders, &path.parent().unwrap_or_else(StoredPath::root), restored)?;
        let Some(versions) = folders.last() else { return Ok(()) };
        nodes.extend(self.find(versions.restored.as_ref(), path.name())?);
        for tree in &versions.others {
            if let Some(node) = self.find(Some(tree), path.name())? {
                nodes.push(node);
                break;
            }
        }
        Ok(())
    }

    /// A node of a folder; none where it cannot be read.
    fn find(&self, tree: Option<&BlobId>, name: &[u8]) -> Result<Option<Node>> {
        let Some(tree) = tree else { return Ok(None) };
        match find_entry(self.repo, tree, name) {
            Ok(node) => Ok(node),
            Err(e) if must_end(&e) => Err(e.of(Whose::Repository)),
            Err(_) => Ok(None),
        }
    }

    fn go_to(
        &self,
        folders: &mut Vec<Versions>,
        folder: &StoredPath,
        restored: Option<BlobId>,
    ) -> Result<()> {
        if folders.is_empty() {
            folders.push(self.roots(restored)?);
        }
        while folders.len() > 1 && folders.last().is_some_and(|at| !folder.is_within(&at.path)) {
            folders.pop();
        }
        let depth = folders.len() - 1;
        for name in folder.components().skip(depth) {
            let Some(above) = folders.last() else { return Ok(()) };
            let subtree = |tree: &BlobId| Ok(self.find(Some(tree), name)?.and_then(|node| node.subtree));
            let restored = above.restored.as_ref().map(subtree).transpose()?.flatten();
            let (mut others, mut seen) = (Vec::new(), BTreeSet::new());
            for tree in &above.others {
                others.extend(subtree(tree)?.filter(|tree| seen.insert(*tree)));
            }
            let path = above.path.join(name);
            folders.push(Versions { path, restored, others });
        }
        Ok(())
    }

    fn roots(&self, restored: Option<BlobId>) -> Result<Versions> {
        let snapshots = self.repo.snapshots(&Silent)?;
        let mut seen = BTreeSet::new();
        let others = snapshots.iter().rev().filter(|other| other.manifest.host == self.host);
        let others = others.map(|other| other.manifest.root).filter(|root| seen.insert(*root)).collect();
        Ok(Versions { path: StoredPath::root(), restored, others })
    }
}

/// True for a database that is stored in one committed state.
fn is_captured(node: &Node) -> bool {
    matches!(&node.database, Some(Database { state, .. }) if *state != DatabaseState::AsItLay)
}

/// True for what ends a run, and says nothing about one entry.
fn must_end(error: &Error) -> bool {
    matches!(error.kind(), crate::base::Kind::Cancelled | crate::base::Kind::Gone)
}
