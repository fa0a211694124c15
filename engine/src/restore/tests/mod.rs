//! What a restore promises, on a real file system. All tests hold for the superuser and for everybody else.

mod attributes;
mod confined;
mod faithful;
mod faults;
mod overwrite;
mod owners;
mod select;
mod sidecars;

use super::{Action, RestoreOptions, RestoreSummary, apply, plan};
use crate::base::event::Silent;
use crate::base::{Kind, Result, StoredPath};
use crate::repo::{Repo, Snapshot};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

fn options(target: &Path, path: Option<&str>) -> RestoreOptions {
    RestoreOptions {
        target: target.to_path_buf(),
        path: path.map(|path| StoredPath::parse(path.as_bytes()).unwrap()),
        ..RestoreOptions::default()
    }
}

fn restore(repo: &Repo, snapshot: &Snapshot, target: &Path, path: Option<&str>) -> Result<RestoreSummary> {
    apply(repo, plan(repo, snapshot, &options(target, path), &Silent)?, &Silent)
}

fn refused(repo: &Repo, snapshot: &Snapshot, target: &Path) -> (Kind, String) {
    let error = plan(repo, snapshot, &options(target, None), &Silent).unwrap_err();
    (error.kind(), error.full_text())
}

fn named(name: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name))
}

/// All that lies in a folder, with the content of files and the targets of links.
fn all_in(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
            let content = if kind.is_dir() {
                folders.push(path.clone());
                b"folder".to_vec()
            } else if kind.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else {
                fs::read(&path).unwrap()
            };
            found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), content);
        }
    }
    found
}

fn names_in(folder: &Path) -> Vec<String> {
    all_in(folder).keys().map(|path| path.display().to_string()).collect()
}
