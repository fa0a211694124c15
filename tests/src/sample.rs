//! A small tree with every kind of entry and name that a file system allows.

use crate::bytes::{noise, text};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, mkdirat, openat, utimensat};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// True if no permission bit keeps this process out.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Builds the tree in `root`, a new folder, and one file in `outside`, which shares its content with one in the tree.
/// Times are set, so that two runs build the same tree.
///
/// # Panics
/// Panics if the file system refuses any of it.
pub fn build(root: &Path, outside: &Path) {
    fs::create_dir_all(root).unwrap();
    fs::create_dir_all(outside).unwrap();
    contents(&root.join("contents"));
    links(&root.join("links"), outside);
    names(&root.join("names"));
    deep(root);
    specials(&root.join("specials"));
    database(&root.join("Databases"));
    fs::create_dir_all(root.join("empty/inner/innermost")).unwrap();
    settle(root, &mut 0);
    modes(&root.join("modes"));
    set_time(&root.join("modes"), 77);
    set_time(root, 78);
}

fn contents(at: &Path) {
    fs::create_dir_all(at).unwrap();
    fs::write(at.join("empty"), b"").unwrap();
    fs::write(at.join("one byte"), b"x").unwrap();
    fs::write(at.join("short"), text("short", 300)).unwrap();
    fs::write(at.join("chat.txt"), text("chat", 700_000)).unwrap();
    fs::write(at.join("photo.jpg"), noise("photo", 90_000)).unwrap();
    fs::write(at.join("video.mp4"), noise("video", 9_000_000)).unwrap();
    fs::write(at.join("zeroes"), vec![0; 3_000_000]).unwrap();
    for (name, begin) in [("sparse", 0), ("sparse, data first", 1)] {
        let file = File::create(at.join(name)).unwrap();
        file.write_all_at(&noise(name, 70_000), 5 << 20).unwrap();
        file.write_all_at(&noise(name, begin), 0).unwrap();
        file.set_len(12_345_678).unwrap();
    }
    File::create(at.join("nothing but a hole")).unwrap().set_len(1 << 20).unwrap();
}

fn links(at: &Path, outside: &Path) {
    for folder in ["a", "b"] {
        fs::create_dir_all(at.join(folder)).unwrap();
    }
    fs::write(at.join("a/first name"), noise("hard link", 5000)).unwrap();
    fs::hard_link(at.join("a/first name"), at.join("b/second name")).unwrap();
    fs::hard_link(at.join("a/first name"), at.join("0 third name")).unwrap();
    fs::write(outside.join("elsewhere"), b"has another name in the tree").unwrap();
    fs::hard_link(outside.join("elsewhere"), at.join("has a name outside")).unwrap();
    symlink("a/first name", at.join("file")).unwrap();
    symlink("a", at.join("folder")).unwrap();
    symlink("no such thing", at.join("dangling")).unwrap();
    symlink("loop 2", at.join("loop 1")).unwrap();
    symlink("loop 1", at.join("loop 2")).unwrap();
    symlink(".", at.join("itself")).unwrap();
    symlink("..", at.join("above")).unwrap();
    symlink("/", at.join("absolute")).unwrap();
    symlink(OsStr::from_bytes(&[b'x'; 4095]), at.join("the longest target")).unwrap();
    symlink(OsStr::from_bytes(b"no \xff text\n"), at.join("target that is no text")).unwrap();
}

fn names(at: &Path) {
    fs::create_dir_all(at).unwrap();
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    for byte in &bytes {
        fs::write(at.join(OsStr::from_bytes(&[b'n', *byte])), [*byte]).unwrap();
    }
    fs::write(at.join(OsStr::from_bytes(&bytes)), b"every byte").unwrap();
    fs::write(at.join(OsStr::from_bytes(&[b'l'; 255])), b"longest").unwrap();
    fs::create_dir(at.join(OsStr::from_bytes(&[b'd'; 255]))).unwrap();
    for name in
        ["...", ".hidden", " ", "-rf", "~", "*", "$HOME", "con", "a\\b", "é", "e\u{301}", "日本", "👩‍👩‍👧"]
    {
        fs::write(at.join(name), name).unwrap();
    }
}

