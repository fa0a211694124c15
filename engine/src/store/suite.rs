//! L2, tests only: what every store must do. Each store's tests call [`run`] with a way to make an empty one.

use super::{Capabilities, Listing, ObjectInfo, ObjectName, Store};
use crate::base::{Kind, Result};
use crate::crypto::{Credential, RecoveryKey};
use crate::repo::testing::session;
use crate::repo::{Repo, verify_credential};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Races of two programs that create a repository.
const RACES: usize = 20;

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn names(store: &impl Store, prefix: &str) -> Vec<String> {
    store.list(prefix).unwrap().objects.into_iter().map(|info| info.name.as_str().to_owned()).collect()
}

/// Runs the whole suite, each part on a fresh store.
pub(super) fn run<S: Store + 'static>(fresh: &impl Fn() -> S) {
    what_was_put_is_read_back(&fresh());
    equal_content_is_accepted_twice_and_other_content_never(&fresh());
    missing_objects_are_not_found(&fresh());
    reads_are_bounded(&fresh());
    lists_are_complete_sorted_and_below_their_prefix(&fresh());
    one_of_many_writers_of_a_name_wins(&fresh());
    whoever_creates_a_repository_can_open_it(fresh);
}

fn what_was_put_is_read_back(store: &impl Store) {
    for (text, bytes) in
        [("config", &b""[..]), ("a/b", b"x"), ("a/c/d", &[7; 300_000]), ("mirror/a/c/d", b"second")]
    {
        store.put_new(&name(text), bytes).unwrap();
        assert_eq!(store.get(&name(text), bytes.len() as u64).unwrap(), bytes);
        let info = store.stat(&name(text)).unwrap().unwrap();
        assert_eq!((info.name.as_str(), info.size), (text, bytes.len() as u64));
        store.delete(&name(text)).unwrap();
        assert_eq!(store.stat(&name(text)).unwrap(), None);
        store.put_new(&name(text), b"after a delete the name is free").unwrap();
    }
    assert!(!store.location().is_empty());
    store.free_space().unwrap();
}

fn equal_content_is_accepted_twice_and_other_content_never(store: &impl Store) {
    let object = name("packs/ab/object");
    store.put_new(&object, b"content").unwrap();
    store.put_new(&object, b"content").unwrap();
    for other in [&b"contend"[..], b"conten", b"content and more", b""] {
        assert_eq!(store.put_new(&object, other).unwrap_err().kind(), Kind::AlreadyThere);
    }
    assert_eq!(store.get(&object, 100).unwrap(), b"content");
    assert_eq!(names(store, ""), ["packs/ab/object"]);
}

fn missing_objects_are_not_found(store: &impl Store) {
    store.put_new(&name("a/b"), b"x").unwrap();
    for missing in ["nothing", "a/nothing", "no/such/folder"] {
        let missing = name(missing);
        assert_eq!(store.get(&missing, 10).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(store.get_range(&missing, 0, 0).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(store.delete(&missing).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(store.stat(&missing).unwrap(), None);
    }
    let gone = name("a/b");
    store.get_range(&gone, 0, 1).unwrap();
    store.delete(&gone).unwrap();
    assert_eq!(store.get_range(&gone, 0, 1).unwrap_err().kind(), Kind::NotFound);
}

fn reads_are_bounded(store: &impl Store) {
    let object = name("packs/ab/object");
    store.put_new(&object, b"0123456789").unwrap();
    assert_eq!(store.get(&object, 9).unwrap_err().kind(), Kind::Damaged);
    assert_eq!(store.get(&object, u64::MAX).unwrap(), b"0123456789");
    assert_eq!(store.get_range(&object, 0, 10).unwrap(), b"0123456789");
    assert_eq!(store.get_range(&object, 3, 4).unwrap(), b"3456");
    assert_eq!(store.get_range(&object, 10, 0).unwrap(), b"");
    for (offset, len) in
        [(0, 11), (10, 1), (11, 0), (u64::MAX, 1), (1, u64::MAX), (0, u64::MAX), (9, 1 << 40)]
    {
        assert_eq!(
            store.get_range(&object, offset, len).unwrap_err().kind(),
            Kind::Damaged,
            "{offset} {len}"
        );
    }
}

fn lists_are_complete_sorted_and_below_their_prefix(store: &impl Store) {
    assert_eq!(names(store, ""), Vec::<String>::new());
    assert_eq!(names(store, "snapshots"), Vec::<String>::new());
    let mut all =
        vec!["config", "packs/ab/1", "packs/ab/2", "packs/b0/1", "packs-2/x", "packs/1", "a.b/c", "a/b"];
    for text in &all {
        store.put_new(&name(text), text.as_bytes()).unwrap();
    }
    all.sort_unstable();
    assert_eq!(names(store, ""), all);
    assert_eq!(names(store, "packs"), ["packs/1", "packs/ab/1", "packs/ab/2", "packs/b0/1"]);
    assert_eq!(names(store, "packs/ab"), ["packs/ab/1", "packs/ab/2"]);
    assert_eq!(names(store, "pack"), Vec::<String>::new());
    assert_eq!(store.list("../x").unwrap_err().kind(), Kind::Internal);
    assert!(store.list("").unwrap().objects.iter().all(|info| info.size == info.name.as_str().len() as u64));
}

fn one_of_many_writers_of_a_name_wins(store: &impl Store) {
    let (same, contested) = (name("packs/cd/same"), name("packs/cd/contested"));
    let mut won = 0;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8u8)
            .map(|number| {
                let (same, contested) = (&same, &contested);
                scope.spawn(move || {
                    store.put_new(same, &[1; 100_000]).unwrap();
                    store.put_new(contested, &[number; 100_000]).map(|()| number).map_err(|e| e.kind())
                })
            })
            .collect();
        for writer in writers {
            match writer.join().unwrap() {
                Ok(number) => {
                    won += 1;
                    let stored = store.get(&contested, 100_000).unwrap();
                    assert_eq!(stored, [stored[0]; 100_000]);
                    assert!(!store.capabilities().conditional_puts || stored[0] == number);
                }
                Err(kind) => assert_eq!(kind, Kind::AlreadyThere),
            }
        }
    });
    if store.capabilities().conditional_puts {
        assert_eq!(won, 1);
    } else {
        assert!(won >= 1);
    }
    assert_eq!(store.get(&same, 100_000).unwrap(), [1; 100_000]);
    assert_eq!(names(store, ""), ["packs/cd/contested", "packs/cd/same"]);
}

