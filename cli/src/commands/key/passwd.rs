//! `key passwd`

use crate::args::new_secret::NewPasswordArgs;
use crate::commands::key::{changed, failed, new_password, open, undo};
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::error::{Failure, Result};
use crate::output::progress::Progress;
use crate::output::warnings;
use crate::output::wire::key::KeyChanged;
use clap::Args;

const EXAMPLES: &str = "\
The password that opens the repository now is replaced; other keys stay. The new one is asked for on the terminal, twice, \
or given by an option. It is stored and proved to open before the old one is removed: whatever happens in between, the old \
or the new one opens, and the same command can be given again. A key file that was given with the old password is needed \
with the new one too, unless another is named; its label stays.

The old password still opens old copies of the repository (a mirror, a snapshot of the file system, a cloud's history). \
And whoever opened the repository with it may have kept the keys inside, which this does not change.

Examples:
  chatvault -r /media/ann/usb/chats key passwd
  chatvault -r /srv/chats -p old.txt key passwd --new-password-file new.txt

Exit codes: 0 done, 1 failed (also if the new password opens the repository already), 2 wrong usage, 10 no repository, \
11 another program changes keys, 12 wrong password or key.";

/// Change the password that opens the repository
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct PasswdArgs {
    #[command(flatten)]
    new: NewPasswordArgs,
}

pub(crate) fn run(args: &PasswdArgs, context: &Context) -> Result<Outcome> {
    let progress = Progress::new(&context.ui);
    let opened = open(context, &progress)?;
    let outcome = warnings::tell(&context.ui, &progress);
    let repo = &opened.repo;
    if opened.is_recovery {
        return Err(Failure::usage(format!(
            "Failed to change the password of the repository {}",
            repo.location()
        ))
        .because(
            "a recovery key opened it, which is not replaced by a password: it may be on paper somewhere",
        )
        .with_hint(format!(
            "open it by the password that is to be changed, or add one: `{}`",
            context.command("key add")
        )));
    }
    let new = new_password(&args.new, opened.key_file.clone(), context, repo)?;
    let progress = Progress::new(&context.ui);
    let replaced = repo.replace_key(&new.credential, &progress).map_err(|error| {
        undo(&new, context);
        failed(error, context)
    })?;
    warnings::tell(&context.ui, &progress);
    if context.ui.style().json {
        context.ui.json(&KeyChanged {
            replaced: Some(replaced.old.to_string()),
            key_file: new.key_file.as_ref().map(|file| file.to_string_lossy().into_owned()),
            ..changed("replaced", replaced.new.to_string(), Some(new.credential.kind()))
        });
    }
    context.ui.report(format_args!(
        "Password changed (key {} replaces {}).",
        replaced.new.short(),
        replaced.old.short()
    ));
    Ok(outcome)
}
