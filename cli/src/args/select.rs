//! How a snapshot, and a path in it, are named: `latest`, `latest~N`, the first digits of an id, `@TIME`, and any of
//! them with `:PATH` behind: then `latest` and `@TIME` mean the last one that holds PATH.

use crate::args::time;
use crate::output::error::{Failure, Result};
use crate::output::human::shell_word;
use chatvault_engine::base::StoredPath;
use chatvault_engine::base::path::clean;
use chatvault_engine::browse::Selector;
use jiff::Zoned;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Ways to name a snapshot, for messages.
const WAYS: &str =
    "name a snapshot as `latest`, `latest~1` (the one before), `@TIME`, or by the first digits of its id";

/// A snapshot, and perhaps a path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The snapshot.
    pub(crate) selector: Selector,
    /// The path.
    pub(crate) path: Option<StoredPath>,
}

impl Place {
    /// Reads `SNAPSHOT` or `SNAPSHOT:PATH`.
    pub(crate) fn parse(text: &OsStr, now: &Zoned) -> Result<Self> {
        let (name, path) = split(text.as_bytes());
        let name = std::str::from_utf8(name).map_err(|_| unknown(text.as_bytes()))?;
        let path = path.map(|bytes| stored_path(bytes, text)).transpose()?;
        Ok(Self { selector: selector(name, now)?, path })
    }

    /// Reads `SNAPSHOT`; a path is refused.
    pub(crate) fn parse_snapshot(text: &OsStr, now: &Zoned) -> Result<Selector> {
        let place = Self::parse(text, now)?;
        match place.path {
            None => Ok(place.selector),
            Some(path) => Err(Failure::usage(format!("Failed to use {}", shown(text.as_bytes())))
                .because("a whole snapshot is wanted here, without a path")
                .with_hint(format!("leave `:{path}` out"))),
        }
    }

    /// Reads `SNAPSHOT:PATH`; a missing path is refused.
    pub(crate) fn parse_with_path(text: &OsStr, now: &Zoned) -> Result<(Self, StoredPath)> {
        let place = Self::parse(text, now)?;
        match place.path.clone() {
            Some(path) => Ok((place, path)),
            None => Err(Failure::usage(format!("Failed to use {}", shown(text.as_bytes())))
                .because("a path in the snapshot is wanted: SNAPSHOT:PATH")
                .with_hint(format!(
                    "`{{chatvault}} ls {}` shows the paths",
                    shell_word(&clean(text.as_bytes()))
                ))),
        }
    }
}

/// Cuts at the first colon; a time may hold colons, so after `@` at the first `:/`.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let cut = if text.first() == Some(&b'@') {
        text.windows(2).position(|pair| pair == b":/")
    } else {
        text.iter().position(|byte| *byte == b':')
    };
    match cut.and_then(|at| text.split_at_checked(at)) {
        Some((name, rest)) => (name, rest.get(1..)),
        None => (text, None),
    }
}

fn stored_path(bytes: &[u8], whole: &OsStr) -> Result<StoredPath> {
    let refused = |why: &str| {
        Failure::usage(format!("Failed to use {}", shown(whole.as_bytes())))
            .because(why)
            .with_hint("write the path as `{chatvault} ls` shows it; `:/` is the whole snapshot")
    };
    if bytes.is_empty() {
        return Err(refused("the path behind the colon is missing"));
    }
    StoredPath::parse(bytes).ok_or_else(|| refused("the path behind the colon holds `..`"))
}

fn selector(name: &str, now: &Zoned) -> Result<Selector> {
    if let Some(text) = name.strip_prefix('@') {
        return time::parse(text, now).map(Selector::AtOrBefore).map_err(|why| {
            Failure::usage(format!("Failed to read the time {}", shown(text.as_bytes())))
                .because(why)
                .with_hint("`{chatvault} list` shows the times of the snapshots")
        });
    }
    if name == "latest" {
        return Ok(Selector::Latest { back: 0 });
    }
    if let Some(back) = name.strip_prefix("latest~") {
        let is_number = !back.is_empty() && back.bytes().all(|byte| byte.is_ascii_digit());
        let back = back.parse().ok().filter(|_| is_number).ok_or_else(|| unknown(name.as_bytes()))?;
        return Ok(Selector::Latest { back });
    }
    if (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Selector::Prefix(name.to_ascii_lowercase()));
    }
    Err(unknown(name.as_bytes()))
}

