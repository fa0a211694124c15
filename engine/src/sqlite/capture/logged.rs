//! A database with a write-ahead log: the main file with the committed frames laid over it.
//!
//! M is the last commit that was published before the log was read. Pages that have a frame up to M come from the log, all
//! others from the main file. A checkpoint writes only pages that have a frame up to `attempted`, and raises that number in
//! the index before it writes; within one generation of the log (one pair of salts) the number only grows. So the image is
//! sound if, after the last reading, the log is of the same generation and `attempted` is not beyond M: then nothing was
//! written to the main file but pages that come from the log. The frames up to M are written over only by another
//! generation.
//!
//! The index is believed only while somebody has the database open and shares it. If nobody has, if there is none, or if
//! somebody has the main file exclusively (and so keeps an index of its own), main file and log must not have been touched
//! at all.
//!
//! If nothing of the log counts, the image is the main file. That the main file was not touched is then enough: whoever
//! begins a log, or cuts it, has written everything back before.

use super::super::image::{Image, Watch};
use super::super::wal::{Log, Until};
use super::hold::IndexHold;
use super::index::{Index, checkpoints};
use super::locks::{ALIVE, RECOVERY};
use super::outcome::{Failed, Impossible, Kind, PairedLog, Sidecar, State, Trouble};
use super::stamp::{Look, Stamp};
use super::{Attempt, Limit, Opened, Reading, Seen, Session, still};
use std::io;
use std::os::fd::AsFd;

/// A log as far as it counts, and what proves that.
struct Ground<'s> {
    hold: Option<IndexHold<'s>>,
    main: Look,
    /// The index as it was before the log was read, where it is believed.
    index: Option<Index>,
    log: Log,
}

/// Reads the database.
pub(super) fn read<T, E>(
    session: &Session<'_>,
    seen: &Seen<'_>,
    wal: &Opened,
    read: &mut dyn FnMut(&Image<'_>) -> Result<T, E>,
) -> Result<Attempt<T>, Failed<E>> {
    let ground = match ground(session, seen, wal).map_err(Trouble::widen)? {
        Ok(ground) => ground,
        Err(attempt) => return Ok(attempt.widen()),
    };
    if session.kind == Kind::Opaque && ground.log.frames > 0 {
        return read_pair(session, seen, wal, ground, read);
    }
    let hold = ground.hold.as_ref();
    let patience = session.patience;
    let limit = Limit::new(patience, hold.map(|hold| (hold.since(), patience.hold_checkpoints)));
    let watch = || {
        hold.inspect(|hold| hold.step_aside());
        limit.check()
    };
    let Some((image, state)) = laid_out(session, wal, &ground, &watch).map_err(Trouble::widen)? else {
        return Ok(Attempt::Changed);
    };
    let result = session.run(&image, read);
    if limit.is_over.get() {
        return Err(Failed::Impossible(Impossible::HeldTooLong));
    }
    if image.is_cut.get() || !is_proved(session, seen, wal, &ground).map_err(Trouble::widen)? {
        return Ok(Attempt::Changed);
    }
    let value = result.map_err(Failed::Read)?;
    let page_size = ground.log.page_size.or(seen.page_size);
    Ok(Attempt::Done(Reading {
        value,
        log: None,
        state,
        len: image.len,
        page_size,
        sidecars: seen.there.sizes(),
        has_damaged_log: ground.log.is_damaged,
    }))
}

/// Reads main file and log one after the other, where only the app knows how to put them together. M is then the last
/// commit in the log as it was read, and the later the better: a checkpoint may have come so far while the main file was
/// read. What comes behind M is left out.
fn read_pair<T, E>(
    session: &Session<'_>,
    seen: &Seen<'_>,
    wal: &Opened,
    Ground { hold, main, index, log: before }: Ground<'_>,
    read: &mut dyn FnMut(&Image<'_>) -> Result<T, E>,
) -> Result<Attempt<T>, Failed<E>> {
    let patience = session.patience;
    let limit = Limit::new(patience, hold.as_ref().map(|hold| (hold.since(), patience.hold_checkpoints)));
    let watch = || {
        hold.as_ref().inspect(|hold| hold.step_aside());
        limit.check()
    };
    let image = Image::of_main(session.main, main.stamp.size, &watch);
    let result = session.run(&image, read);
    let Some(log) = log_after(session, seen, wal, (index.is_some(), &before)).map_err(Trouble::widen)? else {
        return Ok(Attempt::Changed);
    };
    let (frames, page_size) = (log.frames, log.page_size);
    // What lies behind a damage is kept: the app may know more than SQLite does.
    let size = Stamp::of(wal.file.as_fd()).map_err(|e| Failed::Io(Some(Sidecar::Wal), e))?.size;
    let len = if log.is_damaged { size.max(log.len()) } else { log.len() };
    let log_image = Image::of_log(wal.file.as_fd(), len, &watch);
    let log_result = session.run(&log_image, read);
    if limit.is_over.get() {
        return Err(Failed::Impossible(Impossible::HeldTooLong));
    }
    let is_cut = image.is_cut.get() || log_image.is_cut.get();
    let ground = Ground { hold: None, main, index, log };
    if is_cut || !is_proved(session, seen, wal, &ground).map_err(Trouble::widen)? {
        return Ok(Attempt::Changed);
    }
    let value = result.map_err(Failed::Read)?;
    let paired = PairedLog { sidecar: Sidecar::Wal, value: log_result.map_err(Failed::Read)?, len };
    Ok(Attempt::Done(Reading {
        value,
        log: Some(paired),
        state: State::Paired { frames },
        len: image.len,
        page_size,
        sidecars: seen.there.sizes(),
        // Its raw log is stored as it is.
        has_damaged_log: false,
    }))
}

/// The log after the main file was read; `None` if it was begun anew meanwhile.
fn log_after(
    session: &Session<'_>,
    seen: &Seen<'_>,
    wal: &Opened,
    (is_believed, before): (bool, &Log),
) -> Result<Option<Log>, Trouble> {
    let until = match index_now(session, seen) {
        _ if !is_believed => None,
        Ok(Some(index)) => Some(until(index)),
        Ok(None) => return Ok(None),
        Err(e) => return Err(e),
    };
    let log = log(wal, until.as_ref())?;
    Ok(Some(log).filter(|log| log.salts() == before.salts() && log.frames >= before.frames))
}

/// Looks at the index, then at the log. Not yet, if the index is in the middle of a change, or if a change of what is
/// proved by its times would not show yet.
fn ground<'s>(
    session: &'s Session<'s>,
    seen: &'s Seen<'_>,
    wal: &Opened,
) -> Result<Result<Ground<'s>, Attempt<()>>, Trouble> {
    let shm = seen.there.shm.as_ref().map(|shm| shm.file.as_fd());
    let is_last_resort = session.refused.get() >= session.patience.unlocked_reads;
    let hold = match shm {
        Some(shm) if is_last_resort => IndexHold::take(session, shm)?,
        _ => None,
    };
    // Under the locks: a checkpoint may have run until we had them.
    let main = if hold.is_some() { Look::at(session.main)? } else { seen.main.clone() };
    let index = match shm {
        // One that is being rebuilt is not believed: then main file and log must not be touched.
        Some(shm) if seen.is_alive && !seen.is_exclusive => tried(|| Index::read(shm))?,
        _ => None,
    };
    let until = index.map(until);
    let log = log(wal, until.as_ref())?;
    if index.is_some_and(|index| index.max_frame > 0 && log.salts() != Some(index.salts)) {
        // Begun anew between the two, or its header is being written.
        return Ok(Err(Attempt::Changed));
    }
    let ground = Ground { hold, main, index, log };
    Ok(match ground.unsettled(session, seen, wal) {
        Some(wait) => Err(still::not_settled(session, wait)),
        None => Ok(ground),
    })
}

