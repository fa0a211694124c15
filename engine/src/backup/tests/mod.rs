//! Taking snapshots into a store in memory.

mod captured;
mod changing;
mod checks;
mod databases;
mod linked;
mod media;
mod options;
mod panics;
mod sidecars;

use super::*;
use crate::base::event::Silent;
use crate::base::{Cancel, Warning, WarningKind};
use crate::model::{Content, DatabaseState, ListItem, Node, NodeKind};
use crate::repo::testing::{create, session};
use crate::store::{MemoryStore, RecordingStore, Store};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};

struct Bench {
    dir: tempfile::TempDir,
    store: Arc<RecordingStore<MemoryStore>>,
    repo: Repo,
    key: crate::crypto::Credential,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        let store = Arc::new(RecordingStore::new(MemoryStore::new()));
        let (repo, key) = create(Arc::clone(&store) as Arc<dyn Store>, session(None));
        Self { dir, store, repo, key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("src").join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn options(&self) -> BackupOptions {
        BackupOptions { paths: vec![self.dir.path().join("src")], ..BackupOptions::default() }
    }

    fn take(&self) -> BackupSummary {
        snapshot(&self.repo, &self.options(), &Silent).unwrap()
    }

    /// The same repository as a new computer sees it: without this one's catalog.
    fn elsewhere(&self) -> Self {
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let repo = Repo::open(store, &self.key, session(None), &Silent).unwrap();
        Self {
            dir: tempfile::tempdir().unwrap(),
            store: Arc::clone(&self.store),
            repo,
            key: self.key.clone(),
        }
    }

    /// Stores the sources as a run does that is killed before its commit: packs are durable, the lease stays.
    fn take_and_die(&self) {
        let run = self.repo.begin(&Silent).unwrap();
        let options = self.options();
        let plan = Plan::new(&options.paths).unwrap();
        let source = Source::find(&self.repo, &run.history, &options, plan.paths()).unwrap();
        RunWriter::run(&self.repo, Fate::Stored, |writer| {
            walk::store(&Work::new(&self.repo, &options, &Silent, writer, &source), &plan, None)
        })
        .unwrap();
        drop(run);
    }

    /// How many objects there are below `prefix`.
    fn written(&self, prefix: &str) -> usize {
        self.store.inner().list(prefix).unwrap().objects.len()
    }

    fn node(&self, summary: &BackupSummary, path: &Path) -> Option<Node> {
        self.node_at(summary.tree, path)
    }

    fn node_at(&self, root: BlobId, path: &Path) -> Option<Node> {
        let stored = StoredPath::from_fs(path).unwrap();
        let mut at = root;
        let mut found = None;
        for name in stored.components() {
            found = self.repo.find_node(&at, name).unwrap();
            at = found.as_ref().and_then(|node| node.subtree).unwrap_or(at);
        }
        found
    }

    fn content(&self, node: &Node) -> Vec<u8> {
        match node.content {
            Content::None => Vec::new(),
            Content::Chunk(id) => self.repo.read_blob(crate::model::BlobKind::Data, &id).unwrap(),
            Content::List(root) => {
                let mut all = Vec::new();
                self.repo
                    .each_list_item(&root, &mut |item| {
                        match item {
                            ListItem::Chunk { id, .. } => {
                                all.extend(self.repo.read_blob(crate::model::BlobKind::Data, &id)?);
                            }
                            ListItem::Hole { len } => all.resize(all.len() + len as usize, 0),
                        }
                        Ok(())
                    })
                    .unwrap();
                all
            }
        }
    }
}

/// Bytes that no compressor shrinks, the same in every run.
fn noise(seed: &str, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    crate::base::hash::derive_bytes("test noise", &[seed.as_bytes()], &mut out);
    out
}

#[test]
fn every_kind_of_entry_is_stored_as_it_is() {
    let bench = Bench::new();
    let big = noise("big", 5_000_000);
    bench.write("a/big", &big);
    bench.write("a/small", b"text");
    bench.write("empty", b"");
    fs::create_dir(bench.path("no entries")).unwrap();
    symlink("nowhere", bench.path("link")).unwrap();
    fs::hard_link(bench.path("a/small"), bench.path("other name")).unwrap();
    let summary = bench.take();
    let node = |name: &str| bench.node(&summary, &bench.path(name)).unwrap();
    assert_eq!(bench.content(&node("a/big")), big);
    assert_eq!(node("a/big").hash, Some(bench.repo.name(crate::model::BlobKind::Data, &big)));
    assert_eq!(bench.content(&node("a/small")), b"text");
    assert_eq!(node("empty").content, Content::None);
    assert_eq!(node("link").target.as_deref(), Some(&b"nowhere"[..]));
    assert_eq!(node("no entries").kind, NodeKind::Dir);
    assert!(node("a/small").hard_link.is_some());
    assert_eq!(node("a/small").hard_link, node("other name").hard_link);
    assert_eq!((summary.statistics.total_files, summary.statistics.symlinks), (4, 1));
    assert_eq!(summary.statistics.total_bytes, 5_000_008);
}

#[test]
fn a_second_snapshot_of_the_same_tree_reads_no_file_and_writes_no_pack() {
    let bench = Bench::new();
    bench.write("a/b", &noise("x", 100_000));
    age(&bench.path("a/b"));
    age_all(&bench);
    let first = bench.take();
    let (packs, indexes) = (bench.written("packs"), bench.written("index"));
    bench.store.clear();
    let second = bench.take();
    assert_eq!(second.tree, first.tree);
    assert_eq!((bench.written("packs"), bench.written("index")), (packs, indexes));
    assert_eq!(second.parent, Some(first.id));
    assert_eq!((second.statistics.files_unmodified, second.statistics.dirs_unmodified), (1, 2));
    assert_eq!(second.statistics.data_added, 0);
}

/// Nothing to do: the session's clock runs years ahead of the files.
fn age(path: &Path) {
    assert!(
        path.metadata().unwrap().modified().unwrap()
            < std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_799_999_990)
    );
}

