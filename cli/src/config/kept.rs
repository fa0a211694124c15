//! Recovery keys that are kept in the configuration folder: `recovery-keys/<repository id>`, for their owner only.
//!
//! A key is durable here before the repository that it opens is made: first as `new-<random>`, since the repository's
//! id is not known yet, then under its id. A run that died in between leaves the first name: the next one that opens a
//! repository tries it, and the next one that makes a repository uses it again. So none of them is ever deleted that
//! might open something. Whoever makes a repository with such a key holds a lock on its file.

use crate::config::private_file;
use crate::output::error::{Failure, Result};
use crate::output::human;
use chatvault_engine::base::RepoId;
use chatvault_engine::base::id::to_hex;
use chatvault_engine::crypto::{RecoveryKey, random_bytes};
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const FOLDER: &str = "recovery-keys";
const PENDING: &str = "new-";
/// Longest key file that is read, in bytes.
const MAX_LEN: u64 = 4096;

/// Where the key of a repository is, or would be.
pub(crate) fn path_of(config: &Path, id: RepoId) -> PathBuf {
    config.join(FOLDER).join(id.to_string())
}

/// The kept key of a repository, if there is one.
pub(crate) fn find(config: &Path, id: RepoId) -> Result<Option<RecoveryKey>> {
    let path = path_of(config, id);
    let found = read(&path)?;
    if found.is_some() {
        tidy(config, &path);
    }
    Ok(found)
}

/// A key that is kept, but perhaps not yet under the id of its repository.
#[derive(Debug)]
pub(crate) struct KeptKey {
    /// The key.
    pub(crate) key: RecoveryKey,
    path: PathBuf,
}

/// A key for a repository that is about to be made. No other program takes it meanwhile.
#[derive(Debug)]
pub(crate) struct PendingKey {
    kept: KeptKey,
    is_new: bool,
    _lock: Option<File>,
}

impl PendingKey {
    /// Takes the key of a run that died before it made its repository, or draws one and keeps it. Durable when this
    /// returns.
    pub(crate) fn take(config: &Path) -> Result<Self> {
        let folder = config.join(FOLDER);
        private_file::create_folder(&folder)?;
        private_file::remove_unfinished(&folder);
        if let Some(left) = candidates(config).into_iter().filter(KeptKey::is_pending).find_map(Self::again) {
            return Ok(left);
        }
        loop {
            let key = RecoveryKey::random()?;
            let path = folder.join(format!("{PENDING}{}", to_hex(&random_bytes::<8>()?)));
            private_file::create(&path, &Zeroizing::new(format!("{}\n", key.print())))?;
            // If it is locked, another program took it the moment it was there, and it may be its own.
            if let Some(lock) = lock(&path) {
                return Ok(Self { kept: KeptKey { key, path }, is_new: true, _lock: lock });
            }
        }
    }

    /// Takes a key that is there: if nobody uses it, and it has not got the name of a repository as well.
    fn again(kept: KeptKey) -> Option<Self> {
        let lock = lock(&kept.path)??;
        let (held, named) = (lock.metadata().ok()?, kept.path.symlink_metadata().ok()?);
        let is_same = (held.dev(), held.ino(), held.nlink()) == (named.dev(), named.ino(), 1);
        // The run that died may not have come so far.
        let is_durable = is_same && private_file::sync_parent(&kept.path).is_ok();
        is_durable.then_some(Self { kept, is_new: false, _lock: Some(lock) })
    }

    /// The key.
    pub(crate) fn key(&self) -> &RecoveryKey {
        &self.kept.key
    }

    /// See [`KeptKey::belongs_to`].
    pub(crate) fn belongs_to(self, config: &Path, id: RepoId) -> Result<PathBuf> {
        self.kept.belongs_to(config, id)
    }

    /// Forgets a key with which no repository was made. One that was there before stays.
    pub(crate) fn discard(self) {
        if self.is_new {
            // What stays is taken by the next run.
            let _ = std::fs::remove_file(&self.kept.path);
        }
    }
}

