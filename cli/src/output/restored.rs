//! What a restore did, or would do: in words and in JSON.

use crate::exit::{Condition, Outcome};
use crate::output::human::shown;
use crate::output::wire::WireWarning;
use crate::output::wire::restore::{WirePlanned, WireRestore};
use crate::output::{Ui, human, warnings};
use chatvault_engine::base::{StoredPath, Warning};
use chatvault_engine::model::NodeKind;
use chatvault_engine::repo::Snapshot;
use chatvault_engine::restore::{Action, Planned, RestorePlan, RestoreSummary};
use std::path::Path;
use std::time::Duration;

/// Shows one entry of a plan; what stays as it is only in JSON.
pub(crate) fn planned(ui: &Ui, entry: &Planned<'_>) {
    if ui.style().json {
        ui.json(&WirePlanned::from(entry));
        return;
    }
    let word = match entry.action {
        Action::Make => "make",
        Action::Overwrite | Action::Compare => "overwrite",
        Action::Keep => "keep",
        Action::Delete => "delete",
        Action::Leave | Action::Merge => return,
    };
    let slash = if entry.kind == NodeKind::Dir { "/" } else { "" };
    let only_here = if entry.is_only_here { " (in no snapshot)" } else { "" };
    match entry.action {
        // What goes is named by where it is, and not by where it would be stored.
        Action::Delete => ui.line(format_args!("{word:<9}  {}{slash}{only_here}", shown(entry.target))),
        _ => ui.line(format_args!("{word:<9}  {}{slash}{only_here}", entry.path)),
    }
}

/// A restore that is done, or planned.
#[derive(Debug)]
pub(crate) struct Restored {
    summary: RestoreSummary,
    /// Files and bytes that were to be restored.
    files: u64,
    bytes: u64,
    was_verified: bool,
    /// Entries that forbid the restore.
    only_here: u64,
    /// What a dry run found; nothing was written then.
    dry_run: Option<DryRun>,
}

/// What only a plan knows.
#[derive(Clone, Copy, Debug)]
struct DryRun {
    dirs: u64,
    hard_links: u64,
    deleted_bytes: u64,
}

impl Restored {
    /// A plan that is about to be carried out, or only shown.
    pub(crate) fn planned(plan: &RestorePlan, was_verified: bool, is_dry_run: bool) -> Self {
        let dry_run = is_dry_run.then_some(DryRun {
            dirs: plan.dirs,
            hard_links: plan.hard_links,
            deleted_bytes: plan.deleted_bytes,
        });
        let summary = RestoreSummary {
            overwritten: plan.overwritten,
            unchanged: plan.unchanged,
            kept: plan.kept,
            deleted: plan.deleted,
            damaged: u64::try_from(plan.damaged.len()).unwrap_or(u64::MAX).saturating_sub(plan.denied),
            denied: plan.denied,
            discarded: plan.discarded,
            failed: plan.failed,
            ..RestoreSummary::default()
        };
        let only_here = plan.only_here;
        Self { summary, files: plan.files, bytes: plan.bytes, was_verified, only_here, dry_run }
    }

    /// The same, when it has been carried out.
    pub(crate) fn done(self, summary: RestoreSummary) -> Self {
        Self { summary, ..self }
    }

    pub(crate) fn outcome(&self, told: &[Warning]) -> Outcome {
        let summary = &self.summary;
        warnings::outcome(told)
            .with(Condition::Damaged, summary.damaged > 0)
            .with(Condition::IntegrityFailed, summary.unsound_databases > 0)
            .with(Condition::Denied, summary.denied > 0)
            .with(Condition::OnlyHere, self.only_here > 0)
            .with(Condition::Failed, self.has_failed())
    }

    /// True if something is not as it was stored.
    fn has_failed(&self) -> bool {
        let RestoreSummary { failed, differing, owners_failed, .. } = self.summary;
        failed + differing + owners_failed > 0
    }

    pub(crate) fn words(&self, snapshot: &Snapshot, target: &Path, elapsed: Duration) -> Vec<String> {
        let summary = &self.summary;
        let (id, host, target) = (snapshot.id.short(), &snapshot.manifest.host, shown(target));
        let mut words = match self.dry_run {
            None => vec![
                format!("Snapshot {id} of {host} restored to {target}"),
                format!(
                    "Files:  {} of {}{}, {}; {}",
                    human::thousands(summary.files),
                    human::thousands(self.files),
                    further_names(summary.hard_links),
                    human::bytes(summary.bytes),
                    human::count(summary.dirs, "folder")
                ),
            ],
            Some(plan) => vec![
                format!("Dry run: this is what a restore of snapshot {id} of {host} to {target} would do"),
                format!(
                    "Files:  {}{}, {}; {}",
                    human::thousands(self.files),
                    further_names(plan.hard_links),
                    human::bytes(self.bytes),
                    human::count(plan.dirs, "folder")
                ),
            ],
        };
        words.extend(self.there());
        match self.dry_run {
            None => words.push(format!("Time:   {}", human::duration(elapsed))),
            Some(plan) if summary.deleted > 0 => words.push(format!(
                "Delete: {}, {}",
                human::count(summary.deleted, "entry"),
                human::bytes(plan.deleted_bytes)
            )),
            Some(_) => {}
        }
        words.extend(self.faults());
        words
    }

