//! One entry of a folder that is no folder: taken over from memory, or read.

use super::beside::{Beside, Candidate, beside_a_file, beside_an_image, beside_raw, look_at};
use super::file::FileTask;
use super::folder::Folder;
use super::linked::LogPlace;
use super::memory::{RowEntry, StatKey, UNTRUSTED, is_same, stat_key, unsettled};
use super::{Found, Status, Work};
use crate::base::{Counter, Result, StoredPath, Timestamp, WarningKind};
use crate::format::tree::encode_node;
use crate::model::{DatabaseState, Node, NodeKind};
use crate::source::{SourceDir, SourceFile, Stat, Xattrs, xattrs_of_entry};
use std::cell::OnceCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Times that a file which was replaced between the listing and the opening is opened again.
const OPEN_TRIES: usize = 4;

/// Where an entry lies.
pub struct Place<'p> {
    /// Its folder in the snapshot.
    pub folder: &'p Arc<Folder>,
    /// Its folder in the file system.
    pub dir: &'p SourceDir,
    /// The file system that it lies on.
    pub device: u64,
    /// The same for those who outlive the walk through this folder, once somebody needs it.
    pub kept: &'p OnceCell<Arc<SourceDir>>,
}

impl Place<'_> {
    fn keep(&self) -> io::Result<Arc<SourceDir>> {
        if let Some(kept) = self.kept.get() {
            return Ok(Arc::clone(kept));
        }
        let kept = Arc::new(self.dir.try_clone()?);
        Ok(Arc::clone(self.kept.get_or_init(|| kept)))
    }
}

