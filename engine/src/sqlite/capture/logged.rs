//! A database with a write-ahead log: the main file with the committed frames laid over it.
//!
//! Which locks, and why they are enough (a checkpoint copies frames into the main file; then the log may be begun anew):
//!
//! - SHARED on the main file: the last connection that closes would otherwise run a checkpoint that asks no other lock, and
//!   delete the log; the journal mode cannot change either. Every connection in WAL mode has this lock anyway.
//! - READ_MAIN, shared: a checkpoint takes it exclusively before it writes into the main file.
//! - READ_LAST, shared: the log is begun anew, or cut, only by who has all four slots of readers exclusively. A reader of
//!   the app looks for a slot from the first one on, so that this is the one it misses least, and a checkpoint that finds
//!   a slot in use only copies less.
//! - CHECKPOINT, shared, if somebody is alive: not needed for our sake, but for the app's. Without it a FULL, RESTART or
//!   TRUNCATE checkpoint would take the lock of writers and then wait for us for as long as its busy handler lets it; with
//!   it, it learns at once that it must come later. But a connection that must build the index of the log anew needs
//!   this lock, and cannot do anything before: as soon as the index looks as if somebody wanted that, it is given up.
//!
//! None of them is taken by a commit. ALIVE is never taken: who takes it while nobody else has it would make the next
//! connection believe in an index that nobody kept.
//!
//! Without a `-shm`, nobody has the database open: a connection makes one first. It is read without locks on the log, and
//! afterwards the `-shm` must still not be there, and nothing changed. (It cannot have come and gone: who closes last
//! deletes it only with the main file locked exclusively.)

use super::super::image::{Image, Watch};
use super::super::read_full;
use super::super::wal::Log;
use super::locks::{ALIVE, CHECKPOINT, READ_LAST, READ_MAIN, Shared};
use super::outcome::{Failed, Impossible, Kind, Sidecar, State, Trouble};
use super::stamp::Look;
use super::{Limit, Opened, Reading, Seen, Session, still};
use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};

/// Reads the database; `None` if the frames or the main file changed meanwhile.
pub(super) fn read<T, E>(
    session: &Session<'_>,
    seen: &Seen<'_>,
    wal: &Opened,
    read: &mut dyn FnMut(&Image<'_>) -> Result<T, E>,
) -> Result<Option<Reading<T>>, Failed<E>> {
    let attempt = || -> Result<Option<_>, Trouble> {
        let index = match &seen.there.shm {
            Some(shm) if seen.hold.is_some() => Index::lock(session, shm.file.as_fd())?,
            _ => None,
        };
        if index.is_none() && !is_settled(seen, wal) {
            (session.patience.pause)(still::TICK);
            return Ok(None);
        }
        // Under the locks: a checkpoint may have run until we had them.
        let main = if index.is_some() { Look::at(session.main)? } else { seen.main.clone() };
        Ok(Some((index, main, log(wal)?)))
    };
    let Some((index, main, log)) = attempt().map_err(Trouble::widen)? else { return Ok(None) };
    let limit = Limit::new(session.patience, seen.now, session.patience.hold_checkpoints);
    let watch = || {
        index.as_ref().inspect(|index| index.step_aside());
        limit.check()
    };
    let (image, state) = laid_out(session, &main, wal, &log, &watch).map_err(Trouble::widen)?;
    let result = session.run(&image, read);
    if limit.is_over.get() {
        return Err(Failed::Impossible(Impossible::HeldTooLong));
    }
    let is_same = || -> Result<bool, Trouble> {
        let is_same = log.is_unchanged(wal.file.as_fd())? && Look::at(session.main)? == main;
        Ok(is_same && (index.is_some() || nobody_came(session, seen, wal)?))
    };
    if !is_same().map_err(Trouble::widen)? {
        return Ok(None);
    }
    let value = result.map_err(Failed::Read)?;
    let page_size = log.page_size.or(seen.page_size);
    Ok(Some(Reading { value, state, len: image.len, page_size, sidecars: seen.there.sizes() }))
}

/// The committed frames of a log.
pub(super) fn log(wal: &Opened) -> Result<Log, Trouble> {
    Log::read(wal.file.as_fd()).map_err(|why| Trouble::of(Sidecar::Wal, why))
}

fn laid_out<'i>(
    session: &Session<'i>,
    main: &Look,
    wal: &'i Opened,
    log: &'i Log,
    watch: Watch<'i>,
) -> Result<(Image<'i>, State), Trouble> {
    let size = main.stamp.size;
    let own = Image { main: session.main, main_len: size, laid_over: None, len: size, watch };
    let Some(page_size) = log.page_size.filter(|_| log.frames > 0) else {
        return Ok((own, State::Quiescent));
    };
    let bytes = u64::from(page_size);
    let len = u64::from(log.pages) * bytes;
    let image = Image {
        main_len: size.min(len),
        laid_over: Some((wal.file.as_fd(), &log.overlay, page_size)),
        len,
        ..own
    };
    let is_other = match session.kind {
        // The header may itself be in the log.
        Kind::Plain => image.header()?.is_some_and(|header| header.page_size != page_size),
        Kind::Encrypted => !size.is_multiple_of(bytes),
    };
    if is_other {
        return Err(Impossible::LogPageSize.into());
    }
    // SQLite refuses such a log in the same way: the pages must have come from somewhere.
    if size.saturating_add(65536 + u64::from(log.frames) * bytes) < len {
        return Err(Impossible::Length.into());
    }
    Ok((image, State::Merged { frames: log.frames }))
}

fn is_settled(seen: &Seen<'_>, wal: &Opened) -> bool {
    seen.main.stamp.is_settled(seen.now) && wal.stamp.is_settled(seen.now)
}

/// True if the sidecars are the same files as before, and the log was not written to.
fn nobody_came(session: &Session<'_>, seen: &Seen<'_>, wal: &Opened) -> Result<bool, Trouble> {
    let wal_now = session.open(Sidecar::Wal)?.map(|opened| opened.stamp);
    let shm_now = session.open(Sidecar::Shm)?.is_some();
    Ok(wal_now == Some(wal.stamp) && shm_now == seen.there.shm.is_some())
}

/// The locks on the index of the log.
struct Index<'a> {
    shm: BorrowedFd<'a>,
    checkpoint: RefCell<Option<Shared<'a>>>,
    _slots: (Shared<'a>, Shared<'a>),
}

impl<'a> Index<'a> {
    /// `None` where there are no locks.
    fn lock(session: &Session<'a>, shm: BorrowedFd<'a>) -> Result<Option<Self>, Trouble> {
        let locks = session.patience.locks;
        // With nobody alive, the next that comes needs this lock before anything else.
        let checkpoint = if session.is_held(shm, ALIVE) {
            match session.waited(|| Shared::take(locks, shm, CHECKPOINT)) {
                // Whoever checkpoints waits for readers of the app. The slots are enough.
                Err(Failed::Impossible(_)) => None,
                result => result?,
            }
        } else {
            None
        };
        let slots = session.waited(|| {
            let Some(main) = Shared::take(locks, shm, READ_MAIN)? else { return Ok(None) };
            Ok(Shared::take(locks, shm, READ_LAST)?.map(|last| (main, last)))
        })?;
        Ok(slots.map(|slots| Self { shm, checkpoint: RefCell::new(checkpoint), _slots: slots }))
    }

    /// Gives up the lock of checkpoints if somebody wants to build the index anew.
    fn step_aside(&self) {
        if self.checkpoint.borrow().is_some() && is_broken(self.shm) && is_broken(self.shm) {
            self.checkpoint.replace(None);
        }
    }
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
