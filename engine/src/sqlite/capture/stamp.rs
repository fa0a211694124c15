//! What the file system says of a file, by which a change shows.

use super::super::read_full;
use crate::base::{StampClock, Timestamp};
use rustix::fs::fstat;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// The kernel takes the time of a change from a clock that ticks every 1 to 10 milliseconds: two changes within a tick may
/// get the same time. Twice the longest tick is on the safe side.
const TICK: i128 = 20_000_000;
/// The same for a file system that counts whole seconds, or every other one.
const COARSE: i128 = 2_000_000_000;
/// What is waited beyond that.
const SPARE: i128 = 5_000_000;
/// Bytes of the main file's start that are compared: they hold the change counter, and of an encrypted database so much of
/// the first page that a new encryption of it shows.
const START: usize = 512;

/// Two equal stamps of a file that was settled at the first: it was not written to between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Device and inode.
    pub identity: (u64, u64),
    /// Bytes of the file.
    pub size: u64,
    /// Names of the file.
    pub names: u64,
    mtime: Timestamp,
    ctime: Timestamp,
}

impl Stamp {
    pub fn of(file: BorrowedFd<'_>) -> io::Result<Self> {
        let raw = fstat(file)?;
        let time = |secs, nanos: i128| Timestamp::new(secs, u32::try_from(nanos).unwrap_or(0));
        Ok(Self {
            identity: (raw.st_dev, raw.st_ino),
            size: u64::try_from(raw.st_size).unwrap_or(0),
            names: widen(raw.st_nlink),
            mtime: time(raw.st_mtime, raw.st_mtime_nsec.into()),
            ctime: time(raw.st_ctime, raw.st_ctime_nsec.into()),
        })
    }

    /// True if a change from `now` on must show in the times. A time in the future hides none: a change sets the present.
    #[cfg(test)]
    pub fn is_settled(&self, now: Timestamp) -> bool {
        self.unsettled(now, StampClock::Ours).is_none()
    }

    /// Nanoseconds since the last change of the content, as far as the times tell.
    pub fn age(&self, now: Timestamp) -> i128 {
        now.as_nanos() - self.mtime.as_nanos().max(self.ctime.as_nanos())
    }

    /// How long to wait from `now` on until a change must show in the times; `None` if it would show already.
    pub fn unsettled(&self, now: Timestamp, clock: StampClock) -> Option<Duration> {
        if clock != StampClock::Ours {
            let wait = || Duration::from_nanos(u64::try_from(COARSE + SPARE).unwrap_or(0));
            return (!clock.is_settled(now, self.mtime, self.ctime)).then(wait);
        }
        let left = [self.mtime, self.ctime].into_iter().filter_map(|time| {
            let margin = if time.nanos == 0 { COARSE } else { TICK };
            let age = now.as_nanos() - time.as_nanos();
            (age.abs() <= margin).then(|| margin - age + SPARE)
        });
        left.max().map(|nanos| Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    }
}

/// The width of this field differs between processors.
fn widen(number: impl Into<u64>) -> u64 {
    number.into()
}

/// A main file at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What the file system says.
    pub stamp: Stamp,
    /// Its first bytes.
    pub start: Vec<u8>,
}

impl Look {
    pub fn at(main: BorrowedFd<'_>) -> io::Result<Self> {
        let stamp = Stamp::of(main)?;
        let mut start = vec![0; START];
        let count = read_full(main, &mut start, 0)?;
        start.truncate(count);
        Ok(Self { stamp, start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_stamp_is_settled_when_a_change_would_show() {
        let file = tempfile::tempfile().unwrap();
        let stamp = |secs, nanos| {
            let time = Timestamp::new(secs, nanos);
            Stamp { mtime: time, ctime: time, ..Stamp::of(file.as_fd()).unwrap() }
        };
        let now = Timestamp::new(1000, 50_000_000);
        for (settled, secs, nanos) in [
            (true, 999, 1),
            (true, 1000, 29_999_999),
            (false, 1000, 30_000_000),
            (false, 1000, 50_000_000),
            (false, 1000, 70_000_000),
            (true, 1000, 70_000_001),
            (true, 2000, 1),
            (false, 1000, 0),
            (false, 999, 0),
            (true, 998, 0),
        ] {
            assert_eq!(stamp(secs, nanos).is_settled(now), settled, "{secs} s {nanos} ns");
        }
        let wait =
            |secs, nanos| stamp(secs, nanos).unsettled(now, StampClock::Ours).map(|wait| wait.as_millis());
        assert_eq!(
            (wait(1000, 50_000_000), wait(1000, 40_000_000), wait(1000, 60_000_000)),
            (Some(25), Some(15), Some(35))
        );
        assert_eq!((wait(999, 0), wait(999, 1)), (Some(955), None));
        let earlier = Timestamp::new(5, 5);
        let touched = Stamp { mtime: earlier, ..stamp(1000, 40_000_000) };
        assert!(!touched.is_settled(now), "a program can set the one time, and not the other");
        let theirs = |secs| StampClock::Theirs(Some(Timestamp::new(secs, 0)));
        let old = stamp(500, 0);
        assert!(old.is_settled(now), "by our clock, which may be ahead of theirs");
        assert_eq!(old.unsettled(now, theirs(500)).map(|wait| wait.as_millis()), Some(2005));
        assert_eq!(old.unsettled(now, theirs(503)), None);
    }
}
