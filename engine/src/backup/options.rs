//! What to take a snapshot of, and what was done.

use super::database::{DatabaseCounts, DatabaseReport};
use super::gone::Gone;
use super::memory::Ignored;
use super::select::Selection;
use crate::base::{BlobId, SnapshotId, StoredPath, Timestamp, Warning};
use crate::model::Statistics;
use crate::repo::resting::Affected;
use crate::rules::order::Misdated;
use crate::source::Owners;
use crate::sqlite::verify::Integrity;
use std::path::PathBuf;

/// What to take a snapshot of, and how.
#[derive(Clone, Debug, Default)]
pub struct BackupOptions {
    /// The sources, absolute.
    pub paths: Vec<PathBuf>,
    /// What of the sources is left out.
    pub select: Selection,
    /// Folders of this program, which are left out with a note.
    pub own_folders: Vec<PathBuf>,
    /// Names of owners and groups.
    pub owners: Owners,
    /// Name of the machine, if not the session's.
    pub host: Option<String>,
    /// The time of the state, if it is not now.
    pub time: Option<Timestamp>,
    /// Minutes east of UTC at the time of the state, if not the session's.
    pub utc_offset_minutes: Option<i32>,
    /// Tags.
    pub tags: Vec<String>,
    /// Description.
    pub description: Option<String>,
    /// The snapshot to compare with, instead of the last one of the same paths on the same machine. Where it is another
    /// one than that, everything is read again.
    pub parent: Option<SnapshotId>,
    /// Reads every file again, whatever the catalog remembers.
    pub force: bool,
    /// What of the file system's word does not count when it is decided whether a file changed.
    pub ignored: Ignored,
    /// Takes the clock of each file system for another machine's, which may be behind this one's: of those on other
    /// machines that is known without being said.
    pub foreign_clocks: bool,
    /// Stores the files of databases as they lie, whatever their apps are doing.
    pub raw_databases: bool,
    /// How much of each new state of a database SQLite is to check.
    pub integrity: Integrity,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct BackupSummary {
    /// The new snapshot.
    pub id: SnapshotId,
    /// The snapshot it was compared with.
    pub parent: Option<SnapshotId>,
    /// Root page of its tree.
    pub tree: BlobId,
    /// The time of the state.
    pub time: Timestamp,
    /// Minutes east of UTC at that time.
    pub utc_offset_minutes: i32,
    /// The sources as stored.
    pub paths: Vec<StoredPath>,
    /// Counts.
    pub statistics: Statistics,
    /// The warnings, in the order of their paths; of very many not all.
    pub warnings: Vec<Warning>,
    /// The databases that were read, in the order of their paths; of very many not all.
    pub databases: Vec<DatabaseReport>,
    /// All of them, counted.
    pub database_counts: DatabaseCounts,
    /// What the snapshot it was compared with has and this one does not.
    pub gone: Gone,
    /// Sources that are symbolic links, and what they lead to: its content stands under their paths.
    pub links: Vec<(StoredPath, Vec<u8>)>,
    /// What is odd about its time.
    pub misdated: Misdated,
    /// Databases of earlier snapshots that need what the repository has lost.
    pub affected: Vec<Affected>,
}

/// What would be done.
#[derive(Clone, Debug)]
pub struct BackupPreview {
    /// The snapshot it was compared with.
    pub parent: Option<SnapshotId>,
    /// The sources as they would be stored.
    pub paths: Vec<StoredPath>,
    /// Counts; what is added is what would be added. Of several new databases that resemble each other each counts in full:
    /// what one of them could be a difference to is stored nowhere.
    pub statistics: Statistics,
    /// What the snapshot it was compared with has and this one would not have.
    pub gone: Gone,
    /// The warnings, in the order of their paths; of very many not all.
    pub warnings: Vec<Warning>,
}
