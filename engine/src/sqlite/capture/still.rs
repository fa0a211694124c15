//! A database without a log that counts: its own bytes, or those with the original pages of a cut-off transaction.
//!
//! Who writes into the main file has it exclusively. So first the main file is looked at, then the journal, and then it is
//! asked whether somebody has it exclusively: if not, what it was at the first look is a committed state, or a journal says
//! how to get back to one. If afterwards size, times and first page are the same, it was not written to since. A
//! transaction that spilled pages and rolled back shows in the times, and only there.
//!
//! Nobody meets a lock in all this. If it fails several times, the lock of a reader is held, for as long as a reading
//! takes: commits wait for it. Never where there may be a write-ahead log.

use super::super::image::{Image, Watch};
use super::super::journal::Rollback;
use super::locks::{PENDING, RESERVED, SHARED};
use super::outcome::{Failed, Impossible, Kind, PairedLog, Sidecar, State, Trouble};
use super::stamp::Look;
use super::{Attempt, Limit, Reading, STEP, Seen, Session};
use std::os::fd::AsFd;
use std::time::Duration;

/// So many waits in vain for an app that writes all the time are as good as a reading that was overtaken.
const WAITS_FOR_A_READING: u32 = 4;
/// An app that did not write for so long is quiet.
const QUIET: i128 = 20_000_000;
/// Longest wait for an app to be quiet.
const WAIT_FOR_QUIET: Duration = Duration::from_millis(200);
/// A hold is not cut off earlier than this.
const LEAST_HOLD: Duration = Duration::from_secs(1);

/// Reads the database.
pub(super) fn read<T, E>(
    session: &Session<'_>,
    seen: &Seen<'_>,
    read: &mut dyn FnMut(&Image<'_>) -> Result<T, E>,
) -> Result<Attempt<T>, Failed<E>> {
    let patience = session.patience;
    if seen.hold.is_none()
        && let Some(wait) = unsettled(session, seen)
    {
        return Ok(not_settled(session, wait));
    }
    let limit = Limit::new(patience, seen.hold.as_ref().map(|hold| (hold.since(), longest(session))));
    let watch = || limit.check();
    let (image, state) = laid_out(session, seen, &watch).map_err(Failed::Impossible)?;
    let result = session.run(&image, read);
    let paired = match &seen.there.journal {
        Some(journal) if matches!(state, State::Paired { .. }) => {
            let log = Image::of_log(journal.file.as_fd(), journal.stamp.size, &watch);
            let value = session.run(&log, read);
            image.is_cut.set(image.is_cut.get() || log.is_cut.get());
            Some(value.map(|value| PairedLog { sidecar: Sidecar::Journal, value, len: log.len }))
        }
        _ => None,
    };
    if limit.is_over.get() {
        return Err(Failed::Impossible(Impossible::HeldTooLong));
    }
    if image.is_cut.get() || !is_same(session, seen).map_err(Trouble::widen)? {
        return Ok(Attempt::Changed);
    }
    if !session.leads_to(None, seen.main.stamp).map_err(Trouble::widen)? {
        return Err(Failed::Replaced);
    }
    let value = result.map_err(Failed::Read)?;
    let log = paired.transpose().map_err(Failed::Read)?;
    let page_size = seen.rollback.as_ref().map(|rollback| rollback.page_size).or(seen.page_size);
    Ok(Attempt::Done(Reading {
        value,
        log,
        state,
        len: image.len,
        page_size,
        sidecars: seen.there.sizes(),
        has_damaged_log: false,
    }))
}

/// A change would not show in the times yet. An app that writes all the time may never let it come to that: then locks
/// are held in the end.
pub(super) fn not_settled<T>(session: &Session<'_>, wait: Duration) -> Attempt<T> {
    if !session.may_hold_main.get() || !session.has_locks.get() {
        return Attempt::NotYet(wait, session.never_still());
    }
    let waits = session.unsettled.get() + 1;
    session.unsettled.set(waits);
    let has_waited = session.wait(wait);
    if has_waited && !waits.is_multiple_of(WAITS_FOR_A_READING) {
        Attempt::NotYet(Duration::ZERO, session.never_still())
    } else {
        Attempt::Changed
    }
}

/// Waits until nobody writes, or prepares to; not for long. What was just read tells how long the lock will be held: if
/// that is longer than the app may be kept waiting, it is not taken at all.
pub(super) fn wait_until_quiet(session: &Session<'_>) -> Result<(), Trouble> {
    let patience = session.patience;
    if session.took.get() > patience.hold_commits {
        return Err(Impossible::HeldTooLong.into());
    }
    let begun = session.waited.get();
    while session.waited.get() - begun < WAIT_FOR_QUIET {
        let is_busy = [RESERVED, PENDING, SHARED]
            .into_iter()
            .any(|bytes| session.asked(patience.locks.is_exclusive(session.main, bytes)));
        let stamp = super::Stamp::of(session.main)?;
        if !is_busy && stamp.age((patience.now)()) > QUIET || !session.wait(STEP) {
            break;
        }
    }
    Ok(())
}

/// The longest hold: no longer than twice what the last reading took, and never longer than what an app is asked to bear.
fn longest(session: &Session<'_>) -> Duration {
    session.patience.hold_commits.min(LEAST_HOLD.max(session.took.get() * 2))
}

fn laid_out<'i>(
    session: &Session<'i>,
    seen: &'i Seen<'_>,
    watch: Watch<'i>,
) -> Result<(Image<'i>, State), Impossible> {
    let size = seen.main.stamp.size;
    let Some((rollback, journal)) = seen.rollback.as_ref().zip(seen.there.journal.as_ref()) else {
        return Ok((Image::of_main(session.main, size, watch), State::Quiescent));
    };
    if session.kind == Kind::Opaque {
        return Ok((Image::of_main(session.main, size, watch), State::Paired { frames: 0 }));
    }
    let len = rolled_back_len(rollback, size);
    if len > size.saturating_add(journal.stamp.size).saturating_add(65536) {
        return Err(Impossible::Length);
    }
    let image = Image {
        main_len: size.min(len),
        laid_over: Some((journal.file.as_fd(), &rollback.overlay, rollback.page_size)),
        len,
        ..Image::of_main(session.main, size, watch)
    };
    let pages = u32::try_from(rollback.overlay.len()).unwrap_or(u32::MAX);
    Ok((image, State::RolledBack { pages }))
}

