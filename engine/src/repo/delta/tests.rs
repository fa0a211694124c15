//! Chains of versions: how deep they get, that they come back, and what becomes of them when something under them goes.

use super::*;
use crate::base::event::Silent;
use crate::base::{Kind, PackId, hash};
use crate::catalog::Catalog;
use crate::crypto::Credential;
use crate::format::pack::{PackedBlob, assemble};
use crate::model::{BlobEntry, CodecTag, PackClass, PackRecord};
use crate::repo::commit::Rest;
use crate::repo::testing::{create, session};
use crate::repo::writer::{Fate, Offer, Packing, RunWriter};
use crate::store::{MemoryStore, ObjectName, Operation, RecordingStore, Store};
use std::collections::HashSet;
use std::sync::Arc;

const RUN: usize = 64 << 10;

fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    hash::derive_bytes("chatvault test data", &[&seed.to_le_bytes()], &mut bytes);
    bytes
}

struct Lab {
    store: Arc<MemoryStore>,
    repo: Repo,
    key: Credential,
}

impl Lab {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let (repo, key) = create(Arc::clone(&store) as Arc<dyn Store>, session(None));
        Self { store, repo, key }
    }

    /// The repository as another machine sees it now.
    fn elsewhere(&self) -> Repo {
        Repo::open(Arc::clone(&self.store) as Arc<dyn Store>, &self.key, session(None), &Silent).unwrap()
    }

    /// Stores a blob that takes the place of another one, and says what became of it.
    fn put(&self, repo: &Repo, plain: &[u8], previous: Option<BlobId>) -> (BlobId, Option<BlobEntry>) {
        let offer = Offer { kind: BlobKind::Data, class: PackClass::Runs, packing: Packing::Tried, previous };
        let (id, packs, _) = RunWriter::run(repo, Fate::Stored, |writer| {
            writer.put(offer, plain.to_vec(), writer.reserve(plain.len())?)
        })
        .unwrap();
        let entry = packs.iter().flat_map(|pack| &pack.entries).next().cloned();
        repo.write_indexes(packs, Rest::OnStored).unwrap();
        (id, entry)
    }

    /// Versions of a run, each a little different from the one before.
    fn versions(&self, count: u32) -> Vec<(BlobId, BlobEntry, Vec<u8>)> {
        let mut plain = noise(0, RUN);
        let mut versions: Vec<(BlobId, BlobEntry, Vec<u8>)> = Vec::new();
        for n in 0..count {
            let at = n as usize * 131 % (RUN - 200);
            plain[at..at + 200].copy_from_slice(&noise(n + 1, 200));
            let previous = versions.last().map(|(id, ..)| *id);
            let (id, entry) = self.put(&self.repo, &plain, previous);
            versions.push((id, entry.unwrap(), plain.clone()));
        }
        versions
    }
}

#[test]
fn the_base_of_a_generation_skips_over_its_trailing_zeroes() {
    let bases: Vec<u16> = [1, 2, 7, 8, 9, 15, 16, 63, 64, 65, 72, 128, 192, 255].map(base_generation).into();
    assert_eq!(bases, [0, 1, 6, 7, 8, 14, 0, 62, 48, 64, 71, 64, 128, 254]);
    for generation in 1..MOST_GENERATIONS {
        let (mut at, mut steps) = (generation, 0);
        while at > 0 {
            at = base_generation(at);
            steps += 1;
        }
        let digits = match generation {
            0..128 => generation % 16 + generation / 16,
            // From there on by eights down to 64, which by sixteens is four.
            _ => generation % 8 + generation / 8 % 8 + (generation / 64 - 1) + 4,
        };
        assert_eq!(steps, digits, "{generation}");
    }
}

#[test]
fn three_hundred_versions_come_back_and_none_is_deeper_than_sixteen() {
    let lab = Lab::new();
    let versions = lab.versions(300);
    let elsewhere = lab.elsewhere();
    for (n, (id, entry, plain)) in versions.iter().enumerate() {
        assert!(elsewhere.read_blob(BlobKind::Data, id).unwrap() == *plain, "version {n}");
        assert_eq!(usize::from(entry.generation), n % 256, "full again after 255 deltas");
        assert_eq!(entry.base.is_none(), n % 256 == 0);
        assert!(entry.depth <= MOST_DEPTH);
        assert_eq!((entry.sealed_len as usize) < RUN / 3, entry.base.is_some(), "version {n}");
    }
    assert_eq!(versions.iter().map(|(_, entry, _)| entry.depth).max(), Some(MOST_DEPTH));
    // 127 = 7 * 16 + 15 would be 22 deep.
    assert_eq!(versions[127].1.depth, MOST_DEPTH);
    let base = |n: usize| versions[n].1.base;
    assert_eq!(base(9), Some(versions[8].0));
    assert_eq!(base(16), Some(versions[0].0));
    assert_eq!(base(64), Some(versions[48].0));
    assert_eq!(base(128), Some(versions[64].0));
}

