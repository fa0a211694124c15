//! Damage, too little room, and the wish to stop.

use super::*;
use crate::base::{BlobId, Cancel, Counter, Observer, Phase, Warning, WarningKind};
use crate::browse::testing::{Part, commit, damage, repository};
use crate::model::{BlobKind, Content, ListItem};
use crate::repo::Session;
use crate::repo::testing::{create, session};
use crate::store::MemoryStore;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::tempdir;

#[derive(Default)]
pub(super) struct Told(pub(super) Mutex<Vec<Warning>>);

impl Observer for Told {
    fn warn(&self, warning: &Warning) {
        self.0.lock().unwrap().push(warning.clone());
    }
}

#[test]
fn of_a_damaged_file_nothing_is_left_and_the_others_come_back() {
    let (store, repo) = repository();
    let mut lost = BlobId::new([0; 32]);
    let snapshot = commit(&repo, |maker| {
        let (one, two) = (maker.blob(b"one"), maker.blob(b"two"));
        lost = maker.blob(b"lost");
        let item = |id, len| ListItem::Chunk { id, len };
        let whole = repo.name(BlobKind::Data, b"onetwo");
        let mut long = maker.items("too long", &[item(one, 3), item(two, 3)], whole);
        long.size += 1;
        let mut linked = maker.file("x1", b"lost");
        linked.hard_link = Some(1);
        let mut again = linked.clone();
        again.name = b"x2".to_vec();
        vec![
            maker.dir("d", vec![maker.items("exchanged", &[item(two, 3), item(one, 3)], whole)]),
            maker.items("missing", &[item(one, 3), item(BlobId::new([9; 32]), 3)], whole),
            maker.file("damaged", b"lost"),
            linked,
            again,
            long,
            maker.file("good", b"good"),
            maker.items("right", &[item(one, 3), item(two, 3)], whole),
        ]
    });
    damage(&store, &repo, BlobKind::Data, &lost);
    let (temp, told) = (tempdir().unwrap(), Told::default());
    let planned = plan(&repo, &snapshot, &options(temp.path(), None), &told).unwrap();
    let summary = apply(&repo, planned, &told).unwrap();
    assert_eq!((summary.files, summary.damaged, summary.failed, summary.hard_links), (2, 6, 0, 0));
    assert_eq!(names_in(temp.path()), ["d", "good", "right"]);
    assert_eq!(fs::read(temp.path().join("right")).unwrap(), b"onetwo");
    let told = told.0.into_inner().unwrap();
    assert_eq!(told, summary.warnings);
    assert!(told.iter().all(|warning| warning.kind == WarningKind::Damaged));
    let mut paths: Vec<_> = told.iter().map(|warning| warning.path.as_ref().unwrap().to_string()).collect();
    paths.sort();
    assert_eq!(paths, ["/d/exchanged", "/damaged", "/missing", "/too long", "/x1", "/x2"]);
}

#[test]
fn a_damaged_folder_is_told_once_and_the_others_come_back() {
    let (store, repo) = repository();
    let mut lost = None;
    let snapshot = commit(&repo, |maker| {
        let bad = maker.dir("bad", vec![maker.file("f", b"x")]);
        lost = bad.subtree;
        vec![bad, maker.file("good", b"good")]
    });
    damage(&store, &repo, BlobKind::TreePage, &lost.unwrap());
    let (temp, told) = (tempdir().unwrap(), Told::default());
    let planned = plan(&repo, &snapshot, &options(temp.path(), None), &told).unwrap();
    assert_eq!(planned.damaged.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/bad"]);
    let summary = apply(&repo, planned, &told).unwrap();
    assert_eq!((summary.files, summary.damaged, told.0.into_inner().unwrap().len()), (1, 1, 1));
    assert_eq!(names_in(temp.path()), ["bad", "good"]);
}

#[test]
fn names_the_file_system_refuses_are_told_and_the_others_come_back() {
    let (_, repo) = repository();
    let long = "n".repeat(256);
    let snapshot = commit(&repo, |maker| {
        let mut link = maker.link("l", "x");
        link.name = format!("{long}l").into_bytes();
        vec![
            maker.file(&long, b"x"),
            maker.dir(format!("{long}d"), vec![maker.file("f", b"x")]),
            link,
            maker.file("good", b"good"),
        ]
    });
    let temp = tempdir().unwrap();
    let summary = restore(&repo, &snapshot, temp.path(), None).unwrap();
    assert_eq!((summary.files, summary.failed, summary.warnings.len()), (1, 3, 3));
    assert_eq!(names_in(temp.path()), ["good"]);
}

#[test]
fn too_little_room_is_known_before_anything_is_written() {
    let (store, repo) = repository();
    let mut pages = None;
    let snapshot = commit(&repo, |maker| {
        let mut huge = maker.parts("huge", &[Part::Bytes(b"x")]);
        huge.size = 1 << 60;
        pages = Some(huge.content);
        vec![maker.dir("d", vec![huge])]
    });
    // A list that cannot be read counts as what it stands for.
    let Some(Content::List(list)) = pages else { panic!("no list") };
    damage(&store, &repo, BlobKind::ListPage, &list);
    let temp = tempdir().unwrap();
    let target = temp.path().join("new");
    let (kind, text) = refused(&repo, &snapshot, &target);
    assert_eq!(kind, Kind::NoSpace);
    assert!(text.contains(&((1u64 << 60) + 4096).to_string()), "{text}");
    assert!(!target.exists());
}

#[test]
fn holes_need_no_room() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let hash = repo.name(BlobKind::Data, b"never compared");
        vec![maker.items("huge", &[ListItem::Hole { len: 1 << 60 }], hash)]
    });
    let temp = tempdir().unwrap();
    let planned = plan(&repo, &snapshot, &options(temp.path(), None), &Silent).unwrap();
    assert_eq!((planned.bytes, planned.needed_bytes), (1 << 60, 0));
}

