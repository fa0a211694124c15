//! What a capture was given, and what came of it.

use super::super::overlay::Unusable;
use super::locks::{Locks, Ofd};
use crate::base::{StampClock, Timestamp};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A file that SQLite keeps beside a main file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sidecar {
    /// The write-ahead log.
    Wal,
    /// The index of the log, which is memory that the app's connections share.
    Shm,
    /// The rollback journal.
    Journal,
}

impl Sidecar {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Wal, Self::Shm, Self::Journal];

    /// What its name adds to the main file's.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Wal => "-wal",
            Self::Shm => "-shm",
            Self::Journal => "-journal",
        }
    }

    /// Its name beside the main file `name`.
    #[must_use]
    pub fn beside(self, name: &[u8]) -> Vec<u8> {
        [name, self.suffix().as_bytes()].concat()
    }

    /// The name of the main file beside which this would be the name of a sidecar, and of which one.
    #[must_use]
    pub fn main_of(name: &[u8]) -> Option<(&[u8], Self)> {
        Self::ALL
            .into_iter()
            .find_map(|sidecar| Some((name.strip_suffix(sidecar.suffix().as_bytes())?, sidecar)))
    }
}

/// Opens, for reading, what lies beside the main file.
pub trait Beside {
    /// `None` if there is nothing of that name, or nothing that is a regular file. Called again and again: it must look
    /// anew each time.
    fn open(&self, sidecar: Sidecar) -> io::Result<Option<OwnedFd>>;

    /// Device and inode to which the name leads now: that of a sidecar, or of the main file. `None` if there is none.
    fn identity(&self, sidecar: Option<Sidecar>) -> io::Result<Option<(u64, u64)>>;
}

/// What the main file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A database whose header can be read.
    Plain,
    /// A database whose pages are encrypted one by one, the header with the first.
    Encrypted,
    /// Something else that is used as a database, as its log, its journal or its locks show. Where its pages lie only the app
    /// knows: main file and log are captured as a pair.
    Opaque,
}

/// What the proof of a reading looks at. Everything, except in tests which show what becomes of a proof without one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Names still lead to the files that were read.
    pub names: bool,
    /// The log is of the same generation.
    pub generation: bool,
    /// No checkpoint tried to write back what came after the captured commit.
    pub checkpoints: bool,
    /// The main file's times and first bytes are the same.
    pub times: bool,
}

impl Checks {
    /// The whole proof.
    pub const ALL: Self = Self { names: true, generation: true, checkpoints: true, times: true };
    /// No proof at all.
    pub const NONE: Self = Self { names: false, generation: false, checkpoints: false, times: false };
}

/// The time that the captures of one run may wait for apps, all together.
#[derive(Debug)]
pub struct WaitBudget(AtomicU64);

impl WaitBudget {
    /// Nanoseconds are counted.
    #[must_use]
    pub fn new(most: Duration) -> Self {
        Self(AtomicU64::new(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Takes this much of what is left; false if there is not so much.
    fn take(&self, wait: Duration) -> bool {
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(wait)).is_ok()
    }
}

/// How long to wait for the app, and how long to keep it waiting. Clock, pauses and locks are handed in.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// Lets time pass.
    pub pause: &'a dyn Fn(Duration),
    /// The time of day.
    pub now: &'a dyn Fn() -> Timestamp,
    /// The clock from which the file system takes its stamps, and when that was known.
    pub stamps: (StampClock, Timestamp),
    /// The means to lock. Others are only for tests.
    pub locks: &'a dyn Locks,
    /// What is proved.
    pub checks: Checks,
    /// What is left to wait for all captures of this run.
    pub budget: Option<&'a WaitBudget>,
    /// Longest wait for one app, in all.
    pub wait: Duration,
    /// How often a database is read without a lock, before locks are held.
    pub unlocked_reads: u32,
    /// Longest hold that makes commits wait (rollback mode).
    pub hold_commits: Duration,
    /// Longest hold that makes checkpoints wait (WAL mode); the log grows meanwhile.
    pub hold_checkpoints: Duration,
}

impl<'a> Patience<'a> {
    /// With the usual limits.
    #[must_use]
    pub fn new(pause: &'a dyn Fn(Duration), now: &'a dyn Fn() -> Timestamp) -> Self {
        Self {
            pause,
            now,
            stamps: (StampClock::Ours, Timestamp::default()),
            locks: &Ofd,
            checks: Checks::ALL,
            budget: None,
            wait: Duration::from_secs(5),
            unlocked_reads: 3,
            hold_commits: Duration::from_secs(10),
            hold_checkpoints: Duration::from_mins(15),
        }
    }