#[test]
fn a_run_whose_bases_are_lost_before_its_index_is_written_fails() {
    let lab = Lab::new();
    let versions = lab.versions(2);
    let (base, plain) = (versions[1].0, &versions[1].2);
    let next = [&plain[..RUN - 50], &noise(9, 50)].concat();
    let offer =
        Offer { kind: BlobKind::Data, class: PackClass::Runs, packing: Packing::Tried, previous: Some(base) };
    let (_, packs, _) = RunWriter::run(&lab.repo, Fate::Stored, |writer| {
        writer.put(offer, next.clone(), writer.reserve(next.len())?)
    })
    .unwrap();
    assert!(packs[0].entries[0].base.is_some(), "it rests on something");
    // Another program with the same catalog finds out that all packs are lost.
    let known: Vec<_> = lab.repo.with_catalog(Catalog::known_packs).unwrap().into_iter().collect();
    lab.repo.with_catalog(|catalog| catalog.drop_packs(&known)).unwrap();
    let failure = lab.repo.write_indexes(packs.clone(), Rest::OnStored).unwrap_err();
    assert_eq!(failure.kind(), Kind::Damaged);
    // The next run stores it anew, and what was found by chance harms nobody.
    lab.repo.write_indexes(packs, Rest::OnAnything).unwrap();
    let (id, entry) = lab.put(&lab.repo, &next, Some(base));
    assert!(entry.is_some_and(|entry| entry.base.is_none()));
    assert!(lab.repo.read_blob(BlobKind::Data, &id).unwrap() == next);
}

#[test]
fn what_resembles_nothing_is_stored_full() {
    let lab = Lab::new();
    let (first, _) = lab.put(&lab.repo, &noise(1, RUN), None);
    let (_, other) = lab.put(&lab.repo, &noise(2, RUN), Some(first));
    assert_eq!(other.unwrap().codec, CodecTag::Raw);
    // Half of it is new: 50 % are saved; three quarters: 25 %.
    let mixed = |new: usize| [noise(3, RUN * new / 4), noise(1, RUN)[RUN * new / 4..].to_vec()].concat();
    assert_eq!(lab.put(&lab.repo, &mixed(2), Some(first)).1.unwrap().codec, CodecTag::ZstdDelta);
    assert_eq!(lab.put(&lab.repo, &mixed(3), Some(first)).1.unwrap().codec, CodecTag::Raw);
    let missing = BlobId::new([9; 32]);
    assert_eq!(lab.put(&lab.repo, &noise(4, RUN), Some(missing)).1.unwrap().codec, CodecTag::Raw);
}

#[test]
fn what_lost_its_base_is_not_present_and_is_stored_again() {
    let lab = Lab::new();
    let versions = lab.versions(12);
    let pack_of = |n: usize| lab.repo.catalog().copies(BlobKind::Data, &versions[n].0).unwrap()[0].pack;
    let lost = pack_of(8);
    lab.store.delete(&ObjectName::pack(&lost)).unwrap();
    lab.repo.miss(vec![lost]).unwrap();
    // Each rests on the one before.
    let is_there = |repo: &Repo, n: usize| {
        repo.with_catalog(|catalog| catalog.contains(BlobKind::Data, &versions[n].0)).unwrap()
    };
    for (n, (id, ..)) in versions.iter().enumerate() {
        assert_eq!(is_there(&lab.repo, n), n < 8, "version {n}");
        assert_eq!(lab.repo.read_blob(BlobKind::Data, id).is_ok(), n < 8, "version {n}");
    }
    let (_, entry) = lab.put(&lab.repo, &versions[10].2, Some(versions[9].0));
    assert_eq!(entry.unwrap().base, None, "nothing may rest on what is lost");
    assert!(is_there(&lab.repo, 10) && !is_there(&lab.repo, 9));
    // To a machine that sees all of it anew, version 11 rests on the new copy.
    let elsewhere = lab.elsewhere();
    elsewhere.miss(vec![lost]).unwrap();
    assert!(is_there(&elsewhere, 10) && is_there(&elsewhere, 11) && !is_there(&elsewhere, 9));
    assert!(elsewhere.read_blob(BlobKind::Data, &versions[11].0).unwrap() == versions[11].2);
    assert!(lab.repo.read_blob(BlobKind::Data, &versions[10].0).unwrap() == versions[10].2);
}