/// A path of more than 4,096 bytes, which no system call takes whole.
fn deep(root: &Path) {
    const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);
    let mut here: OwnedFd = File::open(root).unwrap().into();
    for level in 0..21u8 {
        let name = [&[b'a' + level], &[b'p'; 209][..]].concat();
        mkdirat(&here, name.as_slice(), Mode::from_raw_mode(0o755)).unwrap();
        let below = openat(&here, name.as_slice(), FOLDER, Mode::empty()).unwrap();
        let file =
            openat(&below, "file", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o644)).unwrap();
        File::from(file).write_all_at(&[level; 40], 0).unwrap();
        let time = Timespec { tv_sec: 1_500_000_000 + i64::from(level), tv_nsec: 5 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(&below, "file", &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        here = below;
    }
}

fn specials(at: &Path) {
    fs::create_dir_all(at).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at.join("pipe"),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o640),
        0,
    )
    .unwrap();
    // A socket's address may have 108 bytes: bound beside, then moved.
    let short = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(short.path().join("s")).unwrap();
    if fs::rename(short.path().join("s"), at.join("socket")).is_err() {
        let _listener = UnixListener::bind(at.join("socket")).unwrap();
    }
}

fn database(at: &Path) {
    fs::create_dir_all(at).unwrap();
    let connection = rusqlite::Connection::open(at.join("msgstore.db")).unwrap();
    connection
        .execute_batch("CREATE TABLE message (_id INTEGER PRIMARY KEY, chat INTEGER, text TEXT)")
        .unwrap();
    messages(&connection, 4000);
    connection.execute_batch("CREATE INDEX by_chat ON message (chat, _id)").unwrap();
}

/// Adds messages to the database of the tree.
///
/// # Panics
/// Panics if SQLite refuses.
pub fn messages(connection: &rusqlite::Connection, count: u32) {
    let transaction = connection.unchecked_transaction().unwrap();
    for number in 0..count {
        let words = text(&number.to_string(), 20 + number as usize % 200);
        let row = (number % 17, String::from_utf8(words).unwrap());
        transaction.execute("INSERT INTO message (chat, text) VALUES (?, ?)", row).unwrap();
    }
    transaction.commit().unwrap();
}

/// Files and folders of all permissions that still let their owner in; of really all where nothing keeps us out.
fn modes(at: &Path) {
    fs::create_dir_all(at).unwrap();
    for mode in (0..=0o777u32).filter(|mode| is_root() || mode & 0o700 == 0o700 || mode & 0o700 == 0o500) {
        let file = at.join(format!("file {mode:04o}"));
        fs::write(&file, format!("{mode:o}")).unwrap();
        set_time(&file, mode.into());
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        // Folders of all permissions of one kind of user would be 512 more folders: these 64 show as much.
        if mode & 0o007 == mode >> 6 {
            let folder = at.join(format!("folder {mode:04o}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("inner"), format!("{mode:o}")).unwrap();
            set_time(&folder.join("inner"), mode.into());
            set_time(&folder, mode.into());
            fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// Gives everything a time of its own, with nanoseconds, some before 1970.
fn settle(folder: &Path, number: &mut i64) {
    for entry in fs::read_dir(folder).unwrap() {
        let Ok(entry) = entry else { continue };
        // What lies deeper than a path can name has its times already.
        let Ok(kind) = entry.file_type() else { continue };
        if entry.path().as_os_str().len() > 3500 {
            continue;
        }
        if kind.is_dir() {
            settle(&entry.path(), number);
        }
        *number += 1;
        set_time(&entry.path(), *number);
    }
}

fn set_time(path: &Path, number: i64) {
    let seconds = if number % 50 == 3 { -1_000_000 - number } else { 1_600_000_000 + number * 1001 };
    let time = Timespec { tv_sec: seconds, tv_nsec: (number * 12_345_679) % 1_000_000_000 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Truth;
    use rustix::fs::FileType;

    #[test]
    fn the_sample_tree_has_what_it_promises() {
        let dir = tempfile::tempdir().unwrap();
        build(&dir.path().join("tree"), &dir.path().join("outside"));
        let truth = Truth::read(&dir.path().join("tree"));
        let count = |kind| truth.0.values().filter(|entry| entry.kind == kind).count();
        assert_eq!((count(FileType::Fifo), count(FileType::Socket), count(FileType::Symlink)), (1, 1, 10));
        assert!(truth.0.keys().any(|path| path.len() > 4096));
        assert!(truth.0.values().any(|entry| entry.mtime < 0));
        assert_eq!(truth.0.values().filter(|entry| entry.first_name.is_some()).count(), 3);
        if is_root() {
            assert!(truth.0.values().any(|entry| entry.mode == 0));
        }
        let holes = std::os::unix::fs::MetadataExt::blocks(
            &fs::metadata(dir.path().join("tree/contents/sparse")).unwrap(),
        );
        assert!(holes * 512 < 12_345_678);
    }
}
