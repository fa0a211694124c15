//! `restore --in-place`: every source goes back to where it was, and what is there now is stored before.

use super::RestoreArgs;
use crate::context::Context;
use crate::exit::Condition;
use crate::output::Ui;
use crate::output::error::{Failure, Result};
use crate::output::progress::Progress;
use crate::process;
use chatvault_engine::backup::{self, BackupOptions, BackupSummary, Ignored};
use chatvault_engine::base::{Kind, SnapshotId};
use chatvault_engine::model::snapshot::BEFORE_RESTORE;
use chatvault_engine::repo::{Repo, Snapshot};
use std::path::PathBuf;

/// Checks that a snapshot can be restored in place, and stores what is there now, unless it may be lost or nothing is done.
pub(super) fn prepare(
    args: &RestoreArgs,
    context: &Context,
    (repo, snapshot): (&Repo, &Snapshot),
    has_path: bool,
    progress: &Progress<'_>,
) -> Result<Option<SnapshotId>> {
    if has_path {
        return Err(Failure::usage("--in-place restores whole snapshots, and a path in one was given")
            .with_hint("name where that path goes: --target DIR"));
    }
    check_host(repo, snapshot)?;
    if args.dry_run || args.discard {
        return Ok(None);
    }
    let before = store_before(context, repo, snapshot, progress)?;
    if let Some(before) = &before {
        tell(&context.ui, before);
    }
    Ok(before.map(|before| before.id))
}

/// Refuses what was not a snapshot of this computer: its paths mean nothing here.
fn check_host(repo: &Repo, snapshot: &Snapshot) -> Result<()> {
    let (here, host) = (&repo.session().client.host, &snapshot.manifest.host);
    if here == host {
        return Ok(());
    }
    let failure = Failure::usage(format!(
        "Snapshot {} is of {host}, and this is {here}: it cannot be restored in place",
        snapshot.id.short()
    ));
    Err(failure.with_hint("restore it into a folder: --target DIR"))
}

/// Stores what is at the sources now, so that nothing is lost. Nothing if nothing is there.
fn store_before(
    context: &Context,
    repo: &Repo,
    snapshot: &Snapshot,
    progress: &Progress<'_>,
) -> Result<Option<BackupSummary>> {
    let paths: Vec<PathBuf> =
        snapshot.manifest.paths.iter().map(chatvault_engine::base::StoredPath::to_fs).collect();
    let paths: Vec<PathBuf> = paths.into_iter().filter(|path| path.symlink_metadata().is_ok()).collect();
    if paths.is_empty() {
        return Ok(None);
    }
    let options = BackupOptions {
        paths,
        own_folders: context.own_folders(repo),
        owners: process::owners(),
        tags: vec![BEFORE_RESTORE.to_owned()],
        description: Some(format!("before snapshot {} was restored in place", snapshot.id.short())),
        ignored: Ignored::default(),
        ..BackupOptions::default()
    };
    match backup::snapshot(repo, &options, progress) {
        Ok(summary) => Ok(Some(summary)),
        Err(e) if e.kind() == Kind::Cancelled => {
            Err(Failure::new(Condition::Cancelled, "Cancelled. Nothing was restored")
                .with_hint("run the same command again"))
        }
        Err(e) => Err(Failure::from(e).with_hint(
            "nothing was restored, because the existing files could not be stored before; --discard restores without that",
        )),
    }
}

/// Says that the existing files are stored.
fn tell(ui: &Ui, before: &BackupSummary) {
    ui.report(format_args!(
        "Stored the existing files as snapshot {} (tag {BEFORE_RESTORE}; `latest` does not mean it)",
        before.id.short()
    ));
}
