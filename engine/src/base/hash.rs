//! BLAKE3 in the three ways this program uses it: plain for names of objects, keyed for names of content, and
//! derive_key for keys.
//!
//! Source of the algorithm: the BLAKE3 specification (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020).

use crate::base::id::BlobId;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Plain BLAKE3 of some bytes: the name of packs, indexes, manifests and key slots.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// As [`digest`], of bytes that arrive in pieces.
#[derive(Debug, Default)]
pub struct DigestStream(Box<blake3::Hasher>);

impl DigestStream {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all pieces together.
    #[must_use]
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// A key that was derived for one purpose, named by its context string.
#[must_use]
pub fn derive_key(context: &str, material: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in material {
        hasher.update(part);
    }
    let key = *hasher.finalize().as_bytes();
    hasher.zeroize();
    key
}

/// As [`derive_key`], with an output of any length.
pub fn derive_bytes(context: &str, material: &[&[u8]], out: &mut [u8]) {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in material {
        hasher.update(part);
    }
    let mut reader = hasher.finalize_xof();
    reader.fill(out);
    reader.zeroize();
    hasher.zeroize();
}

/// The key under which content of one kind is named. Two keys name the same content differently. Wiped when it
/// is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct IdKey([u8; 32]);

impl IdKey {
    /// Takes a derived key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The name of some content.
    #[must_use]
    pub fn name(&self, content: &[u8]) -> BlobId {
        BlobId::new(*blake3::keyed_hash(&self.0, content).as_bytes())
    }

    /// Names content that arrives in pieces; equal to [`IdKey::name`] of the whole.
    #[must_use]
    pub fn stream(&self) -> IdStream {
        IdStream(Box::new(blake3::Hasher::new_keyed(&self.0)))
    }
}

impl std::fmt::Debug for IdKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdKey(..)")
    }
}

/// The name of content that arrives in pieces.
#[derive(Debug)]
pub struct IdStream(Box<blake3::Hasher>);

impl Drop for IdStream {
    fn drop(&mut self) {
        // The state holds the key.
        self.0.zeroize();
    }
}

impl IdStream {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The name of all pieces together.
    #[must_use]
    pub fn finish(&self) -> BlobId {
        BlobId::new(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_names_as_the_whole_and_keys_separate() {
        let (a, b) = (IdKey::new([1; 32]), IdKey::new([2; 32]));
        let mut stream = a.stream();
        stream.update(b"some ");
        stream.update(b"content");
        assert_eq!(stream.finish(), a.name(b"some content"));
        assert_ne!(a.name(b"some content"), b.name(b"some content"));
        let mut stream = DigestStream::default();
        stream.update(b"some ");
        stream.update(b"content");
        assert_eq!(stream.finish(), digest(b"some content"));
    }
}
