//! L2: a repository in a folder of the local file system (an external drive, a network mount).
//!
//! Durability rules: temporary name in the same folder, length checked, file flushed, closed, renamed without
//! replacing, folder flushed; a file whose flush failed is given up, never flushed again. Everything goes through the
//! descriptor of the repository's folder, and no link below it is followed.

mod cache;
mod failure;
mod files;
mod owners;
#[cfg(test)]
mod tests;
mod walk;

use super::memory::{already_there, check_len, check_range, folder_prefix, not_found};
use super::{Capabilities, Listing, ObjectInfo, ObjectName, Store};
use crate::base::path::clean;
use crate::base::{Error, Kind, Result, Timestamp, Whose};
use crate::sys::{self, Published, Temporary, Way};
use cache::OpenFiles;
use failure::{Place, write_error};
use files::Existing;
use owners::Owners;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A store in a folder. Opening and reading write nothing.
#[derive(Debug)]
pub struct LocalStore {
    path: PathBuf,
    root: File,
    /// Of what is stored.
    owners: Owners,
    /// Folders whose own entries in their parents are known to be durable.
    settled: Mutex<HashSet<String>>,
    /// Set once the flush of a folder failed: what was renamed into it may vanish, and a second flush proves nothing.
    unsure: AtomicBool,
    /// Set once the file system could neither rename without replacing nor link.
    renames_over: AtomicBool,
    open_files: OpenFiles,
}

