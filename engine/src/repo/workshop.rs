//! Where a full buffer of blobs becomes a pack: in a random order, sealed, and each blob opened, unpacked and named again
//! before the pack counts.

use crate::base::{Error, Kind, PageBuffer, Result, hash};
use crate::crypto::secret::random_bytes;
use crate::crypto::{HEADER_LEN, ObjectKey, TAG_LEN};
use crate::format::pack::{
    PackBuilder, PackedBlob, TAIL_LEN, open_blob_in_place, open_trailer, pack_header, trailer_place,
};
use crate::model::{BlobEntry, CodecTag, PackClass, PackRecord};
use crate::repo::Repo;

/// What an entry of a trailer takes, at most, and what a pack has beside blobs and entries, roughly, in bytes.
const ENTRY_LEN: usize = 96;
const FRAME_LEN: usize = HEADER_LEN + TAIL_LEN + 2 * TAG_LEN + 16;

/// Room for tags, entries and padding of a usual pack, in bytes.
const SPARE: usize = 1 << 20;

const NEW_PACK: &str = "a new pack";

/// A blob in a buffer.
pub(super) struct Held {
    pub(super) blob: PackedBlob,
    /// Of a delta, which was proved to come back when it was made: the hash of its frame.
    pub(super) frame: Option<[u8; 32]>,
}

/// What a pack writer uses for one pack after the other: new memory would cost the kernel as much as writing it.
#[derive(Default)]
pub(super) struct Workshop {
    file: PageBuffer,
}

impl Workshop {
    /// Makes a pack of these blobs; a padded one if it is the last one of its kind, whose length would tell what it holds.
    ///
    /// # Errors
    /// [`Kind::Internal`] if a blob does not come back: a fault of memory, processor or compressor must not reach the
    /// disk.
    pub(super) fn make(
        &mut self,
        repo: &Repo,
        class: PackClass,
        mut blobs: Vec<Held>,
        last: bool,
    ) -> Result<(PackRecord, &[u8])> {
        shuffle(&mut blobs)?;
        let Self { file } = self;
        let total: usize = blobs.iter().map(|held| held.blob.bytes.len() + TAG_LEN + ENTRY_LEN).sum();
        let expected = FRAME_LEN + total + if last { total / 8 } else { 0 };
        // Room for every pack that is to come: memory that is given back and taken anew leaves gaps.
        let longest = repo.config.media_pack as usize + repo.config.chunk_max as usize + SPARE;
        let mut builder = PackBuilder::new(&repo.sealer, expected.max(longest), file)?;
        // As a reader will have it: from the header in the pack.
        let (header, clear) = pack_header(builder.bytes(), NEW_PACK)?;
        let key = repo.sealer.key(&header, NEW_PACK)?;
        for (ordinal, Held { blob: PackedBlob { entry, mut bytes }, frame }) in (0..).zip(blobs) {
            let (entry, tag) = builder.add(entry, &mut bytes)?;
            // What goes to the disk is what is opened now.
            if builder.bytes().strip_suffix(&tag).is_none_or(|file| !file.ends_with(&bytes)) {
                return Err(wrong("a blob was not copied as it is: memory of this machine may be faulty"));
            }
            open_blob_in_place(&key, ordinal, &entry, &mut bytes, tag, NEW_PACK)?;
            if !comes_back(repo, &entry, &bytes, frame)? {
                return Err(wrong(
                    "a blob does not come back as it was: memory or processor of this machine may be faulty",
                ));
            }
        }
        let record = builder.finish(class, last)?;
        open_end(&key, &clear, file)?;
        Ok((record, file))
    }
}

fn wrong(why: &'static str) -> Error {
    Error::new(Kind::Internal, "verify", NEW_PACK).because(why)
}

/// True if a blob gives back the plaintext that has its name.
fn comes_back(repo: &Repo, entry: &BlobEntry, packed: &[u8], frame: Option<[u8; 32]>) -> Result<bool> {
    Ok(match (entry.codec, frame) {
        (CodecTag::Raw, _) => repo.name(entry.kind, packed) == entry.id,
        // Its base need not be read again: that this frame gives back the plaintext is known.
        (CodecTag::ZstdDelta, Some(frame)) => hash::digest(packed) == frame,
        _ => {
            let plain = repo.with_decompressor(|d| d.decompress(packed, entry.plain_len, None))?;
            repo.name(entry.kind, &plain) == entry.id
        }
    })
}

/// Finds and opens the trailer of a pack.
fn open_end(key: &ObjectKey, clear: &[u8; HEADER_LEN], file: &[u8]) -> Result<()> {
    let tail = file.last_chunk::<TAIL_LEN>().ok_or_else(|| wrong("it has no end"))?;
    let (offset, len) = trailer_place(file.len() as u64, tail, NEW_PACK)?;
    let sealed = usize::try_from(offset).ok().zip(usize::try_from(len).ok());
    let sealed = sealed.and_then(|(offset, len)| file.get(offset..offset + len));
    let sealed = sealed.ok_or_else(|| wrong("its trailer lies outside it"))?;
    open_trailer(key, clear, sealed.to_vec(), NEW_PACK).map(|_| ())
}

/// Puts the blobs of a buffer into a random order, so that their sizes do not tell which file they are of.
fn shuffle(blobs: &mut [Held]) -> Result<()> {
    let mut state = u64::from_le_bytes(random_bytes()?) | 1;
    for last in (1..blobs.len()).rev() {
        // xorshift64 (Marsaglia 2003), seeded by the operating system; the order is not a secret key.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let other = usize::try_from(state % (last as u64 + 1)).unwrap_or(0);
        blobs.swap(last, other);
    }
    Ok(())
}
