//! Every kind of object, damaged in every way: failures are named, nothing panics, no wrong byte is restored, and what
//! does not rest on the damaged object comes back.

use chatvault_engine::backup::{self, BackupOptions};
use chatvault_engine::base::event::Silent;
use chatvault_engine::base::{Error, Kind, SnapshotId, Timestamp, WarningKind, Whose, WriterId};
use chatvault_engine::crypto::{Credential, ObjectType, RecoveryKey};
use chatvault_engine::format::event;
use chatvault_engine::format::index::Index;
use chatvault_engine::format::lease::LeaseKind;
use chatvault_engine::model::{Event, EventAction, PackClass, PackRecord};
use chatvault_engine::repo::{Repo, Session};
use chatvault_engine::restore::{self, RestoreOptions};
use chatvault_engine::store::{MemoryStore, ObjectName, RecordingStore, Store};
use chatvault_tests::bytes::{noise, text};
use chatvault_tests::lab::{Heard, is_clean_refusal};
use chatvault_tests::{Lab, Truth, sample};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Objects = BTreeMap<ObjectName, Vec<u8>>;

/// A repository with two snapshots, of which the second rests on the first, and objects of every kind.
struct Bench {
    lab: Lab,
    objects: Objects,
    /// Another repository with the same content.
    foreign: Objects,
    taken: [(SnapshotId, Truth); 2],
    packs: Vec<PackRecord>,
}

fn objects(store: &MemoryStore) -> Objects {
    let infos = store.list("").unwrap().objects;
    infos.into_iter().map(|info| (info.name.clone(), store.get(&info.name, info.size).unwrap())).collect()
}

fn fill(lab: &Lab, second: bool) {
    let at = lab.source().join(if second { "later" } else { "first" });
    fs::create_dir(&at).unwrap();
    for number in 0..12 {
        fs::write(
            at.join(format!("{number}.jpg")),
            noise(&format!("{second} {number}"), 5000 + number * 777),
        )
        .unwrap();
        fs::write(at.join(format!("{number}.txt")), text(&format!("{second} {number}"), 900)).unwrap();
    }
    fs::write(at.join("video.mp4"), noise(&format!("video {second}"), 2_000_000)).unwrap();
    let connection = rusqlite::Connection::open(at.join("msgstore.db")).unwrap();
    connection
        .execute_batch("CREATE TABLE message (_id INTEGER PRIMARY KEY, chat INTEGER, text TEXT)")
        .unwrap();
    sample::messages(&connection, if second { 2500 } else { 2000 });
}

fn repository(lab: &Lab, store: &Arc<MemoryStore>) -> [(SnapshotId, Truth); 2] {
    let repo = lab.create_in(store.clone());
    let second = Credential::Recovery(RecoveryKey::random().unwrap());
    repo.add_key(&second, None, &Silent).unwrap();
    let mut taken = Vec::new();
    for second in [false, true] {
        fill(lab, second);
        taken.push((lab.snapshot(&repo).id, Truth::read(&lab.source())));
    }
    let sealer = lab.sealer(store.as_ref());
    for sequence in 1..=2 {
        let writer = WriterId::new([7; 16]);
        let action = EventAction::Tag {
            snapshot: taken[0].0,
            add: vec![format!("tag {sequence}")],
            remove: Vec::new(),
        };
        let event =
            Event { writer, sequence, previous: None, lamport: 9, created: Timestamp::default(), action };
        let object = sealer.seal(ObjectType::Event, event::encode(&event)).unwrap();
        let name = ObjectName::event(&writer, sequence);
        store.put_new(&name, &object).unwrap();
        store.put_new(&name.mirror(), &object).unwrap();
        drop(repo.take_lease(LeaseKind::Snapshot, writer).unwrap());
    }
    taken.try_into().unwrap()
}

