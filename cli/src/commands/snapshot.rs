//! `snapshot`

use crate::args::tag;
use crate::context::Context;
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result};
use crate::output::progress::Progress;
use crate::output::wire::WireWarning;
use crate::output::wire::snapshot::SnapshotSummary;
use crate::output::{human, warnings};
use crate::{process, sources};
use chatvault_engine::backup::{self, BackupOptions, BackupSummary};
use chatvault_engine::base::{Kind, Phase, Warning, WarningKind};
use chatvault_engine::repo::Repo;
use chatvault_engine::source;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
The first snapshot without -r makes the default repository and a recovery key for it, and says where they are.

Folders are stored under their absolute paths. A symbolic link given as PATH is stored as a link; with a slash behind \
it, the folder it points to is stored. This program's own folders and the repository are left out.

Examples:
  chatvault snapshot ~/WhatsApp
  chatvault snapshot --tag before-update --description \"before the new phone\" ~/WhatsApp ~/Pictures
  chatvault -r /media/ann/usb/chats --password-command 'pass chats' snapshot ~/WhatsApp

Exit codes: 0 stored, 1 failed (nothing stored, also if no PATH is there; or stored, but the cache's disk is full, as \
the message says), 2 wrong usage, 3 stored, but some files \
could not be read, 10 no repository, 12 wrong password or key, 22 the repository is damaged, 130 cancelled.";

/// Take a snapshot of folders or files
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct SnapshotArgs {
    /// The folders or files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Tag of the snapshot; can be given several times
    #[arg(long = "tag", value_name = "TAG", value_parser = tag::parse)]
    tags: Vec<String>,

    /// A sentence about the snapshot
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Name of the machine, instead of this one's
    #[arg(long, value_name = "NAME")]
    host: Option<String>,

    /// Read every file again, also those that look unchanged
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &SnapshotArgs, context: &Context) -> Result<Outcome> {
    let paths = sources::resolve(&args.paths)?;
    let ui = &context.ui;
    let progress = Progress::new(ui);
    let repo = open_or_create(context, &progress)?;
    let options = BackupOptions {
        paths,
        own_folders: context.own_folders(&repo),
        owners: process::owners(),
        host: args.host.clone(),
        time: None,
        tags: args.tags.clone(),
        description: args.description.clone(),
        force: args.force,
    };
    let taken = take(context, &repo, &options, &progress);
    // What the opening told; what the snapshot told stands in its summary.
    let mut told: Vec<Warning> =
        progress.finish().into_iter().filter(|warning| warning.path.is_none()).collect();
    let summary = match taken {
        Ok(summary) => summary,
        Err(error) => {
            warnings::show(ui, &told, progress.warnings_dropped());
            return Err(explained(error));
        }
    };
    told.extend(summary.warnings.iter().filter(|warning| warning.path.is_some()).cloned());
    let outcome = warnings::outcome(&told)
        .with(Condition::Incomplete, summary.statistics.unreadable > 0)
        .with(Condition::Failed, told.iter().any(is_failure));
    if ui.style().json {
        ui.json(&wire(&summary, &told, &outcome, progress.elapsed(), &repo));
        tell_failures(context, &told);
        return Ok(outcome);
    }
    for line in words(&summary, progress.elapsed()) {
        ui.report(line);
    }
    let (failures, told): (Vec<Warning>, Vec<Warning>) = told.into_iter().partition(is_failure);
    warnings::show(ui, &told, 0);
    tell_failures(context, &failures);
    if summary.parent.is_none() {
        ui.status(format_args!(
            "Next: `{}` shows the snapshots, `{}` gives one back.",
            context.command("list"),
            context.command("restore latest --target DIR")
        ));
    }
    Ok(outcome)
}

/// The snapshot is stored, but a disk failed or is full, and somebody should look after it.
fn is_failure(warning: &Warning) -> bool {
    matches!(warning.kind, WarningKind::CacheFailed | WarningKind::NotCleanedUp)
}

/// What cannot wait: that a disk is full or fails, though the snapshot is stored.
fn tell_failures(context: &Context, told: &[Warning]) {
    for warning in told.iter().filter(|warning| is_failure(warning)) {
        let hint = if warning.kind == WarningKind::CacheFailed {
            "the snapshot is stored; make room in the cache folder, or use another one (`--cache-dir DIR`, `--no-cache`)"
        } else {
            "the snapshot is stored; check the disk of the repository"
        };
        context.ui.fail(&Failure::new(Condition::Failed, &warning.message).with_hint(hint));
    }
}

fn explained(error: chatvault_engine::base::Error) -> Failure {
    if error.kind() == Kind::Cancelled {
        return Failure::new(
            Condition::Cancelled,
            "Cancelled: no snapshot was made; earlier ones are untouched",
        )
        .with_hint("run the same command again: what is stored already is not stored again");
    }
    error.into()
}

/// Takes the snapshot. Where progress is shown, its totals are counted beside it.
fn take(
    context: &Context,
    repo: &Repo,
    options: &BackupOptions,
    progress: &Progress<'_>,
) -> chatvault_engine::base::Result<BackupSummary> {
    if !context.ui.style().progress {
        return backup::snapshot(repo, options, progress);
    }
    let counting = context.cancel.child();
    std::thread::scope(|scope| {
        let counter = std::thread::Builder::new().name("counter".to_owned());
        // Without it only the totals are missing.
        let _not_started_is_safe = counter.spawn_scoped(scope, || {
            let (files, bytes) = source::estimate(&outermost(&options.paths), &counting);
            // Stopped early, it has only a part.
            if !counting.is_cancelled() {
                progress.foretell(Phase::Storing, files, bytes);
            }
        });
        let taken = backup::snapshot(repo, options, progress);
        counting.cancel();
        taken
    })
}

/// Without the paths that lie in others: their files count once.
fn outermost(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut sorted = paths.to_vec();
    // A folder stands right before all that is in it.
    sorted.sort();
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in sorted {
        if !kept.last().is_some_and(|last| path.starts_with(last)) {
            kept.push(path);
        }
    }
    kept
}

/// The repository; the default one is made if none was ever made there.
fn open_or_create(context: &Context, progress: &Progress<'_>) -> Result<Repo> {
    if !context.may_create()? {
        return context.open(progress);
    }
    let created = context.create()?;
    if context.ui.style().json {
        context.ui.json(&created.wire());
    }
    for sentence in created.words(context) {
        context.ui.status(sentence);
    }
    Ok(created.repo)
}

fn words(summary: &BackupSummary, elapsed: Duration) -> Vec<String> {
    let statistics = &summary.statistics;
    vec![
        format!("Snapshot {} is stored", summary.id.short()),
        format!(
            "Files:  {} new, {} changed, {} unchanged; {} in all",
            human::thousands(statistics.files_new),
            human::thousands(statistics.files_changed),
            human::thousands(statistics.files_unmodified),
            human::bytes(statistics.total_bytes)
        ),
        format!(
            "Added:  {} to the repository ({} before compression)",
            human::bytes(statistics.data_added_packed),
            human::bytes(statistics.data_added)
        ),
        format!("Time:   {}", human::duration(elapsed)),
    ]
}

fn wire(
    summary: &BackupSummary,
    told: &[Warning],
    outcome: &Outcome,
    elapsed: Duration,
    repo: &Repo,
) -> SnapshotSummary {
    SnapshotSummary {
        message_type: "summary",
        snapshot_id: summary.id.to_string(),
        parent: summary.parent.map(|id| id.to_string()),
        time: human::rfc3339(summary.time, repo.session().utc_offset_minutes),
        paths: summary.paths.as_slice().into(),
        tree: summary.tree.to_string(),
        statistics: (&summary.statistics).into(),
        total_duration: elapsed.as_secs_f64(),
        conditions: outcome.names(),
        exit_code: outcome.code(),
        warnings: told.iter().map(WireWarning::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_within_others_are_not_counted_twice() {
        let paths = ["/b", "/a/x", "/a-b", "/a", "/a/x/y"].map(PathBuf::from);
        assert_eq!(outermost(&paths), ["/a", "/a-b", "/b"].map(PathBuf::from));
    }
}