    /// The clock of the file system at a moment.
    pub(super) fn clock(&self, now: Timestamp) -> StampClock {
        let (clock, seen) = self.stamps;
        clock.later(now.as_nanos() - seen.as_nanos())
    }

    /// True if that much may be waited once more, after so much that was waited.
    pub(super) fn allows(&self, waited: Duration, more: Duration) -> bool {
        waited + more <= self.wait && self.budget.is_none_or(|budget| budget.take(more))
    }

    /// Time since an earlier moment; nothing if the clock was set back.
    pub(super) fn since(&self, earlier: Timestamp) -> Duration {
        let nanos = (self.now)().as_nanos() - earlier.as_nanos();
        Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for Patience<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience")
            .field("wait", &self.wait)
            .field("unlocked_reads", &self.unlocked_reads)
            .field("hold_commits", &self.hold_commits)
            .field("hold_checkpoints", &self.hold_checkpoints)
            .finish_non_exhaustive()
    }
}

/// What the image was put together from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The main file's own bytes.
    Quiescent,
    /// The main file with so many committed frames of the write-ahead log laid over it.
    Merged {
        /// Frames; a page may have several.
        frames: u32,
    },
    /// The main file with the original pages of a transaction that never ended, cut to its length before that.
    RolledBack {
        /// Pages that came from the journal.
        pages: u32,
    },
    /// The main file's own bytes and, beside them, a log or journal without which they are no committed state.
    Paired {
        /// Committed frames of a write-ahead log; 0 for a journal.
        frames: u32,
    },
}

/// Bytes of the sidecars that were there, by the name's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sidecars {
    /// Of the write-ahead log.
    pub wal: Option<u64>,
    /// Of the log's index.
    pub shm: Option<u64>,
    /// Of the rollback journal.
    pub journal: Option<u64>,
}

/// A log or journal that belongs to a main file.
#[derive(Debug)]
pub struct PairedLog<T> {
    /// Which of the two it is.
    pub sidecar: Sidecar,
    /// What the reading of it brought.
    pub value: T,
    /// Its bytes, as far as they count.
    pub len: u64,
}

/// A database in one committed state.
#[derive(Debug)]
pub struct Captured<T> {
    /// What the reading of that state brought.
    pub value: T,
    /// What the reading of a log or journal brought that is the other half of that state.
    pub log: Option<PairedLog<T>>,
    /// What the image was put together from.
    pub state: State,
    /// Bytes of the image.
    pub len: u64,
    /// Bytes of a page, if that is known.
    pub page_size: Option<u32>,
    /// How long locks were held, in all.
    pub held: Duration,
    /// How often the database was read.
    pub reads: u32,
    /// What lay beside it.
    pub sidecars: Sidecars,
    /// True if its log is damaged, so that not all of what the app had committed is in the image.
    pub has_damaged_log: bool,
    /// What of the database is not where its app has it open.
    pub missing: Option<Missing>,
}

/// A file of a database that an app has open, and that is not beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The write-ahead log was deleted.
    Log,
    /// The index of the log was deleted.
    Index,
    /// The app has the database open under another name, and its log is there.
    Name,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => {
                "An app has this database open, but its -wal file was deleted: changes that are only in that file are not \
                 in this snapshot"
            }
            Self::Index => {
                "An app has this database open, but its -shm file was deleted: another program that opens it now may \
                 damage it"
            }
            Self::Name => {
                "An app has this database open under another name: changes in the -wal file beside that name are not in \
                 this snapshot"
            }
        })
    }
}

