//! Points in time as people write them. Pure: now and the zone are given.
//!
//! A day without a time of day means the end of that day, a time without seconds the end of that minute, one with seconds
//! the end of that second (no listing shows fractions), so that "the last snapshot at or before" it is the one a person
//! means. In the hour that a
//! clock change repeats, the second one counts; a time that it leaves out counts as the same length after the change.

use chatvault_engine::base::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::fmt::temporal::Pieces;
use jiff::{ToSpan, Zoned};

/// Forms that are understood, for messages.
pub(crate) const FORMS: &str = "2026-11-20, \"2026-11-20 18:00\", today, yesterday, monday to sunday, or RFC 3339 (2026-11-20T18:00:00+01:00)";

/// Reads a time.
///
/// # Errors
/// Says what is wrong with it: not understood, or in the future.
pub(crate) fn parse(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let (begin, end) = span(text, now)?;
    if begin > now.timestamp() {
        return Err(in_the_future(now));
    }
    Ok(stored(end.min(now.timestamp())))
}

/// Reads a time as the beginning of a span: a day means its first instant. It may be in the future.
///
/// # Errors
/// Says that it is not understood.
pub(crate) fn parse_begin(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    span(text, now).map(|(begin, _)| stored(begin))
}

/// Reads a time as the end of a span: a day means its last instant. It may be in the future.
///
/// # Errors
/// As [`parse_begin`].
pub(crate) fn parse_end(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    span(text, now).map(|(_, end)| stored(end))
}

/// Reads the time of a state exactly as it was written, for storing it: a day means its first instant, a minute its first
/// second. Also its minutes east of UTC: those that are written, else those of the zone at that time.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_state(text: &str, now: &Zoned) -> Result<(Timestamp, i32), String> {
    let (begin, _) = span(text, now)?;
    if begin > now.timestamp() {
        return Err(in_the_future(now));
    }
    let written = exact(text).and_then(|_| Pieces::parse(text).ok()?.to_numeric_offset());
    let offset = written.unwrap_or_else(|| now.time_zone().to_offset(begin));
    Ok((stored(begin), offset.seconds() / 60))
}

fn in_the_future(now: &Zoned) -> String {
    format!("it is in the future; now it is {}", now.strftime("%Y-%m-%d %H:%M:%S %:z"))
}

/// A time as the engine keeps it: seconds rounded down, nanoseconds forward.
pub(crate) fn stored(time: jiff::Timestamp) -> Timestamp {
    let whole = time.as_second() - i64::from(time.subsec_nanosecond() < 0);
    Timestamp::new(whole, time.subsec_nanosecond().rem_euclid(1_000_000_000).unsigned_abs())
}

fn span(text: &str, now: &Zoned) -> Result<Moment, String> {
    exact(text)
        .or_else(|| local(text, now))
        .ok_or_else(|| format!("it is no time that is understood; write {FORMS}"))
}

/// First and last instant of what was written.
type Moment = (jiff::Timestamp, jiff::Timestamp);

/// RFC 3339: the offset is written, so that no zone is needed.
fn exact(text: &str) -> Option<Moment> {
    let (date, rest) = text.split_at_checked(10)?;
    let _: Date = date.parse().ok()?;
    if !rest.starts_with(['T', 't', ' ']) || rest.contains('[') {
        return None;
    }
    let instant: jiff::Timestamp = text.parse().ok()?;
    let time = rest.get(1..)?.split(['+', '-', 'Z', 'z']).next()?;
    let end = match (time.contains(['.', ',']), time.matches(':').count()) {
        (true, _) => instant,
        (false, 1) => end_of_minute(instant),
        (false, _) => end_of_second(instant),
    };
    Some((instant, end))
}

/// A day and perhaps a time of day, in the zone of `now`.
fn local(text: &str, now: &Zoned) -> Option<Moment> {
    let (day, time) = match text.split_once([' ', 'T']) {
        Some((day, time)) => (day, Some(time_of_day(time)?)),
        None => (text, None),
    };
    let date = day_of(day, now.date())?;
    let zone = now.time_zone();
    let later = |at: DateTime| zone.to_ambiguous_zoned(at).later().ok().map(|zoned| zoned.timestamp());
    match time {
        Some((time, has_seconds)) => {
            let instant = later(date.to_datetime(time))?;
            Some((instant, if has_seconds { end_of_second(instant) } else { end_of_minute(instant) }))
        }
        None => {
            let begin_of = |day: Date| {
                zone.to_zoned(day.to_datetime(Time::midnight())).map(|zoned| zoned.timestamp()).ok()
            };
            Some((begin_of(date)?, begin_of(date.tomorrow().ok()?)?.checked_sub(1.nanosecond()).ok()?))
        }
    }
}

