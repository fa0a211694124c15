//! `restore --in-place`: every source goes back to where it was, and what is there now is stored before.

use crate::context::Context;
use crate::exit::Condition;
use crate::output::Ui;
use crate::output::error::{Failure, Result};
use crate::output::progress::Progress;
use crate::process;
use chatvault_engine::backup::{self, BackupOptions, BackupSummary, Ignored};
use chatvault_engine::base::Kind;
use chatvault_engine::model::snapshot::BEFORE_RESTORE;
use chatvault_engine::repo::{Repo, Snapshot};
use std::path::PathBuf;

/// Refuses what was not a snapshot of this computer: its paths mean nothing here.
pub(super) fn check_host(repo: &Repo, snapshot: &Snapshot) -> Result<()> {
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
pub(super) fn store_before(
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
pub(super) fn tell(ui: &Ui, before: &BackupSummary) {
    ui.report(format_args!(
        "Stored the existing files as snapshot {} (tag {BEFORE_RESTORE}; `latest` does not mean it)",
        before.id.short()
    ));
}
