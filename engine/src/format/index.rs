//! Index objects: for each pack its id, size and header, and its trailer verbatim.

use crate::base::{PackId, Result};
use crate::crypto::HEADER_LEN;
use crate::format::cbor::{MapWriter, Reader};
use crate::format::pack::{MAX_PACK_LEN, decode_trailer, encode_trailer};
use crate::model::PackRecord;

/// Longest index object that is read.
pub const MAX_LEN: u64 = 64 << 20;
/// Bytes of trailers after which a writer begins another index object.
pub const TARGET_LEN: usize = 8 << 20;
const MAX_PACKS: usize = 1 << 20;

/// Bytes that a pack takes in an index object, roughly and rather too many.
#[must_use]
pub fn index_len(pack: &PackRecord) -> usize {
    pack.entries.len() * 90 + 128
}

/// Which packs hold what, as of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// How many prunes had been completed when it was written.
    pub prune_epoch: u64,
    /// The packs.
    pub packs: Vec<PackRecord>,
}

impl Index {
    /// The body's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.uint_unless_zero(0, self.prune_epoch).array(1, &self.packs, |e, pack| {
            e.array(4)?
                .bytes(pack.pack.as_bytes())?
                .u64(pack.size)?
                .bytes(&pack.header)?
                .bytes(&encode_trailer(pack.class, pack.padding, &pack.entries))
                .map(|_| ())
        });
        map.finish()
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Self> {
        let mut index = Self::default();
        let mut reader = Reader::new(body, "an index");
        reader.map(|key, r| {
            match key {
                0 => index.prune_epoch = r.uint()?,
                1 => {
                    index.packs = r.array(MAX_PACKS, |r| {
                        r.tuple(4)?;
                        let (pack, size) = (PackId::new(r.fixed()?), r.uint()?);
                        let header: [u8; HEADER_LEN] = r.fixed()?;
                        decode_trailer(pack, size, header, r.bytes(MAX_PACK_LEN as usize)?)
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        reader.end()?;
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BlobId, RepoId};
    use crate::crypto::KeyBundle;
    use crate::format::object::Sealer;
    use crate::format::pack::{PackedBlob, assemble};
    use crate::model::{BlobEntry, BlobKind, CodecTag, PackClass};

    #[test]
    fn round_trip_and_truncations() {
        let sealer = Sealer::new(RepoId::new([1; 32]), KeyBundle::random().unwrap());
        let entry = BlobEntry {
            kind: BlobKind::TreePage,
            id: BlobId::new([5; 32]),
            codec: CodecTag::Zstd,
            plain_len: 100,
            sealed_len: 0,
            base: None,
            depth: 0,
            generation: 0,
        };
        let blobs = vec![PackedBlob { entry, bytes: vec![1; 60] }];
        let (record, _) = assemble(&sealer, PackClass::Metadata, blobs, true).unwrap();
        let index = Index { prune_epoch: 3, packs: vec![record.clone(), record] };
        let body = index.encode();
        assert_eq!(Index::decode(&body).unwrap(), index);
        assert!((0..body.len()).all(|len| Index::decode(&body[..len]).is_err()));
    }
}
