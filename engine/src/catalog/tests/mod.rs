//! Tests of the catalog as its callers see it; `damage.rs` alters its files.

mod blobs;
mod damage;
mod memory;
mod sealing;

use super::*;
use crate::base::{BlobId, IndexId, PackId, StoredPath, WriterId};
use crate::model::{BlobEntry, BlobKind, CodecTag, PackClass, PackRecord};
use crate::sqlite::capture::Sidecar;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use tempfile::TempDir;

const REPO: RepoId = RepoId::new([1; 32]);
const KEY: [u8; 32] = [2; 32];
const SOURCE: [u8; 32] = [3; 32];

/// Opens a catalog that must open without any remark.
fn open(dir: &Path) -> Catalog {
    let (catalog, why) = Catalog::open(Some(dir), &REPO, KEY).unwrap();
    assert_eq!(why, None);
    assert!(!catalog.is_in_memory());
    catalog
}

fn folder() -> (TempDir, std::path::PathBuf) {
    // In memory where the machine has such a file system: its flushes cost nothing.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = dir.path().join("cache/repository");
    (dir, path)
}

/// A connection past the catalog, to alter it.
fn raw(dir: &Path) -> Connection {
    Connection::open(dir.join("catalog.sqlite")).unwrap()
}

fn path(text: &str) -> StoredPath {
    StoredPath::parse(text.as_bytes()).unwrap()
}

fn snapshot(number: u8) -> SnapshotId {
    SnapshotId::new([number; 32])
}

fn blob_id(number: u32) -> BlobId {
    BlobId::new(crate::base::hash::digest(&number.to_le_bytes()))
}

fn entry(number: u32, depth: u8) -> BlobEntry {
    BlobEntry {
        kind: BlobKind::ALL[number as usize % 4],
        id: blob_id(number),
        codec: if depth > 0 { CodecTag::ZstdDelta } else { CodecTag::Raw },
        plain_len: 1000 + number,
        sealed_len: 100 + number,
        base: (depth > 0).then(|| blob_id(number + 1)),
        depth,
        generation: u16::from(depth) * 300,
    }
}

fn pack(number: u8, entries: Vec<BlobEntry>) -> PackRecord {
    let size = 52 + entries.iter().map(|entry| u64::from(entry.sealed_len)).sum::<u64>() + 77;
    let class = PackClass::ALL[usize::from(number) % 3];
    PackRecord { pack: PackId::new([number; 32]), size, header: [number; 52], class, padding: 7, entries }
}

/// Something of everything a catalog holds.
fn fill(catalog: &Catalog) {
    let packs: Vec<_> = (0..3u8)
        .map(|number| {
            let first = u32::from(number) * 40;
            pack(number, (first..first + 40).map(|blob| entry(blob, (blob % 3) as u8)).collect())
        })
        .collect();
    catalog.add_index(&IndexId::new([9; 32]), &packs[..2]).unwrap();
    catalog.add_packs(&packs[2..]).unwrap();
    for number in 0..5 {
        catalog.put_manifest(&snapshot(number), &[number; 900]).unwrap();
    }
    let rows: Vec<_> = (0..40).map(|number| (path(&format!("/folder/{number}")), row_of(number))).collect();
    assert!(catalog.memory_commit(&SOURCE, None, snapshot(4), rows, vec![]).unwrap());
    catalog.set_writer(&WriterId::new([5; 16]), 17, Some([6; 32])).unwrap();
    catalog.set_prune_epoch(3).unwrap();
}

fn row_of(number: u32) -> Vec<u8> {
    vec![number as u8; 50 + number as usize * number as usize * 4]
}