impl LocalStore {
    /// Makes the folder, or takes an empty one. A drive's `lost+found` does not count, nor does what an `init` has written
    /// before its config: it was killed, or it is under way, and then only one of both gets its config stored.
    ///
    /// # Errors
    /// As [`Self::check_free`], or if the folder cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        if let Some(store) = Self::free(path)? {
            return Ok(store);
        }
        sys::create_folders(path, 0o700)
            .and_then(|_| Self::open_root(path))
            .map_err(|e| write_error("create repository folder", shown(path), e))
    }

    /// As [`Self::create`], for a group: all of its members can use the repository.
    ///
    /// # Errors
    /// [`Kind::Denied`] if this user cannot give files to the group: only its members and root can.
    pub fn create_for_group(path: &Path, gid: u32) -> Result<Self> {
        let mut store = Self::create(path)?;
        store.owners = Owners::of_group(&store.root, gid)
            .map_err(|e| Error::io("give to the group the folder", shown(path), e).of(Whose::Repository))?;
        Ok(store)
    }

    /// Looks whether [`Self::create`] would take the place; writes nothing.
    ///
    /// # Errors
    /// [`Kind::AlreadyThere`] if a repository is there, a file, or a folder that is not empty; fails if the folder cannot
    /// be looked into.
    pub fn check_free(path: &Path) -> Result<()> {
        Self::free(path).map(|_| ())
    }

    /// The folder for a new repository; none if it is still to be made.
    fn free(path: &Path) -> Result<Option<Self>> {
        let store = match Self::open_root(path) {
            Ok(store) => store,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                let error = Error::new(Kind::AlreadyThere, "create repository", shown(path));
                return Err(error.because("a file stands there"));
            }
            Err(e) => return Err(Error::io("open repository folder", shown(path), e).of(Whose::Repository)),
        };
        let there = files::entries(&store.root)
            .map_err(|e| Error::io("list folder", shown(path), e).of(Whose::Repository))?;
        if there.iter().any(|name| name == b"config") {
            let error = Error::new(Kind::AlreadyThere, "create repository", shown(path));
            return Err(error.because("a repository is there: it has a `config`"));
        }
        let second = store.stat(&ObjectName::config().mirror())?.is_some();
        let leftover = |name: &[u8]| {
            matches!(name, b"lost+found" | b"keys" | b"leases")
                || (name == b"mirror" && !second)
                || sys::is_temporary(name)
        };
        if !there.iter().all(|name| leftover(name)) {
            let error = Error::new(Kind::AlreadyThere, "create repository", shown(path));
            return Err(error.because(format!("the folder is not empty: it has {}", some_of(&there))));
        }
        Ok(Some(store))
    }

    /// Opens a folder in which a repository was created; writes nothing.
    ///
    /// # Errors
    /// [`Kind::NoRepository`] if none is there; [`Kind::Damaged`] if one is there that lost both copies of its config; fails
    /// if the folder cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let no_repository =
            |why: String| Err(Error::new(Kind::NoRepository, "open repository", shown(path)).because(why));
        let store = match Self::open_root(path) {
            Ok(store) => store,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return no_repository("nothing is there".to_owned());
            }
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                return no_repository("it is a file, not a folder".to_owned());
            }
            Err(e) => return Err(Error::io("open repository folder", shown(path), e).of(Whose::Repository)),
        };
        let config = ObjectName::config();
        if store.stat(&config)?.is_none() && store.stat(&config.mirror())?.is_none() {
            let there = files::entries(&store.root)
                .map_err(|e| Error::io("list folder", shown(path), e).of(Whose::Repository))?;
            // Keys alone are what is left of an `init` that was killed.
            let has = |wanted: &[u8]| there.iter().any(|name| name == wanted);
            if has(b"keys") && (has(b"packs") || has(b"index") || has(b"snapshots")) {
                let why = format!("both copies of its `config` are gone; it has {}", some_of(&there));
                return Err(Error::damaged("open repository", shown(path), why));
            }
            return no_repository(match there.as_slice() {
                [] => "the folder is empty".to_owned(),
                some => format!("the folder has no `config`, it has {}", some_of(some)),
            });
        }
        Ok(store)
    }

    fn open_root(path: &Path) -> io::Result<Self> {
        let root = sys::open_folder(path)?;
        Ok(Self {
            path: path.to_owned(),
            owners: Owners::of(&root)?,
            root,
            settled: Mutex::default(),
            unsure: AtomicBool::new(false),
            renames_over: AtomicBool::new(false),
            open_files: OpenFiles::default(),
        })
    }

    /// The folder of an object, and the object's name in it.
    fn folder_of<'n>(&self, name: &'n ObjectName) -> io::Result<(File, &'n str)> {
        files::folder_of(&self.root, name.as_str())
    }

    /// What a failed call means.
    fn place(&self) -> Place<'_> {
        Place { path: &self.path, root: &self.root }
    }

    /// The error of a failed read of an object.
    fn read_error(&self, act: &str, name: &ObjectName, e: io::Error) -> Error {
        let error = self.place().read(act, name, e);
        if error.kind() == Kind::NotFound { not_found(act, name) } else { error }
    }

    /// As [`Self::folder_of`]; missing folders are made, and the entries of all of them are made durable.
    fn make_folder_of<'n>(&self, name: &'n ObjectName) -> io::Result<(File, &'n str)> {
        let (folders, last) = name.split_last();
        let mut folder = self.root.try_clone()?;
        let mut path = String::new();
        for segment in folders.split('/').filter(|segment| !segment.is_empty()) {
            path = format!("{path}{segment}/");
            let below = sys::create_folder(&folder, segment.as_bytes(), &self.owners.folders)?;
            // A folder that was there already may stem from a run that was killed before its flush.
            let settled = || self.settled.lock().unwrap_or_else(PoisonError::into_inner);
            if !settled().contains(&path) {
                self.flush_folder(&folder)?;
                settled().insert(path.clone());
            }
            folder = below;
        }
        Ok((folder, last))
    }

    fn flush_folder(&self, folder: &File) -> io::Result<()> {
        let flushed = sys::flush_folder(folder);
        if flushed.is_err() {
            self.unsure.store(true, Ordering::Release);
        } else if self.unsure.load(Ordering::Acquire) {
            // Another flush failed at the same time: the kernel may have told only one of the two.
            return Err(io::Error::other("another flush of a folder failed at the same time"));
        }
        flushed
    }

    /// Writes an object and makes it durable; false if other content stands under its name.
    fn write(&self, name: &ObjectName, bytes: &[u8]) -> io::Result<bool> {
        if self.unsure.load(Ordering::Acquire) {
            return Err(io::Error::other(
                "an earlier flush of a folder failed, so nothing more is stored there",
            ));
        }
        let (folder, last) = self.make_folder_of(name)?;
        match files::compare(&folder, last, bytes)? {
            Existing::None => {}
            Existing::Other => return Ok(false),
            Existing::Same(file) => return self.settle(&folder, &file),
        }
        let temporary = Temporary::write(&folder, bytes, &self.owners.files)?;
        if let Published::By(way) = temporary.publish(last.as_bytes(), &Way::ALL)? {
            if way == Way::LookAndRename {
                self.renames_over.store(true, Ordering::Release);
            }
            self.flush_folder(&folder)?;
            return Ok(true);
        }
        match files::compare(&folder, last, bytes)? {
            Existing::Same(file) => self.settle(&folder, &file),
            Existing::Other => Ok(false),
            Existing::None => Err(io::Error::other("an object of this name came and went meanwhile")),
        }
    }

    /// Makes an object durable that somebody else wrote.
    fn settle(&self, folder: &File, file: &File) -> io::Result<bool> {
        file.sync_all()?;
        self.flush_folder(folder)?;
        Ok(true)
    }

    fn open_object(&self, name: &ObjectName) -> Result<(File, u64)> {
        let open = || {
            let (folder, last) = self.folder_of(name)?;
            files::open_file(&folder, last)
        };
        open().map_err(|e| self.read_error("read object", name, e))
    }
}