impl KeptKey {
    /// Gives it the name of its repository. Durable when this returns; a key that has that name is never replaced, and
    /// the key of another repository keeps its own.
    pub(crate) fn belongs_to(self, config: &Path, id: RepoId) -> Result<PathBuf> {
        let path = path_of(config, id);
        let linked = match std::fs::hard_link(&self.path, &path) {
            // Another program that tried it gave it the name.
            Err(_) if read(&path)?.is_some_and(|there| there.print() == self.key.print()) => Ok(()),
            linked => linked,
        };
        linked
            .and_then(|()| private_file::sync_parent(&path))
            .and_then(|()| if self.is_pending() { remove(&self.path) } else { Ok(()) })
            .map_err(|cause| Failure::io("keep the recovery key as", human::shown(&path), cause))?;
        Ok(path)
    }

    fn is_pending(&self) -> bool {
        is_pending(&self.path)
    }
}

/// Keeps a key that opens this repository. A key that is kept already and opens it, too, stays; one that does not is set
/// aside: it may open another repository. Durable when this returns.
pub(crate) fn keep(
    config: &Path,
    id: RepoId,
    key: &RecoveryKey,
    opens: &dyn Fn(&RecoveryKey) -> bool,
) -> Result<PathBuf> {
    let path = path_of(config, id);
    private_file::create_folder(&config.join(FOLDER))?;
    if path.symlink_metadata().is_ok() {
        if let Ok(Some(there)) = read(&path)
            && opens(&there)
        {
            return Ok(path);
        }
        let mut aside = path.clone().into_os_string();
        aside.push(format!(".{}", to_hex(&random_bytes::<4>()?)));
        std::fs::rename(&path, &aside)
            .map_err(|cause| Failure::io("set aside the saved key", human::shown(&path), cause))?;
    }
    private_file::create(&path, &Zeroizing::new(format!("{}\n", key.print())))?;
    Ok(path)
}

fn is_pending(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PENDING.as_bytes()))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

/// All kept keys: first those that have no repository's name yet. Each may open any repository: a key may have been
/// used again while the repository that it was made for was somewhere else.
pub(crate) fn candidates(config: &Path) -> Vec<KeptKey> {
    let mut found: Vec<KeptKey> =
        paths(config).filter_map(|path| Some(KeptKey { key: read(&path).ok()??, path })).collect();
    found.sort_by_key(|kept| !kept.is_pending());
    found
}

fn paths(config: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(config.join(FOLDER)).into_iter().flatten();
    let is_key = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        is_pending(path) || name.and_then(RepoId::from_hex).is_some()
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_key)
}

/// Removes the first names of a key that has got its repository's: what a run left that died in between.
fn tidy(config: &Path, named: &Path) {
    let identity = |path: &Path| path.symlink_metadata().ok().map(|found| (found.dev(), found.ino()));
    let own = identity(named);
    for path in paths(config).filter(|path| is_pending(path) && own.is_some() && identity(path) == own) {
        // It does no harm.
        let _ = remove(&path);
    }
}

/// Locks a key; none if another program has, and no lock where there are no locks.
fn lock(path: &Path) -> Option<Option<File>> {
    let file = File::open(path).ok()?;
    match file.try_lock() {
        Ok(()) => Some(Some(file)),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(_)) => Some(None),
    }
}

