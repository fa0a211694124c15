//! `snapshot`

mod args;
mod databases;
mod dated;
mod dry_run;
mod gone;
mod input;
mod list;

pub(crate) use args::SnapshotArgs;

use crate::args::select::Place;
use crate::args::time;
use crate::context::Context;
use crate::context::create::Creation;
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result, one_line};
use crate::output::progress::Progress;
use crate::output::wire::WireWarning;
use crate::output::wire::snapshot::{SnapshotSummary, WireDatabase, WireLink};
use crate::output::{Ui, human, warnings};
use crate::{process, sources};
use chatvault_engine::backup::{self, BackupOptions, BackupSummary, Gone, Ignored, Selection};
use chatvault_engine::base::event::Silent;
use chatvault_engine::base::path::clean;
use chatvault_engine::base::{
    Kind, Phase, Result as EngineResult, SnapshotId, Timestamp, Warning, WarningKind,
};
use chatvault_engine::browse::SnapshotFilter;
use chatvault_engine::model::Statistics;
use chatvault_engine::repo::Repo;
use chatvault_engine::source::{self, Skip};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) fn run(args: &SnapshotArgs, context: &Context) -> Result<Outcome> {
    let profile = &context.settings.snapshot;
    let given = input::paths(args)?;
    let paths = match args.sources.stdin {
        true => Vec::new(),
        false => sources::resolve(sources::or_profile(&given, &profile.paths)?)?,
    };
    let select = match args.sources.stdin {
        true => Selection::default(),
        false => args.select.selection(profile, context.folders.home())?,
    };
    let time = args.time.as_deref().map(|text| state_time(text, context)).transpose()?;
    let ui = &context.ui;
    let progress = Progress::new(ui);
    let repo = if args.dry_run { context.open(&progress)? } else { open_or_create(context, &progress)? };
    let options = BackupOptions {
        paths,
        select,
        own_folders: context.own_folders(&repo),
        owners: process::owners(),
        host: args.host.clone().or_else(|| profile.host.clone()),
        time: time.map(|(time, _)| time),
        utc_offset_minutes: time.map(|(_, offset)| offset),
        tags: if args.tags.is_empty() { profile.tag.clone() } else { args.tags.clone() },
        description: args.description.clone().or_else(|| profile.description.clone()),
        parent: parent(args, context, &repo, &progress)?,
        force: args.force,
        ignored: Ignored { ctime: args.ignore_ctime, inode: args.ignore_inode },
        foreign_clocks: false,
        raw_databases: args.raw_databases,
        integrity: args.integrity.into(),
    };
    if args.dry_run {
        return dry_run::run(context, &repo, &options, &progress);
    }
    let taken = if args.sources.stdin {
        let path = input::stdin_path(&args.sources.stdin_filename)?;
        let mut content = input::Stdin::begin(&context.cancel)?;
        if !args.sources.allow_empty {
            content.not_empty()?;
        }
        backup::stream(&repo, &options, &path, &mut content, &progress)
    } else {
        with_totals(context, &options, &progress, |progress| backup::snapshot(&repo, &options, progress))
    };
    told(taken, &options, context, &repo, &progress)
}

/// Says what was done, or why nothing was.
fn told(
    taken: EngineResult<BackupSummary>,
    options: &BackupOptions,
    context: &Context,
    repo: &Repo,
    progress: &Progress<'_>,
) -> Result<Outcome> {
    let ui = &context.ui;
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
    told.extend(warnings::of_affected(&summary.affected, &context.zone()));
    told.extend(summary.warnings.iter().filter(|warning| warning.path.is_some()).cloned());
    told.extend(gone::warnings(&summary.gone, summary.parent));
    told.extend(dated::warnings(&summary, &context.zone()));
    let outcome = warnings::outcome(&told)
        .with(
            Condition::IntegrityFailed,
            summary.database_counts.newly_damaged > 0 || summary.database_counts.damaged_logs > 0,
        )
        .with(Condition::Incomplete, summary.statistics.unreadable > 0)
        .with(Condition::Failed, told.iter().any(is_failure));
    if ui.style().json {
        ui.json(&SnapshotSummary {
            unmatched_excludes: options.select.exclude.unmatched(),
            ..wire(&summary, &told, &outcome, progress.elapsed())
        });
        tell_failures(context, &told);
        return Ok(outcome);
    }
    for line in words(&summary, progress.elapsed()) {
        ui.report(line);
    }
    tell_unmatched(ui, options);
    let (failures, told): (Vec<Warning>, Vec<Warning>) = told.into_iter().partition(is_failure);
    warnings::show(ui, &without_usual(told, ui, &options.paths), 0);
    tell_failures(context, &failures);
    // Who has taken one before knows.
    if summary.parent.is_none() && repo.snapshots(&Silent).is_ok_and(|all| all.len() == 1) {
        ui.status(format_args!(
            "List snapshots with `{}`; restore one with `{}`.",
            context.command("list"),
            context.command("restore latest --target DIR")
        ));
    }
    Ok(outcome)
}

/// The time of the state as it was given, and its minutes east of UTC.
fn state_time(text: &str, context: &Context) -> Result<(Timestamp, i32)> {
    time::parse_state(text, &context.now()).map_err(|why| {
        Failure::usage(format!("Failed to read the time {text}"))
            .because(why)
            .with_hint("write it as 2026-11-20, \"2026-11-20 18:00\", or 2026-11-20T18:00:00+01:00")
    })
}

/// The snapshot to compare with, if one was named.
fn parent(
    args: &SnapshotArgs,
    context: &Context,
    repo: &Repo,
    progress: &Progress<'_>,
) -> Result<Option<SnapshotId>> {
    let Some(name) = &args.parent else { return Ok(None) };
    let selector = Place::parse_snapshot(name, &context.now())?;
    let snapshots = repo.snapshots(progress)?;
    Ok(Some(context.select(&snapshots, &SnapshotFilter::default(), &selector, progress)?.id))
}

