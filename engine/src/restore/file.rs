//! One file: under a temporary name, checked as a whole, then renamed. Whatever fails, no part of it stays.

use super::Metadata;
use super::target::{check_name, failed, set_metadata};
use crate::base::id::to_hex;
use crate::base::{Cancel, Counter, Error, Kind, Observer, Result, StoredPath};
use crate::browse::{ContentReader, Piece};
use crate::crypto::secret::random_bytes;
use crate::model::Node;
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, ftruncate, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

/// Permission bits of a file that are set: none that lend an owner's rights.
const FILE_MODE: u32 = 0o777;
/// Temporary names that are tried.
const TRIES: usize = 8;

/// Restores a file into an open folder. The result tells why times or permissions could not be set.
///
/// # Errors
/// [`Kind::AlreadyThere`] if something of this name has come meanwhile; [`Kind::Damaged`] if the content is not what was
/// stored. Nothing of the file stays then.
pub(super) fn restore(
    reader: &ContentReader<'_>,
    folder: BorrowedFd<'_>,
    node: &Node,
    path: &StoredPath,
    stop: &Cancel,
    observer: &dyn Observer,
) -> Result<Option<std::io::Error>> {
    check_name(&node.name, path)?;
    let mut temporary = Temporary::create(folder, path)?;
    let file = &temporary.file;
    let mut offset = 0u64;
    let mut written = 0u64;
    reader.for_each_piece(node, stop, &mut |piece| {
        let len = match piece {
            Piece::Hole(len) => len,
            Piece::Data(bytes) => {
                file.write_all_at(&bytes, offset).map_err(failed("write", path))?;
                written = offset + bytes.len() as u64;
                bytes.len() as u64
            }
        };
        offset = offset.saturating_add(len);
        observer.add(Counter::Bytes, len);
        Ok(())
    })?;
    if written < node.size {
        ftruncate(file, node.size).map_err(|e| failed("write", path)(e.into()))?;
    }
    let unset = Metadata::of(node).and_then(|metadata| set_metadata(file, metadata, FILE_MODE).err());
    temporary.rename(&node.name, path)?;
    Ok(unset)
}

/// A file under a temporary name, removed unless it is renamed.
struct Temporary<'a> {
    folder: BorrowedFd<'a>,
    name: String,
    file: File,
    renamed: bool,
}

impl<'a> Temporary<'a> {
    fn create(folder: BorrowedFd<'a>, path: &StoredPath) -> Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut result = Err(Errno::EXIST);
        for _ in 0..TRIES {
            let name = format!(".chatvault-{}.tmp", to_hex(&random_bytes::<8>()?));
            result = retry_on_intr(|| openat(folder, name.as_str(), flags, Mode::from_raw_mode(0o600)));
            match result {
                Err(Errno::EXIST) => {}
                Ok(fd) => return Ok(Self { folder, name, file: File::from(fd), renamed: false }),
                Err(_) => break,
            }
        }
        let errno = result.err().unwrap_or(Errno::EXIST);
        Err(failed("write", path)(errno.into()))
    }

    /// Gives the file its name, if nothing has that name.
    fn rename(&mut self, name: &[u8], path: &StoredPath) -> Result<()> {
        let done = renameat_with(self.folder, self.name.as_str(), self.folder, name, RenameFlags::NOREPLACE);
        let done = match done {
            // The file system cannot refuse to replace: we look before.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                match statat(self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(_) => Err(Errno::EXIST),
                    Err(Errno::NOENT) => renameat(self.folder, self.name.as_str(), self.folder, name),
                    Err(e) => Err(e),
                }
            }
            other => other,
        };
        done.map_err(|e| occupied(e, path))?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // The restore of this file has failed already, and says so.
            let _ = unlinkat(self.folder, self.name.as_str(), AtFlags::empty());
        }
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

/// Makes a further name of a file. False if the file system cannot.
pub(super) fn link(
    from: impl AsFd,
    from_name: &[u8],
    to: impl AsFd,
    to_name: &[u8],
    path: &StoredPath,
) -> Result<bool> {
    check_name(to_name, path)?;
    match rustix::fs::linkat(from, from_name, to, to_name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(e @ (Errno::EXIST | Errno::NOSPC | Errno::DQUOT)) => Err(occupied(e, path)),
        Err(_) => Ok(false),
    }
}
