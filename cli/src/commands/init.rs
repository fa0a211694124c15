//! `init`

use crate::context::Context;
use crate::context::create::Creation;
use crate::exit::Outcome;
use crate::output::error::{Failure, Result};
use crate::process;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;

const EXAMPLES: &str = "\
What opens the new repository:
  --password-file, --password-command  that password
  one of them with --key-file FILE     that password and FILE together; FILE is made new if it is missing
  --recovery-key-file FILE             the key in FILE, which is made new if it is missing
  none of them, without -r             a new recovery key, which is kept in the configuration folder
  none of them, with -r                a password that is asked for on the terminal
Further ways to open it are added by `chatvault key add` and `chatvault recovery-kit`.

Examples:
  chatvault init
  chatvault init -r /media/ann/usb/chats
  chatvault init -r /media/ann/usb/chats --recovery-key-file ~/chats.key
  chatvault init -r /srv/chats --key-file /media/ann/usb/chats.keyfile
  chatvault init -r /srv/family/chats --group family

Exit codes: 0 done, 1 failed (also if a repository is there already, or the folder is not empty), 2 wrong usage.";

/// Make a new repository
///
/// It is made in the folder named by -r, which must be missing or empty, else in the default place. `chatvault snapshot`
/// makes the default repository by itself.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct InitArgs {
    /// Let the members of this group use the repository too; they need a key or password as well
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    group: Option<String>,
}

pub(crate) fn run(args: &InitArgs, context: &Context) -> Result<Outcome> {
    let group = args.group.as_deref().map(group_number).transpose()?;
    let created = match context.create(group)? {
        Creation::Done(created) => *created,
        Creation::Lost(error) => return Err(error.into()),
    };
    if context.ui.style().json {
        context.ui.json(&created.wire());
    }
    for sentence in created.words(context) {
        context.ui.report(sentence);
    }
    Ok(Outcome::done())
}

/// The number of a group that is named, or given by its number.
fn group_number(name: &str) -> Result<u32> {
    process::owners().group_number(name).or_else(|| name.parse().ok()).ok_or_else(|| {
        Failure::usage(format_args!("There is no group `{name}`"))
            .with_hint("`getent group` lists the groups; a number is taken too")
    })
}
