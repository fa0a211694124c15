//! `cat`

use crate::args::filter::FilterArgs;
use crate::args::select::Place;
use crate::context::{Context, missing};
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result};
use crate::output::human::shell_word;
use crate::output::progress::Progress;
use crate::output::warnings;
use chatvault_engine::browse::{self, Selector};
use chatvault_engine::model::NodeKind;
use clap::Args;
use std::ffi::OsString;

const EXAMPLES: &str = "\
Examples:
  chatvault cat latest:/home/ann/notes.txt
  chatvault cat @2026-11-20:/home/ann/WhatsApp/Databases/msgstore.db > msgstore.db

Exit codes: 0 done, 1 failed (also if the path is not in the snapshot), 2 wrong usage, 10 no repository, 12 wrong \
password or key, 22 the content is damaged: what was written is not all, or not right.";

/// Write the content of a file in a snapshot to the standard output
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CatArgs {
    /// The snapshot and the path of the file in it
    #[arg(value_name = "SNAPSHOT:PATH")]
    place: OsString,

    #[command(flatten)]
    filter: FilterArgs,
}

pub(crate) fn run(args: &CatArgs, context: &Context) -> Result<Outcome> {
    let (place, path) = Place::parse_with_path(&args.place, &context.now())?;
    let filter = args.filter.read()?;
    let ui = &context.ui;
    let progress = Progress::new(ui);
    let (repo, snapshot) = &context.open_at(&filter, &place, &progress)?;
    let outcome = warnings::tell(ui, &progress);
    // Who names a state by a time does not know which one it is.
    if matches!(place.selector, Selector::AtOrBefore(_)) {
        context.name_state(snapshot);
    }
    let node = browse::lookup(repo, snapshot, &path)
        .map_err(|error| missing::not_held(error, snapshot, Some(&path)))?;
    if node.kind != NodeKind::File {
        let failure = Failure::new(Condition::Failed, format!("Failed to show the content of {path}"));
        return Err(if node.kind == NodeKind::Dir {
            failure.because("it is a folder").with_hint(format!(
                "`{{chatvault}} ls {}` shows what is in it",
                shell_word(&format!("{}:{path}", snapshot.id.short()))
            ))
        } else {
            failure.because("it is no plain file").with_hint("only plain files have content")
        });
    }
    match browse::write_content(repo, &node, &mut ui.bytes(), &context.cancel) {
        Err(_) if ui.is_unread() => Ok(outcome),
        Err(error) => {
            warnings::show(ui, warnings::of_losses(repo, &context.zone()).as_slice(), 0);
            Err(error.into())
        }
        Ok(()) => Ok(outcome),
    }
}
