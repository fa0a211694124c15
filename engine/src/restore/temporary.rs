//! Temporary names: every entry that replaces another gets its own name by renaming, once it is whole.

use super::target::failed;
use crate::base::id::to_hex;
use crate::base::{Error, Kind, Result, StoredPath, Timestamp};
use crate::crypto::secret::random_bytes;
use crate::model::NodeKind;
use crate::repo::Session;
use crate::source::SourceDir;
use rustix::fs::{AtFlags, RenameFlags, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Temporary names that are tried.
const TRIES: usize = 8;
/// Folders in which entries are made at the same time, at most.
const TURNS: usize = 32;
/// Beginning and end of temporary names.
const PREFIX: &str = ".chatvault-";
const SUFFIX: &str = ".tmp";

/// The temporary names of one run: they tell which process gave them, and cannot be guessed.
#[derive(Debug)]
pub(super) struct Names {
    beginning: String,
    next: AtomicU64,
    turn: Turn,
}

/// Who makes or renames an entry, by folder. The kernel lets one at a time do that in a folder, and has the others turn in
/// circles on their processors meanwhile, a tenth of a restore's time; here they sleep.
#[derive(Debug, Default)]
struct Turn([Mutex<()>; TURNS]);

impl Turn {
    /// The files of a folder come with one descriptor of it; two folders seldom have to share a turn.
    fn take(&self, folder: BorrowedFd<'_>) -> MutexGuard<'_, ()> {
        let [first, ..] = &self.0;
        let number = usize::try_from(folder.as_raw_fd()).unwrap_or(0) % TURNS;
        self.0.get(number).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    pub(super) fn new(session: &Session) -> Result<Self> {
        let client = &session.client;
        let random = to_hex(&random_bytes::<8>()?);
        let beginning = format!("{PREFIX}{}-{}-{random}-", client.pid, client.process_started);
        Ok(Self { beginning, next: AtomicU64::new(0), turn: Turn::default() })
    }

    /// Makes an entry under a temporary name of a folder.
    pub(super) fn make<'f, T>(
        &'f self,
        folder: BorrowedFd<'f>,
        make: impl Fn(&str) -> rustix::io::Result<T>,
    ) -> io::Result<(Temporary<'f>, T)> {
        let mut last = Errno::EXIST;
        for _ in 0..TRIES {
            let name = format!("{}{}{SUFFIX}", self.beginning, self.next.fetch_add(1, Ordering::Relaxed));
            let made = {
                let _turn = self.turn.take(folder);
                make(&name)
            };
            match made {
                Ok(made) => {
                    return Ok((Temporary { folder, name, renamed: false, turn: &self.turn }, made));
                }
                Err(e @ (Errno::EXIST | Errno::INTR)) => last = e,
                Err(e) => return Err(e.into()),
            }
        }
        Err(last.into())
    }
}

/// The process that gave a temporary name, by number and start time.
fn giver(name: &[u8]) -> Option<(u32, u64)> {
    let name = std::str::from_utf8(name).ok()?;
    let mut parts = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split('-');
    let giver = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let is_ours = parts.next()?.len() == 16 && parts.next()?.parse::<u64>().is_ok() && parts.next().is_none();
    is_ours.then_some(giver)
}

/// Removes what killed restores left in a folder: entries under their temporary names that belong to this user, are older
/// than this run, and whose process is gone. Nothing else can be concluded from a failure, so it is not told.
pub(super) fn remove_leftovers(folder: &SourceDir, session: &Session, begun: Timestamp) {
    let Ok(entries) = folder.entries() else { return };
    let user = rustix::process::geteuid().as_raw();
    for entry in entries {
        let (Some((pid, started)), Ok(stat)) = (giver(&entry.name), &entry.stat) else { continue };
        let is_left = stat.kind != NodeKind::Dir && stat.uid == user && stat.ctime < begun;
        if is_left && !(session.is_alive)(pid, started) {
            let _ = unlinkat(folder, entry.name.as_slice(), AtFlags::empty());
        }
    }
}

/// True for a name that only a restore gives.
pub(super) fn is_temporary(name: &[u8]) -> bool {
    giver(name).is_some()
}

/// An entry under a temporary name, removed unless it is renamed.
#[derive(Debug)]
pub(super) struct Temporary<'f> {
    folder: BorrowedFd<'f>,
    name: String,
    renamed: bool,
    turn: &'f Turn,
}

impl Temporary<'_> {
    pub(super) fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// Gives the entry its name, if nothing has that name.
    pub(super) fn name_new(mut self, name: &[u8], path: &StoredPath) -> Result<()> {
        let renamed = {
            let _turn = self.turn.take(self.folder);
            rename_new(self.folder, self.name.as_bytes(), name)
        };
        renamed.map_err(|e| occupied(e, path))?;
        self.renamed = true;
        Ok(())
    }

    /// Gives the entry its name; what had that name, and is no folder, is gone then.
    pub(super) fn name_over(mut self, name: &[u8], path: &StoredPath) -> Result<()> {
        let renamed = {
            let _turn = self.turn.take(self.folder);
            renameat(self.folder, self.name.as_str(), self.folder, name)
        };
        renamed.map_err(|e| failed("replace", path)(e.into()))?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // The restore of this entry has failed already, and says so.
            let _ = unlinkat(self.folder, self.name.as_str(), AtFlags::empty());
        }
    }
}

/// Renames within a folder unless the new name is taken.
pub(super) fn rename_new(folder: impl AsFd, from: &[u8], to: &[u8]) -> rustix::io::Result<()> {
    let folder = folder.as_fd();
    match renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        // The file system cannot refuse to replace: we look before.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            match statat(folder, to, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => renameat(folder, from, folder, to),
                Err(e) => Err(e),
            }
        }
        other => other,
    }
}

/// The error of a name that could not be given.
pub(super) fn occupied(errno: Errno, path: &StoredPath) -> Error {
    if errno == Errno::EXIST {
        Error::new(Kind::AlreadyThere, "write", path).because("something of this name has come meanwhile")
    } else {
        failed("write", path)(errno.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_temporary_names_are_known() {
        assert_eq!(giver(b".chatvault-12-345-0123456789abcdef-7.tmp"), Some((12, 345)));
        for other in [
            &b".chatvault-12-345-0123456789abcdef-7"[..],
            b"chatvault-12-345-0123456789abcdef-7.tmp",
            b".chatvault-12-345-7.tmp",
            b".chatvault-x-345-0123456789abcdef-7.tmp",
            b".chatvault-12-345-0123-7.tmp",
            b".chatvault-12-345-0123456789abcdef-7-8.tmp",
            b".chatvault-\xff.tmp",
        ] {
            assert!(!is_temporary(other));
        }
    }
}
