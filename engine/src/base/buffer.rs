//! Bytes that start at a page of memory, as writing past the cache of the kernel demands.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};

/// Memory is taken in multiples of so many bytes: rows of about the same length fit into what was taken for the first.
const STEP: usize = 1 << 20;

/// A growing row of bytes whose first one has an address that is a multiple of [`PageBuffer::ALIGNMENT`]. Keeps its
/// memory when it is cleared, so that it serves for one object after the other.
#[derive(Default)]
pub struct PageBuffer {
    memory: Vec<u8>,
    /// Where the bytes start in it.
    start: usize,
    len: usize,
}

impl PageBuffer {
    /// What the address is a multiple of, in bytes: 4 KiB, a block of nearly every disk and file system.
    pub const ALIGNMENT: usize = 4096;

    /// One without bytes and memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for so many bytes more.
    pub fn reserve(&mut self, more: usize) {
        let wanted = self.len + more;
        if self.memory.len() - self.start >= wanted {
            return;
        }
        if self.len == 0 {
            // Before there is new memory, so that there is never twice as much.
            self.memory = Vec::new();
        }
        let mut memory = vec![0; (wanted + Self::ALIGNMENT).next_multiple_of(STEP)];
        let start = memory.as_ptr().align_offset(Self::ALIGNMENT).min(Self::ALIGNMENT);
        if let Some(to) = memory.get_mut(start..start + self.len) {
            to.copy_from_slice(self);
        }
        (self.memory, self.start) = (memory, start);
    }

    /// Appends bytes and says where they stand.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> Range<usize> {
        // Twice the memory, so that many short rows cost no more than one long one.
        if self.memory.len() - self.start < self.len + bytes.len() {
            self.reserve(bytes.len().max(self.len));
        }
        let place = self.len..self.len + bytes.len();
        self.len = place.end;
        if let Some(to) = self.get_mut(place.clone()) {
            to.copy_from_slice(bytes);
        }
        place
    }

    /// Takes all bytes away and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl Deref for PageBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.len).unwrap_or_default()
    }
}

impl DerefMut for PageBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.len).unwrap_or_default()
    }
}

impl fmt::Debug for PageBuffer {
    /// Without the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_a_vector_would_and_starts_at_a_page() {
        let (mut buffer, mut vector) = (PageBuffer::new(), Vec::new());
        for round in 0..3_usize {
            for len in [0, 1, 4095, 4096, 4097, 100_000, 3, 1 << 20] {
                let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + round) as u8).collect();
                let place = buffer.extend_from_slice(&bytes);
                vector.extend_from_slice(&bytes);
                assert_eq!(place, vector.len() - len..vector.len());
                assert!(*buffer == *vector);
                assert!(
                    vector.is_empty() || (buffer.as_ptr() as usize).is_multiple_of(PageBuffer::ALIGNMENT)
                );
            }
            buffer.reserve(round << 20);
            assert!(*buffer == *vector);
            buffer.clear();
            vector.clear();
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn memory_is_kept() {
        let mut buffer = PageBuffer::new();
        buffer.extend_from_slice(&[1; 100_000]);
        let address = buffer.as_ptr();
        buffer.clear();
        buffer.extend_from_slice(&[2; 100_000]);
        assert_eq!(buffer.as_ptr(), address);
    }
}
