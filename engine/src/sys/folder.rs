//! L1: opening, creating and flushing folders.

use super::Ownership;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a folder by its path; links are the user's way to name it and are followed.
pub fn open_folder(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?.into())
}

/// Opens a folder in a folder; anything else there, a link too, is `NotADirectory`.
pub fn open_folder_below(parent: &File, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match retry_on_intr(|| rustix::fs::openat(parent, name, flags, Mode::empty())) {
        Ok(folder) => Ok(folder.into()),
        Err(Errno::LOOP) => Err(io::ErrorKind::NotADirectory.into()),
        Err(e) => Err(e.into()),
    }
}

/// Opens a folder in a folder, and creates it before if it is missing. One that cannot be given to its owner is removed.
pub fn create_folder(parent: &File, name: &[u8], owner: &Ownership) -> io::Result<File> {
    match open_folder_below(parent, name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    match retry_on_intr(|| rustix::fs::mkdirat(parent, name, Mode::RWXU)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return open_folder_below(parent, name),
        Err(e) => return Err(e.into()),
    }
    let folder = open_folder_below(parent, name)?;
    // Whoever may rename here could have put another folder there meanwhile: that one is not ours to give away.
    if Ownership::of(&folder)?.uid != rustix::process::geteuid().as_raw() {
        return Ok(folder);
    }
    if let Err(e) = owner.give(&folder) {
        // Empty, or it stays.
        let _already_failing = rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
        return Err(e);
    }
    Ok(folder)
}

/// Creates a folder and its missing parents with this mode, and makes their entries durable; existing ones stay as they
/// are. What root creates below a folder of another user belongs to that user. Opens the folder.
pub fn create_folders(path: &Path, mode: u32) -> io::Result<File> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<_> = path.ancestors().take_while(is_missing).collect();
    for folder in missing.into_iter().rev() {
        let parent = open_folder(parent_of(folder))?;
        let Some(name) = folder.file_name() else { continue };
        create_folder(&parent, name.as_encoded_bytes(), &Ownership::inherited(&parent, mode)?)?;
        flush_folder(&parent)?;
    }
    open_folder(path)
}

/// Makes a folder's entries durable. Some file systems flush no folders and say so: there is nothing to do there.
pub fn flush_folder(folder: &File) -> io::Result<()> {
    match retry_on_intr(|| rustix::fs::fsync(folder)) {
        Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// The folder of a path.
#[must_use]
pub fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
