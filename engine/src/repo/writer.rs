//! A run's writer: names, deduplicates and compresses blobs on the caller's thread, gathers them in one buffer a class,
//! and has full buffers made into packs and made durable by two threads of its own.

use crate::base::{BlobId, Cancel, Error, Kind, Result, hash};
use crate::codec::Compressor;
use crate::format::Config;
use crate::format::index::{TARGET_LEN, index_len};
use crate::format::pack::{MAX_BLOB_LEN, PackedBlob};
use crate::model::{BlobEntry, BlobKind, CodecTag, PackClass, PackRecord};
use crate::repo::Repo;
use crate::repo::budget::{Budget, Permit};
use crate::repo::commit::Rest;
use crate::repo::delta::Link;
use crate::repo::pages::PageSink;
use crate::repo::workshop::{Held, Workshop};
use crate::store::ObjectName;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Threads that seal, check and write packs: one computes while the other waits for the disk.
const PACK_WRITERS: usize = 2;
/// A pack is closed at so many blobs, however small they are.
const MAX_PACK_BLOBS: usize = 8192;
/// What a blob takes in memory beside its bytes, roughly.
const BLOB_OVERHEAD: usize = 512;
/// Full copies of page runs are packed at a level so much higher: they are what most of a database's repository consists
/// of for years, and shorter than other chunks (docs/design/0002-page-runs.md has what each level costs and saves).
const RUN_LEVELS_ABOVE: i32 = 1;
/// A delta of at most this part of the plaintext is taken without asking what a frame of its own would take.
const SURELY: usize = 8;
/// How often a thread that waits for packs looks whether the run was cancelled.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes for pieces on their way into buffers that are all but full.
const LEEWAY: usize = 4 << 20;

/// Bytes of everything between reading and a durable pack. Buffers that are being filled hold on to theirs until more
/// blobs come: with all of them all but full, the longest piece must still find room, or nobody would ever go on.
fn budget(config: &Config) -> usize {
    let buffers = config.media_pack as usize + 2 * config.other_pack as usize;
    let longest = config.chunk_max.max(config.run) as usize;
    buffers + longest + (3 * MAX_PACK_BLOBS + 1) * BLOB_OVERHEAD + LEEWAY
}

/// What a run added, in blobs and bytes.
#[derive(Debug, Default)]
pub struct Added {
    /// Data blobs.
    pub data_blobs: AtomicU64,
    /// Tree and list pages.
    pub page_blobs: AtomicU64,
    /// Plain bytes.
    pub plain_bytes: AtomicU64,
    /// Bytes in packs.
    pub packed_bytes: AtomicU64,
}

#[derive(Default)]
struct Buffer {
    blobs: Vec<Held>,
    permits: Vec<Permit>,
    bytes: usize,
}

struct Job {
    class: PackClass,
    buffer: Buffer,
    last: bool,
    /// In which order it was sent.
    number: u64,
}

/// A pack that is no longer under way, also if writing it fails: it would be waited for for ever.
struct Done<'w, 'r> {
    writer: &'w RunWriter<'r>,
    number: u64,
}

impl Drop for Done<'_, '_> {
    fn drop(&mut self) {
        self.writer.under_way().0.remove(&self.number);
        self.writer.one_less.notify_all();
    }
}

/// Has the pack writers end, also if the work panics: they would be waited for for ever.
struct Ending<'j>(&'j Sender<Job>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        // An empty buffer marked as last tells one pack writer to end.
        for _ in 0..PACK_WRITERS {
            let end =
                Job { class: PackClass::Metadata, buffer: Buffer::default(), last: true, number: u64::MAX };
            let _receivers_outlive_this = self.0.send(end);
        }
    }
}

/// Packs that are durable and stand in no index yet.
#[derive(Default)]
struct Finished {
    packs: Vec<PackRecord>,
    /// What they take in an index, roughly.
    index_len: usize,
}

/// What becomes of the blobs of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are stored.
    Stored,
    /// They are counted only: nothing is written.
    Counted,
}

/// Whether a blob is offered to the compressor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Stored compressed if a trial says that it pays.
    Tried,
    /// Stored as it is: its own format has packed it already.
    AsItIs,
}

/// A blob that is offered to the repository.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// What it holds.
    pub kind: BlobKind,
    /// The packs that it goes to.
    pub class: PackClass,
    /// Whether it is offered to the compressor.
    pub packing: Packing,
    /// What stood in its place before: it may be stored as a difference to that, or to something further back.
    pub previous: Option<BlobId>,
}

