//! Comparing two folders entry by entry, by code that shares nothing with the engine.

use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A folder as it was at one moment, with the bytes of all its files.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture(BTreeMap<PathBuf, Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Kind and permissions.
    mode: u32,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// The content of a file, the target of a link.
    bytes: Option<Vec<u8>>,
}

impl Picture {
    /// Reads a folder and everything in it.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let mut entries = BTreeMap::new();
        let mut open = vec![PathBuf::new()];
        while let Some(relative) = open.pop() {
            let path = folder.join(&relative);
            let (entry, names) = read(&path).map_err(|cause| Failure::io("read", shown(&path), cause))?;
            open.extend(names.into_iter().map(|name| relative.join(name)));
            entries.insert(relative, entry);
        }
        Ok(Self(entries))
    }

    /// Number of entries, the folder itself included.
    pub(super) fn entries(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.0
            .values()
            .flat_map(|entry| &entry.bytes)
            .map(|bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            .sum()
    }

    /// What differs, in words, one sentence for each entry; nothing if the folders are alike.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let paths: BTreeSet<&PathBuf> = self.0.keys().chain(other.0.keys()).collect();
        paths
            .into_iter()
            .filter_map(|path| {
                let why = match (self.0.get(path), other.0.get(path)) {
                    (Some(before), Some(after)) => before.difference(after)?,
                    (Some(_), None) => "is missing",
                    (None, _) => "was not there before",
                };
                let name =
                    if path.as_os_str().is_empty() { "the folder itself".to_owned() } else { shown(path) };
                Some(format!("{name}: {why}"))
            })
            .collect()
    }
}

impl Entry {
    fn difference(&self, other: &Self) -> Option<&'static str> {
        if self.bytes != other.bytes {
            Some("has other bytes")
        } else if self.mode != other.mode {
            Some("has other permissions")
        } else if self.modified != other.modified {
            Some("has another time")
        } else {
            None
        }
    }
}

/// An entry, and the names in it if it is a folder.
fn read(path: &Path) -> io::Result<(Entry, Vec<PathBuf>)> {
    let metadata = fs::symlink_metadata(path)?;
    let mut names = Vec::new();
    let bytes = if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            names.push(PathBuf::from(entry?.file_name()));
        }
        None
    } else if metadata.is_symlink() {
        Some(fs::read_link(path)?.into_os_string().into_encoded_bytes())
    } else {
        Some(fs::read(path)?)
    };
    let entry = Entry { mode: metadata.mode(), modified: (metadata.mtime(), metadata.mtime_nsec()), bytes };
    Ok((entry, names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/file"), "content").unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("sub/link")).unwrap();
        folder
    }

    fn changed(change: impl Fn(&Path)) -> Vec<String> {
        let folder = folder();
        let before = Picture::take(folder.path()).unwrap();
        assert_eq!(before.entries(), 4);
        assert_eq!(before.differences(&before), Vec::<String>::new());
        change(&folder.path().join("sub/file"));
        before.differences(&Picture::take(folder.path()).unwrap())
    }

    #[test]
    fn every_sort_of_difference_is_found() {
        let set_modified =
            |path: &Path, time| File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        let rewrite = |path: &Path, text: &str| {
            let time = modified(path);
            fs::write(path, text).unwrap();
            set_modified(path, time);
        };
        assert_eq!(changed(|file| rewrite(file, "Content")), ["sub/file: has other bytes"]);
        assert_eq!(changed(|file| rewrite(file, "content+")), ["sub/file: has other bytes"]);
        assert_eq!(
            changed(|file| fs::set_permissions(file, Permissions::from_mode(0o400)).unwrap()),
            ["sub/file: has other permissions"]
        );
        let later = |file: &Path| set_modified(file, modified(file) + Duration::from_nanos(1));
        assert_eq!(changed(later), ["sub/file: has another time"]);
        let gone = changed(|file| fs::remove_file(file).unwrap());
        assert!(gone.contains(&"sub/file: is missing".to_owned()), "{gone:?}");
        let added = changed(|file| fs::write(file.with_file_name("new"), "").unwrap());
        assert!(added.contains(&"sub/new: was not there before".to_owned()), "{added:?}");
        let other_link = changed(|file| {
            let link = file.with_file_name("link");
            fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        });
        assert!(other_link.contains(&"sub/link: has other bytes".to_owned()), "{other_link:?}");
    }
}
