//! The pieces of a content that arrives through a reader, in bounded memory.

use super::Cutting;
use std::fmt;
use std::io::{self, ErrorKind, Read};

/// Least room that a read is given, in bytes: 1 MiB. The first one into a fresh buffer has [`FIRST_LEN`].
const READ_LEN: usize = 1024 * 1024;

/// Bytes of a fresh buffer: most files end within it, and zeroing a whole one would cost more than cutting them.
const FIRST_LEN: usize = 256 * 1024;

/// Iterator over the pieces of a content, one owned vector each, of exact capacity.
///
/// Holds one buffer of at most twice the longest piece, or that piece and 1 MiB if that is more. After the end, and
/// after an error, nothing follows.
pub struct Pieces<R> {
    reader: R,
    cutting: Cutting,
    buffer: Vec<u8>,
    /// What was read and not yet yielded is `buffer[start..end]`.
    start: usize,
    end: usize,
    at_end: bool,
}

impl<R: Read> Pieces<R> {
    /// Takes a reader that stands at the start of the content.
    pub fn new(reader: R, cutting: Cutting) -> Self {
        Self::with_buffer(reader, cutting, Vec::new())
    }

    /// As [`Self::new`], with the buffer of earlier pieces ([`Self::into_buffer`]), whose bytes are not looked at.
    pub fn with_buffer(reader: R, cutting: Cutting, mut buffer: Vec<u8>) -> Self {
        if buffer.len() < FIRST_LEN {
            buffer = vec![0; FIRST_LEN];
        }
        Self { reader, cutting, buffer, start: 0, end: 0, at_end: false }
    }

    /// The buffer, for the pieces of the next content.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Sees to it that a read has room, by growing the buffer to its full length, or by moving what is held to its head.
    fn make_room(&mut self, wanted: usize) {
        let step = READ_LEN.max(wanted);
        let whole = step + wanted;
        let room = self.buffer.len() - self.end;
        // A short buffer is filled up first: most contents end within it.
        if room >= step || (room > 0 && self.buffer.len() < whole) {
            return;
        }
        let held = self.start..self.end;
        self.start = 0;
        self.end = held.len();
        if self.buffer.len() < whole {
            let mut grown = vec![0; whole];
            if let (Some(to), Some(from)) = (grown.get_mut(..self.end), self.buffer.get(held)) {
                to.copy_from_slice(from);
            }
            self.buffer = grown;
        } else {
            // Rare, because a read may take several pieces.
            self.buffer.copy_within(held, 0);
        }
    }

    /// Reads until a longest piece is there, or the content ends.
    fn fill(&mut self) -> io::Result<()> {
        let wanted = self.cutting.max_len();
        while !self.at_end && self.end - self.start < wanted {
            self.make_room(wanted);
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            let most = room.len();
            match self.reader.read(room) {
                Ok(0) => self.at_end = true,
                Ok(count) => self.end += count.min(most),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Pieces<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(e) = self.fill() {
            self.at_end = true;
            self.start = self.end;
            return Some(Err(e));
        }
        let held = self.buffer.get(self.start..self.end)?;
        let piece = held.get(..self.cutting.cut(held, self.at_end)?)?.to_vec();
        self.start += piece.len();
        Some(Ok(piece))
    }
}

impl<R> fmt::Debug for Pieces<R> {
    /// Without the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces")
            .field("cutting", &self.cutting)
            .field("at_end", &self.at_end)
            .finish_non_exhaustive()
    }
}