impl Work<'_> {
    /// Stores an entry that is no folder, as far as that needs no reading; what is to be read is returned.
    pub(super) fn entry(
        &self,
        place: &Place<'_>,
        name: &[u8],
        stat: &Stat,
        mut beside: Beside,
    ) -> Result<Vec<FileTask>> {
        if stat.kind == NodeKind::File && stat.nlink > 1 && !self.options.raw_databases {
            if beside.has_log() {
                self.linked.add_log(stat.identity(), place.folder.path.join(name));
            } else if was_database(place.folder, name)? {
                match self.linked.wait(place.folder, name, stat.identity(), beside) {
                    None => return Ok(Vec::new()),
                    Some(back) => beside = back,
                }
            }
        }
        self.entry_with(place, name, stat, beside, LogPlace::Assumed)
    }

    /// The same for an entry whose log, if it is a database, lies here.
    pub(super) fn entry_with(
        &self,
        place: &Place<'_>,
        name: &[u8],
        stat: &Stat,
        mut beside: Beside,
        log: LogPlace,
    ) -> Result<Vec<FileTask>> {
        let (folder, dir) = (place.folder, place.dir);
        let key = stat_key(&self.memory.stats, stat, &beside.stats);
        let remembered =
            if log.is_here() { self.remembered(place, name, stat, &key, &mut beside)? } else { None };
        if let Some((before, others)) = remembered {
            self.lineages.keep(&folder.path, name);
            match self.relinked(before, stat)? {
                None => {
                    self.count_unmodified(stat);
                    folder.push(before);
                }
                Some(node) => {
                    self.count_file(Status::Changed, stat.size);
                    self.found(folder, name, Status::Changed);
                    self.observer.add(Counter::Files, 1);
                    self.observer.add(Counter::Bytes, stat.size);
                    folder.push(RowEntry { node: &encode_node(&node), ..before });
                }
            }
            return self.entries_beside(place, others);
        }
        if stat.kind == NodeKind::File {
            return self.open_file(place, self.node(name, stat), key, beside, log);
        }
        match self.unread_node(folder, dir, name, stat) {
            Ok((node, is_whole)) => {
                self.count_unmodified(stat);
                let now = self.repo.session().now();
                let key =
                    if is_whole { self.settled(place, name, key, now, &[Some(*stat)]) } else { UNTRUSTED };
                folder.push(RowEntry { name, key, kind: stat.kind, node: &encode_node(&node) });
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.vanished(folder, &folder.path.join(name)),
            Err(e) => self.missing(folder, folder.path.join(name), &e),
        }
        Ok(Vec::new())
    }

    /// Stores what lies beside something that it is not part of: as entries like others.
    pub(super) fn entries_beside(&self, place: &Place<'_>, entries: Vec<Candidate>) -> Result<Vec<FileTask>> {
        let mut tasks = Vec::new();
        for Candidate { name, stat, beside, .. } in entries {
            tasks.extend(self.entry(place, &name, &stat, beside)?);
        }
        Ok(tasks)
    }

    /// What is remembered of an entry, if that still holds, with what of the candidates beside it are entries of their own.
    fn remembered<'p>(
        &self,
        place: &Place<'p>,
        name: &[u8],
        stat: &Stat,
        key: &StatKey,
        beside: &mut Beside,
    ) -> Result<Option<(RowEntry<'p>, Vec<Candidate>)>> {
        let before = place.folder.previous.as_ref().and_then(|previous| previous.find(name));
        let before = before
            .filter(|before| is_same(&before.key, key, self.options.ignored) && before.kind == stat.kind);
        let Some(before) = before.filter(|_| !self.options.force) else { return Ok(None) };
        if !self.has_same_attributes(before, place.dir, name) {
            return Ok(None);
        }
        let is_raw = self.options.raw_databases;
        // Nearly every file has nothing beside it.
        if beside.candidates.is_empty() && beside.stats == [None; 2] && !is_raw {
            return Ok(Some((before, Vec::new())));
        }
        let database = before.decode()?.database;
        // It is told each time.
        if database.as_ref().is_some_and(|database| database.damaged_log.is_some()) {
            return Ok(None);
        }
        let halves = database.as_ref().map_or_else(Vec::new, |database| database.sidecars.clone());
        let mut candidates = || std::mem::take(&mut beside.candidates);
        let entries = match database.map(|database| database.state) {
            None => beside_a_file(candidates()),
            // It was stored in the other way than is wanted now.
            Some(DatabaseState::AsItLay) if !is_raw => return Ok(None),
            Some(DatabaseState::Captured | DatabaseState::Pair) if is_raw => return Ok(None),
            Some(DatabaseState::Pair) if !self.take_over_halves(place.folder, &halves) => return Ok(None),
            state => {
                let mut candidates = candidates();
                // They are looked at anew: the `-shm` is not in the key.
                look_at(place.dir, &mut candidates);
                let is_image = !is_raw && state.is_some();
                if is_image { beside_an_image(candidates) } else { beside_raw(candidates) }
            }
        };
        Ok(Some((before, entries)))
    }

    /// Takes over the logs or journals that were stored as the other halves of a pair; false if one is not remembered.
    fn take_over_halves(&self, folder: &Folder, names: &[Vec<u8>]) -> bool {
        let find = |name: &Vec<u8>| folder.previous.as_ref().and_then(|previous| previous.find(name));
        let Some(halves) = names.iter().map(find).collect::<Option<Vec<_>>>() else { return false };
        for half in halves {
            self.count_file(Status::Unmodified, half.decode().map_or(0, |node| node.size));
            self.observer.add(Counter::Files, 1);
            folder.push(half);
        }
        true
    }

    /// The node of a file that is as it was, but for its other names.
    fn relinked(&self, before: RowEntry<'_>, stat: &Stat) -> Result<Option<Node>> {
        // A first other name changes the time of status change, and the file is read: unless that time does not count.
        if stat.kind != NodeKind::File || (stat.nlink < 2 && !self.options.ignored.ctime) {
            return Ok(None);
        }
        let node = before.decode()?;
        let hard_link = self.hard_link(stat);
        Ok((node.hard_link != hard_link).then_some(Node { hard_link, ..node }))
    }

    /// What is to be remembered of an entry that was read at `read` and had this key.
    pub(super) fn settled(
        &self,
        place: &Place<'_>,
        name: &[u8],
        key: StatKey,
        read: Timestamp,
        stats: &[Option<Stat>],
    ) -> StatKey {
        let clock = self.clocks.of(place.device);
        if stats.iter().flatten().all(|stat| clock.is_settled(read, stat.mtime, stat.ctime)) {
            return key;
        }
        // A run before this one saw the same stamps. Since then that clock went on by more than it counts in, whatever it
        // says: a change from now on shows.
        let before = place.folder.previous.as_ref().and_then(|previous| previous.find(name));
        let was_seen =
            before.is_some_and(|before| is_same(&unsettled(before.key), &key, self.options.ignored));
        if was_seen && self.is_long_after { key } else { unsettled(key) }
    }

    /// True unless attributes were altered, which only the time of status change would tell.
    fn has_same_attributes(&self, before: RowEntry<'_>, dir: &SourceDir, name: &[u8]) -> bool {
        !self.options.ignored.ctime
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
            self.warn(WarningKind::SpecialFile, &folder.path.join(name), message);
        }
        let xattrs = self.xattrs(&folder.path.join(name), xattrs_of_entry(dir, name));
        let is_whole = xattrs.is_some();
        node.xattrs = xattrs.unwrap_or_default();
        Ok((node, is_whole))
    }

    fn open_file(
        &self,
        place: &Place<'_>,
        node: Node,
        key: StatKey,
        beside: Beside,
        log: LogPlace,
    ) -> Result<Vec<FileTask>> {
        let opened = open_again(place.dir, &node.name).and_then(|file| Ok((file, place.keep()?)));
        match opened {
            Ok((file, dir)) => {
                place.folder.expect_one();
                let folder = Arc::clone(place.folder);
                let Beside { stats: sidecars, candidates: beside } = beside;
                let device = place.device;
                Ok(vec![FileTask { folder, dir, device, file, node, key, sidecars, beside, log }])
            }
            Err(e) => {
                let path = place.folder.path.join(&node.name);
                match e.kind() {
                    io::ErrorKind::NotFound => self.vanished(place.folder, &path),
                    _ => self.missing(place.folder, path, &e),
                }
                self.entries_beside(place, beside_a_file(beside.candidates))
            }
        }
    }

    fn count_unmodified(&self, stat: &Stat) {
        match stat.kind {
            NodeKind::File => {
                self.count_file(Status::Unmodified, stat.size);
                self.observer.add(Counter::Files, 1);
                self.observer.add(Counter::Bytes, stat.size);
            }
            NodeKind::Symlink => {
                self.tally.counts.symlinks.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                self.tally.counts.specials.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The group of a file with several names.
    fn hard_link(&self, stat: &Stat) -> Option<u64> {
        let linked = stat.kind == NodeKind::File && stat.nlink > 1;
        linked.then(|| link_group(&self.memory.links, stat))
    }

    /// The node of an entry as far as its metadata tell.
    pub(super) fn node(&self, name: &[u8], stat: &Stat) -> Node {
        Node {
            hard_link: self.hard_link(stat),
            device: matches!(stat.kind, NodeKind::CharDevice | NodeKind::BlockDevice).then_some(stat.device),
            ..stat.node(name, &self.options.owners)
        }
    }
}

/// True if this name was one of a database.
fn was_database(folder: &Folder, name: &[u8]) -> Result<bool> {
    let before = folder.previous.as_ref().and_then(|previous| previous.find(name));
    let before = before.filter(|before| before.kind == NodeKind::File);
    before.map_or(Ok(false), |before| Ok(before.decode()?.database.is_some()))
}

/// A number that all names of one file have in common, and that does not change from snapshot to snapshot.
fn link_group(secret: &[u8; 32], stat: &Stat) -> u64 {
    let material = [&stat.dev.to_le_bytes()[..], &stat.ino.to_le_bytes()].concat();
    let hash = crate::base::hash::IdKey::new(*secret).name(&material);
    u64::from_le_bytes(hash.as_bytes().first_chunk::<8>().copied().unwrap_or_default())
}

/// Opens a file; one that another program replaces just now is there again a moment later.
pub(super) fn open_again(dir: &SourceDir, name: &[u8]) -> io::Result<SourceFile> {
    for _ in 1..OPEN_TRIES {
        match dir.open_file(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && dir.stat_of(name).is_ok() => {}
            result => return result,
        }
    }
    dir.open_file(name)
}

impl Work<'_> {
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