impl Bench {
    fn new() -> Self {
        let (lab, store) = (Lab::light(), Arc::new(MemoryStore::new()));
        let taken = repository(&lab, &store);
        let other = Lab::light();
        let foreign = Arc::new(MemoryStore::new());
        repository(&other, &foreign);
        let sealer = lab.sealer(store.as_ref());
        let indexes = store.list("index").unwrap().objects;
        let packs = indexes.iter().flat_map(|info| {
            let object = store.get(&info.name, info.size).unwrap();
            Index::decode(&sealer.open(ObjectType::Index, &object, "an index").unwrap()).unwrap().packs
        });
        let packs: Vec<PackRecord> = packs.collect();
        for class in PackClass::ALL {
            assert!(packs.iter().filter(|pack| pack.class == class).count() >= 2, "{class:?}");
        }
        Self { lab, objects: objects(&store), foreign: objects(&foreign), taken, packs }
    }

    /// The objects of a kind, by the beginning of their names.
    fn of_kind(&self, kind: &str) -> Vec<ObjectName> {
        let found: Vec<ObjectName> =
            self.objects.keys().filter(|name| kind_of(name) == kind).cloned().collect();
        assert!(!found.is_empty(), "no object of kind {kind}");
        found
    }

    fn session(&self) -> Session {
        Session { cache_dir: None, ..self.lab.session() }
    }
}

fn kind_of(name: &ObjectName) -> &str {
    let plain = name.as_str().strip_prefix("mirror/").unwrap_or(name.as_str());
    plain.split('/').next().unwrap()
}

/// What is wrong with an object.
#[derive(Clone)]
enum Fault {
    /// It has other bytes.
    Altered(Vec<u8>),
    /// It is not there.
    Deleted,
    /// It cannot be read: a bad sector ([`Kind::Damaged`]), or another user's file ([`Kind::Denied`]).
    Unreadable(Kind),
}

const DENIED: &str = "another user's";

/// A repository with faults.
#[derive(Clone)]
struct Damaged {
    objects: Objects,
    unreadable: Vec<(ObjectName, Kind)>,
}

impl Damaged {
    fn none(bench: &Bench) -> Self {
        Self { objects: bench.objects.clone(), unreadable: Vec::new() }
    }

    fn with(mut self, name: &ObjectName, fault: &Fault) -> Self {
        let had = self.objects.get(name).cloned();
        match fault {
            Fault::Altered(bytes) => {
                self.objects.insert(name.clone(), bytes.clone());
            }
            Fault::Deleted => {
                self.objects.remove(name);
            }
            Fault::Unreadable(kind) => self.unreadable.push((name.clone(), *kind)),
        }
        let is_unreadable = matches!(fault, Fault::Unreadable(_));
        assert!(is_unreadable || self.objects.get(name).cloned() != had, "{name}: nothing changed");
        self
    }

    fn store(&self) -> Arc<RecordingStore<MemoryStore>> {
        let store = RecordingStore::new(MemoryStore::new());
        self.objects.iter().for_each(|(name, bytes)| store.inner().overwrite(name, bytes));
        self.unreadable.iter().for_each(|(name, kind)| store.refuse(name, *kind));
        Arc::new(store)
    }
}

/// All ways to damage an object; `inside` is a place in its middle that is certainly read.
fn faults(bench: &Bench, name: &ObjectName, inside: usize) -> Vec<(String, Fault)> {
    let good = &bench.objects[name];
    let flipped = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        Fault::Altered(bad)
    };
    let mut faults = vec![
        ("flip at the start".to_owned(), flipped(0)),
        ("flip inside".to_owned(), flipped(inside)),
        ("flip at the end".to_owned(), flipped(good.len() - 1)),
        ("cut in half".to_owned(), Fault::Altered(good[..inside.min(good.len() / 2)].to_vec())),
        ("one byte short".to_owned(), Fault::Altered(good[..good.len() - 1].to_vec())),
        ("one byte longer".to_owned(), Fault::Altered([&good[..], &[0]].concat())),
        ("empty".to_owned(), Fault::Altered(Vec::new())),
        ("deleted".to_owned(), Fault::Deleted),
        ("unreadable".to_owned(), Fault::Unreadable(Kind::Damaged)),
        (DENIED.to_owned(), Fault::Unreadable(Kind::Denied)),
    ];
    let is_mirror = name.as_str().starts_with("mirror/");
    let same_side = |other: &&ObjectName| other.as_str().starts_with("mirror/") == is_mirror;
    let others = bench.objects.keys().filter(same_side).filter(|other| bench.objects[*other] != *good);
    for other in others {
        // One of each kind is enough.
        let what = format!("replaced by {}", kind_of(other));
        if !faults.iter().any(|(known, _)| *known == what) {
            faults.push((what, Fault::Altered(bench.objects[other].clone())));
        }
    }
    let foreign = bench.foreign.iter().find(|(other, _)| kind_of(other) == kind_of(name)).unwrap();
    faults.push(("replaced by a foreign repository's".to_owned(), Fault::Altered(foreign.1.clone())));
    faults
}

