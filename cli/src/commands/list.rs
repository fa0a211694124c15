//! `list`

use crate::args::filter::FilterArgs;
use crate::context::{Context, unreadable};
use crate::exit::Outcome;
use crate::output::error::{Result, one_line};
use crate::output::progress::Progress;
use crate::output::table::{self, Column};
use crate::output::wire::snapshot::WireSnapshot;
use crate::output::{human, warnings};
use chatvault_engine::browse::last_of_each;
use chatvault_engine::repo::Snapshot;
use clap::Args;
use jiff::tz::TimeZone;

const EXAMPLES: &str = "\
The columns: the first digits of the id; when it was taken, in local time; on which machine; how many files it has and \
how large they are; how much it added to the repository; its folders, of several the first one. Where any snapshot has \
them: `incomplete` if some files could not be read; its tags; its description. --json has all folders.

Examples:
  chatvault list
  chatvault list --host phone --latest 3
  chatvault -r /media/ann/usb/chats list --json

Exit codes: 0 done, 1 failed, 2 wrong usage, 10 no repository, 12 wrong password or key, 22 damaged.";

/// List the snapshots, oldest first
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ListArgs {
    /// Only the last so many of the same folders of each machine
    #[arg(long, value_name = "NUMBER")]
    latest: Option<usize>,

    #[command(flatten)]
    filter: FilterArgs,
}

const COLUMNS: [Column; 10] = [
    Column::words("ID"),
    Column::words("TIME"),
    Column::words("HOST"),
    Column::numbers("FILES"),
    Column::numbers("SIZE"),
    Column::numbers("ADDED"),
    Column::words("STATE").if_any(),
    Column::words("TAGS").if_any(),
    Column::words("PATHS"),
    Column::words("DESCRIPTION").if_any(),
];

pub(crate) fn run(args: &ListArgs, context: &Context) -> Result<Outcome> {
    let filter = args.filter.read()?;
    let ui = &context.ui;
    let progress = Progress::new(ui);
    let all = context.open(&progress)?.snapshots(&progress)?;
    let is_empty = all.is_empty();
    let mut snapshots: Vec<Snapshot> = all.into_iter().filter(|snapshot| filter.admits(snapshot)).collect();
    if let Some(count) = args.latest {
        snapshots = last_of_each(snapshots, count);
    }
    let told = progress.finish();
    warnings::show(ui, &told, progress.warnings_dropped());
    let outcome = warnings::outcome(&told);
    if ui.style().json {
        ui.json(&snapshots.iter().map(WireSnapshot::from).collect::<Vec<_>>());
        return Ok(outcome);
    }
    if snapshots.is_empty() && !is_empty {
        ui.status("No snapshot is as asked for.");
        return Ok(outcome);
    }
    if snapshots.is_empty() {
        if let Some(failure) = unreadable(&told) {
            return Err(failure);
        }
        ui.status(format_args!(
            "There is no snapshot yet. `{}` takes one.",
            context.command("snapshot FOLDER")
        ));
        return Ok(outcome);
    }
    let zone = context.zone();
    for line in table::lines(&COLUMNS, snapshots.iter().map(|snapshot| row(snapshot, &zone)).collect()) {
        ui.line(line);
    }
    if snapshots.iter().any(is_incomplete) {
        ui.status("incomplete: some files could not be read when it was taken; the others are in it.");
    }
    ui.status(human::count(u64::try_from(snapshots.len()).unwrap_or(u64::MAX), "snapshot"));
    Ok(outcome)
}

fn is_incomplete(snapshot: &Snapshot) -> bool {
    snapshot.manifest.statistics.unreadable > 0
}

fn row(snapshot: &Snapshot, zone: &TimeZone) -> Vec<String> {
    let manifest = &snapshot.manifest;
    vec![
        snapshot.id.short(),
        human::local_time(manifest.time, zone),
        one_line(&manifest.host),
        human::thousands(manifest.statistics.total_files),
        human::bytes(manifest.statistics.total_bytes),
        human::bytes(manifest.statistics.data_added_packed),
        if is_incomplete(snapshot) { "incomplete".to_owned() } else { String::new() },
        one_line(&snapshot.tags.join(", ")),
        human::paths(&manifest.paths),
        snapshot.description.as_deref().map(one_line).unwrap_or_default(),
    ]
}
