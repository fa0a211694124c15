//! Folders: listing them, going down and up in them with few descriptors, and counting what lies below.

use super::file::SourceFile;
use super::named::{Alias, there};
use super::open_quietly;
use super::stat::{Stat, kind};
use crate::base::{Cancel, StoredPath};
use crate::model::NodeKind;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, SeekFrom, fstat, openat, readlinkat, seek, statat};
use rustix::io::{Errno, retry_on_intr};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Room for one call of the listing, in bytes: holds at least 100 of the longest names.
const LISTING_LEN: usize = 32 * 1024;

/// Longest stretch of a path that is handed to the system at once, in bytes (its limit is 4,096 with the NUL).
const PATH_STRETCH: usize = 4000;

/// Most room that is set aside for the target of a link because of its size, in bytes.
const TARGET_ROOM: u64 = 64 * 1024;

/// Most folders that a [`Descent`] holds open.
const MOST_OPEN: usize = 32;

/// A folder, open for listing.
#[derive(Debug)]
pub struct SourceDir {
    fd: OwnedFd,
    /// The listing moves the descriptor's one position: two at a time would each miss entries.
    listing: Mutex<()>,
    alias: Option<Alias>,
}

/// One name in a folder, and what the file system says of it.
#[derive(Debug)]
pub struct Entry {
    /// The name, as bytes.
    pub name: Vec<u8>,
    /// Its metadata, or why they could not be read.
    pub stat: io::Result<Stat>,
}

impl SourceDir {
    /// Opens a folder by its absolute path of any length, following links on the way and at its end. Fails for
    /// everything that is no folder, without opening it.
    pub fn open(path: &Path) -> io::Result<Self> {
        if !path.is_absolute() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not absolute"));
        }
        let mut rest = path.as_os_str().as_bytes();
        let mut at: Option<OwnedFd> = None;
        while rest.len() > PATH_STRETCH {
            let cut = rest.get(..PATH_STRETCH).and_then(|head| head.iter().rposition(|byte| *byte == b'/'));
            let (head, tail) = rest.split_at_checked(cut.unwrap_or(0)).unwrap_or_default();
            if head.is_empty() {
                return Err(Errno::NAMETOOLONG.into());
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = at.as_ref().map_or(CWD, AsFd::as_fd);
            at = Some(retry_on_intr(|| openat(folder, head, flags, Mode::empty()))?);
            rest = relative(tail);
        }
        let name = if rest.is_empty() { b"." } else { rest };
        Self::open_at(at.as_ref().map_or(CWD, AsFd::as_fd), name, OFlags::empty())
    }

