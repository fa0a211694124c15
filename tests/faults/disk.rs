//! A disk without power: of what a program wrote, only what it flushed is left. Made from the list of its calls: the
//! bytes of a file are kept when the file is flushed, the names in a folder when the folder is.

use crate::trace::Call;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which flushes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushes {
    /// All of them.
    Kept,
    /// Those of folders do nothing: known to be bad.
    OfFilesOnly,
    /// None does anything: known to be bad.
    Ignored,
}

type Number = usize;

/// A file or folder: what a program sees of it, and what is left without power.
#[derive(Clone, Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    kept_bytes: Vec<u8>,
    names: BTreeMap<String, Number>,
    kept_names: BTreeMap<String, Number>,
    is_folder: bool,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
    inodes: Vec<Inode>,
}

impl Disk {
    /// What lies in a folder; all of it is kept.
    pub fn read(root: &Path) -> Self {
        let mut disk = Self { root: root.to_owned(), inodes: Vec::new() };
        disk.add(root);
        disk
    }

    fn add(&mut self, path: &Path) -> Number {
        let number = self.inodes.len();
        self.inodes.push(Inode { is_folder: path.is_dir(), ..Inode::default() });
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let child = self.add(&entry.path());
                self.inodes[number].names.insert(entry.file_name().into_string().unwrap(), child);
            }
        } else {
            self.inodes[number].bytes = fs::read(path).unwrap();
        }
        let inode = &mut self.inodes[number];
        (inode.kept_bytes, inode.kept_names) = (inode.bytes.clone(), inode.names.clone());
        number
    }

    fn find(&self, path: &Path) -> Option<Number> {
        let below = path.strip_prefix(&self.root).ok()?;
        below.iter().try_fold(0, |at, name| self.inodes[at].names.get(name.to_str()?).copied())
    }

    fn make(&mut self, path: &Path, is_folder: bool) {
        if self.find(path).is_none() {
            self.inodes.push(Inode { is_folder, ..Inode::default() });
            self.name(path, self.inodes.len() - 1);
        }
    }

    fn name(&mut self, path: &Path, number: Number) {
        let folder = self.find(path.parent().unwrap()).unwrap_or_else(|| panic!("no folder of {path:?}"));
        self.inodes[folder].names.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), number);
    }

    fn unname(&mut self, path: &Path) -> Option<Number> {
        let folder = self.find(path.parent()?)?;
        self.inodes[folder].names.remove(path.file_name()?.to_str()?)
    }

    /// A call happens. Calls that this model does not know fail the test.
    pub fn apply(&mut self, call: &Call, flushes: Flushes) {
        if call.answer.is_none_or(|answer| answer < 0) {
            return;
        }
        match call.name {
            "openat" => self.make(&call.path, false),
            "mkdirat" | "mkdir" => self.make(&call.path, true),
            "write" => {
                let number = self.find(&call.path).unwrap_or_else(|| panic!("no file for {call:?}"));
                let written = usize::try_from(call.answer.unwrap()).unwrap();
                self.inodes[number].bytes.extend_from_slice(&call.bytes[..written]);
            }
            "renameat2" | "renameat" => {
                let number = self.unname(&call.path).unwrap();
                self.name(call.to.as_ref().unwrap(), number);
            }
            "unlinkat" => drop(self.unname(&call.path)),
            "fsync" | "fdatasync" => {
                let Some(number) = self.find(&call.path) else { return };
                let inode = &mut self.inodes[number];
                let counts = match flushes {
                    Flushes::Kept => true,
                    Flushes::OfFilesOnly => !inode.is_folder,
                    Flushes::Ignored => false,
                };
                if counts {
                    (inode.kept_bytes, inode.kept_names) = (inode.bytes.clone(), inode.names.clone());
                }
            }
            name => panic!("the model does not know {name} of {}", call.path.display()),
        }
    }

    /// Writes what is left into a folder. Some of what was not flushed may be left too: `luck` says of each file and
    /// each folder whether it is.
    pub fn write(&self, into: &Path, luck: &mut dyn FnMut() -> bool) {
        self.write_one(0, into, luck);
    }

    fn write_one(&self, number: Number, path: &Path, luck: &mut dyn FnMut() -> bool) {
        let inode = &self.inodes[number];
        let is_lucky = luck();
        if inode.is_folder {
            fs::create_dir_all(path).unwrap();
            let names = if is_lucky { &inode.names } else { &inode.kept_names };
            names.iter().for_each(|(name, child)| self.write_one(*child, &path.join(name), luck));
        } else {
            fs::write(path, if is_lucky { &inode.bytes } else { &inode.kept_bytes }).unwrap();
        }
    }
}
