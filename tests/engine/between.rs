//! A whole snapshot of another program falls between two looks of a run, one at the store and one at the catalog that
//! both share: nothing is taken for lost.

use chatvault_engine::backup::{self, BackupOptions};
use chatvault_engine::base::Result;
use chatvault_engine::repo::Repo;
use chatvault_engine::store::{Listing, LocalStore, Store};
use chatvault_tests::bytes::noise;
use chatvault_tests::lab::Heard;
use chatvault_tests::{Lab, hand_on};
use std::fmt;
use std::fs;
use std::sync::{Arc, Mutex};

type Act = Box<dyn FnOnce() + Send>;

/// Does something once, right after a folder was listed.
struct Interrupted {
    inner: LocalStore,
    folder: &'static str,
    act: Mutex<Option<Act>>,
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupted").finish_non_exhaustive()
    }
}

impl Store for Interrupted {
    hand_on!(put_new rest);

    fn list(&self, prefix: &str) -> Result<Listing> {
        let listed = self.inner.list(prefix);
        let act = if prefix == self.folder { self.act.lock().unwrap().take() } else { None };
        if let Some(act) = act {
            act();
        }
        listed
    }
}

/// Takes a snapshot that another one interrupts right after `folder` was listed.
fn interrupted_at(folder: &'static str) {
    let lab = Arc::new(Lab::new());
    for side in ["one", "two"] {
        fs::create_dir(lab.source().join(side)).unwrap();
        fs::write(lab.source().join(side).join("file"), noise(side, 100_000)).unwrap();
    }
    lab.snapshot_of(&lab.create(), &lab.source().join("one"));
    fs::write(lab.source().join("one/more"), noise("more", 100_000)).unwrap();
    let other = Arc::clone(&lab);
    let act: Act = Box::new(move || drop(other.snapshot_of(&other.open(), &other.source().join("two"))));
    let inner = LocalStore::open(&lab.repository()).unwrap();
    let store = Arc::new(Interrupted { inner, folder, act: Mutex::new(Some(act)) });
    let heard = Heard::default();
    let repo = Repo::open(store.clone(), &lab.credential(), lab.session(), &heard).unwrap();
    let options = BackupOptions { paths: vec![lab.source().join("one")], ..BackupOptions::default() };
    let taken = backup::snapshot(&repo, &options, &heard).unwrap();
    assert!(store.act.lock().unwrap().is_none(), "nothing fell in between");
    assert_eq!(heard.warnings(), []);
    drop(repo);
    let repo = lab.open();
    assert_eq!(repo.snapshots(&heard).unwrap().len(), 3);
    let snapshot = chatvault_tests::lab::find(&repo, &taken.id);
    let restored = lab.restore_what_is_left(&repo, &snapshot, &lab.source().join("one"));
    chatvault_tests::Truth::read(&lab.source().join("one")).assert_same(&restored.truth(), "the snapshot");
    assert_eq!(heard.warnings(), []);
}

#[test]
fn packs_of_a_snapshot_that_fell_in_between_are_not_taken_for_lost() {
    interrupted_at("packs");
}

#[test]
fn indexes_of_a_snapshot_that_fell_in_between_are_not_taken_for_gone() {
    interrupted_at("index");
}
