//! Key changes on a store in memory: every order of writes, killed after each, and two at once.

use super::*;
use crate::base::Timestamp;
use crate::crypto::{ObjectType, RecoveryKey};
use crate::format::Lease;
use crate::repo::testing::{create, session};
use crate::repo::{Session, verify_credential};
use crate::store::{MemoryStore, Operation, RecordingStore, Store};
use std::sync::{Arc, Mutex};

type Change<'c> = &'c dyn Fn(&Recording) -> Result<()>;
type Recording = Arc<RecordingStore<MemoryStore>>;

fn recovery() -> Credential {
    Credential::Recovery(RecoveryKey::random().unwrap())
}

fn memory() -> Recording {
    Arc::new(RecordingStore::new(MemoryStore::new()))
}

fn shared(store: &Recording) -> Arc<dyn Store> {
    Arc::clone(store) as Arc<dyn Store>
}

fn open_in(store: &Recording, credential: &Credential, session: Session) -> Repo {
    Repo::open(shared(store), credential, session, &Silent).unwrap()
}

fn open(store: &Recording, credential: &Credential) -> Repo {
    open_in(store, credential, session(None))
}

fn opens(store: &Recording, credential: &Credential) -> bool {
    verify_credential(store.as_ref(), credential).is_ok()
}

fn names(store: &Recording, folder: &str) -> Vec<String> {
    store.inner().list(folder).unwrap().objects.iter().map(|info| info.name.last().to_owned()).collect()
}

/// The ids of all slots, both copies of each being there.
fn slots(store: &Recording) -> Vec<String> {
    let first = names(store, "keys");
    assert_eq!(first, names(store, "mirror/keys"));
    first
}

/// All objects, to be put back.
fn copy_of(store: &Recording) -> Recording {
    let copy = MemoryStore::new();
    for info in store.inner().list("").unwrap().objects {
        copy.put_new(&info.name, &store.inner().get(&info.name, info.size).unwrap()).unwrap();
    }
    Arc::new(RecordingStore::new(copy))
}

#[derive(Default)]
struct Heard(Mutex<Vec<Warning>>);

impl Observer for Heard {
    fn warn(&self, warning: &Warning) {
        self.0.lock().unwrap().push(warning.clone());
    }
}

#[test]
fn a_key_is_added_listed_with_what_its_maker_said_and_removed() {
    let store = memory();
    let (repo, first) = create(shared(&store), session(None));
    let second = recovery();
    let id = repo.add_key(&second, Some("on paper"), &Silent).unwrap();
    assert!(opens(&store, &first) && opens(&store, &second));
    let keys = open(&store, &second).keys(&Silent).unwrap();
    let told: Vec<_> = keys.iter().map(|key| (key.in_use, key.kind, key.removed)).collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|(_, kind, removed)| *kind == Some(SlotKind::Recovery) && !removed));
    let added = keys.iter().find(|key| key.id == id).unwrap();
    assert!(added.in_use && keys.iter().filter(|key| key.in_use).count() == 1);
    let note = added.note.as_ref().unwrap();
    assert_eq!(
        (note.label.as_deref(), note.host.as_str(), note.user.as_str()),
        (Some("on paper"), "host", "me")
    );
    assert_eq!(note.created, repo.session.now());

    repo.remove_key(&id, false, &Silent).unwrap();
    assert!(opens(&store, &first) && !opens(&store, &second));
    assert_eq!(slots(&store).len(), 1);
    assert!(names(&store, "leases").is_empty());
    let heard = Heard::default();
    assert_eq!(repo.keys(&heard).unwrap().len(), 1);
    assert!(heard.0.into_inner().unwrap().is_empty());
}

#[test]
fn passwords_share_one_salt_with_and_without_key_file_and_replace_keeps_the_label() {
    let store = memory();
    let (repo, _) = create(shared(&store), session(None));
    let one = Credential::password("one");
    repo.add_key(&one, Some("ann"), &Silent).unwrap();
    let file = crate::crypto::KeyFile::read(&b"file"[..], "x").unwrap();
    let both = Credential::PasswordAndFile(zeroize::Zeroizing::new(b"two".to_vec()), file);
    let repo = open(&store, &one);
    repo.replace_key(&both, &Silent).unwrap();
    repo.add_key(&one, None, &Silent).unwrap();
    let salts: std::collections::HashSet<_> =
        repo.find_slots().unwrap().iter().filter_map(|slot| slot.description.as_ref()?.kdf).collect();
    assert_eq!(salts.len(), 1);
    let keys = repo.keys(&Silent).unwrap();
    assert_eq!(keys.len(), 3);
    let replaced = keys.iter().find(|key| key.kind == Some(SlotKind::PasswordAndFile)).unwrap();
    assert_eq!(replaced.note.as_ref().unwrap().label.as_deref(), Some("ann"));
}

