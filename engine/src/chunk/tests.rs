//! What cutting promises, and the golden cut points.

use super::*;
use crate::base::hash;
use ::fastcdc::v2020::{FastCDC, Normalization, get_gear_with_seed, select_masks};
use proptest::prelude::*;
use std::io::{self, Read};

const SMALL: ChunkerParams = ChunkerParams { min: 4096, avg: 16384, max: 65536 };

/// Bytes that look random and are the same for ever.
fn stream(seed: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    hash::derive_bytes("chatvault test data", &[&seed.to_le_bytes()], &mut bytes);
    bytes
}

fn table() -> Box<[u64; 256]> {
    let mut bytes = [0; 2048];
    hash::derive_bytes("chatvault test gear table", &[b"golden"], &mut bytes);
    let mut words = Box::new([0; 256]);
    for (word, raw) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*raw);
    }
    words
}

fn runs() -> Cutting {
    Cutting::PageRuns(PageRuns::new(65536).unwrap())
}

fn small() -> Cutting {
    Cutting::Stream(Arc::new(Chunker::new(SMALL, table()).unwrap()))
}

fn lengths(cutting: &Cutting, mut data: &[u8]) -> Vec<usize> {
    let mut out = Vec::new();
    while let Some(len) = cutting.cut(data, true) {
        out.push(len);
        data = &data[len..];
    }
    out
}

/// The algorithm one byte at a time, as the paper states it.
fn plain_fastcdc(params: ChunkerParams, gear: &[u64; 256], data: &[u8]) -> usize {
    let (strict, loose) = select_masks(params.avg as usize, Normalization::Level1);
    let end = data.len().min(params.max as usize);
    let mut fingerprint = 0_u64;
    // The last byte of an odd rest is in no pair and is never tested.
    for i in params.min as usize..(end & !1) {
        fingerprint = (fingerprint << 1).wrapping_add(gear[data[i] as usize]);
        let mask = if i < (params.avg as usize).min(end) & !1 { strict } else { loose };
        if fingerprint & mask == 0 {
            return i;
        }
    }
    end
}

/// Returns 1 to `most` bytes at a time, and is interrupted now and then.
struct ShortReads<'a> {
    left: &'a [u8],
    most: usize,
    calls: usize,
}

impl Read for ShortReads<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(7) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = (1 + self.calls * 7919 % self.most).min(self.left.len()).min(buf.len());
        let (now, later) = self.left.split_at(len);
        buf[..len].copy_from_slice(now);
        self.left = later;
        Ok(len)
    }
}

#[test]
fn golden_cut_points_of_the_default_lengths() {
    let cutting = Cutting::Stream(Arc::new(Chunker::new(ChunkerParams::default(), table()).unwrap()));
    assert_eq!(
        lengths(&cutting, &stream(1, 8_000_000)),
        [1639046, 1682591, 1432141, 1698990, 1493086, 54146]
    );
}

#[test]
fn golden_cut_points_of_small_lengths() {
    assert_eq!(
        lengths(&small(), &stream(2, 200_001)),
        [6031, 14633, 22927, 17487, 8434, 18559, 36138, 24015, 23577, 19929, 8271]
    );
    assert_eq!(lengths(&small(), &[0; 200_001]), [65536, 65536, 65536, 3393]);
}

#[test]
fn under_the_crates_own_table_the_crates_own_iterator_cuts_alike() {
    let (gear, _) = get_gear_with_seed(0);
    let gear: Box<[u64; 256]> = Box::new(gear.as_ref().try_into().unwrap());
    let data = stream(3, 3_000_001);
    let cutting = Cutting::Stream(Arc::new(Chunker::new(SMALL, gear).unwrap()));
    let theirs: Vec<usize> = FastCDC::new(&data, 4096, 16384, 65536).map(|chunk| chunk.length).collect();
    assert_eq!(lengths(&cutting, &data), theirs);
    assert!(theirs.len() > 100);
}

#[test]
fn one_byte_more_at_the_head_changes_at_most_three_chunks() {
    let mut data = stream(4, 8_000_000);
    let cutting = small();
    let names = |data: &[u8]| -> std::collections::HashSet<[u8; 32]> {
        Pieces::new(data, cutting.clone()).map(|piece| hash::digest(&piece.unwrap())).collect()
    };
    let before = names(&data);
    data.insert(0, b'!');
    let after = names(&data);
    assert!(before.len() > 300);
    assert!(after.difference(&before).count() <= 3);
}

#[test]
fn a_content_below_the_least_length_is_one_chunk_and_an_empty_one_none() {
    assert_eq!(lengths(&small(), &stream(5, 4096)), [4096]);
    assert_eq!(lengths(&small(), &stream(5, 1)), [1]);
    assert!(Pieces::new(&[][..], small()).next().is_none());
}

#[test]
fn before_the_end_it_waits_for_a_longest_chunk() {
    let data = stream(6, 65536);
    assert_eq!(small().cut(&data[..65535], false), None);
    assert_eq!(small().cut(&data, false), small().cut(&data, true));
    let runs = runs();
    assert_eq!(runs.cut(&data[..65535], false), None);
    assert_eq!(runs.cut(&data, false), Some(65536));
    assert_eq!(runs.cut(&data[..65535], true), Some(65535));
}

