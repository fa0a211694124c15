//! What is stored comes back as it was, and nothing is stored twice.

use chatvault_engine::backup::BackupSummary;
use chatvault_engine::repo::Repo;
use chatvault_engine::store::{MemoryStore, ObjectInfo, Store};
use chatvault_tests::bytes::noise;
use chatvault_tests::{Lab, Truth, sample};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A lab with a repository in memory.
fn lab() -> (Lab, Arc<MemoryStore>, Repo) {
    let (lab, store) = (Lab::new(), Arc::new(MemoryStore::new()));
    let repo = lab.create_in(store.clone());
    (lab, store, repo)
}

/// The objects of a store: all of them and the packs alone.
fn objects(store: &dyn Store) -> (Vec<ObjectInfo>, Vec<ObjectInfo>) {
    (store.list("").unwrap().objects, store.list("packs").unwrap().objects)
}

/// Takes a snapshot and says by how many bytes the repository grew.
fn growth(lab: &Lab, store: &dyn Store, repo: &Repo) -> (BackupSummary, u64) {
    let size = |store: &dyn Store| objects(store).0.iter().map(|info| info.size).sum::<u64>();
    let before = size(store);
    let summary = lab.snapshot(repo);
    (summary, size(store) - before)
}

#[test]
fn the_whole_sample_tree_comes_back_with_repository_and_key_alone() {
    let lab = Lab::new();
    sample::build(&lab.source(), &lab.path().join("outside"));
    let truth = Truth::read(&lab.source());
    let id = lab.snapshot(&lab.create()).id;
    truth.assert_same(&Truth::read(&lab.source()), "the source after the snapshot");
    lab.delete_cache();
    let restored = lab.restore(&lab.open(), &id);
    truth.clone().without_specials().assert_same(&restored.truth(), "the restored tree");
    assert_eq!(restored.summary.specials, 2);
    assert_eq!(restored.summary.files + restored.summary.hard_links, truth.files() as u64);
}

#[test]
fn an_unchanged_tree_adds_no_pack_and_next_to_nothing_with_and_without_the_cache() {
    let (lab, store, repo) = lab();
    sample::build(&lab.source(), &lab.path().join("outside"));
    let first = lab.snapshot(&repo);
    let packs = objects(store.as_ref()).1;
    assert!(!packs.is_empty());
    let (second, added) = growth(&lab, store.as_ref(), &repo);
    assert_eq!((second.tree, second.parent), (first.tree, Some(first.id)));
    assert_eq!(objects(store.as_ref()).1, packs);
    assert!(added < 8 << 10, "{added} bytes");
    let statistics = second.statistics;
    assert_eq!((statistics.files_new, statistics.files_changed, statistics.data_blobs), (0, 0, 0));
    drop(repo);
    lab.delete_cache();
    let (third, added) = growth(&lab, store.as_ref(), &lab.open_in(store.clone()));
    assert_eq!(third.tree, first.tree);
    assert_eq!(objects(store.as_ref()).1, packs, "everything was read again, and nothing stored again");
    assert!(added < 8 << 10, "{added} bytes");
}

#[test]
fn what_is_there_already_under_another_name_adds_next_to_nothing() {
    const LITTLE: u64 = 64 << 10;
    let (lab, store, repo) = lab();
    let at = |name: &str| lab.source().join(name);
    fs::create_dir(at("Media")).unwrap();
    for number in 0..20 {
        fs::write(at(&format!("Media/{number}.jpg")), noise(&format!("photo {number}"), 300_000)).unwrap();
    }
    fs::write(at("photo.jpg"), noise("photo", 3_000_000)).unwrap();
    let (_, first) = growth(&lab, store.as_ref(), &repo);
    assert!(first > 9_000_000, "{first} bytes");
    let step = |what: &str, change: &dyn Fn()| {
        let before = Truth::read(&lab.source());
        change();
        let truth = Truth::read(&lab.source());
        assert!(!before.differences(&truth).is_empty(), "{what}: nothing was changed");
        let (summary, added) = growth(&lab, store.as_ref(), &repo);
        assert!(added < LITTLE, "{what}: {added} bytes");
        assert_eq!(summary.statistics.data_blobs, 0, "{what}");
        truth.assert_same(&lab.restore(&repo, &summary.id).truth(), what);
    };
    step("one photo under ten names", &|| {
        for copy in 0..10 {
            fs::copy(at("photo.jpg"), at(&format!("copy {copy}.jpg"))).unwrap();
        }
    });
    step("a renamed folder", &|| fs::rename(at("Media"), at("Pictures")).unwrap());
    step("a moved file", &|| fs::rename(at("photo.jpg"), at("Pictures/moved.jpg")).unwrap());
}

#[test]
fn one_byte_at_the_head_of_a_large_file_adds_at_most_three_chunks() {
    let (lab, store, repo) = lab();
    let path = lab.source().join("video.mp4");
    let content = noise("a large file", 100_000_000);
    fs::write(&path, &content).unwrap();
    let first = lab.snapshot(&repo);
    assert!(first.statistics.data_blobs > 50, "{} chunks", first.statistics.data_blobs);
    fs::write(&path, [&b"x"[..], &content].concat()).unwrap();
    let (second, added) = growth(&lab, store.as_ref(), &repo);
    assert_eq!(second.statistics.files_changed, 1);
    assert!((1..=3).contains(&second.statistics.data_blobs), "{} chunks", second.statistics.data_blobs);
    assert!(added < 13 << 20, "{added} bytes");
}

#[test]
fn a_database_that_goes_on_is_stored_in_runs_and_every_state_comes_back() {
    let (lab, store, repo) = lab();
    let path = lab.source().join("msgstore.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch("CREATE TABLE message (_id INTEGER PRIMARY KEY, chat INTEGER, text TEXT)")
        .unwrap();
    let mut taken = Vec::new();
    for day in 0..5 {
        sample::messages(&connection, if day == 0 { 20_000 } else { 100 });
        let truth = Truth::read(&lab.source());
        let (summary, added) = growth(&lab, store.as_ref(), &repo);
        let size = fs::metadata(&path).unwrap().len();
        assert!(day == 0 || added < size / 4, "day {day} added {added} bytes of {size}");
        taken.push((summary.id, truth));
    }
    for (id, truth) in &taken {
        truth.assert_same(&lab.restore(&repo, id).truth(), &id.short());
    }
}

#[test]
fn a_snapshot_leaves_no_trace_in_the_source() {
    let (lab, _, repo) = lab();
    sample::build(&lab.source(), &lab.path().join("outside"));
    let look = || {
        let of = |path: &Path| {
            use std::os::unix::fs::MetadataExt;
            let data = fs::symlink_metadata(path).unwrap();
            (data.ino(), data.mtime_nsec(), data.ctime(), data.ctime_nsec(), data.nlink())
        };
        let folders = ["", "contents", "links", "specials", "Databases", "modes"];
        let files = [
            "contents/sparse",
            "contents/video.mp4",
            "Databases/msgstore.db",
            "links/dangling",
            "specials/pipe",
        ];
        folders.iter().chain(&files).map(|name| of(&lab.source().join(name))).collect::<Vec<_>>()
    };
    let (before, truth) = (look(), Truth::read(&lab.source()));
    let _stored = lab.snapshot(&repo);
    assert_eq!(look(), before);
    truth.assert_same(&Truth::read(&lab.source()), "the source");
}
