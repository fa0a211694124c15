//! Packs: many sealed blobs, then a sealed trailer that lists them.
//!
//! ```text
//! header (52) | sealed blobs | padding | sealed trailer | its length (4) | end magic (8)
//! ```

use crate::base::hash::DigestStream;
use crate::base::{BlobId, Error, Kind, PackId, PageBuffer, Result};
use crate::crypto::aead::{TRAILER_ORDINAL, Unauthentic};
use crate::crypto::secret::fill_random;
use crate::crypto::{HEADER_LEN, Header, ObjectKey, ObjectType, TAG_LEN};
use crate::format::cbor::{MapWriter, Reader};
use crate::format::object::Sealer;
use crate::model::{BlobEntry, BlobKind, CodecTag, PackClass, PackRecord};

/// The last bytes of a pack.
pub const END_MAGIC: [u8; 8] = *b"CVLTpack";
/// Bytes after the sealed trailer.
pub const TAIL_LEN: usize = 12;
/// Longest pack that is written or read.
pub const MAX_PACK_LEN: u64 = 32 << 20;
/// Longest plaintext of a blob.
pub const MAX_BLOB_LEN: u32 = 16 << 20;
/// Deepest delta that is read.
pub const MAX_DEPTH: u8 = 64;
/// Most blobs in a pack.
pub const MAX_BLOBS: usize = 1 << 18;

/// A blob on its way into a pack: encoded, not yet sealed.
#[derive(Debug)]
pub struct PackedBlob {
    /// How trailer and index will list it; the sealed length is filled in when it is sealed.
    pub entry: BlobEntry,
    /// The encoded bytes.
    pub bytes: Vec<u8>,
}

/// Additional data of a blob's seal.
#[must_use]
pub fn blob_additional(entry: &BlobEntry) -> [u8; 73] {
    let mut out = Vec::with_capacity(73);
    out.push(entry.kind as u8);
    out.extend_from_slice(entry.id.as_bytes());
    out.push(entry.codec as u8);
    out.extend_from_slice(entry.base.as_ref().map_or(&[0; 32][..], |id| id.as_bytes()));
    out.push(entry.depth);
    out.extend_from_slice(&entry.generation.to_le_bytes());
    out.extend_from_slice(&entry.plain_len.to_le_bytes());
    out.try_into().unwrap_or([0; 73])
}

/// A pack that is being put together: each blob is sealed and hashed while it is in the processor's cache.
#[derive(Debug)]
pub struct PackBuilder<'f> {
    file: &'f mut PageBuffer,
    header: [u8; HEADER_LEN],
    key: ObjectKey,
    entries: Vec<BlobEntry>,
    /// Of all that stands in `file`.
    digest: DigestStream,
}

impl<'f> PackBuilder<'f> {
    /// Begins a pack of about so many bytes in a buffer, whose earlier bytes go.
    pub fn new(sealer: &Sealer, expected: usize, file: &'f mut PageBuffer) -> Result<Self> {
        let header = sealer.new_header(ObjectType::Pack)?;
        let key = sealer.key(&header, "a new pack")?;
        file.clear();
        file.reserve(expected);
        let mut builder =
            Self { file, header: header.encode(), key, entries: Vec::new(), digest: DigestStream::default() };
        builder.append(&header.encode());
        Ok(builder)
    }

    fn append(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.file.extend_from_slice(bytes);
    }

