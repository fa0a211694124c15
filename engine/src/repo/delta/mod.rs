//! Deltas: which earlier blob a new one is stored as a difference to.
//!
//! The versions of one page run (or list page) make a chain. A full copy has generation 0, every delta one more than the
//! version before it. The base of generation g is generation g - B^z, where z is the number of trailing zeroes of g
//! written in base B: so the way back from any version has as many steps as the digits of its generation have in sum,
//! while most versions rest on the one just before, which resembles them most. (A skip list over versions, as in Pugh,
//! "Skip Lists", 1990, with fixed heights.) B is 16 for the first versions of a run, of which most have no more, and 8
//! for those that go on for long, where base 16 would have used up its depth.

use crate::base::{BlobId, Result};
use crate::catalog::BlobCopy;
use crate::codec::compress_against;
use crate::model::BlobKind;
use crate::repo::Repo;

/// The base B of the chain's numbers below, and from, generation 128 on; docs/design/0002-page-runs.md has what others
/// cost.
const SKIPS: (u16, u16) = (16, 8);
/// Where the one base gives way to the other.
const LONG: u16 = 128;
/// Deepest delta that is written: so many bases are read for it.
pub(crate) const MOST_DEPTH: u8 = 16;
/// A version of this generation is stored full, so that neither damage nor forgotten data live on for ever.
const MOST_GENERATIONS: u16 = 256;

/// What a delta rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The blob whose plaintext it needs.
    pub(crate) base: BlobId,
    /// One more than the depth of the base's shallowest copy.
    pub(crate) depth: u8,
    /// Versions since the last full copy.
    pub(crate) generation: u16,
}

/// The generation that the base of generation `generation` has.
fn base_generation(generation: u16) -> u16 {
    let skip = if generation < LONG { SKIPS.0 } else { SKIPS.1 };
    let mut step = 1;
    while generation > 0 && generation.is_multiple_of(step * skip) {
        step *= skip;
    }
    generation.saturating_sub(step)
}

impl Repo {
    /// A blob as a delta: what it rests on and its frame. None where there is nothing to rest on, where the chain is long
    /// enough, or where the base cannot be read: then the blob is stored full, which also mends what rests on damage.
    pub(crate) fn delta(
        &self,
        kind: BlobKind,
        previous: &BlobId,
        plain: &[u8],
    ) -> Result<Option<(Link, Vec<u8>)>> {
        let Some(link) = self.link(kind, previous)? else { return Ok(None) };
        let base = match self.read_blob(kind, &link.base) {
            Ok(base) => base,
            Err(e) if e.is_unreadable() => return Ok(None),
            Err(e) => return Err(e),
        };
        let frame = self.with_decompressor(|unpack| compress_against(plain, &base, unpack))?;
        Ok(Some((link, frame)))
    }

    /// What the version after `previous` rests on.
    fn link(&self, kind: BlobKind, previous: &BlobId) -> Result<Option<Link>> {
        let Some(mut at) = self.shallowest(kind, previous)? else { return Ok(None) };
        let generation = at.entry.generation.saturating_add(1);
        if generation >= MOST_GENERATIONS {
            return Ok(None);
        }
        let wanted = base_generation(generation);
        // Each step is to a shallower copy: so this ends, whatever the index says.
        while at.entry.generation > wanted || at.entry.depth >= MOST_DEPTH {
            let Some(base) = at.entry.base else { break };
            match self.shallowest(kind, &base)? {
                Some(copy) if copy.entry.depth < at.entry.depth => at = copy,
                _ => return Ok(None),
            }
        }
        let depth = at.entry.depth + 1;
        Ok((depth <= MOST_DEPTH).then_some(Link { base: at.entry.id, depth, generation }))
    }

    /// The copy of a blob that is read first.
    fn shallowest(&self, kind: BlobKind, id: &BlobId) -> Result<Option<BlobCopy>> {
        Ok(self.with_catalog(|catalog| catalog.copies(kind, id))?.into_iter().next())
    }
}

#[cfg(test)]
mod tests;
