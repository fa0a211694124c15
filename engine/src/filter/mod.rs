//! L1: which paths a person means: patterns as shells write them, matched against stored paths.
//!
//! - `*` stands for any bytes within a name, `?` for one (a letter beyond ASCII has several), `[a-z]` for one of several, `{a,b}` for alternatives, `**` for any
//!   number of folders; a backslash takes the meaning from the next character.
//! - A pattern that begins with `/` is a whole path; every other one may begin at any folder: `*.tmp` and `Cache/*`
//!   fit anywhere.
//! - A slash at the end is ignored. A `!` at the beginning takes paths out again that an earlier pattern matched; the
//!   last pattern that fits a path decides.
//!
//! Names are bytes: a pattern is text, and `*` and `?` fit bytes that are no text.

use crate::base::{Error, Kind, Result, StoredPath};
use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most patterns of one set.
const MOST_PATTERNS: usize = 100_000;

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As written.
    pub text: String,
    /// True if upper and lower case are the same.
    pub ignore_case: bool,
}

impl Pattern {
    /// A pattern in which case counts.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ignore_case: false }
    }

    /// A pattern in which upper and lower case of ASCII letters are the same.
    #[must_use]
    pub fn ignoring_case(text: impl Into<String>) -> Self {
        Self { text: text.into(), ignore_case: true }
    }
}

/// Patterns that decide together.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    set: GlobSet,
    /// For each pattern whether it takes out.
    negated: Vec<bool>,
    /// Each pattern as written, and whether it fitted anything yet. Copies share it.
    seen: Arc<[Seen]>,
}

#[derive(Debug)]
struct Seen {
    text: String,
    has_fitted: AtomicBool,
}

/// What a set of patterns says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The last pattern that fits is an ordinary one.
    Matched,
    /// The last pattern that fits begins with `!`.
    TakenOut,
    /// None fits.
    Unmentioned,
}

impl Patterns {
    /// Reads patterns, in their order.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a pattern that is none, with the reason.
    pub fn new(patterns: &[Pattern]) -> Result<Self> {
        if patterns.len() > MOST_PATTERNS {
            return Err(Error::new(Kind::Usage, "use", "the patterns")
                .because(format!("there are {}, and at most {MOST_PATTERNS} may be", patterns.len())));
        }
        let mut set = GlobSetBuilder::new();
        let mut negated = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let refused =
                |why: String| Error::new(Kind::Usage, "use the pattern", &pattern.text).because(why);
            let (text, is_negated) = match pattern.text.strip_prefix('!') {
                Some(rest) => (rest, true),
                None => (pattern.text.as_str(), false),
            };
            set.add(glob(text, pattern.ignore_case).map_err(refused)?);
            negated.push(is_negated);
        }
        let set = set
            .build()
            .map_err(|e| Error::new(Kind::Usage, "use", "the patterns").because(e.kind().to_string()))?;
        let unseen =
            |pattern: &Pattern| Seen { text: pattern.text.clone(), has_fitted: AtomicBool::new(false) };
        Ok(Self { set, negated, seen: patterns.iter().map(unseen).collect() })
    }

    /// True if there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.negated.is_empty()
    }

    /// What the patterns say of this path itself; the folders above it are asked on their own.
    #[must_use]
    pub fn verdict(&self, path: &StoredPath) -> Verdict {
        if self.is_empty() {
            return Verdict::Unmentioned;
        }
        let path = Path::new(OsStr::from_bytes(path.as_bytes()));
        let fitting = self.set.matches(path);
        for seen in fitting.iter().filter_map(|at| self.seen.get(*at)) {
            // Most of the time it has, and then nothing is written that other threads read.
            if !seen.has_fitted.load(Ordering::Relaxed) {
                seen.has_fitted.store(true, Ordering::Relaxed);
            }
        }
        match fitting.into_iter().max().and_then(|last| self.negated.get(last)) {
            Some(false) => Verdict::Matched,
            Some(true) => Verdict::TakenOut,
            None => Verdict::Unmentioned,
        }
    }

    /// The patterns, as written, that fitted none of the paths that were asked for so far.
    #[must_use]
    pub fn unmatched(&self) -> Vec<String> {
        let unmatched = self.seen.iter().filter(|seen| !seen.has_fitted.load(Ordering::Relaxed));
        unmatched.map(|seen| seen.text.clone()).collect()
    }

    /// True if the patterns mean this path itself.
    #[must_use]
    pub fn matches(&self, path: &StoredPath) -> bool {
        self.verdict(path) == Verdict::Matched
    }
}

