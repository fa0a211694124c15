//! `tag`

use crate::args::filter::FilterArgs;
use crate::args::select::Place;
use crate::args::tag;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::error::{Failure, Result, one_line};
use crate::output::progress::Progress;
use crate::output::wire::tag::{WireTagSummary, WireTagged};
use crate::output::{human, warnings};
use chatvault_engine::base::SnapshotId;
use chatvault_engine::repo::Snapshot;
use chatvault_engine::repo::events::TagChange;
use clap::Args;
use std::ffi::OsString;

const EXAMPLES: &str = "\
The snapshot itself, its content and its id stay as they are. What is so already is not written again. Where two \
machines change tags at the same time, both changes count; of two descriptions the later one does.

Examples:
  chatvault tag --add before-update latest
  chatvault tag --remove draft,old 3fa1 77aa
  chatvault tag --set keep --description \"the last good one\" @2026-11-20
  chatvault tag --set '' --description '' latest

Exit codes: 0 done, 1 failed, 2 wrong usage, 10 no repository, 12 wrong password or key, 22 damaged, 130 cancelled.";

/// Change the tags and the description of snapshots
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct TagArgs {
    /// The snapshots
    #[arg(required = true, value_name = "SNAPSHOT")]
    snapshots: Vec<OsString>,

    /// Tags that they get, with commas between; can be given several times
    #[arg(long, value_name = "TAG[,TAG]")]
    add: Vec<String>,

    /// Tags that they lose, with commas between; can be given several times
    #[arg(long, value_name = "TAG[,TAG]")]
    remove: Vec<String>,

    /// The tags that they have from now on, instead of all others; '' for none
    #[arg(long, value_name = "TAG[,TAG]", conflicts_with_all = ["add", "remove"])]
    set: Option<String>,

    /// The description that they have from now on; '' for none
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    #[command(flatten)]
    filter: FilterArgs,
}

pub(crate) fn run(args: &TagArgs, context: &Context) -> Result<Outcome> {
    let change = change(args)?;
    let now = context.now();
    let wanted =
        args.snapshots.iter().map(|text| Place::parse_snapshot(text, &now)).collect::<Result<Vec<_>>>()?;
    let filter = args.filter.read()?;
    let ui = &context.ui;
    let progress = Progress::new(ui);
    let repo = context.open(&progress)?;
    let history = repo.history(&progress)?;
    let mut chosen: Vec<&Snapshot> = Vec::new();
    for selector in &wanted {
        let snapshot = context.select(&history.snapshots, &filter, selector, &progress)?;
        if chosen.iter().all(|other| other.id != snapshot.id) {
            chosen.push(snapshot);
        }
    }
    let mut actions = Vec::new();
    let mut changed: Vec<SnapshotId> = Vec::new();
    for snapshot in &chosen {
        let mut own = change.actions(snapshot);
        if !own.is_empty() {
            changed.push(snapshot.id);
        }
        actions.append(&mut own);
    }
    repo.record(&history, actions, &progress)?;
    // As everybody sees them from now on.
    let after = repo.snapshots(&progress)?;
    let outcome = warnings::tell(ui, &progress);
    for before in chosen {
        let snapshot = after.iter().find(|snapshot| snapshot.id == before.id).unwrap_or(before);
        let is_changed = changed.contains(&snapshot.id);
        if ui.style().json {
            ui.json(&WireTagged::new(snapshot, is_changed));
        } else {
            ui.report(words(snapshot, is_changed));
        }
    }
    if ui.style().json {
        ui.json(&WireTagSummary::new(changed.len(), &outcome));
    }
    Ok(outcome)
}

fn change(args: &TagArgs) -> Result<TagChange> {
    let lists = |lists: &[String]| -> Result<Vec<String>> {
        Ok(lists.iter().map(|text| tag::list(text)).collect::<Result<Vec<_>>>()?.concat())
    };
    let change = TagChange {
        set: args.set.as_deref().map(tag::list).transpose()?,
        add: lists(&args.add)?,
        remove: lists(&args.remove)?,
        description: args.description.clone(),
    };
    if change == TagChange::default() {
        return Err(Failure::usage("Nothing is to be changed")
            .because("none of --add, --remove, --set and --description names anything")
            .with_hint("`{chatvault} tag --add TAG SNAPSHOT` gives a tag to a snapshot"));
    }
    if let Some(both) = change.add.iter().find(|tag| change.remove.contains(tag)) {
        return Err(Failure::usage(format!("The tag `{both}` is both added and removed"))
            .with_hint("leave one of them out"));
    }
    Ok(change)
}

fn words(snapshot: &Snapshot, is_changed: bool) -> String {
    let tags = match snapshot.tags.as_slice() {
        [] => "no tags".to_owned(),
        tags => format!("{}: {}", human::noun(tags.len(), "tag"), one_line(&tags.join(", "))),
    };
    let description =
        snapshot.description.as_deref().map(|text| format!("; {}", one_line(text))).unwrap_or_default();
    let unchanged = if is_changed { "" } else { " (as before)" };
    format!("Snapshot {}: {tags}{description}{unchanged}", snapshot.id.short())
}