fn age_all(bench: &Bench) {
    age(&bench.path("a"));
}

#[test]
fn one_content_under_many_names_is_stored_once() {
    let bench = Bench::new();
    let photo = noise("photo", 300_000);
    bench.write("one", &photo);
    bench.take();
    for n in 0..10 {
        bench.write(&format!("chat {n}/photo"), &photo);
    }
    let second = bench.take();
    assert_eq!((second.statistics.data_blobs, second.statistics.files_new), (0, 10));
    assert!(second.statistics.data_added_packed < 64 * 1024);
}

#[test]
fn a_wal_that_grows_beside_an_untouched_database_is_noticed() {
    let bench = Bench::new();
    bench.write("x.db", &noise("db", 1000));
    bench.write("x.db-wal", b"one");
    let first = bench.take();
    bench.write("x.db-wal", b"two!");
    let second = bench.take();
    assert_ne!(first.tree, second.tree);
    // The main file was read again, and found to be the same.
    assert_eq!((second.statistics.files_unmodified, second.statistics.files_changed), (1, 1));
}

#[test]
fn special_files_are_recorded_and_unreadable_ones_counted() {
    let bench = Bench::new();
    bench.write("file", b"x");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bench.path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let mut options = bench.options();
    options.paths.push(bench.dir.path().join("missing"));
    let summary = snapshot(&bench.repo, &options, &Silent).unwrap();
    assert_eq!(bench.node(&summary, &bench.path("pipe")).unwrap().kind, NodeKind::Fifo);
    assert_eq!((summary.statistics.specials, summary.statistics.unreadable), (1, 1));
}

#[test]
fn own_folders_are_left_out() {
    let bench = Bench::new();
    bench.write("repository/packs", b"x");
    bench.write("kept", b"x");
    let options = BackupOptions { own_folders: vec![bench.path("repository")], ..bench.options() };
    let summary = snapshot(&bench.repo, &options, &Silent).unwrap();
    assert!(bench.node(&summary, &bench.path("repository")).is_none());
    assert!(bench.node(&summary, &bench.path("kept")).is_some());
    assert_eq!(summary.warnings[0].kind, WarningKind::OwnFolderLeftOut);
}

#[test]
fn a_snapshot_of_nothing_is_none() {
    let bench = Bench::new();
    bench.write("kept", b"x");
    bench.take();
    let own = BackupOptions { own_folders: vec![bench.path(".")], ..bench.options() };
    let fails = |options: &BackupOptions| {
        let failure = snapshot(&bench.repo, options, &Silent).unwrap_err();
        assert!(failure.full_text().contains("nothing of it could be stored"), "{}", failure.full_text());
        assert_eq!(preview(&bench.repo, options, &Silent).unwrap_err().kind(), failure.kind());
    };
    fails(&own);
    // A link that leads nowhere is nothing; a folder without entries is something.
    symlink("nowhere", bench.path("link")).unwrap();
    let one = |name: &str| BackupOptions { paths: vec![bench.path(name)], ..bench.options() };
    assert_eq!(snapshot(&bench.repo, &one("link"), &Silent).unwrap_err().kind(), Kind::NotFound);
    fs::create_dir(bench.path("empty")).unwrap();
    snapshot(&bench.repo, &one("empty"), &Silent).unwrap();
    assert_eq!(bench.repo.snapshots(&Silent).unwrap().len(), 2);
}

#[test]
fn a_failing_store_fails_the_run_and_no_manifest_appears() {
    let counted = Bench::new();
    counted.write("a", &noise("a", 200_000));
    counted.store.clear();
    counted.take();
    let calls = counted.store.calls().len();
    assert!(calls > 5);
    for n in 1..=calls {
        let bench = Bench::new();
        bench.write("a", &noise("a", 200_000));
        bench.store.clear();
        bench.store.fail_from(Some(n));
        let failed = snapshot(&bench.repo, &bench.options(), &Silent);
        bench.store.fail_from(None);
        if failed.is_err() {
            // The next run works, and what was acknowledged (nothing) is listed.
            let summary = bench.take();
            assert_eq!(bench.content(&bench.node(&summary, &bench.path("a")).unwrap()), noise("a", 200_000));
        }
    }
}

