//! Reading blobs: the shallowest copy first, its bases before it, every plaintext compared with its name.

use crate::base::event::Silent;
use crate::base::{BlobId, Error, Kind, PackId, Result, Whose};
use crate::catalog::{BlobCopy, Catalog};
use crate::codec::Decompressor;
use crate::crypto::{Header, ObjectType};
use crate::format::pack::{MAX_DEPTH, open_blob};
use crate::model::{BlobEntry, BlobKind, CodecTag};
use crate::repo::Repo;
use crate::store::ObjectName;
use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};

/// One attempt to read a blob.
struct Attempt {
    /// What the plaintexts of bases are compared with.
    bases: Check,
    /// A delta did not give what it should: its base may be at fault, of which the seal alone was looked at.
    is_doubtful: bool,
    /// Blobs of which no copy below this depth could be read. Without it an index in which everything has two copies
    /// could make an attempt take twice as long with each step down.
    lost: HashSet<(BlobId, u8)>,
    /// Copies that cannot be read though what they rest on can: pack and place. They are not tried again either.
    bad: HashSet<(PackId, u32)>,
    /// Of these, the ones that are not there or not readable themselves, whatever they rest on.
    culprits: Vec<BlobId>,
}

impl Attempt {
    fn new(bases: Check) -> Self {
        Self { bases, is_doubtful: false, lost: HashSet::new(), bad: HashSet::new(), culprits: Vec::new() }
    }
}

/// What a plaintext is compared with, beyond the seal of its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Its name.
    Name,
    /// Nothing: the caller compares the whole content.
    Seal,
}

impl Repo {
    /// The plaintext of a blob.
    ///
    /// # Errors
    /// [`Kind::Damaged`] if no copy of it can be read, [`Kind::Denied`] if this user may not read one that may be whole; the
    /// error names the blob and what failed on that copy.
    pub fn read_blob(&self, kind: BlobKind, id: &BlobId) -> Result<Vec<u8>> {
        self.read_checked(kind, id, Check::Name)
    }

    /// As [`Self::read_blob`], for a piece of a content that the caller compares with its hash as a whole: the seal alone
    /// vouches for the piece (it covers the name), and no byte is hashed twice.
    ///
    /// # Errors
    /// As [`Self::read_blob`].
    pub fn read_piece(&self, id: &BlobId) -> Result<Vec<u8>> {
        self.read_checked(BlobKind::Data, id, Check::Seal)
    }

    fn read_checked(&self, kind: BlobKind, id: &BlobId, check: Check) -> Result<Vec<u8>> {
        // Asked before: another thread may be loading everything anew just now, and this one may see the half of it.
        let was_fresh = *self.fresh();
        let (mut read, mut attempt) = self.attempt(kind, id, check);
        // The catalog may be wrong where the repository is not: it is loaded anew once before damage is reported. First
        // what was written since; then, if that is not it, everything.
        for reload in [Self::load_later, Self::load_anew] {
            if was_fresh || !read.as_ref().is_err_and(|e| e.kind() == Kind::Damaged) {
                break;
            }
            reload(self)?;
            (read, attempt) = self.attempt(kind, id, check);
        }
        match &read {
            Err(e) if e.kind() == Kind::Damaged => {
                self.note_lost(attempt.culprits.into_iter().map(|id| (kind, id)));
            }
            Err(e) if e.kind() == Kind::Denied => self.note_denied(e),
            _ => {}
        }
        read
    }

    /// Reads a blob. What its bases are is proved by its own name: each of them hashed would take a third of the time of
    /// a long chain. Only where that proof fails are they read again and each compared with its name, so that the copy at
    /// fault is known and another one can take its place.
    fn attempt(&self, kind: BlobKind, id: &BlobId, check: Check) -> (Result<Vec<u8>>, Attempt) {
        let mut attempt = Attempt::new(Check::Seal);
        let mut read = self.read_below(kind, id, MAX_DEPTH + 1, check, &mut attempt);
        if attempt.is_doubtful && read.is_err() {
            attempt = Attempt::new(Check::Name);
            read = self.read_below(kind, id, MAX_DEPTH + 1, check, &mut attempt);
        }
        (read, attempt)
    }

    /// Loads what was written since.
    fn load_later(&self) -> Result<()> {
        self.refresh(&Silent)
    }

    /// Loads everything anew, once: another thread may have done it meanwhile.
    fn load_anew(&self) -> Result<()> {
        let mut fresh = self.fresh();
        if !*fresh {
            self.with_catalog(Catalog::clear_blobs)?;
            self.refresh(&Silent)?;
            *fresh = true;
        }
        Ok(())
    }

