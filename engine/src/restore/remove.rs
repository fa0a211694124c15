//! Removing what the snapshot does not have: by descriptor, never through a link, never on another file system, and
//! never what the person excluded or this program keeps for itself.

use super::selection::{Judgement, Selection};
use super::target::{Identity, failed};
use super::temporary;
use crate::base::{Cancel, Error, Kind, Result, StoredPath};
use crate::model::{Node, NodeKind};
use crate::source::{Descent, Entry, SourceDir, Stat};
use rustix::fs::{AtFlags, unlinkat};
use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;

/// What must not be removed.
#[derive(Debug)]
pub(super) struct Guard<'a> {
    pub(super) selection: &'a Selection,
    pub(super) protected: &'a [Identity],
    pub(super) cancel: &'a Cancel,
}

/// What was removed, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// What had to stay.
    pub(super) spared: u64,
}

/// An entry that would be removed, in its open folder.
pub(super) struct Victim<'v> {
    pub(super) folder: &'v SourceDir,
    pub(super) name: &'v [u8],
    pub(super) stat: &'v Stat,
    pub(super) path: &'v StoredPath,
}

/// What a plan found, and may be removed: nothing that came or changed since. By the hash of what identifies it, since
/// there may be many.
#[derive(Clone, Debug, Default)]
pub(super) struct Approved {
    hasher: RandomState,
    stamps: HashSet<u64>,
}

impl Approved {
    pub(super) fn add(&mut self, path: &StoredPath, stat: &Stat) {
        self.stamps.insert(self.stamp(path, stat));
    }

    fn has(&self, path: &StoredPath, stat: &Stat) -> bool {
        self.stamps.contains(&self.stamp(path, stat))
    }

    /// Without what changes when another name of the same file is removed.
    fn stamp(&self, path: &StoredPath, stat: &Stat) -> u64 {
        let time = (stat.mtime.secs, stat.mtime.nanos);
        self.hasher.hash_one((path.as_bytes(), stat.identity(), stat.size, time))
    }
}

/// What happens to an entry that may be removed.
pub(super) enum RemoveMode<'a> {
    /// It is handed over and counted; a folder after what lies in it.
    Look(&'a mut dyn FnMut(Victim<'_>) -> Result<()>),
    /// It is removed if the plan has seen it; what fails is told.
    Remove(&'a Approved, &'a dyn Fn(&StoredPath, Error)),
}

/// One folder on the way down.
struct Level {
    name: Vec<u8>,
    path: StoredPath,
    stat: Stat,
    entries: std::vec::IntoIter<Entry>,
    /// True if something in it had to stay.
    is_held: bool,
}

struct Remover<'a, 'm> {
    guard: &'a Guard<'a>,
    mode: &'a mut RemoveMode<'m>,
    dev: u64,
    removed: Removed,
}

/// Removes an entry of a folder with all that lies below; what must stay stays, with the folders that hold it.
/// `included` says whether the folder is.
pub(super) fn remove(
    guard: &Guard<'_>,
    folder: &SourceDir,
    entry: (&[u8], &Stat),
    path: &StoredPath,
    included: bool,
    mode: &mut RemoveMode<'_>,
) -> Result<Removed> {
    let (name, stat) = entry;
    let dev = folder.stat().map_err(failed("look at the folder of", path))?.dev;
    let mut remover = Remover { guard, mode, dev, removed: Removed::default() };
    if !remover.may(stat, path, included) {
        remover.removed.spared = 1;
    } else if stat.kind == NodeKind::Dir {
        remover.remove_folder(folder, name, path, stat)?;
    } else {
        remover.unlink(folder, name, path, stat)?;
    }
    Ok(remover.removed)
}

impl Remover<'_, '_> {
    /// True if an entry may be removed.
    fn may(&self, stat: &Stat, path: &StoredPath, included: bool) -> bool {
        self.guard.selection.judge(included, path) == Judgement::Included
            && stat.dev == self.dev
            && !self.guard.protected.contains(&stat.identity())
            // What an earlier restore moved out of the way may be the only copy of the newest messages.
            && !(stat.kind == NodeKind::File && super::is_aside(path.name()))
    }

