//! Which snapshot is meant.

use crate::base::id::to_hex;
use crate::base::path::clean;
use crate::base::{Error, Kind, Result, Timestamp};
use crate::browse::narrow::SnapshotFilter;
use crate::model::snapshot::BEFORE_RESTORE;
use crate::repo::Snapshot;

/// Most candidates that are named when an id fits several snapshots.
const MOST_CANDIDATES: usize = 10;

/// How a person names a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The last one by time, or the one so many before it.
    Latest {
        /// 0 for the last one.
        back: usize,
    },
    /// The one whose id begins with these hexadecimal digits.
    Prefix(String),
    /// The last one whose time is this or earlier.
    AtOrBefore(Timestamp),
}

/// Finds the snapshot that is meant. The order of `snapshots` does not matter; `now` is the caller's clock.
///
/// # Errors
/// [`Kind::NotFound`] if there is none; [`Kind::Ambiguous`] if an id fits several, whose cause lists them, one a line;
/// [`Kind::Usage`] for a time that has not come yet and for no digits at all.
pub fn select<'s>(snapshots: &'s [Snapshot], selector: &Selector, now: Timestamp) -> Result<&'s Snapshot> {
    select_among(snapshots, &SnapshotFilter::default(), selector, now)
}

/// Finds the snapshot that is meant among those that a filter admits, however it is named.
///
/// # Errors
/// As [`select`].
pub fn select_among<'s>(
    snapshots: &'s [Snapshot],
    filter: &SnapshotFilter,
    selector: &Selector,
    now: Timestamp,
) -> Result<&'s Snapshot> {
    let mut ordered: Vec<&Snapshot> = snapshots.iter().filter(|snapshot| filter.admits(snapshot)).collect();
    ordered.sort_by_key(|snapshot| (snapshot.manifest.time, snapshot.id));
    let Some(first) = ordered.first().copied() else {
        let why = match snapshots.len() {
            0 => "there is none in this repository".to_owned(),
            number => format!("none of the {number} in this repository is {}", filter.words()),
        };
        return Err(not_found("a snapshot", why));
    };
    match selector {
        Selector::Latest { back } => latest(&ordered, filter, *back),
        Selector::Prefix(prefix) => by_prefix(&ordered, prefix),
        Selector::AtOrBefore(time) => at_or_before(&ordered, first, *time, now),
    }
}

/// The last snapshot, or the one so many before it. Those that were only taken before a restore count where their tag
/// is asked for.
fn latest<'s>(ordered: &[&'s Snapshot], filter: &SnapshotFilter, back: usize) -> Result<&'s Snapshot> {
    let is_asked_for = |tag: &str| filter.tags.iter().flatten().any(|wanted| wanted == tag);
    let counts = |snapshot: &&&Snapshot| {
        is_asked_for(BEFORE_RESTORE) || !snapshot.tags.iter().any(|tag| tag == BEFORE_RESTORE)
    };
    let counted: Vec<&&Snapshot> = ordered.iter().filter(counts).collect();
    counted.iter().rev().nth(back).map(|snapshot| **snapshot).ok_or_else(|| {
        not_found(format!("the snapshot {back} before the last"), format!("there are only {}", counted.len()))
    })
}

fn not_found(what: impl Into<String>, why: impl Into<String>) -> Error {
    Error::new(Kind::NotFound, "find", what.into()).because(why.into())
}

fn by_prefix<'s>(ordered: &[&'s Snapshot], prefix: &str) -> Result<&'s Snapshot> {
    let wanted = prefix.to_ascii_lowercase();
    if wanted.is_empty() {
        return Err(Error::new(Kind::Usage, "find", "a snapshot").because("its id has no digits"));
    }
    let subject = format!("snapshot {}", clean(prefix.as_bytes()));
    let fitting: Vec<&'s Snapshot> = ordered
        .iter()
        .filter(|snapshot| to_hex(snapshot.id.as_bytes()).starts_with(&wanted))
        .copied()
        .collect();
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => {
            let digits = wanted.chars().all(|c| c.is_ascii_hexdigit());
            let why = if digits { "no id begins so" } else { "an id consists of the digits 0-9 and a-f" };
            Err(not_found(subject, why))
        }
        several => {
            let mut text = format!("{} ids begin so:", several.len());
            for snapshot in several.iter().take(MOST_CANDIDATES) {
                text.push('\n');
                text.push_str(&describe(snapshot, wanted.len()));
            }
            if several.len() > MOST_CANDIDATES {
                text.push_str("\n...");
            }
            Err(Error::new(Kind::Ambiguous, "choose", subject).because(text))
        }
    }
}