impl Offer {
    /// A page of a folder or list.
    fn page(kind: BlobKind, previous: Option<BlobId>) -> Self {
        Self { kind, class: PackClass::Metadata, packing: Packing::Tried, previous }
    }
}

/// How a blob was packed.
struct Packed {
    codec: CodecTag,
    bytes: Vec<u8>,
    /// Of a delta: base, depth, generation.
    link: Option<Link>,
}

/// Adds blobs to a repository. All methods may be called from many threads.
pub struct RunWriter<'r> {
    repo: &'r Repo,
    /// What becomes of what is put.
    pub fate: Fate,
    /// The bytes in flight.
    pub budget: Budget,
    /// Raised when the run failed or the user cancelled.
    pub cancel: Cancel,
    /// What was added.
    pub added: Added,
    seen: Mutex<HashSet<(BlobKind, BlobId)>>,
    buffers: [Mutex<Buffer>; 3],
    /// For page runs, and for everything else.
    compressors: [Mutex<Vec<Compressor>>; 2],
    finished: Mutex<Finished>,
    failure: Mutex<Option<Error>>,
    jobs: Sender<Job>,
    /// Packs that were sent and are neither written nor given up, by their numbers, and the next number.
    under_way: Mutex<(BTreeSet<u64>, u64)>,
    one_less: Condvar,
}

impl std::fmt::Debug for RunWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunWriter").field("added", &self.added).finish_non_exhaustive()
    }
}

impl<'r> RunWriter<'r> {
    /// Lends a writer to `work`; when that is done, writes what is left and returns the durable packs that are in no
    /// index yet.
    ///
    /// # Errors
    /// The first failure of `work` or of writing a pack; then nothing more is written.
    pub fn run<T>(
        repo: &'r Repo,
        fate: Fate,
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<(T, Vec<PackRecord>, Added)> {
        let (jobs, receiver) = bounded(1);
        let writer = Self {
            repo,
            fate,
            budget: Budget::new(budget(&repo.config)),
            cancel: repo.session.cancel.child(),
            added: Added::default(),
            seen: Mutex::default(),
            buffers: Default::default(),
            compressors: Default::default(),
            finished: Mutex::default(),
            failure: Mutex::default(),
            jobs,
            under_way: Mutex::default(),
            one_less: Condvar::new(),
        };
        let done = std::thread::scope(|scope| {
            let shared = &writer;
            for _ in 0..PACK_WRITERS {
                let receiver = receiver.clone();
                scope.spawn(move || shared.write_packs(&receiver));
            }
            // With no pack writer left, nobody waits for one.
            drop(receiver);
            let _ending = Ending(&shared.jobs);
            let done = shared.guard(|| work(shared)).and_then(|value| shared.flush().map(|()| value));
            if let Err(e) = &done {
                shared.fail(Error::new(e.kind(), e.act(), e.subject()));
            }
            done
        });
        writer.end(done)
    }

    fn end<T>(self, done: Result<T>) -> Result<(T, Vec<PackRecord>, Added)> {
        let failure = self.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Jobs that were dropped after a cancel must never look like packs that were written.
        let done = done.and_then(|value| self.cancel.check().map(|()| value));
        match (done, failure) {
            (Ok(value), None) => {
                let packs = self.finished.into_inner().unwrap_or_else(PoisonError::into_inner);
                Ok((value, packs.packs, self.added))
            }
            // A worker that stopped because another one failed says "cancelled": the failure itself is the cause.
            (Err(e), Some(cause)) if e.kind() == Kind::Cancelled && cause.kind() != Kind::Cancelled => {
                Err(cause)
            }
            (Err(e), _) | (Ok(_), Some(e)) => Err(e),
        }
    }

    /// Ends the run with this failure, unless it has one already.
    pub fn fail(&self, error: Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            *failure = Some(error);
        }
        self.cancel.cancel();
    }

    /// Takes bytes of the budget before something is read.
    pub fn reserve(&self, bytes: usize) -> Result<Permit> {
        self.budget.take(bytes + BLOB_OVERHEAD, &self.cancel)
    }

