//! The way to an open repository: by what is named, by a kept key, or by what a person types.

use crate::args::secret;
use crate::config::{kept, known};
use crate::context::{Context, repository_ids};
use crate::exit::Condition;
use crate::output::error::{Failure, Result, one_line};
use crate::output::{human, prompt};
use chatvault_engine::base::{Error, Kind, Observer, RepoId, Result as EngineResult};
use chatvault_engine::crypto::{Credential, KeyFile, RecoveryKey, SlotKind};
use chatvault_engine::repo::{self, Repo};
use chatvault_engine::store::{LocalStore, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How often a person may type what opens the repository.
const MOST_ATTEMPTS: u32 = 3;

/// What was reached with a credential.
#[derive(Debug)]
pub(crate) struct Unlocked<T> {
    /// What was reached.
    pub(crate) value: T,
    /// What opened it.
    pub(crate) credential: Credential,
    /// Where that came from.
    pub(crate) origin: Origin,
}

/// Where a credential comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The user named it.
    Named,
    /// The user typed it.
    Typed,
    /// It is kept in this file.
    Kept(PathBuf),
}

/// What a person can type for this repository.
struct Question<'s> {
    store: &'s LocalStore,
    takes_password: bool,
    takes_recovery_key: bool,
    file: Option<KeyFile>,
}

/// What was typed, in the order in which it is to be tried, and what is wrong with it as a recovery key.
struct Typed {
    credentials: Vec<Credential>,
    mistake: Option<String>,
}

impl Context {
    /// Opens the repository.
    pub(crate) fn open(&self, observer: &dyn Observer) -> Result<Repo> {
        Ok(self.open_keyed(observer)?.value)
    }

    /// Opens the repository, and says what opened it.
    pub(crate) fn open_keyed(&self, observer: &dyn Observer) -> Result<Unlocked<Repo>> {
        let store = Arc::new(self.open_store()?);
        let opened = self.unlock(&store, &mut |credential| {
            let store: Arc<dyn Store> = Arc::<LocalStore>::clone(&store);
            Repo::open(store, credential, self.session(), observer)
        })?;
        self.remember_opened(&opened.value)?;
        Ok(opened)
    }

    /// Remembers where this repository is, so that nothing proposes to create one there when its disk is not connected.
    /// For the default repository this must succeed.
    fn remember_opened(&self, repo: &Repo) -> Result<()> {
        let is_default = self.is_default_repository();
        // Who wants no cache wants nothing left behind.
        if !is_default && self.settings.cache_dir.is_none() {
            return Ok(());
        }
        let Ok(config) = self.folders.config() else { return Ok(()) };
        let remembered = known::remember(&config, &self.repository_path()?, repo.id());
        if is_default { remembered } else { Ok(()) }
    }

    /// Reaches something with what opens the repository: what is named, else a kept key, else what the user types, who
    /// may try again.
    pub(crate) fn unlock<T>(
        &self,
        store: &LocalStore,
        attempt: &mut dyn FnMut(&Credential) -> EngineResult<T>,
    ) -> Result<Unlocked<T>> {
        let location = store.location();
        let mut once = |credential: Credential, origin: Origin| match attempt(&credential) {
            Ok(value) => Ok(Unlocked { value, credential, origin }),
            Err(error) => Err(origin.explain(error, &location, &credential)),
        };
        let second = || self.settings.key_file.as_deref().map(secret::read_key_file).transpose();
        if let Some(source) = &self.settings.secret {
            return once(secret::with_key_file(source.read()?, second()?), Origin::Named);
        }
        let ids = repository_ids(store)?;
        // Who names a key file means the password that goes with it.
        if self.settings.key_file.is_none()
            && let Ok(config) = self.folders.config()
            && let Some((credential, id)) = find_kept(&config, store, &ids)?
        {
            return once(credential, Origin::Kept(kept::path_of(&config, id)));
        }
        self.can_ask(store, &ids)?;
        // Before the question: a person should not type in vain.
        let question = self.question(store, second()?);
        self.ask(&question, attempt)
    }

