//! L1: files that are being written. A file gets its own name when it is complete and durable, and never replaces another.

use super::Ownership;
use crate::base::id::to_hex;
use crate::base::past_cache::write_past_cache;
use crate::crypto::random_bytes;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};
use std::fs::File;
use std::io::{self, Write};

/// Beginning of the names of files that are being written.
const TEMPORARY: &str = ".tmp-";

/// True for names that [`Temporary`] gives.
#[must_use]
pub fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(TEMPORARY.as_bytes())
        .is_some_and(|rest| rest.len() == 16 && rest.iter().all(u8::is_ascii_hexdigit))
}

/// How a finished file gets its name without replacing another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `renameat2` with `RENAME_NOREPLACE`.
    RenameNoReplace,
    /// A hard link, then the temporary name goes.
    Link,
    /// A look, then a rename: for file systems that know neither. Two writers may both win, with the bytes of one.
    LookAndRename,
}

/// Whether a finished file got its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It did, this way.
    By(Way),
    /// Another file has the name.
    NameTaken,
}

impl Way {
    /// Best first.
    pub const ALL: [Self; 3] = [Self::RenameNoReplace, Self::Link, Self::LookAndRename];
}

/// A complete, flushed file under a temporary name; removed when it is dropped before it got its own.
#[derive(Debug)]
pub struct Temporary<'f> {
    folder: &'f File,
    name: String,
    is_published: bool,
}

impl<'f> Temporary<'f> {
    /// Writes a new file, gives it to its owner, and flushes it. One whose flush fails is given up.
    ///
    /// # Errors
    /// Among others as [`Ownership::give`].
    pub fn write(folder: &'f File, bytes: &[u8], owner: &Ownership) -> io::Result<Self> {
        let random: [u8; 8] = random_bytes().map_err(io::Error::other)?;
        let name = format!("{TEMPORARY}{}", to_hex(&random));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = retry_on_intr(|| rustix::fs::openat(folder, name.as_str(), flags, mode))?;
        let temporary = Self { folder, name, is_published: false };
        let mut file = File::from(file);
        // Before anything is in it.
        owner.give(&file)?;
        let written = write_past_cache(&file, bytes)?;
        file.write_all(bytes.get(written..).unwrap_or_default())?;
        let len = file.metadata()?.len();
        if len != bytes.len() as u64 {
            return Err(io::Error::other(format!(
                "{} bytes were written, and the file has {len}",
                bytes.len()
            )));
        }
        file.sync_all()?;
        Ok(temporary)
    }

    /// Gives the file its own name, unless another file has it. Tries the ways in turn until the file system knows
    /// one. The folder is not flushed yet.
    pub fn publish(mut self, name: &[u8], ways: &[Way]) -> io::Result<Published> {
        let mut last = Errno::NOSYS;
        for way in ways {
            match self.publish_by(*way, name) {
                Ok(()) => {
                    self.is_published = *way != Way::Link;
                    return Ok(Published::By(*way));
                }
                Err(Errno::EXIST) => return Ok(Published::NameTaken),
                Err(e @ (Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM | Errno::MLINK)) => {
                    last = e;
                }
                Err(e) => return Err(e.into()),
            }
        }
        Err(last.into())
    }

    fn publish_by(&self, way: Way, name: &[u8]) -> rustix::io::Result<()> {
        let (folder, from) = (self.folder, self.name.as_bytes());
        match way {
            Way::RenameNoReplace => retry_on_intr(|| {
                rustix::fs::renameat_with(folder, from, folder, name, RenameFlags::NOREPLACE)
            }),
            Way::Link => retry_on_intr(|| rustix::fs::linkat(folder, from, folder, name, AtFlags::empty())),
            Way::LookAndRename => {
                match retry_on_intr(|| rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)) {
                    Ok(_) => Err(Errno::EXIST),
                    Err(Errno::NOENT) => retry_on_intr(|| rustix::fs::renameat(folder, from, folder, name)),
                    Err(e) => Err(e),
                }
            }
        }
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.is_published {
            // What cannot be removed now is found by its name later.
            let _ = retry_on_intr(|| rustix::fs::unlinkat(self.folder, self.name.as_str(), AtFlags::empty()));
        }
    }
}
