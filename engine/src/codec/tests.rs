//! Round trips, hostile frames, and what is left as it is.

use super::*;
use crate::base::{Kind, Result, hash};
use proptest::prelude::*;
use zstd_safe::{CCtx, CParameter};

/// The first bytes of a frame.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    hash::derive_bytes("chatvault test data", &[&seed.to_le_bytes()], &mut bytes);
    bytes
}

/// Lines as in a chat: shrink well, and no two are alike.
fn text(len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 64);
    for (i, byte) in noise(99, len / 16 + 1).iter().enumerate() {
        let word = ["tomorrow", "photo", "see you", "no, the other one"][usize::from(*byte) % 4];
        out.extend_from_slice(format!("{i} +{byte}: {word}\n").as_bytes());
    }
    out.truncate(len);
    out
}

fn delta(plain: &[u8], base: &[u8]) -> Vec<u8> {
    compress_against(plain, base, &mut Decompressor::new().unwrap()).unwrap()
}

#[test]
fn every_level_gives_back_the_plaintext_in_less_room() {
    let (plain, mut unpack) = (text(100_000), Decompressor::new().unwrap());
    for level in 1..=19 {
        let frame = Compressor::new(level).unwrap().compress(&plain).unwrap().unwrap();
        assert!(frame.len() < plain.len() / 2);
        assert_eq!(frame.capacity(), frame.len());
        assert!(unpack.decompress(&frame, 100_000, None).unwrap() == plain);
    }
}

#[test]
fn levels_out_of_range_are_refused() {
    for level in [i32::MIN, -1, 0, 20, 22, i32::MAX] {
        assert_eq!(Compressor::new(level).unwrap_err().kind(), Kind::Usage);
    }
}

#[test]
fn what_does_not_pay_is_left_as_it_is() {
    let mut compressor = Compressor::new(3).unwrap();
    for plain in [vec![], vec![0; 64], vec![7; 65], noise(1, 1000), noise(2, 40_000), noise(3, 1_000_000)] {
        assert_eq!(compressor.compress(&plain).unwrap(), None);
    }
    assert!(compressor.compress(&[7; 1000]).unwrap().is_some());
}

#[test]
fn a_trial_that_promises_nothing_spares_the_rest() {
    // Zeroes everywhere but at the three places that are looked at: packing the whole would have paid.
    let mut plain = vec![0; 800_000];
    for place in [100_000, 400_000, 700_000] {
        plain[place - 2048..place + 2048].copy_from_slice(&noise(4, 4096));
    }
    assert_eq!(Compressor::new(3).unwrap().compress(&plain).unwrap(), None);
}

#[test]
fn base64_passes_the_trial() {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let plain: Vec<u8> = noise(5, 200_000).iter().map(|byte| letters[usize::from(byte % 64)]).collect();
    assert!(Compressor::new(3).unwrap().compress(&plain).unwrap().unwrap().len() < 160_000);
}

#[test]
fn more_than_the_limit_is_refused_on_both_sides() {
    let error = Compressor::new(1).unwrap().compress(&vec![0; MAX_BLOB_LEN as usize + 1]).unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    let mut frame = Vec::with_capacity(10_000);
    zstd_safe::compress(&mut frame, &vec![0; MAX_BLOB_LEN as usize + 1], 1).unwrap();
    let error = Decompressor::new().unwrap().decompress(&frame, MAX_BLOB_LEN + 1, None).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
}

#[test]
fn only_the_recorded_length_is_accepted() {
    let frame = Compressor::new(3).unwrap().compress(&text(5000)).unwrap().unwrap();
    let mut unpack = Decompressor::new().unwrap();
    for len in [0, 1, 4999, 5001, MAX_BLOB_LEN, u32::MAX] {
        assert_eq!(unpack.decompress(&frame, len, None).unwrap_err().kind(), Kind::Damaged);
    }
    assert!(unpack.decompress(&frame, 5000, None).is_ok());
}