/// The snapshot is stored, but a disk failed or is full, and somebody should look after it.
fn is_failure(warning: &Warning) -> bool {
    matches!(warning.kind, WarningKind::CacheFailed | WarningKind::NotCleanedUp)
}

/// When quiet, without what each run would tell anew and nobody can mend: that folders of this program lie in a source, and
/// sockets and pipes. A folder that was named itself is another matter.
fn without_usual(mut told: Vec<Warning>, ui: &Ui, named: &[PathBuf]) -> Vec<Warning> {
    let is_usual = |warning: &Warning| {
        warning.kind == WarningKind::SpecialFile
            || warning.kind == WarningKind::OwnFolderLeftOut
                && warning.path.as_ref().is_some_and(|path| !named.contains(&path.to_fs()))
    };
    told.retain(|warning| !(ui.style().quiet && is_usual(warning)));
    told
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
            "Cancelled. No snapshot was created; existing snapshots are unchanged",
        )
        .with_hint("run the same command again: what is stored already is not stored again");
    }
    error.into()
}

/// Goes through the sources. Where progress is shown, its totals are counted beside it.
fn with_totals<T>(
    context: &Context,
    options: &BackupOptions,
    progress: &Progress<'_>,
    work: impl FnOnce(&Progress<'_>) -> T,
) -> T {
    if !context.ui.style().progress {
        return work(progress);
    }
    let counting = context.cancel.child();
    std::thread::scope(|scope| {
        let counter = std::thread::Builder::new().name("counter".to_owned());
        // Without it only the totals are missing.
        let _not_started_is_safe = counter.spawn_scoped(scope, || {
            let select = &options.select;
            let skip = |path, kind, size| select.leaves_out(|| path, kind, size);
            let skip: Option<Skip<'_>> = if select.is_everything() { None } else { Some(&skip) };
            let (files, bytes) = source::estimate(&outermost(&options.paths), skip, &counting);
            // Stopped early, it has only a part.
            if !counting.is_cancelled() {
                progress.foretell(Phase::Storing, files, bytes);
            }
        });
        let done = work(progress);
        counting.cancel();
        done
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
    let created = match context.create(None)? {
        Creation::Done(created) => *created,
        // Another program created it at this moment.
        Creation::Lost(_) if !context.may_create()? => return context.open(progress),
        Creation::Lost(error) => return Err(error.into()),
    };
    if context.ui.style().json {
        context.ui.json(&created.wire());
    }
    for sentence in created.words(context) {
        context.ui.status(sentence);
    }
    Ok(created.repo)
}

fn words(summary: &BackupSummary, elapsed: Duration) -> Vec<String> {
    let mut lines = vec![format!("Snapshot {} is stored", summary.id.short())];
    lines.extend(counts(&summary.statistics, &summary.gone, "Added:  "));
    lines.extend(
        summary.links.iter().map(|(link, target)| format!("Link:   {link} leads to {}", clean(target))),
    );
    lines.extend(databases::words(&summary.databases, &summary.database_counts));
    lines.push(format!("Time:   {}", human::duration(elapsed)));
    lines
}

/// What was, or would be, found and added.
fn counts(statistics: &Statistics, gone: &Gone, added: &str) -> Vec<String> {
    let mut files = format!(
        "Files:  {} new, {} changed, {} unchanged; {} in all",
        human::thousands(statistics.files_new),
        human::thousands(statistics.files_changed),
        human::thousands(statistics.files_unmodified),
        human::bytes(statistics.total_bytes)
    );
    if statistics.excluded > 0 {
        files.push_str(&format!("; {} excluded", human::thousands(statistics.excluded)));
    }
    let added = format!(
        "{added}{} to the repository ({} before compression)",
        human::bytes(statistics.data_added_packed),
        human::bytes(statistics.data_added)
    );
    [Some(files), gone::words(gone), Some(added)].into_iter().flatten().collect()
}

fn wire(summary: &BackupSummary, told: &[Warning], outcome: &Outcome, elapsed: Duration) -> SnapshotSummary {
    SnapshotSummary {
        message_type: "summary",
        snapshot_id: summary.id.to_string(),
        parent: summary.parent.map(|id| id.to_string()),
        time: human::rfc3339(summary.time, summary.utc_offset_minutes),
        paths: summary.paths.as_slice().into(),
        tree: summary.tree.to_string(),
        statistics: (&summary.statistics).into(),
        gone: (&summary.gone).into(),
        links: summary.links.iter().map(WireLink::from).collect(),
        databases: summary.databases.iter().map(WireDatabase::from).collect(),
        total_duration: elapsed.as_secs_f64(),
        conditions: outcome.names(),
        exit_code: outcome.code(),
        warnings: told.iter().map(WireWarning::from).collect(),
        unmatched_excludes: Vec::new(),
    }
}

/// Names the patterns that excluded nothing: most likely they do not say what was meant.
fn tell_unmatched(ui: &Ui, options: &BackupOptions) {
    let unmatched = options.select.exclude.unmatched();
    let (Some(first), count) = (unmatched.first(), unmatched.len()) else { return };
    let more = match count {
        1 => String::new(),
        _ => format!(" and {} more", human::thousands(u64::try_from(count - 1).unwrap_or(u64::MAX))),
    };
    let whole = if first.trim_start_matches('!').starts_with('/') {
        " (a pattern that begins with / is a whole path)"
    } else {
        ""
    };
    ui.report(format_args!("Excludes that matched nothing: {}{more}{whole}", one_line(first)));
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
