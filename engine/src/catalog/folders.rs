//! L3: the folders of all catalogs below one: listing them, and clearing those that nobody uses.

use super::files::{DATABASE_FILES, LOCK, TAG, lock_failed};
use super::seal::SEAL;
use super::writer::LOCK as WRITER_LOCK;
use super::{Catalog, files};
use crate::base::path::clean;
use crate::base::{Error, Kind, RepoId, Result, Timestamp, Whose};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file that says where the repository was when it was last opened; its time is that of the last use.
const LOCATION: &str = "location";
/// Longest location that is read, in bytes.
const MAX_LOCATION: u64 = 4096;
/// Most folders that are looked at.
const MOST_FOLDERS: usize = 65_536;

/// The cache of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFolder {
    /// Of which.
    pub repository: RepoId,
    /// Where the cache is.
    pub path: PathBuf,
    /// Where the repository was when it was last opened, for people: not clean, it may have been altered.
    pub location: Option<String>,
    /// Bytes of its files.
    pub bytes: u64,
    /// When a repository was last opened with it.
    pub last_use: Option<Timestamp>,
    /// True if a living program uses it.
    pub in_use: bool,
}

/// What became of a cache that was to be cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clearing {
    /// It is gone, and freed so many bytes.
    Cleared(u64),
    /// A living program uses it: it is as it was.
    InUse,
    /// There is none.
    Missing,
}

impl Catalog {
    /// Where the repository was when the cache was used last, if that is known.
    pub(crate) fn last_location(&self) -> Option<String> {
        self.home.as_ref().and_then(|home| read_location(home.dir()))
    }

    /// Remembers where the repository is and that the cache is used. Where that fails, only a listing misses it.
    pub(crate) fn note_use(&self, location: &str) -> Result<()> {
        let Some(home) = &self.home else { return Ok(()) };
        home.write_file(LOCATION, location.as_bytes())
            .map_err(|e| Error::new(Kind::Catalog, "write", "what the local catalog is of").because(e))
    }
}

/// The caches in a folder, by repository. A folder that is not there has none.
pub fn caches(dir: &Path) -> Result<Vec<CacheFolder>> {
    let failed = |e| Error::io("list the caches in", shown(dir), e).of(Whose::Cache);
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries.take(MOST_FOLDERS) {
        let entry = entry.map_err(failed)?;
        let Some(repository) = entry.file_name().to_str().and_then(RepoId::from_hex) else { continue };
        if entry.file_type().map_err(failed)?.is_dir() {
            found.extend(look_at(repository, entry.path()).map_err(failed)?);
        }
    }
    found.sort_by_key(|cache| cache.repository);
    Ok(found)
}

fn look_at(repository: RepoId, path: PathBuf) -> io::Result<Option<CacheFolder>> {
    let (mut bytes, mut last_use, mut is_one) = (0, None, false);
    for name in own_files() {
        let Ok(metadata) = fs::symlink_metadata(path.join(name)) else { continue };
        is_one = true;
        bytes += metadata.len();
        let time = Timestamp::new(metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or_default());
        last_use = last_use.max(Some(time));
    }
    if !is_one {
        return Ok(None);
    }
    let in_use = match open_lock(&path) {
        Ok(lock) => matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
        Err(e) if e.kind() == ErrorKind::NotFound => false,
        Err(e) => return Err(e),
    };
    let location = read_location(&path);
    Ok(Some(CacheFolder { repository, path, location, bytes, last_use, in_use }))
}

/// Deletes the cache of a repository, unless a living program uses it. What else lies in its folder stays there.
pub fn clear_cache(dir: &Path, repository: &RepoId) -> Result<Clearing> {
    let path = dir.join(repository.to_string());
    clear(&path)
        .map_err(|e| Error::io("clear the cache", shown(&path), e).of(Whose::Cache).with_kind(Kind::Io))
}

