//! Reading the database of a running app in one committed state, through descriptors that only read, without a copy and
//! without a trace.
//!
//! `docs/sqlite-capture.md` says what happens in each case and what it costs the app. In short: a database with a
//! write-ahead log is read under the locks of a reader, which keep the main file and the frames as they are while the app
//! goes on writing ([`logged`]). A database in rollback mode is read without a lock and proved to be unchanged
//! afterwards, and under a reader's lock only if that failed several times ([`still`]).
//!
//! This process must have none of these files open through SQLite: closing any descriptor of a file ends all of a
//! process's POSIX locks on it.

mod locks;
mod logged;
mod outcome;
mod stamp;
mod still;

pub use locks::{Bytes, Locks, Ofd, is_locked};
pub use outcome::{Beside, Captured, Failed, Impossible, Kind, Patience, Sidecar, Sidecars, State};

use super::SqliteHeader;
use super::image::Image;
use super::journal::{Journal, Rollback};
use crate::base::Timestamp;
use locks::{ALIVE, RESERVED, Shared};
use outcome::Trouble;
use stamp::{Look, Stamp};
use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Pause before a lock is tried again.
const STEP: Duration = Duration::from_millis(10);
/// Attempts after those without a lock. One is enough, unless the app goes over from one journal mode to the other.
const FURTHER_ATTEMPTS: u32 = 5;
/// Readings where there are no locks.
const READS_WITHOUT_LOCKS: u32 = 4;

/// Runs `read` on an image of the database, again and again until one of them is proved to be a single committed state;
/// what `read` said of that one counts.
///
/// `main` is a descriptor of the main file, open for reading, of which no copy is used elsewhere meanwhile. An error of
/// `read` counts only if the image was sound: reading a database that changes may fail in any way.
pub fn capture<T, E>(
    main: BorrowedFd<'_>,
    beside: &dyn Beside,
    kind: Kind,
    patience: &Patience<'_>,
    read: &mut dyn FnMut(&Image<'_>) -> Result<T, E>,
) -> Result<Captured<T>, Failed<E>> {
    let session = Session {
        main,
        beside,
        kind,
        patience,
        has_locks: Cell::new(true),
        held: Cell::new(Duration::ZERO),
        reads: Cell::new(0),
        refused: Cell::new(0),
    };
    for _ in 0..patience.unlocked_reads.saturating_add(FURTHER_ATTEMPTS) {
        if let Some(reading) = session.attempt(read)? {
            let Reading { value, state, len, page_size, sidecars } = reading;
            let (held, reads) = (session.held.get(), session.reads.get());
            return Ok(Captured { value, state, len, page_size, held, reads, sidecars });
        }
        session.refused.set(session.refused.get() + 1);
        if !session.has_locks.get() && session.reads.get() >= READS_WITHOUT_LOCKS {
            break;
        }
    }
    Err(Failed::Impossible(Impossible::NeverStill))
}

/// What one attempt brought.
struct Reading<T> {
    value: T,
    state: State,
    len: u64,
    page_size: Option<u32>,
    sidecars: Sidecars,
}

/// All that one capture needs to know.
struct Session<'a> {
    main: BorrowedFd<'a>,
    beside: &'a dyn Beside,
    kind: Kind,
    patience: &'a Patience<'a>,
    /// Whether the file system knows locks; assumed until it says otherwise.
    has_locks: Cell<bool>,
    held: Cell<Duration>,
    reads: Cell<u32>,
    /// Attempts that brought nothing.
    refused: Cell<u32>,
}

/// A sidecar as it was when it was opened.
struct Opened {
    file: OwnedFd,
    stamp: Stamp,
}

/// The sidecars that were there.
struct There {
    wal: Option<Opened>,
    shm: Option<Opened>,
    journal: Option<Opened>,
}

impl There {
    fn sizes(&self) -> Sidecars {
        let size = |opened: &Option<Opened>| opened.as_ref().map(|opened| opened.stamp.size);
        Sidecars { wal: size(&self.wal), shm: size(&self.shm), journal: size(&self.journal) }
    }
}

/// The reader's lock on the main file, and since when it is held.
struct Hold<'s> {
    session: &'s Session<'s>,
    _lock: Shared<'s>,
    since: Timestamp,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let held = self.session.patience.since(self.since);
        self.session.held.set(self.session.held.get() + held);
    }
}