/// Two programs that create a repository in one place, again and again, with pauses before all of their calls.
fn whoever_creates_a_repository_can_open_it<S: Store + 'static>(fresh: &impl Fn() -> S) {
    let (mut won, mut lost) = (0, 0);
    for race in 0..RACES {
        let store = Arc::new(fresh());
        let keys = [(); 2].map(|()| Credential::Recovery(RecoveryKey::random().unwrap()));
        let create = |key| {
            let slow: Arc<dyn Store> = Arc::new(Slow::new(Arc::clone(&store)));
            Repo::create(slow, std::slice::from_ref(key), session(None)).map(|repo| repo.id())
        };
        let created = std::thread::scope(|scope| {
            keys.each_ref().map(|key| scope.spawn(|| create(key))).map(|program| program.join().unwrap())
        });
        for (key, created) in keys.iter().zip(created) {
            match created {
                Ok(id) => {
                    won += 1;
                    let opened = verify_credential(store.as_ref(), key).map_err(|e| e.full_text());
                    assert_eq!(opened, Ok(id), "race {race}");
                }
                Err(e) => {
                    lost += 1;
                    assert!(matches!(e.kind(), Kind::AlreadyThere | Kind::Locked), "{e:?}");
                }
            }
        }
        let left = names(store.as_ref(), "keys").len();
        assert!(left <= 1 && names(store.as_ref(), "leases").is_empty(), "race {race}: {left} slots");
    }
    assert!(won > 0 && lost > 0, "{won} won, {lost} lost: they did not meet");
}

/// Waits up to a millisecond before each call, so that other programs come between any two of them.
#[derive(Debug)]
struct Slow<S> {
    inner: S,
    calls: AtomicU64,
    random: RandomState,
}

impl<S: Store> Slow<S> {
    fn new(inner: S) -> Self {
        Self { inner, calls: AtomicU64::new(0), random: RandomState::new() }
    }

    fn wait(&self) -> &S {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros(self.random.hash_one(call) % 1000));
        &self.inner
    }
}

impl<S: Store> Store for Slow<S> {
    fn put_new(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        self.wait().put_new(name, bytes)
    }

    fn get(&self, name: &ObjectName, max_len: u64) -> Result<Vec<u8>> {
        self.wait().get(name, max_len)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: u64) -> Result<Vec<u8>> {
        self.wait().get_range(name, offset, len)
    }

    fn list(&self, prefix: &str) -> Result<Listing> {
        self.wait().list(prefix)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.wait().delete(name)
    }

    fn stat(&self, name: &ObjectName) -> Result<Option<ObjectInfo>> {
        self.wait().stat(name)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn free_space(&self) -> Result<Option<u64>> {
        self.inner.free_space()
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    fn local_path(&self) -> Option<&Path> {
        self.inner.local_path()
    }
}
