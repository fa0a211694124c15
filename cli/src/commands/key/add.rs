//! `key add`

use crate::args::new_secret::NewPasswordArgs;
use crate::commands::key::{New, changed, failed, new_password, open, undo};
use crate::context::Context;
use crate::context::create::new_recovery_key;
use crate::exit::Outcome;
use crate::output::error::Result;
use crate::output::human::shown;
use crate::output::progress::Progress;
use crate::output::warnings;
use crate::output::wire::key::KeyChanged;
use chatvault_engine::crypto::Credential;
use clap::Args;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Without an option the new password is asked for on the terminal, twice. All other keys go on opening the repository.

A key file is any file of 1 byte to 64 MiB; password and key file open the repository only together (--password-file or \
the terminal, and --key-file). Not a byte of it may change: keep copies. \
`chatvault recovery-kit` adds a recovery key that is printed on paper.

Examples:
  chatvault key add --label \"Ann's laptop\"
  chatvault -r /srv/chats key add --new-password-file new.txt --new-key-file /media/ann/usb/chats.keyfile
  chatvault -r /srv/chats key add --new-recovery-key ~/chats.key

Exit codes: 0 done, 1 failed (also if it opens the repository already), 2 wrong usage, 10 no repository, 11 another \
program changes keys, 12 wrong password or key.";

/// Add a key that opens the repository
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    new: NewPasswordArgs,

    /// Add a recovery key instead: the one in this file, which is made with a new one if it is missing
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["new_password_file", "new_password_command", "new_key_file"]
    )]
    new_recovery_key: Option<PathBuf>,

    /// What to call it in `key list`; stored encrypted
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
}

pub(crate) fn run(args: &AddArgs, context: &Context) -> Result<Outcome> {
    let progress = Progress::new(&context.ui);
    let repo = open(context, &progress)?.repo;
    let outcome = warnings::tell(&context.ui, &progress);
    let new = match &args.new_recovery_key {
        Some(file) => new_recovery(file)?,
        None => new_password(&args.new, None, context, &repo)?,
    };
    let progress = Progress::new(&context.ui);
    let id = repo.add_key(&new.credential, args.label.as_deref(), &progress).map_err(|error| {
        undo(&new, context);
        failed(error, context)
    })?;
    warnings::tell(&context.ui, &progress);
    let text = |file: &PathBuf| file.to_string_lossy().into_owned();
    if context.ui.style().json {
        context.ui.json(&KeyChanged {
            recovery_key_file: args.new_recovery_key.as_ref().map(text),
            key_file: new.key_file.as_ref().map(text),
            ..changed("added", id.to_string(), Some(new.credential.kind()))
        });
    }
    let kind = new.credential.kind().name();
    context.ui.report(format_args!("Key {} was added; with this {kind} the repository opens.", id.short()));
    if let Some(file) = args.new_recovery_key.as_ref().or(new.key_file.as_ref()) {
        context.ui.report(format_args!("Keep a copy of {} in another place.", shown(file)));
    }
    Ok(outcome)
}

fn new_recovery(file: &Path) -> Result<New> {
    let (key, is_new) = new_recovery_key(file)?;
    let made = is_new.then(|| file.to_owned());
    Ok(New { credential: Credential::Recovery(key), key_file: None, made })
}
