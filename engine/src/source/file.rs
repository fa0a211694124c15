//! The content of one regular file: where its holes are, and its bytes.

use super::stat::Stat;
use super::{check_name, open_quietly};
use crate::model::NodeKind;
use rustix::fs::{Advice, AtFlags, OFlags, SeekFrom, fadvise, fstat, seek, statat};
use rustix::io::{Errno, pread, retry_on_intr};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Shorter holes are read as the zeroes that they are, in bytes.
const SHORTEST_HOLE: u64 = 64 * 1024;

/// Most holes of one file that are looked at; what lies behind them is read as data.
const MOST_HOLES: usize = 32768;

/// A stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Bytes to be read.
    Data {
        /// Where it starts.
        offset: u64,
        /// Its bytes.
        len: u64,
    },
    /// Nothing was ever written here: zeroes.
    Hole {
        /// Where it starts.
        offset: u64,
        /// Its bytes.
        len: u64,
    },
}

/// A regular file, open for reading.
#[derive(Debug)]
pub struct SourceFile {
    fd: OwnedFd,
}

impl SourceFile {
    /// Opens an entry of a folder if it is a regular file; see [`super::SourceDir::open_file`].
    pub(super) fn open(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<Self> {
        check_name(name)?;
        // Looked at before it is opened: opening a pipe wakes its writer, opening a device may do anything.
        let before = Stat::from_system(&statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?)?;
        must_be_file(&before)?;
        let file = Self { fd: open_quietly(folder, name, OFlags::NOFOLLOW)? };
        // And again, because another entry may have come under this name.
        must_be_file(&file.stat()?)?;
        Ok(file)
    }

    /// The metadata as it is now.
    pub fn stat(&self) -> io::Result<Stat> {
        Stat::from_system(&fstat(&self.fd)?)
    }

    /// Tells the system that the file will be read from start to end. A hint: failure means nothing.
    pub fn advise_sequential(&self) {
        let _ = fadvise(&self.fd, 0, None, Advice::Sequential);
    }

    /// The stretches of the first `size` bytes, in order and without gaps; holes below 64 KiB count as data.
    ///
    /// The file system is asked only where the file takes less room than its size. One that does not know says so, and
    /// the whole is one stretch of data. Nothing for a size of 0.
    pub fn segments(&self, size: u64) -> io::Result<Vec<Segment>> {
        let mut segments = Vec::new();
        let mut data_from = 0;
        let mut at = 0;
        let holes = if size > 0 && self.stat()?.may_have_holes() { MOST_HOLES } else { 0 };
        for _ in 0..holes {
            let Some((start, end)) = self.hole(at, size)? else { break };
            if end - start >= SHORTEST_HOLE {
                push(&mut segments, data_from, start);
                segments.push(Segment::Hole { offset: start, len: end - start });
                data_from = end;
            }
            at = end;
        }
        push(&mut segments, data_from, size);
        Ok(segments)
    }

    /// Start and end of the next hole at or after `at` and before `size`.
    fn hole(&self, at: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
        let Some(start) = self.next(SeekFrom::Hole(at))?.filter(|start| (at..size).contains(start)) else {
            return Ok(None);
        };
        let end = match self.next(SeekFrom::Data(start))? {
            Some(end) => end.min(size),
            // The hole reaches to the end of the file, if that is still where it was: what was cut off is no hole.
            None if self.stat()?.size >= size => size,
            None => start,
        };
        Ok((start < end).then_some((start, end)))
    }

    /// Asks for the next hole or data; `None` where there is none, or where the file system does not know.
    fn next(&self, from: SeekFrom) -> io::Result<Option<u64>> {
        match retry_on_intr(|| seek(&self.fd, from)) {
            Ok(offset) => Ok(Some(offset)),
            Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads `len` bytes from `offset` on; ends earlier where the file does. Readers of one file do not disturb each
    /// other.
    #[must_use]
    pub fn reader(&self, offset: u64, len: u64) -> Reader<'_> {
        Reader { fd: self.fd.as_fd(), offset, left: len }
    }
}

impl AsFd for SourceFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<SourceFile> for OwnedFd {
    fn from(file: SourceFile) -> Self {
        file.fd
    }
}

/// Adds the data from `start` to `end`, if there is any.
fn push(segments: &mut Vec<Segment>, start: u64, end: u64) {
    if start < end {
        segments.push(Segment::Data { offset: start, len: end - start });
    }
}

fn must_be_file(stat: &Stat) -> io::Result<()> {
    if stat.kind == NodeKind::File {
        return Ok(());
    }
    let why = format!("this is no regular file but a {}", stat.kind.name());
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// The bytes of a stretch of a file.
#[derive(Debug)]
pub struct Reader<'a> {
    fd: BorrowedFd<'a>,
    offset: u64,
    left: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let room = buf.get_mut(..most).unwrap_or_default();
        if room.is_empty() {
            return Ok(0);
        }
        let count = retry_on_intr(|| pread(self.fd, &mut *room, self.offset))?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