    /// Adds a blob unless the repository or this run has it, and says its name.
    pub fn put(&self, offer: Offer, plain: Vec<u8>, mut permit: Permit) -> Result<BlobId> {
        let Offer { kind, class, .. } = offer;
        let plain_len = u32::try_from(plain.len())
            .ok()
            .filter(|len| *len <= MAX_BLOB_LEN)
            .ok_or_else(|| Error::new(Kind::Internal, "store", "a blob").because("it is too long"))?;
        let id = self.repo.name(kind, &plain);
        if self.is_known(kind, id)? {
            return Ok(id);
        }
        let Packed { codec, bytes, link } = self.pack(offer, plain)?;
        permit.shrink_to(bytes.len() + BLOB_OVERHEAD);
        let (base, depth, generation) = match &link {
            Some(link) => (Some(link.base), link.depth, link.generation),
            None => (None, 0, 0),
        };
        let entry = BlobEntry { kind, id, codec, plain_len, sealed_len: 0, base, depth, generation };
        self.count(kind, plain_len, bytes.len());
        if self.fate == Fate::Counted {
            return Ok(id);
        }
        self.push(class, PackedBlob { entry, bytes }, permit)?;
        Ok(id)
    }

    /// Packs a blob: as a delta if that saves enough, else as a frame of its own if that pays, else not at all.
    fn pack(&self, offer: Offer, plain: Vec<u8>) -> Result<Packed> {
        let Offer { kind, class, packing, previous } = offer;
        let is_run = class == PackClass::Runs;
        let delta = match previous {
            Some(previous) => self.repo.delta(kind, &previous, &plain)?,
            None => None,
        };
        if let Some((link, frame)) = delta.as_ref().filter(|(_, frame)| frame.len() <= plain.len() / SURELY) {
            return Ok(Packed { codec: CodecTag::ZstdDelta, bytes: frame.clone(), link: Some(*link) });
        }
        let compressed = if packing == Packing::Tried { self.compress(&plain, is_run)? } else { None };
        let full_len = compressed.as_ref().map_or(plain.len(), Vec::len);
        Ok(match (delta, compressed) {
            (Some((link, frame)), _) if saves_enough(frame.len(), full_len) => {
                Packed { codec: CodecTag::ZstdDelta, bytes: frame, link: Some(link) }
            }
            (_, Some(frame)) => Packed { codec: CodecTag::Zstd, bytes: frame, link: None },
            (_, None) => Packed { codec: CodecTag::Raw, bytes: plain, link: None },
        })
    }

    /// True if the blob need not be stored; otherwise it counts as stored from now on.
    fn is_known(&self, kind: BlobKind, id: BlobId) -> Result<bool> {
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stored = || {
            Ok(!self.repo.is_lost(kind, &id)
                && self.repo.with_catalog(|catalog| catalog.contains(kind, &id))?)
        };
        if seen().contains(&(kind, id)) || is_stored()? {
            return Ok(true);
        }
        // Of two threads with the same content only one may go on.
        Ok(!seen().insert((kind, id)))
    }

    fn compress(&self, plain: &[u8], is_run: bool) -> Result<Option<Vec<u8>>> {
        let [runs, others] = &self.compressors;
        let pool = if is_run { runs } else { others };
        let kept = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut compressor = match kept {
            Some(compressor) => compressor,
            None => {
                let level = self.repo.session.compression + if is_run { RUN_LEVELS_ABOVE } else { 0 };
                Compressor::new(level.min(*Compressor::LEVELS.end()))?
            }
        };
        let result = compressor.compress(plain);
        pool.lock().unwrap_or_else(PoisonError::into_inner).push(compressor);
        result
    }

    fn count(&self, kind: BlobKind, plain: u32, packed: usize) {
        let blobs = if kind == BlobKind::Data { &self.added.data_blobs } else { &self.added.page_blobs };
        blobs.fetch_add(1, Ordering::Relaxed);
        self.added.plain_bytes.fetch_add(plain.into(), Ordering::Relaxed);
        self.added.packed_bytes.fetch_add((packed + crate::crypto::TAG_LEN) as u64, Ordering::Relaxed);
    }

    fn buffer(&self, class: PackClass) -> &Mutex<Buffer> {
        let [media, runs, metadata] = &self.buffers;
        match class {
            PackClass::Media => media,
            PackClass::Runs => runs,
            PackClass::Metadata => metadata,
        }
    }

