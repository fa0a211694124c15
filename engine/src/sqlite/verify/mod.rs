//! L2: does SQLite find a stored image of a database sound? (`docs/sqlite-integrity.md`)
//!
//! SQLite never opens a file of a source, nor one that has a name: the image is written into a private copy, a file that
//! SQLite opened while it was empty and whose name was removed at once. What a database says is hostile: it can make a
//! check fail or give up, and nothing else.

mod checker;
mod left;
mod modules;
mod pages;
mod schema;

#[cfg(test)]
mod app_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

use crate::base::{Cancel, Error, Kind, Result, Timestamp, WarningKind};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The first SQLite without the race that can damage a database in WAL mode (there since 3.7.0).
const OLDEST_SQLITE: i32 = 3_051_003;

/// Where the header says how the file is to be written and read: 1 for a rollback journal, 2 for a WAL.
const MODES: std::ops::Range<u64> = 18..20;

/// Longest time that SQLite should be given to check one database.
pub const CHECK_AT_MOST: Duration = Duration::from_mins(15);

/// Once the checks of a run have taken so long in sum, whichever threads they ran on, no further one begins: with hostile
/// databases in great number a run would not end otherwise.
pub const CHECKS_AT_MOST: Duration = Duration::from_hours(4);

/// The time that the checks of a run have taken.
#[derive(Debug, Default)]
pub struct CheckTime(Mutex<Duration>);

impl CheckTime {
    fn spent(&self) -> MutexGuard<'_, Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks a copy as [`PrivateCopy::check`] does, unless [`CHECKS_AT_MOST`] is over.
    #[must_use]
    pub fn check(&self, copy: PrivateCopy, which: Integrity, limits: &CheckLimits) -> Verdict {
        if *self.spent() >= CHECKS_AT_MOST {
            return Verdict::NotChecked("the checks of this run have taken four hours in sum".to_owned());
        }
        let started = (limits.clock)();
        let verdict = copy.check(which, limits);
        let taken = (limits.clock)().as_nanos().saturating_sub(started.as_nanos());
        // A machine that slept, or whose clock was set, took no longer than was allowed.
        let taken = Duration::from_nanos(u64::try_from(taken).unwrap_or(0));
        *self.spent() += taken.min(limits.at_most);
        verdict
    }
}

/// How much of a database is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Integrity {
    /// The pages, the b-trees, and the records of every table.
    #[default]
    Quick,
    /// The same, and that every index holds what its table says.
    Full,
    /// Nothing.
    None,
}

/// What a check found. All texts are clean for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No damage was found; there may be something to tell all the same, a clause each.
    Sound {
        /// What could not be looked at, because only the app knows how; empty for nearly every database.
        left_out: Vec<String>,
        /// Values that their tables do not allow, in SQLite's words: a fault of the app, in a sound file.
        odd_values: Vec<String>,
    },
    /// It is damaged: the first few findings, in SQLite's words.
    Failed(Vec<String>),
    /// Nothing is known: the reason, a clause without a capital and a full stop.
    NotChecked(String),
}

/// What people should know of a database that was found sound, from the two parts of [`Verdict::Sound`]: a sentence each.
#[must_use]
pub fn remarks(left_out: &[String], odd_values: &[String]) -> Vec<(WarningKind, String)> {
    let mut remarks = Vec::new();
    let mut remark = |kind, sentence: &str, what: &[String]| {
        if !what.is_empty() {
            remarks.push((kind, format!("{sentence}: {}", what.join("; "))));
        }
    };
    let incomplete = "SQLite finds this database sound, but could not look at all of it; left out";
    remark(WarningKind::IntegrityIncomplete, incomplete, left_out);
    let odd =
        "The file of this database is sound, but its app has put values into it that its tables do not allow";
    remark(WarningKind::OddValues, odd, odd_values);
    remarks
}

/// What ends a check early.
#[derive(Clone)]
pub struct CheckLimits {
    /// The clock.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Longest time that a check may take; the writing of the copy does not count.
    pub at_most: Duration,
    /// The user's wish to stop.
    pub cancel: Cancel,
}

impl fmt::Debug for CheckLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckLimits").field("at_most", &self.at_most).finish_non_exhaustive()
    }
}

/// An image that only this process can read, and that is gone with it.
///
/// It never stands in the way of what it is a copy of: a failure to write it is remembered, and is the verdict.
#[derive(Debug)]
pub struct PrivateCopy {
    state: std::result::Result<Open, String>,
    /// Where [`Write`] goes on.
    at: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Each reads the file anew: the second one for what is changed for the check.
    connections: Box<[Connection; 2]>,
    /// The bytes of [`MODES`] as the image has them.
    modes: [u8; 2],
}