/// How far a log goes by the word of its index.
fn until(index: Index) -> Until {
    Until { salts: index.salts, frames: index.max_frame, pages: index.pages, page_size: index.page_size }
}

impl Ground<'_> {
    /// How long to wait until a change of what is proved by its times must show.
    fn unsettled(&self, session: &Session<'_>, seen: &Seen<'_>, wal: &Opened) -> Option<std::time::Duration> {
        let clock = session.patience.clock(seen.now);
        let main = || self.main.stamp.unsettled(seen.now, clock);
        match self.index {
            _ if self.log.frames == 0 && !self.log.is_damaged => main(),
            Some(_) => None,
            None => main().max(wal.stamp.unsettled(seen.now, clock)),
        }
    }
}

/// The committed frames of a log.
pub(super) fn log(wal: &Opened, until: Option<&Until>) -> Result<Log, Trouble> {
    Log::read(wal.file.as_fd(), until).map_err(|why| Trouble::of(Sidecar::Wal, why))
}

/// `None` if the main file is being cut just now.
fn laid_out<'i>(
    session: &Session<'i>,
    wal: &'i Opened,
    ground: &'i Ground<'_>,
    watch: Watch<'i>,
) -> Result<Option<(Image<'i>, State)>, Trouble> {
    let Ground { main, log, .. } = ground;
    let size = main.stamp.size;
    let damaged_log = log.is_damaged.then(|| (wal.file.as_fd(), wal.stamp.size));
    let own = Image { damaged_log, ..Image::of_main(session.main, size, watch) };
    let Some(page_size) = log.page_size.filter(|_| log.frames > 0) else {
        return Ok(Some((own, State::Quiescent)));
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
        Kind::Plain => match image.header() {
            Err(_) if image.is_cut.get() => return Ok(None),
            header => header?.is_some_and(|header| header.page_size != page_size),
        },
        Kind::Encrypted => !size.is_multiple_of(bytes),
        // Without frames that count nothing is laid over it.
        Kind::Opaque => false,
    };
    if is_other {
        return Err(Impossible::LogPageSize.into());
    }
    // SQLite refuses such a log in the same way: the pages must have come from somewhere.
    if size.saturating_add(65536 + u64::from(log.frames) * bytes) < len {
        return Err(Impossible::Length.into());
    }
    Ok(Some((image, State::Merged { frames: log.frames })))
}

