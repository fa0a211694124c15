//! Reading the database of a running app in one committed state, through descriptors that only read, without a copy and
//! without a trace.
//!
//! `docs/sqlite-capture.md` says what happens in each case and why that is sound. In short: a database is read without any
//! lock, and afterwards it is proved that the image was one committed state: with a write-ahead log by what the app's
//! connections tell each other in its index ([`logged`]), otherwise by what the file system says ([`still`]). Only if that
//! failed several times, locks are held meanwhile ([`hold`]).
//!
//! This process must have none of these files open through SQLite: closing any descriptor of a file ends all of a
//! process's POSIX locks on it.

mod hold;
mod index;
mod locks;
mod logged;
mod outcome;
mod stamp;
mod still;

pub use locks::{Bytes, Locks, Ofd, is_locked, is_locked_as_database};
pub use outcome::{
    Beside, Captured, Checks, Failed, Impossible, Kind, Missing, PairedLog, Patience, Sidecar, Sidecars,
    State, WaitBudget,
};

use super::SqliteHeader;
use super::image::Image;
use super::journal::{Journal, Rollback};
use crate::base::Timestamp;
use hold::MainHold;
use locks::{ALIVE, PENDING, RESERVED, SHARED};
use outcome::Trouble;
use stamp::{Look, Stamp};
use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Pause while an app is in the middle of something short.
const STEP: Duration = Duration::from_millis(10);
/// Attempts after those without a lock. One is enough, unless the app closes, or goes over from one journal mode to the
/// other.
const FURTHER_ATTEMPTS: u32 = 9;
/// Times that log or journal are looked at again before it is believed that there can be no image.
const DOUBTS: u32 = 2;
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
    let session = Session::new(main, beside, kind, patience);
    let mut doubts = 0;
    loop {
        let attempt = match session.attempt(read) {
            // What was seen in the middle of a change may be gone a moment later.
            Err(Failed::Impossible(why)) if why.is_of_files() && doubts < DOUBTS => {
                doubts += 1;
                Attempt::NotYet(STEP, why)
            }
            attempt => attempt?,
        };
        match attempt {
            Attempt::Done(reading) => {
                let Reading { value, log, state, len, page_size, sidecars, has_damaged_log } = reading;
                let (held, reads) = (session.held.get(), session.reads.get());
                let missing = session.missing_still();
                return Ok(Captured {
                    value,
                    log,
                    state,
                    len,
                    page_size,
                    held,
                    reads,
                    sidecars,
                    has_damaged_log,
                    missing,
                });
            }
            Attempt::NotYet(wait, why) if !session.wait(wait) => return Err(Failed::Impossible(why)),
            Attempt::NotYet(..) => {}
            Attempt::Changed => session.refused.set(session.refused.get() + 1),
        }
        if session.is_exhausted() {
            return Err(Failed::Impossible(session.never_still()));
        }
    }
}

/// What an attempt came to.
enum Attempt<T> {
    /// A reading that was proved.
    Done(Reading<T>),
    /// The app is in the middle of something: try again after so long, or give up for this reason.
    NotYet(Duration, Impossible),
    /// The database changed, or may have.
    Changed,
}

impl<T> Attempt<T> {
    /// The same for any reading; never called with one.
    fn widen<U>(self) -> Attempt<U> {
        match self {
            Self::NotYet(wait, why) => Attempt::NotYet(wait, why),
            Self::Done(_) | Self::Changed => Attempt::Changed,
        }
    }
}

/// What a reading brought.
struct Reading<T> {
    value: T,
    /// The other half, where the two cannot be put together.
    log: Option<PairedLog<T>>,
    state: State,
    len: u64,
    page_size: Option<u32>,
    sidecars: Sidecars,
    has_damaged_log: bool,
}

/// All that one capture needs to know.
struct Session<'a> {
    main: BorrowedFd<'a>,
    beside: &'a dyn Beside,
    kind: Kind,
    patience: &'a Patience<'a>,
    /// Whether the file system knows locks; assumed until it says otherwise.
    has_locks: Cell<bool>,
    /// Whether a lock on the main file may be held: never in WAL mode.
    may_hold_main: Cell<bool>,
    held: Cell<Duration>,
    waited: Cell<Duration>,
    reads: Cell<u32>,
    /// How long the last reading took.
    took: Cell<Duration>,
    /// Attempts that brought nothing.
    refused: Cell<u32>,
    /// Waits for times in which a change would show.
    unsettled: Cell<u32>,
    /// What the last look did not find beside a database that is open.
    missing: Cell<Option<Missing>>,
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

/// What was seen at the beginning of an attempt.
struct Seen<'s> {
    /// The lock under which it was seen, if one was held.
    hold: Option<MainHold<'s>>,
    /// When, at the earliest.
    now: Timestamp,
    there: There,
    main: Look,
    page_size: Option<u32>,
    /// The original pages of a transaction that was cut off.
    rollback: Option<Rollback>,
    /// True if somebody has the database open and keeps the index of its log.
    is_alive: bool,
    /// True if somebody has the main file locked exclusively.
    is_exclusive: bool,
    /// True if the log may have frames.
    log_counts: bool,
    /// True in the middle of a transaction that is being written into the main file.
    is_being_written: bool,
}