#[test]
fn an_index_without_the_bases_makes_nothing_present() {
    let lab = Lab::new();
    let versions = lab.versions(3);
    // The index object that names the pack of the first version is lost, with its pack.
    let first = lab.repo.catalog().copies(BlobKind::Data, &versions[0].0).unwrap()[0].pack;
    lab.store.delete(&ObjectName::pack(&first)).unwrap();
    for info in lab.store.list("index").unwrap().objects {
        let object = lab.store.get(&info.name, 1 << 20).unwrap();
        let body = lab.repo.sealer.open(crate::crypto::ObjectType::Index, &object, "index").unwrap();
        if crate::format::index::Index::decode(&body).unwrap().packs.iter().any(|pack| pack.pack == first) {
            lab.store.delete(&info.name).unwrap();
        }
    }
    let elsewhere = lab.elsewhere();
    for (id, ..) in &versions {
        assert!(!elsewhere.with_catalog(|catalog| catalog.contains(BlobKind::Data, id)).unwrap());
    }
    assert_eq!(elsewhere.with_catalog(|catalog| catalog.known_packs()).unwrap().len(), 2);
}

/// Drops copies as a prune may: of each blob the copy of least depth stays, or (known bad) the deepest one.
fn drop_copies(repo: &Repo, blobs: &[BlobId], keep_least: bool) {
    let catalog = repo.catalog();
    let copies = |id| catalog.copies(BlobKind::Data, id).unwrap();
    let kept = |id| if keep_least { copies(id).remove(0).pack } else { copies(id).pop().unwrap().pack };
    let kept: HashSet<PackId> = blobs.iter().map(kept).collect();
    let all: HashSet<PackId> = blobs.iter().flat_map(copies).map(|copy| copy.pack).collect();
    let dropped: Vec<PackId> = all.difference(&kept).copied().collect();
    assert_eq!(dropped.len(), 2);
    catalog.drop_packs(&dropped).unwrap();
}

/// Two plaintexts that differ little.
fn two_alike() -> [Vec<u8>; 2] {
    let (x, mut y) = (noise(1, RUN), noise(1, RUN));
    y[500..700].copy_from_slice(&noise(2, 200));
    [x, y]
}

#[test]
fn two_writers_that_store_x_against_y_and_y_against_x_lose_neither() {
    for keep_least in [true, false] {
        let lab = Lab::new();
        let [x, y] = two_alike();
        // Each knows one of them only, and stores the other one against it.
        let (one, other) = (lab.elsewhere(), lab.elsewhere());
        let (x_id, _) = lab.put(&one, &x, None);
        let (y_id, _) = lab.put(&other, &y, None);
        assert_eq!(lab.put(&one, &y, Some(x_id)).1.unwrap().base, Some(x_id));
        assert_eq!(lab.put(&other, &x, Some(y_id)).1.unwrap().base, Some(y_id));
        let pruned = lab.elsewhere();
        let copies = |id| pruned.catalog().copies(BlobKind::Data, id).unwrap().len();
        assert_eq!((copies(&x_id), copies(&y_id)), (2, 2));
        drop_copies(&pruned, &[x_id, y_id], keep_least);
        let reads = |id, plain: &Vec<u8>| {
            pruned.with_catalog(|c| c.contains(BlobKind::Data, id)).unwrap()
                && pruned.read_blob(BlobKind::Data, id).unwrap() == *plain
        };
        assert_eq!(reads(&x_id, &x) && reads(&y_id, &y), keep_least, "the deeper copies alone are a circle");
    }
}

#[test]
fn a_base_that_cannot_be_read_is_named_and_nothing_new_rests_on_it() {
    let lab = Lab::new();
    let versions = lab.versions(2);
    let pack = lab.repo.catalog().copies(BlobKind::Data, &versions[0].0).unwrap()[0].pack;
    let name = ObjectName::pack(&pack);
    let mut file = lab.store.get(&name, 1 << 20).unwrap();
    file[100] ^= 1;
    lab.store.delete(&name).unwrap();
    lab.store.put_new(&name, &file).unwrap();
    let error = lab.repo.read_blob(BlobKind::Data, &versions[1].0).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    let text = error.full_text();
    assert!(text.contains(&versions[1].0.short()) && text.contains(&versions[0].0.short()), "{text}");
    let (_, entry) = lab.put(&lab.repo, &noise(77, RUN), Some(versions[1].0));
    assert_eq!(entry.unwrap().base, None);
}