/// True if the image that was read is the state of the commit M. Everything here is asked after the last reading, and of
/// a time in which nothing was known to be read anew: the names come last, because by them it is known that the index, the
/// log and the main file that were asked are still those of the app.
fn is_proved(
    session: &Session<'_>,
    seen: &Seen<'_>,
    wal: &Opened,
    ground: &Ground<'_>,
) -> Result<bool, Trouble> {
    let checks = session.patience.checks;
    let is_same_main = || Ok::<_, Trouble>(!checks.times || Look::at(session.main)? == ground.main);
    let is_proved = match ground.index {
        // Nothing of the log was used.
        _ if ground.log.frames == 0 && !ground.log.is_damaged => is_same_main()?,
        Some(before) => {
            let is_shared = is_alive(session, seen) && !session.is_exclusive();
            let Some(now) = index_now(session, seen)? else { return Ok(false) };
            let is_sound = fits(session, &now, ground);
            let is_same_log = !checks.generation || ground.log.is_unchanged(wal.file.as_fd())?;
            let was_written_back = now.backfilled > before.backfilled;
            is_shared && is_sound && is_same_log && (was_written_back || is_same_main()?)
        }
        None => {
            let is_same_log = ground.log.is_unchanged(wal.file.as_fd())?;
            let now = Stamp::of(wal.file.as_fd())?;
            let is_same_log = !checks.times || is_same_log && now == wal.stamp;
            is_same_log && is_same_main()? && nobody_came(session, seen)?
        }
    };
    if !is_proved {
        return Ok(false);
    }
    if !session.leads_to(None, ground.main.stamp)? {
        return Err(Failed::Replaced);
    }
    let is_log = ground.log.frames == 0 && !ground.log.is_damaged
        || session.leads_to(Some(Sidecar::Wal), wal.stamp)?;
    let is_index = match &seen.there.shm {
        Some(shm) if ground.index.is_some() && ground.log.frames > 0 => {
            session.leads_to(Some(Sidecar::Shm), shm.stamp)?
        }
        _ => true,
    };
    Ok(is_log && is_index)
}

/// True if this index, asked after the last reading, says that the frames up to M are there and that no later one was
/// written back.
fn fits(session: &Session<'_>, now: &Index, ground: &Ground<'_>) -> bool {
    let (checks, log) = (session.patience.checks, &ground.log);
    let is_same_generation = log.salts() == Some(now.salts) && now.max_frame >= log.frames;
    (!checks.generation || is_same_generation)
        && Some(now.page_size) == log.page_size
        && (!checks.checkpoints || now.attempted <= log.frames)
}

/// The index after the reading; `None` if it is being changed or rebuilt.
///
/// Whoever rebuilds it writes the header first and then how far checkpoints had tried to come. So it is asked whether
/// somebody does, and then these numbers are read again.
fn index_now(session: &Session<'_>, seen: &Seen<'_>) -> Result<Option<Index>, Trouble> {
    let Some(shm) = seen.there.shm.as_ref().map(|shm| shm.file.as_fd()) else { return Ok(None) };
    let Some(index) = tried(|| Index::read(shm))? else { return Ok(None) };
    if session.asked(session.patience.locks.is_exclusive(shm, RECOVERY)) {
        return Ok(None);
    }
    let attempted = checkpoints(shm)?.map(|(_, attempted)| index.attempted.max(attempted));
    Ok(attempted.map(|attempted| Index { attempted, ..index }))
}

/// Looks a few times: while a commit is published, the two copies of the header differ for a moment.
fn tried<T>(mut look: impl FnMut() -> io::Result<Option<T>>) -> io::Result<Option<T>> {
    for _ in 0..3 {
        let seen = look()?;
        if seen.is_some() {
            return Ok(seen);
        }
    }
    Ok(None)
}

fn is_alive(session: &Session<'_>, seen: &Seen<'_>) -> bool {
    seen.there.shm.as_ref().is_some_and(|shm| session.is_held(shm.file.as_fd(), ALIVE))
}

/// True if the database is as much in use, or as little, as before the reading, and no journal has come.
fn nobody_came(session: &Session<'_>, seen: &Seen<'_>) -> Result<bool, Trouble> {
    let shm_now = session.open(Sidecar::Shm)?.is_some();
    let journal = match session.open(Sidecar::Journal)? {
        Some(journal) => session.rollback(&journal, seen.page_size)?.0.is_none(),
        None => true,
    };
    let is_same = shm_now == seen.there.shm.is_some() && is_alive(session, seen) == seen.is_alive;
    Ok(!session.patience.checks.times || is_same && journal)
}