fn glob(text: &str, ignore_case: bool) -> std::result::Result<Glob, String> {
    let trimmed = text.trim_end_matches('/');
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if trimmed.split('/').any(|part| part == "..") {
        return Err("it holds `..`, which no stored path does".to_owned());
    }
    // The root itself is matched by `/` alone.
    let whole = match trimmed.strip_prefix("./").unwrap_or(trimmed) {
        "" => "/".to_owned(),
        anchored if anchored.starts_with('/') => anchored.to_owned(),
        free => format!("/**/{free}"),
    };
    GlobBuilder::new(&whole)
        .literal_separator(true)
        .backslash_escape(true)
        .case_insensitive(ignore_case)
        .empty_alternates(true)
        .build()
        .map_err(|e| e.kind().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> StoredPath {
        StoredPath::parse(text.as_bytes()).unwrap()
    }

    fn one(text: &str) -> Patterns {
        Patterns::new(&[Pattern::new(text)]).unwrap()
    }

    #[test]
    fn patterns_fit_what_a_shell_user_expects() {
        for (pattern, fitting, others) in [
            ("*.tmp", &["/a.tmp", "/x/y/.tmp", "/x/b.tmp"][..], &["/a.tmp/b", "/a.tmp2", "/tmp"][..]),
            ("Cache", &["/Cache", "/a/b/Cache"], &["/Cache/a", "/Caches", "/cache"]),
            ("Cache/", &["/a/Cache"], &["/a/Cache/x"]),
            ("Cache/*", &["/Cache/a", "/x/Cache/b"], &["/Cache", "/Cache/a/b"]),
            ("/home/*/x", &["/home/ann/x"], &["/home/x", "/home/a/b/x", "/data/home/ann/x"]),
            ("/home/**/x", &["/home/x", "/home/a/b/x"], &["/home/a/xx"]),
            ("a/**", &["/a/b", "/z/a/b/c"], &["/a", "/b"]),
            ("IMG-20[12]?.{jpg,png}", &["/IMG-201x.jpg", "/c/IMG-2024.png"], &["/IMG-2034.jpg"]),
            (r"\*", &["/*", "/a/*"], &["/a"]),
            ("./x", &["/x", "/a/x"], &["/xx"]),
            ("/", &["/"], &["/a"]),
        ] {
            let patterns = one(pattern);
            for fits in fitting {
                assert!(patterns.matches(&path(fits)), "{pattern} {fits}");
            }
            for other in others {
                assert!(!patterns.matches(&path(other)), "{pattern} {other}");
            }
        }
    }

    #[test]
    fn the_last_pattern_that_fits_decides() {
        let patterns = ["*.jpg", "!keep.jpg", "/a/keep.jpg"].map(Pattern::new);
        let patterns = Patterns::new(&patterns).unwrap();
        assert_eq!(patterns.verdict(&path("/x.jpg")), Verdict::Matched);
        assert_eq!(patterns.verdict(&path("/b/keep.jpg")), Verdict::TakenOut);
        assert_eq!(patterns.verdict(&path("/a/keep.jpg")), Verdict::Matched);
        assert_eq!(patterns.verdict(&path("/a/x.png")), Verdict::Unmentioned);
        assert!(Patterns::default().is_empty() && !Patterns::default().matches(&path("/a")));
    }

    #[test]
    fn patterns_that_fitted_nothing_are_known() {
        let patterns = Patterns::new(&["*.jpg", "!keep.jpg", "/a", "*.Jpg"].map(Pattern::new)).unwrap();
        assert!(patterns.clone().matches(&path("/b/x.jpg")));
        assert_eq!(patterns.unmatched(), ["!keep.jpg", "/a", "*.Jpg"]);
        assert!(!patterns.matches(&path("/keep.jpg")));
        assert_eq!(patterns.unmatched(), ["/a", "*.Jpg"]);
    }

    #[test]
    fn case_is_the_same_only_where_asked() {
        let either = Patterns::new(&[Pattern::ignoring_case("*.Jpg")]).unwrap();
        assert!(either.matches(&path("/a.JPG")) && !one("*.Jpg").matches(&path("/a.JPG")));
    }

    #[test]
    fn names_that_are_no_text_are_matched_as_bytes() {
        let name = StoredPath::parse(b"/a/\xff\xfe.tmp").unwrap();
        assert!(one("*.tmp").matches(&name) && one("??.tmp").matches(&name));
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_a_reason() {
        for text in ["", "!", "a/../b", "[a", "{a", "a{b,{c}"] {
            let error = Patterns::new(&[Pattern::new(text)]).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{text}");
            assert!(error.full_text().len() > 20, "{text}: {}", error.full_text());
        }
    }
}