impl Session<'_> {
    /// Reads the database once. `None` if it may have changed meanwhile.
    fn attempt<T, E>(
        &self,
        read: &mut dyn FnMut(&Image<'_>) -> Result<T, E>,
    ) -> Result<Option<Reading<T>>, Failed<E>> {
        let seen = self.look().map_err(Trouble::widen)?;
        match &seen.there.wal {
            Some(wal) if seen.log_counts => logged::read(self, &seen, wal, read),
            _ => still::read(self, seen, read),
        }
    }

    /// Looks at the database and what lies beside it, under a reader's lock: whoever would change the main file has done
    /// so, or has not begun.
    fn look(&self) -> Result<Seen<'_>, Trouble> {
        let hold = self.hold()?;
        let now = (self.patience.now)();
        // In this order: nobody who sees the lock takes a log away.
        let there = There {
            wal: self.open(Sidecar::Wal)?,
            shm: self.open(Sidecar::Shm)?,
            journal: self.open(Sidecar::Journal)?,
        };
        let main = Look::at(self.main)?;
        let header = (self.kind == Kind::Plain).then(|| SqliteHeader::parse(&main.start)).flatten();
        let page_size = header.map(|header| header.page_size);
        // SQLite takes a journal or log beside an empty file for one of an earlier database.
        let has_pages = main.stamp.size > 0;
        let rollback = match &there.journal {
            Some(journal) if has_pages => self.rollback(journal, page_size)?,
            _ => None,
        };
        let log_counts = has_pages && self.log_counts(&there)?;
        if rollback.is_some() && log_counts && self.has_frames(&there)? {
            return Err(Impossible::JournalAndLog.into());
        }
        let log_counts = log_counts && rollback.is_none();
        Ok(Seen { hold, now, there, main, page_size, rollback, log_counts })
    }

    /// The lock of a reader; `None` where there are no locks.
    fn hold(&self) -> Result<Option<Hold<'_>>, Trouble> {
        let lock = self.waited(|| Shared::of_reader(self.patience.locks, self.main))?;
        Ok(lock.map(|lock| Hold { session: self, _lock: lock, since: (self.patience.now)() }))
    }

    /// Tries until it succeeds. `None` where there are no locks.
    fn waited<T>(&self, mut attempt: impl FnMut() -> io::Result<Option<T>>) -> Result<Option<T>, Trouble> {
        let mut waited = Duration::ZERO;
        while self.has_locks.get() {
            match attempt() {
                Ok(Some(lock)) => return Ok(Some(lock)),
                Ok(None) if waited >= self.patience.wait => return Err(Impossible::LockedExclusively.into()),
                Ok(None) => {
                    (self.patience.pause)(STEP);
                    waited += STEP;
                }
                // There are none, or they do not work, as on some network file systems: the file may be read all the same.
                Err(_) => self.has_locks.set(false),
            }
        }
        Ok(None)
    }

    /// True if somebody has a lock there; false where nobody can have one.
    fn is_held(&self, file: BorrowedFd<'_>, bytes: Bytes) -> bool {
        self.patience.locks.is_held(file, bytes).unwrap_or_else(|_| {
            self.has_locks.set(false);
            false
        })
    }

    fn open(&self, sidecar: Sidecar) -> Result<Option<Opened>, Trouble> {
        let open = || {
            let Some(file) = self.beside.open(sidecar)? else { return Ok(None) };
            let stamp = Stamp::of(file.as_fd())?;
            Ok(Some(Opened { file, stamp }))
        };
        open().map_err(|e| Failed::Io(Some(sidecar), e))
    }

    /// The pages of a transaction that never ended, if there was one.
    fn rollback(&self, journal: &Opened, page_size: Option<u32>) -> Result<Option<Rollback>, Trouble> {
        let file = journal.file.as_fd();
        if !Journal::may_be_open(file).map_err(|e| Failed::Io(Some(Sidecar::Journal), e))? {
            return Ok(None);
        }
        // A live writer's journal. It writes into the main file only when there are no readers, and we are one.
        if self.has_locks.get() && self.is_held(self.main, RESERVED) {
            return Ok(None);
        }
        match Journal::read(file, journal.stamp.size, page_size) {
            Ok(Journal::Ended) => Ok(None),
            Ok(Journal::Open(rollback)) => Ok(Some(rollback)),
            Ok(Journal::OfSeveral) => Err(Impossible::TransactionOverSeveral.into()),
            Err(why) => Err(Trouble::of(Sidecar::Journal, why)),
        }
    }

    /// True if there is a log that has frames, or to which somebody may be about to write some.
    fn log_counts(&self, there: &There) -> Result<bool, Trouble> {
        let Some(wal) = &there.wal else { return Ok(false) };
        let is_alive = || there.shm.as_ref().is_some_and(|shm| self.is_held(shm.file.as_fd(), ALIVE));
        Ok(wal.stamp.size > 0 || is_alive())
    }

    fn has_frames(&self, there: &There) -> Result<bool, Trouble> {
        there.wal.as_ref().map_or(Ok(false), |wal| Ok(logged::log(wal)?.frames > 0))
    }

    /// Runs `read` on an image, and says whether it was kept from going on.
    fn run<T, E>(&self, image: &Image<'_>, read: &mut dyn FnMut(&Image<'_>) -> Result<T, E>) -> Result<T, E> {
        self.reads.set(self.reads.get() + 1);
        read(image)
    }
}

/// What was seen at the beginning of an attempt.
struct Seen<'s> {
    /// The lock under which it was seen.
    hold: Option<Hold<'s>>,
    /// When, at the earliest.
    now: Timestamp,
    there: There,
    main: Look,
    page_size: Option<u32>,
    /// The original pages of a transaction that was cut off.
    rollback: Option<Rollback>,
    log_counts: bool,
}

/// Ends a reading that takes too long.
struct Limit<'a> {
    patience: &'a Patience<'a>,
    since: Timestamp,
    most: Duration,
    is_over: Cell<bool>,
}

impl<'a> Limit<'a> {
    fn new(patience: &'a Patience<'a>, since: Timestamp, most: Duration) -> Self {
        Self { patience, since, most, is_over: Cell::new(false) }
    }

    fn check(&self) -> io::Result<()> {
        if self.patience.since(self.since) > self.most {
            self.is_over.set(true);
            return Err(io::Error::new(io::ErrorKind::TimedOut, Impossible::HeldTooLong.to_string()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