fn at_or_before<'s>(
    ordered: &[&'s Snapshot],
    first: &Snapshot,
    time: Timestamp,
    now: Timestamp,
) -> Result<&'s Snapshot> {
    let offset = first.manifest.utc_offset_minutes;
    if time > now {
        return Err(Error::new(Kind::Usage, "find", format!("the snapshot at {}", text_of(time, offset)))
            .because(format!("this time is still to come: now it is {}", text_of(now, offset))));
    }
    let behind = ordered.partition_point(|snapshot| snapshot.manifest.time <= time);
    behind.checked_sub(1).and_then(|at| ordered.get(at)).copied().ok_or_else(|| {
        not_found(
            format!("a snapshot at or before {}", text_of(time, offset)),
            format!("the first one is {}", describe(first, 0)),
        )
    })
}

/// A snapshot on one line: id, time, host, first path. The id is long enough to tell more than the prefix does.
fn describe(snapshot: &Snapshot, prefix_len: usize) -> String {
    let manifest = &snapshot.manifest;
    let id = snapshot.id.to_string();
    let short = id.get(..(prefix_len + 4).clamp(8, id.len())).unwrap_or(&id);
    let path = manifest.paths.first().map(ToString::to_string).unwrap_or_default();
    let time = text_of(manifest.time, manifest.utc_offset_minutes);
    format!("{short}  {time}  {}  {path}", clean(manifest.host.as_bytes()))
}

