//! A database without a log that counts: its own bytes, or those with the original pages of a cut-off transaction.
//!
//! Who writes into the main file has SHARED exclusively, so a reader's lock would keep the app's commits waiting for as
//! long as the reading takes. Instead it is taken for a moment before and after: before, the main file is in a committed
//! state (or a journal says how to get back to it), and if afterwards size, times and first page are the same, it was not
//! written to between. A transaction that spilled pages and rolled back shows in the times, and only there. If that fails
//! several times, the lock is held.

use super::super::image::{Image, Watch};
use super::super::journal::Rollback;
use super::outcome::{Failed, Impossible, Sidecar, State, Trouble};
use super::stamp::Look;
use super::{Limit, Reading, Seen, Session};
use std::os::fd::AsFd;
use std::time::Duration;

/// After that, a change shows in the times of a file that is changed now.
pub(super) const TICK: Duration = Duration::from_millis(25);

/// Reads the database; `None` if it may have changed meanwhile.
pub(super) fn read<T, E>(
    session: &Session<'_>,
    mut seen: Seen<'_>,
    read: &mut dyn FnMut(&Image<'_>) -> Result<T, E>,
) -> Result<Option<Reading<T>>, Failed<E>> {
    let patience = session.patience;
    let is_held = seen.hold.is_some() && session.refused.get() >= patience.unlocked_reads;
    if !is_held {
        seen.hold = None;
        if !is_settled(&seen) {
            (patience.pause)(TICK);
            return Ok(None);
        }
    }
    let limit = Limit::new(patience, seen.now, if is_held { patience.hold_commits } else { Duration::MAX });
    let watch = || limit.check();
    let (image, state) = laid_out(session, &seen, &watch).map_err(Failed::Impossible)?;
    let result = session.run(&image, read);
    if limit.is_over.get() {
        return Err(Failed::Impossible(Impossible::HeldTooLong));
    }
    if !is_same(session, &seen).map_err(Trouble::widen)? {
        return Ok(None);
    }
    let value = result.map_err(Failed::Read)?;
    let page_size = seen.rollback.as_ref().map(|rollback| rollback.page_size).or(seen.page_size);
    Ok(Some(Reading { value, state, len: image.len, page_size, sidecars: seen.there.sizes() }))
}

fn laid_out<'i>(
    session: &Session<'i>,
    seen: &'i Seen<'_>,
    watch: Watch<'i>,
) -> Result<(Image<'i>, State), Impossible> {
    let size = seen.main.stamp.size;
    let Some((rollback, journal)) = seen.rollback.as_ref().zip(seen.there.journal.as_ref()) else {
        let image = Image { main: session.main, main_len: size, laid_over: None, len: size, watch };
        return Ok((image, State::Quiescent));
    };
    let len = rolled_back_len(rollback, size);
    if len > size.saturating_add(journal.stamp.size).saturating_add(65536) {
        return Err(Impossible::Length);
    }
    let image = Image {
        main: session.main,
        main_len: size.min(len),
        laid_over: Some((journal.file.as_fd(), &rollback.overlay, rollback.page_size)),
        len,
        watch,
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

/// True if a change of what the image rests on would show.
fn is_settled(seen: &Seen<'_>) -> bool {
    let journal = seen.there.journal.as_ref().filter(|_| seen.rollback.is_some());
    seen.main.stamp.is_settled(seen.now) && journal.is_none_or(|journal| journal.stamp.is_settled(seen.now))
}

/// Looks once more, under the lock if there is one: nobody is in the middle of writing.
fn is_same(session: &Session<'_>, seen: &Seen<'_>) -> Result<bool, Trouble> {
    let again = if seen.hold.is_none() { session.hold()? } else { None };
    let is_same = Look::at(session.main)? == seen.main;
    let journal = session.open(Sidecar::Journal)?;
    let is_same = is_same
        && match (&seen.rollback, &seen.there.journal) {
            (Some(_), Some(before)) => journal.is_some_and(|now| now.stamp == before.stamp),
            // A transaction that was cut off meanwhile: how far it came is not known.
            _ => journal.map_or(Ok(None), |journal| session.rollback(&journal, seen.page_size))?.is_none(),
        };
    drop(again);
    Ok(is_same)
}
