//! From paths as a person gives them to absolute ones as they are stored.

use crate::exit::Condition;
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is to be stored: what the command line says, else what the profile says.
///
/// # Errors
/// Wrong usage if neither says anything.
pub(crate) fn or_profile<'p>(given: &'p [PathBuf], profile: &'p [PathBuf]) -> Result<&'p [PathBuf]> {
    match (given, profile) {
        ([], []) => Err(Failure::usage("No PATH to take a snapshot of is given").with_hint(
            "`chatvault snapshot FOLDER`, or `paths` in the [NAME.snapshot] of a profile: -P NAME",
        )),
        ([], profile) => Ok(profile),
        (given, _) => Ok(given),
    }
}

/// Absolute paths without `.` and `..`, in the order given, each once. Symbolic links on the way are resolved, so that one
/// folder has one name; a link at the end stays a link, unless a slash stands behind it.
///
/// A path that is missing among others stays in the list: the snapshot names it.
///
/// # Errors
/// Fails if nothing is at any of them.
pub(crate) fn resolve(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::with_capacity(given.len());
    let mut known = HashSet::new();
    let mut missing = Vec::new();
    for path in given {
        let resolved = match absolute(path).and_then(|absolute| absolute.symlink_metadata().map(|_| absolute))
        {
            Ok(resolved) => resolved,
            Err(cause) => {
                missing.push(format!("{}: {cause}", shown(path)));
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

fn absolute(path: &Path) -> io::Result<PathBuf> {
    let bytes = path.as_os_str().as_bytes();
    let follows = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    match (path.file_name(), path.parent()) {
        (Some(name), Some(parent)) if !follows => {
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
    fn links_on_the_way_are_resolved_and_one_at_the_end_is_kept_unless_a_slash_follows() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/inner")).unwrap();
        symlink("real", root.join("link")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        let one = |path: &str| resolve(&[root.join(path)]).unwrap().remove(0);
        for (given, wanted) in [
            ("real", "real"),
            ("real/", "real"),
            ("link", "link"),
            ("link/", "real"),
            ("link/.", "real"),
            ("link/inner", "real/inner"),
            ("real/inner/..", "real"),
            ("real/../real/./inner", "real/inner"),
            ("dangling", "dangling"),
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
