//! Patterns for paths, given one by one or in files.

use crate::output::error::{Failure, Result, one_line};
use crate::output::human::shown;
use chatvault_engine::filter::{Pattern, Patterns};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest file of patterns that is read, in bytes.
const MAX_LEN: u64 = 16 << 20;

/// As [`read`], for paths of this machine: a leading `~/`, `$HOME/` or `${HOME}/`, which a shell leaves alone in quotes and
/// in a file, is the home.
///
/// # Errors
/// As [`read`]; also without a home.
pub(crate) fn read_in_home(
    files: &[PathBuf],
    exact: &[String],
    ignoring_case: &[String],
    home: Option<&Path>,
) -> Result<Patterns> {
    together(files, exact, ignoring_case, &|pattern| match below_home(&pattern.text) {
        None => Ok(pattern),
        Some((negation, below)) => {
            let home = home.ok_or_else(|| {
                Failure::usage(format!("Failed to use the pattern {}", one_line(&pattern.text)))
                    .because("HOME is not set to an absolute path")
                    .with_hint("write the whole path")
            })?;
            let home = as_pattern(&home.to_string_lossy());
            Ok(Pattern { text: format!("{negation}{home}/{below}"), ..pattern })
        }
    })
}

/// Puts patterns together: those of files first, then those in which case counts, then the others. The last one that
/// fits a path decides.
///
/// # Errors
/// Fails for a file that cannot be read and for what is no pattern.
pub(crate) fn read(files: &[PathBuf], exact: &[String], ignoring_case: &[String]) -> Result<Patterns> {
    together(files, exact, ignoring_case, &|pattern| match below_home(&pattern.text) {
        None => Ok(pattern),
        Some(_) => Err(Failure::usage(format!("Failed to use the pattern {}", one_line(&pattern.text)))
            .because("paths of a snapshot are whole paths, and your home is not known to it")
            .with_hint("write the whole path, as in /home/ann/Pictures, or a name alone")),
    })
}

fn together(
    files: &[PathBuf],
    exact: &[String],
    ignoring_case: &[String],
    meant: &dyn Fn(Pattern) -> Result<Pattern>,
) -> Result<Patterns> {
    let mut patterns = Vec::new();
    for file in files {
        patterns.extend(lines(&text(file)?));
    }
    patterns.extend(exact.iter().map(Pattern::new));
    patterns.extend(ignoring_case.iter().map(Pattern::ignoring_case));
    let patterns = patterns.into_iter().map(meant).collect::<Result<Vec<Pattern>>>()?;
    Patterns::new(&patterns).map_err(|error| {
        Failure::from(error)
            .with_hint("quote it for the shell; `*`, `?`, `[a-z]`, `{a,b}` and `**` mean something")
    })
}

/// The `!` of a pattern, if it has one, and what it names below the home, if it does.
fn below_home(text: &str) -> Option<(&str, &str)> {
    let (negation, rest) = text.split_at(usize::from(text.starts_with('!')));
    let below = ["~/", "$HOME/", "${HOME}/"].into_iter().find_map(|home| rest.strip_prefix(home))?;
    Some((negation, below))
}

/// A path as a pattern that fits it alone.
fn as_pattern(path: &str) -> String {
    path.chars().fold(String::with_capacity(path.len()), |mut pattern, letter| {
        if "*?[]{}!\\".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
        pattern
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

/// One pattern on each line, without the spaces around it; empty lines and those that begin with `#` are none. Editors of
/// Windows begin a file with a mark of its encoding.
fn lines(text: &str) -> impl Iterator<Item = Pattern> {
    let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().map(str::trim);
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
    fn the_home_is_known_to_patterns_of_this_machine_and_a_mark_of_the_encoding_is_no_pattern() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("patterns");
        std::fs::write(&file, "\u{feff}$HOME/x\n  *.tmp\n!~/x/keep.tmp\n").unwrap();
        let home = Path::new("/home/a[n]n");
        let patterns =
            read_in_home(&[file], &["~/Cache".into(), "${HOME}/y".into()], &[], Some(home)).unwrap();
        let fits = |path: &str| patterns.matches(&StoredPath::parse(path.as_bytes()).unwrap());
        for path in ["/home/a[n]n/x", "/a/b.tmp", "/home/a[n]n/Cache", "/home/a[n]n/y"] {
            assert!(fits(path), "{path}");
        }
        assert!(!fits("/home/a[n]n/x/keep.tmp") && !fits("/home/ann/Cache"));
        assert!(read_in_home(&[], &["~/x".into()], &[], None).unwrap_err().message().contains("HOME"));
        // Names of files that programs make, and that are below no home.
        assert!(read_in_home(&[], &["~$*".into(), "$RECYCLE.BIN".into()], &[], None).is_ok());
        assert_eq!(read(&[], &["~/x".into()], &[]).unwrap_err().condition(), Condition::Usage);
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
