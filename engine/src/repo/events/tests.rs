//! Events as the next reader of the repository sees them.

use super::*;
use crate::base::event::Silent;
use crate::base::{SnapshotId, WarningKind};
use crate::crypto::Credential;
use crate::model::Manifest;
use crate::repo::pages::{Boundaries, write_tree};
use crate::repo::testing::{create, sample_manifest, session};
use crate::repo::writer::{Fate, RunWriter};
use crate::store::{Call, MemoryStore, Operation, RecordingStore, Store};
use std::path::Path;
use std::sync::{Arc, Mutex};

type Recording = Arc<RecordingStore<MemoryStore>>;

struct World {
    store: Recording,
    key: Credential,
    cache: tempfile::TempDir,
    id: SnapshotId,
}

impl World {
    /// A repository with one snapshot, whose tags are `old` and `both`.
    fn new() -> Self {
        let store = Arc::new(RecordingStore::new(MemoryStore::new()));
        let cache = tempfile::tempdir().unwrap();
        let (repo, key) = create(Arc::clone(&store) as Arc<dyn Store>, session(Some(cache.path())));
        let run = repo.begin(&Silent).unwrap();
        let (root, packs, _) =
            RunWriter::run(&repo, Fate::Stored, |writer| write_tree(writer, &Boundaries::new(&repo), &[]))
                .unwrap();
        let tags = vec!["old".to_owned(), "both".to_owned()];
        let manifest = Manifest { root, tags, ..sample_manifest(1) };
        let id = repo.commit(run, packs, manifest, &Silent).unwrap();
        drop(repo);
        Self { store, key, cache, id }
    }

    fn open(&self, cache: Option<&Path>) -> Repo {
        Repo::open(Arc::clone(&self.store) as Arc<dyn Store>, &self.key, session(cache), &Silent).unwrap()
    }

    fn seen(&self) -> Snapshot {
        let all = self.open(None).snapshots(&Silent).unwrap();
        all.into_iter().find(|snapshot| snapshot.id == self.id).unwrap()
    }

    fn tags(&self) -> Vec<String> {
        self.seen().tags
    }
}

fn change(set: Option<&[&str]>, add: &[&str], remove: &[&str]) -> TagChange {
    let owned = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    TagChange { set: set.map(owned), add: owned(add), remove: owned(remove), description: None }
}

/// Reads the history and writes what changes the one snapshot; the number of events.
fn apply(repo: &Repo, change: &TagChange) -> Result<usize> {
    let history = repo.history(&Silent)?;
    let actions: Vec<_> = history.snapshots.iter().flat_map(|snapshot| change.actions(snapshot)).collect();
    let count = actions.len();
    repo.record(&history, actions, &Silent).map(|()| count)
}

#[test]
fn tags_and_description_change_and_what_is_so_already_writes_nothing() {
    let world = World::new();
    let repo = world.open(Some(world.cache.path()));
    assert_eq!(apply(&repo, &change(None, &["new", "both"], &["old", "unknown"])).unwrap(), 1);
    assert_eq!(world.tags(), ["both", "new"]);
    assert_eq!(apply(&repo, &change(None, &["new"], &["old"])).unwrap(), 0);
    assert_eq!(apply(&repo, &change(Some(&["x", "both"]), &["y"], &["x"])).unwrap(), 1);
    assert_eq!(world.tags(), ["both", "y"]);
    let describe = |text: &str| TagChange { description: Some(text.to_owned()), ..TagChange::default() };
    assert_eq!(apply(&repo, &describe("words")).unwrap(), 1);
    assert_eq!(apply(&repo, &describe("words")).unwrap(), 0);
    assert_eq!(world.seen().description.as_deref(), Some("words"));
    assert_eq!(apply(&repo, &describe("")).unwrap(), 1);
    assert_eq!(world.seen().description, None);
    assert_eq!(apply(&repo, &change(Some(&[]), &[], &[])).unwrap(), 1);
    assert!(world.tags().is_empty());
}

#[test]
fn events_and_manifests_of_a_catalog_are_one_chain() {
    let world = World::new();
    let repo = world.open(Some(world.cache.path()));
    let history = repo.history(&Silent).unwrap();
    let actions = ["a", "b"].map(|tag| EventAction::Tag {
        snapshot: world.id,
        add: vec![tag.to_owned()],
        remove: Vec::new(),
    });
    repo.record(&history, actions.to_vec(), &Silent).unwrap();
    let after = repo.history(&Silent).unwrap();
    let head: Vec<_> = after.heads.values().collect();
    assert_eq!(head.len(), 1);
    assert_eq!((head[0].sequence, after.lamport), (3, history.lamport + 2));
    for number in [2, 3] {
        let name = ObjectName::event(&head[0].writer, number);
        let first = world.store.get(&name, 1 << 20).unwrap();
        assert_eq!(world.store.get(&name.mirror(), 1 << 20).unwrap(), first);
        let event =
            event::decode(&repo.sealer.open(ObjectType::Event, &first, "it").unwrap()).unwrap().unwrap();
        let before = if number == 2 { *world.id.as_bytes() } else { head_before(&world, &head[0].writer) };
        assert_eq!(event.previous, Some(before));
    }
}