#[test]
fn what_was_written_is_there_after_opening_again_and_in_memory_nothing_is() {
    let (_dir, home) = folder();
    fill(&open(&home));
    let catalog = open(&home);
    assert_eq!(catalog.known_indexes().unwrap(), HashSet::from([IndexId::new([9; 32])]));
    assert_eq!(catalog.known_packs().unwrap().len(), 3);
    assert_eq!(catalog.blob_count().unwrap(), 120);
    assert_eq!(catalog.manifest(&snapshot(2)).unwrap().unwrap(), [2; 900]);
    assert_eq!(catalog.memory_open(&SOURCE).unwrap(), Some(snapshot(4)));
    assert_eq!(catalog.memory_row(&SOURCE, &path("/folder/39")).unwrap().unwrap(), row_of(39));
    assert_eq!(catalog.writer().unwrap(), Some((WriterId::new([5; 16]), 17, Some([6; 32]))));
    assert_eq!(catalog.prune_epoch().unwrap(), 3);
    let (memory, why) = Catalog::open(None, &REPO, KEY).unwrap();
    assert!(why.is_none() && memory.is_in_memory());
    fill(&memory);
    assert_eq!(memory.blob_count().unwrap(), 120);
    assert!(memory.lock_writer().unwrap().is_none());
    memory.destroy().unwrap();
}

