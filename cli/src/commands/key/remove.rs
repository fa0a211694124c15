//! `key remove`

use crate::commands::key::{changed, failed, open};
use crate::context::Context;
use crate::context::unlock::Origin;
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use crate::output::progress::Progress;
use crate::output::warnings;
use chatvault_engine::repo::KeySlot;
use clap::Args;

const EXAMPLES: &str = "\
The last key is never removed, and the one that opens the repository at this moment only with --force.

What was removed still opens old copies of the repository (a mirror, a snapshot of the file system, a cloud's history). \
And whoever opened the repository with it may have kept the keys inside, which this does not change.

Examples:
  chatvault key remove 1a2b3c4d
  chatvault -r /media/ann/usb/chats --recovery-key-file ~/chats.key key remove 1a2b

Exit codes: 0 done, 1 failed (also if no key or several have this id), 2 wrong usage (also the last key, or without \
--force the one in use), 10 no repository, 11 another program changes keys, 12 wrong password or key.";

/// Remove a key: it no longer opens the repository
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct RemoveArgs {
    /// The first digits of the key's id, as `key list` shows it
    #[arg(value_name = "ID")]
    id: String,

    /// Also the key that opens the repository at this moment
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &RemoveArgs, context: &Context) -> Result<Outcome> {
    let progress = Progress::new(&context.ui);
    let opened = open(context, &progress)?;
    let keys = opened.repo.keys(&progress)?;
    let outcome = warnings::tell(&context.ui, &progress);
    let key = choose(&keys, &args.id, context)?;
    if key.in_use && !args.force && keys.len() > 1 {
        return Err(Failure::usage(format!("Failed to remove key {}", key.id.short()))
            .because("it is the one that opens the repository at this moment")
            .with_hint("open the repository by another key, or add --force if you have another one"));
    }
    let progress = Progress::new(&context.ui);
    opened.repo.remove_key(&key.id, args.force, &progress).map_err(|error| failed(error, context))?;
    warnings::tell(&context.ui, &progress);
    if context.ui.style().json {
        context.ui.json(&changed("removed", key.id.to_string(), key.kind));
    }
    context
        .ui
        .report(format_args!("Key {} was removed; the repository no longer opens with it.", key.id.short()));
    if let (true, Origin::Kept(path)) = (key.in_use, &opened.origin) {
        context.ui.status(format_args!("The key that is kept in {} opens nothing any more.", shown(path)));
    }
    Ok(outcome)
}

/// The one key whose id begins so.
fn choose<'k>(keys: &'k [KeySlot], prefix: &str, context: &Context) -> Result<&'k KeySlot> {
    let prefix = prefix.to_ascii_lowercase();
    let refused = |why: String| {
        Failure::new(Condition::Failed, format!("Failed to find key {prefix}"))
            .because(why)
            .with_hint(format!("`{}` shows the keys", context.command("key list")))
    };
    let mut found = keys.iter().filter(|key| !prefix.is_empty() && key.id.to_string().starts_with(&prefix));
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(key),
        (Some(first), Some(second)) => Err(refused(format!(
            "the ids of several keys begin so: {}, {}",
            first.id.short(),
            second.id.short()
        ))),
        (None, _) => Err(refused("the id of no key begins so".to_owned())),
    }
}
