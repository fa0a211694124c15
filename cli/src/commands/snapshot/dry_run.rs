//! `snapshot --dry-run`: names what would be stored, and stores nothing.

use super::{counts, explained, gone, tell_unmatched, with_totals, without_usual};
use crate::context::Context;
use crate::exit::{Condition, Outcome};
use crate::output::error::Result;
use crate::output::progress::Progress;
use crate::output::wire::WireWarning;
use crate::output::wire::snapshot::{DryRunSummary, WireItem};
use crate::output::{Ui, human, warnings};
use chatvault_engine::backup::{self, BackupOptions, BackupPreview};
use chatvault_engine::base::{Counter, Found, Observer, Phase, StoredPath, Warning};
use chatvault_engine::repo::Repo;

/// Hands everything on to the progress, and names entries.
struct Naming<'n> {
    ui: &'n Ui,
    progress: &'n Progress<'n>,
}

impl Observer for Naming<'_> {
    fn phase(&self, phase: Phase) {
        self.progress.phase(phase);
    }

    fn expect(&self, counter: Counter, total: u64) {
        self.progress.expect(counter, total);
    }

    fn add(&self, counter: Counter, amount: u64) {
        self.progress.add(counter, amount);
    }

    fn working_on(&self, path: &StoredPath) {
        self.progress.working_on(path);
    }

    fn warn(&self, warning: &Warning) {
        self.progress.warn(warning);
    }

    fn found(&self, path: &StoredPath, found: Found) {
        if self.ui.style().json {
            self.ui.json(&WireItem::new(path, found.name()));
        } else {
            self.ui.line(format_args!("{:<9} {path}", found.name()));
        }
    }
}

pub(super) fn run(
    context: &Context,
    repo: &Repo,
    options: &BackupOptions,
    progress: &Progress<'_>,
) -> Result<Outcome> {
    let ui = context.ui.as_ref();
    let seen = with_totals(context, options, progress, |progress| {
        backup::preview(repo, options, &Naming { ui, progress })
    });
    let mut told = progress.finish();
    let preview = match seen {
        Ok(preview) => preview,
        Err(error) => {
            warnings::show(ui, &told, progress.warnings_dropped());
            return Err(explained(error));
        }
    };
    told.extend(gone::warnings(&preview.gone, preview.parent));
    let outcome = warnings::outcome(&told).with(Condition::Incomplete, preview.statistics.unreadable > 0);
    if ui.style().json {
        ui.json(&DryRunSummary {
            unmatched_excludes: options.select.exclude.unmatched(),
            ..wire(&preview, &told, &outcome, progress.elapsed().as_secs_f64())
        });
        return Ok(outcome);
    }
    ui.report("Nothing was stored: this was a dry run");
    for line in counts(&preview.statistics, &preview.gone, "To add: ") {
        ui.report(line);
    }
    tell_unmatched(ui, options);
    ui.report(format_args!("Time:   {}", human::duration(progress.elapsed())));
    warnings::show(ui, &without_usual(told, ui, &options.paths), progress.warnings_dropped());
    Ok(outcome)
}

fn wire(preview: &BackupPreview, told: &[Warning], outcome: &Outcome, seconds: f64) -> DryRunSummary {
    DryRunSummary {
        message_type: "summary",
        dry_run: true,
        parent: preview.parent.map(|id| id.to_string()),
        paths: preview.paths.as_slice().into(),
        statistics: (&preview.statistics).into(),
        gone: (&preview.gone).into(),
        total_duration: seconds,
        conditions: outcome.names(),
        exit_code: outcome.code(),
        warnings: told.iter().map(WireWarning::from).collect(),
        unmatched_excludes: Vec::new(),
    }
}