    /// Fails if nobody can be asked. Says where the kept key of the default repository should be: a password was never
    /// made for it, unless one was added.
    fn can_ask(&self, store: &LocalStore, ids: &[RepoId]) -> Result<()> {
        let is_kept = self.is_default_repository() && self.settings.key_file.is_none();
        let config = self.folders.config().ok().filter(|_| is_kept);
        let lost = config.zip(ids.first()).map(|(config, id)| human::shown(&kept::path_of(&config, *id)));
        if !prompt::is_possible() {
            let failure = no_credential("open", &store.location());
            return Err(match lost {
                Some(file) => failure.because(format!("the saved key {file} is missing")).with_hint(format!(
                    "the printed recovery kit opens it: type its key into a file, and save it again with `{} \
                     --recovery-key-file FILE`",
                    self.command("key keep")
                )),
                None => failure,
            });
        }
        if let Some(file) = lost {
            self.ui.remark(format_args!(
                "The saved key {file} is missing. Type the key of the printed recovery kit, or give a file with it: \
                 --recovery-key-file FILE. `{}` saves it again.",
                self.command("key keep")
            ));
        }
        Ok(())
    }

    /// What can be typed. The slots say so themselves: nobody vouches for that, and a wrong question does no harm.
    fn question<'s>(&self, store: &'s LocalStore, file: Option<KeyFile>) -> Question<'s> {
        let kinds = repo::claimed_kinds(store).unwrap_or_default();
        let has = |kind| kinds.is_empty() || kinds.contains(&kind);
        let with_file = has(SlotKind::PasswordAndFile);
        if with_file && file.is_none() && !kinds.is_empty() {
            self.ui.remark("A password of this repository needs its key file: give it with --key-file FILE.");
        }
        Question {
            store,
            takes_password: has(SlotKind::Password) || (with_file && file.is_some()),
            takes_recovery_key: has(SlotKind::Recovery),
            file,
        }
    }

    fn ask<T>(
        &self,
        question: &Question<'_>,
        attempt: &mut dyn FnMut(&Credential) -> EngineResult<T>,
    ) -> Result<Unlocked<T>> {
        let location = question.store.location();
        let mut attempts = 1;
        loop {
            let typed = prompt::password(&question.words());
            self.not_cancelled()?;
            let Typed { credentials, mistake } = question.read(&typed?);
            let mut refused = Failure::new(Condition::WrongKey, format!("Failed to open {location}"))
                .because(mistake.as_deref().unwrap_or("nothing was typed"))
                .with_hint("run this again");
            for credential in credentials {
                match attempt(&credential) {
                    Ok(value) => return Ok(Unlocked { value, credential, origin: Origin::Typed }),
                    Err(error) if error.kind() == Kind::WrongKey => {
                        refused = Origin::Typed.explain(error, &location, &credential);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if attempts == MOST_ATTEMPTS {
                return Err(refused);
            }
            attempts += 1;
            self.ui.remark(match mistake {
                Some(mistake) => format!("This recovery key is mistyped: {}. Try again.", one_line(&mistake)),
                None if question.takes_password => "Wrong password. Try again.".to_owned(),
                None => "Wrong recovery key. Try again.".to_owned(),
            });
        }
    }
}

impl Question<'_> {
    fn words(&self) -> String {
        let kinds = match (self.takes_password, self.takes_recovery_key) {
            (true, false) => "Password",
            (false, true) => "Recovery key",
            (true, true) | (false, false) => "Password or recovery key",
        };
        format!("{kinds} of the repository {}", self.store.location())
    }

    /// A printed key is taken for one at every question; it may be somebody's password as well.
    fn read(&self, text: &Zeroizing<String>) -> Typed {
        let mut typed = Typed { credentials: Vec::new(), mistake: None };
        if text.is_empty() {
            return typed;
        }
        match RecoveryKey::parse(text) {
            Ok(key) => typed.credentials.push(Credential::Recovery(key)),
            Err(error) if !self.takes_password || looks_like_key(text) => {
                typed.mistake = std::error::Error::source(&error).map(ToString::to_string);
            }
            Err(_) => {}
        }
        if self.takes_password {
            typed.credentials.push(secret::with_key_file(Credential::password(text), self.file.clone()));
        }
        typed
    }
}

fn looks_like_key(text: &str) -> bool {
    let mut letters = text.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase());
    let begins = matches!(
        (letters.next(), letters.next(), letters.next()),
        (Some('c'), Some('v'), Some('1' | 'l' | 'i'))
    );
    begins && letters.count() >= 32
}

