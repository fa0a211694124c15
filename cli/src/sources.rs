//! From paths as a person gives them to absolute ones as they are stored.

use crate::exit::Condition;
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// What is to be stored: what the command line says, else what the profile says.
///
/// # Errors
/// Wrong usage if neither says anything.
pub(crate) fn or_profile<'p>(given: &'p [PathBuf], profile: &'p [PathBuf]) -> Result<&'p [PathBuf]> {
    match (given, profile) {
        ([], []) => Err(Failure::usage("No PATH to take a snapshot of is given").with_hint(
            "`{chatvault} snapshot FOLDER`, or `paths` in the [NAME.snapshot] of a profile: -P NAME",
        )),
        ([], profile) => Ok(profile),
        (given, _) => Ok(given),
    }
}

/// Absolute paths without `.` and `..`, in the order given, each once. Symbolic links on the way are resolved, so that one
/// folder has one name. A link at the end keeps its name: the snapshot stores what it leads to under that name.
///
/// A path that is missing among others stays in the list: the snapshot names it.
///
/// # Errors
/// Fails if nothing is at any of them. Wrong usage for a link to a pipe, as a shell makes one for `<(command)`.
pub(crate) fn resolve(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::with_capacity(given.len());
    let mut known = HashSet::new();
    let mut missing = Vec::new();
    for path in given {
        let found = absolute(path).and_then(|absolute| Ok((absolute.metadata()?, absolute)));
        let resolved = match found {
            Ok((found, resolved)) => {
                if found.file_type().is_fifo() && resolved.is_symlink() {
                    return Err(pipe(path));
                }
                resolved
            }
            Err(cause) => {
                missing.push(format!("{}: {cause}{}", shown(path), dangling(path)));
                std::path::absolute(path)
                    .map(|path| without_dots(&path))
                    .map_err(|cause| Failure::io("find", shown(path), cause))?
            }
        };
        if known.insert(resolved.clone()) {
            paths.push(resolved);
        }
    }
    if missing.len() < given.len() {
        return Ok(paths);
    }
    let names: Vec<String> = given.iter().map(|path| shown(path)).collect();
    Err(Failure::new(Condition::Failed, format!("Failed to take a snapshot of {}", names.join(", ")))
        .because(missing.join("\n"))
        .with_hint("check the spelling of the path, and that its disk is connected; nothing was stored"))
}

/// Where a link leads that leads to nothing.
fn dangling(path: &Path) -> String {
    match std::fs::read_link(path) {
        Ok(target) => format!(" (a link to {})", shown(&target)),
        Err(_) => String::new(),
    }
}

fn pipe(path: &Path) -> Failure {
    Failure::usage(format!("Failed to take a snapshot of {}", shown(path)))
        .because("it is a pipe, whose content has no file")
        .with_hint(
            "store what a command writes with `COMMAND | {chatvault} snapshot --stdin --stdin-filename NAME`",
        )
}

fn absolute(path: &Path) -> io::Result<PathBuf> {
    match (path.file_name(), path.parent()) {
        (Some(name), Some(parent)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(std::fs::canonicalize(parent)?.join(name))
        }
        _ => std::fs::canonicalize(path),
    }
}

/// The path by its text alone: for one that is not there.
fn without_dots(path: &Path) -> PathBuf {
    let mut parts: Vec<&OsStr> = Vec::new();
    for part in path.iter() {
        if part == ".." {
            if parts.len() > 1 {
                parts.pop();
            }
        } else if part != "." {
            parts.push(part);
        }
    }
    parts.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_on_the_way_are_resolved_and_one_at_the_end_keeps_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/inner")).unwrap();
        symlink("real", root.join("link")).unwrap();
        let one = |path: &str| resolve(&[root.join(path)]).unwrap().remove(0);
        for (given, wanted) in [
            ("real", "real"),
            ("real/", "real"),
            ("link", "link"),
            ("link/", "link"),
            ("link/.", "link"),
            ("link/inner", "real/inner"),
            ("real/inner/..", "real"),
            ("real/../real/./inner", "real/inner"),
        ] {
            assert_eq!(one(given), root.join(wanted), "{given}");
        }
        assert_eq!(resolve(&["/".into()]).unwrap(), [PathBuf::from("/")]);
        assert_eq!(
            resolve(&[".".into()]).unwrap(),
            [std::env::current_dir().unwrap().canonicalize().unwrap()]
        );
    }

    #[test]
    fn a_link_to_nothing_is_missing_and_one_to_a_pipe_is_wrong_usage() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        symlink("gone card", root.join("dangling")).unwrap();
        let failure = resolve(&[root.join("dangling")]).unwrap_err();
        assert_eq!(failure.condition(), Condition::Failed);
        assert!(failure.message().contains("a link to gone card"), "{}", failure.message());
        let (reader, _writer) = io::pipe().unwrap();
        let fd = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let failure = resolve(&[fd.into()]).unwrap_err();
        assert_eq!(failure.condition(), Condition::Usage);
        assert!(failure.hint().unwrap().contains("--stdin"));
    }

    #[test]
    fn one_missing_path_stays_in_the_list_and_all_missing_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (there, gone) = (root.clone(), root.join("gone/../a/./b"));
        assert_eq!(
            resolve(&[there.clone(), gone.clone(), there.clone()]).unwrap(),
            [there, root.join("a/b")]
        );
        let failure = resolve(&[gone.clone(), root.join("x")]).unwrap_err();
        assert_eq!(failure.condition(), Condition::Failed);
        assert!(failure.message().contains(&shown(&gone)) && failure.message().contains("/x"));
    }
}
