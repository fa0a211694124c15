//! What lies in a folder, taken by descriptor and independent of the engine; and how two folders differ.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: FileType,
    /// Permission bits.
    pub mode: u32,
    /// Bytes of a file; 0 for everything else.
    pub size: u64,
    /// Last change of the content in nanoseconds since 1970.
    pub mtime: i128,
    /// BLAKE3 of a file's bytes.
    pub content: Option<[u8; 32]>,
    /// Where a symbolic link points.
    pub target: Option<Vec<u8>>,
    /// For a file with several names in this folder: the first of them.
    pub first_name: Option<Vec<u8>>,
}

/// All that lies in a folder, by its path relative to the folder; the folder itself is the empty path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth(pub BTreeMap<Vec<u8>, Entry>);

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Truth {
    /// Reads a folder and everything below it. Paths may be of any length.
    ///
    /// # Panics
    /// Panics if anything cannot be read: then the test has no truth to compare with.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        Self::try_read(folder).unwrap_or_else(|e| panic!("read {}: {e}", folder.display()))
    }

    /// As [`Self::read`].
    ///
    /// # Errors
    /// Fails if anything cannot be read.
    pub fn try_read(folder: &Path) -> io::Result<Self> {
        let root = openat(rustix::fs::CWD, folder, OPEN | OFlags::DIRECTORY, Mode::empty())?;
        let mut reader = Reader::default();
        let stat = fstat(&root)?;
        reader.add(Vec::new(), &stat, None, None);
        reader.folder(&root, &[])?;
        reader.name_groups();
        Ok(reader.truth)
    }

    /// Without pipes, sockets and devices, which are recorded but not restored.
    #[must_use]
    pub fn without_specials(mut self) -> Self {
        self.0.retain(|_, entry| {
            matches!(entry.kind, FileType::RegularFile | FileType::Directory | FileType::Symlink)
        });
        self
    }

    /// Number of regular files.
    #[must_use]
    pub fn files(&self) -> usize {
        self.0.values().filter(|entry| entry.kind == FileType::RegularFile).count()
    }

    /// BLAKE3 over the sorted paths and content hashes of all files: independent of times and permissions.
    #[must_use]
    pub fn content_hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for (path, entry) in &self.0 {
            if let Some(content) = entry.content {
                hasher.update(&(path.len() as u64).to_le_bytes()).update(path).update(&content);
            }
        }
        hasher.finalize()
    }

    /// How `other` differs, one line for each path; empty if it does not.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (path, entry) in &self.0 {
            let shown = shown(path);
            match other.0.get(path) {
                None => found.push(format!("- {shown}")),
                Some(there) if there == entry => {}
                Some(there) => found.push(format!("M {shown}: {}", difference(entry, there))),
            }
        }
        found.extend(
            other
                .0
                .keys()
                .filter(|path| !self.0.contains_key(*path))
                .map(|path| format!("+ {}", shown(path))),
        );
        found
    }

    /// Panics with the differences if there are any.
    ///
    /// # Panics
    /// See above.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, what: &str) {
        let differences = self.differences(other);
        let first = &differences[..differences.len().min(20)];
        assert!(differences.is_empty(), "{what}: {} differences\n{}", differences.len(), first.join("\n"));
    }
}

/// A path for people: whatever is no plain text is escaped, and the middle of a long one left out.
#[must_use]
pub fn shown(path: &[u8]) -> String {
    let text = path.escape_ascii().to_string();
    if text.len() <= 200 { text } else { format!("{}…{}", &text[..90], &text[text.len() - 90..]) }
}

fn difference(was: &Entry, is: &Entry) -> String {
    let mut text = String::new();
    let mut field = |name: &str, was: &dyn std::fmt::Debug, is: &dyn std::fmt::Debug| {
        let (was, is) = (format!("{was:?}"), format!("{is:?}"));
        if was != is {
            write!(text, "{name} {was} became {is}; ").expect("a string takes all");
        }
    };
    field("kind", &was.kind, &is.kind);
    field("mode", &format_args!("{:o}", was.mode), &format_args!("{:o}", is.mode));
    field("size", &was.size, &is.size);
    field("mtime", &was.mtime, &is.mtime);
    field("content", &was.content.map(blake3::Hash::from), &is.content.map(blake3::Hash::from));
    field("target", &was.target.as_deref().map(shown), &is.target.as_deref().map(shown));
    field("first name", &was.first_name.as_deref().map(shown), &is.first_name.as_deref().map(shown));
    text
}

#[derive(Default)]
struct Reader {
    truth: Truth,
    /// Names of each file that has several, by device and number.
    groups: HashMap<(u64, u64), Vec<Vec<u8>>>,
}

