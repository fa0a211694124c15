//! When the time stamps of a file prove that it did not change: one rule for all who rely on them.

use super::Timestamp;

/// A change so shortly before a reading may be followed by another one with the same stamps, in seconds: file systems
/// with whole seconds, or every other one, are in use.
const MARGIN_SECS: i64 = 2;
/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;

/// The clock that stamps the files of a file system, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampClock {
    /// This machine's.
    Ours,
    /// That of a server or a phone, which may be behind ours by any time. It was at least here when the run began to read:
    /// the latest stamp that the run saw.
    Theirs(Option<Timestamp>),
}

impl StampClock {
    /// The same clock after so many nanoseconds: however far it is behind, it goes as ours does.
    #[must_use]
    pub fn later(self, nanos: i128) -> Self {
        let Self::Theirs(Some(latest)) = self else { return self };
        let nanos = latest.as_nanos() + nanos.max(0);
        let secs = i64::try_from(nanos.div_euclid(SECOND)).unwrap_or(i64::MAX);
        Self::Theirs(Some(Timestamp::new(secs, u32::try_from(nanos.rem_euclid(SECOND)).unwrap_or(0))))
    }

    /// True if every change after `now` (by our clock) shows in the stamps of a file that has these.
    #[must_use]
    pub fn is_settled(self, now: Timestamp, mtime: Timestamp, ctime: Timestamp) -> bool {
        match self {
            // A time that somebody set to the future does not hide a change, because that sets it to the present.
            Self::Ours => is_before(ctime, now) && (is_before(mtime, now) || is_behind(mtime, now)),
            Self::Theirs(None) => false,
            Self::Theirs(Some(latest)) => {
                // What is exactly on the edge may be cut off to it.
                let is_past = |time| is_before(time, latest) && time != moved(latest, -MARGIN_SECS);
                is_past(ctime) && is_past(mtime)
            }
        }
    }
}

fn moved(time: Timestamp, secs: i64) -> Timestamp {
    Timestamp { secs: time.secs.saturating_add(secs), nanos: time.nanos }
}

fn is_before(time: Timestamp, now: Timestamp) -> bool {
    time <= moved(now, -MARGIN_SECS)
}

fn is_behind(time: Timestamp, now: Timestamp) -> bool {
    time > moved(now, MARGIN_SECS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::new(secs, 5)
    }

    #[test]
    fn by_our_clock_what_changed_within_two_seconds_is_not_settled() {
        let settled = |now, mtime, ctime| StampClock::Ours.is_settled(now, at(mtime), at(ctime));
        assert!(settled(at(12), 10, 10) && settled(at(13), 10, 10));
        assert!(!settled(Timestamp::new(12, 4), 10, 10) && !settled(at(10), 10, 10));
        assert!(settled(at(12), 99, 10), "a time that was set to the future");
        assert!(!settled(at(12), 10, 99) && !settled(at(12), 13, 10));
    }

    #[test]
    fn by_another_clock_only_what_lies_before_its_latest_stamp_is_settled() {
        let settled = |latest: Option<i64>, mtime, ctime| {
            StampClock::Theirs(latest.map(at)).is_settled(at(1_000_000), at(mtime), at(ctime))
        };
        assert!(!settled(None, 10, 10), "nothing is known of that clock");
        assert!(settled(Some(13), 10, 10) && settled(Some(13), 5, 10));
        assert!(!settled(Some(12), 10, 10) && !settled(Some(12), 5, 10) && !settled(Some(12), 10, 5));
        assert!(!settled(Some(10), 10, 10) && !settled(Some(10), 11, 5));
        let clock = StampClock::Theirs(Some(at(10)));
        assert_eq!(clock.later(2_000_000_001), StampClock::Theirs(Some(Timestamp::new(12, 6))));
        assert!(clock.later(2_000_000_001).is_settled(at(99), at(10), at(10)));
        assert!(!clock.later(2_000_000_000).is_settled(at(99), at(10), at(10)));
        assert_eq!((clock.later(-5), StampClock::Ours.later(5)), (clock, StampClock::Ours));
    }
}
