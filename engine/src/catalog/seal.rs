//! L3: the seal of a database: a small file that says which bytes it had when its last user closed it.
//!
//! Rows have checksums of their own, but nobody looks at a row that no answer rests on. The seal covers every byte. It
//! is there only while nobody has written since: whoever is about to write replaces it first, and durably, and only
//! who holds the folder's lock alone makes a new one, after SQLite flushed the database and removed its log. So a seal
//! that is whole and does not fit means damage. One that is missing, or half written, means nothing: then the catalog is
//! checked row by row. No time of a file is asked, so that a copied cache is as good as the first one.
//!
//! Whoever opened it with a seal knows the hash of every part, and the log names the pages that were written since: then
//! a new seal takes over the hashes of all other parts. That saves reading them, and damage that was done to them
//! meanwhile does not become what is sealed. In place of the seal stands a mark of who began to write last, which is
//! random: if it is another's, there may have been another log, and the whole is hashed.

use super::files::open_private;
use super::log::written_pages;
use super::row_mac;
use crate::crypto::Secret;
use crate::crypto::secret::fill_random;
use crate::sqlite::capture::Sidecar;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder};

pub(super) const SEAL: &str = "catalog.seal";
/// Bytes that are hashed at a time, in whatever order; what is kept is a hash of all these hashes. No page of a database
/// lies in two of them.
const PART: u64 = 64 * 1024;
/// Parts for which another thread pays.
const PARTS_A_THREAD: usize = 32;
const MOST_THREADS: usize = 4;
/// Length of the database 8, hash of its parts 32, checksum of both 32 bytes.
const LEN: usize = 72;

/// What a seal says of the database beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every byte is what it was.
    Fits,
    /// Some byte is not.
    Differs,
    /// Nothing: there is no seal that can be used.
    Unknown,
}

/// The place of a seal, and the key that makes it.
#[derive(Debug)]
pub(super) struct Seal {
    dir: PathBuf,
    database: PathBuf,
    log: PathBuf,
    key: Secret,
    /// What it was when it was opened, if it fitted.
    opened: OnceLock<Parts>,
    /// What is written through, and the mark in place of the seal.
    writing: OnceLock<(File, [u8; LEN])>,
}

/// A database in parts.
#[derive(Debug)]
struct Parts {
    len: u64,
    hashes: Vec<blake3::Hash>,
}

impl Seal {
    pub(super) fn new(dir: &Path, database: &str, key: &Secret) -> Self {
        let key = Secret::new(row_mac(key, "the key of seals, version 1", &[]));
        Self {
            dir: dir.to_owned(),
            database: dir.join(database),
            log: dir.join(format!("{database}{}", Sidecar::Wal.suffix())),
            key,
            opened: OnceLock::new(),
            writing: OnceLock::new(),
        }
    }

    /// Compares the database with its seal. The lock must be held alone and no connection open: SQLite loses its locks
    /// on a file that is opened and closed beside it.
    pub(super) fn check(&self) -> Verdict {
        let Some((len, hash)) = self.read() else { return Verdict::Unknown };
        let looked = || {
            let file = open_to_read(&self.database)?;
            // First the length: it bounds what is read.
            if file.metadata()?.len() != len {
                return Ok(false);
            }
            let parts = Parts { len, hashes: self.hash(&file, len, None)? };
            let fits = self.sum(&parts) == hash;
            if fits {
                let _it_is_the_first = self.opened.set(parts);
            }
            Ok::<_, io::Error>(fits)
        };
        match looked() {
            Ok(true) => Verdict::Fits,
            Ok(false) => Verdict::Differs,
            // SQLite will meet the same and has words for it.
            Err(_) => Verdict::Unknown,
        }
    }

    /// Seals the database as it is. The lock must be held alone and no connection open. Where that fails, the next
    /// opening takes longer, and that is all.
    pub(super) fn set(&self) {
        let write = || {
            let file = open_to_read(&self.database)?;
            let len = file.metadata()?.len();
            let hashes = self.hash(&file, len, self.unchanged()?)?;
            let mut content = [&len.to_le_bytes()[..], &self.sum(&Parts { len, hashes })].concat();
            content.extend_from_slice(&self.checksum(&content));
            open_private(&self.path(), OFlags::TRUNC)?.write_all(&content)
        };
        if write().is_err() {
            let _half_a_seal_says_nothing = fs::remove_file(self.path());
        }
    }