    /// The pack so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.file
    }

    /// Seals the next blob where it stands and takes a copy of that; says how it is listed, and the tag of its seal.
    pub fn add(&mut self, mut entry: BlobEntry, bytes: &mut [u8]) -> Result<(BlobEntry, [u8; TAG_LEN])> {
        let ordinal = self.entries.len() as u64;
        let tag = self.key.seal_in_place(ordinal, &blob_additional(&entry), bytes).map_err(failed)?;
        self.append(bytes);
        self.append(&tag);
        entry.sealed_len = u32::try_from(bytes.len() + tag.len()).unwrap_or(u32::MAX);
        self.entries.push(entry.clone());
        Ok((entry, tag))
    }

    /// Ends the pack. With `pad`, its length is rounded up by PADME (Nikitin et al., "Reducing Metadata Leakage from
    /// Encrypted Files and Communication with PURBs", 2019: at most 12 %).
    pub fn finish(mut self, class: PackClass, pad: bool) -> Result<PackRecord> {
        let (padding, mut trailer) = padded_trailer(class, &self.entries, self.file.len(), pad);
        let mut gap = vec![0; padding as usize];
        fill_random(&mut gap)?;
        self.append(&gap);
        self.key.seal(TRAILER_ORDINAL, &self.header, &mut trailer).map_err(failed)?;
        self.append(&trailer);
        self.append(&u32::try_from(trailer.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.append(&END_MAGIC);
        let (pack, size) = (PackId::new(self.digest.finish()), self.file.len() as u64);
        Ok(PackRecord { pack, size, header: self.header, class, padding, entries: self.entries })
    }
}

fn failed(e: Unauthentic) -> Error {
    Error::new(Kind::Internal, "seal", "a pack").because(e)
}

/// Seals blobs in the given order into the bytes of a pack, as [`PackBuilder`] does.
pub fn assemble(
    sealer: &Sealer,
    class: PackClass,
    blobs: Vec<PackedBlob>,
    pad: bool,
) -> Result<(PackRecord, Vec<u8>)> {
    let mut file = PageBuffer::new();
    let mut builder = PackBuilder::new(sealer, 0, &mut file)?;
    for PackedBlob { entry, mut bytes } in blobs {
        builder.add(entry, &mut bytes)?;
    }
    let record = builder.finish(class, pad)?;
    Ok((record, file.to_vec()))
}

/// The padding and the trailer that tells it: the trailer's own length depends on the number, so it is sought.
fn padded_trailer(class: PackClass, entries: &[BlobEntry], so_far: usize, pad: bool) -> (u32, Vec<u8>) {
    let mut trailer = encode_trailer(class, 0, entries);
    let mut padding = 0;
    if pad {
        let fixed = so_far + TAG_LEN + TAIL_LEN;
        let target = padme(fixed + trailer.len() + 4);
        for _ in 0..4 {
            padding = u32::try_from(target - (fixed + trailer.len()).min(target)).unwrap_or_default();
            trailer = encode_trailer(class, padding, entries);
        }
    }
    (padding, trailer)
}

/// The length that PADME rounds up to.
#[must_use]
pub fn padme(len: usize) -> usize {
    let Some(exponent) = len.checked_ilog2().filter(|e| *e > 1) else { return len };
    let low_bits = exponent - (exponent.ilog2() + 1).min(exponent);
    let mask = (1usize << low_bits) - 1;
    (len + mask) & !mask
}

/// The plaintext of a trailer.
#[must_use]
pub fn encode_trailer(class: PackClass, padding: u32, entries: &[BlobEntry]) -> Vec<u8> {
    let mut map = MapWriter::new();
    map.uint(0, class as u64).uint_unless_zero(1, padding.into()).array(2, entries, |e, entry| {
        e.array(if entry.base.is_some() { 8 } else { 5 })?
            .u8(entry.kind as u8)?
            .u8(entry.codec as u8)?
            .bytes(entry.id.as_bytes())?
            .u32(entry.plain_len)?
            .u32(entry.sealed_len)?;
        if let Some(base) = &entry.base {
            e.bytes(base.as_bytes())?.u8(entry.depth)?.u16(entry.generation)?;
        }
        Ok(())
    });
    map.finish()
}

/// Reads a trailer's plaintext and checks it against the size of the pack and its header.
pub fn decode_trailer(
    pack: PackId,
    size: u64,
    header: [u8; HEADER_LEN],
    trailer: &[u8],
) -> Result<PackRecord> {
    let mut reader = Reader::new(trailer, "a pack's trailer");
    let (mut class, mut padding, mut entries) = (None, 0, Vec::new());
    reader.map(|key, r| {
        match key {
            0 => class = PackClass::from_number(r.uint()?),
            1 => padding = r.uint32()?,
            2 => entries = r.array(MAX_BLOBS, decode_entry)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let blobs: u64 = entries.iter().map(|entry| u64::from(entry.sealed_len)).sum();
    let around = HEADER_LEN + trailer.len() + TAG_LEN + TAIL_LEN;
    if blobs + u64::from(padding) + around as u64 != size || size > MAX_PACK_LEN {
        return Err(reader.bad("its lengths do not add up to the pack's size"));
    }
    let class = reader.need(class, "class")?;
    Ok(PackRecord { pack, size, header, class, padding, entries })
}

fn decode_entry(r: &mut Reader<'_>) -> Result<BlobEntry> {
    let fields = r.array_len(8)?;
    let kind = BlobKind::from_number(r.uint()?);
    let codec = CodecTag::from_number(r.uint()?);
    let (kind, codec) = (r.need(kind, "blob kind")?, r.need(codec, "codec")?);
    let id = BlobId::new(r.fixed()?);
    let (plain_len, sealed_len) = (r.uint32()?, r.uint32()?);
    let (base, depth, generation) = match fields {
        5 => (None, 0, 0),
        8 => {
            let (base, depth, generation) = (BlobId::new(r.fixed()?), r.uint()?, r.uint()?);
            let small = u8::try_from(depth).ok().zip(u16::try_from(generation).ok());
            let (depth, generation) = r.need(small, "depth")?;
            (Some(base), depth, generation)
        }
        _ => return Err(r.bad("an entry has the wrong number of fields")),
    };
    let full = matches!((codec, base, depth), (CodecTag::Raw | CodecTag::Zstd, None, 0));
    let delta = matches!((codec, base), (CodecTag::ZstdDelta, Some(_))) && (1..=MAX_DEPTH).contains(&depth);
    let exact = codec != CodecTag::Raw || sealed_len as usize == plain_len as usize + TAG_LEN;
    if !(full || delta) || !exact || plain_len > MAX_BLOB_LEN || (sealed_len as usize) < TAG_LEN {
        return Err(r.bad("an entry contradicts itself"));
    }
    Ok(BlobEntry { kind, id, codec, plain_len, sealed_len, base, depth, generation })
}

/// Where the sealed trailer lies, from the last 12 bytes of a pack of this size: offset and length in bytes.
pub fn trailer_place(size: u64, tail: &[u8], subject: &str) -> Result<(u64, u64)> {
    let damaged = |why: &str| Error::damaged("read pack", subject, why);
    let Some(([l0, l1, l2, l3], END_MAGIC)) =
        tail.split_first_chunk::<4>().and_then(|(len, magic)| Some((len, <[u8; 8]>::try_from(magic).ok()?)))
    else {
        return Err(damaged("it does not end as a pack does"));
    };
    let len = u64::from(u32::from_le_bytes([*l0, *l1, *l2, *l3]));
    let around = (HEADER_LEN + TAIL_LEN) as u64;
    match size.checked_sub(around).and_then(|inner| inner.checked_sub(len)) {
        Some(before) if len >= TAG_LEN as u64 && size <= MAX_PACK_LEN => {
            Ok((HEADER_LEN as u64 + before, len))
        }
        _ => Err(damaged("its trailer does not fit into it")),
    }
}

/// Opens a sealed trailer.
pub fn open_trailer(
    key: &ObjectKey,
    header: &[u8; HEADER_LEN],
    mut sealed: Vec<u8>,
    subject: &str,
) -> Result<Vec<u8>> {
    let plain = key
        .open(TRAILER_ORDINAL, header, &mut sealed)
        .map_err(|e| Error::damaged("read the trailer of pack", subject, e.to_string()))?
        .len();
    sealed.truncate(plain);
    Ok(sealed)
}

/// Opens one sealed blob; the result is still encoded.
pub fn open_blob(
    key: &ObjectKey,
    ordinal: u32,
    entry: &BlobEntry,
    mut sealed: Vec<u8>,
    subject: &str,
) -> Result<Vec<u8>> {
    let opened = key.open(ordinal.into(), &blob_additional(entry), &mut sealed);
    let plain = opened.map_err(|e| unopened(entry, subject, e))?.len();
    sealed.truncate(plain);
    Ok(sealed)
}

/// As [`open_blob`], where it stands, with the tag of its seal apart.
pub fn open_blob_in_place(
    key: &ObjectKey,
    ordinal: u32,
    entry: &BlobEntry,
    bytes: &mut [u8],
    tag: [u8; TAG_LEN],
    subject: &str,
) -> Result<()> {
    key.open_separate(ordinal.into(), &blob_additional(entry), bytes, tag)
        .map_err(|e| unopened(entry, subject, e))
}

fn unopened(entry: &BlobEntry, subject: &str, e: Unauthentic) -> Error {
    Error::damaged(format!("read blob {} of pack", entry.id.short()), subject, e.to_string())
}

/// Reads the header of a pack.
pub fn pack_header(bytes: &[u8], subject: &str) -> Result<(Header, [u8; HEADER_LEN])> {
    let header = Header::decode(bytes, ObjectType::Pack, subject)?;
    Ok((header, header.encode()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{RepoId, hash};
    use crate::crypto::KeyBundle;
    use proptest::prelude::*;

    fn sealer() -> Sealer {
        Sealer::new(RepoId::new([1; 32]), KeyBundle::random().unwrap())
    }

    fn blob(id: u8, bytes: Vec<u8>, base: Option<BlobId>) -> PackedBlob {
        let codec = if base.is_some() { CodecTag::ZstdDelta } else { CodecTag::Raw };
        let depth = u8::from(base.is_some());
        let plain_len = u32::try_from(bytes.len()).unwrap();
        let id = BlobId::new([id; 32]);
        let entry = BlobEntry {
            kind: BlobKind::Data,
            id,
            codec,
            plain_len,
            sealed_len: 0,
            base,
            depth,
            generation: depth.into(),
        };
        PackedBlob { entry, bytes }
    }

    /// Reads a pack from its bytes alone, as adoption does.
    fn read(sealer: &Sealer, file: &[u8]) -> Result<(PackRecord, Vec<Vec<u8>>)> {
        let (header, raw) = pack_header(file, "p")?;
        let key = sealer.key(&header, "p")?;
        let size = file.len() as u64;
        let (offset, len) = trailer_place(size, &file[file.len() - TAIL_LEN..], "p")?;
        let trailer = open_trailer(&key, &raw, file[offset as usize..(offset + len) as usize].to_vec(), "p")?;
        let record = decode_trailer(PackId::new(hash::digest(file)), size, raw, &trailer)?;
        let mut at = HEADER_LEN;
        let mut plain = Vec::new();
        for (ordinal, entry) in (0..).zip(&record.entries) {
            let end = at + entry.sealed_len as usize;
            plain.push(open_blob(&key, ordinal, entry, file[at..end].to_vec(), "p")?);
            at = end;
        }
        Ok((record, plain))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn round_trip(contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..40), pad: bool) {
            let sealer = sealer();
            let blobs: Vec<PackedBlob> = (0u8..).zip(&contents)
                .map(|(n, bytes)| blob(n, bytes.clone(), (n % 3 == 2).then(|| BlobId::new([n - 1; 32]))))
                .collect();
            let (record, file) = assemble(&sealer, PackClass::Runs, blobs, pad).unwrap();
            let (read, plain) = read(&sealer, &file).unwrap();
            prop_assert_eq!(read, record);
            prop_assert_eq!(plain, contents);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let sealer = sealer();
        let blobs =
            vec![blob(1, b"one".to_vec(), None), blob(2, b"two".to_vec(), Some(BlobId::new([1; 32])))];
        let (record, file) = assemble(&sealer, PackClass::Media, blobs, false).unwrap();
        for bit in 0..file.len() * 8 {
            let mut bad = file.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&sealer, &bad).is_err(), "bit {bit}");
        }
        assert!((TAIL_LEN..file.len()).all(|len| read(&sealer, &file[..len]).is_err()));
        assert_eq!(read(&sealer, &file).unwrap().0, record);
    }

    #[test]
    fn padme_keeps_lengths_coarse_and_the_cost_low() {
        for len in 1..200_000 {
            let padded = padme(len);
            assert!(padded >= len && (len < 32 || padded - len <= len * 12 / 100), "{len} -> {padded}");
        }
        assert_eq!(padme(padme(123_457)), padme(123_457));
        let lengths: std::collections::HashSet<_> = (1 << 16..1 << 17).map(padme).collect();
        assert!(lengths.len() <= 64, "{}", lengths.len());
    }

    #[test]
    fn a_padded_pack_has_a_padme_length() {
        let sealer = sealer();
        let (_, file) =
            assemble(&sealer, PackClass::Media, vec![blob(1, vec![7; 5000], None)], true).unwrap();
        assert_eq!(file.len(), padme(file.len()));
    }
}
