//! L1: who owns a new file or folder.
//!
//! A program that runs as root creates files for other users: with `sudo`, or from root's table of timed commands. Such a
//! file must belong to the user whose files are around it, or that user can no longer read it.

use rustix::fs::{Gid, Mode, Uid, fchmod, fchown, fstat};
use rustix::io::{Errno, retry_on_intr};
use std::fs::File;
use std::io;

/// Bits of a mode that say who may do what.
const MODE: u32 = 0o7777;
/// What the group may do.
const GROUP: u32 = 0o070;

/// Who owns a file or folder, and who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Number of the user.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    /// Permissions, with the bits for set-user-ID, set-group-ID and restricted deletion.
    pub mode: u32,
}

impl Ownership {
    /// That of an open file or folder.
    pub fn of(file: &File) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & MODE })
    }

    /// What is right for something new in this folder that is for its owner only, except that the mode is `mode`. What
    /// root creates in a folder of another user belongs to that user; everything else stays with whoever creates it.
    pub fn inherited(folder: &File, mode: u32) -> io::Result<Self> {
        let there = Self::of(folder)?;
        let (uid, gid) = match rustix::process::geteuid() {
            root if root.is_root() && there.uid != 0 => (there.uid, there.gid),
            own => (own.as_raw(), new_group(&there)),
        };
        Ok(Self { uid, gid, mode })
    }

    /// Gives a new file or folder to its owner, then sets its mode. No call is made for what is right already: where the
    /// file system has no owners, or no modes, everything looks alike.
    ///
    /// Only root can give a file to another user. For everybody else the file stays their own; if it cannot even get the
    /// group, the permissions of the group are left out.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] if this is root, and the file system does not let root give files away.
    pub fn give(&self, file: &File) -> io::Result<()> {
        let found = Self::of(file)?;
        let mut mode = self.mode;
        if rustix::process::geteuid().is_root() {
            if (found.uid, found.gid) != (self.uid, self.gid) {
                let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
                retry_on_intr(|| fchown(file, Some(uid), Some(gid))).map_err(|e| self.refused(e))?;
            }
        } else if found.gid != self.gid
            && retry_on_intr(|| fchown(file, None, Some(Gid::from_raw(self.gid)))).is_err()
        {
            mode &= !GROUP;
        }
        if Self::of(file)?.mode == mode {
            return Ok(());
        }
        match retry_on_intr(|| fchmod(file, Mode::from_raw_mode(mode))) {
            // Whoever made the file may change its mode, unless the file system has none.
            Ok(()) | Err(Errno::PERM | Errno::NOTSUP | Errno::INVAL) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn refused(&self, e: Errno) -> io::Error {
        match e {
            Errno::PERM | Errno::ACCESS | Errno::NOTSUP | Errno::INVAL => {
                let why = format!(
                    "root cannot give files there to their owner (user {}, group {}); run this as that user",
                    self.uid, self.gid
                );
                io::Error::new(io::ErrorKind::PermissionDenied, why)
            }
            e => e.into(),
        }
    }
}

/// The group of what this user creates in a folder.
fn new_group(folder: &Ownership) -> u32 {
    const SET_GROUP: u32 = 0o2000;
    if folder.mode & SET_GROUP != 0 { folder.gid } else { rustix::process::getegid().as_raw() }
}
