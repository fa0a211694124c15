//! `key`: who can open the repository. One file for each verb below it.

mod add;
mod keep;
mod list;
mod passwd;
mod remove;

use crate::args::new_secret::NewPasswordArgs;
use crate::args::secret::with_key_file;
use crate::context::Context;
use crate::context::create::new_key_file;
use crate::context::unlock::{Origin, Unlocked};
use crate::exit::Outcome;
use crate::output::error::{Failure, Result};
use crate::output::progress::Progress;
use crate::output::prompt;
use crate::output::wire::key::KeyChanged;
use chatvault_engine::base::{Error, Kind};
use chatvault_engine::crypto::{Credential, KeyFile, SlotKind};
use chatvault_engine::repo::{Repo, verify_credential};
use clap::{Args, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
A key is a password, a password with a key file, or a recovery key. All of them open the same repository. Snapshots that \
run meanwhile are not disturbed by any change of keys.

Examples:
  chatvault key list
  chatvault key add --label \"Ann's laptop\"
  chatvault key passwd
  chatvault key remove 1a2b3c4d

Exit codes: 0 done, 1 failed, 2 wrong usage, 10 no repository, 11 another program changes keys, 12 wrong password or \
key, 22 damaged.";

/// Show, add, change and remove the keys that open the repository
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand, Debug)]
enum KeyCommand {
    List(list::ListArgs),
    Add(add::AddArgs),
    Remove(remove::RemoveArgs),
    Passwd(passwd::PasswdArgs),
    Keep(keep::KeepArgs),
}

pub(crate) fn run(args: &KeyArgs, context: &Context) -> Result<Outcome> {
    match &args.command {
        KeyCommand::List(args) => list::run(args, context),
        KeyCommand::Add(args) => add::run(args, context),
        KeyCommand::Remove(args) => remove::run(args, context),
        KeyCommand::Passwd(args) => passwd::run(args, context),
        KeyCommand::Keep(args) => keep::run(args, context),
    }
}

/// The repository, opened to change its keys.
struct Opened {
    repo: Repo,
    /// The key file that was given with the password.
    key_file: Option<KeyFile>,
    origin: Origin,
    is_recovery: bool,
}

fn open(context: &Context, progress: &Progress<'_>) -> Result<Opened> {
    let Unlocked { value: repo, credential, origin } = context.open_keyed(progress)?;
    let is_recovery = matches!(credential, Credential::Recovery(_));
    let key_file = match credential {
        Credential::PasswordAndFile(_, file) => Some(file),
        Credential::Password(_) | Credential::Recovery(_) => None,
    };
    Ok(Opened { repo, key_file, origin, is_recovery })
}

/// A new password with its key file, and what was made for it.
struct New {
    credential: Credential,
    key_file: Option<PathBuf>,
    /// A file that was made and opens nothing yet.
    made: Option<PathBuf>,
}

/// The new password; `kept` is the key file that goes with it if no other one is named.
fn new_password(
    args: &NewPasswordArgs,
    kept: Option<KeyFile>,
    context: &Context,
    repo: &Repo,
) -> Result<New> {
    let password = match args.source() {
        Some(source) => context.named_password(&source)?,
        None if !prompt::is_possible() => return Err(nobody_to_ask(repo)),
        None => context.new_password("make a new key for", &repo.location())?,
    };
    let Some(path) = &args.new_key_file else {
        return Ok(New { credential: with_key_file(password, kept), key_file: None, made: None });
    };
    let (file, is_new) = new_key_file(path)?;
    Ok(New {
        credential: with_key_file(password, Some(file)),
        key_file: Some(path.clone()),
        made: is_new.then(|| path.clone()),
    })
}

fn nobody_to_ask(repo: &Repo) -> Failure {
    Failure::usage(format!("Failed to make a new key for the repository {}", repo.location()))
        .because("no new password is given, and there is no terminal to ask on")
        .with_hint("give --new-password-file FILE or --new-password-command COMMAND")
}

/// Takes back a file that was made for a key that was not. If the key was made all the same, the file is needed.
fn undo(new: &New, context: &Context) {
    if let Some(file) = &new.made
        && let Ok(store) = context.open_store()
        && verify_credential(&store, &new.credential).is_err_and(|error| error.kind() == Kind::WrongKey)
    {
        // The failure that is told of is another one.
        drop(std::fs::remove_file(file));
    }
}

/// The failure of a change, with what to do about it.
fn failed(error: Error, context: &Context) -> Failure {
    let kind = error.kind();
    let failure = Failure::from(error);
    match kind {
        Kind::AlreadyThere => {
            failure.with_hint("give another password or key, or go on with the one that there is")
        }
        Kind::Usage | Kind::NotFound => {
            failure.with_hint(format!("`{}` shows the keys", context.command("key list")))
        }
        _ => failure,
    }
}

/// The line of JSON about a change.
fn changed(action: &'static str, id: String, kind: Option<SlotKind>) -> KeyChanged {
    KeyChanged {
        message_type: "key_changed",
        action,
        id,
        replaced: None,
        kind: kind_name(kind),
        recovery_key_file: None,
        key_file: None,
    }
}

/// The name of a kind in JSON.
fn kind_name(kind: Option<SlotKind>) -> &'static str {
    match kind {
        Some(SlotKind::Password) => "password",
        Some(SlotKind::PasswordAndFile) => "password_and_key_file",
        Some(SlotKind::Recovery) => "recovery_key",
        None => "unknown",
    }
}
