//! `recovery-kit`

mod page;

use crate::args::secret::read_recovery_key;
use crate::commands::recovery_kit::page::Page;
use crate::config::private_file;
use crate::context::{Context, repository_ids};
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use crate::output::progress::Progress;
use crate::output::wire::init::RecoveryKit;
use crate::output::{human, warnings};
use chatvault_engine::base::event::Silent;
use chatvault_engine::base::{Kind, RepoId};
use chatvault_engine::crypto::{Credential, RecoveryKey};
use chatvault_engine::repo::{Repo, verify_credential};
use chatvault_engine::store::{LocalStore, Store};
use clap::Args;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
With a recovery key (kept, or given by --recovery-key-file) the page holds that key. With a password a new recovery key \
is made, added to the repository as a further way to open it, and printed; each time anew.

Examples:
  chatvault recovery-kit | lp
  chatvault recovery-kit --output ~/kit.txt
  chatvault -r /media/ann/usb/chats recovery-kit --verify typed.txt

Exit codes: 0 done, 1 failed, 2 wrong usage, 10 no repository, 11 another program changes keys, 12 the key does not open this repository.";

/// Print a page with the recovery key, to keep on paper
///
/// The page says what it is, where the repository is, and how to get everything back on a new computer. Whoever has the
/// page and the repository can read everything in it.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct RecoveryKitArgs {
    /// Write the page to this new file, readable by its owner only, instead of printing it
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    output: Option<PathBuf>,

    /// Find the key in this file, a page typed or saved, and prove that it opens the repository; nothing is written
    #[arg(long, value_name = "FILE")]
    verify: Option<PathBuf>,
}

pub(crate) fn run(args: &RecoveryKitArgs, context: &Context) -> Result<Outcome> {
    match &args.verify {
        Some(file) => verify(file, context),
        None => make(args.output.as_deref(), context),
    }
}

fn verify(file: &Path, context: &Context) -> Result<Outcome> {
    let key = read_recovery_key(file)?;
    let store = context.open_store()?;
    let id = verify_credential(&store, &Credential::Recovery(key)).map_err(|error| {
        if error.kind() == Kind::WrongKey { of_another(file, &store) } else { error.into() }
    })?;
    if context.ui.style().json {
        context.ui.json(&RecoveryKit {
            message_type: "recovery_kit",
            id: id.to_string(),
            repository: store.location(),
            action: "verified",
            new_key: false,
            file: Some(file.to_string_lossy().into_owned()),
            page: None,
        });
    }
    context.ui.report(format_args!(
        "The key in {} opens the repository {} (id {}).",
        shown(file),
        store.location(),
        id.short()
    ));
    Ok(Outcome::done())
}

/// The key in a file is one, but not one of this repository.
fn of_another(file: &Path, store: &LocalStore) -> Failure {
    let id = match repository_ids(store).as_deref() {
        Ok([id, ..]) => format!(", {id}"),
        _ => String::new(),
    };
    Failure::new(
        Condition::WrongKey,
        format!(
            "The key in {} is typed correctly, but it does not open the repository at {}",
            shown(file),
            store.location()
        ),
    )
    .with_hint(format!("compare the repository id on the page with the one of this repository{id}"))
}

/// The key for the page, and the repository if the key is still to be added to it.
struct Kit {
    key: RecoveryKey,
    id: RepoId,
    add_to: Option<Repo>,
}

fn make(output: Option<&Path>, context: &Context) -> Result<Outcome> {
    let store = context.open_store()?;
    let location = store.location();
    let kit = prepare(store, context)?;
    let page = Page {
        key: &kit.key,
        id: kit.id,
        location: &location,
        date: context.now().strftime("%Y-%m-%d").to_string(),
        host: &context.session().client.host,
    }
    .text();
    // The page is safe before the key opens anything.
    if let Some(file) = output {
        private_file::create(file, &page)?;
    }
    if let Some(repo) = &kit.add_to
        && let Err(error) =
            repo.add_key(&Credential::Recovery(kit.key.clone()), Some("recovery kit"), &Silent)
    {
        if let Some(file) = output {
            // It was made a moment ago, and its key opens nothing.
            drop(std::fs::remove_file(file));
        }
        return Err(error.into());
    }
    show(&kit, output, &location, &page, context);
    Ok(Outcome::done())
}

fn prepare(store: LocalStore, context: &Context) -> Result<Kit> {
    let (credential, origin) = context.credential(&store)?;
    if let Credential::Recovery(key) = credential {
        let id = verify_credential(&store, &Credential::Recovery(key.clone()))
            .map_err(|e| origin.explain(e, &store.location()))?;
        return Ok(Kit { key, id, add_to: None });
    }
    let progress = Progress::new(&context.ui);
    let repo = context.open_with(store, credential, &origin, &progress)?;
    // The kit is right whatever else is damaged.
    let _ = warnings::tell(&context.ui, &progress);
    Ok(Kit { key: RecoveryKey::random()?, id: repo.id(), add_to: Some(repo) })
}

fn show(kit: &Kit, output: Option<&Path>, location: &str, page: &str, context: &Context) {
    let ui = &context.ui;
    if ui.style().json {
        ui.json(&RecoveryKit {
            message_type: "recovery_kit",
            id: kit.id.to_string(),
            repository: location.to_owned(),
            action: "made",
            new_key: kit.add_to.is_some(),
            file: output.map(|file| file.to_string_lossy().into_owned()),
            page: output.is_none().then(|| page.to_owned()),
        });
        return;
    }
    if kit.add_to.is_some() {
        ui.status(
            "A new recovery key was added to the repository; from now on it opens it, as the password does.",
        );
    }
    match output {
        None => ui.line(page.trim_end()),
        Some(file) => {
            ui.report(format_args!(
                "The recovery kit is in {}: print it, then keep that file safe or remove it.",
                shown(file)
            ));
            ui.report(format_args!(
                "Check it: chatvault -r {} recovery-kit --verify {}",
                human::shell_word(location),
                human::shell_word(&shown(file))
            ));
        }
    }
}