#[test]
fn a_replaced_password_no_longer_opens_and_the_new_one_does() {
    let store = memory();
    let (old, new) = (Credential::password("old"), Credential::password("new"));
    let repo = Repo::create(shared(&store), std::slice::from_ref(&old), session(None)).unwrap();
    assert_eq!(repo.replace_key(&old, &Silent).unwrap_err().kind(), Kind::AlreadyThere);
    let replaced = repo.replace_key(&new, &Silent).unwrap();
    assert!(!opens(&store, &old) && opens(&store, &new));
    assert_eq!(slots(&store), [replaced.new.to_string()]);
    // The slot that opened it is gone: somebody who still has it open is told so.
    assert_eq!(repo.replace_key(&recovery(), &Silent).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn what_would_lock_people_out_or_mean_nothing_is_refused() {
    let store = memory();
    let (repo, key) = create(shared(&store), session(None));
    let own = repo.slot;
    let refused = |result: Result<()>, kind: Kind| assert_eq!(result.unwrap_err().kind(), kind);
    refused(repo.remove_key(&own, true, &Silent), Kind::Usage);
    refused(repo.remove_key(&KeyId::new([1; 32]), true, &Silent), Kind::NotFound);
    refused(repo.add_key(&key, None, &Silent).map(drop), Kind::AlreadyThere);
    refused(repo.add_key(&recovery(), Some(&"x".repeat(257)), &Silent).map(drop), Kind::Usage);
    refused(repo.replace_key(&recovery(), &Silent).map(drop), Kind::Usage);
    // A slot that no holder of the keys made does not count as another way in, however real it looks.
    let mut forged = store.inner().get(&ObjectName::key(&own), MAX_SLOT_LEN).unwrap();
    let at = forged.len() - 60;
    forged[at] ^= 1;
    put_slot(store.as_ref(), &forged).unwrap();
    refused(repo.remove_key(&own, true, &Silent), Kind::Usage);
    let shown = repo.keys(&Silent).unwrap();
    assert_eq!((shown.len(), shown[1].kind, shown[1].note.clone()), (2, None, None));
    repo.remove_key(&shown[1].id, false, &Silent).unwrap();

    let second = recovery();
    repo.add_key(&second, None, &Silent).unwrap();
    refused(repo.remove_key(&own, false, &Silent), Kind::Usage);
    repo.remove_key(&own, true, &Silent).unwrap();
    assert!(!opens(&store, &key) && opens(&store, &second));
    assert!(names(&store, "leases").is_empty());
}

#[test]
fn there_are_never_more_slots_than_readers_take() {
    let store = memory();
    let (repo, _) = create(shared(&store), session(None));
    for _ in 1..MOST_SLOTS {
        let slot = repo.sealer.repo;
        let bytes = wrap(
            &slot,
            &recovery(),
            &mut Derivations::default(),
            KdfParams::standard([0; 16]),
            &repo.sealer.bundle,
            &KeyNote::default().encode(),
        );
        put_slot(store.as_ref(), &bytes.unwrap()).unwrap();
    }
    let error = repo.add_key(&recovery(), None, &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(slots(&store).len(), MOST_SLOTS);
}

/// Runs a change on copies of a store, killed before each of its writes; `check` gets what each left. The writes.
fn killed_at_each_write(
    before: &Recording,
    change: Change<'_>,
    check: &dyn Fn(&Recording, usize),
) -> Vec<(Operation, String)> {
    let whole = copy_of(before);
    change(&whole).unwrap();
    let calls = whole.calls();
    let is_write = |operation| matches!(operation, Operation::Put | Operation::Delete);
    let mut writes = Vec::new();
    for (at, call) in calls.iter().enumerate().filter(|(_, call)| is_write(call.operation)) {
        let killed = copy_of(before);
        killed.fail_from(Some(at + 1));
        // A lease that stays is only told of.
        let is_end = call.operation == Operation::Delete && call.name.starts_with("leases");
        assert_eq!(change(&killed).is_ok(), is_end, "{call:?}");
        killed.fail_from(None);
        check(&killed, writes.len());
        let folder = call.name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = if folder.contains("events") { folder.rsplit_once('/').unwrap().0 } else { folder };
        writes.push((call.operation, folder.to_owned()));
    }
    writes
}

/// The order that every change keeps, its lease left aside.
fn without_lease(writes: &[(Operation, String)]) -> Vec<(Operation, &str)> {
    writes
        .iter()
        .filter(|(_, folder)| folder != "leases")
        .map(|(op, folder)| (*op, folder.as_str()))
        .collect()
}

#[test]
fn killed_at_any_write_of_a_replacement_one_of_both_opens_and_the_next_one_tidies() {
    use Operation::{Delete, Put};
    let store = memory();
    // Passwords would do the same, only slowly.
    let (old, new, paper) = (recovery(), recovery(), recovery());
    Repo::create(shared(&store), &[old.clone(), paper.clone()], session(None)).unwrap();
    let change = |store: &Recording| -> Result<()> {
        let repo = Repo::open(shared(store), &old, session(None), &Silent)?;
        repo.replace_slot(&new, &Silent).map(drop)
    };
    let old_works = Mutex::new(Vec::new());
    let writes = killed_at_each_write(&store, &change, &|killed, _| {
        let works = (opens(killed, &old), opens(killed, &new));
        assert!(works.0 || works.1);
        assert!(opens(killed, &paper));
        old_works.lock().unwrap().push(works);
        // Whichever the person believes in, the next one works, and nothing of the first attempt is left.
        let third = recovery();
        for (believed, works) in [(&old, works.0), (&new, works.1)] {
            if works {
                let next = copy_of(killed);
                open(&next, believed).replace_slot(&third, &Silent).unwrap();
                assert!(opens(&next, &third) && !opens(&next, &old) && !opens(&next, &new));
                assert_eq!(slots(&next).len(), 2);
                assert!(names(&next, "leases").is_empty());
            }
        }
    });
    let order = [
        (Put, "keys"),
        (Put, "mirror/keys"),
        (Put, "events"),
        (Put, "mirror/events"),
        (Delete, "mirror/keys"),
        (Delete, "keys"),
    ];
    assert_eq!(without_lease(&writes), order);
    let outcomes = old_works.into_inner().unwrap();
    assert!(outcomes.contains(&(true, false)) && outcomes.contains(&(true, true)), "{outcomes:?}");
    assert_eq!(outcomes.last(), Some(&(false, true)));
}

#[test]
fn the_check_of_the_order_catches_a_removal_before_the_new_key_is_there() {
    let store = memory();
    let old = recovery();
    Repo::create(shared(&store), std::slice::from_ref(&old), session(None)).unwrap();
    let new = recovery();
    let wrong_order = |store: &Recording| -> Result<()> {
        let repo = Repo::open(shared(store), &old, session(None), &Silent)?;
        let own = ObjectName::key(&repo.slot);
        repo.remove_slot_copy(&own)?;
        repo.remove_slot_copy(&own.mirror())?;
        let slots = repo.find_slots()?;
        repo.write_slot(&new, &mut Derivations::default(), &slots, &KeyNote::default()).map(drop)
    };
    let locked_out = Mutex::new(false);
    killed_at_each_write(&store, &wrong_order, &|killed, _| {
        if !opens(killed, &old) && !opens(killed, &new) {
            *locked_out.lock().unwrap() = true;
        }
    });
    assert!(locked_out.into_inner().unwrap());
}

#[test]
fn killed_at_any_write_of_add_or_remove_what_opened_still_opens_and_the_next_one_works() {
    let store = memory();
    let (repo, first) = create(shared(&store), session(None));
    let (second, third) = (recovery(), recovery());
    let id = repo.add_key(&second, None, &Silent).unwrap();
    let add = |store: &Recording| -> Result<()> {
        Repo::open(shared(store), &first, session(None), &Silent)?.add_key(&third, None, &Silent).map(drop)
    };
    let remove = |store: &Recording| -> Result<()> {
        Repo::open(shared(store), &first, session(None), &Silent)?.remove_key(&id, false, &Silent)
    };
    for change in [&add as Change<'_>, &remove] {
        killed_at_each_write(&store, change, &|killed, _| {
            assert!(opens(killed, &first));
            open(killed, &first).add_key(&recovery(), None, &Silent).unwrap();
            let gone = open(killed, &first).keys(&Silent).unwrap().iter().any(|key| key.removed);
            assert!(!gone, "the next change tidies");
            assert!(names(killed, "leases").is_empty());
        });
    }
}

#[test]
fn a_failed_add_leaves_no_key_behind() {
    let store = memory();
    let (_, first) = create(shared(&store), session(None));
    let added = recovery();
    let writes = {
        let whole = copy_of(&store);
        open(&whole, &first).add_key(&added, None, &Silent).unwrap();
        whole.calls().len()
    };
    let mut undone = 0;
    for call in 1..=writes {
        let failing = copy_of(&store);
        failing.fail_at(call);
        let opened = Repo::open(shared(&failing), &first, session(None), &Silent);
        let Ok(repo) = opened else { continue };
        if repo.add_key(&added, None, &Silent).is_err() && names(&failing, "keys").len() == 1 {
            assert_eq!(slots(&failing).len(), 1, "call {call}");
            undone += usize::from(
                failing
                    .calls()
                    .iter()
                    .any(|call| call.operation == Operation::Delete && call.name.contains("keys/")),
            );
        }
        assert!(opens(&failing, &first));
    }
    assert!(undone > 0);
}

#[test]
fn a_removed_slot_is_not_brought_back_from_one_copy_and_another_one_is() {
    let store = memory();
    let (repo, first) = create(shared(&store), session(None));
    let second = recovery();
    let id = repo.add_key(&second, None, &Silent).unwrap();
    let name = ObjectName::key(&id);
    let bytes = store.inner().get(&name, MAX_SLOT_LEN).unwrap();
    // Not removed: whichever copy is lost comes back.
    for copy in [&name, &name.mirror()] {
        store.inner().delete(copy).unwrap();
        drop(repo.begin(&Silent).unwrap());
        assert_eq!(slots(&store).len(), 2);
    }
    repo.remove_key(&id, false, &Silent).unwrap();
    for (copy, other) in [(&name, name.mirror()), (&name.mirror(), name.clone())] {
        store.inner().put_new(copy, &bytes).unwrap();
        drop(repo.begin(&Silent).unwrap());
        assert!(store.inner().stat(&other).unwrap().is_none(), "{copy} was copied");
        // It is shown while it is there, and the next change takes it away.
        assert!(repo.keys(&Silent).unwrap().iter().any(|key| key.id == id && key.removed));
        let third = repo.add_key(&recovery(), None, &Silent).unwrap();
        assert!(store.inner().stat(copy).unwrap().is_none());
        repo.remove_key(&third, false, &Silent).unwrap();
    }
    assert!(opens(&store, &first) && !opens(&store, &second));
}

#[test]
fn a_slot_that_is_removed_while_a_snapshot_copies_it_stays_removed() {
    let store = memory();
    let (repo, key) = create(shared(&store), session(None));
    let id = repo.add_key(&recovery(), None, &Silent).unwrap();
    let name = ObjectName::key(&id);
    for (first, second) in [(name.clone(), name.mirror()), (name.mirror(), name.clone())] {
        let bytes = store.inner().get(&first, MAX_SLOT_LEN).unwrap();
        // The snapshot has read the history; then the other program writes its event, and has deleted one copy.
        let (snapshot, other) = (open(&store, &key), open(&store, &key));
        let seen = snapshot.history(&Silent).unwrap();
        other.announce(&seen, None, &[id], &Silent).unwrap();
        other.remove_slot_copy(&second).unwrap();
        store.clear();
        snapshot.heal_mirrors(&seen, &Silent).unwrap();
        let put =
            |call: &crate::store::Call| call.operation == Operation::Put && call.name == second.as_str();
        assert!(store.calls().iter().any(put), "it was not copied at all");
        assert!(store.inner().stat(&second).unwrap().is_none());
        let change = EventAction::KeyChange { added: Some(id), removed: Vec::new() };
        other.record(&other.history(&Silent).unwrap(), vec![change], &Silent).unwrap();
        store.inner().put_new(&second, &bytes).unwrap();
    }
}

#[test]
fn a_key_that_is_gone_though_nobody_removed_it_is_told() {
    let store = memory();
    let (repo, _) = create(shared(&store), session(None));
    let id = repo.add_key(&recovery(), None, &Silent).unwrap();
    for copy in [ObjectName::key(&id), ObjectName::key(&id).mirror()] {
        store.inner().delete(&copy).unwrap();
    }
    let heard = Heard::default();
    assert_eq!(repo.keys(&heard).unwrap().len(), 1);
    let told = heard.0.into_inner().unwrap();
    assert_eq!((told.len(), told[0].kind), (1, WarningKind::Damaged));
    assert!(told[0].message.contains(&id.short()));
}

/// A session of another machine, or of this one, whose processes all live.
fn living(host: &str) -> Session {
    let mut session = session(None);
    session.client.host = host.to_owned();
    let machine = if host == "host" { 1 } else { 2 };
    session.machine = Arc::new(move || [machine; 16]);
    session.is_alive = Arc::new(|_, _| true);
    session
}

#[test]
fn while_another_program_changes_keys_or_works_alone_it_is_refused_and_a_snapshot_does_not_matter() {
    let store = memory();
    let (_, key) = create(shared(&store), session(None));
    let repo = open_in(&store, &key, living("host"));
    let other = open_in(&store, &key, living("elsewhere"));
    for (kind, locked) in
        [(LeaseKind::KeyChange, true), (LeaseKind::Exclusive, true), (LeaseKind::Snapshot, false)]
    {
        for holder in [&repo, &other] {
            let lease = holder.take_lease(kind, WriterId::new([1; 16])).unwrap();
            let before = slots(&store);
            match repo.add_key(&recovery(), None, &Silent) {
                Err(e) => assert!(locked && e.kind() == Kind::Locked && slots(&store) == before, "{e:?}"),
                Ok(id) => {
                    assert!(!locked);
                    repo.remove_key(&id, false, &Silent).unwrap();
                }
            }
            assert_eq!(names(&store, "leases").len(), 1, "its own lease is gone");
            holder.remove_lease(&lease.name).unwrap();
        }
    }
    assert_eq!(slots(&store).len(), 1);
}

#[test]
fn the_lease_of_a_killed_key_change_holds_nobody_up() {
    let store = memory();
    let (repo, key) = create(shared(&store), session(None));
    // On this machine its process is gone.
    repo.take_lease(LeaseKind::KeyChange, WriterId::new([1; 16])).unwrap();
    repo.add_key(&recovery(), None, &Silent).unwrap();
    assert!(names(&store, "leases").is_empty());
    // Of another machine nothing is known but the time.
    let other = open_in(&store, &key, living("elsewhere"));
    other.take_lease(LeaseKind::KeyChange, WriterId::new([1; 16])).unwrap();
    store.inner().set_time(Timestamp::new(3599, 0));
    assert_eq!(repo.add_key(&recovery(), None, &Silent).unwrap_err().kind(), Kind::Locked);
    store.inner().set_time(Timestamp::new(3601, 0));
    repo.add_key(&recovery(), None, &Silent).unwrap();
    assert!(names(&store, "leases").is_empty());
    // What a snapshot left tells the next one to look for packs.
    repo.take_lease(LeaseKind::Snapshot, WriterId::new([1; 16])).unwrap();
    repo.add_key(&recovery(), None, &Silent).unwrap();
    assert_eq!(names(&store, "leases").len(), 1);
    let object = store.inner().get(&store.inner().list("leases").unwrap().objects[0].name, 1 << 20).unwrap();
    let lease = Lease::decode(&repo.sealer.open(ObjectType::Lease, &object, "it").unwrap()).unwrap();
    assert_eq!(lease.kind, LeaseKind::Snapshot);
}

#[test]
fn two_programs_that_remove_each_others_keys_leave_one_even_without_leases() {
    let store = memory();
    let (a, first) = create(shared(&store), session(None));
    let second = recovery();
    let theirs = a.add_key(&second, None, &Silent).unwrap();
    let b = open(&store, &second);
    // Both have checked before either wrote its event.
    let histories = [&a, &b].map(|repo| repo.history(&Silent).unwrap());
    a.announce(&histories[0], None, &[theirs], &Silent).unwrap();
    b.announce(&histories[1], None, &[a.slot], &Silent).unwrap();
    let refused = a.clear(&[theirs], &Silent).unwrap_err();
    assert_eq!(refused.kind(), Kind::Locked);
    b.clear(&[a.slot], &Silent).unwrap();
    assert!(!opens(&store, &first) && opens(&store, &second));
    assert_eq!(slots(&store), [theirs.to_string()]);
    assert!(!b.keys(&Silent).unwrap()[0].removed);
}

#[test]
fn nothing_a_person_says_about_a_key_is_in_the_clear() {
    let store = memory();
    let (repo, _) = create(shared(&store), session(None));
    repo.add_key(&recovery(), Some("a label for Ann"), &Silent).unwrap();
    for info in store.inner().list("").unwrap().objects {
        let bytes = store.inner().get(&info.name, info.size).unwrap();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!holds(b"label for") && !holds(b"host"), "{}", info.name);
    }
}
