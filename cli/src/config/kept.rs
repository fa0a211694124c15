//! Recovery keys that are kept in the configuration folder: `recovery-keys/<repository id>`, for their owner only.
//!
//! A key is durable here before the repository that it opens is made: first as `new-<random>`, since the repository's
//! id is not known yet, then under its id. A run that died in between leaves the first name; the next one that looks
//! for a key tries it.

use crate::config::private_file;
use crate::output::error::{Failure, Result};
use crate::output::human;
use chatvault_engine::base::RepoId;
use chatvault_engine::base::id::to_hex;
use chatvault_engine::crypto::{RecoveryKey, random_bytes};
use std::io::{ErrorKind, Read};
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
    read(&path_of(config, id))
}

/// A key that is kept, but not yet under the id of its repository.
#[derive(Debug)]
pub(crate) struct PendingKey {
    /// The key.
    pub(crate) key: RecoveryKey,
    path: PathBuf,
}

impl PendingKey {
    /// Draws a key and keeps it. Durable when this returns.
    pub(crate) fn draw(config: &Path) -> Result<Self> {
        let key = RecoveryKey::random()?;
        let folder = config.join(FOLDER);
        private_file::create_folder(&folder)?;
        let path = folder.join(format!("{PENDING}{}", to_hex(&random_bytes::<8>()?)));
        private_file::create(&path, &Zeroizing::new(format!("{}\n", key.print())))?;
        Ok(Self { key, path })
    }

    /// Gives it the name of its repository. Durable when this returns; a key that has that name is never replaced.
    pub(crate) fn belongs_to(self, config: &Path, id: RepoId) -> Result<PathBuf> {
        let path = path_of(config, id);
        std::fs::hard_link(&self.path, &path)
            .and_then(|()| private_file::sync_parent(&path))
            .and_then(|()| std::fs::remove_file(&self.path))
            .map_err(|cause| Failure::io("keep the recovery key as", human::shown(&path), cause))?;
        Ok(path)
    }

    /// Forgets a key that opens nothing.
    pub(crate) fn discard(self) {
        // A leftover opens nothing and does no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Keys that a run left behind which died while it made a repository.
pub(crate) fn pending(config: &Path) -> Vec<PendingKey> {
    let Ok(entries) = std::fs::read_dir(config.join(FOLDER)) else { return Vec::new() };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PENDING.as_bytes()))
        })
        .filter_map(|path| Some(PendingKey { key: read(&path).ok()??, path }))
        .collect()
}

fn read(path: &Path) -> Result<Option<RecoveryKey>> {
    let mut text = Zeroizing::new(String::new());
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_LEN).read_to_string(&mut text));
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

    #[test]
    fn a_key_is_kept_privately_and_found_by_its_repository() {
        let folder = tempfile::tempdir().unwrap();
        let id = RepoId::new([7; 32]);
        assert!(find(folder.path(), id).unwrap().is_none());
        let drawn = PendingKey::draw(folder.path()).unwrap();
        let printed = drawn.key.print();
        assert_eq!(pending(folder.path()).len(), 1);
        let path = drawn.belongs_to(folder.path(), id).unwrap();
        assert_eq!(find(folder.path(), id).unwrap().unwrap().print(), printed);
        assert!(pending(folder.path()).is_empty());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn a_kept_key_is_never_replaced_and_an_altered_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let id = RepoId::new([7; 32]);
        let path = PendingKey::draw(folder.path()).unwrap().belongs_to(folder.path(), id).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(PendingKey::draw(folder.path()).unwrap().belongs_to(folder.path(), id).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::write(&path, "cv1-0000\n").unwrap();
        assert_eq!(find(folder.path(), id).unwrap_err().condition(), Condition::WrongKey);
    }

    #[test]
    fn a_discarded_key_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        PendingKey::draw(folder.path()).unwrap().discard();
        assert_eq!(std::fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), 0);
    }
}