#[test]
fn folder_and_files_are_for_the_owner_alone_and_tagged_as_cache() {
    let (_dir, home) = folder();
    let catalog = open(&home);
    fill(&catalog);
    let _lock = catalog.lock_writer().unwrap();
    assert_eq!(fs::metadata(&home).unwrap().mode() & 0o777, 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&home).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    let beside = Sidecar::ALL.map(|sidecar| format!("catalog.sqlite{}", sidecar.suffix()));
    assert!(files::DATABASE_FILES[1..].iter().all(|name| beside.contains(&(*name).to_owned())));
    assert_eq!(files::DATABASE_FILES.len(), 1 + beside.len());
    let database =
        ["catalog.seal", "catalog.sqlite", "catalog.sqlite-shm", "catalog.sqlite-wal", "writer.lock"];
    assert_eq!(names, [&["CACHEDIR.TAG", "catalog.lock"][..], &database].concat());
    let tag = fs::read_to_string(home.join("CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
    drop(catalog);
    assert_eq!(fs::metadata(home.join("catalog.seal")).unwrap().mode() & 0o777, 0o600);
    fs::set_permissions(home.join("catalog.sqlite"), fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&home));
    assert_eq!(fs::metadata(home.join("catalog.sqlite")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_catalog_that_does_not_fit_is_rebuilt_and_the_reason_told() {
    // As a program of another version would: its seal fits, or there is none.
    let sql = |text: &'static str| {
        move |home: &Path| {
            raw(home).execute_batch(text).unwrap();
            fs::remove_file(home.join("catalog.seal")).unwrap();
        }
    };
    type Act = Box<dyn Fn(&Path)>;
    let cases: [(Act, RepoId, [u8; 32], &str); 7] = [
        (Box::new(|_| ()), RepoId::new([8; 32]), KEY, "another repository"),
        (Box::new(|_| ()), REPO, [8; 32], "another key"),
        (Box::new(sql("PRAGMA user_version = 77")), REPO, KEY, "number 77"),
        (Box::new(sql("CREATE TRIGGER t AFTER INSERT ON packs BEGIN SELECT 1; END")), REPO, KEY, "tables"),
        (Box::new(|home| fs::write(home.join("catalog.sqlite"), [7; 10_000]).unwrap()), REPO, KEY, "damaged"),
        (Box::new(|home| fs::write(home.join("catalog.sqlite"), b"").unwrap()), REPO, KEY, "damaged"),
        (
            Box::new(|home| {
                fs::rename(home.join("catalog.sqlite"), home.join("elsewhere")).unwrap();
                symlink("elsewhere", home.join("catalog.sqlite")).unwrap();
            }),
            REPO,
            KEY,
            "no plain file",
        ),
    ];
    for (act, repo, key, expected) in cases {
        let (_dir, home) = folder();
        fill(&open(&home));
        act(&home);
        let (catalog, why) = Catalog::open(Some(&home), &repo, key).unwrap();
        assert!(why.as_ref().is_some_and(|why| why.contains(expected)), "{expected}: {why:?}");
        assert!(!catalog.is_in_memory());
        assert_eq!(catalog.blob_count().unwrap(), 0, "{expected}");
        assert_eq!(catalog.writer().unwrap(), None);
        fill(&catalog);
        drop(catalog);
        assert_eq!(Catalog::open(Some(&home), &repo, key).unwrap().1, None);
    }
}

#[test]
fn a_folder_that_cannot_be_used_means_a_catalog_in_memory() {
    let (dir, home) = folder();
    fs::write(dir.path().join("file"), b"x").unwrap();
    fs::create_dir_all(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    let below_a_file = dir.path().join("file/cache");
    for (folder, expected) in [(&below_a_file, "cannot be made"), (&home, "other users")] {
        let (catalog, why) = Catalog::open(Some(folder), &REPO, KEY).unwrap();
        assert!(why.as_ref().is_some_and(|why| why.contains(expected)), "{why:?}");
        assert!(catalog.is_in_memory());
        fill(&catalog);
    }
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let link = dir.path().join("link");
    symlink(&home, &link).unwrap();
    drop(open(&link));
    symlink("nowhere", dir.path().join("cache/lock")).unwrap();
    fs::remove_file(home.join("catalog.lock")).unwrap();
    symlink(dir.path().join("made"), home.join("catalog.lock")).unwrap();
    let (catalog, why) = Catalog::open(Some(&home), &REPO, KEY).unwrap();
    assert!(catalog.is_in_memory() && why.is_some());
    assert!(!dir.path().join("made").exists());
}

#[test]
fn a_catalog_in_use_is_neither_deleted_nor_rebuilt() {
    let (_dir, home) = folder();
    let first = open(&home);
    fill(&first);
    let second = open(&home);
    assert_eq!(second.blob_count().unwrap(), 120);
    let e = second.destroy().unwrap_err();
    assert_eq!(e.kind(), Kind::Catalog);
    assert!(e.full_text().contains("another running program"), "{e:?}");
    let (other, why) = Catalog::open(Some(&home), &RepoId::new([8; 32]), KEY).unwrap();
    assert!(other.is_in_memory() && why.unwrap().contains("another running program"));
    assert_eq!(first.blob_count().unwrap(), 120);
    first.destroy().unwrap();
    assert!(!home.join("catalog.sqlite").exists() && !home.join("catalog.sqlite-wal").exists());
    assert_eq!(open(&home).blob_count().unwrap(), 0);
}

#[test]
fn several_programs_may_open_at_once() {
    let (_dir, home) = folder();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let home = &home;
            scope.spawn(move || {
                let catalog = open(home);
                catalog.put_manifest(&snapshot(number), &[number]).unwrap();
            });
        }
    });
    let catalog = open(&home);
    assert!((0..8).all(|number| catalog.manifest(&snapshot(number)).unwrap() == Some(vec![number])));
}

#[test]
fn manifests_are_kept_replaced_and_forgotten() {
    let catalog = Catalog::open(None, &REPO, KEY).unwrap().0;
    assert_eq!(catalog.manifest(&snapshot(1)).unwrap(), None);
    for number in 0..5 {
        catalog.put_manifest(&snapshot(number), b"old").unwrap();
        catalog.put_manifest(&snapshot(number), &[number; 3]).unwrap();
    }
    catalog.forget_manifests_except(&HashSet::from([snapshot(1), snapshot(3), snapshot(7)])).unwrap();
    let left: Vec<_> = (0..5).map(|number| catalog.manifest(&snapshot(number)).unwrap()).collect();
    assert_eq!(left, [None, Some(vec![1; 3]), None, Some(vec![3; 3]), None]);
}

#[test]
fn the_writer_is_one_programs_at_a_time() {
    let (_dir, home) = folder();
    let (first, second) = (open(&home), open(&home));
    assert_eq!(first.writer().unwrap(), None);
    first.set_writer(&WriterId::new([1; 16]), 0, None).unwrap();
    assert_eq!(second.writer().unwrap(), Some((WriterId::new([1; 16]), 0, None)));
    let lock = first.lock_writer().unwrap();
    assert!(lock.is_some());
    assert!(second.lock_writer().unwrap().is_none());
    assert!(first.lock_writer().unwrap().is_none());
    drop(lock);
    assert!(second.lock_writer().unwrap().is_some());
}