/// A day by date or by name; a weekday is the most recent one before today.
fn day_of(text: &str, today: Date) -> Option<Date> {
    const WEEKDAYS: [(&str, Weekday); 7] = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    let word = text.to_ascii_lowercase();
    match word.as_str() {
        "today" => return Some(today),
        "yesterday" => return today.yesterday().ok(),
        _ => {}
    }
    if let Some((_, weekday)) =
        WEEKDAYS.iter().find(|(name, _)| *name == word || name.get(..3) == Some(&word))
    {
        return today.nth_weekday(-1, *weekday).ok();
    }
    let is_date = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if is_date { text.parse().ok() } else { None }
}

/// A time of day, and whether its seconds were written.
fn time_of_day(text: &str) -> Option<(Time, bool)> {
    let mut parts = text.split(':');
    let mut number = |below: i8| -> Option<i8> {
        let part = parts.next()?;
        let is_number = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|value| is_number && *value < below)
    };
    let (hour, minute) = (number(24)?, number(60)?);
    let has_seconds = text.matches(':').count() > 1;
    let second = if has_seconds { number(60)? } else { 0 };
    if parts.next().is_some() {
        return None;
    }
    Time::new(hour, minute, second, 0).ok().map(|time| (time, has_seconds))
}

fn end_of_minute(instant: jiff::Timestamp) -> jiff::Timestamp {
    end_of_second(instant.checked_add(59.seconds()).unwrap_or(instant))
}

