//! The acts of the demonstration, one function each, so that a test can come in between.

use super::compare::Picture;
use super::folder::ChatFolder;
use crate::args::time;
use crate::config::private_file;
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use crate::process;
use chatvault_engine::backup::{self, BackupOptions, BackupSummary};
use chatvault_engine::base::event::Silent;
use chatvault_engine::base::{StoredPath, Timestamp};
use chatvault_engine::crypto::{Credential, RecoveryKey};
use chatvault_engine::repo::{Repo, Session, Snapshot};
use chatvault_engine::restore::{self, RestoreOptions};
use chatvault_engine::store::LocalStore;
use chatvault_engine::{browse, diff};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// A day that is over.
#[derive(Debug)]
pub(super) struct Day {
    /// What happened, in words.
    pub(super) happened: String,
    /// Its snapshot.
    pub(super) summary: BackupSummary,
}

/// The demonstration, as far as it has gone.
#[derive(Debug)]
pub(super) struct Play {
    stage: PathBuf,
    live: PathBuf,
    repo: Repo,
    now: SystemTime,
    folder: Option<ChatFolder>,
    days: Vec<Day>,
    first_day: Picture,
}

impl Play {
    /// Makes a repository on the stage, an absolute path of an empty folder. The third day ends at `now`.
    pub(super) fn begin(stage: &Path, mut session: Session, now: SystemTime) -> Result<Self> {
        // Sources are stored under their real paths.
        let stage =
            stage.canonicalize().map_err(|cause| Failure::io("use the folder", shown(stage), cause))?;
        session.cache_dir = Some(stage.join("cache"));
        let key = RecoveryKey::random()?;
        private_file::create(&stage.join("recovery.key"), &Zeroizing::new(format!("{}\n", key.print())))?;
        let store = LocalStore::create(&stage.join("repository"))?;
        let repo = Repo::create(Arc::new(store), &[Credential::Recovery(key)], session)?;
        let live = stage.join("chats");
        Ok(Self { stage, live, repo, now, folder: None, days: Vec::new(), first_day: Picture::default() })
    }

    /// Lives through the next of three days and takes a snapshot of its end.
    pub(super) fn live_a_day(&mut self) -> Result<&Day> {
        let number = self.days.len() + 1;
        let (happened, end) = match &mut self.folder {
            None => {
                let (folder, happened) = ChatFolder::make(&self.live, self.now)?;
                let end = folder.end_of(1);
                self.folder = Some(folder);
                self.first_day = Picture::take(&self.live)?;
                (happened, end)
            }
            Some(folder) if number == 2 => (folder.second_day()?, folder.end_of(2)),
            Some(folder) => (folder.third_day()?, folder.end_of(3)),
        };
        let options = BackupOptions {
            paths: vec![self.live.clone()],
            owners: process::owners(),
            time: Some(stored(end)?),
            ..BackupOptions::default()
        };
        let summary = backup::snapshot(&self.repo, &options, &Silent)?;
        self.days.push(Day { happened, summary });
        self.days.last().ok_or_else(|| Failure::usage("Failed to live a day"))
    }

    /// The days that are over.
    pub(super) fn days(&self) -> &[Day] {
        &self.days
    }

    /// The folder as it was at the end of the first day, as read then.
    pub(super) fn first_day(&self) -> &Picture {
        &self.first_day
    }

    /// All snapshots, oldest first.
    pub(super) fn snapshots(&self) -> Result<Vec<Snapshot>> {
        Ok(self.repo.snapshots(&Silent)?)
    }

    /// What differs between the first and the last day: a letter and a path below the folder, for each.
    pub(super) fn changes(&self) -> Result<Vec<String>> {
        let snapshots = self.snapshots()?;
        let (Some(first), Some(last)) = (snapshots.first(), snapshots.last()) else { return Ok(Vec::new()) };
        let live = self.stored_live()?;
        let mut lines = Vec::new();
        diff::snapshots(&self.repo, first, last, &live, &Silent, &mut |change| {
            let path = change.path.to_string();
            let below = path.strip_prefix(&live.to_string()).unwrap_or(&path);
            lines.push(format!("{}    {}", change.modifier.letter(), below.trim_start_matches('/')));
            Ok(())
        })?;
        Ok(lines)
    }

    /// Restores the first day to a new folder on the stage.
    pub(super) fn restore_first_day(&self) -> Result<PathBuf> {
        let snapshots = self.snapshots()?;
        let oldest = browse::Selector::Latest { back: self.days.len().saturating_sub(1) };
        let first = browse::select(&snapshots, &oldest, self.repo.session().now())?;
        let target = self.stage.join("restored");
        let options = RestoreOptions {
            target: target.clone(),
            path: Some(self.stored_live()?),
            repository: self.repo.local_path().map(Path::to_owned),
            ..RestoreOptions::default()
        };
        let plan = restore::plan(&self.repo, first, &options, &Silent)?;
        restore::apply(&self.repo, plan, &Silent)?;
        Ok(target)
    }

    /// Reads a restored folder again and compares it with what the first day was. Returns the differences, in words.
    pub(super) fn compare(&self, restored: &Path) -> Result<Vec<String>> {
        Ok(self.first_day.differences(&Picture::take(restored)?))
    }

    fn stored_live(&self) -> Result<StoredPath> {
        StoredPath::from_fs(&self.live)
            .ok_or_else(|| Failure::usage(format!("Failed to use the folder {}", shown(&self.live))))
    }
}

fn stored(time: SystemTime) -> Result<Timestamp> {
    jiff::Timestamp::try_from(time)
        .map(time::stored)
        .map_err(|cause| Failure::usage("Failed to use the time of this machine").because(cause))
}
