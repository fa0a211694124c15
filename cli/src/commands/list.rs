//! `list`

use crate::context::Context;
use crate::exit::Outcome;
use crate::output::error::{Result, one_line};
use crate::output::progress::Progress;
use crate::output::table::{self, Column};
use crate::output::wire::snapshot::WireSnapshot;
use crate::output::{human, warnings};
use chatvault_engine::repo::Snapshot;
use clap::Args;
use jiff::tz::TimeZone;

const EXAMPLES: &str = "\
The columns: the first digits of the id; when it was taken, in local time; on which machine; how many files it has and \
how large they are; how much it added to the repository; its folders; its tags and description.

Examples:
  chatvault list
  chatvault -r /media/ann/usb/chats list --json

Exit codes: 0 done, 1 failed, 2 wrong usage, 10 no repository, 12 wrong password or key, 22 damaged.";

/// List the snapshots, oldest first
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ListArgs {}

const COLUMNS: [Column; 8] = [
    Column::words("ID"),
    Column::words("TIME"),
    Column::words("HOST"),
    Column::numbers("FILES"),
    Column::numbers("SIZE"),
    Column::numbers("ADDED"),
    Column::words("PATHS"),
    Column::words("TAGS"),
];

pub(crate) fn run(_: &ListArgs, context: &Context) -> Result<Outcome> {
    let ui = &context.ui;
    let progress = Progress::new(ui);
    let snapshots = context.open(&progress)?.snapshots(&progress)?;
    let outcome = warnings::tell(ui, &progress);
    if ui.style().json {
        ui.json(&snapshots.iter().map(WireSnapshot::from).collect::<Vec<_>>());
        return Ok(outcome);
    }
    if snapshots.is_empty() {
        ui.status("There is no snapshot yet. `chatvault snapshot FOLDER` takes one.");
        return Ok(outcome);
    }
    let zone = context.zone();
    for line in table::lines(&COLUMNS, snapshots.iter().map(|snapshot| row(snapshot, &zone)).collect()) {
        ui.line(line);
    }
    ui.status(human::count(u64::try_from(snapshots.len()).unwrap_or(u64::MAX), "snapshot"));
    Ok(outcome)
}

fn row(snapshot: &Snapshot, zone: &TimeZone) -> Vec<String> {
    let manifest = &snapshot.manifest;
    let paths: Vec<String> = manifest.paths.iter().map(ToString::to_string).collect();
    let words: Vec<String> =
        snapshot.tags.iter().chain(&snapshot.description).map(|text| one_line(text)).collect();
    vec![
        snapshot.id.short(),
        human::local_time(manifest.time, zone),
        one_line(&manifest.host),
        human::thousands(manifest.statistics.total_files),
        human::bytes(manifest.statistics.total_bytes),
        human::bytes(manifest.statistics.data_added_packed),
        paths.join(" "),
        words.join(", "),
    ]
}
