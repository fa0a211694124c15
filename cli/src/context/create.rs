//! Making a repository, and the key that opens it, in an order that a crash cannot turn into a loss: the key is durable
//! before the repository is there.

use crate::args::secret::{SecretSource, new_password, read_key_file, read_recovery_key, with_key_file};
use crate::args::strength;
use crate::config::kept::PendingKey;
use crate::config::{known, private_file};
use crate::context::Context;
use crate::context::unlock::no_credential;
use crate::exit::Condition;
use crate::output::error::{Failure, Result};
use crate::output::human;
use crate::output::prompt;
use crate::output::wire::init::Initialized;
use chatvault_engine::base::id::to_hex;
use chatvault_engine::base::{Error, Kind};
use chatvault_engine::crypto::{Credential, KeyFile, RecoveryKey, random_bytes};
use chatvault_engine::repo::Repo;
use chatvault_engine::store::{LocalStore, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How often a person may type a new password.
const MOST_ATTEMPTS: u32 = 5;

/// A new repository.
#[derive(Debug)]
pub(crate) struct Created {
    /// The repository, open.
    pub(crate) repo: Repo,
    /// What opens it.
    pub(crate) opened_by: OpenedBy,
}

/// What came of creating a repository.
#[derive(Debug)]
pub(crate) enum Creation {
    /// It is there.
    Done(Box<Created>),
    /// Another one is there, or another program is creating one. Nothing is left of the attempt.
    Lost(Error),
}

/// What opens a new repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpenedBy {
    /// A password.
    Password,
    /// A password and this key file together.
    PasswordAndKeyFile(PathBuf),
    /// A recovery key in a file that the user named.
    RecoveryKeyFile(PathBuf),
    /// A recovery key that is kept in the configuration folder.
    KeptKey(PathBuf),
}

/// A credential that is ready to be used.
enum Prepared {
    /// Named files that were created for it stay if no repository is created: another program that was told to use them
    /// may have, and the next attempt uses them again.
    Ready(Credential, OpenedBy),
    Kept(PendingKey, PathBuf),
}

impl Context {
    /// Creates the repository, for this user or for a group, given by its number.
    pub(crate) fn create(&self, group: Option<u32>) -> Result<Creation> {
        let path = self.repository_path()?;
        // Before a new password is asked for, twice.
        if let Err(error) = LocalStore::check_free(&path) {
            return lost_or_failed(error);
        }
        let prepared = self.prepare(&path)?;
        let store = match group {
            Some(group) => LocalStore::create_for_group(&path, group),
            None => LocalStore::create(&path),
        };
        let created = store.and_then(|store| {
            let store: Arc<dyn Store> = Arc::new(store);
            Repo::create(store, &[prepared.credential()], self.session())
        });
        let repo = match created {
            Ok(repo) => repo,
            Err(error) => {
                // After any other failure a repository that this key opens may be there.
                if is_lost(&error) {
                    prepared.undo();
                }
                return lost_or_failed(error);
            }
        };
        let opened_by = match prepared {
            Prepared::Ready(_, opened_by) => opened_by,
            Prepared::Kept(key, config) => OpenedBy::KeptKey(key.belongs_to(&config, repo.id())?),
        };
        self.remember(&path, &repo)?;
        Ok(Creation::Done(Box::new(Created { repo, opened_by })))
    }

    /// The credential of the new repository: what is named, else a kept key for the default repository, else a password
    /// that is asked for.
    fn prepare(&self, repository: &Path) -> Result<Prepared> {
        let named = self.settings.key_file.is_some();
        let password = match &self.settings.secret {
            Some(SecretSource::RecoveryKeyFile(file)) => return recovery_key_file(file),
            Some(source) => self.named_password(source)?,
            None if self.is_default_repository() && !named => {
                let config = self.folders.config()?;
                return Ok(Prepared::Kept(PendingKey::take(&config)?, config));
            }
            None => self.new_password("create", &human::shown(repository))?,
        };
        let Some(file) = &self.settings.key_file else {
            return Ok(Prepared::Ready(password, OpenedBy::Password));
        };
        let (key_file, _) = new_key_file(file)?;
        let both = with_key_file(password, Some(key_file));
        Ok(Prepared::Ready(both, OpenedBy::PasswordAndKeyFile(file.clone())))
    }

    /// Asks for a new password for this repository.
    ///
    /// # Errors
    /// Fails if nobody can be asked; `act` is what it was needed for.
    pub(crate) fn new_password(&self, act: &str, location: &str) -> Result<Credential> {
        if !prompt::is_possible() {
            return Err(no_credential(act, location));
        }
        let question = format!("New password for the repository {location}");
        let mut weak: Option<Zeroizing<String>> = None;
        for _ in 0..MOST_ATTEMPTS {
            let typed = self.answer(&question)?;
            let insists = weak.as_ref() == Some(&typed);
            if typed.is_empty() {
                self.ui.remark("An empty password protects nothing. Try again.");
            } else if let Some(why) = strength::weakness(typed.as_bytes()).filter(|_| !insists) {
                self.ui.remark(format_args!(
                    "This password is weak: {why}. Type a stronger one, or the same one again to keep it."
                ));
                weak = Some(typed);
            } else if insists || *self.answer("Repeat the password")? == *typed {
                return new_password(typed.as_bytes(), "the password");
            } else {
                self.ui.remark("The two passwords differ. Try again.");
            }
        }
        Err(Failure::new(Condition::Failed, "No new password was chosen")
            .with_hint("run this again; nothing was created or changed"))
    }