#[test]
fn files_that_share_their_content_need_its_room_each() {
    let (_, repo) = repository();
    let temp = tempdir().unwrap();
    let free = crate::restore::target::Place::find(temp.path()).unwrap().free().unwrap().bytes;
    let snapshot = commit(&repo, |maker| {
        let blob = vec![7; 8 << 20];
        let items = vec![ListItem::Chunk { id: maker.blob(&blob), len: 8 << 20 }; 1000];
        let count = free / (8 << 20) / 1000 + 2;
        (0..count).map(|n| maker.items(format!("f{n}"), &items, BlobId::new([1; 32]))).collect()
    });
    assert_eq!(refused(&repo, &snapshot, temp.path()).0, Kind::NoSpace);
}

/// Raises the flag of a run after so many bytes.
struct StopAfter {
    cancel: Cancel,
    left: Mutex<u64>,
}

impl Observer for StopAfter {
    fn add(&self, counter: Counter, amount: u64) {
        if counter == Counter::Bytes {
            let mut left = self.left.lock().unwrap();
            *left = left.saturating_sub(amount);
            if *left == 0 {
                self.cancel.cancel();
            }
        }
    }
}

#[test]
fn a_cancelled_restore_leaves_no_part_of_a_file() {
    const BLOB: usize = 100_000;
    for stop_at in [0, 1, 7, 20, 33, 50] {
        let (_, repo) = repository();
        let snapshot = commit(&repo, |maker| {
            let blobs: Vec<Vec<u8>> = (0..10u8).map(|n| vec![n; BLOB]).collect();
            let parts: Vec<_> = blobs.iter().map(|blob| Part::Bytes(blob)).collect();
            (0..10)
                .map(|n| maker.dir(format!("d{n}"), vec![maker.parts("f", &parts), maker.link("l", "f")]))
                .collect()
        });
        let temp = tempdir().unwrap();
        let observer =
            StopAfter { cancel: repo.session().cancel.clone(), left: Mutex::new(stop_at * BLOB as u64) };
        let planned = plan(&repo, &snapshot, &options(temp.path(), None), &Silent).unwrap();
        assert_eq!(apply(&repo, planned, &observer).unwrap_err().kind(), Kind::Cancelled);
        let files: Vec<_> =
            all_in(temp.path()).into_iter().filter(|(path, _)| !path.ends_with("l")).collect();
        let whole =
            files.iter().filter(|(path, content)| path.ends_with("f") && content.len() == 10 * BLOB).count();
        let folders = files.iter().filter(|(_, content)| content == b"folder").count();
        assert_eq!(whole + folders, files.len(), "{stop_at}");
        assert!(whole < 10);
    }
}