/// What is left of a damaged repository.
#[derive(Debug)]
struct Left {
    /// Warnings while it was opened and listed.
    warned: Vec<WarningKind>,
    /// Paths of each snapshot that did not come back; none if the snapshot is not listed.
    lost: [Option<Vec<String>>; 2],
    tags: Vec<String>,
    /// True if the lineage records of a snapshot cannot be read.
    records_lost: bool,
    /// Reads that were refused.
    refusals: u64,
}

/// Opens, lists and restores; only then are there losses, and never a wrong byte.
fn look(bench: &Bench, damaged: &Damaged, what: &str) -> Result<Left, Kind> {
    let store = damaged.store();
    let heard = Heard::default();
    let repo = Repo::open(store.clone(), &bench.lab.credential(), bench.session(), &heard).map_err(|e| {
        assert!(is_clean_refusal(e.kind()), "{what}: {e:?}");
        let is_wrong_key = e.kind() == Kind::WrongKey;
        assert!(is_wrong_key || e.whose() == Some(Whose::Repository), "{what}: {e:?}");
        e.kind()
    })?;
    let snapshots = repo.snapshots(&heard).unwrap_or_else(|e| panic!("{what}: list: {e:?}"));
    let mut left =
        Left { warned: Vec::new(), lost: [None, None], tags: Vec::new(), records_lost: false, refusals: 0 };
    for (number, (id, truth)) in bench.taken.iter().enumerate() {
        if let Some(snapshot) = snapshots.iter().find(|snapshot| snapshot.id == *id) {
            left.lost[number] = Some(lost(bench, &repo, snapshot, truth, what));
            let records = snapshot.manifest.lineage.map(|root| repo.read_lineage(&root));
            left.records_lost |= records.is_some_and(|records| records.is_err());
            if number == 0 {
                left.tags.clone_from(&snapshot.tags);
            }
        }
    }
    left.warned = heard.warnings().iter().map(|warning| warning.kind).collect();
    left.refusals = store.refusals();
    assert!(left.warned.iter().all(|kind| kind.whose() == Whose::Repository), "{what}: {:?}", left.warned);
    Ok(left)
}

fn lost(
    bench: &Bench,
    repo: &Repo,
    snapshot: &chatvault_engine::repo::Snapshot,
    truth: &Truth,
    what: &str,
) -> Vec<String> {
    let target = tempfile::tempdir_in(bench.lab.path()).unwrap();
    let options = RestoreOptions { target: target.path().join("out"), ..RestoreOptions::default() };
    let done =
        restore::plan(repo, snapshot, &options, &Silent).and_then(|plan| restore::apply(repo, plan, &Silent));
    let folder = options.target.join(bench.lab.source().strip_prefix("/").unwrap());
    let there = if folder.exists() { Truth::read(&folder) } else { Truth::default() };
    for (path, entry) in &there.0 {
        let stored =
            truth.0.get(path).unwrap_or_else(|| panic!("{what}: {} was never stored", path.escape_ascii()));
        assert_eq!(entry.content, stored.content, "{what}: wrong bytes in {}", path.escape_ascii());
    }
    let missing: Vec<String> = truth
        .0
        .keys()
        .filter(|path| !there.0.contains_key(*path))
        .map(|path| path.escape_ascii().to_string())
        .collect();
    match done {
        Ok(summary) if missing.is_empty() => {
            assert_eq!(
                (summary.damaged, summary.denied, summary.failed),
                (0, 0, 0),
                "{what}: {:?}",
                summary.warnings
            );
            truth.assert_same(&there, what);
        }
        // What this user may not read is not lost.
        Ok(summary) if what.ends_with(DENIED) => {
            assert!(summary.damaged == 0 && summary.denied > 0, "{what}: {summary:?}");
        }
        Ok(summary) => assert!(summary.damaged > 0, "{what}: {missing:?} went missing without a word"),
        Err(e) => {
            let expected = if what.ends_with(DENIED) { Kind::Denied } else { Kind::Damaged };
            assert_eq!((e.kind(), e.whose()), (expected, Some(Whose::Repository)), "{what}: {e:?}");
        }
    }
    missing
}

