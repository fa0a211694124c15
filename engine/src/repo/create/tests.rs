//! Creating, alone and against others. That every store decides races is in its conformance suite.

use super::*;
use crate::crypto::RecoveryKey;
use crate::repo::testing::session;
use crate::repo::verify_credential;
use crate::store::{MemoryStore, Operation, RecordingStore};

fn key() -> Credential {
    Credential::Recovery(RecoveryKey::random().unwrap())
}

fn create(store: &Arc<impl Store + 'static>, key: &Credential) -> Result<Repo> {
    Repo::create(Arc::clone(store) as Arc<dyn Store>, std::slice::from_ref(key), session(None))
}

/// What another program has written by the time at which it is stopped.
fn leftovers(store: &MemoryStore) -> Vec<ObjectName> {
    let slot = ObjectName::key(&KeyId::new([5; 32]));
    let names = vec![slot.clone(), slot.mirror()];
    for name in &names {
        store.put_new(name, b"a slot of another program").unwrap();
    }
    names
}

#[test]
fn a_repository_that_is_there_stays_as_it_is() {
    for store in [MemoryStore::new(), MemoryStore::without_conditional_puts()] {
        let store = Arc::new(RecordingStore::new(store));
        let (first, second) = (key(), key());
        create(&store, &first).unwrap();
        let before = store.list("").unwrap().objects;
        store.clear();
        assert_eq!(create(&store, &second).unwrap_err().kind(), Kind::AlreadyThere);
        let changes = |operation| matches!(operation, Operation::Put | Operation::Delete);
        assert!(!store.calls().iter().any(|call| changes(call.operation)));
        assert_eq!(store.list("").unwrap().objects, before);
        verify_credential(store.as_ref(), &first).unwrap();
    }
}

#[test]
fn a_second_copy_of_a_config_alone_is_a_repository_too() {
    let store = Arc::new(MemoryStore::new());
    create(&store, &key()).unwrap();
    store.delete(&ObjectName::config()).unwrap();
    let before = store.list("").unwrap().objects;
    assert_eq!(create(&store, &key()).unwrap_err().kind(), Kind::AlreadyThere);
    assert_eq!(store.list("").unwrap().objects, before);
}

#[test]
fn slots_of_others_stay_whether_this_program_wins_or_loses() {
    let store = Arc::new(MemoryStore::new());
    let others = leftovers(&store);
    let own = key();
    create(&store, &own).unwrap();
    verify_credential(store.as_ref(), &own).unwrap();
    assert!(others.iter().all(|name| store.stat(name).unwrap().is_some()));
}

#[test]
fn after_any_failing_call_what_was_created_opens_or_the_next_attempt_succeeds() {
    for conditional in [true, false] {
        let fresh = || {
            if conditional { MemoryStore::new() } else { MemoryStore::without_conditional_puts() }
        };
        let whole = RecordingStore::new(fresh());
        let whole = Arc::new(whole);
        create(&whole, &key()).unwrap();
        let calls = whole.calls().len();
        assert!(calls > 6);
        for failing in 1..=calls {
            let store = Arc::new(RecordingStore::new(fresh()));
            let (own, next) = (key(), key());
            store.fail_at(failing);
            let made = create(&store, &own);
            let has_config = store.stat(&ObjectName::config()).unwrap().is_some();
            if made.is_ok() || has_config {
                verify_credential(store.as_ref(), &own).unwrap();
            } else {
                // Slots stay if it is not known whether their config was stored, and a lease that is old by then.
                store.inner().set_time(Timestamp::new(ABANDONED_SECS, 0));
                create(&store, &next).unwrap();
                verify_credential(store.as_ref(), &next).unwrap();
            }
        }
    }
}

#[test]
fn without_conditional_puts_the_lease_of_another_program_forbids_it_until_it_is_old() {
    let store = Arc::new(MemoryStore::without_conditional_puts());
    let lease = ObjectName::lease(&LeaseId::new([1; 16]));
    store.put_new(&lease, b"sealed by another program").unwrap();
    store.set_time(Timestamp::new(ABANDONED_SECS - 1, 0));
    assert_eq!(create(&store, &key()).unwrap_err().kind(), Kind::Locked);
    assert_eq!(store.list("").unwrap().objects.len(), 1);
    store.set_time(Timestamp::new(ABANDONED_SECS, 0));
    create(&store, &key()).unwrap();
    // Its own lease is gone.
    assert_eq!(store.list("leases").unwrap().objects.len(), 1);
}

#[test]
fn without_a_credential_nothing_is_created() {
    let store = Arc::new(MemoryStore::new());
    let created = Repo::create(Arc::clone(&store) as Arc<dyn Store>, &[], session(None));
    assert_eq!(created.unwrap_err().kind(), Kind::Usage);
    assert_eq!(store.list("").unwrap().objects, []);
}

#[test]
fn each_of_two_passwords_opens_a_new_repository_and_neither_stands_for_the_other() {
    let store = Arc::new(MemoryStore::new());
    let file = crate::crypto::KeyFile::read(&b"any file"[..], "it").unwrap();
    let both =
        |password: &str| Credential::PasswordAndFile(password.as_bytes().to_vec().into(), file.clone());
    let (one, two) = (Credential::password("first password"), both("second password"));
    let repo = Repo::create(Arc::clone(&store) as Arc<dyn Store>, &[one, two], session(None)).unwrap();
    let opens = |credential: Credential| verify_credential(store.as_ref(), &credential);
    assert_eq!(opens(Credential::password("first password")).unwrap(), repo.id());
    assert_eq!(opens(both("second password")).unwrap(), repo.id());
    // Known bad: a derivation of the first password in the slot of the second.
    assert_eq!(opens(both("first password")).unwrap_err().kind(), Kind::WrongKey);
    assert_eq!(opens(Credential::password("second password")).unwrap_err().kind(), Kind::WrongKey);
}
