//! L2: who owns what is stored. New files are like the config, so that whoever can use the repository still can after a
//! run of another user: root, or a member of its group.

use crate::sys::{Ownership, open_folder_below};
use rustix::fs::{AtFlags, FileType, statat};
use std::fs::File;
use std::io;

/// Modes of the files and folders of a group's repository: new folders get its group.
const GROUP_FILE: u32 = 0o660;
const GROUP_FOLDER: u32 = 0o2770;
const OWN_FILE: u32 = 0o600;
const OWN_FOLDER: u32 = 0o700;
/// What objects may allow: they are never executed, and whoever may write them may read them.
const FILE_MASK: u32 = 0o666;
/// What folders may allow: nobody but owner and group can delete objects.
const FOLDER_MASK: u32 = 0o2775;

/// Owners and modes of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owners {
    /// Of new files.
    pub(super) files: Ownership,
    /// Of new folders.
    pub(super) folders: Ownership,
}

impl Owners {
    /// Those of the repository in this folder. Without a config, what is right for a new one.
    pub(super) fn of(root: &File) -> io::Result<Self> {
        let mode = (Ownership::of(root)?.mode & FOLDER_MASK) | OWN_FOLDER;
        let files = match config_of(root) {
            Some(config) => Ownership { mode: (config.mode & FILE_MASK) | OWN_FILE, ..config },
            None => Ownership::inherited(root, OWN_FILE)?,
        };
        Ok(Self { files, folders: Ownership { mode, ..files } })
    }

    /// Those of a new repository for a group, to which the repository's own folder is given.
    pub(super) fn of_group(root: &File, gid: u32) -> io::Result<Self> {
        let uid = Ownership::of(root)?.uid;
        let folders = Ownership { uid, gid, mode: GROUP_FOLDER };
        folders.give(root)?;
        if Ownership::of(root)? != folders {
            let why = "only a member of the group can, and only where the file system has owners";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok(Self { files: Ownership { mode: GROUP_FILE, ..folders }, folders })
    }
}

/// That of the config, or else of its second copy. One that cannot be looked at is told by whoever reads it.
fn config_of(root: &File) -> Option<Ownership> {
    let second = || of_file(&open_folder_below(root, b"mirror").ok()?, "config");
    of_file(root, "config").or_else(second)
}

fn of_file(folder: &File, name: &str) -> Option<Ownership> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    is_file.then_some(Ownership { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 })
}