/// A time as RFC 3339 has it, to the second, at an offset from UTC in minutes. Years past 9999 keep all their digits.
///
/// Source of the algorithm: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn text_of(time: Timestamp, offset_minutes: i32) -> String {
    let offset = i64::from(offset_minutes.clamp(-1439, 1439));
    let secs = time.secs.saturating_add(offset * 60);
    let (days, second) = (secs.div_euclid(86_400) + 719_468, secs.rem_euclid(86_400));
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Counted from March, so that the day that may be missing is the last of the year.
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let sign = if offset < 0 { '-' } else { '+' };
    let (off_hour, off_minute) = (offset.abs() / 60, offset.abs() % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}{sign}{off_hour:02}:{off_minute:02}",
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SnapshotId, StoredPath};
    use crate::repo::testing::sample_manifest;

    fn snapshot(start: &[u8], secs: i64) -> Snapshot {
        let mut id = [0; 32];
        id[..start.len()].copy_from_slice(start);
        let mut manifest = sample_manifest(1);
        manifest.time = Timestamp::new(secs, 0);
        manifest.paths = vec![StoredPath::parse(b"/home/me\x1b").unwrap()];
        Snapshot { id: SnapshotId::new(id), manifest, tags: Vec::new(), description: None, accepted: false }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::new(secs, 0)
    }

    fn chosen(snapshots: &[Snapshot], selector: &Selector) -> Option<i64> {
        select(snapshots, selector, at(1000)).ok().map(|snapshot| snapshot.manifest.time.secs)
    }

    fn refused(snapshots: &[Snapshot], selector: &Selector) -> (Kind, String) {
        let error = select(snapshots, selector, at(1000)).unwrap_err();
        (error.kind(), error.full_text())
    }

    #[test]
    fn latest_goes_by_time_whatever_the_order() {
        let all = [snapshot(b"b", 20), snapshot(b"c", 30), snapshot(b"a", 10)];
        let latest = |back| chosen(&all, &Selector::Latest { back });
        assert_eq!([latest(0), latest(1), latest(2), latest(3)], [Some(30), Some(20), Some(10), None]);
        let (kind, text) = refused(&all, &Selector::Latest { back: 3 });
        assert_eq!(kind, Kind::NotFound);
        assert!(text.contains("only 3"), "{text}");
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        for selector in
            [Selector::Latest { back: 0 }, Selector::Prefix("a".into()), Selector::AtOrBefore(at(5))]
        {
            let (kind, text) = refused(&[], &selector);
            assert_eq!(kind, Kind::NotFound);
            assert!(text.contains("there is none"), "{text}");
        }
    }

    #[test]
    fn a_unique_prefix_of_any_length_and_either_case_finds() {
        let all = [snapshot(&[0xab, 0xcd], 1), snapshot(&[0xab, 0xce], 2), snapshot(&[0x12], 3)];
        let by = |text: &str| chosen(&all, &Selector::Prefix(text.to_owned()));
        assert_eq!(
            [by("1"), by("abcd"), by("ABCE"), by(&all[0].id.to_string())],
            [Some(3), Some(1), Some(2), Some(1)]
        );
        let kind = |text: &str| refused(&all, &Selector::Prefix(text.to_owned())).0;
        assert_eq!(
            [kind("ab"), kind("ff"), kind("xyz"), kind("")],
            [Kind::Ambiguous, Kind::NotFound, Kind::NotFound, Kind::Usage]
        );
        assert_eq!(kind(&format!("{}0", all[0].id)), Kind::NotFound);
    }

    #[test]
    fn candidates_are_listed_in_clean_text_and_at_most_ten() {
        let all: Vec<_> = (0..12).map(|n| snapshot(&[0xab, n], 86_400 + i64::from(n))).collect();
        let (_, text) = refused(&all, &Selector::Prefix("ab".into()));
        assert!(text.contains("\nab030000  1970-01-02T00:00:03+00:00  host  /home/me\\u{1b}\n"), "{text}");
        assert!(text.contains("12 ids") && !text.contains("ab0a") && text.ends_with("\n..."), "{text}");
        let two =
            [snapshot(&[0xab, 0xcd, 0xef, 0x01, 0x22], 1), snapshot(&[0xab, 0xcd, 0xef, 0x01, 0x33], 2)];
        let (_, text) = refused(&two, &Selector::Prefix("abcdef01".into()));
        assert!(text.contains("abcdef012200") && text.contains("abcdef013300"), "{text}");
    }

    #[test]
    fn a_filter_narrows_whatever_the_selector_is() {
        let mut all = [snapshot(b"a1", 10), snapshot(b"a2", 20)];
        all[1].manifest.host = "tablet".to_owned();
        let on = |host: &str, selector: &Selector| {
            let filter = SnapshotFilter { hosts: vec![host.to_owned()], ..SnapshotFilter::default() };
            select_among(&all, &filter, selector, at(1000)).map(|one| one.manifest.time.secs)
        };
        for selector in
            [Selector::Latest { back: 0 }, Selector::Prefix("61".into()), Selector::AtOrBefore(at(500))]
        {
            assert_eq!(on("host", &selector).unwrap(), 10);
            assert_eq!(on("tablet", &selector).unwrap(), 20);
            let text = on("nobody", &selector).unwrap_err().full_text();
            assert!(text.contains("none of the 2") && text.contains("machine nobody"), "{text}");
        }
    }

    #[test]
    fn a_time_finds_the_last_snapshot_until_then() {
        let all = [snapshot(b"a", 10), snapshot(b"b", 20), snapshot(b"c", 2000)];
        let by = |secs| chosen(&all, &Selector::AtOrBefore(at(secs)));
        assert_eq!([by(9), by(10), by(19), by(20), by(1000)], [None, Some(10), Some(10), Some(20), Some(20)]);
        let (kind, text) = refused(&all, &Selector::AtOrBefore(at(9)));
        assert_eq!(kind, Kind::NotFound);
        assert!(text.contains("the first one is 61000000  1970-01-01T00:00:10+00:00"), "{text}");
        let (kind, text) = refused(&all, &Selector::AtOrBefore(at(1001)));
        assert_eq!(kind, Kind::Usage);
        assert!(text.contains("now it is 1970-01-01T00:16:40+00:00"), "{text}");
    }

    #[test]
    fn times_read_as_calendars_have_them() {
        let text = |secs, offset| text_of(at(secs), offset);
        assert_eq!(text(951_782_400, 0), "2000-02-29T00:00:00+00:00");
        assert_eq!(text(4_107_542_399, 60), "2100-03-01T00:59:59+01:00");
        assert_eq!(text(-1, -90), "1969-12-31T22:29:59-01:30");
        assert_eq!(text(-62_167_219_200, 0), "0000-01-01T00:00:00+00:00");
        assert_eq!(text(253_402_300_800, 0), "10000-01-01T00:00:00+00:00");
        assert!(text(i64::MAX, i32::MAX).starts_with("292277026596-12-04T15:30:07+23:59"));
        assert!(text(i64::MIN, i32::MIN).contains('T'));
    }
}
