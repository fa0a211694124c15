//! What a run counts and tells: every thread of it adds to one tally.

use super::database::{DatabaseCounts, DatabaseReport};
use super::folder::Folder;
use super::gone::{Comparison, Gone};
use super::{Found, Work};
use crate::base::{BlobId, StoredPath, Warning, WarningKind};
use crate::catalog::Staged;
use crate::model::{NodeKind, Statistics};
use crate::repo::writer::Added;
use rustix::io::Errno;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most warnings, and most databases, that are kept for the summary; the observer is told of all warnings, and all
/// databases are counted.
const MOST_LISTED: usize = 10_000;

/// Counters of one run.
#[derive(Debug, Default)]
pub(super) struct Counts {
    files_new: AtomicU64,
    files_changed: AtomicU64,
    files_unmodified: AtomicU64,
    dirs_new: AtomicU64,
    dirs_changed: AtomicU64,
    dirs_unmodified: AtomicU64,
    pub(super) symlinks: AtomicU64,
    pub(super) specials: AtomicU64,
    unreadable: AtomicU64,
    /// Of the unreadable ones, those that the parent had.
    lost: AtomicU64,
    total_bytes: AtomicU64,
    excluded: AtomicU64,
    /// True once a source that is a folder was opened.
    has_folder: AtomicBool,
}

/// How an entry compares with what was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    New,
    Changed,
    Unmodified,
}

impl Status {
    pub(super) fn of(before: Option<&[u8]>, now: &[u8]) -> Self {
        match before {
            None => Self::New,
            Some(before) if before == now => Self::Unmodified,
            Some(_) => Self::Changed,
        }
    }
}

/// What the walk and the workers leave behind.
pub(super) struct Taken {
    pub(super) root: BlobId,
    /// Root page of the lineage records.
    pub(super) lineage: Option<BlobId>,
    statistics: Statistics,
    pub(super) incomplete: bool,
    pub(super) warnings: Vec<Warning>,
    pub(super) rows: Staged,
    pub(super) removed: Vec<StoredPath>,
    pub(super) databases: Vec<DatabaseReport>,
    pub(super) database_counts: DatabaseCounts,
    pub(super) gone: Gone,
    /// Sources that are links, and where they lead.
    pub(super) links: Vec<(StoredPath, Vec<u8>)>,
}

impl Taken {
    /// The statistics with what the writer added.
    pub(super) fn all_counted(&self, added: &Added, duration_ms: u64) -> Statistics {
        Statistics {
            data_blobs: added.data_blobs.load(Ordering::Relaxed),
            tree_blobs: added.page_blobs.load(Ordering::Relaxed),
            data_added: added.plain_bytes.load(Ordering::Relaxed),
            data_added_packed: added.packed_bytes.load(Ordering::Relaxed),
            duration_ms,
            ..self.statistics
        }
    }
}

/// The tally of one run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    warnings: Mutex<Vec<Warning>>,
    rows: Mutex<Staged>,
    removed: Mutex<Vec<StoredPath>>,
    /// What was read, of all that were read.
    databases: Mutex<(Vec<DatabaseReport>, DatabaseCounts)>,
    pub(super) comparison: Mutex<Comparison>,
    links: Mutex<Vec<(StoredPath, Vec<u8>)>>,
}

impl Tally {
    /// Tells of a database that was read.
    pub(super) fn add_database(&self, report: DatabaseReport) {
        let mut all = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        let (databases, counts) = &mut *all;
        counts.add(&report);
        if databases.len() < MOST_LISTED {
            databases.push(report);
        }
    }

    pub(super) fn new(rows: Staged) -> Self {
        Self { rows: Mutex::new(rows), ..Self::default() }
    }

    /// A folder that was named as a source is part of the snapshot, whatever is in it.
    pub(super) fn has_folder(&self) {
        self.counts.has_folder.store(true, Ordering::Relaxed);
    }

