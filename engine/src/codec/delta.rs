//! Deltas: a zstd frame that has the plaintext of another blob, its base, as prefix. What both have in common costs a few
//! bytes in the frame.

use super::zstd::failed_to_compress;
use super::{Decompressor, MAX_BLOB_LEN};
use crate::base::{Error, Kind, Result};
use zstd_safe::{CCtx, CParameter, compress_bound};

/// The level for deltas: docs/design/0002-page-runs.md has what other levels cost and save.
const LEVEL: i32 = 3;

/// Up to here the match finder's tables cover plaintext and base together, in bytes; beyond that it would not find what
/// lies far back.
const SHORT: usize = 256 << 10;

/// Packs a plaintext as a difference to `base`, and proves that it comes back: frames are rare enough for that, and
/// whoever verifies the pack later need not read the base again.
///
/// # Errors
/// [`Kind::Internal`] if either is longer than [`MAX_BLOB_LEN`], or if the frame does not give back the plaintext.
pub fn compress_against(plain: &[u8], base: &[u8], unpack: &mut Decompressor) -> Result<Vec<u8>> {
    let failed = |why: &str| Error::new(Kind::Internal, "compress", "a delta").because(why.to_owned());
    let longest = plain.len().max(base.len());
    if longest > MAX_BLOB_LEN as usize {
        return Err(failed("it or its base is longer than any blob"));
    }
    let mut context = CCtx::try_create().ok_or_else(|| failed("out of memory"))?;
    let both = (plain.len() + base.len()).max(1024).next_power_of_two();
    for parameter in [
        CParameter::CompressionLevel(LEVEL),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
        // The window must reach back over the whole of both, or the base is of no use.
        CParameter::WindowLog(both.ilog2()),
        CParameter::EnableLongDistanceMatching(both > SHORT),
    ] {
        context.set_parameter(parameter).map_err(failed_to_compress)?;
    }
    context.ref_prefix(base).map_err(failed_to_compress)?;
    let mut frame = Vec::with_capacity(compress_bound(plain.len()));
    context.compress2(&mut frame, plain).map_err(failed_to_compress)?;
    frame.shrink_to_fit();
    let plain_len = u32::try_from(plain.len()).map_err(|_| failed("it is longer than any blob"))?;
    if unpack.decompress(&frame, plain_len, Some(base))? != plain {
        return Err(failed(
            "it does not come back as it was: memory or processor of this machine may be faulty",
        ));
    }
    Ok(frame)
}