impl Store for LocalStore {
    fn put_new(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        match self.write(name, bytes) {
            Ok(true) => Ok(()),
            Ok(false) => Err(already_there(name)),
            Err(e) => Err(self.place().write("store object", name, e)),
        }
    }

    fn get(&self, name: &ObjectName, max_len: u64) -> Result<Vec<u8>> {
        let (file, size) = self.open_object(name)?;
        check_len(name, size, max_len)?;
        files::read_all(&file, size).map_err(|e| self.read_error("read object", name, e))
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: u64) -> Result<Vec<u8>> {
        let open = match self.open_files.get(name) {
            Some(open) => open,
            None => {
                let open = Arc::new(self.open_object(name)?);
                self.open_files.put(name, &open);
                open
            }
        };
        let (file, size) = &*open;
        check_range(name, *size, offset, len)?;
        files::read_range(file, offset, len).map_err(|e| self.read_error("read object", name, e))
    }

    fn list(&self, prefix: &str) -> Result<Listing> {
        let folder = folder_prefix(prefix)?;
        let mut found = Vec::new();
        let unreadable = walk::files(self.place(), &folder, &mut |place| {
            let name = std::str::from_utf8(place.name).ok();
            let name = name.and_then(|name| ObjectName::new(&format!("{}{name}", place.folder_name)).ok());
            if let Some(name) = name {
                found.push(ObjectInfo { name, size: place.size, modified: place.modified });
            }
            Ok(())
        })?;
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(Listing { objects: found, unreadable })
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.open_files.forget(name);
        let delete = || {
            let (folder, last) = self.folder_of(name)?;
            files::unlink(&folder, last.as_bytes())?;
            self.flush_folder(&folder)
        };
        delete().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                self.read_error("delete object", name, e)
            }
            _ => self.place().write("delete object", name, e),
        })
    }

    fn stat(&self, name: &ObjectName) -> Result<Option<ObjectInfo>> {
        let stat = || {
            let (folder, last) = self.folder_of(name)?;
            files::stat_file(&folder, last)
        };
        match stat() {
            Ok((size, modified)) => Ok(Some(ObjectInfo { name: name.clone(), size, modified })),
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.place().is_in_place() => Ok(None),
            Err(e) => Err(self.read_error("look at object", name, e)),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { conditional_puts: !self.renames_over.load(Ordering::Acquire) }
    }

    fn remove_stale_temporaries(&self, older_than: Timestamp) -> Result<u64> {
        let mut removed = 0;
        walk::files(self.place(), "", &mut |place| {
            if !sys::is_temporary(place.name) || place.modified >= older_than {
                return Ok(());
            }
            let subject = format!("{}{}", place.folder_name, clean(place.name));
            match files::unlink(place.folder, place.name) {
                Ok(()) => removed += 1,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(self.place().write("remove temporary file", subject, e)),
            }
            Ok(())
        })?;
        Ok(removed)
    }

    fn free_space(&self) -> Result<Option<u64>> {
        files::free_space(&self.root)
            .map(Some)
            .map_err(|e| self.place().read("ask for the free space of", self.location(), e))
    }

    fn location(&self) -> String {
        shown(&self.path)
    }

    fn local_path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

fn shown(path: &Path) -> String {
    clean(path.as_os_str().as_bytes()).into_owned()
}

/// The first names of a folder, for people.
fn some_of(names: &[Vec<u8>]) -> String {
    let mut text: Vec<_> = names.iter().take(3).map(|name| format!("`{}`", clean(name))).collect();
    if names.len() > text.len() {
        text.push(format!("{} more", names.len() - text.len()));
    }
    text.join(", ")
}
