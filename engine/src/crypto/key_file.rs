//! Key files: any file can be the second factor beside a password. Only the hash of its bytes counts.

use crate::base::{Error, Kind, Result};
use crate::crypto::secret::Secret;
use std::io::{ErrorKind, Read};
use zeroize::{Zeroize, Zeroizing};

/// Longest key file, in bytes.
pub const MAX_KEY_FILE_LEN: u64 = 64 << 20;

/// What counts of a key file: the BLAKE3 of its bytes.
#[derive(Clone, Debug)]
pub struct KeyFile(Secret);

impl KeyFile {
    /// Reads a key file to its end and keeps nothing but the hash. `subject` names the file in errors.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a file without a byte, which would be no second factor, and for one that is too long.
    pub fn read(mut stream: impl Read, subject: &str) -> Result<Self> {
        let refused = |why: String| Error::new(Kind::Usage, "use key file", subject).because(why);
        let mut buffer = Zeroizing::new(vec![0; 64 * 1024]);
        let mut hasher = blake3::Hasher::new();
        let mut total: u64 = 0;
        loop {
            let count = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => {
                    hasher.zeroize();
                    return Err(Error::io("read key file", subject, e));
                }
            };
            total += count as u64;
            if total > MAX_KEY_FILE_LEN {
                hasher.zeroize();
                return Err(refused(format!("it is longer than {} MiB", MAX_KEY_FILE_LEN >> 20)));
            }
            hasher.update(buffer.get(..count).unwrap_or_default());
        }
        let hash = Secret::new(*hasher.finalize().as_bytes());
        hasher.zeroize();
        if total == 0 {
            return Err(refused("it is empty, and nothing is no second factor".to_owned()));
        }
        Ok(Self(hash))
    }

    /// The hash.
    #[must_use]
    pub fn hash(&self) -> &Secret {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn the_hash_is_that_of_all_bytes_however_they_arrive() {
        let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let whole = KeyFile::read(&bytes[..], "x").unwrap();
        assert_eq!(whole.hash().expose(), &crate::base::hash::digest(&bytes));
        let (first, second) = bytes.split_at(99_999);
        let pieces = KeyFile::read(first.chain(second), "x").unwrap();
        assert_eq!(pieces.hash().expose(), whole.hash().expose());
    }

    #[test]
    fn empty_and_endless_ones_are_refused() {
        assert_eq!(KeyFile::read(io::empty(), "x").unwrap_err().kind(), Kind::Usage);
        assert_eq!(KeyFile::read(io::repeat(7), "x").unwrap_err().kind(), Kind::Usage);
        let longest = KeyFile::read(io::repeat(7).take(MAX_KEY_FILE_LEN), "x");
        assert!(longest.is_ok());
    }
}
