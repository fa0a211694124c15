//! `demo`: three days of a small chat folder, told in plain English and checked.

mod compare;
mod folder;
mod play;
#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result};
use crate::output::human;
use crate::output::human::shown;
use crate::output::wire::demo::{DemoDay, DemoSummary};
use chatvault_engine::repo::Session;
use clap::Args;
use play::{Day, Play};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

const EXAMPLES: &str = "\
Examples:
  chatvault demo
  chatvault demo --keep /tmp/demo
  chatvault -r /tmp/demo/repository --recovery-key-file /tmp/demo/recovery.key ls -l

Exit codes: 0 the first day came back exactly as it was, 1 it did not, or something failed, 130 cancelled.";

/// Show what this program does on a small made-up chat folder, and check that it does it
///
/// It makes a folder with a chat database and media, lives through three days, takes a snapshot of each, shows what
/// changed, restores the first day, and compares that with the first day, byte for byte. It works in a folder of its own
/// and touches nothing else.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Work in this folder, which must be missing or empty, and keep it
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

pub(crate) fn run(args: &DemoArgs, context: &Context) -> Result<Outcome> {
    let stage = Stage::set(args.keep.as_deref())?;
    let ui = &context.ui;
    ui.report(format_args!("A demonstration, in {}\n", shown(stage.path())));
    // Nothing of this is kept, the number of this machine neither.
    let session = Session { machine: Arc::new(|| [0; 16]), ..context.session() };
    let mut play = Play::begin(stage.path(), session, SystemTime::now())?;
    for number in 1..=3 {
        let day = play.live_a_day()?;
        ui.report(format_args!("Day {number}: {}.", day.happened));
        ui.report(format_args!(
            "  Snapshot {}: {} in the folder, {} added to the repository",
            day.summary.id.short(),
            human::bytes(day.summary.statistics.total_bytes),
            human::bytes(day.summary.statistics.data_added_packed)
        ));
    }
    ui.report("\nThe snapshots (chatvault list):");
    for snapshot in play.snapshots()? {
        let time = human::local_time(snapshot.manifest.time, &context.zone());
        ui.report(format_args!("  {}  {time}", snapshot.id.short()));
    }
    ui.report("\nWhat changed from day 1 to day 3 (chatvault diff):");
    for line in play.changes()? {
        ui.report(format_args!("  {line}"));
    }
    let restored = play.restore_first_day()?;
    ui.report(format_args!("\nDay 1 was restored to {} (chatvault restore).", shown(&restored)));
    let differences = play.compare(&restored)?;
    let outcome = Outcome::done().with(Condition::Failed, !differences.is_empty());
    if ui.style().json {
        ui.json(&wire(args, &play, &differences, &outcome));
    }
    verdict(args, &play, &differences, context)?;
    Ok(outcome)
}

/// Says how the comparison ended.
fn verdict(args: &DemoArgs, play: &Play, differences: &[String], context: &Context) -> Result<()> {
    let ui = &context.ui;
    if !differences.is_empty() {
        return Err(Failure::new(Condition::Failed, "Failed to bring back the first day as it was")
            .because(differences.join("\n"))
            .with_hint("this is a bug in chatvault, or a disk that loses data: please report it"));
    }
    let first = play.first_day();
    ui.report(format_args!(
        "Compared with what day 1 was: all {} ({}) have the same bytes, permissions and times.",
        human::count(first.entries(), "entry"),
        human::bytes(first.bytes())
    ));
    match &args.keep {
        Some(folder) => {
            let at = |name: &str| human::shell_word(&shown(&folder.join(name)));
            ui.report(format_args!("\nEverything is kept in {}. Look around:", shown(folder)));
            ui.report(format_args!(
                "  chatvault -r {} --recovery-key-file {} list",
                at("repository"),
                at("recovery.key")
            ));
        }
        None => ui.report("The folder of the demonstration is removed again; `--keep DIR` keeps it."),
    }
    Ok(())
}

fn wire(args: &DemoArgs, play: &Play, differences: &[String], outcome: &Outcome) -> DemoSummary {
    let day = |day: &Day| DemoDay {
        snapshot_id: day.summary.id.to_string(),
        happened: day.happened.clone(),
        total_bytes_processed: day.summary.statistics.total_bytes,
        data_added_packed: day.summary.statistics.data_added_packed,
    };
    DemoSummary {
        message_type: "summary",
        folder: args.keep.as_ref().map(|folder| folder.to_string_lossy().into_owned()),
        snapshots: play.days().iter().map(day).collect(),
        entries_compared: play.first_day().entries(),
        bytes_compared: play.first_day().bytes(),
        differences: differences.to_vec(),
        conditions: outcome.names(),
        exit_code: outcome.code(),
    }
}

/// The folder in which everything happens.
enum Stage {
    Kept(PathBuf),
    Passing(tempfile::TempDir),
}

impl Stage {
    fn set(keep: Option<&Path>) -> Result<Self> {
        let Some(folder) = keep else {
            let made = tempfile::Builder::new().prefix("chatvault-demo-").tempdir();
            return made
                .map(Self::Passing)
                .map_err(|cause| Failure::io("make", "a folder for the demonstration", cause));
        };
        let failed = |cause| Failure::io("use the folder", shown(folder), cause);
        std::fs::create_dir_all(folder).map_err(failed)?;
        if std::fs::read_dir(folder).map_err(failed)?.next().is_some() {
            return Err(Failure::new(
                Condition::Failed,
                format!("Failed to use the folder {}", shown(folder)),
            )
            .because("it is not empty")
            .with_hint("name a new or empty folder: --keep DIR"));
        }
        std::path::absolute(folder).map(Self::Kept).map_err(failed)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(folder) => folder.path(),
        }
    }
}