#[test]
fn a_chain_of_which_every_first_copy_is_lost_is_read_from_the_second_ones() {
    const LENGTH: u32 = 14;
    let lab = Lab::new();
    // Two machines store the same versions, and neither knows of the other's.
    let (one, other) = (lab.elsewhere(), lab.elsewhere());
    let mut plain = noise(0, RUN);
    let mut ids: Vec<BlobId> = Vec::new();
    for n in 0..LENGTH {
        let at = n as usize * 131;
        plain[at..at + 100].copy_from_slice(&noise(n + 1, 100));
        let previous = ids.last().copied();
        let (id, _) = lab.put(&one, &plain, previous);
        assert_eq!(lab.put(&other, &plain, previous).0, id);
        ids.push(id);
    }
    let store = Arc::new(RecordingStore::new(Arc::clone(&lab.store)));
    let repo = Repo::open(Arc::clone(&store) as Arc<dyn Store>, &lab.key, session(None), &Silent).unwrap();
    for id in &ids {
        let copies = repo.catalog().copies(BlobKind::Data, id).unwrap();
        assert_eq!(copies.len(), 2);
        lab.store.delete(&ObjectName::pack(&copies[0].pack)).unwrap();
    }
    assert_eq!(repo.catalog().copies(BlobKind::Data, &ids[13]).unwrap()[0].entry.depth, 13);
    store.clear();
    assert!(repo.read_blob(BlobKind::Data, &ids[13]).unwrap() == plain);
    let reads = store.calls().iter().filter(|call| call.operation == Operation::GetRange).count();
    // Twice for each step down, all the way, would be more than 16,000.
    assert!(reads <= (LENGTH * LENGTH) as usize, "{reads}");
}

/// Copies of a blob whose seal is right and whose content is another one, as a faulty machine may write them.
#[test]
fn a_base_that_only_its_seal_vouches_for_gives_way_to_another_copy() {
    for has_another in [true, false] {
        let lab = Lab::new();
        let [x, y] = two_alike();
        let one = lab.elsewhere();
        let (id, entry) = lab.put(&one, &x, None);
        let (delta, _) = lab.put(&one, &y, Some(id));
        // The false copy comes first, as both are full ones: only packs' names decide.
        let good = one.catalog().copies(BlobKind::Data, &id).unwrap()[0].pack;
        let entry = entry.unwrap();
        let false_pack = loop {
            let blob = PackedBlob { entry: entry.clone(), bytes: noise(5, RUN) };
            let (record, file) = assemble(&lab.repo.sealer, PackClass::Runs, vec![blob], false).unwrap();
            if record.pack < good {
                lab.store.put_new(&ObjectName::pack(&record.pack), &file).unwrap();
                break record;
            }
        };
        one.write_indexes(vec![false_pack], Rest::OnAnything).unwrap();
        if !has_another {
            lab.store.delete(&ObjectName::pack(&good)).unwrap();
        }
        let reader = lab.elsewhere();
        let copies = reader.catalog().copies(BlobKind::Data, &id).unwrap();
        assert_eq!((copies.len(), copies[0].pack < good), (2, true), "the false one is tried first");
        let read = reader.read_blob(BlobKind::Data, &delta);
        if has_another {
            assert!(read.unwrap() == y);
        } else {
            let error = read.unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged);
            assert!(error.full_text().contains(&id.short()), "{}", error.full_text());
            assert!(reader.is_lost(BlobKind::Data, &id), "the base is what is lost");
        }
    }
}

/// An index in which every blob has two copies, each a delta against the one below, down to one that is not there.
#[test]
fn a_hostile_index_costs_no_more_than_its_depth() {
    let lab = Lab::new();
    let id = |n: u8| BlobId::new([n; 32]);
    let mut entries = Vec::new();
    for depth in 1..=60 {
        for _ in 0..2 {
            entries.push(BlobEntry {
                kind: BlobKind::Data,
                id: id(depth),
                codec: CodecTag::ZstdDelta,
                plain_len: 100,
                sealed_len: 100,
                base: Some(id(depth - 1)),
                depth,
                generation: 1,
            });
        }
    }
    let full = BlobEntry {
        id: id(0),
        codec: CodecTag::Zstd,
        base: None,
        depth: 0,
        generation: 0,
        ..entries[0].clone()
    };
    entries.push(full);
    let header = lab.repo.sealer.new_header(crate::crypto::ObjectType::Pack).unwrap().encode();
    let record = PackRecord {
        pack: PackId::new([5; 32]),
        size: 1 << 20,
        header,
        class: PackClass::Runs,
        padding: 0,
        entries,
    };
    lab.repo.catalog().add_packs(&[record]).unwrap();
    // Without a limit this would take 2^60 attempts.
    let error = lab.repo.read_blob(BlobKind::Data, &id(60)).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
}