    fn answer(&self, question: &str) -> Result<Zeroizing<String>> {
        let typed = prompt::password(question);
        self.not_cancelled()?;
        typed
    }

    /// Reads a new password from where it was named, and warns if it is weak.
    pub(crate) fn named_password(&self, source: &SecretSource) -> Result<Credential> {
        let credential = source.read()?;
        if let Credential::Password(password) = &credential
            && let Some(why) = strength::weakness(password)
        {
            self.ui.warn(&format!("This password is weak: {why}"));
        }
        Ok(credential)
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
            Self::Kept(pending, _) => Credential::Recovery(pending.key().clone()),
        }
    }

    /// Forgets a kept key that was drawn for this and that no repository knows: it opens nothing.
    fn undo(self) {
        if let Self::Kept(pending, _) = self {
            pending.discard();
        }
    }
}

fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), Kind::AlreadyThere | Kind::Locked)
}

fn lost_or_failed(error: Error) -> Result<Creation> {
    if is_lost(&error) { Ok(Creation::Lost(error)) } else { Err(error.into()) }
}

/// Uses the key in a file, or creates the file with a new one.
fn recovery_key_file(file: &Path) -> Result<Prepared> {
    let (key, _) = new_recovery_key(file)?;
    Ok(Prepared::Ready(Credential::Recovery(key), OpenedBy::RecoveryKeyFile(file.to_owned())))
}

/// The recovery key in a file, which is made with a new one if it is missing; and whether it was.
pub(crate) fn new_recovery_key(file: &Path) -> Result<(RecoveryKey, bool)> {
    if file.symlink_metadata().is_ok() {
        return Ok((read_recovery_key(file)?, false));
    }
    let key = RecoveryKey::random()?;
    private_file::create(file, &Zeroizing::new(format!("{}\n", key.print())))?;
    Ok((key, true))
}

/// A key file, which is made with 64 random digits if it is missing; and whether it was.
pub(crate) fn new_key_file(file: &Path) -> Result<(KeyFile, bool)> {
    let is_new = file.symlink_metadata().is_err();
    if is_new {
        // Digits, and no line end: nothing that copies text can alter them.
        let bits = Zeroizing::new(random_bytes::<32>()?);
        private_file::create(file, &Zeroizing::new(to_hex(&*bits)))?;
    }
    Ok((read_key_file(file)?, is_new))
}

impl Created {
    /// The line of JSON about it.
    pub(crate) fn wire(&self) -> Initialized {
        let (opened_by, file, key_file) = match &self.opened_by {
            OpenedBy::Password => ("password", None, None),
            OpenedBy::PasswordAndKeyFile(file) => ("password_and_key_file", None, Some(file)),
            OpenedBy::RecoveryKeyFile(file) | OpenedBy::KeptKey(file) => ("recovery_key", Some(file), None),
        };
        let text = |file: &PathBuf| file.to_string_lossy().into_owned();
        Initialized {
            message_type: "initialized",
            id: self.repo.id().to_string(),
            repository: self.repo.location(),
            opened_by,
            recovery_key_file: file.map(text),
            key_file: key_file.map(text),
        }
    }

    /// What a person must know about it, sentence by sentence.
    pub(crate) fn words(&self, context: &Context) -> Vec<String> {
        let mut words =
            vec![format!("Created repository {} (id {})", self.repo.location(), self.repo.id().short())];
        match &self.opened_by {
            OpenedBy::Password => words.push("Only your password opens it. It cannot be recovered if you forget it.".to_owned()),
            OpenedBy::PasswordAndKeyFile(file) => words.push(format!(
                "Your password and the key file {} open it, together only. Keep copies of that file: it must not \
                 change by a single byte.",
                human::shown(file)
            )),
            OpenedBy::RecoveryKeyFile(file) => words.push(format!(
                "The recovery key in {} opens it. Keep a copy of that file in another place.",
                human::shown(file)
            )),
            OpenedBy::KeptKey(file) => words.extend([
                format!("The recovery key is saved in {} and used automatically.", human::shown(file)),
                "Repository and key are both on this disk. If it fails, both are lost: keep a copy of the repository on another disk."
                    .to_owned(),
            ]),
        }
        words.push(format!(
            "Print the recovery key and keep it on paper: `{}`",
            context.command("recovery-kit")
        ));
        words
    }
}
