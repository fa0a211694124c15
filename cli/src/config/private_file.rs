//! Files with secrets: made new, for their owner only, and durable before they are relied on.

use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How the names of files begin that are not whole yet.
const UNFINISHED: &str = ".chatvault-";

/// Makes a file that only its owner can read. One of this name, even a dangling link, is never touched.
pub(crate) fn create(path: &Path, content: &str) -> Result<()> {
    write(path, content).map_err(|cause| {
        let kind = cause.kind();
        let failure = Failure::io("make", shown(path), cause);
        match kind {
            io::ErrorKind::AlreadyExists => {
                failure.with_hint("a file with a secret is never overwritten: name another one")
            }
            io::ErrorKind::NotFound => failure
                .because(format!("the folder {} is not there", shown(parent_of(path))))
                .with_hint("make that folder, or name another one"),
            _ => failure,
        }
    })
}

/// The file gets its name when it is whole: a killed program leaves no half a key under a name that is relied on.
fn write(path: &Path, content: &str) -> io::Result<()> {
    // Readable by its owner only, as every file of this library.
    let made = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(parent_of(path));
    // Without the temporary name, which says nothing to anybody.
    let mut file = made.map_err(|cause| io::Error::from(cause.kind()))?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => sync_parent(path),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Err(e.error),
        // Some file systems (exFAT) can neither rename without replacing nor link.
        Err(_) => write_in_place(path, content),
    }
}

/// Removes from a folder what killed programs left there unfinished. A living one whose file goes writes it in place.
pub(crate) fn remove_unfinished(folder: &Path) {
    let entries =
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let is_unfinished = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()))
    };
    for path in entries.filter(is_unfinished) {
        // It does no harm, and the next run tries again.
        let _ = std::fs::remove_file(path);
    }
}

fn write_in_place(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written =
        file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_parent(path));
    if written.is_err() {
        // Half a secret is of no use to anybody, and would stand in the way of the next attempt.
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Makes a folder, and those above it, that only their owner can enter; those that are there stay as they are.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| sync_parent(path))
        .map_err(|cause| Failure::io("make the folder", shown(path), cause))
}

/// Makes the names in the folder of a path durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent_of(path))?.sync_all()
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_for_its_owner_only_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/key");
        create_folder(path.parent().unwrap()).unwrap();
        create(&path, "one").unwrap();
        assert!(create(&path, "two").unwrap_err().hint().unwrap().contains("never overwritten"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let lost = create(&folder.path().join("gone/key"), "x").unwrap_err();
        assert!(lost.message().ends_with("/gone is not there") && !lost.message().contains(UNFINISHED));
        assert!(lost.hint().unwrap().contains("make that folder"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(create(&link, "three").is_err());
        assert!(!folder.path().join("nowhere").exists());
    }
}