    /// What could not be removed stays, and is told.
    fn stays(&mut self, path: &StoredPath, act: &'static str, error: io::Error) -> bool {
        self.removed.spared += 1;
        if let RemoveMode::Remove(_, tell) = self.mode {
            tell(path, failed(act, path)(error));
        }
        false
    }

    /// False if it stayed.
    fn unlink(&mut self, folder: &SourceDir, name: &[u8], path: &StoredPath, stat: &Stat) -> Result<bool> {
        match &mut self.mode {
            RemoveMode::Look(visit) => visit(Victim { folder, name, stat, path })?,
            RemoveMode::Remove(approved, tell) => {
                if !approved.has(path, stat) {
                    self.removed.spared += 1;
                    tell(
                        path,
                        Error::new(Kind::InUse, "remove", path)
                            .because("it was created or changed after the restore was planned"),
                    );
                    return Ok(false);
                }
                if let Err(e) = unlinkat(folder, name, AtFlags::empty()) {
                    return Ok(self.stays(path, "remove", e.into()));
                }
            }
        }
        self.removed.entries += 1;
        if stat.kind == NodeKind::File && stat.nlink == 1 {
            self.removed.bytes = self.removed.bytes.saturating_add(stat.size);
        }
        Ok(true)
    }

    /// Removes a folder that has been emptied; false if it stayed.
    fn remove_empty(&mut self, above: &SourceDir, done: &Level) -> Result<bool> {
        if done.is_held {
            return Ok(false);
        }
        let Level { name, path, stat, .. } = done;
        match &mut self.mode {
            RemoveMode::Look(visit) => visit(Victim { folder: above, name, stat, path })?,
            RemoveMode::Remove(..) => {
                if let Err(e) = unlinkat(above, name.as_slice(), AtFlags::REMOVEDIR) {
                    return Ok(self.stays(path, "remove", e.into()));
                }
            }
        }
        self.removed.entries += 1;
        Ok(true)
    }

    fn remove_folder(
        &mut self,
        above: &SourceDir,
        name: &[u8],
        path: &StoredPath,
        stat: &Stat,
    ) -> Result<()> {
        let opened = above.open_dir(name).and_then(|dir| Ok((dir.entries()?, Descent::new(dir)?)));
        let (entries, mut descent) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                self.stays(path, "look into", e);
                return Ok(());
            }
        };
        let mut levels = vec![Level::new(name, path.clone(), *stat, entries)];
        while let Some(mut at) = levels.pop() {
            self.guard.cancel.check()?;
            if let Some(entry) = at.entries.next() {
                let below = self.next(&mut descent, &mut at, entry)?;
                levels.push(at);
                levels.extend(below);
                continue;
            }
            // At the last level this stays where it is.
            descent.leave().map_err(failed("leave a folder in", path))?;
            let is_gone = match levels.last() {
                Some(_) => {
                    let here = descent.here().map_err(failed("open folder", path))?;
                    self.remove_empty(here, &at)?
                }
                None => self.remove_empty(above, &at)?,
            };
            if let Some(parent) = levels.last_mut() {
                parent.is_held |= !is_gone;
            }
        }
        Ok(())
    }

    /// Removes one entry of the folder where we are, or enters it.
    fn next(&mut self, descent: &mut Descent, at: &mut Level, entry: Entry) -> Result<Option<Level>> {
        let path = at.path.join(&entry.name);
        let stat = entry.stat.map_err(failed("look at", &path))?;
        if !self.may(&stat, &path, true) {
            self.removed.spared += 1;
            at.is_held = true;
        } else if stat.kind != NodeKind::Dir {
            let here = descent.here().map_err(failed("open folder", &at.path))?;
            at.is_held |= !self.unlink(here, &entry.name, &path, &stat)?;
        } else {
            let here = descent.here().map_err(failed("open folder", &at.path))?;
            let entered = here
                .open_dir(&entry.name)
                .and_then(|dir| dir.entries())
                .and_then(|entries| descent.enter(&entry.name).map(|()| entries));
            match entered {
                Ok(entries) => return Ok(Some(Level::new(&entry.name, path, stat, entries))),
                Err(e) => at.is_held |= !self.stays(&path, "look into", e),
            }
        }
        Ok(None)
    }
}