/// Why a database has no image. Its files can still be stored as they lie, which may not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impossible {
    /// An app kept the database, or its log, locked exclusively all the time that was waited.
    LockedExclusively,
    /// It changed each time it was read.
    NeverStill,
    /// The same, where the file system has no locks.
    NeverStillWithoutLocks,
    /// Reading under the lock takes longer than the app may be kept waiting.
    HeldTooLong,
    /// The journal belongs to a transaction over several databases.
    TransactionOverSeveral,
    /// There is a journal to be rolled back, and a log with committed frames.
    JournalAndLog,
    /// The log is of a version that is not known.
    LogVersion(u32),
    /// The log has pages of another size than the database.
    LogPageSize,
    /// The log or journal says that the database is longer than it can be.
    Length,
    /// The log or journal names more pages than are held in memory.
    TooLarge,
}

impl Impossible {
    /// True if it lies in what the files say, which may be read in the middle of a change.
    pub(super) fn is_of_files(self) -> bool {
        !matches!(
            self,
            Self::LockedExclusively | Self::NeverStill | Self::NeverStillWithoutLocks | Self::HeldTooLong
        )
    }
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LockedExclusively => "an app keeps it locked exclusively",
            Self::NeverStill => "its app changed it each time it was read",
            Self::NeverStillWithoutLocks => {
                "it changed each time it was read, and this file system has no locks"
            }
            Self::HeldTooLong => "reading it would have kept its app waiting for too long",
            Self::TransactionOverSeveral => "a transaction over several databases was cut off",
            Self::JournalAndLog => "both a journal to be rolled back and a write-ahead log lie beside it",
            Self::LogVersion(version) => {
                return write!(f, "its write-ahead log is of version {version}, which is not known");
            }
            Self::LogPageSize => "its write-ahead log has pages of another size",
            Self::Length => "its log or journal claims a length that it cannot have",
            Self::TooLarge => "its log or journal names too many pages",
        })
    }
}

/// How a capture failed.
#[derive(Debug)]
pub enum Failed<E> {
    /// There is no image, for a reason that lies in the database or its app.
    Impossible(Impossible),
    /// The name leads to another file than the descriptor, or nowhere: open it again.
    Replaced,
    /// The main file or what lies beside it cannot be read.
    Io(Option<Sidecar>, io::Error),
    /// The caller's reading failed, on an image that was sound.
    Read(E),
}

/// The failures that need no reader.
pub(super) type Trouble = Failed<std::convert::Infallible>;

impl Trouble {
    /// What it means for a capture that a sidecar cannot be used.
    pub(super) fn of(sidecar: Sidecar, why: Unusable) -> Self {
        match why {
            Unusable::Io(e) => Self::Io(Some(sidecar), e),
            Unusable::Version(version) => Impossible::LogVersion(version).into(),
            Unusable::TooLarge => Impossible::TooLarge.into(),
        }
    }

    /// The same for any reader.
    pub(super) fn widen<E>(self) -> Failed<E> {
        match self {
            Self::Impossible(why) => Failed::Impossible(why),
            Self::Replaced => Failed::Replaced,
            Self::Io(file, e) => Failed::Io(file, e),
            Self::Read(never) => match never {},
        }
    }
}

impl From<Impossible> for Trouble {
    fn from(why: Impossible) -> Self {
        Self::Impossible(why)
    }
}

impl From<io::Error> for Trouble {
    fn from(e: io::Error) -> Self {
        Self::Io(None, e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sidecar_is_known_by_its_name() {
        for (sidecar, name) in Sidecar::ALL.into_iter().zip(["m.db-wal", "m.db-shm", "m.db-journal"]) {
            assert_eq!(sidecar.beside(b"m.db"), name.as_bytes());
            assert_eq!(Sidecar::main_of(name.as_bytes()), Some((&b"m.db"[..], sidecar)));
        }
        assert_eq!(Sidecar::main_of(b"x-wal-shm"), Some((&b"x-wal"[..], Sidecar::Shm)));
        for name in ["m.db", "m.db-wal2", "m.db-WAL", "wal", ""] {
            assert_eq!(Sidecar::main_of(name.as_bytes()), None, "{name}");
        }
    }
}