#[test]
fn a_full_disk_ends_the_restore_with_its_own_error() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| (0..20).map(|n| maker.file(format!("f{n}"), b"x")).collect());
    let temp = tempdir().unwrap();
    let planned = plan(&repo, &snapshot, &options(temp.path(), None), &Silent).unwrap();
    let work = crate::restore::work::Work::new(&repo, planned, &Silent).unwrap();
    let full = || std::io::Error::from_raw_os_error(28);
    let path = StoredPath::root();
    work.lost(&path, crate::restore::target::failed("write", &path)(full()));
    // What the other threads say then is not the cause.
    work.lost(&path, crate::base::Error::cancelled());
    let error = work.check().unwrap_err();
    assert_eq!(
        (error.kind(), error.subject()),
        (Kind::NoSpace, &*temp.path().canonicalize().unwrap().to_string_lossy())
    );
}

#[test]
fn folders_are_closed_to_others_until_all_is_there() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut dir = maker.dir("d", vec![maker.parts("f", &[Part::Bytes(b"x"), Part::Hole(70_000)])]);
        dir.mode = 0o777;
        vec![dir]
    });
    struct Look<'a>(&'a Path, Mutex<Vec<u32>>);
    impl Observer for Look<'_> {
        fn add(&self, counter: Counter, _: u64) {
            if counter == Counter::Bytes {
                let modes =
                    all_in(self.0).into_keys().map(|path| fs::metadata(self.0.join(path)).unwrap().mode());
                self.1.lock().unwrap().extend(modes.map(|mode| mode & 0o7777));
            }
        }
    }
    let temp = tempdir().unwrap();
    let planned = plan(&repo, &snapshot, &options(temp.path(), None), &Silent).unwrap();
    let look = Look(temp.path(), Mutex::default());
    apply(&repo, planned, &look).unwrap();
    assert_eq!(look.1.into_inner().unwrap(), [0o700, 0o600, 0o700, 0o600]);
    assert_eq!(fs::metadata(temp.path().join("d")).unwrap().mode() & 0o7777, 0o777);
}

#[test]
fn verifying_counts_the_bytes_of_a_long_file_while_it_is_read() {
    const LEN: usize = 3_000_000;
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.file("long", &vec![7; LEN]), maker.file("short", b"x")]);
    #[derive(Default)]
    struct Steps(AtomicBool, Mutex<Vec<u64>>);
    impl Observer for Steps {
        fn phase(&self, phase: Phase) {
            self.0.store(phase == Phase::Verifying, Ordering::SeqCst);
        }

        fn add(&self, counter: Counter, amount: u64) {
            if counter == Counter::Bytes && self.0.load(Ordering::SeqCst) {
                self.1.lock().unwrap().push(amount);
            }
        }
    }
    let temp = tempdir().unwrap();
    let options = overwrite::with(temp.path(), |options| options.verify = true);
    let planned = plan(&repo, &snapshot, &options, &Silent).unwrap();
    let steps = Steps::default();
    assert_eq!(apply(&repo, planned, &steps).unwrap().verified, 2);
    let steps = steps.1.into_inner().unwrap();
    assert_eq!(steps.iter().sum::<u64>(), LEN as u64 + 1);
    assert!(steps.iter().all(|step| *step < LEN as u64 / 2), "{steps:?}");
}

#[test]
fn a_database_that_sqlite_cannot_be_asked_about_is_verified_with_a_warning() {
    let home = tempdir().unwrap();
    let path = home.path().join("made.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE m(t)").unwrap();
    let bytes = fs::read(path).unwrap();
    let not_there = home.path().join("not there");
    for (scratch_dir, why) in [(Some(not_there), "No such file or directory"), (None, "no folder for it")] {
        let session = Session { scratch_dir, ..session(None) };
        let (repo, _) = create(Arc::new(MemoryStore::new()), session);
        let snapshot = commit(&repo, |maker| {
            let encrypted = overwrite::database(maker, "encrypted.db", b"nothing that SQLite could read");
            vec![maker.file("a", b"a"), encrypted, overwrite::database(maker, "m.db", &bytes)]
        });
        let temp = tempdir().unwrap();
        let options = overwrite::with(temp.path(), |options| options.verify = true);
        let summary = overwrite::run(&repo, &snapshot, &options).unwrap();
        assert_eq!((summary.verified, summary.differing, summary.sound_databases), (3, 0, 0));
        assert_eq!((summary.unchecked_databases, summary.unsound_databases), (1, 0));
        let [warning] = &summary.warnings[..] else { panic!("{:?}", summary.warnings) };
        assert_eq!(warning.kind, WarningKind::IntegrityNotChecked);
        assert!(warning.message.contains(why), "{}", warning.message);
    }
}
