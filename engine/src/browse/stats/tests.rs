//! Counting repositories with hand-made trees.

use super::*;
use crate::base::WarningKind;
use crate::base::event::Silent;
use crate::browse::testing::{Maker, Part, commit, damage, forget, repository};
use crate::model::{BlobKind, Node};
use crate::repo::testing::{create, session};
use crate::store::{MemoryStore, Operation, RecordingStore, Store};
use std::sync::{Arc, Mutex};

fn count(repo: &Repo, chosen: impl Fn(&[Snapshot]) -> Vec<Snapshot>, path: Option<&str>) -> Stats {
    let all = repo.snapshots(&Silent).unwrap();
    let path = path.map(|path| StoredPath::parse(path.as_bytes()).unwrap());
    let options = StatsOptions { all: &all, chosen: &chosen(&all), path: path.as_ref() };
    stats(repo, &options, &Silent).unwrap()
}

fn every(all: &[Snapshot]) -> Vec<Snapshot> {
    all.to_vec()
}

/// `noise` of a length that cannot be compressed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut bytes = vec![0; len];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

fn days(repo: &Repo) {
    let shared = |maker: &Maker<'_>| {
        vec![maker.file("a.jpg", &noise(1, 1000)), maker.file("copy.jpg", &noise(1, 1000))]
    };
    let list = |maker: &Maker<'_>| {
        maker.parts("v.mp4", &[Part::Bytes(&noise(2, 5000)), Part::Hole(700), Part::Bytes(&noise(3, 4000))])
    };
    commit(repo, |maker| vec![maker.dir("d", shared(maker)), list(maker)]);
    commit(repo, |maker| {
        let mut nodes = shared(maker);
        nodes.push(maker.file("new.opus", &noise(4, 300)));
        vec![maker.dir("d", nodes), list(maker)]
    });
    commit(repo, |maker| {
        let mut nodes = shared(maker);
        nodes.push(maker.file("b.txt", &[7; 100_000]));
        vec![maker.dir("d", nodes)]
    });
}

fn kind(stats: &Stats, kind: ContentKind) -> (u64, u64, u64, u64) {
    let one = stats.kinds.iter().find(|one| one.kind == kind).unwrap();
    (one.restored.files, one.restored.bytes, one.blobs.blobs, one.blobs.plain_bytes)
}

#[test]
fn sizes_before_and_after_are_counted_by_kind_and_snapshot() {
    let (_, repo) = repository();
    days(&repo);
    let stats = count(&repo, every, None);
    assert_eq!(kind(&stats, ContentKind::Photo), (6, 6000, 1, 1000));
    assert_eq!(kind(&stats, ContentKind::Video), (2, 2 * 9700, 2, 9000));
    assert_eq!(kind(&stats, ContentKind::Audio), (1, 300, 1, 300));
    assert_eq!(kind(&stats, ContentKind::Document), (1, 100_000, 1, 100_000));
    assert_eq!(kind(&stats, ContentKind::Other), (0, 0, 0, 0));
    assert_eq!(stats.restored, Restored { files: 10, bytes: 125_700 });
    assert_eq!((stats.content.blobs, stats.content.plain_bytes), (5, 110_300));
    assert!(stats.content.stored_bytes < 11_000, "the text was not compressed: {:?}", stats.content);
    let restored: Vec<_> =
        stats.snapshots.iter().map(|one| (one.restored.files, one.restored.bytes)).collect();
    assert_eq!(restored, [(3, 11_700), (4, 12_000), (3, 102_000)]);
    let stored = |n: usize| stats.snapshots[n].alone.unwrap();
    // The first holds only two pages alone: its root and its folder.
    assert_eq!(stored(0).blobs, 2);
    assert_eq!((stored(1).blobs, stored(1).plain_bytes > 300), (3, true));
    assert_eq!((stored(2).blobs, stored(2).plain_bytes > 100_000), (3, true));
    assert_eq!(stats.unneeded_bytes, Some(0));
    let in_packs: u64 = stats.classes.iter().map(|class| class.blobs).sum();
    assert_eq!(in_packs, stats.content.blobs + stats.metadata.blobs);
    let folder = |name: &str| stats.folders.iter().find(|folder| folder.name == name).unwrap();
    assert_eq!(folder("snapshots").files, 3);
    assert_eq!(folder("packs").bytes, stats.classes.iter().map(|class| class.bytes).sum::<u64>());
}

