//! One state of a database, put together from its main file and from pages that lie in its log or journal.

use super::overlay::Overlay;
use super::{SqliteHeader, read_full};
use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;

/// Called before each reading; an error ends it.
pub(super) type Watch<'a> = &'a dyn Fn() -> io::Result<()>;

/// One state of a database, readable in order or at any place while a capture holds it.
///
/// Nothing is copied: what is not in the log or journal is read from the main file when it is asked for. Whether the state
/// was one that the app committed is known only when [`super::capture::capture`] has returned.
pub struct Image<'a> {
    pub(super) main: BorrowedFd<'a>,
    /// Bytes of the main file that belong to the image.
    pub(super) main_len: u64,
    /// The log or journal, and the pages that are taken from there.
    pub(super) laid_over: Option<(BorrowedFd<'a>, &'a Overlay, u32)>,
    pub(super) len: u64,
    pub(super) watch: Watch<'a>,
    /// True once a file turned out to be shorter than it was a moment before.
    pub(super) is_cut: Cell<bool>,
    /// The write-ahead log and its bytes, if it is damaged.
    pub(super) damaged_log: Option<(BorrowedFd<'a>, u64)>,
    /// True for the log or journal of a database of which only the app knows how to put the two together.
    pub(super) is_log: bool,
}

impl<'a> Image<'a> {
    /// The bytes of the main file alone.
    pub(super) fn of_main(main: BorrowedFd<'a>, len: u64, watch: Watch<'a>) -> Self {
        Self {
            main,
            main_len: len,
            laid_over: None,
            len,
            watch,
            is_cut: Cell::new(false),
            damaged_log: None,
            is_log: false,
        }
    }

    /// The first bytes of a log or journal.
    pub(super) fn of_log(log: BorrowedFd<'a>, len: u64, watch: Watch<'a>) -> Self {
        Self { is_log: true, ..Self::of_main(log, len, watch) }
    }
}

impl Image<'_> {
    /// Bytes of the database in this state.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True for a log or journal, which is read after the main file where the two cannot be put together.
    #[must_use]
    pub fn is_log(&self) -> bool {
        self.is_log
    }

    /// True for a database without a single byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The header in this state; `None` for an encrypted database.
    pub fn header(&self) -> io::Result<Option<SqliteHeader>> {
        let mut first = [0; SqliteHeader::LEN];
        let count = self.read_at(&mut first, 0)?;
        Ok(SqliteHeader::parse(first.get(..count).unwrap_or_default()))
    }

    /// Fills the buffer from `offset` on; fewer bytes only where the image ends.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (self.watch)()?;
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let most = left.min(buf.len());
        let mut done = 0;
        while let Some(room) = buf.get_mut(done..most).filter(|room| !room.is_empty()) {
            done += self.read_stretch(room, offset + done as u64)?;
        }
        Ok(most)
    }

    /// Reads at least one byte, as far as one file has them in a row.
    fn read_stretch(&self, room: &mut [u8], at: u64) -> io::Result<usize> {
        let Some((other, overlay, page_size)) = self.laid_over else { return self.read_main(room, at) };
        let size = u64::from(page_size);
        let within = at % size;
        // No page has a number beyond these: an image is never longer than what 32 bits can count.
        let page = u32::try_from(at / size + 1).map_err(|_| self.changed())?;
        if let Some(content) = overlay.find(page) {
            let count = most(room, size - within);
            let wanted = room.get_mut(..count).unwrap_or_default();
            return if read_full(other, wanted, content + within)? == count {
                Ok(count)
            } else {
                Err(self.changed())
            };
        }
        let until = overlay.next(page).map_or(u64::MAX, |next| u64::from(next - 1) * size);
        let count = most(room, until - at);
        self.read_main(room.get_mut(..count).unwrap_or_default(), at)
    }

    /// The main file's bytes, and zeroes where it has none.
    fn read_main(&self, room: &mut [u8], at: u64) -> io::Result<usize> {
        if at >= self.main_len {
            room.fill(0);
            return Ok(room.len());
        }
        let count = most(room, self.main_len - at);
        let wanted = room.get_mut(..count).unwrap_or_default();
        if read_full(self.main, wanted, at)? == count { Ok(count) } else { Err(self.changed()) }
    }

    /// A file is shorter than it was a moment ago. The capture notices that and reads again.
    fn changed(&self) -> io::Error {
        self.is_cut.set(true);
        io::Error::new(io::ErrorKind::UnexpectedEof, "the database became shorter while it was read")
    }

    /// The bytes of a damaged write-ahead log: not all of what the app had committed is in this image.
    #[must_use]
    pub fn damaged_log(&self) -> Option<RawLog<'_>> {
        let (file, len) = self.damaged_log?;
        Some(RawLog { image: self, file, at: 0, len })
    }

    /// Reads the image from its first byte to its last.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader { image: self, at: 0 }
    }
}

impl fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("len", &self.len)
            .field("main_len", &self.main_len)
            .finish_non_exhaustive()
    }
}

fn most(room: &[u8], bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(room.len())
}

/// The bytes of an image in order.
#[derive(Debug)]
pub struct Reader<'a> {
    image: &'a Image<'a>,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.image.read_at(buf, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// The bytes of a write-ahead log as they lie.
#[derive(Debug)]
pub struct RawLog<'a> {
    image: &'a Image<'a>,
    file: BorrowedFd<'a>,
    at: u64,
    len: u64,
}

impl RawLog<'_> {
    /// Its bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True for a log without a single byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Read for RawLog<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (self.image.watch)()?;
        let room = most(buf, self.len - self.at);
        let wanted = buf.get_mut(..room).unwrap_or_default();
        let count = read_full(self.file, wanted, self.at)?;
        if count < wanted.len() {
            return Err(self.image.changed());
        }
        self.at += count as u64;
        Ok(count)
    }
}