    /// Opens a folder in this one; a link is refused with `ELOOP` or `ENOTDIR`.
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        Self::open_at(self.fd.as_fd(), &self.there(name)?, OFlags::NOFOLLOW)
    }

    /// The same folder, in which the entry `there`, with its sidecars, is known under another name. Listings do not know.
    #[must_use]
    pub(super) fn under_the_name(self, name: &[u8], there: &[u8]) -> Self {
        Self { alias: Some(Alias::new(name, there)), ..self }
    }

    /// The name that an entry has in the file system.
    ///
    /// # Errors
    /// `InvalidInput` for what is no single name.
    pub(super) fn there<'n>(&'n self, name: &'n [u8]) -> io::Result<Cow<'n, [u8]>> {
        there(self.alias.as_ref(), name)
    }

    fn open_at(folder: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<Self> {
        let fd = open_quietly(folder, name, OFlags::DIRECTORY | flags)?;
        Ok(Self { fd, listing: Mutex::new(()), alias: None })
    }

    /// The same folder once more. Both share one position: only one of them may be listed at a time.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, listing: Mutex::new(()), alias: self.alias.clone() })
    }

    /// All entries, sorted by the bytes of their names, without `.` and `..`. What vanishes meanwhile is left out.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.list(|name, _| {
            let stat = self.stat_entry(name);
            if !matches!(&stat, Err(e) if e.kind() == io::ErrorKind::NotFound) {
                entries.push(Entry { name: name.to_bytes().to_vec(), stat });
            }
            true
        })?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        // Some file systems list a name twice when its file is replaced meanwhile.
        entries.dedup_by(|a, b| a.name == b.name);
        Ok(entries)
    }

    /// All names, in no order, without `.` and `..`; nothing is looked at.
    pub fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        self.list(|name, _| {
            names.push(name.to_bytes().to_vec());
            true
        })?;
        Ok(names)
    }

    /// Hands each name, and its kind where the listing tells, to `visit`, until that returns false.
    fn list(&self, mut visit: impl FnMut(&CStr, Option<NodeKind>) -> bool) -> io::Result<()> {
        let _one_at_a_time = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        seek(&self.fd, SeekFrom::Start(0))?;
        let mut room = Vec::with_capacity(LISTING_LEN);
        let mut listing = RawDir::new(&self.fd, room.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = match entry {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") && !visit(name, kind(entry.file_type())) {
                break;
            }
        }
        Ok(())
    }

    fn stat_entry(&self, name: &CStr) -> io::Result<Stat> {
        Stat::from_system(&retry_on_intr(|| statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW))?)
    }

    /// The metadata of this folder.
    pub fn stat(&self) -> io::Result<Stat> {
        Stat::from_system(&fstat(&self.fd)?)
    }

    /// The metadata of one entry, not of what it may link to.
    pub fn stat_of(&self, name: &[u8]) -> io::Result<Stat> {
        let name = self.there(name)?;
        Stat::from_system(&retry_on_intr(|| statat(&self.fd, &*name, AtFlags::SYMLINK_NOFOLLOW))?)
    }

    /// Where a symbolic link points; `size` is its size in bytes, if known, and a hint only.
    pub fn read_link(&self, name: &[u8], size: u64) -> io::Result<Vec<u8>> {
        let name = self.there(name)?;
        let room = usize::try_from(size.min(TARGET_ROOM)).unwrap_or_default() + 1;
        Ok(readlinkat(&self.fd, &*name, Vec::with_capacity(room))?.into_bytes())
    }

    /// Opens a regular file. A link, pipe, socket, device or folder is an error of kind `InvalidInput`, and is not
    /// opened: this never waits for the other end of a pipe. The file's time of last access stays where the system lets
    /// us leave it.
    pub fn open_file(&self, name: &[u8]) -> io::Result<SourceFile> {
        SourceFile::open(self.fd.as_fd(), &self.there(name)?)
    }
}

impl AsFd for SourceDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The rest of a path without its leading slashes, which would start again from the root.
fn relative(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
    path.get(start..).unwrap_or_default()
}

/// A way down into a folder, of any depth with at most 32 open descriptors: folders far above are closed, and opened
/// again on the way back through `..`, if that is still the same folder.
#[derive(Debug)]
pub struct Descent {
    /// From the start down to where we are; the last one is always open.
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    dir: Option<SourceDir>,
    /// File system and number.
    identity: (u64, u64),
}

impl Level {
    fn new(dir: SourceDir) -> io::Result<Self> {
        let stat = dir.stat()?;
        Ok(Self { dir: Some(dir), identity: (stat.dev, stat.ino) })
    }
}

impl Descent {
    /// Starts in a folder.
    pub fn new(start: SourceDir) -> io::Result<Self> {
        Ok(Self { levels: vec![Level::new(start)?] })
    }

    /// The folder where we are.
    pub fn here(&self) -> io::Result<&SourceDir> {
        self.levels.last().and_then(|level| level.dir.as_ref()).ok_or_else(|| Errno::STALE.into())
    }

