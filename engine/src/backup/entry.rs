//! One entry of a folder that is no folder: taken over from memory, or read.

use super::file::FileTask;
use super::folder::Folder;
use super::memory::{RowEntry, StatKey, UNTRUSTED, is_settled, stat_key};
use super::walk::Walk;
use super::{Found, Status};
use crate::base::{Counter, Error, Result, StoredPath, WarningKind};
use crate::format::tree::encode_node;
use crate::model::{Node, NodeKind};
use crate::source::{SourceDir, SourceFile, Stat, Xattrs, xattrs_of_entry};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Times that a file which was replaced between the listing and the opening is opened again.
const OPEN_TRIES: usize = 4;

impl Walk<'_> {
    /// Stores an entry that is no folder: from memory, or by reading it.
    pub(super) fn entry(
        &self,
        folder: &Arc<Folder>,
        dir: &SourceDir,
        name: &[u8],
        stat: &Stat,
        sidecars: &[Option<Stat>; 2],
    ) -> Result<()> {
        let work = self.work;
        let key = stat_key(&work.memory.stats, work.options.ignored, stat, sidecars);
        let before = folder.previous.as_ref().and_then(|previous| previous.find(name));
        if let Some(before) = before
            && before.key == key
            && before.kind == stat.kind
            && !work.options.force
            && self.has_same_attributes(before, dir, name)
        {
            self.count_unmodified(stat);
            if sidecars.iter().flatten().any(|sidecar| sidecar.size > 0) {
                work.warn_of_database(&folder.path.join(name), &before.decode()?);
            }
            folder.push(before);
            return Ok(());
        }
        if stat.kind == NodeKind::File {
            return self.open_file(folder, dir, self.node(name, stat), key, sidecars);
        }
        match self.unread_node(folder, dir, name, stat) {
            Ok((node, is_whole)) => {
                self.count_unmodified(stat);
                let settled = is_whole && is_settled(work.repo.session().now(), &[Some(*stat)]);
                let key = if settled { key } else { UNTRUSTED };
                folder.push(RowEntry { name, key, kind: stat.kind, node: &encode_node(&node) });
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => work.vanished(folder, &folder.path.join(name)),
            Err(e) => work.missing(folder, folder.path.join(name), &e),
        }
        Ok(())
    }

    /// True unless attributes were altered, which only the time of status change would tell.
    fn has_same_attributes(&self, before: RowEntry<'_>, dir: &SourceDir, name: &[u8]) -> bool {
        !self.work.options.ignored.ctime
            || before
                .decode()
                .is_ok_and(|node| xattrs_of_entry(dir, name).is_ok_and(|xattrs| xattrs == node.xattrs))
    }

    /// The node of a link, pipe, socket or device; false if something of it could not be read.
    fn unread_node(
        &self,
        folder: &Folder,
        dir: &SourceDir,
        name: &[u8],
        stat: &Stat,
    ) -> io::Result<(Node, bool)> {
        let mut node = self.node(name, stat);
        if stat.kind == NodeKind::Symlink {
            let target = dir.read_link(name, stat.size)?;
            if target.is_empty() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the link points to nothing"));
            }
            node.target = Some(target);
        } else {
            let message = "Recorded only: pipes, sockets and devices are not read";
            self.work.warn(WarningKind::SpecialFile, &folder.path.join(name), message);
        }
        let xattrs = self.work.xattrs(&folder.path.join(name), xattrs_of_entry(dir, name));
        let is_whole = xattrs.is_some();
        node.xattrs = xattrs.unwrap_or_default();
        Ok((node, is_whole))
    }

    fn open_file(
        &self,
        folder: &Arc<Folder>,
        dir: &SourceDir,
        node: Node,
        key: StatKey,
        sidecars: &[Option<Stat>; 2],
    ) -> Result<()> {
        match open_again(dir, &node.name) {
            Ok(file) => {
                folder.expect_one();
                let task = FileTask { folder: Arc::clone(folder), file, node, key, sidecars: *sidecars };
                self.files.send(task).map_err(|_| Error::cancelled())
            }
            Err(e) => {
                let path = folder.path.join(&node.name);
                match e.kind() {
                    io::ErrorKind::NotFound => self.work.vanished(folder, &path),
                    _ => self.work.missing(folder, path, &e),
                }
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
                self.work.tally.counts.symlinks.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                self.work.tally.counts.specials.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The node of an entry as far as its metadata tell.
    pub(super) fn node(&self, name: &[u8], stat: &Stat) -> Node {
        let linked = stat.kind == NodeKind::File && stat.nlink > 1;
        Node {
            hard_link: linked.then(|| link_group(&self.work.memory.links, stat)),
            device: matches!(stat.kind, NodeKind::CharDevice | NodeKind::BlockDevice).then_some(stat.device),
            ..stat.node(name, &self.work.options.owners)
        }
    }
}

/// A number that all names of one file have in common, and that does not change from snapshot to snapshot.
fn link_group(secret: &[u8; 32], stat: &Stat) -> u64 {
    let material = [&stat.dev.to_le_bytes()[..], &stat.ino.to_le_bytes()].concat();
    let hash = crate::base::hash::IdKey::new(*secret).name(&material);
    u64::from_le_bytes(hash.as_bytes().first_chunk::<8>().copied().unwrap_or_default())
}

/// Opens a file; one that another program replaces just now is there again a moment later.
fn open_again(dir: &SourceDir, name: &[u8]) -> io::Result<SourceFile> {
    for _ in 1..OPEN_TRIES {
        match dir.open_file(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && dir.stat_of(name).is_ok() => {}
            result => return result,
        }
    }
    dir.open_file(name)
}

impl super::Work<'_> {
    /// The attributes, if they could be read; a failure is told and counted.
    pub(super) fn xattrs(&self, path: &StoredPath, read: io::Result<Xattrs>) -> Option<Xattrs> {
        read.map_err(|e| self.unread_attributes(path, &e)).ok()
    }

    /// Tells how a stored file compares with before.
    pub(super) fn found(&self, folder: &Folder, name: &[u8], status: Status) {
        match status {
            Status::New => self.observer.found(&folder.path.join(name), Found::New),
            Status::Changed => self.observer.found(&folder.path.join(name), Found::Changed),
            Status::Unmodified => {}
        }
    }
}
