//! What an operation tells while it runs. The engine never prints: it calls an [`Observer`].

use crate::base::error::{Error, Kind, Whose};
use crate::base::path::StoredPath;

/// The parts of a long operation, in words for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The repository is opened and the catalog brought up to date.
    Opening,
    /// Sources are read and stored.
    Storing,
    /// The last packs, the index and the manifest are made durable.
    Committing,
    /// A restore is planned.
    Planning,
    /// Files are written.
    Restoring,
    /// What was restored is read again.
    Verifying,
    /// Two trees are compared.
    Comparing,
    /// Snapshots are searched.
    Searching,
    /// What snapshots hold is counted.
    Counting,
}

/// What is counted while an operation runs; the unit is in the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Files looked at or written.
    Files,
    /// Plain bytes of files looked at or written.
    Bytes,
}

/// How an entry of a source compares with the snapshot before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was not there.
    New,
    /// Its content or metadata were others.
    Changed,
    /// It is left out because the options say so.
    Excluded,
    /// It is no longer there.
    Gone,
}

impl Found {
    /// The name in JSON output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Excluded => "excluded",
            Self::Gone => "gone",
        }
    }
}

/// Why a warning is given. Names are part of the JSON contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// A file or folder of the source could not be read: it is not in this snapshot.
    Unreadable,
    /// A file changed while it was read: stored as it was read.
    ChangedWhileRead,
    /// A file was there when its folder was listed, and gone when it was to be read: it is not in this snapshot.
    Vanished,
    /// A database of the snapshot before is no longer at its path.
    DatabaseGone,
    /// A database has less than half of the bytes that it had in the snapshot before.
    DatabaseShrunk,
    /// A database that an app may be writing to was stored as it lay, with its sidecars.
    DatabaseNotCaptured,
    /// SQLite found a database damaged.
    IntegrityFailed,
    /// The write-ahead log of a database is damaged: part of what its app had committed may be missing.
    LogDamaged,
    /// A file of a database is not where it belongs: what is only in that file is not in the snapshot.
    DatabaseFileMissing,
    /// A database could not be checked.
    IntegrityNotChecked,
    /// SQLite found a database sound, but could not look at all of it.
    IntegrityIncomplete,
    /// A sound database holds values that its tables do not allow.
    OddValues,
    /// FIFOs, sockets or devices are recorded, not read.
    SpecialFile,
    /// A folder of this program lies inside the source and was left out.
    OwnFolderLeftOut,
    /// The time of a snapshot does not fit those that were taken before.
    Misdated,
    /// A source leads to the same folder as another one, and is stored once.
    SameSource,
    /// A source has no file in the snapshot.
    SourceWithoutFiles,
    /// The local catalog was rebuilt.
    CatalogRebuilt,
    /// The local cache could not be written: its disk is full or broken.
    CacheFailed,
    /// A snapshot was written by a newer version and is not shown.
    NewerSnapshot,
    /// A stored object is damaged, and a second copy of it was used.
    MirrorUsed,
    /// What was to be stored is stored, but its second copy could not be written.
    MirrorNotWritten,
    /// Another copy of the repository, which this machine used last, has more than this one.
    OtherCopy,
    /// A stored object is damaged, or the disk cannot read it any more.
    Damaged,
    /// This user may not read a stored object. It is not lost.
    Denied,
    /// Something could not be restored as it was stored.
    NotRestored,
    /// An entry of a restore's target is in no snapshot, and would be lost, or is.
    OnlyHere,
    /// Something stood in the way and has another name now.
    MovedAside,
    /// The work is done, but something of it could not be tidied up.
    NotCleanedUp,
}