    /// True if of all that was named nothing is part of the snapshot.
    pub(super) fn is_empty(&self) -> bool {
        let Counts { files_new, files_changed, files_unmodified, symlinks, specials, has_folder, .. } =
            &self.counts;
        !has_folder.load(Ordering::Relaxed)
            && [files_new, files_changed, files_unmodified, symlinks, specials]
                .iter()
                .all(|count| count.load(Ordering::Relaxed) == 0)
    }

    pub(super) fn finish(self, root: BlobId, lineage: Option<BlobId>) -> Taken {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        let (new, changed, same) =
            (load(&counts.files_new), load(&counts.files_changed), load(&counts.files_unmodified));
        let statistics = Statistics {
            files_new: new,
            files_changed: changed,
            files_unmodified: same,
            dirs_new: load(&counts.dirs_new),
            dirs_changed: load(&counts.dirs_changed),
            dirs_unmodified: load(&counts.dirs_unmodified),
            symlinks: load(&counts.symlinks),
            specials: load(&counts.specials),
            unreadable: load(&counts.unreadable),
            total_files: new + changed + same,
            total_bytes: load(&counts.total_bytes),
            excluded: load(&counts.excluded),
            ..Statistics::default()
        };
        let incomplete = load(&counts.lost) > 0;
        let mut warnings = self.warnings.into_inner().unwrap_or_else(PoisonError::into_inner);
        warnings.sort_by(|a, b| a.path.cmp(&b.path));
        let (mut databases, database_counts) =
            self.databases.into_inner().unwrap_or_else(PoisonError::into_inner);
        databases.sort_by(|a, b| a.path.cmp(&b.path));
        Taken {
            databases,
            database_counts,
            links: self.links.into_inner().unwrap_or_else(PoisonError::into_inner),
            gone: self.comparison.into_inner().unwrap_or_else(PoisonError::into_inner).finish(),
            root,
            lineage,
            statistics,
            incomplete,
            warnings,
            rows: self.rows.into_inner().unwrap_or_else(PoisonError::into_inner),
            removed: self.removed.into_inner().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// True if nothing is there, or no longer what was listed.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

impl Work<'_> {
    pub(super) fn warn(&self, kind: WarningKind, path: &StoredPath, message: impl Into<String>) {
        let warning = Warning { kind, path: Some(path.clone()), message: message.into() };
        self.observer.warn(&warning);
        let mut warnings = self.tally.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < MOST_LISTED {
            warnings.push(warning);
        }
    }

    /// Says that a source, or what lies in one, belongs to this program.
    pub(super) fn leave_out_own(&self, folder: &Folder, path: StoredPath) {
        let message = "This belongs to chatvault itself and was left out";
        self.warn(WarningKind::OwnFolderLeftOut, &path, message);
        folder.spare(path.name());
        self.forget_folder(path);
    }

    /// Notes that a source is a link that was followed.
    pub(super) fn follow(&self, link: StoredPath, target: PathBuf) {
        let target = target.into_os_string().into_encoded_bytes();
        self.tally.links.lock().unwrap_or_else(PoisonError::into_inner).push((link, target));
    }

    /// Counts and names an entry that cannot be read and is therefore not in the snapshot.
    pub(super) fn missing(&self, folder: &Folder, path: StoredPath, why: &io::Error) {
        let had_it = folder.previous.as_ref().is_some_and(|previous| previous.find(path.name()).is_some());
        self.count_unreadable(had_it);
        let message = format!("Cannot be read and is not in this snapshot: {why}");
        self.warn(WarningKind::Unreadable, &path, message);
        if !is_gone(why) {
            folder.spare(path.name());
        }
        self.forget_folder(path);
    }

    /// Counts and names a folder that cannot be listed: it is stored, but its entries are not.
    pub(super) fn unlisted(&self, folder: &Folder, why: &io::Error) {
        self.count_unreadable(folder.previous.as_ref().is_some_and(|previous| previous.entries().len() > 0));
        let message = format!("This folder cannot be read, and what is in it is not in this snapshot: {why}");
        self.warn(WarningKind::Unreadable, &folder.path, message);
        folder.spare_all();
    }

    /// Names an entry that went away before it could be read: the state has no such entry.
    pub(super) fn vanished(&self, folder: &Folder, path: &StoredPath) {
        let had_it = folder.previous.as_ref().is_some_and(|previous| previous.find(path.name()).is_some());
        let message = if had_it {
            "Went away before it could be read: it is not in this snapshot, earlier ones have it"
        } else {
            "Went away before it could be read: it is not in this snapshot"
        };
        self.warn(WarningKind::Vanished, path, message);
    }

    /// Counts and names an entry whose extended attributes cannot be read.
    pub(super) fn unread_attributes(&self, path: &StoredPath, why: &io::Error) {
        self.count_unreadable(false);
        let message = format!("Its extended attributes cannot be read and are not in this snapshot: {why}");
        self.warn(WarningKind::Unreadable, path, message);
    }

    fn count_unreadable(&self, parent_had_it: bool) {
        self.tally.counts.unreadable.fetch_add(1, Ordering::Relaxed);
        if parent_had_it {
            self.tally.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Warns of a database that is in this snapshot as it lay.
    pub(super) fn warn_of_database(&self, path: &StoredPath, not_captured: Option<&str>) {
        let why = not_captured.unwrap_or("it changed while it was read");
        let message = format!(
            "This database could not be captured in one committed state ({why}): its files were stored as they lay, and may \
             not fit together. Close the app and take another snapshot to be sure"
        );
        self.warn(WarningKind::DatabaseNotCaptured, path, message);
    }

    pub(super) fn count_file(&self, status: Status, bytes: u64) {
        let counter = match status {
            Status::New => &self.tally.counts.files_new,
            Status::Changed => &self.tally.counts.files_changed,
            Status::Unmodified => &self.tally.counts.files_unmodified,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.tally.counts.total_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts an entry that was left out, and forgets what was remembered below it.
    pub(super) fn exclude(&self, folder: &Folder, name: &[u8]) {
        self.tally.counts.excluded.fetch_add(1, Ordering::Relaxed);
        let path = folder.path.join(name);
        self.observer.found(&path, Found::Excluded);
        folder.spare(name);
        if folder
            .previous
            .as_ref()
            .and_then(|p| p.find(name))
            .is_some_and(|before| before.kind == NodeKind::Dir)
        {
            self.forget_folder(path);
        }
    }

    pub(super) fn count_dir(&self, status: Status) {
        let counter = match status {
            Status::New => &self.tally.counts.dirs_new,
            Status::Changed => &self.tally.counts.dirs_changed,
            Status::Unmodified => &self.tally.counts.dirs_unmodified,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers a folder for the next snapshot.
    pub(super) fn remember(&self, folder: &Folder, row: Vec<u8>) {
        self.tally.rows.lock().unwrap_or_else(PoisonError::into_inner).push(folder.path.clone(), row);
    }

    /// Has a folder and everything below it forgotten: it is not in this snapshot.
    pub(super) fn forget_folder(&self, path: StoredPath) {
        self.tally.removed.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DatabaseState;
    use crate::model::lineage::Checked;

    #[test]
    fn databases_that_are_not_listed_are_counted() {
        let tally = Tally::default();
        for number in 0..=MOST_LISTED as u64 {
            let is_last = number == MOST_LISTED as u64;
            let path = StoredPath::root().join(number.to_string().as_bytes());
            let mut report = DatabaseReport::of_files(path, DatabaseState::Captured);
            report.checked = if is_last { Checked::Failed } else { Checked::Quick };
            report.newly_damaged = is_last;
            tally.add_database(report);
        }
        let taken = tally.finish(BlobId::new([0; 32]), None);
        assert_eq!(taken.databases.len(), MOST_LISTED);
        assert!(taken.databases.iter().all(|report| !report.newly_damaged));
        let all = MOST_LISTED as u64 + 1;
        let counts = DatabaseCounts {
            read: all,
            captured: all,
            sound: all - 1,
            damaged: 1,
            newly_damaged: 1,
            damaged_logs: 0,
        };
        assert_eq!(taken.database_counts, counts);
    }
}
