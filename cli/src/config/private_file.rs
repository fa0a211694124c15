//! Files with secrets: made new, for their owner only, and durable before they are relied on.

use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use chatvault_engine::sys::{self, Ownership, Published, Temporary, Way};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Mode of a file that only its user can read.
const PRIVATE: u32 = 0o600;

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
                .because(format!("the folder {} is not there", shown(sys::parent_of(path))))
                .with_hint("make that folder, or name another one"),
            _ => failure,
        }
    })
}

/// The file gets its name when it is whole: a killed program leaves no half a key under a name that is relied on. It
/// belongs to its user, and if root creates it, to whoever owns the folder.
fn write(path: &Path, content: &str) -> io::Result<()> {
    let folder = sys::open_folder(sys::parent_of(path))?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.as_encoded_bytes();
    let owner = Ownership::inherited(&folder, PRIVATE)?;
    let temporary = Temporary::write(&folder, content.as_bytes(), &owner)?;
    match temporary.publish(name, &[Way::RenameNoReplace, Way::Link]) {
        Ok(Published::By(_)) => sys::flush_folder(&folder),
        Ok(Published::NameTaken) => Err(io::ErrorKind::AlreadyExists.into()),
        // The file system can neither rename without replacing nor link.
        Err(_) => write_in_place(path, content, &owner),
    }
}

/// Removes from a folder what killed programs left there unfinished. A living one whose file goes writes it in place.
pub(crate) fn remove_unfinished(folder: &Path) {
    let entries =
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let is_unfinished =
        |path: &PathBuf| path.file_name().is_some_and(|name| sys::is_temporary(name.as_encoded_bytes()));
    for path in entries.filter(is_unfinished) {
        // It does no harm, and the next run tries again.
        let _ = std::fs::remove_file(path);
    }
}

fn write_in_place(path: &Path, content: &str, owner: &Ownership) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)?;
    let written = owner
        .give(&file)
        .and_then(|()| file.write_all(content.as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_parent(path));
    if written.is_err() {
        // Half a secret is of no use to anybody, and would stand in the way of the next attempt.
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Opens a file for adding lines, and creates it for its user only if it is missing.
pub(crate) fn open_to_append(path: &Path) -> io::Result<File> {
    match OpenOptions::new().append(true).create_new(true).mode(PRIVATE).open(path) {
        Ok(file) => {
            let folder = sys::open_folder(sys::parent_of(path))?;
            Ownership::inherited(&folder, PRIVATE)?.give(&file)?;
            Ok(file)
        }
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().append(true).open(path)
        }
        Err(cause) => Err(cause),
    }
}

/// Creates a folder, and those above it, that only their user can enter; existing ones stay as they are.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    sys::create_folders(path, 0o700)
        .and_then(|_| sync_parent(path))
        .map_err(|cause| Failure::io("create the folder", shown(path), cause))
}

/// Makes the names in the folder of a path durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    sys::flush_folder(&sys::open_folder(sys::parent_of(path))?)
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
        assert!(lost.message().ends_with("/gone is not there") && !lost.message().contains(".tmp-"));
        assert!(lost.hint().unwrap().contains("make that folder"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(create(&link, "three").is_err());
        assert!(!folder.path().join("nowhere").exists());
    }
}