#[test]
fn a_cancelled_run_stores_no_snapshot() {
    let bench = Bench::new();
    bench.write("a", b"x");
    let cancel: Cancel = bench.repo.session().cancel.clone();
    cancel.cancel();
    assert_eq!(snapshot(&bench.repo, &bench.options(), &Silent).unwrap_err().kind(), Kind::Cancelled);
    assert_eq!(bench.written("snapshots"), 0);
}

#[test]
fn a_killed_runs_packs_are_adopted() {
    let bench = Bench::new();
    bench.write("a", &noise("a", 500_000));
    bench.take_and_die();
    assert_eq!((bench.written("leases"), bench.written("index")), (1, 0));
    let summary = bench.take();
    assert_eq!((summary.statistics.data_blobs, summary.statistics.data_added), (0, 0));
    assert_eq!((bench.written("leases"), bench.written("index"), bench.written("packs")), (0, 1, 2));
    assert_eq!(bench.content(&bench.node(&summary, &bench.path("a")).unwrap()), noise("a", 500_000));
}

#[test]
fn what_a_twice_killed_run_left_is_in_an_index_before_it_is_relied_on() {
    let bench = Bench::new();
    bench.write("a", &noise("a", 500_000));
    bench.take_and_die();
    // The second run adopts what the first one left, and is killed as well.
    bench.take_and_die();
    let summary = bench.take();
    assert_eq!(summary.statistics.data_added, 0);
    let elsewhere = bench.elsewhere();
    let node = elsewhere.node(&summary, &bench.path("a")).unwrap();
    assert_eq!(elsewhere.content(&node), noise("a", 500_000));
}

#[derive(Default)]
struct Heard(Mutex<Vec<WarningKind>>);

impl Observer for Heard {
    fn warn(&self, warning: &Warning) {
        self.0.lock().unwrap().push(warning.kind);
    }
}

/// Removes all objects below `prefix` that `choose` picks, takes a snapshot of the unchanged sources, and shows that it is
/// told, and that the new snapshot is whole on another computer.
fn heals_after_loss(prefix: &str, choose: impl Fn(usize) -> bool) {
    let bench = Bench::new();
    bench.write("a", &noise("a", 500_000));
    bench.write("b/c", &noise("c", 300_000));
    bench.take();
    bench.take();
    let all = bench.store.inner().list(prefix).unwrap().objects;
    let lost: Vec<_> = all.iter().enumerate().filter(|(n, _)| choose(*n)).collect();
    assert!(!lost.is_empty());
    lost.iter().for_each(|(_, info)| bench.store.inner().delete(&info.name).unwrap());
    let heard = Heard::default();
    let summary = snapshot(&bench.repo, &bench.options(), &heard).unwrap();
    assert!(heard.0.lock().unwrap().contains(&WarningKind::Damaged));
    let elsewhere = bench.elsewhere();
    for (name, content) in [("a", noise("a", 500_000)), ("b/c", noise("c", 300_000))] {
        let node = elsewhere.node(&summary, &bench.path(name)).unwrap();
        assert_eq!(elsewhere.content(&node), content);
    }
    // Everything is in order again: the next one has nothing to say.
    let heard = Heard::default();
    snapshot(&elsewhere.repo, &bench.options(), &heard).unwrap();
    assert!(prefix == "packs" || heard.0.lock().unwrap().is_empty());
}

#[test]
fn lost_packs_are_told_and_what_the_sources_still_have_is_stored_again() {
    for n in 0..2 {
        heals_after_loss("packs", |at| at == n);
    }
    heals_after_loss("packs", |_| true);
}

#[test]
fn lost_index_objects_are_told_and_their_packs_are_found_again() {
    heals_after_loss("index", |_| true);
}

#[test]
fn only_what_the_parent_had_makes_a_snapshot_incomplete() {
    let bench = Bench::new();
    bench.write("a", b"x");
    let incomplete = |options: &BackupOptions| {
        let id = snapshot(&bench.repo, options, &Silent).unwrap().id;
        let all = bench.repo.snapshots(&Silent).unwrap();
        all.iter().find(|snapshot| snapshot.id == id).unwrap().manifest.incomplete
    };
    let mut options = bench.options();
    let second = bench.dir.path().join("second");
    options.paths.push(second.clone());
    assert!(!incomplete(&options));
    assert!(!incomplete(&options));
    fs::create_dir(&second).unwrap();
    fs::write(second.join("b"), b"y").unwrap();
    assert!(!incomplete(&options));
    fs::remove_dir_all(&second).unwrap();
    assert!(incomplete(&options));
}
