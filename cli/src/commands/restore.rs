//! `restore`

use crate::args::filter::FilterArgs;
use crate::args::select::Place;
use crate::context::Context;
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use crate::output::progress::Progress;
use crate::output::wire::WireWarning;
use crate::output::wire::restore::WireRestore;
use crate::output::{human, warnings};
use chatvault_engine::base::{Kind, StoredPath, Warning};
use chatvault_engine::repo::Snapshot;
use chatvault_engine::restore::{self, RestoreOptions, RestoreSummary};
use clap::Args;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

const EXAMPLES: &str = "\
Without PATH, everything comes back under its stored path: /home/ann/photos to DIR/home/ann/photos. With PATH, what is in \
that folder, or that one file, comes straight into DIR. Nothing that is there is overwritten: if something stands in the \
way, nothing is restored.

Examples:
  chatvault restore latest --target out
  chatvault restore @2026-11-20:/home/ann/WhatsApp --target WhatsApp-of-friday

Exit codes: 0 done, 1 failed (also if something stands in the way, or the target refused some files), 2 wrong usage (also \
if the target overlaps with the repository), 10 no repository, 12 wrong password or key, 22 some files are lost to \
damage, the others are restored, 130 cancelled.";

/// Give back the state of a snapshot
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// The snapshot, and perhaps a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    place: OsString,

    /// The folder that gets the files; it is made if it is missing
    #[arg(long, value_name = "DIR")]
    target: PathBuf,

    #[command(flatten)]
    filter: FilterArgs,
}

pub(crate) fn run(args: &RestoreArgs, context: &Context) -> Result<Outcome> {
    let place = Place::parse(&args.place, &context.now())?;
    let filter = args.filter.read()?;
    let ui = context.ui.as_ref();
    let progress = Progress::new(ui);
    let repo = context.open(&progress)?;
    let snapshots = repo.snapshots(&progress)?;
    let snapshot = context.select(&snapshots, &filter, &place.selector, &progress)?;
    let options = RestoreOptions {
        target: args.target.clone(),
        path: place.path.clone(),
        repository: repo.local_path().map(Path::to_owned),
    };
    let planned = restore::plan(&repo, snapshot, &options, &progress);
    let has_begun = planned.is_ok();
    let restored = planned.and_then(|plan| {
        let (files, bytes) = (plan.files, plan.bytes);
        restore::apply(&repo, plan, &progress).map(|summary| Restored { summary, files, bytes })
    });
    let told = progress.finish();
    let restored = match restored {
        Ok(restored) => restored,
        Err(error) => {
            warnings::show(ui, &told, progress.warnings_dropped());
            return Err(explained(error, &args.target, has_begun));
        }
    };
    let outcome = restored.outcome(&told);
    if ui.style().json {
        let path = place.path.as_ref();
        ui.json(&restored.wire(snapshot, path, &args.target, &told, &outcome, progress.elapsed()));
        return Ok(outcome);
    }
    for line in restored.words(snapshot, &args.target, progress.elapsed()) {
        ui.report(line);
    }
    warnings::show(ui, &told, progress.warnings_dropped());
    Ok(outcome)
}

fn explained(error: chatvault_engine::base::Error, target: &Path, has_begun: bool) -> Failure {
    match error.kind() {
        Kind::Cancelled if has_begun => Failure::new(
            Condition::Cancelled,
            format!(
                "Cancelled: the files restored so far are complete and stay in {}; the rest is missing",
                shown(target)
            ),
        )
        .with_hint(format!(
            "to run it again, delete what is in {}, or name another folder: --target DIR",
            shown(target)
        )),
        Kind::Cancelled => Failure::new(Condition::Cancelled, "Cancelled: nothing was restored")
            .with_hint("run the same command again"),
        Kind::AlreadyThere => {
            Failure::from(error).with_hint("nothing was restored; name a new or empty folder: --target DIR")
        }
        Kind::Usage => Failure::from(error).with_hint("name another folder: --target DIR"),
        Kind::NoSpace => {
            let failure = Failure::from(error).with_hint("make room there, or name a folder on another disk");
            let why = failure.why().map(human::sizes);
            match why {
                Some(why) => failure.because(why),
                None => failure,
            }
        }
        _ => error.into(),
    }
}

/// Names that hard links give to files that are counted already.
fn further_names(count: u64) -> String {
    match count {
        0 => String::new(),
        1 => ", and 1 further name of one of them".to_owned(),
        _ => format!(", and {} of them", human::count(count, "further name")),
    }
}

struct Restored {
    summary: RestoreSummary,
    /// Files and bytes that were to be restored.
    files: u64,
    bytes: u64,
}

impl Restored {
    fn outcome(&self, told: &[Warning]) -> Outcome {
        warnings::outcome(told)
            .with(Condition::Damaged, self.summary.damaged > 0)
            .with(Condition::Failed, self.summary.failed > 0)
    }

    fn words(&self, snapshot: &Snapshot, target: &Path, elapsed: Duration) -> Vec<String> {
        let summary = &self.summary;
        let mut words = vec![
            format!(
                "Snapshot {} of {} restored to {}",
                snapshot.id.short(),
                snapshot.manifest.host,
                shown(target)
            ),
            format!(
                "Files:  {} of {}{}, {}; {}",
                human::thousands(summary.files),
                human::thousands(self.files),
                further_names(summary.hard_links),
                human::bytes(summary.bytes),
                human::count(summary.dirs, "folder")
            ),
            format!("Time:   {}", human::duration(elapsed)),
        ];
        if summary.damaged > 0 {
            words.push(format!(
                "Lost:   {} could not be read from the repository",
                human::count(summary.damaged, "entry")
            ));
        }
        if summary.failed > 0 {
            words.push(format!(
                "Failed: {} could not be written to the target",
                human::count(summary.failed, "entry")
            ));
        }
        words
    }

    fn wire(
        &self,
        snapshot: &Snapshot,
        path: Option<&StoredPath>,
        target: &Path,
        told: &[Warning],
        outcome: &Outcome,
        elapsed: Duration,
    ) -> WireRestore {
        let summary = &self.summary;
        WireRestore {
            message_type: "summary",
            snapshot_id: snapshot.id.to_string(),
            path: path.map(Into::into),
            target: target.to_string_lossy().into_owned(),
            total_files: self.files,
            files_restored: summary.files,
            dirs_restored: summary.dirs,
            symlinks_restored: summary.symlinks,
            hard_links_restored: summary.hard_links,
            specials_skipped: summary.specials,
            total_bytes: self.bytes,
            bytes_restored: summary.bytes,
            damaged: summary.damaged,
            failed: summary.failed,
            total_duration: elapsed.as_secs_f64(),
            conditions: outcome.names(),
            exit_code: outcome.code(),
            warnings: told.iter().map(WireWarning::from).collect(),
        }
    }
}
