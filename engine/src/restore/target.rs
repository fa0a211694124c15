//! The folder that gets the files: where it is, what it must not be, and how much room it has.

use crate::base::path::clean;
use crate::base::{Error, Kind, Result, StoredPath, Whose};
use crate::source::SourceDir;
use rustix::fs::statvfs;
use rustix::io::Errno;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// File system and number of a folder.
pub(super) type Identity = (u64, u64);

/// Largest block of a file system that is believed, in bytes.
const MOST_BLOCK: u64 = 1 << 20;

/// The target as it was found.
#[derive(Debug)]
pub(super) struct Place {
    /// Absolute, without links.
    pub(super) path: PathBuf,
    /// The deepest folder of it that is there.
    pub(super) base: PathBuf,
    /// None if the target itself is still to be made.
    pub(super) existing: Option<Identity>,
}

/// A path for people.
pub(super) fn shown(path: &Path) -> String {
    clean(path.as_os_str().as_bytes()).into_owned()
}

impl Place {
    /// Finds the deepest folder of a path that is there. What is to be made must hold no `..`.
    pub(super) fn find(target: &Path) -> Result<Self> {
        let refused =
            |kind, why: &str| Error::new(kind, "restore into", shown(target)).because(why.to_owned());
        let mut missing = Vec::new();
        let mut at = target;
        loop {
            match here(at).canonicalize() {
                Ok(base) => {
                    let found = base
                        .metadata()
                        .map_err(|e| Error::io("look at", shown(&base), e).of(Whose::Target))?;
                    if !found.is_dir() {
                        return Err(refused(Kind::AlreadyThere, "a file is there, and no folder"));
                    }
                    let path = missing.iter().rev().fold(base.clone(), |path, name| path.join(name));
                    let existing = missing.is_empty().then_some((found.dev(), found.ino()));
                    return Ok(Self { path, base, existing });
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("look at", shown(at), e).of(Whose::Target)),
            }
            if here(at).symlink_metadata().is_ok() {
                return Err(refused(Kind::AlreadyThere, "a link that leads nowhere is there"));
            }
            let (Some(above), Some(Component::Normal(name))) = (at.parent(), at.components().next_back())
            else {
                return Err(refused(Kind::Usage, "the path holds `..` behind folders that are not there"));
            };
            missing.push(name);
            at = above;
        }
    }

    /// Refuses a target that is the repository or lies in it; gives back which folder that is. A target may hold the
    /// repository, as a home does: then nothing may come into that folder, and nothing of it may go.
    pub(super) fn keep_out_of(&self, repository: &Path) -> Result<Identity> {
        let looking = |e| Error::io("look at", shown(repository), e);
        let inner = repository.canonicalize().map_err(looking)?;
        let own = inner.metadata().map(|found| (found.dev(), found.ino())).map_err(looking)?;
        // A folder can be reached under two paths, through bind mounts.
        let identity = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
        let by_identity = self.base.ancestors().any(|path| identity(path) == Some(own));
        if by_identity || self.path.starts_with(&inner) {
            return Err(Error::new(Kind::Usage, "restore into", shown(&self.path))
                .because(format!("it lies in the repository at {}", shown(&inner))));
        }
        Ok(own)
    }

    /// What the file system has free for this user.
    pub(super) fn free(&self) -> Result<Free> {
        let failed = |e: Errno| Error::io("look at", shown(&self.base), e.into()).of(Whose::Target);
        let free = statvfs(&self.base).map_err(failed)?;
        // Some blocks are kept for the superuser.
        let blocks = if rustix::process::geteuid().is_root() { free.f_bfree } else { free.f_bavail };
        Ok(Free {
            bytes: blocks.saturating_mul(free.f_frsize),
            entries: (free.f_files > 0).then_some(free.f_favail),
            block: free.f_frsize.clamp(1, MOST_BLOCK),
        })
    }
}

/// What a file system has free.
#[derive(Clone, Copy, Debug)]
pub(super) struct Free {
    pub(super) bytes: u64,
    /// None where it does not count them.
    pub(super) entries: Option<u64>,
    /// Bytes that it gives out at once.
    pub(super) block: u64,
}

/// The path itself, or the current folder for the empty path.
fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Opens the target; makes it, with the folders above, if it was not there when the plan was made. Only we may enter a
/// folder that is closed: its mode is set later.
pub(super) fn open(path: &Path, existing: Option<Identity>, closed: bool) -> Result<SourceDir> {
    let failed = |act: &'static str| move |e| Error::io(act, shown(path), e).of(Whose::Target);
    if existing.is_none() {
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above).map_err(failed("make the folders above"))?;
        }
        let mode = if closed { 0o700 } else { 0o777 };
        std::fs::DirBuilder::new().mode(mode).create(path).map_err(failed("make folder"))?;
    }
    let dir = SourceDir::open(path).map_err(failed("open folder"))?;
    if existing.is_some_and(|known| identity(&dir).is_ok_and(|now| now != known)) {
        return Err(Error::new(Kind::Usage, "restore into", shown(path))
            .because("another folder took its place since the plan was made"));
    }
    Ok(dir)
}

/// File system and number of an open folder.
pub(super) fn identity(dir: &SourceDir) -> Result<Identity> {
    let stat = dir.stat().map_err(|e| Error::io("look at", "the target", e).of(Whose::Target))?;
    Ok((stat.dev, stat.ino))
}

/// The files and folders of these paths, as far as they are there.
pub(super) fn identities(paths: &[PathBuf]) -> Vec<Identity> {
    paths.iter().filter_map(|path| path.metadata().ok()).map(|found| (found.dev(), found.ino())).collect()
}

/// Refuses what is no single name: the decoder of trees lets none through, and nothing else stands before the system.
pub(super) fn check_name(name: &[u8], path: &StoredPath) -> Result<()> {
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(Error::damaged("restore", path, "its name is none"));
    }
    Ok(())
}

/// Makes the error of a failed call on an entry. A file too large for the file system says nothing of the others.
pub(super) fn failed(act: &'static str, path: &StoredPath) -> impl FnOnce(io::Error) -> Error {
    move |e| {
        let only_this = e.kind() == io::ErrorKind::FileTooLarge;
        let error = Error::io(act, path, e).of(Whose::Target);
        if only_this { error.with_kind(Kind::Io) } else { error }
    }
}