#[test]
fn what_a_snapshot_has_alone_is_judged_against_all_others() {
    let (_, repo) = repository();
    days(&repo);
    let all = count(&repo, every, None);
    for (place, one) in all.snapshots.iter().enumerate() {
        let alone = count(&repo, |all| vec![all[place].clone()], None);
        assert_eq!(alone.snapshots, [*one]);
        assert_eq!(alone.restored, one.restored);
        assert_eq!(alone.unneeded_bytes, Some(0));
    }
    // Forgetting frees what was said.
    let before = count(&repo, every, None);
    let last = repo.snapshots(&Silent).unwrap().pop().unwrap();
    forget(&repo, &last);
    let after = count(&repo, every, None);
    assert_eq!(after.unneeded_bytes, Some(before.snapshots[2].alone.unwrap().stored_bytes));
}

#[test]
fn a_path_is_counted_alone_and_a_missing_one_is_an_error() {
    let (_, repo) = repository();
    days(&repo);
    let folder = count(&repo, |all| vec![all[1].clone()], Some("/d"));
    assert_eq!(folder.restored, Restored { files: 3, bytes: 2300 });
    assert_eq!((folder.content.blobs, folder.metadata.blobs, folder.unneeded_bytes), (2, 1, None));
    assert_eq!(folder.snapshots[0].alone, None);
    let file = count(&repo, every, Some("/v.mp4"));
    assert_eq!((file.snapshots.len(), file.restored.bytes, file.content.blobs), (2, 19_400, 2));
    let all = repo.snapshots(&Silent).unwrap();
    let path = StoredPath::parse(b"/nowhere").unwrap();
    let options = StatsOptions { all: &all, chosen: &all, path: Some(&path) };
    assert_eq!(stats(&repo, &options, &Silent).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn damage_is_told_and_the_rest_counted() {
    let (store, repo) = repository();
    let mut page = None;
    commit(&repo, |maker| {
        let dir = maker.dir("a", vec![maker.file("x.jpg", b"x")]);
        page = dir.subtree;
        vec![dir, maker.file("y.jpg", b"yy")]
    });
    damage(&store, &repo, BlobKind::TreePage, &page.unwrap());
    #[derive(Default)]
    struct Heard(Mutex<Vec<WarningKind>>);
    impl Observer for Heard {
        fn warn(&self, warning: &Warning) {
            self.0.lock().unwrap().push(warning.kind);
        }
    }
    let heard = Heard::default();
    let all = repo.snapshots(&Silent).unwrap();
    let options = StatsOptions { all: &all, chosen: &all, path: None };
    let stats = stats(&repo, &options, &heard).unwrap();
    assert_eq!(stats.restored, Restored { files: 1, bytes: 2 });
    assert_eq!(heard.0.into_inner().unwrap(), [WarningKind::Damaged]);
}

#[test]
fn a_tree_deeper_than_what_is_kept_open_is_counted_whole() {
    let (_, repo) = repository();
    commit(&repo, |maker| {
        let mut node = maker.file("end.jpg", b"end");
        for depth in 0..200 {
            let beside = maker.file("beside.jpg", &[depth; 10]);
            let after = maker.dir("zz", vec![maker.file("after.jpg", &[depth; 20])]);
            node = maker.dir("down", vec![node, beside, after]);
        }
        vec![node]
    });
    let stats = count(&repo, every, None);
    assert_eq!(stats.restored, Restored { files: 401, bytes: 3 + 200 * 30 });
    assert_eq!(stats.content.blobs, 401);
}

#[test]
fn each_page_is_read_at_most_twice_however_many_snapshots_share_it() {
    let store = Arc::new(RecordingStore::new(MemoryStore::new()));
    let (repo, _) = create(Arc::clone(&store) as Arc<dyn Store>, session(None));
    let day = |maker: &Maker<'_>, number: u8| -> Vec<Node> {
        let dirs = (0..40_u8).map(|dir| maker.dir(format!("d{dir}"), vec![maker.file("f", &[dir])]));
        dirs.chain([maker.file("n", &[number; 3])]).collect()
    };
    let reads = || {
        let all = repo.snapshots(&Silent).unwrap();
        store.clear();
        let stats = stats(&repo, &StatsOptions { all: &all, chosen: &all, path: None }, &Silent).unwrap();
        assert_eq!(stats.restored.files, 41 * all.len() as u64);
        store.calls().iter().filter(|call| call.operation == Operation::GetRange).count()
    };
    commit(&repo, |maker| day(maker, 0));
    assert_eq!(reads(), 41);
    for number in 1..30 {
        commit(&repo, |maker| day(maker, number));
    }
    assert_eq!(reads(), 2 * 40 + 30);
}
