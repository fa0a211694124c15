//! Locks that are held while a database is read: the last resort, after several readings without any were overtaken.
//!
//! In WAL mode they lie on the `-shm` alone. A lock on the main file, however short, would make the app's last close leave
//! its log behind: SQLite asks once for the main file exclusively, does not wait, and goes without a checkpoint.
//!
//! - `READ_MAIN`, shared: a checkpoint takes it exclusively before it writes into the main file.
//! - `READ_LAST`, shared: who begins the log anew, or cuts it, takes all four slots of readers exclusively. A reader of the
//!   app looks for a slot from the first one on, so that it misses this one least.
//! - `CHECKPOINT`, shared, if somebody is alive: for the app's sake. Without it a FULL, RESTART or TRUNCATE checkpoint would
//!   take the lock of writers and then wait for us for as long as its busy handler lets it; with it, it learns at once that
//!   it must come later. But a connection that must rebuild the index needs this lock before anything else: as soon as the
//!   index looks as if somebody wanted that, it is given up.
//!
//! No commit takes any of them, and no close waits for them. `ALIVE` is never taken: who takes it while nobody else has it
//! would make the next connection believe in an index that nobody kept.
//!
//! In rollback mode the lock is that of SQLite's readers, and commits meet it.

use super::super::read_full;
use super::Session;
use super::locks::{ALIVE, CHECKPOINT, READ_LAST, READ_MAIN, Shared};
use super::outcome::{Impossible, Trouble};
use crate::base::Timestamp;
use std::cell::RefCell;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Pause before a lock is tried again.
const STEP: Duration = Duration::from_millis(10);

/// Counts how long locks are held.
struct Clock<'s> {
    session: &'s Session<'s>,
    since: Timestamp,
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        let held = self.session.patience.since(self.since);
        self.session.held.set(self.session.held.get() + held);
    }
}

impl<'s> Clock<'s> {
    fn start(session: &'s Session<'s>) -> Self {
        Self { session, since: (session.patience.now)() }
    }
}

/// The lock of a reader on the main file of a database in rollback mode.
pub struct MainHold<'s> {
    _lock: Shared<'s>,
    clock: Clock<'s>,
}

impl<'s> MainHold<'s> {
    /// Waits for the lock. `None` where there are no locks.
    pub fn take(session: &'s Session<'s>) -> Result<Option<Self>, Trouble> {
        let lock = waited(session, || Shared::of_reader(session.patience.locks, session.main))?;
        Ok(lock.map(|lock| Self { _lock: lock, clock: Clock::start(session) }))
    }

    pub fn since(&self) -> Timestamp {
        self.clock.since
    }
}

/// The locks on the index of the log.
pub struct IndexHold<'s> {
    shm: BorrowedFd<'s>,
    checkpoint: RefCell<Option<Shared<'s>>>,
    _slots: (Shared<'s>, Shared<'s>),
    clock: Clock<'s>,
}

impl<'s> IndexHold<'s> {
    /// Waits for the locks. `None` where there are none.
    pub fn take(session: &'s Session<'s>, shm: BorrowedFd<'s>) -> Result<Option<Self>, Trouble> {
        let locks = session.patience.locks;
        // With nobody alive, the next connection needs this lock before anything else.
        let checkpoint = if session.is_held(shm, ALIVE) {
            match waited(session, || Shared::take(locks, shm, CHECKPOINT)) {
                // This checkpoint waits for readers of the app. The slots are enough.
                Err(Trouble::Impossible(_)) => None,
                result => result?,
            }
        } else {
            None
        };
        let slots = waited(session, || {
            let Some(main) = Shared::take(locks, shm, READ_MAIN)? else { return Ok(None) };
            Ok(Shared::take(locks, shm, READ_LAST)?.map(|last| (main, last)))
        })?;
        let hold = |slots| Self {
            shm,
            checkpoint: RefCell::new(checkpoint),
            _slots: slots,
            clock: Clock::start(session),
        };
        Ok(slots.map(hold))
    }

    /// Gives up the lock of checkpoints if somebody wants to rebuild the index.
    pub fn step_aside(&self) {
        if self.checkpoint.borrow().is_some() && is_broken(self.shm) && is_broken(self.shm) {
            self.checkpoint.replace(None);
        }
    }

    pub fn since(&self) -> Timestamp {
        self.clock.since
    }
}

/// Tries until it succeeds or the patience ends. `None` where there are no locks.
fn waited<T>(
    session: &Session<'_>,
    mut attempt: impl FnMut() -> io::Result<Option<T>>,
) -> Result<Option<T>, Trouble> {
    while session.has_locks.get() {
        match attempt() {
            Ok(Some(lock)) => return Ok(Some(lock)),
            Ok(None) if !session.wait(STEP) => return Err(Impossible::LockedExclusively.into()),
            Ok(None) => {}
            // There are none, or they do not work, as on some network file systems: the file may be read all the same.
            Err(_) => session.has_locks.set(false),
        }
    }
    Ok(None)
}

/// True if the header of the index is not made yet, or its two copies differ (which they do for a moment in each commit).
fn is_broken(shm: BorrowedFd<'_>) -> bool {
    /// Bytes of a copy.
    const COPY: usize = 48;
    /// Where a copy says whether it is made.
    const IS_MADE: usize = 12;
    let mut header = [0; 2 * COPY];
    let is_whole = read_full(shm, &mut header, 0).is_ok_and(|count| count == header.len());
    let (first, second) = header.split_at(COPY);
    !is_whole || first != second || first.get(IS_MADE) == Some(&0)
}
