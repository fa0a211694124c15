//! What only the local store promises.

use super::cache::MAX_OPEN;
use super::*;
use crate::base::PageBuffer;
use crate::store::suite;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use tempfile::TempDir;

fn store() -> (TempDir, LocalStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::create(&dir.path().join("repo")).unwrap();
    (dir, store)
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

/// All files and folders below a path, relative to it.
fn tree(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            found.push(entry.path().strip_prefix(path).unwrap().to_str().unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    suite::run(&|| {
        count.set(count.get() + 1);
        LocalStore::create(&dir.path().join(count.get().to_string())).unwrap()
    });
    let left: Vec<_> = tree(dir.path()).into_iter().filter(|path| path.contains(".tmp-")).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn create_takes_a_missing_or_empty_folder_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/c");
    drop(LocalStore::create(&path).unwrap());
    for folder in ["a", "a/b", "a/b/c"] {
        assert_eq!(fs::metadata(dir.path().join(folder)).unwrap().mode() & 0o777, 0o700);
    }
    fs::create_dir(path.join("lost+found")).unwrap();
    let again = LocalStore::create(&path).unwrap();
    assert_eq!(again.list("").unwrap().objects, []);
    fs::write(path.join("letter.txt"), b"x").unwrap();
    let e = LocalStore::create(&path).unwrap_err();
    assert_eq!(e.kind(), Kind::AlreadyThere);
    assert!(e.full_text().contains("letter.txt"), "{e:?}");
    fs::write(path.join("config"), b"x").unwrap();
    let e = LocalStore::create(&path).unwrap_err();
    assert!(e.full_text().contains("a repository is there"), "{e:?}");
    assert_eq!(LocalStore::create(&path.join("config")).unwrap_err().kind(), Kind::AlreadyThere);
}

#[test]
fn open_wants_a_config_or_its_mirror_names_what_is_there_and_writes_nothing() {
    let (dir, store) = store();
    let path = dir.path().join("repo");
    let why = |path: &Path| {
        let e = LocalStore::open(path).unwrap_err();
        assert_eq!(e.kind(), Kind::NoRepository);
        assert!(e.full_text().contains(path.to_str().unwrap()));
        e.full_text()
    };
    assert!(why(&path).contains("the folder is empty"));
    assert!(why(&path.join("missing")).contains("nothing is there"));
    store.put_new(&name("packs/ab/1"), b"x").unwrap();
    assert!(why(&path).contains("`packs`"));
    assert!(why(&path.join("packs/ab/1")).contains("it is a file"));
    store.put_new(&ObjectName::config().mirror(), b"x").unwrap();
    let before = (tree(&path), fs::metadata(&path).unwrap().mtime_nsec());
    let opened = LocalStore::open(&path).unwrap();
    assert_eq!(opened.get(&ObjectName::config().mirror(), 1).unwrap(), b"x");
    assert_eq!(opened.local_path(), Some(&*path));
    assert!(opened.free_space().unwrap().unwrap() > 0);
    assert_eq!(before, (tree(&path), fs::metadata(&path).unwrap().mtime_nsec()));
    store.put_new(&ObjectName::config(), b"x").unwrap();
    store.delete(&ObjectName::config().mirror()).unwrap();
    LocalStore::open(&path).unwrap();
}

#[test]
fn files_and_folders_are_for_the_owner_alone_whatever_the_umask() {
    let (dir, store) = store();
    let old = rustix::process::umask(rustix::fs::Mode::empty());
    let stored = store.put_new(&name("packs/ab/1"), b"x");
    rustix::process::umask(old);
    stored.unwrap();
    let mode = |path: &str| fs::metadata(dir.path().join("repo").join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode(""), mode("packs"), mode("packs/ab"), mode("packs/ab/1")), (0o700, 0o700, 0o700, 0o600));
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let (dir, store) = store();
    let path = dir.path().join("repo");
    // A folder under the object's own name: the file is written, and cannot get its name.
    fs::create_dir_all(path.join("packs/ab")).unwrap();
    assert_eq!(store.put_new(&name("packs"), b"x").unwrap_err().kind(), Kind::AlreadyThere);
    // A file where a folder is needed.
    store.put_new(&name("index"), b"x").unwrap();
    assert!(store.put_new(&name("index/1"), b"x").is_err());
    assert_eq!(tree(&path), ["index", "packs", "packs/ab"]);
    // The last step fails after the file was written.
    let temporary = Temporary::write(&store.root, b"content", &store.owners.files).unwrap();
    assert_eq!(temporary.publish(b"index", &Way::ALL).unwrap(), Published::NameTaken);
    let temporary = Temporary::write(&store.root, b"content", &store.owners.files).unwrap();
    assert!(temporary.publish(b"no/such/folder", &Way::ALL).is_err());
    drop(Temporary::write(&store.root, b"content", &store.owners.files).unwrap());
    assert_eq!(tree(&path), ["index", "packs", "packs/ab"]);
    assert_eq!(store.get(&name("index"), 9).unwrap(), b"x");
}

#[test]
fn every_way_to_name_a_file_names_it_and_replaces_nothing() {
    let (dir, store) = store();
    for way in Way::ALL {
        let publish = |bytes: &[u8], ways: &[Way]| {
            Temporary::write(&store.root, bytes, &store.owners.files)
                .unwrap()
                .publish(b"object", ways)
                .unwrap()
        };
        assert_eq!(publish(b"first", &[way]), Published::By(way));
        assert_eq!(publish(b"second", &[way]), Published::NameTaken, "{way:?}");
        assert_eq!(store.get(&name("object"), 9).unwrap(), b"first");
        assert_eq!(tree(&dir.path().join("repo")), ["object"], "{way:?}");
        store.delete(&name("object")).unwrap();
    }
    assert!(
        Temporary::write(&store.root, b"x", &store.owners.files).unwrap().publish(b"object", &[]).is_err()
    );
}

#[test]
fn links_pipes_and_folders_are_no_objects_and_hide_nothing() {
    let (dir, store) = store();
    let path = dir.path().join("repo");
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("object"), b"secret").unwrap();
    symlink(&outside, path.join("packs")).unwrap();
    symlink(outside.join("object"), path.join("config")).unwrap();
    fs::create_dir(path.join("folder")).unwrap();
    for bad in ["packs/object", "config", "folder"] {
        assert_eq!(store.get(&name(bad), 100).unwrap_err().kind(), Kind::Damaged, "{bad}");
        assert_eq!(store.get_range(&name(bad), 0, 1).unwrap_err().kind(), Kind::Damaged, "{bad}");
        assert_eq!(store.stat(&name(bad)).unwrap_err().kind(), Kind::Damaged, "{bad}");
        assert!(store.put_new(&name(bad), b"secret").is_err(), "{bad}");
    }
    assert!(store.put_new(&name("packs/new"), b"x").is_err());
    assert_eq!(tree(&outside), ["object"]);
    assert_eq!(store.list("packs").unwrap_err().kind(), Kind::Damaged);
    assert_eq!(store.list("").unwrap_err().kind(), Kind::Damaged);
    fs::remove_file(path.join("packs")).unwrap();
    fs::remove_file(path.join("config")).unwrap();
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(&store.root, "pipe", pipe, rustix::fs::Mode::RUSR, 0).unwrap();
    assert_eq!(store.get(&name("pipe"), 100).unwrap_err().kind(), Kind::Damaged);
    assert_eq!(store.list("").unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn foreign_and_temporary_files_are_not_listed_and_only_old_temporaries_are_removed() {
    let (dir, store) = store();
    let path = dir.path().join("repo");
    store.put_new(&name("packs/ab/1"), b"x").unwrap();
    let temporary = ".tmp-0123456789abcdef";
    for file in ["packs/ab/.DS_Store", "Thumbs.db", "packs/.tmp-mine", ".nfs1"] {
        fs::write(path.join(file), b"x").unwrap();
    }
    fs::write(path.join("packs/ab").join(temporary), b"x").unwrap();
    fs::write(path.join(temporary), b"x").unwrap();
    fs::create_dir_all(path.join(".Trash/files")).unwrap();
    fs::write(path.join(".Trash/files/object"), b"x").unwrap();
    fs::create_dir_all(path.join("a/b/c/d/e")).unwrap();
    fs::write(path.join("a/b/c/d/e/f"), b"x").unwrap();
    assert_eq!(store.list("").unwrap().objects.len(), 1);
    let written = store.stat(&name("packs/ab/1")).unwrap().unwrap().modified;
    assert_eq!(store.remove_stale_temporaries(Timestamp::new(written.secs - 1000, 0)).unwrap(), 0);
    assert_eq!(store.remove_stale_temporaries(Timestamp::new(written.secs + 1000, 0)).unwrap(), 2);
    let left = tree(&path);
    assert!(!left.iter().any(|file| file.ends_with(temporary)));
    for file in ["packs/ab/.DS_Store", "Thumbs.db", "packs/.tmp-mine", ".nfs1", "packs/ab/1"] {
        assert!(left.iter().any(|found| found == file), "{file}");
    }
}

#[test]
fn a_renamed_parent_does_not_matter_to_an_open_store() {
    let (dir, store) = store();
    store.put_new(&name("packs/ab/1"), b"x").unwrap();
    fs::rename(dir.path().join("repo"), dir.path().join("moved")).unwrap();
    store.put_new(&name("packs/cd/2"), b"y").unwrap();
    assert_eq!(store.list("packs").unwrap().objects.len(), 2);
    assert_eq!(tree(&dir.path().join("moved/packs/cd")), ["2"]);
}

#[test]
fn open_files_are_bounded_and_a_truncated_pack_is_damage() {
    let (dir, store) = store();
    for number in 0..MAX_OPEN + 10 {
        let object = name(&format!("packs/ab/{number}"));
        store.put_new(&object, b"0123456789").unwrap();
        assert_eq!(store.get_range(&object, 2, 3).unwrap(), b"234");
    }
    assert_eq!(store.open_files.len(), MAX_OPEN);
    let last = name(&format!("packs/ab/{}", MAX_OPEN + 9));
    assert!(store.open_files.get(&last).is_some() && store.open_files.get(&name("packs/ab/0")).is_none());
    File::options()
        .write(true)
        .open(dir.path().join("repo").join(last.as_str()))
        .unwrap()
        .set_len(5)
        .unwrap();
    assert_eq!(store.get_range(&last, 2, 5).unwrap_err().kind(), Kind::Damaged);
    assert_eq!(store.get_range(&last, 2, 3).unwrap(), b"234");
}

#[test]
fn a_full_disk_is_said_to_be_the_repositorys() {
    let e = write_error("store object", "packs/ab/1", io::Error::from_raw_os_error(28));
    assert_eq!(e.kind(), Kind::NoSpace);
    assert!(e.full_text().contains("the repository's file system is full"), "{e:?}");
    assert!(e.full_text().contains("No space left"), "{e:?}");
}

#[test]
fn after_a_failed_flush_of_a_folder_nothing_more_is_acknowledged() {
    let (_dir, store) = store();
    store.put_new(&name("packs/ab/1"), b"x").unwrap();
    // A descriptor that names a folder without opening it cannot be flushed.
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    let path = store.local_path().unwrap();
    let unflushable = File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap());
    assert!(store.flush_folder(&unflushable).is_err());
    assert_eq!(store.put_new(&name("packs/ab/1"), b"x").unwrap_err().kind(), Kind::Io);
    assert_eq!(store.get(&name("packs/ab/1"), 1).unwrap(), b"x");
}

#[test]
fn a_repository_whose_folder_vanished_is_gone_whatever_is_asked() {
    let (dir, store) = store();
    fs::remove_dir(dir.path().join("repo")).unwrap();
    assert_eq!(store.put_new(&name("packs/ab/1"), b"x").unwrap_err().kind(), Kind::Gone);
    assert_eq!(store.list("packs").unwrap_err().kind(), Kind::Gone, "and not empty");
    let object = name("packs/ab/1");
    assert_eq!(store.get(&object, 1).unwrap_err().kind(), Kind::Gone, "and not lost");
    assert_eq!(store.get_range(&object, 0, 1).unwrap_err().kind(), Kind::Gone);
    assert_eq!(store.delete(&object).unwrap_err().kind(), Kind::Gone);
    assert_eq!(store.stat(&object).unwrap_err().kind(), Kind::Gone);
}

/// Written past the kernel's cache or not, whole blocks and the rest: what was given is what stands there.
#[test]
fn long_rows_of_bytes_at_every_place_of_memory_come_back() {
    let (dir, store) = store();
    let mut bytes = PageBuffer::new();
    bytes.extend_from_slice(&(0..3_u32 << 18).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
    let end = bytes.len();
    for (from, to) in
        [(0, end), (0, end - 1), (0, end - 4095), (0, 1 << 20), (0, (1 << 20) - 1), (1, end), (4096, end)]
    {
        let name = name(&format!("packs/{from}-{to}"));
        store.put_new(&name, &bytes[from..to]).unwrap();
        assert!(store.get(&name, end as u64).unwrap() == bytes[from..to], "{name:?}");
        assert_eq!(
            fs::metadata(dir.path().join("repo").join(name.as_str())).unwrap().len(),
            (to - from) as u64
        );
    }
}
