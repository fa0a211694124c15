//! `key keep`

use crate::commands::key::changed;
use crate::config::kept;
use crate::context::Context;
use crate::context::unlock::Origin;
use crate::exit::Outcome;
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use crate::output::wire::key::KeyChanged;
use chatvault_engine::crypto::{Credential, SlotKind};
use chatvault_engine::repo::verify_credential;
use chatvault_engine::store::Store;
use clap::Args;

const EXAMPLES: &str = "\
The recovery key is given by --recovery-key-file, or typed. It is saved in the configuration folder, readable by you only, \
and from then on used automatically for this repository, wherever that is. A saved key that does not open the repository \
is set aside.

Whoever can read your files can then read the repository: as with the default repository, the key protects against loss \
and theft of the disk that holds the repository alone.

Examples:
  chatvault key keep
  chatvault -r /media/ann/usb/chats --recovery-key-file kit.txt key keep

Exit codes: 0 done, 1 failed, 2 wrong usage, 10 no repository, 12 wrong password or key.";

/// Save a recovery key in the configuration folder, to be used automatically
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct KeepArgs {}

pub(crate) fn run(_: &KeepArgs, context: &Context) -> Result<Outcome> {
    let store = context.open_store()?;
    let config = context.folders.config()?;
    let opened = context.unlock(&store, &mut |credential| verify_credential(&store, credential))?;
    let Credential::Recovery(key) = &opened.credential else {
        return Err(Failure::usage("Failed to save a recovery key")
            .because("a password opened the repository, and passwords are never saved")
            .with_hint(format!(
                "give the recovery key: `{} --recovery-key-file FILE key keep`",
                context.program()
            )));
    };
    let opens = |other: &_| {
        verify_credential(&store, &Credential::Recovery(Clone::clone(other)))
            .is_ok_and(|id| id == opened.value)
    };
    let file = match &opened.origin {
        Origin::Kept(file) => file.clone(),
        Origin::Named | Origin::Typed => kept::keep(&config, opened.value, key, &opens)?,
    };
    if context.ui.style().json {
        context.ui.json(&KeyChanged {
            recovery_key_file: Some(file.to_string_lossy().into_owned()),
            ..changed("kept", opened.value.to_string(), Some(SlotKind::Recovery))
        });
    }
    context.ui.report(format_args!(
        "The recovery key of {} is saved in {} and used automatically.",
        store.location(),
        shown(&file)
    ));
    Ok(Outcome::done())
}