fn read(path: &Path) -> Result<Option<RecoveryKey>> {
    let mut text = Zeroizing::new(String::new());
    let read = File::open(path).and_then(|file| file.take(MAX_LEN).read_to_string(&mut text));
    match read {
        Ok(_) => RecoveryKey::parse(&text).map(Some).map_err(|error| {
            Failure::from(error).with_hint(format!(
                "the kept key {} is altered: open the repository with the printed recovery kit",
                human::shown(path)
            ))
        }),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Failure::io("read the kept recovery key", human::shown(path), cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Condition;
    use std::os::unix::fs::PermissionsExt;

    fn names(config: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(config.join(FOLDER)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_key_is_kept_privately_and_found_by_its_repository() {
        let folder = tempfile::tempdir().unwrap();
        let id = RepoId::new([7; 32]);
        assert!(find(folder.path(), id).unwrap().is_none());
        let drawn = PendingKey::take(folder.path()).unwrap();
        let printed = drawn.key().print();
        assert_eq!(candidates(folder.path()).iter().filter(|kept| kept.is_pending()).count(), 1);
        let path = drawn.belongs_to(folder.path(), id).unwrap();
        assert_eq!(find(folder.path(), id).unwrap().unwrap().print(), printed);
        assert_eq!(names(folder.path()), [id.to_string()]);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn a_kept_key_is_never_replaced_and_an_altered_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let id = RepoId::new([7; 32]);
        let path = PendingKey::take(folder.path()).unwrap().belongs_to(folder.path(), id).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(PendingKey::take(folder.path()).unwrap().belongs_to(folder.path(), id).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::write(&path, "cv1-0000\n").unwrap();
        assert_eq!(find(folder.path(), id).unwrap_err().condition(), Condition::WrongKey);
    }

    #[test]
    fn a_discarded_key_leaves_nothing_but_one_that_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        PendingKey::take(folder.path()).unwrap().discard();
        assert!(names(folder.path()).is_empty());
        // As if the program had been killed.
        drop(PendingKey::take(folder.path()).unwrap());
        let left = names(folder.path());
        PendingKey::take(folder.path()).unwrap().discard();
        assert_eq!((left.len(), names(folder.path())), (1, left));
    }

    #[test]
    fn a_key_that_was_left_is_used_again_with_what_was_unfinished_gone() {
        let folder = tempfile::tempdir().unwrap();
        let printed = PendingKey::take(folder.path()).unwrap().key().print();
        std::fs::write(folder.path().join(FOLDER).join(".tmp-0123456789abcdef"), "cv1-00").unwrap();
        let again = PendingKey::take(folder.path()).unwrap();
        assert_eq!((again.key().print(), names(folder.path()).len()), (printed, 1));
        // Not while somebody makes a repository with it.
        assert_ne!(PendingKey::take(folder.path()).unwrap().key().print(), again.key().print());
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn a_key_that_got_its_name_by_half_is_not_used_again_and_loses_the_first_one() {
        let folder = tempfile::tempdir().unwrap();
        let id = RepoId::new([7; 32]);
        let left = PendingKey::take(folder.path()).unwrap();
        let printed = left.key().print();
        // Killed between the two names.
        std::fs::hard_link(&left.kept.path, path_of(folder.path(), id)).unwrap();
        drop(left);
        let other = PendingKey::take(folder.path()).unwrap();
        assert_ne!(other.key().print(), printed);
        other.discard();
        assert_eq!(find(folder.path(), id).unwrap().unwrap().print(), printed);
        assert_eq!(names(folder.path()), [id.to_string()]);
    }

    #[test]
    fn a_key_that_is_given_is_kept_and_one_that_opens_nothing_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let id = RepoId::new([7; 32]);
        let (right, other) = (RecoveryKey::random().unwrap(), RecoveryKey::random().unwrap());
        let opens = |key: &RecoveryKey| key.print() == right.print();
        for before in [None, Some(other.print()), Some("cv1-00".to_owned())] {
            if let Some(text) = &before {
                std::fs::write(path_of(folder.path(), id), text).unwrap();
            }
            keep(folder.path(), id, &right, &opens).unwrap();
            assert_eq!(find(folder.path(), id).unwrap().unwrap().print(), right.print(), "{before:?}");
        }
        // What was set aside is there.
        assert_eq!(names(folder.path()).len(), 3);
        keep(folder.path(), id, &other, &opens).unwrap();
        assert_eq!(find(folder.path(), id).unwrap().unwrap().print(), right.print());
    }

    #[test]
    fn two_repositories_with_one_key_have_a_name_of_it_each() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (RepoId::new([7; 32]), RepoId::new([8; 32]));
        PendingKey::take(folder.path()).unwrap().belongs_to(folder.path(), a).unwrap();
        let kept = candidates(folder.path()).pop().unwrap();
        kept.belongs_to(folder.path(), b).unwrap();
        assert_eq!(names(folder.path()), [a.to_string(), b.to_string()]);
        // A second program that tried the key at the same time finds the work done.
        candidates(folder.path()).pop().unwrap().belongs_to(folder.path(), a).unwrap();
    }
}