#[test]
fn lengths_out_of_the_algorithms_limits_are_refused() {
    let good = SMALL;
    good.check().unwrap();
    ChunkerParams::default().check().unwrap();
    for bad in [
        ChunkerParams { min: 4097, ..good },
        ChunkerParams { avg: 16385, ..good },
        ChunkerParams { max: 65537, ..good },
        ChunkerParams { min: 16384, ..good },
        ChunkerParams { max: 16384, ..good },
        ChunkerParams { min: 62, ..good },
        ChunkerParams { min: 0, avg: 0, max: 0 },
        ChunkerParams { min: 1 << 21, avg: 1 << 22, max: 1 << 23 },
        ChunkerParams { min: 64, avg: 1 << 23, max: 1 << 24 },
        ChunkerParams { min: 4096, avg: 16384, max: (1 << 24) + 2 },
    ] {
        assert_eq!(bad.check().unwrap_err().kind(), Kind::Usage, "{bad:?}");
        assert!(Chunker::new(bad, table()).is_err());
    }
    for bad in [0, 1, 4096, 65535, 1 << 15, 65536 * 3, 1 << 21, 1 << 24] {
        let refused = PageRuns::new(bad).unwrap_err();
        assert_eq!(refused.kind(), Kind::Usage, "{bad}");
        assert!(refused.full_text().ends_with("a power of two from 65536 to 1048576 bytes"), "{refused:?}");
    }
    for good in [1 << 16, 1 << 17, 1 << 20] {
        assert_eq!(PageRuns::new(good).unwrap().run(), good);
    }
}

#[test]
fn runs_are_aligned_and_the_last_one_is_the_rest() {
    let data = stream(7, 3 * 65536 + 5);
    let runs = Pieces::new(&data[..], runs());
    let pieces: Vec<Vec<u8>> = runs.map(io::Result::unwrap).collect();
    assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [65536, 65536, 65536, 5]);
    assert_eq!(pieces.concat(), data);
}

#[test]
fn short_reads_change_nothing_and_the_buffer_stays_bounded() {
    let data = stream(8, 9_000_000);
    for cutting in [small(), runs()] {
        let reader = ShortReads { left: &data, most: 333_333, calls: 0 };
        let mut pieces = Pieces::new(reader, cutting.clone());
        let got: Vec<Vec<u8>> = pieces.by_ref().map(io::Result::unwrap).collect();
        assert!(got.iter().all(|piece| piece.capacity() == piece.len()));
        assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), lengths(&cutting, &data));
        assert!(got.concat() == data);
        assert!(pieces.into_buffer().capacity() <= 65536 + 1024 * 1024);
    }
}

#[test]
fn a_buffer_used_again_gives_the_same_pieces() {
    let (first, second) = (stream(9, 500_000), stream(10, 300_000));
    let mut pieces = Pieces::new(&first[..], small());
    assert_eq!(pieces.by_ref().map(|piece| piece.unwrap().len()).sum::<usize>(), first.len());
    let again = Pieces::with_buffer(&second[..], small(), pieces.into_buffer());
    assert_eq!(again.map(|piece| piece.unwrap().len()).collect::<Vec<_>>(), lengths(&small(), &second));
}

#[test]
fn contents_about_as_long_as_the_first_buffer_arrive_whole() {
    for len in [262_143, 262_144, 262_145] {
        for cutting in
            [small(), Cutting::Stream(Arc::new(Chunker::new(ChunkerParams::default(), table()).unwrap()))]
        {
            let data = stream(11, len);
            let mut pieces = Pieces::new(&data[..], cutting.clone());
            assert_eq!(
                pieces.by_ref().map(|piece| piece.unwrap().len()).collect::<Vec<_>>(),
                lengths(&cutting, &data)
            );
            assert_eq!(
                pieces.into_buffer().len() > 262_144,
                len >= 262_144,
                "a short content takes a short buffer"
            );
        }
    }
}

#[test]
fn after_a_failed_read_nothing_follows() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 == 1 { Ok(buf.len().min(1000)) } else { Err(io::Error::other("broken")) }
        }
    }
    let mut pieces = Pieces::new(Failing(0), small());
    assert_eq!(pieces.next().unwrap().unwrap_err().to_string(), "broken");
    assert!(pieces.next().is_none());
}

/// Stretches of one byte and stretches that look random: both ends of what a chunker meets.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let stretch = prop_oneof![
        (any::<u8>(), 0_usize..150_000).prop_map(|(byte, len)| vec![byte; len]),
        (any::<u32>(), 0_usize..150_000).prop_map(|(seed, len)| stream(seed, len)),
    ];
    prop::collection::vec(stretch, 0..5).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pieces_make_up_the_content_within_their_bounds(data in contents(), most in 1_usize..200_000) {
        let reader = ShortReads { left: &data, most: most.max(data.len() / 2000 + 1), calls: 0 };
        let pieces: Vec<Vec<u8>> = Pieces::new(reader, small()).map(io::Result::unwrap).collect();
        prop_assert!(pieces.concat() == data);
        prop_assert!(pieces.iter().all(|piece| piece.len() <= 65536 && !piece.is_empty()));
        let but_last = pieces.len().saturating_sub(1);
        prop_assert!(pieces[..but_last].iter().all(|piece| piece.len() >= 4096));
    }

    #[test]
    fn every_cut_is_where_the_algorithm_says(data in contents()) {
        let (gear, chunker) = (table(), Chunker::new(SMALL, table()).unwrap());
        let mut left = &data[..];
        while let Some(len) = chunker.cut(left, true) {
            let expected = if left.len() <= 4096 { left.len() } else { plain_fastcdc(SMALL, &gear, left) };
            prop_assert_eq!(len, expected);
            left = &left[len..];
        }
    }
}
