//! zstd frames (RFC 8878) in the one form that is stored: a single frame that carries the length of its content, without
//! checksum (the seal does that) and without a dictionary's number.

use super::MAX_BLOB_LEN;
use crate::base::{Error, Kind, Result};
use std::fmt;
use std::ops::RangeInclusive;
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, ErrorCode, compress_bound};

/// Plaintexts from this length on are tried on samples first, in bytes.
const TRIAL_FROM: usize = 32 * 1024;

/// Bytes of one sample.
const SAMPLE_LEN: usize = 4 * 1024;

/// Places of the samples, in eighths of the plaintext.
const SAMPLE_PLACES: [usize; 3] = [1, 4, 7];

/// The level at which samples are packed: the fastest one that still packs literals (Base64 must not pass for media).
const TRIAL_LEVEL: i32 = 1;

/// The binary logarithm of the largest window that a frame may ask for: a plaintext and its base, 32 MiB together.
const MAX_WINDOW_LOG: u32 = 25;

/// The first bytes of a frame.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The first bytes of a trained dictionary.
const DICTIONARY: [u8; 4] = [0x37, 0xa4, 0x30, 0xec];

/// Packs plaintexts. One for each worker, because it keeps its tables.
pub struct Compressor {
    level: i32,
    whole: CCtx<'static>,
    samples: CCtx<'static>,
    /// Room for the worst result, kept between calls, so that results have exact capacity.
    scratch: Vec<u8>,
}

impl Compressor {
    /// From fast to small.
    pub const LEVELS: RangeInclusive<i32> = 1..=19;

    /// Takes a level from 1 (fast) to 19 (small); [`Kind::Usage`] for any other.
    pub fn new(level: i32) -> Result<Self> {
        if !Self::LEVELS.contains(&level) {
            return Err(Error::new(Kind::Usage, "use", format!("compression level {level}"))
                .because("levels are 1 to 19"));
        }
        Ok(Self { level, whole: context(level)?, samples: context(TRIAL_LEVEL)?, scratch: Vec::new() })
    }

    /// The level.
    #[must_use]
    pub fn level(&self) -> i32 {
        self.level
    }

    /// Packs a plaintext of at most [`MAX_BLOB_LEN`] bytes. `None` says: store it as it is, because a frame would not
    /// save 2 % and 64 bytes, or because samples of it hardly shrink (media; looking at them takes some 30 microseconds).
    pub fn compress(&mut self, plain: &[u8]) -> Result<Option<Vec<u8>>> {
        if plain.len() > MAX_BLOB_LEN as usize {
            return Err(Error::new(Kind::Internal, "compress", "a blob")
                .because(format!("it has {} bytes, the most is {MAX_BLOB_LEN}", plain.len())));
        }
        let saving = (plain.len() / 50).max(64);
        if plain.len() <= saving || (plain.len() >= TRIAL_FROM && !self.promises(plain)?) {
            return Ok(None);
        }
        let len = pack(&mut self.whole, plain, &mut self.scratch)?;
        let pays = len + saving <= plain.len();
        Ok(self.scratch.get(..len).filter(|_| pays).map(<[u8]>::to_vec))
    }

    /// True if samples of the plaintext shrink by 3 % in sum.
    fn promises(&mut self, plain: &[u8]) -> Result<bool> {
        let (mut before, mut after) = (0, 0);
        for place in SAMPLE_PLACES {
            let middle = plain.len() / 8 * place;
            let start = middle.saturating_sub(SAMPLE_LEN / 2);
            let sample = plain.get(start..start + SAMPLE_LEN).unwrap_or_default();
            before += sample.len();
            after += pack(&mut self.samples, sample, &mut self.scratch)?;
        }
        Ok(after * 100 <= before * 97)
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("level", &self.level).finish_non_exhaustive()
    }
}

/// A context that writes frames of the stored form.
fn context(level: i32) -> Result<CCtx<'static>> {
    let failed = |why: &str| Error::new(Kind::Internal, "set up", "compression").because(why.to_owned());
    let mut context = CCtx::try_create().ok_or_else(|| failed("out of memory"))?;
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ] {
        context.set_parameter(parameter).map_err(|code| failed(zstd_safe::get_error_name(code)))?;
    }
    Ok(context)
}

/// Packs `plain` into `scratch`, whose earlier bytes go, and returns the length of the frame.
fn pack(context: &mut CCtx<'_>, plain: &[u8], scratch: &mut Vec<u8>) -> Result<usize> {
    scratch.clear();
    scratch.reserve(compress_bound(plain.len()));
    context.compress2(scratch, plain).map_err(failed_to_compress)
}

