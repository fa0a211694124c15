//! Cut points that depend on the content alone, so that an insertion changes the chunks around it only.
//!
//! Source of the algorithm: Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based
//! Storage Systems" (2020), as the `fastcdc` crate has it, with normalisation level 1 and a table of our own.

use crate::base::{Error, Kind, Result};
use ::fastcdc::v2020::{
    AVERAGE_MAX, AVERAGE_MIN, MAXIMUM_MAX, MAXIMUM_MIN, MINIMUM_MAX, MINIMUM_MIN, Normalization, cut_gear,
    select_masks,
};
use std::fmt;

/// Lengths of chunks, in bytes, all even.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkerParams {
    /// No chunk but the last one of a content is shorter.
    pub min: u32,
    /// Up to here a cut is less likely than after it.
    pub avg: u32,
    /// No chunk is longer.
    pub max: u32,
}

impl Default for ChunkerParams {
    /// 512 KiB, 1 MiB, 4 MiB. Bytes below the least length are not looked at: with 256 KiB cutting takes more time, and what it
    /// would find in addition are changes within photos and videos, which seldom change.
    fn default() -> Self {
        Self { min: 512 * 1024, avg: 1024 * 1024, max: 4 * 1024 * 1024 }
    }
}

impl ChunkerParams {
    /// Refuses with [`Kind::Usage`] what the algorithm cannot do: odd lengths (it tests two bytes at a time), lengths
    /// that do not ascend, and lengths out of its limits.
    pub fn check(&self) -> Result<()> {
        let within = |len: u32, low: usize, high: usize| (low..=high).contains(&(len as usize));
        let why = if [self.min, self.avg, self.max].iter().any(|len| len % 2 != 0) {
            "the lengths must be even"
        } else if !(self.min < self.avg && self.avg < self.max) {
            "the least, the average and the greatest length must ascend"
        } else if !within(self.min, MINIMUM_MIN, MINIMUM_MAX) {
            "the least length must be 64 bytes to 1 MiB"
        } else if !within(self.avg, AVERAGE_MIN, AVERAGE_MAX) {
            "the average length must be 256 bytes to 4 MiB"
        } else if !within(self.max, MAXIMUM_MIN, MAXIMUM_MAX) {
            "the greatest length must be 1 KiB to 16 MiB"
        } else {
            return Ok(());
        };
        let subject = format!("chunk lengths of {}, {} and {} bytes", self.min, self.avg, self.max);
        Err(Error::new(Kind::Usage, "use", subject).because(why))
    }
}

/// Finds cut points. The table follows from a secret, so that lengths of chunks do not tell which known file was cut.
pub struct Chunker {
    params: ChunkerParams,
    gear: Box<[u64; 256]>,
    /// The table with each word shifted left by one, for the first byte of each pair.
    gear_shifted: Box<[u64; 256]>,
    /// The mask below the average length.
    strict: u64,
    /// The mask above it.
    loose: u64,
}

impl Chunker {
    /// Takes lengths and table; refuses lengths as [`ChunkerParams::check`] does.
    pub fn new(params: ChunkerParams, gear: Box<[u64; 256]>) -> Result<Self> {
        params.check()?;
        let gear_shifted = Box::new(gear.map(|word| word << 1));
        let (strict, loose) = select_masks(params.avg as usize, Normalization::Level1);
        Ok(Self { params, gear, gear_shifted, strict, loose })
    }

    /// The lengths.
    #[must_use]
    pub fn params(&self) -> ChunkerParams {
        self.params
    }

    /// Bytes of the next chunk, which starts where `data` does; `at_end` says that nothing follows `data`. `None` when
    /// more bytes are needed (fewer than the greatest length and not at the end), and for nothing at the end.
    #[must_use]
    pub fn cut(&self, data: &[u8], at_end: bool) -> Option<usize> {
        let max = self.params.max as usize;
        if data.is_empty() || (data.len() < max && !at_end) {
            return None;
        }
        let (_, len) = cut_gear(
            data,
            self.params.min as usize,
            self.params.avg as usize,
            max,
            self.strict,
            self.loose,
            self.strict << 1,
            self.loose << 1,
            self.gear.as_slice(),
            self.gear_shifted.as_slice(),
        );
        Some(len)
    }
}

impl fmt::Debug for Chunker {
    /// Without the table, which follows from a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunker").field("params", &self.params).finish_non_exhaustive()
    }
}
