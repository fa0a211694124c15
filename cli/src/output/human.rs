//! Numbers and times in words for people. Pure functions.

use chatvault_engine::base::path::clean;
use chatvault_engine::base::{StoredPath, Timestamp};
use jiff::tz::TimeZone;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// A path for people: safe on a terminal.
pub(crate) fn shown(path: &Path) -> String {
    clean(path.as_os_str().as_bytes()).into_owned()
}

/// Sources for one line: all if there are two, else the first one and how many more.
pub(crate) fn paths(paths: &[StoredPath]) -> String {
    match paths {
        [] => String::new(),
        [one] => one.to_string(),
        [one, two] => format!("{one} {two}"),
        [first, rest @ ..] => {
            format!("{first} and {} more", thousands(u64::try_from(rest.len()).unwrap_or(u64::MAX)))
        }
    }
}

/// Bytes with a unit of 1,024: `0 B`, `999 B`, `1.5 KiB`, `12.0 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut scaled = to_float(count) / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // 1,023.95 and more would be shown as 1024.0.
    while scaled >= 1023.95 {
        let Some(next) = units.next() else { break };
        scaled /= 1024.0;
        unit = next;
    }
    format!("{scaled:.1} {unit}")
}

/// A sentence about room, whose large numbers of bytes get a unit: `5242880 bytes` becomes `5.0 MiB`.
pub(crate) fn sizes(sentence: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut was_size = false;
    for word in sentence.split(' ') {
        let size = word.parse().ok().filter(|size: &u64| *size >= 1024);
        if !(was_size && word == "bytes") {
            words.push(size.map_or_else(|| word.to_owned(), bytes));
        }
        was_size = size.is_some();
    }
    words.join(" ")
}

/// A path, cleaned for a terminal, as a word for a shell: quoted where it needs to be.
pub(crate) fn shell_word(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%~".contains(c);
    // At the beginning, `~` is a home, and a word that starts with `=` may be a command's path.
    if !path.is_empty() && !path.starts_with(['~', '=']) && path.chars().all(is_plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

/// A number with its noun: `1 file`, `1,204 files`, `2 entries`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{} {stem}ies", thousands(number)),
        (_, None) => format!("{} {noun}s", thousands(number)),
    }
}

/// A noun for so many things: `tag`, `tags`.
pub(crate) fn noun(number: usize, noun: &str) -> String {
    if number == 1 { noun.to_owned() } else { format!("{noun}s") }
}

/// A number with commas: `1,204`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`.
pub(crate) fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", length.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A time of day in a zone, without its fraction: `2026-11-20 18:00:05`. A time that no calendar of ours holds is
/// shown as seconds.
pub(crate) fn local_time(time: Timestamp, zone: &TimeZone) -> String {
    match jiff::Timestamp::new(time.secs, 0) {
        Ok(stamp) => stamp.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("@{}", time.secs),
    }
}

/// A day in a zone: `2026-11-20`.
pub(crate) fn local_day(time: Timestamp, zone: &TimeZone) -> String {
    local_time(time, zone).split(' ').next().unwrap_or_default().to_owned()
}

/// A time as RFC 3339 with nine digits of fraction, in a zone given by its minutes east of UTC.
pub(crate) fn rfc3339(time: Timestamp, offset_minutes: i32) -> String {
    let nanos = i32::try_from(time.nanos).unwrap_or_default();
    let offset =
        jiff::tz::Offset::from_seconds(offset_minutes.saturating_mul(60)).unwrap_or(jiff::tz::Offset::UTC);
    match jiff::Timestamp::new(time.secs, nanos) {
        Ok(stamp) => stamp.display_with_offset(offset).to_string(),
        Err(_) => format!("@{}.{:09}", time.secs, time.nanos),
    }
}

/// Permission bits as `ls -l` shows them, with the letter of the kind in front.
pub(crate) fn mode(letter: char, bits: u32) -> String {
    let mut text = String::from(letter);
    for shift in [6, 3, 0] {
        let triple = bits >> shift & 0o7;
        let special = bits & 0o1000 << (shift / 3) != 0;
        let execute = match (shift, special, triple & 1 != 0) {
            (0, true, true) => 't',
            (0, true, false) => 'T',
            (_, true, true) => 's',
            (_, true, false) => 'S',
            (_, false, true) => 'x',
            (_, false, false) => '-',
        };
        text.push(if triple & 4 != 0 { 'r' } else { '-' });
        text.push(if triple & 2 != 0 { 'w' } else { '-' });
        text.push(execute);
    }
    text
}

/// How many times the second the first is; 1 if there is nothing to compare with.
pub(crate) fn ratio(before: u64, after: u64) -> f64 {
    if after == 0 { 1.0 } else { to_float(before) / to_float(after) }
}

/// A count as a number for display only; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(crate) fn to_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_decimal_and_no_1024() {
        let shown: Vec<String> =
            [0, 1023, 1024, 1536, 1_048_575, 1_048_576, u64::MAX].into_iter().map(bytes).collect();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 MiB", "16.0 EiB"]);
    }

    #[test]
    fn large_sizes_in_a_sentence_get_a_unit() {
        assert_eq!(sizes("5242880 bytes are needed, and 12 are free"), "5.0 MiB are needed, and 12 are free");
    }

    #[test]
    fn words_for_a_shell_are_quoted_where_they_need_to_be() {
        assert_eq!(shell_word("/a/b-c.key"), "/a/b-c.key");
        assert_eq!(shell_word("/my chats/$x"), "'/my chats/$x'");
        assert_eq!(shell_word("it's"), "'it'\\''s'");
    }

    #[test]
    fn counts_agree_with_their_nouns() {
        assert_eq!(count(0, "file"), "0 files");
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(1_204, "file"), "1,204 files");
        assert_eq!(count(2, "entry"), "2 entries");
        assert_eq!(count(1, "entry"), "1 entry");
        assert_eq!(thousands(1_000_000), "1,000,000");
        assert_eq!(thousands(999), "999");
    }

    #[test]
    fn durations_have_two_parts_at_most() {
        let shown: Vec<String> = [420, 12_300, 185_000, 7_620_000]
            .into_iter()
            .map(|ms| duration(Duration::from_millis(ms)))
            .collect();
        assert_eq!(shown, ["0.4 s", "12 s", "3 min 05 s", "2 h 07 min"]);
    }

    #[test]
    fn times_are_shown_in_the_zone_and_kept_exact_in_json() {
        let time = Timestamp::new(1_795_197_605, 5);
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(local_time(time, &zone), "2026-11-20 19:00:05");
        assert_eq!(rfc3339(time, 60), "2026-11-20T19:00:05.000000005+01:00");
        assert_eq!(rfc3339(Timestamp::new(0, 0), 0), "1970-01-01T00:00:00+00:00");
        assert_eq!(local_time(Timestamp::new(i64::MAX, 0), &zone), format!("@{}", i64::MAX));
    }

    #[test]
    fn modes_are_those_of_ls() {
        assert_eq!(mode('-', 0o644), "-rw-r--r--");
        assert_eq!(mode('d', 0o1777), "drwxrwxrwt");
        assert_eq!(mode('-', 0o4755), "-rwsr-xr-x");
        assert_eq!(mode('-', 0o2640), "-rw-r-S---");
    }
}