    fn push(&self, class: PackClass, blob: PackedBlob, permit: Permit) -> Result<()> {
        let frame = blob.entry.base.map(|_| hash::digest(&blob.bytes));
        let config = &self.repo.config;
        let target = if class == PackClass::Media { config.media_pack } else { config.other_pack };
        let full = {
            let mut buffer = self.buffer(class).lock().unwrap_or_else(PoisonError::into_inner);
            buffer.bytes += blob.bytes.len();
            buffer.blobs.push(Held { blob, frame });
            buffer.permits.push(permit);
            let full = buffer.bytes >= target as usize || buffer.blobs.len() >= MAX_PACK_BLOBS;
            full.then(|| std::mem::take(&mut *buffer))
        };
        full.map_or(Ok(()), |buffer| self.send(Job { class, buffer, last: false, number: 0 }))
    }

    fn send(&self, job: Job) -> Result<()> {
        self.cancel.check()?;
        let number = {
            let mut under_way = self.under_way();
            let number = under_way.1;
            under_way.0.insert(number);
            under_way.1 += 1;
            number
        };
        self.jobs.send(Job { number, ..job }).map_err(|_| Error::cancelled())
    }

    fn under_way(&self) -> MutexGuard<'_, (BTreeSet<u64>, u64)> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes everything durable that was put so far and has an index name it: now it can be rested on. Costs small packs
    /// and an index object, so it is for where later blobs of this run are to be deltas against earlier ones.
    pub fn settle(&self) -> Result<()> {
        self.flush()?;
        let mut under_way = self.under_way();
        // What others send later is not waited for.
        let sent = under_way.1;
        while under_way.0.first().is_some_and(|oldest| *oldest < sent) {
            self.cancel.check()?;
            let waited = self.one_less.wait_timeout(under_way, LOOK);
            (under_way, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        drop(under_way);
        self.cancel.check()?;
        let finished = std::mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner));
        self.index(finished.packs)
    }

    /// Sends what is left in the buffers.
    fn flush(&self) -> Result<()> {
        for class in PackClass::ALL {
            let buffer =
                std::mem::take(&mut *self.buffer(class).lock().unwrap_or_else(PoisonError::into_inner));
            if !buffer.blobs.is_empty() {
                self.send(Job { class, buffer, last: true, number: 0 })?;
            }
        }
        Ok(())
    }

    fn write_packs(&self, jobs: &Receiver<Job>) {
        let mut workshop = Workshop::default();
        for job in jobs {
            let number = job.number;
            if job.last && job.buffer.blobs.is_empty() {
                return;
            }
            let _done = Done { writer: self, number };
            // After a failure jobs are only taken, so that nobody waits for a place in the channel.
            if self.cancel.is_cancelled() {
                continue;
            }
            let work = || self.write_pack(job, &mut workshop).and_then(|record| self.finish(record));
            if let Err(e) = self.guard(work) {
                self.fail(e);
            }
        }
    }

    /// Takes a durable pack. As soon as the packs fill an index object, it is written: then the catalog knows their
    /// blobs, and nothing of them is kept in memory.
    fn finish(&self, record: PackRecord) -> Result<()> {
        let full = {
            let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
            finished.index_len += index_len(&record);
            finished.packs.push(record);
            let full = finished.index_len >= TARGET_LEN;
            full.then(|| std::mem::take(&mut *finished))
        };
        full.map_or(Ok(()), |finished| self.index(finished.packs))
    }

    /// Has an index name durable packs, and the catalog know their blobs.
    fn index(&self, packs: Vec<PackRecord>) -> Result<()> {
        let blobs: Vec<_> =
            packs.iter().flat_map(|pack| &pack.entries).map(|entry| (entry.kind, entry.id)).collect();
        self.repo.write_indexes(packs, Rest::OnStored)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for blob in &blobs {
            seen.remove(blob);
        }
        Ok(())
    }

    fn write_pack(&self, job: Job, workshop: &mut Workshop) -> Result<PackRecord> {
        let Buffer { blobs, permits, .. } = job.buffer;
        let (record, file) = workshop.make(self.repo, job.class, blobs, job.last)?;
        self.repo.store.put_new(&ObjectName::pack(&record.pack), file)?;
        drop(permits);
        Ok(record)
    }
}

impl PageSink for RunWriter<'_> {
    fn put_page(&self, kind: BlobKind, page: Vec<u8>, previous: Option<BlobId>) -> Result<BlobId> {
        // Not waited for: the workers that would free the budget may be the ones that store pages.
        let permit = self.budget.take_now(page.len() + BLOB_OVERHEAD);
        self.put(Offer::page(kind, previous), page, permit)
    }
}

/// True if a delta of this length is worth having to read its base: it saves 40 %.
fn saves_enough(delta: usize, full: usize) -> bool {
    delta as u64 * 10 <= full as u64 * 6
}
