//! Patterns for paths, given one by one or in files.

use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use chatvault_engine::filter::{Pattern, Patterns};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest file of patterns that is read, in bytes.
const MAX_LEN: u64 = 16 << 20;

/// Puts patterns together: those of files first, then those in which case counts, then the others. The last one that
/// fits a path decides.
///
/// # Errors
/// Fails for a file that cannot be read and for what is no pattern.
pub(crate) fn read(files: &[PathBuf], exact: &[String], ignoring_case: &[String]) -> Result<Patterns> {
    let mut patterns = Vec::new();
    for file in files {
        patterns.extend(lines(&text(file)?));
    }
    patterns.extend(exact.iter().map(Pattern::new));
    patterns.extend(ignoring_case.iter().map(Pattern::ignoring_case));
    Patterns::new(&patterns).map_err(|error| {
        Failure::from(error)
            .with_hint("quote it for the shell; `*`, `?`, `[a-z]`, `{a,b}` and `**` mean something")
    })
}

fn text(path: &Path) -> Result<String> {
    let failed = |cause| {
        Failure::io("read the patterns in", shown(path), cause).with_hint(
            "check the name; the file is text with one pattern a line, and lines that begin with # are notes",
        )
    };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(failed(std::io::Error::other("it is longer than any file of patterns")));
    }
    String::from_utf8(bytes).map_err(|_| failed(std::io::Error::other("it is no UTF-8 text")))
}

/// One pattern on each line; empty lines and those that begin with `#` are none.
fn lines(text: &str) -> impl Iterator<Item = Pattern> {
    let lines = text.lines().map(str::trim_end);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(Pattern::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Condition;
    use chatvault_engine::base::StoredPath;

    #[test]
    fn files_come_before_what_the_command_line_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("patterns");
        std::fs::write(&file, "# a remark\n\n*.jpg\r\nb c.txt \n").unwrap();
        let patterns = read(&[file], &["!keep.jpg".into()], &["*.PNG".into()]).unwrap();
        let fits = |path: &str| patterns.matches(&StoredPath::parse(path.as_bytes()).unwrap());
        assert!(fits("/a.jpg") && fits("/x/b c.txt") && fits("/a.png"));
        assert!(!fits("/keep.jpg") && !fits("/a.JPG") && !fits("/# a remark"));
    }

    #[test]
    fn what_cannot_be_read_or_is_no_pattern_is_told() {
        let missing = read(&["/nowhere/at all".into()], &[], &[]).unwrap_err();
        assert_eq!(missing.condition(), Condition::Failed);
        assert!(missing.message().contains("/nowhere/at all"));
        let wrong = read(&[], &["[a".into()], &[]).unwrap_err();
        assert_eq!(wrong.condition(), Condition::Usage);
    }
}