impl WarningKind {
    /// The name in JSON output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::ChangedWhileRead => "changed_while_read",
            Self::Vanished => "vanished",
            Self::DatabaseGone => "database_gone",
            Self::DatabaseShrunk => "database_shrunk",
            Self::DatabaseNotCaptured => "database_not_captured",
            Self::IntegrityFailed => "integrity_failed",
            Self::LogDamaged => "log_damaged",
            Self::DatabaseFileMissing => "database_file_missing",
            Self::IntegrityNotChecked => "integrity_not_checked",
            Self::IntegrityIncomplete => "integrity_incomplete",
            Self::OddValues => "odd_values",
            Self::SpecialFile => "special_file",
            Self::OwnFolderLeftOut => "own_folder_left_out",
            Self::Misdated => "misdated",
            Self::SameSource => "same_source",
            Self::SourceWithoutFiles => "source_without_files",
            Self::CatalogRebuilt => "catalog_rebuilt",
            Self::CacheFailed => "cache_failed",
            Self::NewerSnapshot => "newer_snapshot",
            Self::MirrorUsed => "mirror_used",
            Self::MirrorNotWritten => "mirror_not_written",
            Self::OtherCopy => "other_copy",
            Self::Damaged => "damaged",
            Self::Denied => "denied",
            Self::NotRestored => "not_restored",
            Self::OnlyHere => "only_here",
            Self::MovedAside => "moved_aside",
            Self::NotCleanedUp => "not_cleaned_up",
        }
    }

    /// Why a stored object could not be used: it is damaged, or this user may not read it.
    #[must_use]
    pub fn of_unreadable(error: &Error) -> Self {
        if error.kind() == Kind::Denied { Self::Denied } else { Self::Damaged }
    }

    /// Whose files it is about.
    #[must_use]
    pub fn whose(self) -> Whose {
        match self {
            Self::Unreadable
            | Self::ChangedWhileRead
            | Self::Vanished
            | Self::DatabaseNotCaptured
            | Self::IntegrityFailed
            | Self::LogDamaged
            | Self::DatabaseFileMissing
            | Self::IntegrityNotChecked
            | Self::IntegrityIncomplete
            | Self::OddValues
            | Self::SpecialFile
            | Self::OwnFolderLeftOut
            | Self::DatabaseGone
            | Self::DatabaseShrunk
            | Self::SameSource
            | Self::SourceWithoutFiles => Whose::Source,
            Self::CatalogRebuilt | Self::CacheFailed => Whose::Cache,
            Self::NewerSnapshot
            | Self::MirrorUsed
            | Self::MirrorNotWritten
            | Self::OtherCopy
            | Self::Misdated
            | Self::Damaged
            | Self::Denied
            | Self::NotCleanedUp => Whose::Repository,
            Self::NotRestored | Self::MovedAside | Self::OnlyHere => Whose::Target,
        }
    }
}

/// Something a person should know that did not stop the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Why it is given.
    pub kind: WarningKind,
    /// The path it is about, if it is about one.
    pub path: Option<StoredPath>,
    /// One sentence in plain English, without the path.
    pub message: String,
}

impl Warning {
    /// A stored object that cannot be used; `what` is a sentence without its cause.
    #[must_use]
    pub fn of_unreadable(path: Option<&StoredPath>, what: &str, error: &Error) -> Self {
        let message = format!("{what}: {}", error.full_text());
        Self { kind: WarningKind::of_unreadable(error), path: path.cloned(), message }
    }
}

/// Listens to an operation. Called from several threads; must return quickly.
pub trait Observer: Send + Sync {
    /// A new part of the operation begins.
    fn phase(&self, _phase: Phase) {}
    /// The total that a counter will reach, as far as it is known.
    fn expect(&self, _counter: Counter, _total: u64) {}
    /// A counter grew by so much.
    fn add(&self, _counter: Counter, _amount: u64) {}
    /// This path is being worked on.
    fn working_on(&self, _path: &StoredPath) {}
    /// A file is new, changed or gone, or an entry was left out.
    fn found(&self, _path: &StoredPath, _found: Found) {}
    /// Something a person should know.
    fn warn(&self, _warning: &Warning) {}
}

/// An observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
