//! Patterns as options and from files.

use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use chatvault_engine::filter::{Pattern, Patterns};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest file of patterns that is read, in bytes.
const MAX_LEN: u64 = 16 << 20;

/// Which way a pattern was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Upper and lower case differ.
    Counts,
    /// Upper and lower case are the same.
    Ignored,
}

/// Reads patterns from options and files, in that order, and puts them together.
///
/// # Errors
/// Wrong usage for a pattern that is none; failed for a file that cannot be read.
pub(crate) fn patterns<'p>(
    given: impl IntoIterator<Item = (&'p [String], Case)>,
    files: impl IntoIterator<Item = (&'p Path, Case)>,
) -> Result<Patterns> {
    let mut all = Vec::new();
    for (texts, case) in given {
        all.extend(texts.iter().map(|text| pattern(text, case)));
    }
    for (path, case) in files {
        all.extend(lines(&read(path)?).map(|line| pattern(line, case)));
    }
    Patterns::new(&all).map_err(|e| {
        let hint = "`*` and `?` stand for characters within a name, `[a-z]` for one of several, `**` for any folders";
        Failure::from(e).with_hint(hint)
    })
}

fn pattern(text: &str, case: Case) -> Pattern {
    match case {
        Case::Counts => Pattern::new(text),
        Case::Ignored => Pattern::ignoring_case(text),
    }
}

/// The patterns of a file: one a line; empty lines and lines that begin with `#` are none.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn read(path: &Path) -> Result<String> {
    let hint = "a file of patterns is text with one pattern a line; lines that begin with # are notes";
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_LEN).read_to_string(&mut text))
        .map_err(|cause| Failure::io("read", shown(path), cause).with_hint(hint))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Condition;
    use chatvault_engine::base::StoredPath;

    #[test]
    fn options_and_files_are_put_together_and_the_last_one_decides() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("patterns");
        std::fs::write(&path, "# notes\n\n!keep.tmp  \n*.LOG\n").unwrap();
        let given = ["*.tmp".to_owned()];
        let all = patterns([(&given[..], Case::Counts)], [(path.as_path(), Case::Ignored)]).unwrap();
        let fits = |name: &str| all.matches(&StoredPath::root().join(name.as_bytes()));
        assert!(fits("a.tmp") && fits("a.log") && !fits("KEEP.tmp") && !fits("a.TMP"));
    }

    #[test]
    fn what_is_no_pattern_and_what_cannot_be_read_is_told_with_a_hint() {
        let given = ["[a".to_owned()];
        let wrong = patterns([(&given[..], Case::Counts)], []).unwrap_err();
        assert_eq!(wrong.condition(), Condition::Usage);
        assert!(wrong.hint().is_some());
        let missing = patterns([], [(Path::new("/not/there"), Case::Counts)]).unwrap_err();
        assert!(missing.message().contains("/not/there") && missing.hint().is_some());
    }
}
