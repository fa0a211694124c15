//! Seeded inputs of the benches: the same bytes in every run on every machine.

use std::io::Read;

/// Bytes that no compressor shrinks, as photos and voice notes are: the extended output of BLAKE3.
#[must_use]
pub fn noise(len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_derive_key("chatvault bench noise").finalize_xof().fill(&mut out);
    out
}

/// Bytes that shrink to about a third, as the pages of a chat database do: words of a small set between random numbers.
#[must_use]
pub fn text(len: usize) -> Vec<u8> {
    const WORDS: [&str; 8] =
        ["hello ", "tomorrow ", "ok ", "see you ", "photo ", "\u{1f642} ", "thanks ", "where "];
    let mut picks = blake3::Hasher::new_derive_key("chatvault bench text").finalize_xof();
    let mut out = Vec::with_capacity(len + 16);
    let mut pick = [0; 4];
    while out.len() < len {
        // Reading from the extended output of a hash cannot fail.
        let _infallible = picks.read_exact(&mut pick);
        match pick {
            [0..=31, rest @ ..] => out.extend_from_slice(&rest),
            [first, ..] => {
                out.extend_from_slice(WORDS.get(usize::from(first) % 8).map_or(b"", |w| w.as_bytes()));
            }
        }
    }
    out.truncate(len);
    out
}
