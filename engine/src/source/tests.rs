//! What reading a source promises, on real file systems.

use super::*;
use crate::base::Cancel;
use crate::model::NodeKind;
use rustix::fs::{AtFlags, FileType, Timespec, Timestamps, fcntl_getfl, mkdirat, mknodat, utimensat};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use tempfile::{TempDir, tempdir};

fn folder() -> (TempDir, SourceDir) {
    let temp = tempdir().unwrap();
    let dir = SourceDir::open(temp.path()).unwrap();
    (temp, dir)
}

fn all(file: &SourceFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.reader(0, u64::MAX).read_to_end(&mut bytes).unwrap();
    bytes
}

fn names(dir: &SourceDir) -> Vec<Vec<u8>> {
    dir.entries().unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn metadata_are_those_of_the_system() {
    let (temp, dir) = folder();
    fs::write(temp.path().join("a"), b"12345").unwrap();
    fs::set_permissions(temp.path().join("a"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(temp.path().join("a"), temp.path().join("b")).unwrap();
    let (stat, known) = (dir.stat_of(b"a").unwrap(), fs::metadata(temp.path().join("a")).unwrap());
    assert_eq!((stat.kind, stat.mode, stat.size, stat.nlink), (NodeKind::File, 0o4751, 5, 2));
    assert_eq!((stat.dev, stat.ino, stat.blocks), (known.dev(), known.ino(), known.blocks()));
    assert_eq!((stat.uid, stat.gid, stat.device), (known.uid(), known.gid(), (0, 0)));
    assert_eq!((stat.mtime.secs, i64::from(stat.mtime.nanos)), (known.mtime(), known.mtime_nsec()));
    assert_eq!((stat.ctime.secs, i64::from(stat.ctime.nanos)), (known.ctime(), known.ctime_nsec()));
    assert_eq!(dir.open_file(b"b").unwrap().stat().unwrap(), stat);
    assert_eq!(dir.stat().unwrap().kind, NodeKind::Dir);
}

#[test]
fn times_before_1970_count_forward() {
    let (temp, dir) = folder();
    fs::write(temp.path().join("old"), b"").unwrap();
    let time = Timespec { tv_sec: -2, tv_nsec: 750_000_000 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(&dir, "old", &times, AtFlags::empty()).unwrap();
    assert_eq!(dir.stat_of(b"old").unwrap().mtime, crate::base::Timestamp::new(-2, 750_000_000));
}

#[test]
fn devices_have_their_numbers() {
    let stat = SourceDir::open(Path::new("/dev")).unwrap().stat_of(b"null").unwrap();
    assert_eq!((stat.kind, stat.device), (NodeKind::CharDevice, (1, 3)));
}

#[test]
fn entries_are_sorted_by_bytes_and_listing_twice_gives_the_same() {
    let (temp, dir) = folder();
    for name in ["b", "a", "a b", "a.b", "B", "\u{e9}", "ab", ".hidden"] {
        fs::write(temp.path().join(name), b"").unwrap();
    }
    let expected: Vec<&[u8]> = vec![b".hidden", b"B", b"a", b"a b", b"a.b", b"ab", b"b", "\u{e9}".as_bytes()];
    assert_eq!(names(&dir), expected);
    assert_eq!(names(&dir), expected);
    fs::remove_file(temp.path().join("ab")).unwrap();
    assert_eq!(names(&dir).len(), expected.len() - 1);
}

#[test]
fn a_folder_larger_than_one_listing_is_listed_whole_by_several_threads_at_once() {
    let (temp, dir) = folder();
    for i in 0..2000 {
        fs::write(temp.path().join(format!("{i:0200}")), b"").unwrap();
    }
    std::thread::scope(|scope| {
        let listings: Vec<_> = (0..4).map(|_| scope.spawn(|| names(&dir))).collect();
        for listing in listings {
            let listing = listing.join().unwrap();
            assert_eq!(listing.len(), 2000);
            assert!(listing.is_sorted());
        }
    });
}

#[test]
fn names_of_every_byte_and_of_the_greatest_length_work() {
    let (temp, dir) = folder();
    let mut expected: Vec<Vec<u8>> =
        (1..=255).filter(|byte| !b"/.".contains(byte)).map(|byte: u8| vec![byte]).collect();
    expected.extend((1..=255).filter(|byte| *byte != b'/').map(|byte: u8| vec![byte; 255]));
    expected.sort();
    for name in &expected {
        File::create(temp.path().join(std::ffi::OsStr::from_bytes(name))).unwrap().write_all(name).unwrap();
    }
    let entries = dir.entries().unwrap();
    assert_eq!(entries.len(), 253 + 254);
    for (entry, name) in entries.iter().zip(&expected) {
        assert_eq!(&entry.name, name);
        assert_eq!(entry.stat.as_ref().unwrap().size, name.len() as u64);
        assert_eq!(&all(&dir.open_file(name).unwrap()), name);
    }
}

#[test]
fn what_is_no_single_name_is_refused() {
    let (temp, dir) = folder();
    fs::create_dir(temp.path().join("d")).unwrap();
    fs::write(temp.path().join("d/f"), b"").unwrap();
    for name in [&b""[..], b".", b"..", b"d/f", b"/etc/passwd", b"d/", b"d\0"] {
        assert_eq!(dir.open_dir(name).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(dir.open_file(name).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(dir.read_link(name, 0).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(dir.stat_of(name).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn pipes_sockets_devices_and_folders_are_refused_at_once() {
    let (temp, dir) = folder();
    // Opened without care the pipe would wait for a writer for ever.
    mknodat(&dir, "pipe", FileType::Fifo, Mode::from(0o600), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
    fs::create_dir(temp.path().join("folder")).unwrap();
    for (name, kind) in [("pipe", NodeKind::Fifo), ("socket", NodeKind::Socket), ("folder", NodeKind::Dir)] {
        assert_eq!(dir.stat_of(name.as_bytes()).unwrap().kind, kind);
        let error = dir.open_file(name.as_bytes()).unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains(kind.name())), (ErrorKind::InvalidInput, true));
    }
    let devices = SourceDir::open(Path::new("/dev")).unwrap();
    assert_eq!(devices.open_file(b"null").unwrap_err().kind(), ErrorKind::InvalidInput);
    for name in [&b"pipe"[..], b"socket"] {
        assert_eq!(dir.open_dir(name).unwrap_err().kind(), ErrorKind::NotADirectory);
    }
    let error = SourceDir::open(&temp.path().join("pipe")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotADirectory);
}

#[test]
fn links_are_read_and_never_followed() {
    let (temp, dir) = folder();
    fs::write(temp.path().join("file"), b"x").unwrap();
    fs::create_dir(temp.path().join("folder")).unwrap();
    let long = "t".repeat(4095);
    for (name, target) in [
        ("to file", "file"),
        ("to folder", "folder"),
        ("dangling", "nowhere/at all"),
        ("loop", "loop"),
        ("long", &long),
    ] {
        symlink(target, temp.path().join(name)).unwrap();
        for size in [0, 1, target.len() as u64, u64::MAX] {
            assert_eq!(dir.read_link(name.as_bytes(), size).unwrap(), target.as_bytes());
        }
        assert_eq!(dir.stat_of(name.as_bytes()).unwrap().kind, NodeKind::Symlink);
        assert_eq!(dir.open_file(name.as_bytes()).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(dir.open_dir(name.as_bytes()).is_err());
    }
    assert!(dir.read_link(b"file", 1).is_err());
    assert_eq!(dir.entries().unwrap().iter().filter(|entry| entry.stat.is_err()).count(), 0);
    let through = SourceDir::open(&temp.path().join("to folder")).unwrap();
    assert_eq!(through.stat().unwrap(), dir.open_dir(b"folder").unwrap().stat().unwrap());
}

#[test]
fn a_relative_path_is_refused() {
    assert_eq!(SourceDir::open(Path::new("etc")).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(SourceDir::open(Path::new("")).unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// Folders of this name in each other, and a file of 7 bytes in the last one.
fn chain(start: &SourceDir, name: &str, depth: usize) -> std::path::PathBuf {
    let mut path = std::path::PathBuf::new();
    let mut at = start.as_fd().try_clone_to_owned().unwrap();
    for _ in 0..depth {
        mkdirat(&at, name, Mode::from(0o700)).unwrap();
        at = openat(&at, name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        path.push(name);
    }
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&at, "file", flags, Mode::from(0o600)).unwrap();
    File::from(file).write_all(b"content").unwrap();
    path
}

#[test]
fn paths_beyond_the_systems_limit_are_opened_listed_and_counted() {
    let (temp, dir) = folder();
    let path = temp.path().join(chain(&dir, &"n".repeat(255), 40));
    assert!(path.as_os_str().len() > 10_000);
    assert!(fs::metadata(&path).is_err(), "the system takes no such path at once");
    let deep = SourceDir::open(&path).unwrap();
    assert_eq!(names(&deep), [b"file"]);
    assert_eq!(all(&deep.open_file(b"file").unwrap()), b"content");
    assert_eq!(estimate(&[temp.path().to_owned()], None, &Cancel::new()), (1, 7));
    let missing = temp.path().join("m".repeat(5000));
    assert_eq!(
        SourceDir::open(&missing).unwrap_err().raw_os_error(),
        Some(Errno::NAMETOOLONG.raw_os_error())
    );
}

#[test]
fn a_deep_descent_holds_few_descriptors_and_finds_the_way_back() {
    let (_temp, dir) = folder();
    chain(&dir, "d", 200);
    let start = dir.stat().unwrap();
    let mut descent = Descent::new(dir).unwrap();
    let mut seen = vec![start.ino];
    for _ in 0..200 {
        descent.enter(b"d").unwrap();
        seen.push(descent.here().unwrap().stat().unwrap().ino);
        assert!(descent.levels_open() <= 32);
    }
    assert_eq!(names(descent.here().unwrap()), [b"file"]);
    assert!(descent.enter(b"d").is_err());
    for (depth, ino) in seen.iter().enumerate().rev() {
        assert_eq!((descent.depth(), descent.here().unwrap().stat().unwrap().ino), (depth, *ino));
        descent.leave().unwrap();
    }
    assert_eq!(descent.here().unwrap().stat().unwrap().ino, start.ino);
}

#[test]
fn a_folder_moved_away_during_a_deep_descent_is_noticed() {
    let (temp, dir) = folder();
    let path = temp.path().join(chain(&dir, "d", 60));
    let mut descent = Descent::new(dir).unwrap();
    for _ in 0..60 {
        descent.enter(b"d").unwrap();
    }
    // The folder at depth 20 goes elsewhere, while the descent has closed it and the one above it.
    let moved: std::path::PathBuf = path.ancestors().nth(40).unwrap().to_owned();
    fs::rename(&moved, temp.path().join("elsewhere")).unwrap();
    for _ in 0..40 {
        descent.leave().unwrap();
    }
    assert_eq!(descent.depth(), 20);
    let error = descent.leave().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::STALE.raw_os_error()));
    assert!(descent.here().is_err());
    assert!(descent.enter(b"d").is_err());
}

#[test]
fn an_estimate_counts_files_below_folders_and_files_named_themselves() {
    let (temp, _dir) = folder();
    let root = temp.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir_all(root.join("c")).unwrap();
    for (name, len) in [("a/1", 10), ("a/b/2", 200), ("a/b/3", 3000), ("c/4", 0), ("5", 70_000)] {
        fs::write(root.join(name), vec![0; len]).unwrap();
    }
    symlink("a", root.join("link")).unwrap();
    let paths = [root.join("a"), root.join("c"), root.join("5"), root.join("missing"), root.join("link/..")];
    assert_eq!(estimate(&paths[..4], None, &Cancel::new()), (5, 73_210));
    assert_eq!(estimate(&paths[4..], None, &Cancel::new()), (5, 73_210));
    let cancelled = Cancel::new();
    cancelled.cancel();
    assert!(estimate(&paths[4..], None, &cancelled).0 < 5);
}

/// A file of `size` bytes with some bytes written at each of these places.
fn sparse(path: &Path, size: u64, places: &[(u64, usize)]) -> bool {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (offset, len) in places {
        file.write_all_at(&vec![b'x'; *len], *offset).unwrap();
    }
    file.metadata().unwrap().blocks() * 512 < size
}

const MIB: u64 = 1024 * 1024;

#[test]
fn holes_of_a_sparse_file_are_found_and_short_ones_are_data() {
    let (temp, dir) = folder();
    let path = temp.path().join("sparse");
    let holes = sparse(&path, 8 * MIB, &[(MIB, 65536), (MIB + 65536 + 16384, 4096), (4 * MIB, 65536)]);
    assert!(holes, "the temporary folder's file system keeps no holes: run the tests where it does");
    let file = dir.open_file(b"sparse").unwrap();
    let segments = file.segments(8 * MIB).unwrap();
    let data = 65536 + 16384 + 4096;
    assert_eq!(
        segments,
        [
            Segment::Hole { offset: 0, len: MIB },
            Segment::Data { offset: MIB, len: data },
            Segment::Hole { offset: MIB + data, len: 3 * MIB - data },
            Segment::Data { offset: 4 * MIB, len: 65536 },
            Segment::Hole { offset: 4 * MIB + 65536, len: 4 * MIB - 65536 },
        ]
    );
    let known = fs::read(&path).unwrap();
    for segment in segments {
        match segment {
            Segment::Hole { offset, len } => {
                assert!(known[offset as usize..(offset + len) as usize].iter().all(|byte| *byte == 0));
            }
            Segment::Data { offset, len } => {
                let mut bytes = Vec::new();
                file.reader(offset, len).read_to_end(&mut bytes).unwrap();
                assert!(bytes == known[offset as usize..(offset + len) as usize]);
            }
        }
    }
    assert_eq!(file.segments(0).unwrap(), []);
    assert_eq!(file.segments(MIB + 9).unwrap()[1], Segment::Data { offset: MIB, len: 9 });
}

#[test]
fn a_file_without_holes_and_one_that_is_only_a_hole() {
    let (temp, dir) = folder();
    fs::write(temp.path().join("full"), vec![1; 300_000]).unwrap();
    let full = dir.open_file(b"full").unwrap();
    assert_eq!(full.segments(300_000).unwrap(), [Segment::Data { offset: 0, len: 300_000 }]);
    assert!(sparse(&temp.path().join("empty"), MIB, &[]));
    let empty = dir.open_file(b"empty").unwrap();
    assert_eq!(empty.segments(MIB).unwrap(), [Segment::Hole { offset: 0, len: MIB }]);
}

#[test]
fn what_was_cut_off_meanwhile_is_data_that_ends_early_and_no_hole() {
    let (temp, dir) = folder();
    let path = temp.path().join("shrinking");
    assert!(sparse(&path, 8 * MIB, &[(0, 65536)]));
    let file = dir.open_file(b"shrinking").unwrap();
    File::options().write(true).open(&path).unwrap().set_len(2 * MIB).unwrap();
    assert_eq!(file.segments(8 * MIB).unwrap(), [Segment::Data { offset: 0, len: 8 * MIB }]);
    assert_eq!(all(&file).len() as u64, 2 * MIB);
}

#[test]
fn a_file_cut_off_while_it_is_read_ends_early() {
    let (temp, dir) = folder();
    let path = temp.path().join("log");
    fs::write(&path, vec![7; 100_000]).unwrap();
    let file = dir.open_file(b"log").unwrap();
    let mut reader = file.reader(0, 100_000);
    let mut half = vec![0; 50_000];
    reader.read_exact(&mut half).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(60_000).unwrap();
    let mut rest = Vec::new();
    assert_eq!(reader.read_to_end(&mut rest).unwrap(), 10_000);
    assert_eq!(file.stat().unwrap().size, 60_000);
}

#[test]
fn readers_take_their_stretch_and_do_not_disturb_each_other() {
    let (temp, dir) = folder();
    let content: Vec<u8> = (0..=255).collect();
    fs::write(temp.path().join("f"), &content).unwrap();
    let file = dir.open_file(b"f").unwrap();
    let (mut first, mut second) = (file.reader(10, 20), file.reader(15, 1000));
    let (mut a, mut b) = (vec![0; 5], Vec::new());
    first.read_exact(&mut a).unwrap();
    second.read_to_end(&mut b).unwrap();
    assert_eq!((&a[..], &b[..]), (&content[10..15], &content[15..]));
    a.clear();
    first.read_to_end(&mut a).unwrap();
    assert_eq!(a, &content[15..30]);
    assert_eq!(first.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_file_without_permissions_is_readable_by_the_superuser_only() {
    let (temp, dir) = folder();
    fs::write(temp.path().join("closed"), b"secret").unwrap();
    fs::set_permissions(temp.path().join("closed"), fs::Permissions::from_mode(0o0)).unwrap();
    let result = dir.open_file(b"closed");
    if rustix::process::geteuid().is_root() {
        assert_eq!(all(&result.unwrap()), b"secret");
    } else {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}

#[test]
fn reading_leaves_the_time_of_last_access_alone() {
    let (temp, dir) = folder();
    fs::create_dir(temp.path().join("folder")).unwrap();
    fs::write(temp.path().join("file"), b"content").unwrap();
    let old = Timespec { tv_sec: 1_000_000_000, tv_nsec: 5 };
    let times = Timestamps { last_access: old, last_modification: old };
    for name in ["file", "folder"] {
        utimensat(&dir, name, &times, AtFlags::empty()).unwrap();
    }
    let file = dir.open_file(b"file").unwrap();
    assert!(fcntl_getfl(&file).unwrap().contains(OFlags::NOATIME), "also where the mount would not show it");
    assert_eq!(all(&file), b"content");
    assert_eq!(names(&dir.open_dir(b"folder").unwrap()).len(), 0);
    for name in ["file", "folder"] {
        let known = fs::metadata(temp.path().join(name)).unwrap();
        assert_eq!((known.atime(), known.atime_nsec(), known.mtime()), (old.tv_sec, 5, old.tv_sec));
    }
}

#[test]
fn a_file_of_another_owner_is_read_all_the_same() {
    // Only its owner and the superuser may leave the time of last access alone.
    let file = SourceDir::open(Path::new("/etc")).unwrap().open_file(b"passwd").unwrap();
    let quiet = fcntl_getfl(&file).unwrap().contains(OFlags::NOATIME);
    assert_eq!(quiet, rustix::process::geteuid().is_root());
    assert_eq!(all(&file), fs::read("/etc/passwd").unwrap());
}

#[test]
fn the_limit_of_descriptors_is_raised_and_stays() {
    let limit = raise_descriptor_limit();
    let now = getrlimit(Resource::Nofile);
    assert_eq!(now.current.unwrap_or(u64::MAX), limit);
    assert!(limit >= now.maximum.unwrap_or(u64::MAX).min(65536));
    assert_eq!(raise_descriptor_limit(), limit);
}