#[test]
fn other_forms_of_frames_are_refused() {
    let (plain, mut unpack) = (text(5000), Decompressor::new().unwrap());
    let good = Compressor::new(3).unwrap().compress(&plain).unwrap().unwrap();
    let with = |parameters: &[CParameter]| {
        let mut context = CCtx::create();
        for parameter in parameters {
            context.set_parameter(*parameter).unwrap();
        }
        let mut frame = Vec::with_capacity(10_000);
        context.compress2(&mut frame, &plain).unwrap();
        frame
    };
    assert!(unpack.decompress(&with(&[CParameter::ChecksumFlag(false)]), 5000, None).is_ok());
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9], &good[..]].concat();
    for bad in [
        with(&[CParameter::ChecksumFlag(true)]),
        with(&[CParameter::ContentSizeFlag(false)]),
        [&good[..], &[0]].concat(),
        [&good[..], &good[..]].concat(),
        skippable,
        Vec::new(),
    ] {
        assert_eq!(unpack.decompress(&bad, 5000, None).unwrap_err().kind(), Kind::Damaged);
    }
}

#[test]
fn a_window_above_the_limit_is_refused() {
    // Magic, a descriptor with 4 bytes of length, window, length 3, one last raw block of 3 bytes.
    let frame =
        |window: u8| [&MAGIC[..], &[0b1000_0000, window, 3, 0, 0, 0, 0b0001_1001, 0, 0], b"abc"].concat();
    let mut unpack = Decompressor::new().unwrap();
    assert_eq!(unpack.decompress(&frame(15 << 3), 3, None).unwrap(), b"abc");
    for window in [(15 << 3) + 1, 16 << 3, 21 << 3] {
        let error = unpack.decompress(&frame(window), 3, None).unwrap_err();
        assert!(error.full_text().ends_with("too large a window"));
    }
}

#[test]
fn a_delta_needs_its_base_and_is_small() {
    let base = noise(6, 65536);
    let mut plain = base.clone();
    plain[30_000..30_100].copy_from_slice(&noise(7, 100));
    let mut unpack = Decompressor::new().unwrap();
    let frame = compress_against(&plain, &base, &mut unpack).unwrap();
    assert!(frame.len() < 300);
    assert_eq!(frame.capacity(), frame.len());
    assert!(unpack.decompress(&frame, 65536, Some(&base)).unwrap() == plain);
    for wrong in [None, Some(&[][..]), Some(&base[1..])] {
        assert!(unpack.decompress(&frame, 65536, wrong).map_or(true, |other| other != plain));
    }
    // The decoder of whole frames is untouched by all that.
    let whole = Compressor::new(3).unwrap().compress(&text(999)).unwrap().unwrap();
    assert_eq!(unpack.decompress(&whole, 999, None).unwrap(), text(999));
}

/// A base may begin as a trained dictionary does: it is a prefix like any other, and its context is nobody's after it.
#[test]
fn a_base_that_looks_like_a_dictionary_is_a_prefix() {
    let (mut base, mut unpack) = (text(100_000), Decompressor::new().unwrap());
    base[..4].copy_from_slice(&[0x37, 0xa4, 0x30, 0xec]);
    let plain = [&base[1000..], b"and more"].concat();
    let frame = compress_against(&plain, &base, &mut unpack).unwrap();
    assert!(frame.len() < 200, "{}", frame.len());
    for _ in 0..2 {
        let len = u32::try_from(plain.len()).unwrap();
        assert!(unpack.decompress(&frame, len, Some(&base)).unwrap() == plain);
        assert!(unpack.decompress(&frame, len, None).is_err_and(|e| e.kind() == Kind::Damaged));
    }
}

#[test]
fn a_delta_reaches_back_over_the_whole_base() {
    // What is new is found at the far end of the base, for the shortest and the longest blobs.
    for len in [1 << 10, 64 << 10, 1 << 20, MAX_BLOB_LEN as usize] {
        let base = noise(8, len);
        let mut plain = noise(9, len / 2);
        plain.extend_from_slice(&base[..len / 2]);
        let mut unpack = Decompressor::new().unwrap();
        let frame = compress_against(&plain, &base, &mut unpack).unwrap();
        assert!(frame.len() < len * 55 / 100, "{} of {len}", frame.len());
    }
}

