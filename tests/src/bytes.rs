//! Bytes that are the same in every run.

/// `len` bytes that no compressor shrinks. Equal seeds give equal bytes, and the longer begins with the shorter.
#[must_use]
pub fn noise(seed: &str, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_derive_key("chatvault test kit: noise")
        .update(seed.as_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

/// `len` bytes that look like an exported chat: lines of words, which compress well.
#[must_use]
pub fn text(seed: &str, len: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "and", "the", "photo", "tomorrow", "we", "station", "at", "eight", "bring", "cake", "yes", "no",
        "train", "late", "home", "see",
    ];
    let choices = noise(&format!("text {seed}"), len / 2 + 1);
    let mut out = Vec::with_capacity(len + 64);
    for (number, choice) in choices.iter().enumerate() {
        if number % 9 == 0 {
            out.extend_from_slice(format!("\n[{:06}] {}: ", number / 9, choice % 5).as_bytes());
        }
        out.extend_from_slice(WORDS[usize::from(choice % 16)].as_bytes());
        out.push(b' ');
        if out.len() >= len {
            break;
        }
    }
    out.resize(len, b'.');
    out
}