impl<'a> Session<'a> {
    fn new(main: BorrowedFd<'a>, beside: &'a dyn Beside, kind: Kind, patience: &'a Patience<'a>) -> Self {
        Self {
            main,
            beside,
            kind,
            patience,
            has_locks: Cell::new(true),
            may_hold_main: Cell::new(false),
            held: Cell::default(),
            waited: Cell::default(),
            reads: Cell::new(0),
            took: Cell::default(),
            refused: Cell::new(0),
            unsettled: Cell::new(0),
            missing: Cell::new(None),
        }
    }

    /// Reads the database once.
    fn attempt<T, E>(
        &self,
        read: &mut dyn FnMut(&Image<'_>) -> Result<T, E>,
    ) -> Result<Attempt<T>, Failed<E>> {
        let seen = self.look().map_err(Trouble::widen)?;
        if seen.is_being_written {
            return Ok(Attempt::NotYet(STEP, Impossible::LockedExclusively));
        }
        match &seen.there.wal {
            Some(wal) if seen.log_counts => logged::read(self, &seen, wal, read),
            _ => still::read(self, &seen, read),
        }
    }

    /// Looks at the database and what lies beside it: first at the main file, so that everything else was so while that
    /// was not written to, if it turns out in the end that it was not.
    fn look(&self) -> Result<Seen<'_>, Trouble> {
        if !self.leads_to(None, Stamp::of(self.main)?)? {
            return Err(Failed::Replaced);
        }
        let hold = self.hold()?;
        let now = (self.patience.now)();
        let main = Look::at(self.main)?;
        let there = There {
            wal: self.open(Sidecar::Wal)?,
            shm: self.open(Sidecar::Shm)?,
            journal: self.open(Sidecar::Journal)?,
        };
        let is_alive = there.shm.as_ref().is_some_and(|shm| self.is_held(shm.file.as_fd(), ALIVE));
        let is_exclusive = self.is_exclusive();
        let header = (self.kind == Kind::Plain).then(|| SqliteHeader::parse(&main.start)).flatten();
        let page_size = header.map(|header| header.page_size);
        // SQLite takes a journal or log beside an empty file for one of an earlier database.
        let has_pages = main.stamp.size > 0;
        let (rollback, has_writer) = match &there.journal {
            Some(journal) if has_pages => self.rollback(journal, page_size)?,
            _ => (None, false),
        };
        // Its journal may lie beside another name of the file.
        let may_have_writer = main.stamp.names > 1 && there.journal.is_none() && there.wal.is_none();
        let log_counts = has_pages && there.wal.as_ref().is_some_and(|wal| wal.stamp.size > 0);
        if rollback.is_some() && log_counts && self.has_frames(&there)? {
            return Err(Impossible::JournalAndLog.into());
        }
        let is_wal = is_alive || there.wal.is_some() || header.is_some_and(|header| header.wal);
        self.may_hold_main.set(!is_wal && !is_exclusive);
        self.missing.set(self.missing(&there, header.is_some_and(|header| header.wal)));
        let hold = hold.filter(|_| !is_wal);
        // Who waits for us has not begun.
        let is_being_written = (has_writer || may_have_writer) && is_exclusive && hold.is_none();
        Ok(Seen {
            hold,
            now,
            there,
            main,
            page_size,
            log_counts: log_counts && rollback.is_none(),
            rollback,
            is_alive,
            is_exclusive,
            is_being_written,
        })
    }

    /// What should be beside a database that somebody has open with a write-ahead log.
    fn missing(&self, there: &There, is_wal: bool) -> Option<Missing> {
        let has_frames = there.wal.as_ref().is_some_and(|wal| wal.stamp.size > 0);
        if let Some(shm) = &there.shm {
            let is_lost = is_wal && there.wal.is_none() && self.is_held(shm.file.as_fd(), ALIVE);
            return is_lost.then_some(Missing::Log);
        }
        // Every connection has this lock, from its first reading to its end.
        let is_open = (has_frames || is_wal && there.wal.is_none())
            && self.is_held(self.main, SHARED)
            && !self.is_exclusive();
        is_open.then_some(if has_frames { Missing::Index } else { Missing::Name })
    }

    /// The same once more, after the reading: an app that opens or closes a database has a lock on it for a moment without
    /// a file beside it.
    fn missing_still(&self) -> Option<Missing> {
        let before = self.missing.get()?;
        let there =
            There { wal: self.open(Sidecar::Wal).ok()?, shm: self.open(Sidecar::Shm).ok()?, journal: None };
        let is_wal = before != Missing::Index;
        self.missing(&there, is_wal).filter(|now| *now == before)
    }

