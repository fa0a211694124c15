//! The pieces of a content that arrives through a reader, in bounded memory.

use super::Cutting;
use std::fmt;
use std::io::{self, ErrorKind, Read};

/// Least room that a read is given, in bytes: 1 MiB.
const READ_LEN: usize = 1024 * 1024;

/// Iterator over the pieces of a content, one owned vector each, of exact capacity.
///
/// Holds one buffer of twice the longest piece, but at least that piece and 1 MiB. After the end, and after an error,
/// nothing follows.
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
        let longest = cutting.max_len();
        let needed = longest + READ_LEN.max(longest);
        if buffer.len() < needed {
            // A fresh one: the system hands out zeroed memory page by page, as it is touched.
            buffer = vec![0; needed];
        }
        Self { reader, cutting, buffer, start: 0, end: 0, at_end: false }
    }

    /// The buffer, for the pieces of the next content.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Reads until a longest piece is there, or the content ends.
    fn fill(&mut self) -> io::Result<()> {
        let wanted = self.cutting.max_len();
        while !self.at_end && self.end - self.start < wanted {
            // Rare, because a read may take more than one piece.
            if self.buffer.len() - self.end < READ_LEN.max(wanted) {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
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
