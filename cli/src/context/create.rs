//! Making a repository, and the key that opens it, in an order that a crash cannot turn into a loss: the key is durable
//! before the repository is there.

use crate::args::secret::{SecretSource, new_password, read_recovery_key};
use crate::config::kept::PendingKey;
use crate::config::{known, private_file};
use crate::context::{Context, no_credential};
use crate::output::error::{Failure, Result};
use crate::output::human;
use crate::output::prompt;
use crate::output::wire::init::Initialized;
use chatvault_engine::crypto::{Credential, RecoveryKey};
use chatvault_engine::repo::Repo;
use chatvault_engine::store::LocalStore;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A new repository.
#[derive(Debug)]
pub(crate) struct Created {
    /// The repository, open.
    pub(crate) repo: Repo,
    /// What opens it.
    pub(crate) opened_by: OpenedBy,
}

/// What opens a new repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpenedBy {
    /// A password.
    Password,
    /// A recovery key in a file that the user named.
    RecoveryKeyFile(PathBuf),
    /// A recovery key that is kept in the configuration folder.
    KeptKey(PathBuf),
}

/// A credential that is ready to be used, and how to undo what was made for it.
enum Prepared {
    Ready(Credential, OpenedBy),
    NewFile(RecoveryKey, PathBuf),
    Kept(PendingKey, PathBuf),
}

impl Context {
    /// Makes the repository.
    ///
    /// # Errors
    /// Fails if one is there, or a folder that is not empty; then nothing was made.
    pub(crate) fn create(&self) -> Result<Created> {
        let path = self.repository_path()?;
        let prepared = self.prepare(&path)?;
        let store = match LocalStore::create(&path) {
            Ok(store) => store,
            Err(error) => {
                prepared.undo();
                return Err(Failure::from(error));
            }
        };
        let session = self.session();
        let repo = Repo::create(Arc::new(store), &[prepared.credential()], session)?;
        let opened_by = match prepared {
            Prepared::Ready(_, opened_by) => opened_by,
            Prepared::NewFile(_, file) => OpenedBy::RecoveryKeyFile(file),
            Prepared::Kept(key, config) => OpenedBy::KeptKey(key.belongs_to(&config, repo.id())?),
        };
        self.remember(&path, &repo)?;
        Ok(Created { repo, opened_by })
    }

    /// The credential of the new repository: what is named, else a kept key for the default repository, else a password
    /// that is asked for.
    fn prepare(&self, repository: &Path) -> Result<Prepared> {
        match &self.settings.secret {
            Some(SecretSource::RecoveryKeyFile(file)) => recovery_key_file(file),
            Some(source) => Ok(Prepared::Ready(source.read()?, OpenedBy::Password)),
            None if self.is_default_repository() => {
                let config = self.folders.config()?;
                Ok(Prepared::Kept(PendingKey::draw(&config)?, config))
            }
            None if prompt::is_possible() => {
                let question = format!("New password for the repository {}", human::shown(repository));
                let typed = prompt::new_password(&question);
                self.not_cancelled()?;
                let typed = typed?;
                Ok(Prepared::Ready(new_password(typed.as_bytes(), "the password")?, OpenedBy::Password))
            }
            None => Err(no_credential("make", &human::shown(repository))),
        }
    }

    /// For the default repository this must succeed: it is what keeps a new one from being made in its place.
    fn remember(&self, path: &Path, repo: &Repo) -> Result<()> {
        let remembered = self.folders.config().and_then(|config| known::remember(&config, path, repo.id()));
        if self.is_default_repository() { remembered } else { Ok(()) }
    }
}

impl Prepared {
    fn credential(&self) -> Credential {
        match self {
            Self::Ready(credential, _) => credential.clone(),
            Self::NewFile(key, _) => Credential::Recovery(key.clone()),
            Self::Kept(pending, _) => Credential::Recovery(pending.key.clone()),
        }
    }

    /// Takes back a key that no repository knows: it opens nothing.
    fn undo(self) {
        match self {
            Self::Ready(..) => {}
            Self::NewFile(_, file) => drop(std::fs::remove_file(file)),
            Self::Kept(pending, _) => pending.discard(),
        }
    }
}

/// Uses the key in a file, or makes the file with a new one.
fn recovery_key_file(file: &Path) -> Result<Prepared> {
    if file.symlink_metadata().is_ok() {
        let key = read_recovery_key(file)?;
        return Ok(Prepared::Ready(Credential::Recovery(key), OpenedBy::RecoveryKeyFile(file.to_owned())));
    }
    let key = RecoveryKey::random()?;
    private_file::create(file, &Zeroizing::new(format!("{}\n", key.print())))?;
    Ok(Prepared::NewFile(key, file.to_owned()))
}

impl Created {
    /// The line of JSON about it.
    pub(crate) fn wire(&self) -> Initialized {
        let (opened_by, file) = match &self.opened_by {
            OpenedBy::Password => ("password", None),
            OpenedBy::RecoveryKeyFile(file) | OpenedBy::KeptKey(file) => ("recovery_key", Some(file)),
        };
        Initialized {
            message_type: "initialized",
            id: self.repo.id().to_string(),
            repository: self.repo.location(),
            opened_by,
            recovery_key_file: file.map(|file| file.to_string_lossy().into_owned()),
        }
    }

    /// What a person must know about it, sentence by sentence.
    pub(crate) fn words(&self, context: &Context) -> Vec<String> {
        let mut words = vec![format!(
            "A new repository was made: {} (id {})",
            self.repo.location(),
            self.repo.id().short()
        )];
        match &self.opened_by {
            OpenedBy::Password => words.push("Your password opens it; nobody can open it without.".to_owned()),
            OpenedBy::RecoveryKeyFile(file) => words.push(format!(
                "The recovery key in {} opens it. Keep a copy of that file in another place.",
                human::shown(file)
            )),
            OpenedBy::KeptKey(file) => words.extend([
                format!("Its recovery key is kept in {} and is used by itself.", human::shown(file)),
                "A copy on the same disk does not survive that disk: keep the repository, or a copy of it, on another one."
                    .to_owned(),
            ]),
        }
        words.push(format!(
            "Print the recovery key and keep it on paper: {}",
            context.command("recovery-kit")
        ));
        words
    }
}