    /// Levels below the start: 0 there.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.levels.len().saturating_sub(1)
    }

    /// Number of folders that are open.
    #[cfg(test)]
    pub(super) fn levels_open(&self) -> usize {
        self.levels.iter().filter(|level| level.dir.is_some()).count()
    }

    /// Goes down into a folder of this one; on failure we stay where we are.
    pub fn enter(&mut self, name: &[u8]) -> io::Result<()> {
        self.levels.push(Level::new(self.here()?.open_dir(name)?)?);
        if let Some(far) =
            self.levels.len().checked_sub(MOST_OPEN + 1).and_then(|far| self.levels.get_mut(far))
        {
            far.dir = None;
        }
        Ok(())
    }

    /// Goes up. Fails with `ESTALE` when the folder above has been moved away meanwhile: we are there all the same, and
    /// can only go further up. At the start this does nothing.
    pub fn leave(&mut self) -> io::Result<()> {
        if self.levels.len() < 2 {
            return Ok(());
        }
        let below = self.levels.pop().and_then(|level| level.dir);
        let Some(level) = self.levels.last_mut().filter(|level| level.dir.is_none()) else {
            return Ok(());
        };
        let below = below.ok_or(Errno::STALE)?;
        let above = Level::new(SourceDir::open_at(below.as_fd(), b"..", OFlags::empty())?)?;
        if above.identity != level.identity {
            return Err(Errno::STALE.into());
        }
        *level = above;
        Ok(())
    }
}

/// What an estimate leaves out: by path, kind and size.
pub type Skip<'s> = &'s dyn Fn(StoredPath, NodeKind, u64) -> bool;

/// Counts regular files and their bytes at and below some absolute paths, for the display of progress only: what cannot be
/// read is not counted, and nothing fails. What `skip` says of entries below the paths is left out. Stops early with what
/// it has when cancelled.
#[must_use]
pub fn estimate(paths: &[PathBuf], skip: Option<Skip<'_>>, cancel: &Cancel) -> (u64, u64) {
    let mut estimate = Estimate { skip, cancel, files: 0, bytes: 0 };
    for path in paths {
        match SourceDir::open(path).and_then(Descent::new) {
            Ok(descent) => {
                let path = StoredPath::from_fs(path).unwrap_or_else(StoredPath::root);
                estimate.count_below(descent, path);
            }
            Err(_) => {
                if let Ok(raw) = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
                    && let Ok(stat) = Stat::from_system(&raw)
                {
                    estimate.count(&stat);
                }
            }
        }
    }
    (estimate.files, estimate.bytes)
}

struct Estimate<'e> {
    skip: Option<Skip<'e>>,
    cancel: &'e Cancel,
    files: u64,
    bytes: u64,
}

impl Estimate<'_> {
    fn count_below(&mut self, mut descent: Descent, start: StoredPath) {
        // For each level its path and the folders that are still to be counted.
        let first = self.folders_here(&descent, &start);
        let mut waiting = vec![(start, first)];
        while let Some((path, folders)) = waiting.last_mut() {
            if self.cancel.is_cancelled() {
                return;
            }
            match folders.pop_front() {
                Some(name) => {
                    if descent.enter(&name).is_ok() {
                        // Without anything to skip nobody asks for the path.
                        let path = if self.skip.is_some() { path.join(&name) } else { StoredPath::root() };
                        let below = self.folders_here(&descent, &path);
                        waiting.push((path, below));
                    }
                }
                None => {
                    waiting.pop();
                    // A folder that was moved away fails here, and at each of the names that wait in it.
                    let _ = descent.leave();
                }
            }
        }
    }

    /// Counts the files of the folder where we are, and returns the names of its folders.
    fn folders_here(&mut self, descent: &Descent, path: &StoredPath) -> VecDeque<Vec<u8>> {
        let mut folders = VecDeque::new();
        let Ok(here) = descent.here() else { return folders };
        // What was counted before a failure still counts.
        let _ = here.list(|name, kind| {
            // Only where the listing does not tell the kind, and for sizes, the entry is looked at.
            let stat = match kind {
                Some(NodeKind::File) | None => here.stat_entry(name).ok(),
                Some(_) => None,
            };
            let kind = stat.map_or(kind, |stat| Some(stat.kind));
            let size = stat.map_or(0, |stat| stat.size);
            let skipped =
                self.skip.zip(kind).is_some_and(|(skip, kind)| skip(path.join(name.to_bytes()), kind, size));
            match (kind, stat) {
                _ if skipped => {}
                (Some(NodeKind::Dir), _) => folders.push_back(name.to_bytes().to_vec()),
                (_, Some(stat)) => self.count(&stat),
                _ => {}
            }
            !self.cancel.is_cancelled()
        });
        folders
    }

    fn count(&mut self, stat: &Stat) {
        if stat.kind == NodeKind::File {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(stat.size);
        }
    }
}
