//! The repository on a store in memory.

use super::testing::{create, sample_manifest, session};
use super::*;
use crate::base::event::Silent;
use crate::base::{Cancel, Kind, Observer, SnapshotId, Warning, WarningKind};
use crate::crypto::{Credential, RecoveryKey};
use crate::model::{ListItem, Node, NodeKind, PackClass};
use crate::repo::pages::{Boundaries, EncodedNode, ListLayout, write_list, write_tree};
use crate::repo::writer::{Fate, Offer, Packing, RunWriter};
use crate::store::{LocalStore, MemoryStore, ObjectName, Operation, RecordingStore};

fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new())
}

fn open(store: &Arc<MemoryStore>, credential: &Credential) -> crate::base::Result<Repo> {
    Repo::open(Arc::clone(store) as Arc<dyn Store>, credential, session(None), &Silent)
}

#[derive(Default)]
struct Heard(Mutex<Vec<WarningKind>>);

impl Observer for Heard {
    fn warn(&self, warning: &Warning) {
        self.0.lock().unwrap().push(warning.kind);
    }
}

impl Heard {
    fn take(&self) -> Vec<WarningKind> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Commits a snapshot of one empty folder.
fn commit_one(repo: &Repo, n: u8) -> SnapshotId {
    let run = repo.begin(&Silent).unwrap();
    let (root, packs, _) =
        RunWriter::run(repo, Fate::Stored, |writer| write_tree(writer, &Boundaries::new(repo), &[])).unwrap();
    let manifest = crate::model::Manifest { root, ..sample_manifest(n) };
    repo.commit(run, packs, manifest, &Silent).unwrap()
}

#[test]
fn each_credential_opens_and_no_other() {
    let store = memory();
    let key = Credential::Recovery(RecoveryKey::random().unwrap());
    let password = Credential::password("correct horse");
    let made =
        Repo::create(Arc::clone(&store) as Arc<dyn Store>, &[key.clone(), password.clone()], session(None))
            .unwrap();
    for credential in [&key, &password] {
        assert_eq!(open(&store, credential).unwrap().id(), made.id());
        assert_eq!(verify_credential(store.as_ref(), credential).unwrap(), made.id());
    }
    let wrong = [Credential::password("wrong"), Credential::Recovery(RecoveryKey::random().unwrap())];
    for credential in wrong {
        let error = open(&store, &credential).unwrap_err();
        assert_eq!(error.kind(), Kind::WrongKey);
        assert!(!error.full_text().chars().any(|c| c.is_ascii_digit()), "{}", error.full_text());
    }
    let second = Credential::Recovery(RecoveryKey::random().unwrap());
    made.add_key(&second, None, &Silent).unwrap();
    assert!(open(&store, &second).is_ok());
}

#[test]
fn config_and_slots_are_read_from_their_second_copies() {
    let store = memory();
    let (repo, key) = create(Arc::clone(&store) as Arc<dyn Store>, session(None));
    let config = store.get(&ObjectName::config(), 1 << 20).unwrap();
    for bytes in [&config[..10], &[0; 200][..], &[]] {
        store.overwrite(&ObjectName::config(), bytes);
        assert_eq!(open(&store, &key).unwrap().id(), repo.id());
    }
    let mut flipped = config.clone();
    *flipped.last_mut().unwrap() ^= 1;
    store.overwrite(&ObjectName::config(), &flipped);
    assert!(open(&store, &key).is_ok());
    let slot = store.list("keys").unwrap().objects.remove(0).name;
    store.overwrite(&slot, b"damaged");
    assert!(open(&store, &key).is_ok());
    store.overwrite(&slot.mirror(), b"damaged");
    assert_eq!(open(&store, &key).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn an_empty_store_is_no_repository() {
    let store = memory();
    let error = open(&store, &Credential::password("x")).unwrap_err();
    assert_eq!(error.kind(), Kind::NoRepository, "{error:?}");
}

#[test]
fn missing_second_copies_are_made_again_and_missing_first_ones_told() {
    let store = memory();
    let (repo, _) = create(Arc::clone(&store) as Arc<dyn Store>, session(None));
    let first = commit_one(&repo, 1);
    let name = ObjectName::snapshot(&first);
    store.delete(&name.mirror()).unwrap();
    store.delete(&ObjectName::config().mirror()).unwrap();
    let heard = Heard::default();
    drop(repo.begin(&heard).unwrap());
    assert_eq!(heard.take(), []);
    assert!(store.stat(&name.mirror()).unwrap().is_some());
    assert!(store.stat(&ObjectName::config().mirror()).unwrap().is_some());
    store.delete(&name).unwrap();
    assert_eq!(repo.snapshots(&Silent).unwrap().len(), 1);
    drop(repo.begin(&heard).unwrap());
    assert!(heard.take().contains(&WarningKind::MirrorUsed));
    assert!(store.stat(&name).unwrap().is_some());
}

#[test]
fn a_snapshot_whose_second_copy_cannot_be_written_is_stored_and_the_next_run_writes_it() {
    let mirror_of = |folder: &str| format!("mirror/{folder}/");
    for call in 1.. {
        let store = Arc::new(RecordingStore::new(MemoryStore::new()));
        let (repo, _) = create(Arc::clone(&store) as Arc<dyn Store>, session(None));
        let run = repo.begin(&Silent).unwrap();
        let (root, packs, _) =
            RunWriter::run(&repo, Fate::Stored, |writer| write_tree(writer, &Boundaries::new(&repo), &[]))
                .unwrap();
        let manifest = crate::model::Manifest { root, ..sample_manifest(1) };
        let heard = Heard::default();
        store.clear();
        store.fail_at(call);
        let committed = repo.commit(run, packs, manifest, &heard);
        if !store.calls()[call - 1].name.starts_with(&mirror_of("snapshots")) {
            continue;
        }
        assert_eq!(store.calls()[call - 1].operation, Operation::Put);
        let id = committed.unwrap();
        assert_eq!(heard.take(), [WarningKind::MirrorNotWritten]);
        assert_eq!(repo.snapshots(&Silent).unwrap().len(), 1);
        let copy = ObjectName::snapshot(&id).mirror();
        assert_eq!(store.stat(&copy).unwrap(), None);
        drop(repo.begin(&heard).unwrap());
        assert_eq!(heard.take(), []);
        assert!(store.stat(&copy).unwrap().is_some());
        // As long as it cannot be written, work goes on.
        store.delete(&copy).unwrap();
        store.clear();
        drop(repo.begin(&Silent).unwrap());
        let put = store.calls().iter().position(|call| call.name == copy.as_str()).unwrap();
        store.delete(&copy).unwrap();
        store.clear();
        store.fail_at(put + 1);
        drop(repo.begin(&heard).unwrap());
        assert_eq!(heard.take(), [WarningKind::MirrorNotWritten]);
        return;
    }
}

#[test]
fn a_damaged_manifest_is_told_and_hides_no_other() {
    let store = memory();
    let (repo, key) = create(Arc::clone(&store) as Arc<dyn Store>, session(None));
    let (first, second) = (commit_one(&repo, 1), commit_one(&repo, 2));
    store.overwrite(&ObjectName::snapshot(&first), b"x");
    let heard = Heard::default();
    let list = |heard: &Heard| -> Vec<SnapshotId> {
        open(&store, &key).unwrap().snapshots(heard).unwrap().iter().map(|s| s.id).collect()
    };
    assert_eq!(list(&heard), [first, second]);
    assert_eq!(heard.take(), [WarningKind::MirrorUsed]);
    store.overwrite(&ObjectName::snapshot(&first).mirror(), b"x");
    assert_eq!(list(&heard), [second]);
    assert_eq!(heard.take(), [WarningKind::Damaged]);
}

#[test]
fn manifests_of_one_catalog_form_a_chain_and_a_lost_catalog_begins_another() {
    let cache = tempfile::tempdir().unwrap();
    let store = memory();
    let (repo, key) = create(Arc::clone(&store) as Arc<dyn Store>, session(Some(cache.path())));
    let (first, second) = (commit_one(&repo, 1), commit_one(&repo, 2));
    drop(repo);
    let other = open(&store, &key).unwrap();
    let third = commit_one(&other, 3);
    let all = other.snapshots(&Silent).unwrap();
    let chain: Vec<_> = all.iter().map(|s| (s.id, s.manifest.sequence, s.manifest.previous)).collect();
    assert_eq!(chain, [(first, 1, None), (second, 2, Some(*first.as_bytes())), (third, 1, None)]);
    assert_eq!(all[0].manifest.writer, all[1].manifest.writer);
    assert_ne!(all[0].manifest.writer, all[2].manifest.writer);
    let lamports: Vec<_> = all.iter().map(|s| s.manifest.lamport).collect();
    assert_eq!(lamports, [1, 2, 3]);
    assert_eq!(all[2].manifest.heads.len(), 1);
    assert_eq!(all[2].manifest.heads[0].hash, *second.as_bytes());
}

#[test]
fn an_older_copy_of_the_repository_is_told_from_a_loss() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let local = |name: &str| Arc::new(LocalStore::create(&folder.path().join(name)).unwrap());
    let (a, b) = (local("a"), local("b"));
    let (repo, key) = create(Arc::clone(&a) as Arc<dyn Store>, session(Some(cache.path())));
    let commit = |count| {
        let run = repo.begin(&Silent).unwrap();
        let (all, boundaries) = (nodes(count), Boundaries::new(&repo));
        let all: Vec<EncodedNode<'_>> = all.iter().map(|(name, bytes)| EncodedNode { name, bytes }).collect();
        let written = RunWriter::run(&repo, Fate::Stored, |writer| write_tree(writer, &boundaries, &all));
        let (root, packs, _) = written.unwrap();
        let manifest = crate::model::Manifest { root, ..sample_manifest(1) };
        repo.commit(run, packs, manifest, &Silent).unwrap();
    };
    commit(1);
    for info in a.list("").unwrap().objects {
        b.put_new(&info.name, &a.get(&info.name, info.size).unwrap()).unwrap();
    }
    commit(2);
    drop(repo);
    let told = |store: &Arc<LocalStore>| {
        let (store, heard) = (Arc::clone(store) as Arc<dyn Store>, Heard::default());
        drop(Repo::open(store, &key, session(Some(cache.path())), &heard).unwrap());
        heard.take()
    };
    for _ in 0..2 {
        assert_eq!(told(&b), [WarningKind::OtherCopy]);
        assert_eq!(told(&b), []);
        assert_eq!(told(&a), []);
    }
    for info in a.list("index").unwrap().objects {
        a.delete(&info.name).unwrap();
    }
    assert_eq!(told(&a), [WarningKind::Damaged]);
}

/// Names and encoded nodes of a folder, ascending.
fn nodes(count: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut nodes: Vec<_> = (0..count)
        .map(|n| {
            let name = format!("IMG-{n:06}.jpg").into_bytes();
            let bytes = crate::format::tree::encode_node(&Node::new(name.clone(), NodeKind::Fifo));
            (name, bytes)
        })
        .collect();
    nodes.sort();
    nodes
}

#[test]
fn twenty_new_entries_in_a_folder_of_a_hundred_thousand_cost_some_twenty_pages() {
    let (repo, _) = create(memory(), session(None));
    let boundaries = Boundaries::new(&repo);
    let owned = nodes(100_000);
    let all: Vec<EncodedNode<'_>> = owned.iter().map(|(name, bytes)| EncodedNode { name, bytes }).collect();
    let most: Vec<EncodedNode<'_>> =
        all.iter().enumerate().filter(|(n, _)| n % 5000 != 17).map(|(_, node)| *node).collect();
    let ((before, after), packs, _) = RunWriter::run(&repo, Fate::Stored, |writer| {
        let before = write_tree(writer, &boundaries, &most)?;
        let pages = writer.added.page_blobs.load(std::sync::atomic::Ordering::Relaxed);
        assert!((390..800).contains(&pages), "{pages} pages of 100,000 entries");
        let after = write_tree(writer, &boundaries, &all)?;
        let more = writer.added.page_blobs.load(std::sync::atomic::Ordering::Relaxed) - pages;
        assert!(more <= 40, "{more} pages for 20 new entries");
        Ok((before, after))
    })
    .unwrap();
    repo.catalog().add_packs(&packs).unwrap();
    let names = |root| -> Vec<Vec<u8>> {
        repo.read_tree(&root, &Cancel::new()).unwrap().into_iter().map(|node| node.name).collect()
    };
    assert!(names(before).iter().eq(most.iter().map(|node| &node.name)));
    assert!(names(after).iter().eq(all.iter().map(|node| &node.name)));
    for name in [all[0].name, all[99_999].name, all[5017].name] {
        assert_eq!(repo.find_node(&after, name).unwrap().unwrap().name, name);
    }
    assert!(repo.find_node(&before, all[5017].name).unwrap().is_none());
    assert!(repo.find_node(&after, b"A").unwrap().is_none());
}

#[test]
fn lists_read_as_written() {
    let (repo, _) = create(memory(), session(None));
    let boundaries = Boundaries::new(&repo);
    let items: Vec<ListItem> = (0..6000u32)
        .map(|n| match n % 7 {
            0 => ListItem::Hole { len: u64::from(n) + 1 },
            _ => ListItem::Chunk { id: repo.name(BlobKind::Data, &n.to_le_bytes()), len: 65536 - n % 2 },
        })
        .collect();
    for layout in [ListLayout::Stream, ListLayout::PageRuns { run: 65536, previous: &[] }] {
        let (root, packs, added) =
            RunWriter::run(&repo, Fate::Stored, |writer| write_list(writer, &boundaries, layout, &items))
                .unwrap();
        assert!(added.page_blobs.load(std::sync::atomic::Ordering::Relaxed) > 8);
        repo.catalog().add_packs(&packs).unwrap();
        let mut read = Vec::new();
        repo.each_list_item(&root, &mut |item| {
            read.push(item);
            Ok(())
        })
        .unwrap();
        assert_eq!(read, items);
    }
}

#[test]
fn a_blob_with_a_damaged_copy_is_read_from_another() {
    let store = memory();
    let (repo, key) = create(Arc::clone(&store) as Arc<dyn Store>, session(None));
    let put = |repo: &Repo| {
        RunWriter::run(repo, Fate::Stored, |writer| {
            let (class, packing) = (PackClass::Media, Packing::Tried);
            let offer = Offer { kind: BlobKind::Data, class, packing, previous: None };
            writer.put(offer, vec![7; 5000], writer.reserve(5000)?)
        })
        .unwrap()
    };
    let (id, first, _) = put(&repo);
    // Another machine that does not know of the first copy stores a second one.
    let (_, second, _) = put(&open(&store, &key).unwrap());
    assert_ne!(first[0].pack, second[0].pack);
    repo.catalog().add_packs(&first).unwrap();
    repo.catalog().add_packs(&second).unwrap();
    let run = repo.begin(&Silent).unwrap();
    let packs = [first.clone(), second].concat();
    repo.commit(run, packs, sample_manifest(1), &Silent).unwrap();
    assert_eq!(repo.read_blob(BlobKind::Data, &id).unwrap(), vec![7; 5000]);
    store.overwrite(&ObjectName::pack(&first[0].pack), b"gone");
    assert_eq!(repo.read_blob(BlobKind::Data, &id).unwrap(), vec![7; 5000]);
}

#[test]
fn a_panic_while_blobs_are_stored_ends_the_run() {
    let (repo, _) = create(memory(), session(None));
    let ended = RunWriter::run(&repo, Fate::Stored, |_| -> crate::base::Result<()> { panic!("a defect") });
    let error = ended.unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    assert!(error.full_text().contains("a defect"));
}

#[test]
fn whoever_waits_for_packs_notices_that_the_run_was_cancelled() {
    /// Never done with a pack before it is told.
    #[derive(Debug)]
    struct Stuck(MemoryStore, Mutex<bool>, std::sync::Condvar);

    impl Stuck {
        fn go_on(&self) {
            *self.1.lock().unwrap() = true;
            self.2.notify_all();
        }
    }

    impl Store for Stuck {
        fn put_new(&self, name: &ObjectName, bytes: &[u8]) -> crate::base::Result<()> {
            if name.as_str().starts_with("packs/") {
                let waits = self.1.lock().unwrap();
                drop(self.2.wait_while(waits, |goes_on| !*goes_on).unwrap());
            }
            self.0.put_new(name, bytes)
        }
        fn get(&self, name: &ObjectName, max_len: u64) -> crate::base::Result<Vec<u8>> {
            self.0.get(name, max_len)
        }
        fn get_range(&self, name: &ObjectName, offset: u64, len: u64) -> crate::base::Result<Vec<u8>> {
            self.0.get_range(name, offset, len)
        }
        fn list(&self, prefix: &str) -> crate::base::Result<crate::store::Listing> {
            self.0.list(prefix)
        }
        fn delete(&self, name: &ObjectName) -> crate::base::Result<()> {
            self.0.delete(name)
        }
        fn stat(&self, name: &ObjectName) -> crate::base::Result<Option<crate::store::ObjectInfo>> {
            self.0.stat(name)
        }
        fn free_space(&self) -> crate::base::Result<Option<u64>> {
            self.0.free_space()
        }
        fn location(&self) -> String {
            self.0.location()
        }
        fn local_path(&self) -> Option<&std::path::Path> {
            None
        }
    }

    let store = Arc::new(Stuck(MemoryStore::new(), Mutex::new(false), std::sync::Condvar::new()));
    let (repo, _) = create(Arc::clone(&store) as Arc<dyn Store>, session(None));
    let cancel = repo.session.cancel.clone();
    let ended = RunWriter::run(&repo, Fate::Stored, |writer| {
        let offer =
            Offer { kind: BlobKind::Data, class: PackClass::Media, packing: Packing::AsItIs, previous: None };
        writer.put(offer, vec![1; 100], writer.reserve(100)?)?;
        cancel.cancel();
        let waited = writer.settle();
        store.go_on();
        waited
    });
    assert_eq!(ended.unwrap_err().kind(), Kind::Cancelled);
}