    /// What became of what was there.
    fn there(&self) -> Vec<String> {
        let summary = &self.summary;
        let mut parts = Vec::new();
        let mut add = |count: u64, what: &str| {
            if count > 0 {
                parts.push(format!("{} {what}", human::thousands(count)));
            }
        };
        add(summary.overwritten, "overwritten");
        add(summary.unchanged, "already up to date");
        add(summary.kept, "kept");
        if self.dry_run.is_none() {
            add(summary.deleted, "deleted");
        }
        add(summary.discarded, "in no snapshot");
        let mut words = Vec::new();
        if !parts.is_empty() {
            words.push(format!("Existing: {}", parts.join(", ")));
        }
        if self.was_verified {
            let databases = match summary.sound_databases {
                0 => String::new(),
                count => format!(", {} passed the integrity check", human::count(count, "database")),
            };
            let verb = if summary.verified == 1 { "matches" } else { "match" };
            words.push(format!(
                "Verified: {} {verb} the snapshot{databases}",
                human::count(summary.verified, "file")
            ));
        }
        words
    }

    fn faults(&self) -> Vec<String> {
        let summary = &self.summary;
        let lost = "could not be read from the repository";
        let failed = "could not be written to the target";
        let owners = "could not be given the owner";
        [
            (summary.damaged, "Lost:  ", lost, lost),
            (summary.denied, "Denied:", lost, lost),
            (summary.failed, "Failed:", failed, failed),
            (
                self.only_here,
                "Only here:",
                "is in no snapshot and would be lost: the restore would be refused",
                "are in no snapshot and would be lost: the restore would be refused",
            ),
            (
                summary.unsound_databases,
                "Unsound:",
                "matches the snapshot, but failed SQLite's integrity check",
                "match the snapshot, but failed SQLite's integrity check",
            ),
            (
                summary.unchecked_databases,
                "Unchecked:",
                "matches the snapshot, but its integrity could not be checked",
                "match the snapshot, but their integrity could not be checked",
            ),
            (summary.differing, "Differ:", "does not match the snapshot", "do not match the snapshot"),
            (summary.owners_failed, "Owners:", owners, owners),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, label, one, many)| {
            format!("{label} {} {}", human::count(count, "entry"), if count == 1 { one } else { many })
        })
        .collect()
    }

    pub(crate) fn wire(
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
            before_restore: None,
            dry_run: self.dry_run.is_some(),
            total_files: self.files,
            files_restored: summary.files,
            dirs_restored: summary.dirs,
            symlinks_restored: summary.symlinks,
            hard_links_restored: summary.hard_links,
            specials_restored: summary.specials_restored,
            specials_skipped: summary.specials,
            total_bytes: self.bytes,
            bytes_restored: summary.bytes,
            overwritten: summary.overwritten,
            unchanged: summary.unchanged,
            kept: summary.kept,
            deleted: summary.deleted,
            discarded: summary.discarded,
            verified: summary.verified,
            differing: summary.differing,
            sound_databases: summary.sound_databases,
            unsound_databases: summary.unsound_databases,
            unchecked_databases: summary.unchecked_databases,
            damaged: summary.damaged,
            denied: summary.denied,
            failed: summary.failed,
            owners_failed: summary.owners_failed,
            total_duration: elapsed.as_secs_f64(),
            conditions: outcome.names(),
            exit_code: outcome.code(),
            warnings: told.iter().map(WireWarning::from).collect(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_in_the_singular_and_several_in_the_plural() {
        let faults = |count| {
            let summary = RestoreSummary {
                unsound_databases: count,
                unchecked_databases: count,
                differing: count,
                ..RestoreSummary::default()
            };
            Restored { summary, files: 9, bytes: 9, was_verified: true, only_here: 0, dry_run: None }.faults()
        };
        assert_eq!(
            faults(1),
            [
                "Unsound: 1 entry matches the snapshot, but failed SQLite's integrity check",
                "Unchecked: 1 entry matches the snapshot, but its integrity could not be checked",
                "Differ: 1 entry does not match the snapshot",
            ]
        );
        assert!(
            faults(2)
                .iter()
                .all(|line| line.contains(" 2 entries match ") || line.contains(" 2 entries do not match "))
        );
    }
}