    /// The lock of a reader, if the readings without one all failed, and where it may be held.
    fn hold(&self) -> Result<Option<MainHold<'_>>, Trouble> {
        if self.refused.get() < self.patience.unlocked_reads || !self.may_hold_main.get() {
            return Ok(None);
        }
        still::wait_until_quiet(self)?;
        // The app may have gone over to a log since the last look.
        let is_wal = || -> Result<bool, Trouble> {
            let header = SqliteHeader::parse(&Look::at(self.main)?.start);
            Ok(header.is_some_and(|header| header.wal) || self.open(Sidecar::Wal)?.is_some())
        };
        if is_wal()? { Ok(None) } else { MainHold::take(self) }
    }

    /// True if all readings failed that are tried.
    fn is_exhausted(&self) -> bool {
        let without_locks = !self.has_locks.get() && self.reads.get() >= READS_WITHOUT_LOCKS;
        without_locks || self.refused.get() >= self.patience.unlocked_reads.saturating_add(FURTHER_ATTEMPTS)
    }

    fn never_still(&self) -> Impossible {
        if self.has_locks.get() { Impossible::NeverStill } else { Impossible::NeverStillWithoutLocks }
    }

    /// Lets time pass; false if the patience with this app, or with all of this run, is at its end.
    fn wait(&self, time: Duration) -> bool {
        if !self.patience.allows(self.waited.get(), time) {
            return false;
        }
        (self.patience.pause)(time);
        self.waited.set(self.waited.get() + time);
        true
    }

    /// True if somebody has a lock there; false where nobody can have one.
    fn is_held(&self, file: BorrowedFd<'_>, bytes: Bytes) -> bool {
        self.asked(self.patience.locks.is_held(file, bytes))
    }

    /// True if somebody has the main file exclusively, or is about to.
    fn is_exclusive(&self) -> bool {
        [PENDING, SHARED]
            .into_iter()
            .any(|bytes| self.asked(self.patience.locks.is_exclusive(self.main, bytes)))
    }

    fn asked(&self, answer: io::Result<bool>) -> bool {
        answer.unwrap_or_else(|_| {
            self.has_locks.set(false);
            false
        })
    }

    /// True if the name still leads to the file that was opened.
    fn leads_to(&self, sidecar: Option<Sidecar>, opened: Stamp) -> Result<bool, Trouble> {
        if !self.patience.checks.names {
            return Ok(true);
        }
        let now = self.beside.identity(sidecar).map_err(|e| Failed::Io(sidecar, e))?;
        Ok(now == Some(opened.identity))
    }

    fn open(&self, sidecar: Sidecar) -> Result<Option<Opened>, Trouble> {
        let open = || {
            let Some(file) = self.beside.open(sidecar)? else { return Ok(None) };
            let stamp = Stamp::of(file.as_fd())?;
            Ok(Some(Opened { file, stamp }))
        };
        open().map_err(|e| Failed::Io(Some(sidecar), e))
    }

    /// The pages of a transaction that never ended, and whether there is one whose writer lives.
    fn rollback(
        &self,
        journal: &Opened,
        page_size: Option<u32>,
    ) -> Result<(Option<Rollback>, bool), Trouble> {
        let file = journal.file.as_fd();
        if !Journal::may_be_open(file).map_err(|e| Failed::Io(Some(Sidecar::Journal), e))? {
            return Ok((None, false));
        }
        // A live writer's journal. It writes into the main file only when it has that exclusively.
        if self.has_locks.get() && (self.is_held(self.main, RESERVED) || self.is_exclusive()) {
            return Ok((None, true));
        }
        match Journal::read(file, journal.stamp.size, page_size) {
            Ok(Journal::Ended) => Ok((None, false)),
            Ok(Journal::Open(rollback)) => Ok((Some(rollback), false)),
            Ok(Journal::OfSeveral) => Err(Impossible::TransactionOverSeveral.into()),
            Err(why) => Err(Trouble::of(Sidecar::Journal, why)),
        }
    }

    fn has_frames(&self, there: &There) -> Result<bool, Trouble> {
        there.wal.as_ref().map_or(Ok(false), |wal| Ok(logged::log(wal, None)?.frames > 0))
    }

    /// Runs `read` on an image, and notes how long that took.
    fn run<T, E>(&self, image: &Image<'_>, read: &mut dyn FnMut(&Image<'_>) -> Result<T, E>) -> Result<T, E> {
        self.reads.set(self.reads.get() + 1);
        let begun = (self.patience.now)();
        let result = read(image);
        self.took.set(self.patience.since(begun));
        result
    }
}

/// Ends a reading that takes too long.
struct Limit<'a> {
    patience: &'a Patience<'a>,
    /// From when on, and for how long.
    most: Option<(Timestamp, Duration)>,
    is_over: Cell<bool>,
}

impl<'a> Limit<'a> {
    fn new(patience: &'a Patience<'a>, most: Option<(Timestamp, Duration)>) -> Self {
        Self { patience, most, is_over: Cell::new(false) }
    }

    fn check(&self) -> io::Result<()> {
        let is_over = self.most.is_some_and(|(since, most)| self.patience.since(since) > most);
        if is_over {
            self.is_over.set(true);
            return Err(io::Error::new(io::ErrorKind::TimedOut, Impossible::HeldTooLong.to_string()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