pub(super) fn failed_to_compress(code: ErrorCode) -> Error {
    Error::new(Kind::Internal, "compress", "a blob").because(zstd_safe::get_error_name(code))
}

/// Unpacks frames. One for each worker, because it keeps its tables.
pub struct Decompressor {
    context: DCtx<'static>,
}

impl Decompressor {
    /// Sets up a decoder; [`Kind::Internal`] if there is no memory for it.
    pub fn new() -> Result<Self> {
        Ok(Self { context: decoder()? })
    }

    /// Unpacks one frame whose plaintext has exactly `plain_len` bytes; `base` is the plaintext that it rests on.
    ///
    /// [`Kind::Damaged`] for everything else: another length, bytes after the frame, a frame of another form than the
    /// stored one, a length above [`MAX_BLOB_LEN`]. Never sets aside more than `plain_len` bytes for the result, and
    /// nothing for a window. A frame has no checksum: altered bytes may unpack to another plaintext of that length,
    /// which the seal and the blob's name tell.
    pub fn decompress(&mut self, frame: &[u8], plain_len: u32, base: Option<&[u8]>) -> Result<Vec<u8>> {
        check_form(frame, plain_len).map_err(damaged)?;
        let mut plain = Vec::with_capacity(plain_len as usize);
        let unpacked = match base {
            None => self.context.decompress(&mut plain, frame),
            // As a prefix it would be borrowed for as long as the context lives; a context of its own costs more than many
            // a delta. The other way, which takes bytes that look like a trained dictionary for one, is the same for all
            // that do not.
            Some(base) if base.starts_with(&DICTIONARY) => {
                let mut context = decoder()?;
                context.ref_prefix(base).and_then(|_| context.decompress(&mut plain, frame))
            }
            Some(base) => self.context.decompress_using_dict(&mut plain, frame, base),
        };
        let len = unpacked.map_err(|code: ErrorCode| damaged(zstd_safe::get_error_name(code)))?;
        if len != plain_len as usize || plain.len() != len {
            return Err(damaged("its plaintext has another length than recorded"));
        }
        Ok(plain)
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

fn decoder() -> Result<DCtx<'static>> {
    let failed = |why: &str| Error::new(Kind::Internal, "set up", "decompression").because(why.to_owned());
    let mut context = DCtx::try_create().ok_or_else(|| failed("out of memory"))?;
    context
        .set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))
        .map_err(|code| failed(zstd_safe::get_error_name(code)))?;
    Ok(context)
}

fn damaged(why: &str) -> Error {
    Error::damaged("decompress", "a blob", why)
}

/// Looks at the frame's header before anything is unpacked.
///
/// The decoder's own limit of the window holds for streaming only, and it would unpack several frames, or skip some:
/// what is stored must be readable by any decoder with [`MAX_WINDOW_LOG`], and have one form.
fn check_form(frame: &[u8], plain_len: u32) -> std::result::Result<(), &'static str> {
    if plain_len > MAX_BLOB_LEN {
        return Err("its recorded length is above the limit");
    }
    let (Some((&MAGIC, rest)), Some(content)) =
        (frame.split_first_chunk::<4>(), zstd_safe::get_frame_content_size(frame).ok().flatten())
    else {
        return Err("it is no zstd frame that carries its length");
    };
    // Descriptor: 2 bits for the length's form, single segment, unused, reserved, checksum, 2 bits for the dictionary.
    let descriptor = rest.first().copied().unwrap_or(u8::MAX);
    if descriptor & 0b0001_1111 != 0 {
        return Err("its zstd frame has another form than the stored one");
    }
    // Without the bit of a single segment a byte follows: 5 bits of exponent above 2^10, and 3 bits of eighths of that.
    let window = rest.get(1).copied().unwrap_or(u8::MAX);
    let largest = u8::try_from((MAX_WINDOW_LOG - 10) << 3).unwrap_or(u8::MAX);
    if descriptor & 0b0010_0000 == 0 && window > largest {
        return Err("its zstd frame asks for too large a window");
    }
    if content != u64::from(plain_len) {
        return Err("its plaintext has another length than recorded");
    }
    match zstd_safe::find_frame_compressed_size(frame) {
        Ok(len) if len == frame.len() => Ok(()),
        Ok(_) => Err("bytes follow its zstd frame"),
        Err(code) => Err(zstd_safe::get_error_name(code)),
    }
}
