//! Authenticated encryption under the key of one object.
//!
//! AES-256-GCM (NIST SP 800-38D) where the processor has instructions for it, ChaCha20-Poly1305 (RFC 8439)
//! otherwise. Every object has a key of its own, so a nonce is just the ordinal of a ciphertext within its object.

use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// Bytes that sealing adds to a plaintext.
pub const TAG_LEN: usize = 16;

/// The ordinal of a pack's trailer, which no blob reaches.
pub const TRAILER_ORDINAL: u64 = u64::MAX;

/// Which cipher sealed an object. The number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Algorithm {
    /// AES-256-GCM.
    Aes256Gcm = 1,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305 = 2,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 2] = [Self::Aes256Gcm, Self::ChaCha20Poly1305];

    /// The algorithm of a stored number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| *algorithm as u8 == number)
    }

    /// The faster one on this processor.
    #[must_use]
    pub fn preferred() -> Self {
        if has_aes() { Self::Aes256Gcm } else { Self::ChaCha20Poly1305 }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

/// A ciphertext that is not what was sealed under this key, ordinal and additional data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthentic;

impl std::fmt::Display for Unauthentic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("its authentication tag does not verify")
    }
}

impl std::error::Error for Unauthentic {}

/// The key of one object.
#[derive(Debug)]
pub struct ObjectKey(LessSafeKey);

impl ObjectKey {
    /// Takes a derived key; it must be used for one object only.
    pub fn new(algorithm: Algorithm, key: &[u8; 32]) -> Result<Self, Unauthentic> {
        let cipher = match algorithm {
            Algorithm::Aes256Gcm => &AES_256_GCM,
            Algorithm::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        Ok(Self(LessSafeKey::new(UnboundKey::new(cipher, key).map_err(|_| Unauthentic)?)))
    }

    /// Seals the buffer in place and appends the tag. Each ordinal may be used once.
    pub fn seal(&self, ordinal: u64, additional: &[u8], buffer: &mut Vec<u8>) -> Result<(), Unauthentic> {
        self.0
            .seal_in_place_append_tag(nonce(ordinal), Aad::from(additional), buffer)
            .map_err(|_| Unauthentic)
    }

    /// As [`Self::seal`], with the tag apart: for a plaintext that stands in a larger buffer already.
    pub fn seal_in_place(
        &self,
        ordinal: u64,
        additional: &[u8],
        plain: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Unauthentic> {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(ordinal), Aad::from(additional), plain)
            .map_err(|_| Unauthentic)?;
        tag.as_ref().try_into().map_err(|_| Unauthentic)
    }

    /// Opens the buffer in place; the plaintext is its beginning. On failure the buffer's content is worthless.
    pub fn open<'b>(
        &self,
        ordinal: u64,
        additional: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], Unauthentic> {
        self.0.open_in_place(nonce(ordinal), Aad::from(additional), buffer).map_err(|_| Unauthentic)
    }

    /// As [`Self::open`], with the tag apart.
    pub fn open_separate(
        &self,
        ordinal: u64,
        additional: &[u8],
        buffer: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> Result<(), Unauthentic> {
        self.0
            .open_in_place_separate_tag(nonce(ordinal), Aad::from(additional), tag.into(), buffer, 0..)
            .map(|_| ())
            .map_err(|_| Unauthentic)
    }
}

/// The ordinal as 64 bits, little-endian, then 32 zero bits.
fn nonce(ordinal: u64) -> Nonce {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().zip(ordinal.to_le_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        for algorithm in Algorithm::ALL {
            let key = ObjectKey::new(algorithm, &[7; 32]).unwrap();
            let mut sealed = b"message".to_vec();
            key.seal(3, b"aad", &mut sealed).unwrap();
            for bit in 0..sealed.len() * 8 {
                let mut bad = sealed.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(key.open(3, b"aad", &mut bad), Err(Unauthentic));
            }
            assert_eq!(key.open(4, b"aad", &mut sealed.clone()), Err(Unauthentic));
            assert_eq!(key.open(3, b"aae", &mut sealed.clone()), Err(Unauthentic));
            let (apart, tag) = sealed.split_at(7);
            for bit in 0..TAG_LEN * 8 {
                let mut bad: [u8; TAG_LEN] = tag.try_into().unwrap();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(key.open_separate(3, b"aad", &mut apart.to_vec(), bad), Err(Unauthentic));
            }
            let (mut apart, tag) = (apart.to_vec(), tag.try_into().unwrap());
            assert_eq!(key.open_separate(3, b"aad", &mut apart, tag), Ok(()));
            assert_eq!(apart, b"message");
            assert_eq!(key.open(3, b"aad", &mut sealed).unwrap(), b"message");
        }
    }
}
