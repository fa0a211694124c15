//! Lists of paths: `--files-from` and its brothers.

use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use chatvault_engine::base::StoredPath;
use chatvault_engine::filter::{Pattern, Patterns};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest list of paths that is read, in bytes.
const MAX_LIST: u64 = 1 << 30;
/// Most paths that one pattern may stand for.
const MOST_FITTING: usize = 1_000_000;

/// How the paths are written in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One a line; spaces around it, empty lines and those that begin with `#` are nothing; wildcards are expanded.
    Patterns,
    /// One a line, as it is.
    Lines,
    /// Each as it is, with a zero byte behind it.
    Zeroes,
}

/// The paths in a list; `-` is standard input.
pub(super) fn read(file: &Path, form: Form) -> Result<Vec<PathBuf>> {
    let bytes = content(file)?;
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).filter(|_| form != Form::Zeroes).unwrap_or(&bytes);
    let end = if form == Form::Zeroes { 0 } else { b'\n' };
    let mut paths = Vec::new();
    for line in bytes.split(|byte| *byte == end) {
        let line = if form == Form::Zeroes { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
        if form != Form::Patterns {
            paths.extend((!line.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(line))));
            continue;
        }
        let line = line.trim_ascii();
        if !line.is_empty() && !line.starts_with(b"#") {
            expand(line, &mut paths)?;
        }
    }
    Ok(paths)
}

fn content(path: &Path) -> Result<Vec<u8>> {
    let mut list = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MAX_LIST).read_to_end(&mut list)
    } else {
        File::open(path).and_then(|file| file.take(MAX_LIST).read_to_end(&mut list))
    };
    let hint = "the file holds paths, one a line; `-` stands for standard input";
    read.map_err(|cause| Failure::io("read the list of paths", shown(path), cause).with_hint(hint))?;
    Ok(list)
}

/// The paths that a line stands for. One without wildcards stands for itself, also if nothing is there; and so does one
/// that is there as it is written.
fn expand(line: &[u8], paths: &mut Vec<PathBuf>) -> Result<()> {
    let whole = PathBuf::from(OsStr::from_bytes(line));
    if !has_wildcards(line) || whole.symlink_metadata().is_ok() {
        paths.push(whole);
        return Ok(());
    }
    let refused = |why: String| {
        Failure::usage(format!("Failed to use `{}` of the list of paths", shown(&whole))).because(why).with_hint(
            "`*`, `?` and `[a-z]` are wildcards in --files-from; --files-from-verbatim takes each line as it is",
        )
    };
    let begins = if line.starts_with(b"/") { "/" } else { "" };
    let mut found = vec![PathBuf::from(begins)];
    for part in line.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        if !has_wildcards(part) {
            found.iter_mut().for_each(|path| path.push(OsStr::from_bytes(part)));
            continue;
        }
        let text = std::str::from_utf8(part).map_err(|_| refused("it is no UTF-8 text".to_owned()))?;
        let pattern = Patterns::new(&[Pattern::new(format!("/{text}"))]).map_err(|error| {
            Failure::from(error).with_hint("--files-from-verbatim takes each line as it is")
        })?;
        found = found.iter().flat_map(|folder| fitting(folder, &pattern)).collect();
        if found.len() > MOST_FITTING {
            return Err(refused(format!("more than {MOST_FITTING} paths fit")));
        }
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    if found.is_empty() {
        return Err(refused("nothing fits".to_owned()));
    }
    paths.append(&mut found);
    Ok(())
}

fn has_wildcards(text: &[u8]) -> bool {
    text.iter().any(|byte| b"*?[".contains(byte))
}

/// The entries of a folder that fit, sorted. A hidden one fits only what begins with a dot, as in a shell.
fn fitting(folder: &Path, pattern: &Patterns) -> Vec<PathBuf> {
    let opened = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries =
        std::fs::read_dir(opened).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.file_name()));
    let fits = |name: &OsStr| {
        let path = [b"/", name.as_bytes()].concat();
        StoredPath::parse(&path).is_some_and(|path| pattern.matches(&path))
    };
    let mut names: Vec<_> = entries.filter(|name| fits(name)).collect();
    names.sort();
    names.into_iter().map(|name| folder.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_spaces_and_wildcards_mean_what_they_mean_in_restic() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["a/1.db", "a/2.db", "a/3.txt", "b/4.db", "#odd", "[x]"] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), "").unwrap();
        }
        let list = root.join("list");
        let read = |text: String, form| {
            std::fs::write(&list, text).unwrap();
            read(&list, form)
        };
        let at = |name: &str| root.join(name);
        let shown = root.display();
        let text =
            format!("\u{feff}# notes\r\n\n  {shown}/a/3.txt \n{shown}/?/*.db\n{shown}/[x]\n{shown}/gone\n");
        let found = read(text, Form::Patterns).unwrap();
        assert_eq!(found, ["a/3.txt", "a/1.db", "a/2.db", "b/4.db", "[x]", "gone"].map(at));
        let lines = read(format!("{shown}/*.db\n # x\n"), Form::Lines).unwrap();
        assert_eq!(lines, [at("*.db"), PathBuf::from(" # x")]);
        let raw = read(format!("{shown}/a\nb\0{shown}/c"), Form::Zeroes).unwrap();
        assert_eq!(raw, [at("a\nb"), at("c")]);
        assert!(
            read(format!("{shown}/*.nothing\n"), Form::Patterns)
                .unwrap_err()
                .message()
                .contains("nothing fits")
        );
    }
}
