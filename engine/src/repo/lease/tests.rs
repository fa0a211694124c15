//! Who is dead, whose lease is renewed, and what a suspended run looks at again.

use super::*;
use crate::base::event::Silent;
use crate::crypto::Credential;
use crate::model::Manifest;
use crate::model::{BlobKind, PackClass};
use crate::repo::pages::{Boundaries, write_tree};
use crate::repo::testing::{create, sample_manifest, session};
use crate::repo::writer::{Fate, Offer, Packing, RunWriter};
use crate::store::{MemoryStore, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A machine whose clocks the test moves: seconds since boot, and whether its processes live.
struct Machine {
    session: Session,
    seconds: Arc<AtomicU64>,
}

/// All of them have the same host name.
fn machine(number: u8, lives: bool) -> Machine {
    let seconds = Arc::new(AtomicU64::new(100));
    let shown = Arc::clone(&seconds);
    let session = Session {
        machine: Arc::new(move || [number; 16]),
        is_alive: Arc::new(move |_, _| lives),
        since_boot: Arc::new(move || Duration::from_secs(shown.load(Ordering::SeqCst))),
        ..session(None)
    };
    Machine { session, seconds }
}

impl Machine {
    fn pass(&self, hours: u64) {
        self.seconds.fetch_add(hours * 3600, Ordering::SeqCst);
    }

    fn open(&self, store: &Arc<MemoryStore>, key: &Credential) -> Repo {
        let store = Arc::clone(store) as Arc<dyn Store>;
        Repo::open(store, key, self.session.clone(), &Silent).unwrap()
    }
}

fn repository() -> (Arc<MemoryStore>, Credential) {
    let store = Arc::new(MemoryStore::new());
    let (_, key) = create(Arc::clone(&store) as Arc<dyn Store>, session(None));
    (store, key)
}

fn names(store: &MemoryStore, prefix: &str) -> Vec<ObjectName> {
    store.list(prefix).unwrap().objects.into_iter().map(|info| info.name).collect()
}

/// Stores one blob in a pack of its own, as a run does whose snapshot is still to come.
fn store_pack(repo: &Repo, content: &[u8]) -> Vec<crate::model::PackRecord> {
    let (_, packs, _) = RunWriter::run(repo, Fate::Stored, |writer| {
        let offer =
            Offer { kind: BlobKind::Data, class: PackClass::Media, packing: Packing::AsItIs, previous: None };
        writer.put(offer, content.to_vec(), writer.reserve(content.len())?)
    })
    .unwrap();
    packs
}

fn root(repo: &Repo) -> (Manifest, Vec<crate::model::PackRecord>) {
    let (root, packs, _) =
        RunWriter::run(repo, Fate::Stored, |writer| write_tree(writer, &Boundaries::new(repo), &[])).unwrap();
    (Manifest { root, ..sample_manifest(1) }, packs)
}

#[test]
fn a_run_of_another_machine_of_the_same_name_is_alive() {
    let (store, key) = repository();
    let (one, mut two) = (machine(1, true), machine(2, false));
    two.session.client.boot_id = "another boot".into();
    let writing = one.open(&store, &key);
    let run = writing.begin(&Silent).unwrap();
    store_pack(&writing, b"of the run that is under way");
    let lease = run.lease.name();
    let other = two.open(&store, &key);
    drop(other.begin(&Silent).unwrap());
    assert!(names(&store, "leases").contains(&lease));
    assert_eq!(names(&store, "index"), [], "packs of a living run were taken over");
}

#[test]
fn a_process_of_another_namespace_is_alive_until_the_machine_is_restarted() {
    let (store, key) = repository();
    let mut inside = machine(1, true);
    inside.session.client.pid_namespace = 2;
    let outside = machine(1, false);
    let writing = inside.open(&store, &key);
    let run = writing.begin(&Silent).unwrap();
    let found = |session: &Machine| {
        let repo = session.open(&store, &key);
        let own = repo.take_lease(LeaseKind::Snapshot, WriterId::new([9; 16])).unwrap();
        let found = repo.other_leases(&own.name).unwrap().found;
        repo.remove_lease(&own.name).unwrap();
        found.iter().map(|found| found.dead).collect::<Vec<_>>()
    };
    assert_eq!(found(&outside), [false]);
    assert_eq!(found(&machine(2, false)), [false]);
    let mut restarted = machine(1, true);
    restarted.session.client.boot_id = "another boot".into();
    assert_eq!(found(&restarted), [true]);
    let mut same = machine(1, false);
    same.session.client.pid_namespace = 2;
    assert_eq!(found(&same), [true]);
    drop(run);
}

#[test]
fn a_lease_of_another_machine_is_dead_after_48_hours_of_the_stores_time() {
    let (store, key) = repository();
    let (one, two) = (machine(1, true), machine(2, true));
    let writing = one.open(&store, &key);
    let run = writing.begin(&Silent).unwrap();
    store_pack(&writing, b"of a run that is never seen again");
    std::mem::forget(run);
    for (hours, dead) in [(47, false), (48, true)] {
        store.set_time(Timestamp::new(hours * 3600, 0));
        let repo = two.open(&store, &key);
        drop(repo.begin(&Silent).unwrap());
        assert_eq!(names(&store, "index").is_empty(), !dead, "{hours}");
    }
}

#[test]
fn a_run_that_is_dropped_gives_its_lease_up_though_its_process_lives() {
    let (store, key) = repository();
    let (one, two) = (machine(1, true), machine(2, true));
    let repo = one.open(&store, &key);
    drop(repo.begin(&Silent).unwrap());
    assert_eq!(names(&store, "leases"), [], "it left nothing");
    let run = repo.begin(&Silent).unwrap();
    store_pack(&repo, b"of the run that is dropped");
    drop(run);
    // Another living run does not keep its packs from being used.
    let other = two.open(&store, &key);
    let living = other.begin(&Silent).unwrap();
    assert_eq!(names(&store, "index").len(), 1);
    drop(living);
    let (manifest, packs) = root(&repo);
    repo.commit(repo.begin(&Silent).unwrap(), packs, manifest, &Silent).unwrap();
    assert_eq!(names(&store, "leases"), []);
}

#[test]
fn a_lease_is_renewed_every_half_hour_and_there_is_always_one() {
    let (store, key) = repository();
    let one = machine(1, true);
    let repo = one.open(&store, &key);
    let run = repo.begin(&Silent).unwrap();
    let first = names(&store, "leases");
    one.seconds.fetch_add(29 * 60, Ordering::SeqCst);
    run.lease.renew_if_due().unwrap();
    assert_eq!(names(&store, "leases"), first);
    one.seconds.fetch_add(60, Ordering::SeqCst);
    store.set_time(Timestamp::new(1800, 0));
    // By the thread that does so while the run works.
    run.work(|| {
        while names(&store, "leases").contains(&first[0]) {
            assert!(!names(&store, "leases").is_empty());
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(names(&store, "leases"), [run.lease.name()]);
    assert!(!run.lease.has_lapsed());
    drop(run);
    assert_eq!(names(&store, "leases"), []);
}

#[test]
fn a_run_that_slept_for_half_a_day_commits_only_if_everything_it_rests_on_is_there() {
    for (hours, by_the_store, is_removed, commits) in [
        (11, false, true, true),
        (13, false, true, false),
        (13, false, false, true),
        (1, true, true, false),
        (1, true, false, true),
    ] {
        let (store, key) = repository();
        let one = machine(1, true);
        let repo = one.open(&store, &key);
        let run = repo.begin(&Silent).unwrap();
        let old = run.lease.name();
        let mut packs = store_pack(&repo, b"of this run");
        let pack = ObjectName::pack(&packs[0].pack);
        let (manifest, more) = root(&repo);
        packs.extend(more);
        one.pass(hours);
        if by_the_store {
            store.set_time(Timestamp::new(13 * 3600, 0));
        }
        if is_removed {
            store.delete(&pack).unwrap();
        }
        let committed = repo.commit(run, packs, manifest, &Silent);
        assert_eq!(committed.is_ok(), commits, "{hours} {by_the_store} {is_removed}: {committed:?}");
        assert_eq!(names(&store, "snapshots").len(), usize::from(commits));
        assert!(!names(&store, "leases").contains(&old));
    }
}

#[test]
fn a_run_whose_lease_somebody_removed_looks_again() {
    let (store, key) = repository();
    let one = machine(1, true);
    let repo = one.open(&store, &key);
    let run = repo.begin(&Silent).unwrap();
    store.delete(&run.lease.name()).unwrap();
    one.pass(1);
    run.lease.renew_if_due().unwrap();
    assert!(run.lease.has_lapsed());
    assert_eq!(names(&store, "leases"), [run.lease.name()]);
}