/// Goes through all faults of all objects of a kind, with the same fault in the second copy if `both`.
fn each(bench: &Bench, kind: &str, both: bool, check: impl Fn(&ObjectName, &str, Result<Left, Kind>)) {
    let (mut seen, mut refusals) = (0, 0);
    for name in bench.of_kind(kind) {
        if both && name.as_str().starts_with("mirror/") {
            continue;
        }
        let pack = bench.packs.iter().find(|pack| ObjectName::pack(&pack.pack) == name);
        let blob = pack.map(|pack| 52 + pack.entries[0].sealed_len as usize / 2);
        for (said, fault) in faults(bench, &name, blob.unwrap_or(bench.objects[&name].len() / 2)) {
            let names = if both { vec![name.clone(), name.mirror()] } else { vec![name.clone()] };
            let damaged = names.iter().fold(Damaged::none(bench), |damaged, name| damaged.with(name, &fault));
            let what = format!("{name}: {said}");
            let left = look(bench, &damaged, &what);
            refusals += left.as_ref().map_or(1, |left| left.refusals);
            check(&name, &said, left);
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} faults of {kind}");
    assert!(refusals > 0 || kind == "leases", "no read of {kind} was refused");
}

/// What must be told of a fault.
fn told_of(fault: &str) -> WarningKind {
    if fault == DENIED { WarningKind::Denied } else { WarningKind::Damaged }
}

/// Everything came back.
fn assert_whole(left: &Left, what: &str) {
    assert_eq!(left.lost, [Some(Vec::new()), Some(Vec::new())], "{what}");
    assert_eq!(left.tags, ["tag 1", "tag 2"], "{what}");
}

#[test]
fn an_undamaged_repository_comes_back_without_a_warning() {
    let bench = Bench::new();
    let left = look(&bench, &Damaged::none(&bench), "nothing").unwrap();
    assert_whole(&left, "nothing");
    assert_eq!(left.warned, []);
}

#[test]
fn one_damaged_copy_of_what_has_two_costs_nothing() {
    let bench = Bench::new();
    for kind in ["config", "keys", "snapshots", "events"] {
        each(&bench, kind, false, |name, fault, left| {
            let what = format!("{name}: {fault}");
            // A first copy of another format is refused by name, even beside a good second one.
            match left {
                Err(kind) => assert_eq!((kind, name.as_str()), (Kind::NewerFormat, "config"), "{what}"),
                Ok(left) => {
                    assert_whole(&left, &what);
                    let first = !name.as_str().starts_with("mirror/");
                    if first && kind != "keys" {
                        let told =
                            if fault == DENIED { WarningKind::Denied } else { WarningKind::MirrorUsed };
                        assert!(left.warned.contains(&told), "{what}: {:?}", left.warned);
                    }
                }
            }
        });
    }
}

#[test]
fn both_copies_of_the_config_damaged_is_a_named_refusal() {
    let bench = Bench::new();
    each(&bench, "config", true, |name, fault, left| {
        assert!(left.is_err(), "{name}: {fault} went unnoticed: {left:?}");
    });
}

#[test]
fn a_key_slot_damaged_in_both_copies_opens_nothing_and_the_other_slot_still_does() {
    let bench = Bench::new();
    let opened = std::cell::Cell::new(0);
    each(&bench, "keys", true, |name, fault, left| match left {
        Ok(left) => {
            assert_whole(&left, &format!("{name}: {fault}"));
            opened.set(opened.get() + 1);
        }
        Err(kind) => assert_eq!(kind, Kind::WrongKey, "{name}: {fault}"),
    });
    assert!(opened.get() > 0);
}

#[test]
fn a_manifest_damaged_in_both_copies_costs_this_snapshot_only() {
    let bench = Bench::new();
    each(&bench, "snapshots", true, |name, fault, left| {
        let what = format!("{name}: {fault}");
        let left = left.unwrap();
        let first = *name == ObjectName::snapshot(&bench.taken[0].0);
        let (gone, other) = if first { (0, 1) } else { (1, 0) };
        assert_eq!(left.lost[gone], None, "{what}");
        assert_eq!(left.lost[other], Some(Vec::new()), "{what}");
        if fault != "deleted" {
            assert!(left.warned.contains(&told_of(fault)), "{what}: {:?}", left.warned);
        }
    });
}

#[test]
fn an_event_damaged_in_both_copies_costs_what_it_said_only() {
    let bench = Bench::new();
    each(&bench, "events", true, |name, fault, left| {
        let what = format!("{name}: {fault}");
        let left = left.unwrap();
        assert_eq!(left.lost, [Some(Vec::new()), Some(Vec::new())], "{what}");
        if fault == "deleted" {
            // The third event says that a key was added.
            let is_tag = name.as_str().contains(&WriterId::new([7; 16]).to_string());
            assert_eq!(left.tags.len(), if is_tag { 1 } else { 2 }, "{what}");
        } else {
            assert!(left.warned.contains(&told_of(fault)), "{what}: {:?}", left.warned);
        }
    });
}

#[test]
fn a_damaged_index_costs_at_most_what_only_it_lists() {
    let bench = Bench::new();
    let first_packs: Vec<_> = bench.packs.iter().map(|pack| pack.pack).collect();
    assert!(first_packs.len() >= 6);
    let whole = std::cell::Cell::new(0);
    each(&bench, "index", false, |name, fault, left| {
        let what = format!("{name}: {fault}");
        let left = left.unwrap();
        if left.lost[0] == Some(Vec::new()) {
            whole.set(whole.get() + 1);
        }
        if fault != "deleted" {
            assert!(left.warned.contains(&told_of(fault)), "{what}: {:?}", left.warned);
        }
    });
    assert!(whole.get() > 0, "the first snapshot does not need the second one's index");
}

#[test]
fn a_damaged_pack_costs_the_files_in_it_and_no_others() {
    let bench = Bench::new();
    each(&bench, "packs", false, |name, fault, left| {
        let what = format!("{name}: {fault}");
        let left = left.unwrap();
        let records_lost = left.records_lost;
        let lost = left.lost.map(Option::unwrap);
        let pack = bench.packs.iter().find(|pack| ObjectName::pack(&pack.pack) == *name).unwrap();
        // Header and end of a pack also stand in the index: readers do not need them.
        if !["flip at the start", "flip at the end", "one byte short", "one byte longer"].contains(&fault) {
            // What is recorded of databases is needed by later snapshots only.
            assert!(lost.iter().any(|lost| !lost.is_empty()) || records_lost, "{what} went unnoticed");
        }
        if pack.class != PackClass::Metadata {
            let all = bench.taken[1].1.files();
            assert!(lost[1].len() < all * 2 / 3, "{what}: {} of {all} lost", lost[1].len());
        }
        if fault == "flip inside" && pack.class == PackClass::Media {
            assert!(lost[1].len() == 1, "{what}: one blob is damaged: {:?}", lost[1]);
        }
        if fault == "flip inside" && pack.class == PackClass::Runs {
            assert!(lost[1].iter().all(|path| path.ends_with("msgstore.db")), "{what}: {:?}", lost[1]);
        }
        assert!(lost[0].iter().all(|path| !path.starts_with("later")), "{what}");
    });
}

#[test]
fn packs_of_the_second_snapshot_are_not_needed_for_the_first() {
    let bench = Bench::new();
    let mut untouched = 0;
    for pack in &bench.packs {
        let damaged = Damaged::none(&bench).with(&ObjectName::pack(&pack.pack), &Fault::Deleted);
        let left = look(&bench, &damaged, "a pack deleted").unwrap();
        untouched += usize::from(left.lost[0] == Some(Vec::new()));
        assert_ne!(left.lost[1], Some(Vec::new()), "the second snapshot rests on all packs");
    }
    assert_eq!(untouched * 2, bench.packs.len());
}

#[test]
fn a_damaged_lease_forbids_nothing() {
    let bench = Bench::new();
    each(&bench, "leases", false, |name, fault, left| {
        assert_whole(&left.unwrap(), &format!("{name}: {fault}"));
    });
    for name in bench.of_kind("leases") {
        let store = Arc::new(MemoryStore::new());
        bench.objects.iter().for_each(|(name, bytes)| store.overwrite(name, bytes));
        store.overwrite(&name, b"no lease");
        let repo = Repo::open(store, &bench.lab.credential(), bench.session(), &Silent).unwrap();
        assert_eq!(bench.lab.snapshot(&repo).parent, Some(bench.taken[1].0));
    }
}

/// The files of the one catalog in a cache.
fn catalog_files(cache: &Path) -> Vec<PathBuf> {
    let inner = fs::read_dir(cache).unwrap().next().unwrap().unwrap().path();
    fs::read_dir(inner).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

/// Opens with the cache, restores everything and takes a snapshot.
fn everything_works(bench: &Bench, store: &Arc<MemoryStore>, what: &str) -> Result<(), Error> {
    let repo = Repo::open(store.clone(), &bench.lab.credential(), bench.lab.session(), &Silent)?;
    let options = BackupOptions { paths: vec![bench.lab.source()], ..BackupOptions::default() };
    let summary = backup::snapshot(&repo, &options, &Silent)?;
    assert_eq!(summary.statistics.data_blobs, 0, "{what}: everything is there already");
    let states = bench.taken.iter().cloned().chain([(summary.id, bench.taken[1].1.clone())]);
    for (id, truth) in states {
        let snapshots = repo.snapshots(&Silent)?;
        let snapshot = snapshots.iter().find(|snapshot| snapshot.id == id).expect("it is listed");
        let restored = bench.lab.try_restore(&repo, snapshot, &bench.lab.source())?;
        assert_eq!((restored.summary.damaged, restored.summary.failed), (0, 0), "{what}");
        truth.assert_same(&restored.truth(), what);
    }
    Ok(())
}

#[test]
fn a_catalog_that_is_damaged_or_gone_costs_nothing_but_time() {
    let bench = Bench::new();
    let store = Arc::new(MemoryStore::new());
    bench.objects.iter().for_each(|(name, bytes)| store.overwrite(name, bytes));
    everything_works(&bench, &store, "before").unwrap();
    let cache = bench.lab.path().join("cache");
    let largest =
        catalog_files(&cache).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let good = fs::read(&largest).unwrap();
    assert!(good.starts_with(b"SQLite format 3\0"));
    let flipped = (0..20).map(|part| {
        let mut bad = good.clone();
        let at = good.len() * part / 20;
        bad[at..(at + 100).min(good.len())].iter_mut().for_each(|byte| *byte ^= 0x55);
        Some(bad)
    });
    let cut = [Some(good[..good.len() / 2].to_vec()), Some(Vec::new()), Some(noise("catalog", 50_000)), None];
    for (number, fault) in flipped.chain(cut).enumerate() {
        let what = format!("catalog fault {number}");
        for other in catalog_files(&cache) {
            fs::remove_file(other).unwrap();
        }
        if let Some(bytes) = fault {
            assert_ne!(bytes, good);
            fs::write(&largest, bytes).unwrap();
        }
        everything_works(&bench, &store, &what).unwrap();
    }
}
