//! Names of stored things: fixed-length byte strings, one type for each use, shown in full as lower-case hexadecimal.

use std::fmt;

/// Writes bytes as lower-case hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads hexadecimal digits of either case; `None` if a character is none or their number is odd.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits?;
    let mut pairs = digits.chunks_exact(2);
    let bytes: Option<Vec<u8>> = pairs
        .by_ref()
        .map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect();
    if pairs.remainder().is_empty() { bytes } else { None }
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Takes the bytes as they are.
            #[must_use]
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Takes the bytes if their number is right.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Reads the full hexadecimal form.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                Self::from_slice(&from_hex(text)?)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The first eight hexadecimal digits, for people.
            #[must_use]
            pub fn short(&self) -> String {
                to_hex(self.0.first_chunk::<4>().map_or(&self.0[..], |c| &c[..]))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self)
            }
        }
    };
}

id_type!(
    /// A repository: 32 random bytes, drawn at `init`.
    RepoId, 32
);
id_type!(
    /// A blob: keyed BLAKE3 of its plaintext, under the key of its kind.
    BlobId, 32
);
id_type!(
    /// A pack: BLAKE3 of the whole file.
    PackId, 32
);
id_type!(
    /// An index object: BLAKE3 of the whole file.
    IndexId, 32
);
id_type!(
    /// A snapshot: BLAKE3 of the manifest's whole file.
    SnapshotId, 32
);
id_type!(
    /// A key slot: BLAKE3 of the whole file.
    KeyId, 32
);
id_type!(
    /// A lease: 16 random bytes.
    LeaseId, 16
);
id_type!(
    /// A writer (one catalog of one machine): 16 random bytes.
    WriterId, 16
);
id_type!(
    /// A line of databases that came from one another: 16 random bytes, drawn for the first of them.
    LineageId, 16
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trip_and_refusals() {
        let id = LeaseId::new([0xab; 16]);
        assert_eq!(LeaseId::from_hex(&id.to_string()), Some(id));
        assert_eq!(id.short(), "abababab");
        assert_eq!(LeaseId::from_hex("ab"), None);
        assert_eq!(from_hex("abc"), None);
        assert_eq!(from_hex("zz"), None);
    }
}
