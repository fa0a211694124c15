//! `recovery-kit`

mod page;

use crate::args::secret::read_recovery_key;
use crate::commands::recovery_kit::page::Page;
use crate::config::private_file;
use crate::context::{Context, repository_ids};
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result, one_line};
use crate::output::human::shown;
use crate::output::progress::Progress;
use crate::output::wire::init::RecoveryKit;
use crate::output::{human, warnings};
use chatvault_engine::base::event::Silent;
use chatvault_engine::base::{Error, KeyId, Kind, RepoId};
use chatvault_engine::crypto::envelope::{DRAFT, FORMAT, format_name};
use chatvault_engine::crypto::{Credential, RecoveryKey, SlotKind};
use chatvault_engine::repo::{KeySlot, Repo, verify_credential};
use chatvault_engine::store::{LocalStore, Store};
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const EXAMPLES: &str = "\
With a recovery key (kept, or given by --recovery-key-file) the page holds that key. With a password a new recovery key \
is created, added to the repository as a further way to open it, and printed. It is known to the page only: to print it \
again, give it by --recovery-key-file; if the page is lost, --replace prints a new key and removes the old one.

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

    /// Label of the new key in `key list`; one page for each label [default: recovery kit]
    #[arg(long, value_name = "TEXT", conflicts_with = "verify")]
    label: Option<String>,

    /// Replace the key of the earlier page with this label, which then opens nothing
    #[arg(long, conflicts_with = "verify")]
    replace: bool,
}

impl RecoveryKitArgs {
    fn label(&self) -> &str {
        self.label.as_deref().unwrap_or("recovery kit")
    }
}

pub(crate) fn run(args: &RecoveryKitArgs, context: &Context) -> Result<Outcome> {
    match &args.verify {
        Some(file) => verify(file, context),
        None => make(args, context),
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
    /// The key of an earlier page, which goes when the new one is safe.
    replaced: Option<KeyId>,
}

fn make(args: &RecoveryKitArgs, context: &Context) -> Result<Outcome> {
    let output = args.output.as_deref();
    let store = Arc::new(context.open_store()?);
    let location = store.location();
    let kit = prepare(&store, args, context)?;
    let page = Page {
        key: &kit.key,
        id: kit.id,
        location: &location,
        format: format_name(FORMAT, DRAFT),
        date: context.now().strftime("%Y-%m-%d").to_string(),
        host: &context.session().client.host,
    }
    .text()?;
    // The page is safe before the key opens anything.
    if let Some(file) = output {
        private_file::create(file, &page)?;
    }
    if let Some(repo) = &kit.add_to
        && let Err(error) = repo.add_key(&Credential::Recovery(kit.key.clone()), Some(args.label()), &Silent)
    {
        if let Some(file) = output {
            // It was made a moment ago, and its key opens nothing.
            drop(std::fs::remove_file(file));
        }
        return Err(error.into());
    }
    show(&kit, output, &location, &page, context);
    if let (Some(repo), Some(old)) = (&kit.add_to, &kit.replaced) {
        repo.remove_key(old, false, &Silent)?;
        context.ui.status(format_args!("The page with key {} opens nothing any more.", old.short()));
    }
    Ok(Outcome::done())
}

/// What opened the repository, and what is needed for a further key.
enum Way {
    Key(RepoId),
    Password(Box<Repo>),
}

fn prepare(store: &Arc<LocalStore>, args: &RecoveryKitArgs, context: &Context) -> Result<Kit> {
    let progress = Progress::new(&context.ui);
    let opened = context.unlock(store, &mut |credential| {
        Ok(if matches!(credential, Credential::Recovery(_)) {
            Way::Key(verify_credential(store.as_ref(), credential)?)
        } else {
            let store: Arc<dyn Store> = Arc::<LocalStore>::clone(store);
            Way::Password(Box::new(Repo::open(store, credential, context.session(), &progress)?))
        })
    })?;
    let repo = match (opened.value, opened.credential) {
        (Way::Key(id), Credential::Recovery(key)) => {
            return Ok(Kit { key, id, add_to: None, replaced: None });
        }
        (Way::Key(_), _) => {
            return Err(Failure::from(Error::new(Kind::Internal, "read", "the recovery key")));
        }
        (Way::Password(repo), _) => *repo,
    };
    let keys = repo.keys(&progress)?;
    // The kit is right whatever else is damaged.
    let _ = warnings::tell(&context.ui, &progress);
    let label = args.label();
    let is_same = |key: &&KeySlot| {
        let note = key.note.as_ref().and_then(|note| note.label.as_deref());
        key.kind == Some(SlotKind::Recovery) && !key.removed && note == Some(label)
    };
    let replaced = match keys.iter().find(is_same) {
        Some(key) if !args.replace => return Err(printed_before(key, label, context)),
        found => found.map(|key| key.id),
    };
    Ok(Kit { key: RecoveryKey::random()?, id: repo.id(), add_to: Some(repo), replaced })
}

/// A page with a key of this label was made before.
fn printed_before(key: &KeySlot, label: &str, context: &Context) -> Failure {
    let made =
        key.note.as_ref().map(|note| human::local_day(note.created, &context.zone())).unwrap_or_default();
    Failure::new(Condition::Failed, "Failed to create a new recovery kit")
        .because(format!(
            "there is one with the label `{}` (key {}, {made}), and its key is known to that page only",
            one_line(label),
            key.id.short()
        ))
        .with_hint(format!(
            "to print that key again: `{} --recovery-key-file FILE recovery-kit`; if the page is lost, `{}` replaces its \
             key; for a second page add --label TEXT",
            context.program(),
            context.command("recovery-kit --replace")
        ))
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
            "Added a new recovery key to the repository. It opens the repository without the password.",
        );
    }
    match output {
        None => ui.line(page.trim_end()),
        Some(file) => {
            ui.report(format_args!(
                "Saved the recovery kit in {}: print it, then keep that file safe or remove it.",
                shown(file)
            ));
            ui.report(format_args!(
                "Check it: `{} -r {} recovery-kit --verify {}`",
                context.program(),
                human::shell_word(location),
                human::shell_word(&shown(file))
            ));
        }
    }
}