    fn fresh(&self) -> MutexGuard<'_, bool> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a copy that is shallower than `limit`.
    fn read_below(
        &self,
        kind: BlobKind,
        id: &BlobId,
        limit: u8,
        check: Check,
        attempt: &mut Attempt,
    ) -> Result<Vec<u8>> {
        let mut first = None;
        if !attempt.lost.contains(&(*id, limit)) {
            let copies = self.with_catalog(|catalog| catalog.copies(kind, id))?;
            if copies.is_empty() {
                attempt.culprits.push(*id);
            }
            for copy in copies.iter().filter(|copy| copy.entry.depth < limit) {
                if attempt.bad.contains(&(copy.pack, copy.ordinal)) {
                    continue;
                }
                match self.read_copy(copy, check, attempt) {
                    Ok(plain) => return Ok(plain),
                    Err(e) if matches!(e.kind(), Kind::Cancelled | Kind::Gone) => return Err(e),
                    // What this user may not read may be whole: nothing is called lost then.
                    Err(e) if e.kind() == Kind::Denied => first = Some(e),
                    Err(e) => first = first.or(Some(e)),
                }
            }
        }
        attempt.lost.insert((*id, limit));
        Err(first.unwrap_or_else(|| self.not_named(id)))
    }

    fn read_copy(&self, copy: &BlobCopy, check: Check, attempt: &mut Attempt) -> Result<Vec<u8>> {
        let entry = &copy.entry;
        // Before the copy itself: of a long chain only one plaintext is in memory.
        let base = match (entry.codec, &entry.base) {
            (CodecTag::Raw | CodecTag::Zstd, None) => None,
            // Only a shallower copy of the base will do: so no circle can be followed.
            (CodecTag::ZstdDelta, Some(base)) => {
                let plain = self.read_below(entry.kind, base, entry.depth, attempt.bases, attempt);
                Some(plain.map_err(|e| {
                    let what = format!("read blob {}, which rests on blob", entry.id.short());
                    Error::new(e.kind(), what, base.short()).because(e.full_text()).of(Whose::Repository)
                })?)
            }
            _ => return Err(Error::damaged("read blob", entry.id.short(), "its entry contradicts itself")),
        };
        let unpacked = self.read_packed(copy).and_then(|packed| {
            let plain = self.unpack(entry, packed, base.as_deref(), check);
            plain.inspect_err(|_| attempt.is_doubtful |= base.is_some())
        });
        unpacked.inspect_err(|e| {
            attempt.bad.insert((copy.pack, copy.ordinal));
            if e.kind() == Kind::Damaged {
                attempt.culprits.push(entry.id);
            }
        })
    }

    /// The plaintext of an opened copy.
    fn unpack(
        &self,
        entry: &BlobEntry,
        packed: Vec<u8>,
        base: Option<&[u8]>,
        check: Check,
    ) -> Result<Vec<u8>> {
        let plain = match entry.codec {
            CodecTag::Raw if packed.len() == entry.plain_len as usize => packed,
            CodecTag::Raw => {
                return Err(Error::damaged("read blob", entry.id.short(), "its entry contradicts itself"));
            }
            CodecTag::Zstd | CodecTag::ZstdDelta => {
                self.with_decompressor(|d| d.decompress(&packed, entry.plain_len, base))?
            }
        };
        if check == Check::Seal || self.name(entry.kind, &plain) == entry.id {
            Ok(plain)
        } else {
            Err(Error::damaged("read blob", entry.id.short(), "its content is not what its name stands for"))
        }
    }

    /// The bytes of a copy, opened and still packed.
    fn read_packed(&self, copy: &BlobCopy) -> Result<Vec<u8>> {
        let entry = &copy.entry;
        let subject = copy.pack.short();
        let header = Header::decode(&copy.header, ObjectType::Pack, &subject)?;
        let key = self.sealer.key(&header, &subject)?;
        let name = ObjectName::pack(&copy.pack);
        let sealed = self
            .store
            .get_range(&name, copy.offset.into(), entry.sealed_len.into())
            .map_err(|e| if e.kind() == Kind::NotFound { e.with_kind(Kind::Damaged) } else { e })?;
        open_blob(&key, copy.ordinal, entry, sealed, &subject)
    }

    /// Lends a decompressor; they are kept for the next caller.
    pub(crate) fn with_decompressor<T>(
        &self,
        work: impl FnOnce(&mut Decompressor) -> Result<T>,
    ) -> Result<T> {
        let kept = self.decompressors.lock().ok().and_then(|mut pool| pool.pop());
        let mut decompressor = match kept {
            Some(decompressor) => decompressor,
            None => Decompressor::new()?,
        };
        let result = work(&mut decompressor);
        if let Ok(mut pool) = self.decompressors.lock() {
            pool.push(decompressor);
        }
        result
    }
}