fn unknown(name: &[u8]) -> Failure {
    let failure = Failure::usage(format!("Failed to use {} as a snapshot", shown(name)));
    if name.contains(&b'/') {
        return failure
            .because("it looks like a path")
            .with_hint("write SNAPSHOT:PATH, as in latest:/home/ann/photos");
    }
    failure.because("it is no name of a snapshot").with_hint(WAYS)
}

fn shown(bytes: &[u8]) -> String {
    format!("`{}`", clean(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Condition;
    use chatvault_engine::base::Timestamp;
    use jiff::tz::TimeZone;

    fn now() -> Zoned {
        jiff::civil::date(2026, 11, 21).at(15, 30, 0, 0).to_zoned(TimeZone::UTC).unwrap()
    }

    fn parse(text: &str) -> Result<Place> {
        Place::parse(OsStr::new(text), &now())
    }

    fn place(selector: Selector, path: Option<&str>) -> Place {
        Place { selector, path: path.map(|path| StoredPath::parse(path.as_bytes()).unwrap()) }
    }

    #[test]
    fn every_way_to_name_a_snapshot_is_understood() {
        let day = || Selector::AtOrBefore(Timestamp::new(1_795_219_199, 999_999_999));
        let evening = || Selector::AtOrBefore(Timestamp::new(1_795_197_659, 999_999_999));
        for (text, wanted) in [
            ("latest", place(Selector::Latest { back: 0 }, None)),
            ("latest~12", place(Selector::Latest { back: 12 }, None)),
            ("latest:/a:b", place(Selector::Latest { back: 0 }, Some("/a:b"))),
            ("latest:photos/x", place(Selector::Latest { back: 0 }, Some("/photos/x"))),
            ("3FA1", place(Selector::Prefix("3fa1".into()), None)),
            ("3fa1:/", place(Selector::Prefix("3fa1".into()), Some("/"))),
            ("@2026-11-20", place(day(), None)),
            ("@2026-11-20:/home", place(day(), Some("/home"))),
            ("@2026-11-20 18:00", place(evening(), None)),
            ("@2026-11-20 18:00:/home/a:/b", place(evening(), Some("/home/a:/b"))),
        ] {
            assert_eq!(parse(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_names_no_snapshot_is_wrong_usage_with_a_hint() {
        for text in [
            "",
            "newest",
            "latest~",
            "latest~x",
            "latest~+1",
            "latest~-1",
            "xyz",
            "/home/ann",
            "latest:",
            "latest:/a/../b",
            "@",
            "@soon",
            "@2099-01-01",
            ":/x",
            &"a".repeat(65),
        ] {
            let failure = parse(text).unwrap_err();
            assert_eq!(failure.condition(), Condition::Usage, "{text}");
            assert!(failure.hint().is_some(), "{text}");
        }
        assert!(parse("/home/ann").unwrap_err().hint().unwrap().contains("SNAPSHOT:PATH"));
        assert!(parse("@2099-01-01").unwrap_err().message().contains("2026-11-21 15:30:00"));
    }

    #[test]
    fn a_path_can_be_demanded_or_refused() {
        assert!(Place::parse_snapshot(OsStr::new("latest:/a"), &now()).is_err());
        let failure = Place::parse_with_path(OsStr::new("latest"), &now()).unwrap_err();
        assert_eq!(failure.hint().unwrap(), "`{chatvault} ls latest` shows the paths");
        assert!(Place::parse_with_path(OsStr::new("latest:/a"), &now()).is_ok());
    }

    #[test]
    fn a_path_that_is_no_text_is_kept_exactly() {
        let place = Place::parse(OsStr::from_bytes(b"latest:/a\xff"), &now()).unwrap();
        assert_eq!(place.path.unwrap().as_bytes(), b"/a\xff");
    }
}
