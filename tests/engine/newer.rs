//! Repositories and snapshots of versions that do not exist yet: refused or hidden by name, never misread.

use chatvault_engine::base::event::Silent;
use chatvault_engine::base::{Kind, SnapshotId, WarningKind, hash};
use chatvault_engine::crypto::ObjectType;
use chatvault_engine::format::manifest;
use chatvault_engine::repo::Repo;
use chatvault_engine::store::{MemoryStore, ObjectName, Store};
use chatvault_tests::lab::{Heard, find};
use chatvault_tests::{Lab, Truth};
use std::fs;
use std::sync::Arc;

/// A repository in memory with one snapshot of one file.
fn repository() -> (Lab, Arc<MemoryStore>, SnapshotId) {
    let (lab, store) = (Lab::light(), Arc::new(MemoryStore::new()));
    fs::write(lab.source().join("file"), "content").unwrap();
    let repo = lab.create_in(store.clone());
    let id = lab.snapshot(&repo).id;
    (lab, store, id)
}

#[test]
fn a_repository_of_another_format_or_draft_is_refused_and_the_format_is_named() {
    for (byte, value, named) in
        [(9, 2, "2-draft.3"), (10, 4, "1-draft.4"), (10, 1, "1-draft.1"), (10, 0, "1")]
    {
        let (lab, store, _) = repository();
        for name in [ObjectName::config(), ObjectName::config().mirror()] {
            let mut object = store.get(&name, 1 << 20).unwrap();
            assert_ne!(object[byte], value);
            object[byte] = value;
            store.overwrite(&name, &object);
        }
        let error = Repo::open(store, &lab.credential(), lab.session(), &Silent).unwrap_err();
        assert_eq!(error.kind(), Kind::NewerFormat, "byte {byte} = {value}: {error:?}");
        let text = error.full_text();
        assert!(text.contains(&format!("it has format {named};")), "byte {byte} = {value}: {text}");
    }
}

#[test]
fn a_repository_that_needs_an_unknown_feature_is_refused() {
    let (lab, store, _) = repository();
    for name in [ObjectName::config(), ObjectName::config().mirror()] {
        let mut object = store.get(&name, 1 << 20).unwrap();
        // The feature bits stand in the clear behind header and repository id.
        assert_eq!(object[84..92], [0; 8]);
        object[86] = 1 << 6;
        store.overwrite(&name, &object);
    }
    let error = Repo::open(store, &lab.credential(), lab.session(), &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::NewerFormat, "{error:?}");
}

#[test]
fn one_copy_of_another_format_beside_a_good_one_is_told_and_the_good_one_used() {
    let (lab, store, good) = repository();
    let mut object = store.get(&ObjectName::config(), 1 << 20).unwrap();
    object[9] = 2;
    store.overwrite(&ObjectName::config(), &object);
    let heard = Heard::default();
    let repo = Repo::open(store, &lab.credential(), lab.session(), &heard).unwrap();
    let kinds: Vec<_> = heard.warnings().iter().map(|warning| warning.kind).collect();
    assert_eq!(kinds, [WarningKind::MirrorUsed]);
    assert_eq!(repo.snapshots(&Silent).unwrap().len(), 1);
    assert_eq!(repo.snapshots(&Silent).unwrap()[0].id, good);
}

/// A manifest's body that needs the feature of this bit: one more field, number 22, at the end of the map.
fn with_feature(body: &[u8], bit: u32) -> Vec<u8> {
    let fields = body[0] & 0x1f;
    assert!(body[0] >> 5 == 5 && fields < 23, "a map of at most 22 fields");
    let mut body = [&[body[0] + 1], &body[1..], &[22, 0x1a]].concat();
    body.extend_from_slice(&(1u32 << bit).to_be_bytes());
    body
}

#[test]
fn a_snapshot_that_needs_an_unknown_feature_is_hidden_and_reported_and_the_others_are_there() {
    let (lab, store, good) = repository();
    let truth = Truth::read(&lab.source());
    let (sealer, repo) = (lab.sealer(store.as_ref()), lab.open_in(store.clone()));
    let body = with_feature(&manifest::encode(&find(&repo, &good).manifest), 22);
    let object = sealer.seal(ObjectType::Manifest, body).unwrap();
    let newer = SnapshotId::new(hash::digest(&object));
    store.put_new(&ObjectName::snapshot(&newer), &object).unwrap();
    store.put_new(&ObjectName::snapshot(&newer).mirror(), &object).unwrap();
    // With the memory of an earlier look and without.
    for _ in 0..2 {
        let (heard, repo) = (Heard::default(), lab.open_in(store.clone()));
        let listed: Vec<SnapshotId> = repo.snapshots(&heard).unwrap().iter().map(|found| found.id).collect();
        assert_eq!(listed, [good]);
        let warnings = heard.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(warnings[0].kind, WarningKind::NewerSnapshot);
        assert!(warnings[0].message.contains(&newer.short()), "{}", warnings[0].message);
        truth.assert_same(&lab.restore(&repo, &good).truth(), "the snapshot beside it");
        drop(repo);
        lab.delete_cache();
    }
    let id = lab.snapshot(&lab.open_in(store.clone())).id;
    assert_eq!(lab.open_in(store).snapshots(&Silent).unwrap().len(), 2, "a snapshot after {}", id.short());
}