fn head_before(world: &World, writer: &crate::base::WriterId) -> [u8; 32] {
    hash::digest(&world.store.get(&ObjectName::event(writer, 2), 1 << 20).unwrap())
}

#[test]
fn taggers_that_did_not_see_each_other_both_win() {
    let world = World::new();
    let (first, second) = (world.open(Some(world.cache.path())), world.open(Some(world.cache.path())));
    let histories = [&first, &second].map(|repo| repo.history(&Silent).unwrap());
    for (repo, history, tag) in [(&first, &histories[0], "one"), (&second, &histories[1], "two")] {
        let actions = change(None, &[tag], &[]).actions(&history.snapshots[0]);
        repo.record(history, actions, &Silent).unwrap();
    }
    assert_eq!(world.tags(), ["both", "old", "one", "two"]);
    // Without a shared catalog too: then each has a chain of its own.
    let alone = world.open(None);
    apply(&alone, &change(None, &["three"], &["one"])).unwrap();
    assert_eq!(world.tags(), ["both", "old", "three", "two"]);
    assert!(alone.history(&Silent).unwrap().heads.len() > 1);
}

#[test]
fn killed_at_any_call_each_event_is_whole_or_absent_and_the_next_tagger_goes_on() {
    let calls = {
        let world = World::new();
        let repo = world.open(Some(world.cache.path()));
        world.store.clear();
        apply(&repo, &change(None, &["new"], &[])).unwrap();
        let calls = world.store.calls();
        let puts: Vec<_> = calls.iter().filter(|call| call.operation == Operation::Put).collect();
        assert_eq!(puts.len(), 2);
        assert!(puts[1].name.starts_with("mirror/events/") && puts[0].name.starts_with("events/"));
        calls.len()
    };
    let mut outcomes = Vec::new();
    for number in 1..=calls {
        let world = World::new();
        let repo = world.open(Some(world.cache.path()));
        world.store.clear();
        world.store.fail_from(Some(number));
        // The last call writes the second copy, which the next run can write as well.
        let is_done = apply(&repo, &change(None, &["new"], &[])).is_ok();
        assert_eq!(is_done, number == calls, "call {number}");
        drop(repo);
        world.store.fail_from(None);
        let tags = world.tags();
        outcomes.push(tags.len());
        assert!(tags == ["both", "old"] || tags == ["both", "new", "old"], "{tags:?}");
        let next = world.open(Some(world.cache.path()));
        apply(&next, &change(None, &["later"], &[])).unwrap();
        assert!(world.tags().contains(&"later".to_owned()), "after call {number}");
        // A snapshot makes the second copy that is missing.
        drop(next.begin(&Silent).unwrap());
        let names = |folder: &str| world.store.list(folder).unwrap().objects.len();
        assert_eq!(names("events"), names("mirror/events"));
    }
    assert!(outcomes.contains(&2) && outcomes.contains(&3), "{outcomes:?}");
}

#[test]
fn an_event_is_read_once_in_a_run_and_those_of_others_are_seen() {
    let world = World::new();
    let repo = world.open(None);
    apply(&repo, &change(None, &["new"], &[])).unwrap();
    let reads = || {
        world.store.clear();
        let tags = repo.snapshots(&Silent).unwrap().remove(0).tags;
        let calls = world.store.calls();
        let is_read = |call: &&Call| call.operation == Operation::Get && call.name.starts_with("events/");
        (tags, calls.iter().filter(is_read).count())
    };
    assert_eq!(reads().0, ["both", "new", "old"]);
    assert_eq!(reads().1, 0);
    apply(&world.open(None), &change(None, &["later"], &[])).unwrap();
    assert_eq!(reads(), (["both", "later", "new", "old"].map(str::to_owned).to_vec(), 1));
}

#[test]
fn an_event_that_is_damaged_is_read_from_its_second_copy() {
    let world = World::new();
    apply(&world.open(None), &change(None, &["new"], &[])).unwrap();
    let name = world.store.list("events").unwrap().objects.remove(0).name;
    world.store.inner().overwrite(&name, b"damaged");
    #[derive(Default)]
    struct Heard(Mutex<Vec<WarningKind>>);
    impl Observer for Heard {
        fn warn(&self, warning: &crate::base::Warning) {
            self.0.lock().unwrap().push(warning.kind);
        }
    }
    let heard = Heard::default();
    let tags = world.open(None).snapshots(&heard).unwrap().remove(0).tags;
    assert_eq!(tags, ["both", "new", "old"]);
    assert_eq!(heard.0.into_inner().unwrap(), [WarningKind::MirrorUsed]);
}

#[test]
fn what_no_reader_would_take_is_not_written() {
    let world = World::new();
    let repo = world.open(None);
    let long = "x".repeat(LONGEST_TEXT + 1);
    let many: Vec<String> = (0..=MOST_TAGS).map(|n| n.to_string()).collect();
    for change in [
        TagChange { description: Some(long.clone()), ..TagChange::default() },
        TagChange { add: vec![long], ..TagChange::default() },
        TagChange { add: many, ..TagChange::default() },
    ] {
        assert_eq!(apply(&repo, &change).unwrap_err().kind(), Kind::Usage);
    }
    assert!(world.store.list("events").unwrap().objects.is_empty());
}