fn clear(path: &Path) -> io::Result<Clearing> {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    if !is_folder {
        return Ok(Clearing::Missing);
    }
    // Made if it is missing: nobody may begin to use the cache meanwhile.
    let lock = files::open_private(&path.join(LOCK), OFlags::empty())?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Clearing::InUse),
        Err(TryLockError::Error(e)) => return Err(io::Error::other(lock_failed(&e))),
    }
    let mut bytes = 0;
    // The lock last: whoever waits for it finds that it is gone, and begins anew.
    for name in own_files() {
        let file = path.join(name);
        let len = fs::symlink_metadata(&file).map_or(0, |metadata| metadata.len());
        match fs::remove_file(&file) {
            Ok(()) => bytes += len,
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    match fs::remove_dir(path) {
        Err(e) if e.kind() != ErrorKind::DirectoryNotEmpty => Err(e),
        _ => Ok(Clearing::Cleared(bytes)),
    }
}

/// All files of a cache, the lock last.
fn own_files() -> impl Iterator<Item = &'static str> {
    [SEAL].into_iter().chain(DATABASE_FILES).chain([WRITER_LOCK, LOCATION, TAG, LOCK])
}

fn open_lock(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path.join(LOCK), flags, Mode::empty())?.into())
}

fn read_location(path: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: File = rustix::fs::open(path.join(LOCATION), flags, Mode::empty()).ok()?.into();
    let mut bytes = Vec::new();
    file.take(MAX_LOCATION).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned()).filter(|text| !text.is_empty())
}

fn shown(path: &Path) -> String {
    clean(path.as_os_str().as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: RepoId = RepoId::new([1; 32]);
    const SECOND: RepoId = RepoId::new([2; 32]);

    fn open(dir: &Path, repo: &RepoId) -> Catalog {
        let (catalog, why) = Catalog::open(Some(&dir.join(repo.to_string())), repo, [7; 32]).unwrap();
        assert_eq!(why, None);
        catalog
    }

    #[test]
    fn caches_are_listed_with_what_they_are_of_and_who_uses_them() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(caches(&dir.path().join("nowhere")).unwrap(), []);
        let first = open(dir.path(), &FIRST);
        first.note_use("/media/usb").unwrap();
        open(dir.path(), &SECOND);
        fs::create_dir(dir.path().join("something else")).unwrap();
        let found = caches(dir.path()).unwrap();
        let seen: Vec<_> =
            found.iter().map(|cache| (cache.repository, cache.location.as_deref(), cache.in_use)).collect();
        assert_eq!(seen, [(FIRST, Some("/media/usb"), true), (SECOND, None, false)]);
        assert!(found.iter().all(|cache| cache.bytes > 4096 && cache.last_use.is_some()));
    }

    #[test]
    fn only_a_cache_that_nobody_uses_is_cleared_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), &FIRST);
        assert_eq!(clear_cache(dir.path(), &FIRST).unwrap(), Clearing::InUse);
        first.set_prune_epoch(3).unwrap();
        let bytes = caches(dir.path()).unwrap()[0].bytes;
        drop(first);
        let cleared = clear_cache(dir.path(), &FIRST).unwrap();
        assert!(matches!(cleared, Clearing::Cleared(freed) if freed > 4096 && freed <= bytes), "{cleared:?}");
        assert!(!dir.path().join(FIRST.to_string()).exists());
        assert_eq!(clear_cache(dir.path(), &FIRST).unwrap(), Clearing::Missing);
        open(dir.path(), &SECOND);
        let foreign = dir.path().join(SECOND.to_string()).join("foreign");
        fs::write(&foreign, "x").unwrap();
        assert!(matches!(clear_cache(dir.path(), &SECOND).unwrap(), Clearing::Cleared(_)));
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "x");
        assert_eq!(open(dir.path(), &SECOND).prune_epoch().unwrap(), 0);
    }

    #[test]
    fn who_waited_for_a_cache_that_was_cleared_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join(FIRST.to_string());
        drop(open(dir.path(), &FIRST));
        let held = files::open_private(&home.join(LOCK), OFlags::empty()).unwrap();
        held.try_lock().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| open(dir.path(), &FIRST));
            // While it waits, or before: what it finds locked is cleared.
            for name in own_files() {
                let _ = fs::remove_file(home.join(name));
            }
            drop(held);
            let catalog = waiting.join().unwrap();
            assert!(!catalog.is_in_memory());
            assert_eq!(clear_cache(dir.path(), &FIRST).unwrap(), Clearing::InUse);
        });
    }
}
