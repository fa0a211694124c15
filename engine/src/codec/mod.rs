//! L1: how the plaintext of a blob is packed before it is sealed: as it is, as a zstd frame, or as a zstd frame that
//! rests on the plaintext of another blob. Which one was used stands beside the blob (`model::CodecTag`).

mod delta;
pub mod media;
pub mod zstd;

pub use delta::compress_against;
pub use zstd::{Compressor, Decompressor};

/// Most bytes of a blob's plaintext: 16 MiB. Nothing longer is packed, and no reader sets aside more for one blob.
pub const MAX_BLOB_LEN: u32 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
