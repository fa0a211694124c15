//! L3: the seal of a database: a small file that says which bytes it had when its last user closed it.
//!
//! Rows have checksums of their own, but nobody looks at a row that no answer rests on. The seal covers every byte. It
//! is there only while nobody has written since: whoever is about to write takes it away first, and durably, and only
//! who holds the folder's lock alone makes a new one, after SQLite flushed the database and removed its log. So a seal
//! that is whole and does not fit means damage. One that is missing, or half written, means nothing: then the catalog is
//! checked row by row. No time of a file is asked, so that a copied cache is as good as the first one.

use super::files::open_private;
use super::row_mac;
use crate::crypto::Secret;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Builder};

pub(super) const SEAL: &str = "catalog.seal";
/// Bytes that are hashed at a time, in whatever order; what is kept is a hash of all these hashes.
const PART: u64 = 256 * 1024;
/// Parts for which another thread pays.
const PARTS_A_THREAD: u64 = 8;
const MOST_THREADS: u64 = 4;
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
    key: Secret,
}

impl Seal {
    pub(super) fn new(dir: &Path, database: &str, key: &Secret) -> Self {
        let key = Secret::new(row_mac(key, "the key of seals, version 1", &[]));
        Self { dir: dir.to_owned(), database: dir.join(database), key }
    }

    /// Compares the database with its seal. The lock must be held alone and no connection open: SQLite loses its locks
    /// on a file that is opened and closed beside it.
    pub(super) fn check(&self) -> Verdict {
        let Some((len, hash)) = self.read() else { return Verdict::Unknown };
        let looked = || {
            let file = open_to_read(&self.database)?;
            // First the length: it bounds what is read.
            Ok::<_, io::Error>(file.metadata()?.len() == len && self.hash(&file, len)? == hash)
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
            let mut content = [&len.to_le_bytes()[..], &self.hash(&file, len)?].concat();
            content.extend_from_slice(&self.checksum(&content));
            open_private(&self.path(), OFlags::TRUNC)?.write_all(&content)
        };
        if write().is_err() {
            let _half_a_seal_says_nothing = fs::remove_file(self.path());
        }
    }

    /// True if something stands where the seal would.
    pub(super) fn is_there(&self) -> bool {
        fs::symlink_metadata(self.path()).is_ok()
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

    /// Keyed BLAKE3 over that of all parts. Most of an opening is this, so all processors help.
    fn hash(&self, file: &File, len: u64) -> io::Result<[u8; 32]> {
        let processors = thread::available_parallelism().map_or(1, |number| number.get() as u64);
        let threads = processors.min(MOST_THREADS).min(len.div_ceil(PART) / PARTS_A_THREAD);
        let next = AtomicU64::new(0);
        let work = || self.hash_parts(file, len, &next);
        let mut parts = thread::scope(|scope| {
            let start = |_| Builder::new().spawn_scoped(scope, work).ok();
            // One that cannot be started leaves its parts to the others.
            let helpers: Vec<_> = (1..threads).filter_map(start).collect();
            let mut parts = work()?;
            for helper in helpers {
                parts.extend(helper.join().map_err(|_| io::Error::other("a thread died"))??);
            }
            Ok::<_, io::Error>(parts)
        })?;
        parts.sort_unstable_by_key(|(number, _)| *number);
        let mut whole = blake3::Hasher::new_keyed(self.key.expose());
        for (_, hash) in &parts {
            whole.update(hash.as_bytes());
        }
        Ok(*whole.finalize().as_bytes())
    }

    /// Hashes one part after the other that nobody else has begun with.
    fn hash_parts(&self, file: &File, len: u64, next: &AtomicU64) -> io::Result<Vec<(u64, blake3::Hash)>> {
        let mut buffer = Vec::new();
        let mut parts = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let start = number.saturating_mul(PART);
            if start >= len {
                return Ok(parts);
            }
            buffer.resize(usize::try_from(PART.min(len - start)).unwrap_or_default(), 0);
            file.read_exact_at(&mut buffer, start)?;
            parts.push((number, blake3::keyed_hash(self.key.expose(), &buffer)));
        }
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