/// The length after a rollback of a main file of `size` bytes, as SQLite leaves it: less than a page is not added.
fn rolled_back_len(rollback: &Rollback, size: u64) -> u64 {
    let page = u64::from(rollback.page_size);
    let before = u64::from(rollback.pages) * page;
    let cut = if size > before || size + page <= before { before } else { size };
    let end = rollback.overlay.last().map_or(0, |last| u64::from(last) * page);
    cut.max(end)
}

/// How long to wait until a change of what the image rests on must show.
fn unsettled(session: &Session<'_>, seen: &Seen<'_>) -> Option<Duration> {
    let clock = session.patience.clock(seen.now);
    let journal = seen.there.journal.as_ref().filter(|_| seen.rollback.is_some());
    let journal = journal.and_then(|journal| journal.stamp.unsettled(seen.now, clock));
    seen.main.stamp.unsettled(seen.now, clock).max(journal)
}

/// Looks once more: first for a journal, last at the main file.
fn is_same(session: &Session<'_>, seen: &Seen<'_>) -> Result<bool, Trouble> {
    let checks = session.patience.checks;
    let journal = session.open(Sidecar::Journal)?;
    let is_same = match (&seen.rollback, &seen.there.journal) {
        (Some(_), Some(before)) => journal.is_some_and(|now| now.stamp == before.stamp),
        // A transaction that was cut off meanwhile: how far it came is not known.
        _ => match journal {
            Some(journal) => session.rollback(&journal, seen.page_size)?.0.is_none(),
            None => true,
        },
    };
    Ok(!checks.times || is_same && Look::at(session.main)? == seen.main)
}
