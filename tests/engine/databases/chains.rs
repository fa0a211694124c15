//! The chains of deltas, as the index objects in the store tell them: read without a catalog.

use chatvault_engine::base::BlobId;
use chatvault_engine::crypto::{Credential, ObjectType};
use chatvault_engine::format::index::{self, Index};
use chatvault_engine::model::{BlobEntry, BlobKind};
use chatvault_engine::store::Store;
use chatvault_tests::lab::sealer_of;
use std::collections::HashMap;

type Blob = (BlobKind, BlobId);

/// All copies of all blobs.
#[derive(Debug, Default)]
pub struct Chains {
    pub copies: HashMap<Blob, Vec<BlobEntry>>,
    pub deltas: u64,
    /// Copies that rest on nothing.
    pub full: u64,
    /// Bases that have to be read for the deepest blob, by its shortest way.
    pub deepest: u8,
}

/// Reads them. The bases are counted here: an entry may not say less of itself than that.
///
/// # Panics
/// Panics if an object cannot be read, if a way does not end, or if an entry is deeper than any may be.
pub fn read(store: &dyn Store, credential: &Credential) -> Chains {
    let sealer = sealer_of(store, credential);
    let mut chains = Chains::default();
    for info in store.list("index").unwrap().objects {
        let object = store.get(&info.name, index::MAX_LEN).unwrap();
        let body = sealer.open(ObjectType::Index, &object, "an index").unwrap();
        for entry in Index::decode(&body).unwrap().packs.into_iter().flat_map(|pack| pack.entries) {
            chains.copies.entry((entry.kind, entry.id)).or_default().push(entry);
        }
    }
    let depths = depths(&chains.copies);
    for (blob, copies) in &chains.copies {
        for copy in copies {
            assert!(
                copy.depth >= depths[blob] && copy.depth <= super::MOST_DEPTH,
                "{}: {copy:?}",
                depths[blob]
            );
            assert_eq!(copy.base.is_none(), copy.depth == 0 && copy.generation == 0, "{copy:?}");
            *if copy.base.is_none() { &mut chains.full } else { &mut chains.deltas } += 1;
        }
    }
    chains.deepest = depths.values().copied().max().unwrap_or(0);
    chains
}

/// How many bases each blob needs. From the full copies upwards, as no way that goes in a circle begins at one.
fn depths(copies: &HashMap<Blob, Vec<BlobEntry>>) -> HashMap<Blob, u8> {
    let mut depths: HashMap<Blob, u8> = HashMap::new();
    for depth in 0..=super::MOST_DEPTH {
        let below = |base: BlobId, kind| depths.get(&(kind, base)).is_some_and(|found| found + 1 == depth);
        let is_reached = |copy: &BlobEntry| copy.base.map_or(depth == 0, |base| below(base, copy.kind));
        let reached: Vec<Blob> = copies
            .iter()
            .filter(|(blob, copies)| !depths.contains_key(*blob) && copies.iter().any(is_reached))
            .map(|(blob, _)| *blob)
            .collect();
        depths.extend(reached.into_iter().map(|blob| (blob, depth)));
    }
    let lost: Vec<_> = copies.keys().filter(|blob| !depths.contains_key(*blob)).collect();
    assert!(lost.is_empty(), "they rest on nothing that is there, or on too much: {lost:?}");
    depths
}
