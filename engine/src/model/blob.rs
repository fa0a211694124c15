//! What is deduplicated (blobs) and how one copy of it is stored.

use crate::base::{BlobId, PackId};

/// What a blob holds. The number is stored; each kind is named under its own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum BlobKind {
    /// A chunk or page run of a file.
    Data = 0,
    /// A page of a folder.
    TreePage = 1,
    /// A page of a content list.
    ListPage = 2,
    /// A key record of a container.
    Secret = 3,
}

impl BlobKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Data, Self::TreePage, Self::ListPage, Self::Secret];

    /// The kind of a stored number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| u64::from(*kind as u8) == number)
    }
}

/// Which packs a blob goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PackClass {
    /// Chunks of media and of everything else that is cut by content.
    Media = 0,
    /// Page runs of databases and their deltas.
    Runs = 1,
    /// Tree pages, list pages, key records.
    Metadata = 2,
}

impl PackClass {
    /// All classes, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Media, Self::Runs, Self::Metadata];

    /// The class of a stored number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|class| u64::from(*class as u8) == number)
    }
}

/// How the plaintext of one stored copy was packed before it was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CodecTag {
    /// As it is.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
    /// One zstd frame with the base's plaintext as prefix.
    ZstdDelta = 2,
}

impl CodecTag {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Zstd, Self::ZstdDelta];

    /// The codec of a stored number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| u64::from(*codec as u8) == number)
    }
}

/// One stored copy of a blob, as trailer and index list it. Its place in the pack follows from the entries before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobEntry {
    /// What it holds.
    pub kind: BlobKind,
    /// The name of its plaintext.
    pub id: BlobId,
    /// How it was packed.
    pub codec: CodecTag,
    /// Bytes of the plaintext.
    pub plain_len: u32,
    /// Bytes in the pack, the tag included.
    pub sealed_len: u32,
    /// The blob whose plaintext is needed to unpack it.
    pub base: Option<BlobId>,
    /// 0 for a full copy, else greater than the depth of at least one copy of its base.
    pub depth: u8,
    /// Position in this run's chain since its last full copy; 0 for a full copy.
    pub generation: u16,
}

/// One pack and all that it holds, as its trailer, an index or the catalog lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackRecord {
    /// The pack.
    pub pack: PackId,
    /// Bytes of the whole file.
    pub size: u64,
    /// The envelope's fixed header, from which the pack's key is derived.
    pub header: [u8; 52],
    /// Which blobs it takes.
    pub class: PackClass,
    /// Bytes of padding before the trailer.
    pub padding: u32,
    /// Its blobs in the order in which they lie, the first one right behind the header.
    pub entries: Vec<BlobEntry>,
}