impl Level {
    fn new(name: &[u8], path: StoredPath, stat: Stat, entries: Vec<Entry>) -> Self {
        Self { name: name.to_vec(), path, stat, entries: entries.into_iter(), is_held: false }
    }
}

/// Whether what is too much in a folder of the target may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeleteScope {
    /// Above the sources: it was not stored as a whole, and the snapshot does not know what else belongs there.
    Above,
    /// It was stored as a whole, and lies on this device, as all folders above it do from the source on.
    Stored(u64),
    /// It lies on another device than a folder above it, or below such a one: the snapshot may have the place where a
    /// disk is mounted, and not what is on the disk.
    Elsewhere,
}

impl DeleteScope {
    /// Of an open folder, whose stored one is whole or not; `above` is that of the folder above it.
    pub(super) fn of(above: Self, is_whole: bool, folder: &SourceDir) -> io::Result<Self> {
        Ok(Self::on(above, is_whole, folder.stat()?.dev))
    }

    /// True if a stored folder is a source or lies in one: only those have times.
    pub(super) fn is_whole(node: &Node) -> bool {
        node.mtime.is_some()
    }

    fn on(above: Self, is_whole: bool, device: u64) -> Self {
        match above {
            Self::Elsewhere => Self::Elsewhere,
            Self::Stored(before) if before != device => Self::Elsewhere,
            _ if is_whole => Self::Stored(device),
            Self::Stored(_) | Self::Above => Self::Above,
        }
    }

    /// True if what the snapshot does not have may be removed.
    pub(super) fn may_lose(self) -> bool {
        matches!(self, Self::Stored(_))
    }
}

/// Entries of a folder that a snapshot does not have, from its names as they are met.
#[derive(Debug)]
pub(super) struct Extras(std::collections::BTreeMap<Vec<u8>, Stat>);

impl Extras {
    /// All that is in the folder, but for our own temporary files.
    pub(super) fn of(folder: &SourceDir) -> io::Result<Self> {
        let entries = folder.entries()?.into_iter();
        let known = entries.filter(|entry| !temporary::is_temporary(&entry.name));
        Ok(Self(known.filter_map(|entry| Some((entry.name, entry.stat.ok()?))).collect()))
    }

    /// The snapshot has this name.
    pub(super) fn has(&mut self, name: &[u8]) {
        self.0.remove(name);
    }

    /// What the snapshot does not have.
    pub(super) fn left(self) -> impl Iterator<Item = (Vec<u8>, Stat)> {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::DeleteScope::{self, Above, Elsewhere, Stored};

    #[test]
    fn nothing_goes_above_the_sources_nor_from_another_device_on() {
        for (above, is_whole, device, expected) in [
            (Above, false, 1, Above),
            // A source may lie on a device of its own.
            (Above, true, 2, Stored(2)),
            (Stored(1), true, 1, Stored(1)),
            (Stored(1), true, 2, Elsewhere),
            (Stored(1), false, 2, Elsewhere),
            // What lies below it may be on the first device again.
            (Elsewhere, true, 1, Elsewhere),
            (Elsewhere, false, 1, Elsewhere),
        ] {
            assert_eq!(DeleteScope::on(above, is_whole, device), expected, "{above:?} {is_whole} {device}");
        }
        assert_eq!([Above, Stored(1), Elsewhere].map(DeleteScope::may_lose), [false, true, false]);
    }
}