impl PrivateCopy {
    /// An empty copy in a folder that nobody else can write to.
    #[must_use]
    pub fn new_in(dir: &Path) -> Self {
        let state =
            open(dir).map_err(|why| format!("no private copy can be made in the cache folder: {why}"));
        Self { state, at: 0 }
    }

    /// A copy that cannot be made, for this reason: it is never checked.
    #[must_use]
    pub fn impossible(why: &str) -> Self {
        Self { state: Err(format!("no private copy can be made: {why}")), at: 0 }
    }

    /// Tells how long the image will be, as far as is known: a disk that has no room for it then shows before
    /// anything is written.
    pub fn expect_len(&mut self, len: u64) {
        let Ok(open) = &self.state else { return };
        match fallocate(&open.file, FallocateFlags::KEEP_SIZE, 0, len).map_err(io::Error::from) {
            Err(e) if is_full(&e) => self.give_up(&e),
            // Some file systems cannot do it: then a full disk shows when it is full.
            _ => {}
        }
    }

    /// Writes a part of the image. Large parts are faster.
    pub fn write_at(&mut self, at: u64, bytes: &[u8]) {
        let Ok(open) = &mut self.state else { return };
        if let Err(e) = open.write_at(at, bytes) {
            self.give_up(&e);
        }
    }

    /// Forgets the copy, and with it the room that it takes.
    fn give_up(&mut self, e: &io::Error) {
        let why = if is_full(e) { "the disk of the cache folder is full".to_owned() } else { e.to_string() };
        self.state = Err(format!("the private copy cannot be written: {why}"));
    }

    /// Asks SQLite what it thinks of the image. May be called from any thread; holds some 20 MiB at most.
    #[must_use]
    pub fn check(self, which: Integrity, limits: &CheckLimits) -> Verdict {
        let full = match which {
            Integrity::Quick => false,
            Integrity::Full => true,
            Integrity::None => return Verdict::NotChecked("integrity checks are switched off".to_owned()),
        };
        match self.state {
            Ok(open) => checker::check(*open.connections, &open.file, full, limits).0,
            Err(why) => Verdict::NotChecked(why),
        }
    }
}

impl Write for PrivateCopy {
    /// Never fails: see [`PrivateCopy`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_at(self.at, bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Open {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        if at >= MODES.end || at + (bytes.len() as u64) <= MODES.start {
            return Ok(());
        }
        // SQLite would want a log beside the copy, which has no name. All that was in one is in the image.
        for (position, mode) in MODES.zip(&mut self.modes) {
            let byte = position.checked_sub(at).and_then(|i| bytes.get(usize::try_from(i).ok()?));
            *mode = byte.copied().unwrap_or(*mode);
        }
        let modes = self.modes.map(|mode| if mode == 2 { 1 } else { mode });
        self.file.write_all_at(&modes, MODES.start)
    }
}

fn is_full(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Makes the file, lets SQLite open it, and takes its name away, all while it is empty.
fn open(dir: &Path) -> std::result::Result<Open, String> {
    let path = dir.join(left::new_name());
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default();
    let made = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(&path);
    let file = made.map_err(|e| e.to_string())?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = [0, 1].map(|_| Connection::open_with_flags(uri(&path), flags));
    fs::remove_file(&path).map_err(|e| e.to_string())?;
    let [first, second] = opened.map(|opened| opened.map_err(|e| e.to_string()));
    left::remove(dir, &file);
    Ok(Open { file, connections: Box::new([first?, second?]), modes: [0; 2] })
}

/// The path as SQLite reads it. `nolock`: nobody else can open a file without a name. (`immutable` would be wrong: with
/// it SQLite takes the size that the file has when it is opened for good.)
fn uri(path: &Path) -> String {
    let mut uri = if path.is_absolute() { "file://".to_owned() } else { "file:".to_owned() };
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?mode=ro&nolock=1"
}

/// Fails if the SQLite of this program is one that can damage a database in WAL mode.
pub fn assert_version() -> Result<()> {
    accept(rusqlite::version_number(), rusqlite::version())
}

fn accept(number: i32, version: &str) -> Result<()> {
    if number >= OLDEST_SQLITE {
        return Ok(());
    }
    let why = "versions before 3.51.3 can damage a database in WAL mode; build with the SQLite that comes with rusqlite";
    Err(Error::new(Kind::Internal, "use", format!("SQLite {version}")).because(why))
}
