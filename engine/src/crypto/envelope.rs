//! The header that every stored object begins with, and the key that follows from it.

use crate::base::hash;
use crate::base::{Error, Kind, RepoId, Result};
use crate::crypto::aead::{Algorithm, ObjectKey};
use crate::crypto::secret::{Secret, random_bytes};

/// Bytes of the header.
pub const HEADER_LEN: usize = 52;
/// The first bytes of every object: recognisable, no text, altered by every transfer that is not binary.
pub const MAGIC: [u8; 8] = [0x8a, b'C', b'V', b'L', b'T', 0x0d, 0x0a, 0x1a];
/// The format that this program reads and writes.
pub const FORMAT: u8 = 1;
/// The draft of that format; 0 from release 1.0.0 on.
pub const DRAFT: u8 = 3;

/// What an object is. The number is stored, and the key depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ObjectType {
    /// The repository's settings.
    Config = 1,
    /// A wrapped key bundle.
    KeySlot = 2,
    /// Many blobs and a trailer.
    Pack = 3,
    /// The trailers of many packs.
    Index = 4,
    /// A snapshot's manifest.
    Manifest = 5,
    /// A record about earlier snapshots.
    Event = 6,
    /// A run that is under way.
    Lease = 7,
}

impl ObjectType {
    /// All types, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Config, Self::KeySlot, Self::Pack, Self::Index, Self::Manifest, Self::Event, Self::Lease];

    /// The type of a stored number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The word for people, also part of the key's context.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::KeySlot => "key slot",
            Self::Pack => "pack",
            Self::Index => "index",
            Self::Manifest => "manifest",
            Self::Event => "event",
            Self::Lease => "lease",
        }
    }

    fn context(self) -> &'static str {
        match self {
            Self::Config => "chatvault 1 object key: config",
            Self::KeySlot => "chatvault 1 object key: key slot",
            Self::Pack => "chatvault 1 object key: pack",
            Self::Index => "chatvault 1 object key: index",
            Self::Manifest => "chatvault 1 object key: manifest",
            Self::Event => "chatvault 1 object key: event",
            Self::Lease => "chatvault 1 object key: lease",
        }
    }
}

/// From which secret an object's key is derived. The number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeySource {
    /// The epoch key that the header names.
    Epoch = 0,
    /// A key wrapped to a recipient; reserved.
    Recipient = 1,
    /// The key that a password or recovery key yields; key slots only.
    Slot = 2,
}

/// The header of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the object is.
    pub kind: ObjectType,
    /// The cipher.
    pub algorithm: Algorithm,
    /// Where the key comes from.
    pub source: KeySource,
    /// Which epoch key; 0 in key slots.
    pub epoch: u32,
    /// Random bytes that no other object has.
    pub salt: [u8; 32],
}

/// The parts of a header as stored, in their order.
struct Fields<'b> {
    magic: &'b [u8; 8],
    /// Type, format, draft, algorithm, key source.
    numbers: &'b [u8; 5],
    zeroes: &'b [u8; 3],
    epoch: &'b [u8; 4],
    salt: &'b [u8; 32],
}

impl<'b> Fields<'b> {
    /// None if there are fewer bytes than a header has.
    fn of(bytes: &'b [u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (numbers, rest) = rest.split_first_chunk()?;
        let (zeroes, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        Some(Self { magic, numbers, zeroes, epoch, salt: rest.first_chunk()? })
    }
}

impl Header {
    /// A header with a new salt.
    pub fn draw(kind: ObjectType, algorithm: Algorithm, source: KeySource, epoch: u32) -> Result<Self> {
        Ok(Self { kind, algorithm, source, epoch, salt: random_bytes()? })
    }