    /// The parts that are known and were not written to. It may name less than there are.
    fn unchanged(&self) -> io::Result<Option<HashMap<usize, blake3::Hash>>> {
        let Some((parts, (log, mark))) = self.opened.get().zip(self.writing.get()) else { return Ok(None) };
        if fs::read(self.path()).ok().is_none_or(|there| there != mark) {
            return Ok(None);
        }
        let Some(pages) = written_pages(log)? else { return Ok(None) };
        let changed: HashSet<usize> = pages.iter().filter_map(|at| usize::try_from(at / PART).ok()).collect();
        // The last one may have been a piece of a part.
        let whole = usize::try_from(parts.len / PART).unwrap_or_default();
        let known = parts.hashes.iter().copied().enumerate().take(whole);
        Ok(Some(known.filter(|(number, _)| !changed.contains(number)).collect()))
    }

    /// True if a seal stands there that may fit.
    pub(super) fn is_there(&self) -> bool {
        self.read().is_some()
    }

    /// Puts a mark in place of the seal, for somebody who has the database open and goes on to write. The seal must not
    /// come back when the power fails after the database was written to. That takes one flush of data that lie where
    /// others lay, which is the cheapest there is.
    pub(super) fn replace_by_mark(&self) -> io::Result<()> {
        let mut mark = [0; LEN];
        fill_random(&mut mark).map_err(io::Error::other)?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(self.path(), flags, Mode::empty()) {
            Ok(seal) => {
                let seal = File::from(seal);
                seal.write_all_at(&mark, 0)?;
                seal.sync_data()?;
            }
            // There is nothing that could come back. Without a mark the whole is hashed when it is closed.
            Err(Errno::NOENT) => {
                let _only_costs_time =
                    open_private(&self.path(), OFlags::EXCL).and_then(|mut seal| seal.write_all(&mark));
            }
            Err(e) => return Err(e.into()),
        }
        if let Ok(log) = open_to_read(&self.log) {
            let _it_is_the_first = self.writing.set((log, mark));
        }
        Ok(())
    }

    /// Takes the seal away. It must not come back when the power fails after the database was written to.
    pub(super) fn take_away(&self) -> io::Result<()> {
        match fs::remove_file(self.path()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::IsADirectory => fs::remove_dir(self.path())?,
            other => other?,
        }
        match rustix::fs::fsync(File::open(&self.dir)?) {
            // Some file systems flush no folders and say so.
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(SEAL)
    }

    /// Length and hash that a seal names; none if it is not one of ours, or not whole.
    fn read(&self) -> Option<(u64, [u8; 32])> {
        let mut content = Vec::with_capacity(LEN + 1);
        open_to_read(&self.path()).ok()?.take(LEN as u64 + 1).read_to_end(&mut content).ok()?;
        let (said, checksum) = content.split_last_chunk::<32>()?;
        let (len, hash) = said.split_first_chunk()?;
        let is_ours = *checksum == self.checksum(said);
        Some((u64::from_le_bytes(*len), hash.try_into().ok()?)).filter(|_| is_ours)
    }

    fn checksum(&self, said: &[u8]) -> [u8; 32] {
        row_mac(&self.key, "seal", &[said])
    }

    /// Keyed BLAKE3 over those of all parts.
    fn sum(&self, parts: &Parts) -> [u8; 32] {
        let mut whole = blake3::Hasher::new_keyed(self.key.expose());
        for hash in &parts.hashes {
            whole.update(hash.as_bytes());
        }
        *whole.finalize().as_bytes()
    }

    /// Keyed BLAKE3 of each part, but for those that are known. Most of an opening is this, so all processors help.
    fn hash(
        &self,
        file: &File,
        len: u64,
        known: Option<HashMap<usize, blake3::Hash>>,
    ) -> io::Result<Vec<blake3::Hash>> {
        let is_whole = |number: &usize| (*number as u64 + 1) * PART <= len;
        let known: HashMap<_, _> =
            known.into_iter().flatten().filter(|(number, _)| is_whole(number)).collect();
        let count = usize::try_from(len.div_ceil(PART)).map_err(io::Error::other)?;
        let unknown: Vec<usize> = (0..count).filter(|number| !known.contains_key(number)).collect();
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = processors.min(MOST_THREADS).min(unknown.len() / PARTS_A_THREAD);
        let next = AtomicUsize::new(0);
        let work = || self.hash_parts(file, len, &unknown, &next);
        let mut parts: Vec<(usize, blake3::Hash)> = thread::scope(|scope| {
            let start = |_| Builder::new().spawn_scoped(scope, work).ok();
            // One that cannot be started leaves its parts to the others.
            let helpers: Vec<_> = (1..threads).filter_map(start).collect();
            let mut parts = work()?;
            for helper in helpers {
                parts.extend(helper.join().map_err(|_| io::Error::other("a thread died"))??);
            }
            Ok::<_, io::Error>(parts)
        })?;
        parts.extend(known);
        parts.sort_unstable_by_key(|(number, _)| *number);
        Ok(parts.into_iter().map(|(_, hash)| hash).collect())
    }

    /// Hashes one part after the other that nobody else has begun with.
    fn hash_parts(
        &self,
        file: &File,
        len: u64,
        numbers: &[usize],
        next: &AtomicUsize,
    ) -> io::Result<Vec<(usize, blake3::Hash)>> {
        let mut buffer = Vec::new();
        let mut parts = Vec::new();
        while let Some(number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = *number as u64 * PART;
            buffer.resize(usize::try_from(PART.min(len.saturating_sub(start))).unwrap_or_default(), 0);
            file.read_exact_at(&mut buffer, start)?;
            parts.push((*number, blake3::keyed_hash(self.key.expose(), &buffer)));
        }
        Ok(parts)
    }
}

fn open_to_read(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(content: &[u8]) -> (tempfile::TempDir, Seal) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("database"), content).unwrap();
        let seal = Seal::new(dir.path(), "database", &Secret::new([7; 32]));
        assert_eq!(seal.check(), Verdict::Unknown);
        seal.set();
        assert_eq!(seal.check(), Verdict::Fits);
        (dir, seal)
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&len.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn any_byte_and_any_length_is_noticed_by_one_thread_and_by_several() {
        let part = PART as usize;
        for len in [0, 1, part - 1, part, part + 1, 40 * part, 40 * part + 77] {
            let content = noise(len);
            let (dir, seal) = sealed(&content);
            let check = |content: &[u8]| {
                fs::write(dir.path().join("database"), content).unwrap();
                seal.check()
            };
            for at in [0, len / 3, len.saturating_sub(part), len.saturating_sub(1)] {
                let mut altered = content.clone();
                let Some(byte) = altered.get_mut(at) else { continue };
                *byte ^= 1;
                assert_eq!(check(&altered), Verdict::Differs, "byte {at} of {len}");
            }
            assert_eq!(check(&[&content[..], b"x"].concat()), Verdict::Differs);
            if len > 2 * part {
                let swapped = [&content[part..2 * part], &content[..part], &content[2 * part..]].concat();
                assert_eq!(check(&swapped), Verdict::Differs);
                assert_eq!(check(&content[..len - 1]), Verdict::Differs);
            }
            assert_eq!(check(&content), Verdict::Fits, "a copy is as good");
        }
    }

