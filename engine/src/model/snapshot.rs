//! A snapshot's manifest and the events that come after it.

use crate::base::{BlobId, SnapshotId, StoredPath, Timestamp, WriterId};

/// The tag of a snapshot that was taken of the existing files before others were restored in their place. `latest` never
/// means such a one: what was to be undone would be what is restored next.
pub const BEFORE_RESTORE: &str = "before-restore";

/// What a run did and found; all sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Files that the parent did not have.
    pub files_new: u64,
    /// Files whose content or metadata differ from the parent's.
    pub files_changed: u64,
    /// Files as in the parent.
    pub files_unmodified: u64,
    /// Folders that the parent did not have.
    pub dirs_new: u64,
    /// Folders in which something differs from the parent.
    pub dirs_changed: u64,
    /// Folders as in the parent.
    pub dirs_unmodified: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Pipes, sockets and devices.
    pub specials: u64,
    /// Files and folders that could not be read.
    pub unreadable: u64,
    /// Data blobs added.
    pub data_blobs: u64,
    /// Tree and list pages added.
    pub tree_blobs: u64,
    /// Plain bytes of added blobs.
    pub data_added: u64,
    /// Bytes that the added blobs take in packs.
    pub data_added_packed: u64,
    /// Files in the snapshot.
    pub total_files: u64,
    /// Plain bytes of all files in the snapshot.
    pub total_bytes: u64,
    /// Length of the run in milliseconds.
    pub duration_ms: u64,
    /// Entries that were left out because the options said so; a folder counts once.
    pub excluded: u64,
}

/// The guard's judgement. The number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum VerdictCode {
    /// Nothing alarming.
    Good = 0,
    /// A new fall past a threshold.
    Suspect = 1,
    /// Still below an unaccepted fall.
    Unaccepted = 2,
}

impl VerdictCode {
    /// The code of a stored number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Good, Self::Suspect, Self::Unaccepted]
            .into_iter()
            .find(|code| u64::from(*code as u8) == number)
    }
}

/// The guard's judgement and its reasons in plain English.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The judgement.
    pub code: VerdictCode,
    /// Why.
    pub reasons: Vec<String>,
}

/// The last object known of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The writer.
    pub writer: WriterId,
    /// Its object's number.
    pub sequence: u64,
    /// BLAKE3 of its object.
    pub hash: [u8; 32],
}

/// A snapshot: who took which state of which paths when, and where its tree begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The time of the state.
    pub time: Timestamp,
    /// The writer's clock at the commit.
    pub created: Timestamp,
    /// Minutes east of UTC where it was taken.
    pub utc_offset_minutes: i32,
    /// Who wrote it.
    pub writer: WriterId,
    /// Number in the writer's chain, from 1.
    pub sequence: u64,
    /// BLAKE3 of the writer's previous manifest or event.
    pub previous: Option<[u8; 32]>,
    /// Greater than the number of every manifest and event seen when it was written.
    pub lamport: u64,
    /// The last objects seen of other writers.
    pub heads: Vec<Head>,
    /// True for an older state that was brought in later.
    pub imported: bool,
    /// Name of the machine.
    pub host: String,
    /// Name of the user.
    pub user: String,
    /// The sources, absolute.
    pub paths: Vec<StoredPath>,
    /// The snapshot it was compared with.
    pub parent: Option<SnapshotId>,
    /// Root page of the tree.
    pub root: BlobId,
    /// What the run did.
    pub statistics: Statistics,
    /// The program that wrote it.
    pub program: String,
    /// Tags given when it was taken.
    pub tags: Vec<String>,
    /// Description given when it was taken.
    pub description: Option<String>,
    /// The guard's judgement, where there is one.
    pub verdict: Option<Verdict>,
    /// True if paths that the parent had could not be read.
    pub incomplete: bool,
    /// Root page of the list of database summaries.
    pub summaries: Option<BlobId>,
    /// Root page of the list of lineage records.
    pub lineage: Option<BlobId>,
    /// Sources that were symbolic links, and where they led.
    pub links: Vec<(StoredPath, Vec<u8>)>,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventAction {
    /// The snapshot has these tags from now on, and these no longer.
    Tag {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Tags that are added.
        add: Vec<String>,
        /// Tags that are taken away.
        remove: Vec<String>,
    },
    /// The snapshot's description is replaced.
    Describe {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The new text.
        text: String,
    },
    /// A suspect snapshot is what it should be.
    Accept {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// The snapshot is forgotten.
    Forget {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Its writer.
        writer: WriterId,
        /// Its number in the writer's chain.
        sequence: u64,
        /// Its `previous`.
        previous: Option<[u8; 32]>,
    },
    /// The snapshot is no longer forgotten.
    Undo {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// Key slots came or went.
    KeyChange {
        /// The slot that was added.
        added: Option<crate::base::KeyId>,
        /// The slots that were removed: from now on they are not to come back.
        removed: Vec<crate::base::KeyId>,
    },
}

/// A small record that changes how earlier snapshots are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who wrote it.
    pub writer: WriterId,
    /// Number in the writer's chain.
    pub sequence: u64,
    /// BLAKE3 of the writer's previous manifest or event.
    pub previous: Option<[u8; 32]>,
    /// Greater than the number of every manifest and event seen when it was written.
    pub lamport: u64,
    /// The writer's clock.
    pub created: Timestamp,
    /// What it says.
    pub action: EventAction,
}