    /// The bytes as stored.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[self.kind as u8, FORMAT, DRAFT, self.algorithm as u8, self.source as u8]);
        bytes.extend_from_slice(&[0; 3]);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.salt);
        bytes.try_into().unwrap_or([0; HEADER_LEN])
    }

    /// Reads a header and refuses everything that this program does not know. `subject` names the object in errors.
    pub fn decode(bytes: &[u8], expected: ObjectType, subject: &str) -> Result<Self> {
        let act = || format!("read {}", expected.name());
        let damaged = |why: &str| Error::damaged(act(), subject, why);
        let Some(Fields { magic, numbers, zeroes, epoch, salt }) = Fields::of(bytes) else {
            return Err(damaged("it is shorter than a header"));
        };
        let [kind, format, draft, algorithm, source] = numbers;
        if *magic != MAGIC {
            return Err(damaged("it does not begin as a stored object does"));
        }
        if (*format, *draft) != (FORMAT, DRAFT) {
            return Err(Error::new(Kind::NewerFormat, act(), subject).because(format!(
                "it has format {}; this program reads format {}",
                format_name(*format, *draft),
                format_name(FORMAT, DRAFT)
            )));
        }
        if *kind != expected as u8 {
            return Err(damaged("it is another kind of object"));
        }
        let algorithm = Algorithm::from_number(*algorithm)
            .ok_or_else(|| Error::new(Kind::NewerFormat, act(), subject).because("its cipher is unknown"))?;
        let source = match *source {
            0 => KeySource::Epoch,
            2 => KeySource::Slot,
            _ => {
                return Err(
                    Error::new(Kind::NewerFormat, act(), subject).because("its key source is unknown")
                );
            }
        };
        if (source == KeySource::Slot) != (expected == ObjectType::KeySlot) || *zeroes != [0; 3] {
            return Err(damaged("its header contradicts itself"));
        }
        Ok(Self { kind: expected, algorithm, source, epoch: u32::from_le_bytes(*epoch), salt: *salt })
    }

    /// The key of the object with this header.
    pub fn object_key(&self, secret: &Secret, repo: &RepoId) -> Result<ObjectKey> {
        self.derived_key(self.kind.context(), secret, repo)
    }

    /// The key of the note in the key slot with this header; `secret` is an epoch key.
    pub fn note_key(&self, secret: &Secret, repo: &RepoId) -> Result<ObjectKey> {
        self.derived_key("chatvault 1 slot note", secret, repo)
    }

    fn derived_key(&self, context: &str, secret: &Secret, repo: &RepoId) -> Result<ObjectKey> {
        let key = Secret::new(hash::derive_key(context, &[secret.expose(), repo.as_bytes(), &self.encode()]));
        ObjectKey::new(self.algorithm, key.expose())
            .map_err(|e| Error::new(Kind::Internal, "use the key of", self.kind.name()).because(e))
    }
}

/// A format and its draft in words: `1`, or `1-draft.3`.
#[must_use]
pub fn format_name(format: u8, draft: u8) -> String {
    if draft == 0 { format.to_string() } else { format!("{format}-draft.{draft}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header::draw(ObjectType::Index, Algorithm::Aes256Gcm, KeySource::Epoch, 7).unwrap()
    }

    #[test]
    fn round_trip() {
        let h = header();
        assert_eq!(Header::decode(&h.encode(), ObjectType::Index, "x").unwrap(), h);
    }

    #[test]
    fn a_newer_format_is_named_and_a_foreign_object_refused() {
        let mut bytes = header().encode();
        bytes[9] = 2;
        bytes[10] = 0;
        let error = Header::decode(&bytes, ObjectType::Index, "x").unwrap_err();
        assert_eq!(error.kind(), Kind::NewerFormat);
        assert!(error.full_text().contains("it has format 2; this program reads format 1-draft.3"));
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes, ObjectType::Pack, "x").unwrap_err().kind(), Kind::Damaged);
        assert_eq!(Header::decode(&bytes[..51], ObjectType::Index, "x").unwrap_err().kind(), Kind::Damaged);
    }

    #[test]
    fn salt_type_and_repository_separate_keys() {
        let (secret, h) = (Secret::new([1; 32]), header());
        let mut sealed = b"x".to_vec();
        h.object_key(&secret, &RepoId::new([0; 32])).unwrap().seal(0, b"", &mut sealed).unwrap();
        let other = Header { salt: [0; 32], ..h };
        for (header, repo) in [(h, [1; 32]), (other, [0; 32])] {
            let key = header.object_key(&secret, &RepoId::new(repo)).unwrap();
            assert!(key.open(0, b"", &mut sealed.clone()).is_err());
        }
    }
}