    #[test]
    fn parts_that_the_log_does_not_name_are_taken_over_unless_another_one_wrote_last() {
        let part = PART as usize;
        let content = noise(4 * part);
        let mut altered = content.clone();
        altered[2 * part + 7] ^= 1;
        for (others, log, expected) in [
            (0, &b""[..], Verdict::Differs),
            (1, b"", Verdict::Fits),
            (2, b"", Verdict::Fits),
            (0, b"no log", Verdict::Fits),
        ] {
            let (dir, seal) = sealed(&content);
            let other = || Seal::new(dir.path(), "database", &Secret::new([7; 32]));
            fs::write(dir.path().join("database-wal"), log).unwrap();
            seal.replace_by_mark().unwrap();
            assert!(!seal.is_there());
            (0..others).for_each(|_| other().replace_by_mark().unwrap());
            fs::remove_file(dir.path().join("database-wal")).unwrap();
            fs::write(dir.path().join("database"), &altered).unwrap();
            seal.set();
            assert!(seal.is_there());
            assert_eq!(other().check(), expected, "{others} others, log {log:?}");
        }
    }

    #[test]
    fn a_seal_that_is_altered_torn_foreign_or_gone_says_nothing() {
        let (dir, seal) = sealed(&noise(5000));
        let whole = fs::read(seal.path()).unwrap();
        assert_eq!(whole.len(), LEN);
        let put = |content: &[u8]| fs::write(seal.path(), content).unwrap();
        for at in 0..LEN {
            let mut altered = whole.clone();
            altered[at] ^= 0x80;
            put(&altered);
            assert_eq!(seal.check(), Verdict::Unknown, "byte {at}");
            put(&whole[..at]);
            assert_eq!(seal.check(), Verdict::Unknown, "{at} bytes");
        }
        put(&[&whole[..], b"x"].concat());
        assert_eq!(seal.check(), Verdict::Unknown);
        put(&whole);
        assert_eq!(Seal::new(dir.path(), "database", &Secret::new([8; 32])).check(), Verdict::Unknown);
        assert_eq!(seal.check(), Verdict::Fits);
        seal.take_away().unwrap();
        assert!(!seal.is_there());
        seal.take_away().unwrap();
        fs::create_dir(seal.path()).unwrap();
        assert_eq!(seal.check(), Verdict::Unknown);
        seal.take_away().unwrap();
        assert!(!seal.is_there());
    }
}