#[test]
fn any_two_lengths_make_a_delta() {
    let mut unpack = Decompressor::new().unwrap();
    for (plain, base) in [(0, 0), (0, 9), (9, 0), (1, 70_000), (70_000, 1), (65_536, 32_768)] {
        let (plain, base) = (text(plain), noise(10, base));
        let frame = compress_against(&plain, &base, &mut unpack).unwrap();
        assert!(unpack.decompress(&frame, plain.len() as u32, Some(&base)).unwrap() == plain);
    }
    let long = vec![0; MAX_BLOB_LEN as usize + 1];
    assert_eq!(compress_against(&long, b"", &mut unpack).unwrap_err().kind(), Kind::Internal);
    assert_eq!(compress_against(b"", &long, &mut unpack).unwrap_err().kind(), Kind::Internal);
}

#[test]
fn the_longest_delta_reaches_across_the_whole_base() {
    let base = noise(8, MAX_BLOB_LEN as usize);
    let mut plain = base.clone();
    plain.rotate_left(1000);
    let frame = delta(&plain, &base);
    assert!(frame.len() < plain.len() / 100);
    assert!(Decompressor::new().unwrap().decompress(&frame, MAX_BLOB_LEN, Some(&base)).unwrap() == plain);
}

/// True if the result is an error that blames the data, or a plaintext of exactly the recorded length and room.
fn harmless(result: &Result<Vec<u8>>, len: usize) -> bool {
    match result {
        Ok(plain) => plain.len() == len && plain.capacity() <= len,
        Err(error) => error.kind() == Kind::Damaged,
    }
}

#[test]
fn a_frame_cut_short_is_refused_at_every_length() {
    let (plain, mut unpack) = (text(5000), Decompressor::new().unwrap());
    let base = text(6000);
    let whole = Compressor::new(3).unwrap().compress(&plain).unwrap().unwrap();
    for (frame, base) in [(whole, None), (delta(&noise(9, 5000), &base), Some(&base[..]))] {
        for len in 0..frame.len() {
            let error = unpack.decompress(&frame[..len], 5000, base).unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged);
        }
    }
}

#[test]
fn flipped_bytes_do_no_harm() {
    let (plain, base) = (text(20_000), text(30_000));
    let mut unpack = Decompressor::new().unwrap();
    let whole = Compressor::new(3).unwrap().compress(&plain).unwrap().unwrap();
    let mut refused = 0;
    for (frame, base) in [(whole, None), (delta(&plain[7..], &base), Some(&base[..]))] {
        let len = 20_000 - if base.is_some() { 7 } else { 0 };
        assert!(unpack.decompress(&frame, len, base).is_ok());
        for flip in noise(10, 8 * 2000).as_chunks::<8>().0 {
            let mut bad = frame.clone();
            let place = u32::from_le_bytes([flip[0], flip[1], flip[2], flip[3]]) as usize % frame.len();
            bad[place] ^= flip[4].max(1);
            let result = unpack.decompress(&bad, len, base);
            assert!(harmless(&result, len as usize), "byte {place}");
            refused += usize::from(result.is_err());
        }
        assert!(
            unpack.decompress(&frame, len, base).is_ok(),
            "a refused frame leaves no trace in the decoder"
        );
    }
    assert!(refused > 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_packed_comes_back(seed in any::<u32>(), head in 0_usize..60_000, tail in 0_usize..60_000) {
        let plain = [noise(seed, head), text(tail)].concat();
        if let Some(frame) = Compressor::new(3).unwrap().compress(&plain).unwrap() {
            prop_assert!(frame.len() + 64.max(plain.len() / 50) <= plain.len());
            let len = u32::try_from(plain.len()).unwrap();
            prop_assert!(Decompressor::new().unwrap().decompress(&frame, len, None).unwrap() == plain);
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), len in 0_u32..100_000) {
        let frame = [&MAGIC[..], &bytes].concat();
        let mut unpack = Decompressor::new().unwrap();
        prop_assert!(harmless(&unpack.decompress(&frame, len, None), len as usize));
        prop_assert!(harmless(&unpack.decompress(&bytes, len, Some(&frame)), len as usize));
    }
}