fn end_of_second(instant: jiff::Timestamp) -> jiff::Timestamp {
    instant.checked_add(999_999_999.nanoseconds()).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    /// Saturday, 2026-11-21, 15:30 in a zone with the clock changes of Berlin.
    fn now() -> Zoned {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        jiff::civil::date(2026, 11, 21).at(15, 30, 0, 0).to_zoned(zone).unwrap()
    }

    /// What was read, in UTC.
    fn read(text: &str) -> String {
        match parse(text, &now()) {
            Ok(time) => {
                jiff::Timestamp::new(time.secs, i32::try_from(time.nanos).unwrap()).unwrap().to_string()
            }
            Err(why) => why.split(';').next().unwrap().to_owned(),
        }
    }

    #[test]
    fn times_are_read_as_people_mean_them() {
        for (text, wanted) in [
            ("2026-11-20T18:00:00Z", "2026-11-20T18:00:00.999999999Z"),
            ("2026-11-20t18:00:00+02:00", "2026-11-20T16:00:00.999999999Z"),
            ("2026-11-20 18:00:00-05:00", "2026-11-20T23:00:00.999999999Z"),
            ("2026-11-20T18:00:00.25Z", "2026-11-20T18:00:00.25Z"),
            ("2026-11-20 18:00", "2026-11-20T17:00:59.999999999Z"),
            ("2026-11-20T18:00", "2026-11-20T17:00:59.999999999Z"),
            ("2026-11-20T18:00+02:00", "2026-11-20T16:00:59.999999999Z"),
            ("2026-11-20 18:00:05", "2026-11-20T17:00:05.999999999Z"),
            ("2026-11-20 7:05", "2026-11-20T06:05:59.999999999Z"),
            ("2026-11-20", "2026-11-20T22:59:59.999999999Z"),
            ("yesterday", "2026-11-20T22:59:59.999999999Z"),
            ("Yesterday 08:00", "2026-11-20T07:00:59.999999999Z"),
            ("today", "2026-11-21T14:30:00Z"),
            ("2026-11-21", "2026-11-21T14:30:00Z"),
            ("today 09:00", "2026-11-21T08:00:59.999999999Z"),
            ("today 15:30", "2026-11-21T14:30:00Z"),
            ("friday", "2026-11-20T22:59:59.999999999Z"),
            ("saturday", "2026-11-14T22:59:59.999999999Z"),
            ("sun", "2026-11-15T22:59:59.999999999Z"),
            ("Monday 23:59:59", "2026-11-16T22:59:59.999999999Z"),
            ("1969-07-20 21:17:40", "1969-07-20T19:17:40.999999999Z"),
            ("1969-01-20 21:17:40", "1969-01-20T20:17:40.999999999Z"),
        ] {
            assert_eq!(read(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_span_begins_with_the_first_instant_of_a_day_and_ends_with_its_last() {
        let utc = |time: Timestamp| jiff::Timestamp::new(time.secs, 0).unwrap().to_string();
        let both = |text| (utc(parse_begin(text, &now()).unwrap()), utc(parse_end(text, &now()).unwrap()));
        let pair = |begin: &str, end: &str| (begin.to_owned(), end.to_owned());
        assert_eq!(both("yesterday"), pair("2026-11-19T23:00:00Z", "2026-11-20T22:59:59Z"));
        assert_eq!(both("2026-11-20 18:00"), pair("2026-11-20T17:00:00Z", "2026-11-20T17:00:59Z"));
        assert_eq!(both("2099-01-01").0, "2098-12-31T23:00:00Z");
        assert!(parse_begin("soon", &now()).is_err());
    }

    #[test]
    fn the_time_of_a_state_is_what_was_written_with_the_offset_of_that_day() {
        for (text, wanted, offset) in [
            ("2026-07-01 12:34:56", "2026-07-01T10:34:56Z", 120),
            ("2026-11-20 12:34:56", "2026-11-20T11:34:56Z", 60),
            ("2026-11-20 12:34", "2026-11-20T11:34:00Z", 60),
            ("2026-07-01", "2026-06-30T22:00:00Z", 120),
            ("2026-07-01T12:34:56-05:30", "2026-07-01T18:04:56Z", -330),
            ("2026-07-01T12:34:56.5Z", "2026-07-01T12:34:56.5Z", 0),
        ] {
            let (time, minutes) = parse_state(text, &now()).unwrap();
            let time = jiff::Timestamp::new(time.secs, i32::try_from(time.nanos).unwrap()).unwrap();
            assert_eq!((time.to_string().as_str(), minutes), (wanted, offset), "{text}");
        }
        assert!(parse_state("2026-11-22", &now()).unwrap_err().contains("future"));
    }

    #[test]
    fn clock_changes_have_no_holes() {
        for (text, wanted) in [
            ("2026-03-29 01:59:59", "2026-03-29T00:59:59.999999999Z"),
            ("2026-03-29 02:30", "2026-03-29T01:30:59.999999999Z"),
            ("2026-03-29 03:00", "2026-03-29T01:00:59.999999999Z"),
            ("2026-03-29", "2026-03-29T21:59:59.999999999Z"),
            ("2026-10-25 02:30", "2026-10-25T01:30:59.999999999Z"),
            ("2026-10-25", "2026-10-25T22:59:59.999999999Z"),
            ("2026-10-24", "2026-10-24T21:59:59.999999999Z"),
        ] {
            assert_eq!(read(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_day_that_begins_with_a_clock_change_ends_before_it() {
        let zone = TimeZone::posix("XXX3YYY,M9.1.0/0,M4.1.0/0").unwrap();
        let now = jiff::civil::date(2026, 9, 20).at(12, 0, 0, 0).to_zoned(zone).unwrap();
        let end = parse("2026-09-05", &now).unwrap();
        assert_eq!(jiff::Timestamp::new(end.secs, 0).unwrap().to_string(), "2026-09-06T02:59:59Z");
    }

    #[test]
    fn the_future_and_nonsense_are_refused() {
        for text in ["2026-11-22", "2026-11-21 15:31", "2027-01-01T00:00:00Z", "today 23:00"] {
            assert_eq!(read(text), "it is in the future", "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "2026-13-01",
            "2026-02-30",
            "2026-11-20 24:00",
            "2026-11-20 18",
            "2026-11-20 18:60",
            "20261120",
            "2026-11-20 ",
            "2026-11-20 18:00:00:00",
            "someday 18:00",
            "2026-11-20T18:00:00[UTC]",
            "mo",
            "2026-11-20 +1:00",
            "18:00",
        ] {
            assert_eq!(read(text), "it is no time that is understood", "{text}");
        }
        assert!(parse("2099-01-01", &now()).unwrap_err().contains("2026-11-21 15:30:00 +01:00"));
    }
}