impl Origin {
    /// The failure to open something with this credential.
    fn explain(&self, error: Error, location: &str, credential: &Credential) -> Failure {
        match self {
            Self::Named | Self::Typed if error.kind() == Kind::WrongKey => {
                let failure = Failure::from(error);
                let named =
                    failure.what().replacen("the repository", &format!("the repository {location}"), 1);
                let hint = if matches!(self, Self::Named) && is_printed_key(credential) {
                    "a recovery key was given as a password: give its file with `--recovery-key-file FILE`"
                } else {
                    failure.hint().unwrap_or_default()
                };
                Failure::new(Condition::WrongKey, named)
                    .because(failure.why().unwrap_or_default())
                    .with_hint(hint)
            }
            Self::Kept(path) if error.kind() == Kind::WrongKey => Failure::from(error).with_hint(format!(
                "the key kept in {} does not belong to this repository: name another one with \
                 `--recovery-key-file` or `--password-file`",
                human::shown(path)
            )),
            _ => error.into(),
        }
    }
}

fn is_printed_key(credential: &Credential) -> bool {
    match credential {
        Credential::Password(bytes) | Credential::PasswordAndFile(bytes, _) => {
            std::str::from_utf8(bytes).is_ok_and(|text| RecoveryKey::parse(text).is_ok())
        }
        Credential::Recovery(_) => false,
    }
}

/// The kept key of one of these ids, else the key of a run that died while it made the repository.
///
/// # Errors
/// Fails if a kept key cannot be read and there is no other.
fn find_kept(folder: &Path, store: &LocalStore, ids: &[RepoId]) -> Result<Option<(Credential, RepoId)>> {
    let mut failed = None;
    for id in ids {
        match kept::find(folder, *id) {
            Ok(Some(key)) => return Ok(Some((Credential::Recovery(key), *id))),
            Ok(None) => {}
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    match failed {
        Some(failure) => Err(failure),
        None => adopt(folder, store, ids),
    }
}

/// Tries all kept keys: that of a run that died while it made this repository, and those that were used again since.
fn adopt(folder: &Path, store: &LocalStore, ids: &[RepoId]) -> Result<Option<(Credential, RepoId)>> {
    for kept in kept::candidates(folder) {
        let credential = Credential::Recovery(kept.key.clone());
        if let Ok(id) = repo::verify_credential(store, &credential)
            && ids.contains(&id)
        {
            kept.belongs_to(folder, id)?;
            return Ok(Some((credential, id)));
        }
    }
    Ok(None)
}

/// Nothing was given that could open the repository, and nobody can be asked.
pub(crate) fn no_credential(act: &str, location: &str) -> Failure {
    Failure::new(Condition::Usage, format!("Failed to {act} the repository {location}"))
        .because("neither a password nor a recovery key is given, and there is no terminal to ask on")
        .with_hint(
            "give one of --password-file FILE, --password-command COMMAND, --recovery-key-file FILE, or set \
             CHATVAULT_PASSWORD_FILE, CHATVAULT_PASSWORD_COMMAND or CHATVAULT_RECOVERY_KEY_FILE",
        )
}
