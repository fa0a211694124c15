//! L2: single calls of the file system, relative to open folders. The only place of the store that knows the platform.

use crate::base::Timestamp;
use crate::sys::open_folder_below;
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, pread, retry_on_intr};
use std::fs::File;
use std::io::{self, Read};

/// Bytes that are compared at a time.
const COMPARE_LEN: usize = 128 * 1024;

/// The folder of an object below a folder, and the object's name in it.
pub(super) fn folder_of<'n>(root: &File, name: &'n str) -> io::Result<(File, &'n str)> {
    let (folders, last) = name.rsplit_once('/').unwrap_or(("", name));
    let mut folder = root.try_clone()?;
    for segment in folders.split('/').filter(|segment| !segment.is_empty()) {
        folder = open_folder_below(&folder, segment.as_bytes())?;
    }
    Ok((folder, last))
}

/// Lets the kernel forget what it has of a file, so that the next read asks the disk. A hint: it may not be followed.
pub(super) fn forget_cached(file: &File) {
    let _only_a_hint = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// The number of the user to whom a file or folder belongs.
pub(super) fn owner(folder: &File, name: &str) -> io::Result<u32> {
    Ok(retry_on_intr(|| rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW))?.st_uid)
}

/// Opens a plain file for reading and tells its length; whatever else stands there, a link too, is `IsADirectory`.
pub(super) fn open_file(folder: &File, name: &str) -> io::Result<(File, u64)> {
    // Without NONBLOCK a named pipe would stop us for ever.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| rustix::fs::openat(folder, name, flags, Mode::empty())) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP | Errno::NXIO) => return Err(io::ErrorKind::IsADirectory.into()),
        Err(e) => return Err(e.into()),
    };
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata.len())) } else { Err(io::ErrorKind::IsADirectory.into()) }
}

/// Length and time of a plain file.
pub(super) fn stat_file(folder: &File, name: &str) -> io::Result<(u64, Timestamp)> {
    match look(folder, name.as_bytes())? {
        Look::File { size, modified } => Ok((size, modified)),
        Look::Folder | Look::Special => Err(io::ErrorKind::IsADirectory.into()),
    }
}

/// What stands under a name.
pub(super) enum Look {
    File { size: u64, modified: Timestamp },
    Folder,
    Special,
}

/// Looks at a name without following it.
pub(super) fn look(folder: &File, name: &[u8]) -> io::Result<Look> {
    let stat = retry_on_intr(|| rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW))?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            Look::File { size: u64::try_from(stat.st_size).unwrap_or(0), modified: modified(&stat) }
        }
        FileType::Directory => Look::Folder,
        _ => Look::Special,
    })
}

/// The types of these fields differ between platforms.
#[expect(clippy::useless_conversion, reason = "the fields have other types elsewhere")]
fn modified(stat: &Stat) -> Timestamp {
    Timestamp::new(i64::from(stat.st_mtime), u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

/// The names in a folder, sorted; `.` and `..` left out.
pub(super) fn entries(folder: &File) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a name from a folder.
pub(super) fn unlink(folder: &File, name: &[u8]) -> io::Result<()> {
    Ok(retry_on_intr(|| rustix::fs::unlinkat(folder, name, AtFlags::empty()))?)
}

/// Bytes that this user can still write.
pub(super) fn free_space(folder: &File) -> io::Result<u64> {
    let stat = retry_on_intr(|| rustix::fs::fstatvfs(folder))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A buffer of this length; an error, not an abort, where memory lacks.
pub(super) fn buffer(len: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// Reads a file that was `size` bytes long when it was opened.
pub(super) fn read_all(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = buffer(size)?;
    let mut reader = file;
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads a stretch of a file, into memory that nobody fills with zeroes first.
pub(super) fn read_range(file: &File, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    while bytes.len() < len {
        let at = offset + bytes.len() as u64;
        match pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    // There may have been more room than was asked for.
    bytes.truncate(len);
    Ok(bytes)
}

/// What stands under the name of an object that is to be written.
pub(super) enum Existing {
    None,
    Same(File),
    Other,
}

/// Compares what stands under a name with the bytes that should: first the length, then the content.
pub(super) fn compare(folder: &File, name: &str, bytes: &[u8]) -> io::Result<Existing> {
    let (mut file, size) = match open_file(folder, name) {
        Ok(opened) => opened,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Existing::None),
        Err(e) if e.kind() == io::ErrorKind::IsADirectory => return Ok(Existing::Other),
        Err(e) => return Err(e),
    };
    if size != bytes.len() as u64 {
        return Ok(Existing::Other);
    }
    let mut buffer = vec![0; COMPARE_LEN.min(bytes.len())];
    for piece in bytes.chunks(COMPARE_LEN) {
        let there = buffer.get_mut(..piece.len()).unwrap_or_default();
        match file.read_exact(there) {
            Ok(()) if *there == *piece => {}
            Ok(()) => return Ok(Existing::Other),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(Existing::Other),
            Err(e) => return Err(e),
        }
    }
    Ok(Existing::Same(file))
}