impl Reader {
    fn folder(&mut self, folder: &OwnedFd, path: &[u8]) -> io::Result<()> {
        for name in names(folder)? {
            let mut below = path.to_vec();
            if !path.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(&name);
            let stat = statat(folder, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let child = openat(folder, name.as_slice(), OPEN | OFlags::DIRECTORY, Mode::empty())?;
                    self.add(below.clone(), &stat, None, None);
                    self.folder(&child, &below)?;
                }
                FileType::RegularFile => {
                    if stat.st_nlink > 1 {
                        self.groups.entry((stat.st_dev, stat.st_ino)).or_default().push(below.clone());
                    }
                    let file = openat(folder, name.as_slice(), OPEN, Mode::empty())?;
                    self.add(below, &stat, Some(content(File::from(file))?), None);
                }
                FileType::Symlink => {
                    let target = readlinkat(folder, name.as_slice(), Vec::new())?.into_bytes();
                    self.add(below, &stat, None, Some(target));
                }
                _ => self.add(below, &stat, None, None),
            }
        }
        Ok(())
    }

    fn add(&mut self, path: Vec<u8>, stat: &Stat, content: Option<[u8; 32]>, target: Option<Vec<u8>>) {
        let size = if content.is_some() { u64::try_from(stat.st_size).expect("a size") } else { 0 };
        let mtime = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
        let kind = FileType::from_raw_mode(stat.st_mode);
        let entry =
            Entry { kind, mode: stat.st_mode & 0o7777, size, mtime, content, target, first_name: None };
        self.truth.0.insert(path, entry);
    }

    fn name_groups(&mut self) {
        for names in self.groups.values().filter(|names| names.len() > 1) {
            let first = names.iter().min().expect("two names");
            for name in names {
                self.truth.0.get_mut(name).expect("was added").first_name = Some(first.clone());
            }
        }
    }
}

fn names(folder: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

fn content(mut file: File) -> io::Result<[u8; 32]> {
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; 1 << 17]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(*hasher.finalize().as_bytes()),
            read => hasher.update(&buffer[..read]),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn differences(change: impl FnOnce(&Path)) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        for name in ["a", "b", "folder/c"] {
            fs::write(dir.path().join(name), "same").unwrap();
        }
        fs::hard_link(dir.path().join("a"), dir.path().join("z")).unwrap();
        symlink("here", dir.path().join("link")).unwrap();
        let before = Truth::read(dir.path());
        assert_eq!(before.differences(&Truth::read(dir.path())), Vec::<String>::new());
        let root_time = fs::metadata(dir.path()).unwrap().modified().unwrap();
        change(dir.path());
        File::open(dir.path()).unwrap().set_modified(root_time).unwrap();
        before.differences(&Truth::read(dir.path()))
    }

    #[test]
    fn every_way_in_which_two_trees_can_differ_is_told() {
        let keep_time = |path: &Path, change: &dyn Fn()| {
            let time = fs::metadata(path).unwrap().modified().unwrap();
            change();
            File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        };
        let found =
            differences(|dir| keep_time(&dir.join("b"), &|| fs::write(dir.join("b"), "gone").unwrap()));
        assert!(matches!(found.as_slice(), [one] if one.starts_with("M b: content")), "{found:?}");
        let found = differences(|dir| {
            let file = File::options().append(true).open(dir.join("b")).unwrap();
            let time = file.metadata().unwrap().modified().unwrap() + std::time::Duration::from_nanos(1);
            file.set_modified(time).unwrap();
        });
        assert!(matches!(found.as_slice(), [one] if one.starts_with("M b: mtime")), "{found:?}");
        let found =
            differences(|dir| fs::set_permissions(dir.join("b"), fs::Permissions::from_mode(0o601)).unwrap());
        assert!(matches!(found.as_slice(), [one] if one.starts_with("M b: mode")), "{found:?}");
        let found = differences(|dir| {
            let time = fs::metadata(dir.join("z")).unwrap().modified().unwrap();
            fs::remove_file(dir.join("z")).unwrap();
            fs::write(dir.join("z"), "same").unwrap();
            File::options().append(true).open(dir.join("z")).unwrap().set_modified(time).unwrap();
        });
        assert!(found.len() == 2 && found.iter().all(|line| line.contains("first name")), "{found:?}");
        let found = differences(|dir| {
            fs::remove_file(dir.join("link")).unwrap();
            symlink("there", dir.join("link")).unwrap();
        });
        assert!(matches!(found.as_slice(), [one] if one.contains("target")), "{found:?}");
        assert_eq!(differences(|dir| fs::rename(dir.join("b"), dir.join("c")).unwrap()), ["- b", "+ c"]);
    }
}
