//! L1: where the content of a file is cut into blobs. Two rules: by content ([`fastcdc`]) for everything whose bytes
//! shift, and in aligned runs of a fixed length for databases, whose pages stay where they are.
//!
//! Cut points decide what deduplicates: the same bytes must be cut the same way by every version of this program, so
//! the tests pin them as numbers.

pub mod fastcdc;
mod pieces;

pub use fastcdc::{Chunker, ChunkerParams};
pub use pieces::Pieces;

use crate::base::{Error, Kind, Result};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The longest chunk that any parameters may lead to, in bytes: 16 MiB.
pub const MAX_CHUNK_LEN: u32 = 16 * 1024 * 1024;

/// Cutting in runs of a fixed length, aligned to the start of the file.
///
/// A run is a power of two and holds whole pages, whatever the page size of the database (SQLite: 512 bytes to 64 KiB). Its
/// length stands in the repository's config, 128 KiB in a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageRuns {
    run: u32,
}

impl PageRuns {
    /// Bytes that a run may have, if it is a power of two: 64 KiB to 1 MiB, in a repository's config too.
    pub const LENGTHS: RangeInclusive<u32> = 64 << 10..=1 << 20;

    /// True for a length that runs may have.
    #[must_use]
    pub fn is_length(run: u32) -> bool {
        run.is_power_of_two() && Self::LENGTHS.contains(&run)
    }

    /// Takes the length of a run in bytes; [`Kind::Usage`] unless it [may be one](Self::is_length).
    pub fn new(run: u32) -> Result<Self> {
        if Self::is_length(run) {
            return Ok(Self { run });
        }
        let (least, most) = Self::LENGTHS.into_inner();
        Err(Error::new(Kind::Usage, "use", format!("page runs of {run} bytes"))
            .because(format!("a run is a power of two from {least} to {most} bytes")))
    }

    /// Bytes of a run.
    #[must_use]
    pub fn run(self) -> u32 {
        self.run
    }
}

/// By which rule a content is cut.
#[derive(Clone, Debug)]
pub enum Cutting {
    /// By content, under the repository's table.
    Stream(Arc<Chunker>),
    /// In aligned runs.
    PageRuns(PageRuns),
}

impl Cutting {
    /// Bytes of the longest piece.
    #[must_use]
    pub fn max_len(&self) -> usize {
        match self {
            Self::Stream(chunker) => chunker.params().max as usize,
            Self::PageRuns(runs) => runs.run as usize,
        }
    }

    /// Bytes of the next piece, which starts where `data` does; `at_end` says that nothing follows `data`. `None` when
    /// more bytes are needed (fewer than [`Self::max_len`] and not at the end), and for nothing at the end.
    #[must_use]
    pub fn cut(&self, data: &[u8], at_end: bool) -> Option<usize> {
        match self {
            Self::Stream(chunker) => chunker.cut(data, at_end),
            Self::PageRuns(runs) => {
                let run = runs.run as usize;
                let enough = data.len() >= run || (at_end && !data.is_empty());
                enough.then_some(data.len().min(run))
            }
        }
    }
}

#[cfg(test)]
mod tests;
