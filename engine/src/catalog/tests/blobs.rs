//! Blobs and packs.

use super::*;

fn catalog() -> Catalog {
    Catalog::open(None, &REPO, KEY).unwrap().0
}

#[test]
fn a_copy_tells_all_that_is_needed_to_read_it() {
    let catalog = catalog();
    let record = pack(1, vec![entry(10, 0), entry(11, 2), entry(12, 0)]);
    catalog.add_packs(std::slice::from_ref(&record)).unwrap();
    let mut offset = 52;
    for (ordinal, entry) in (0..).zip(&record.entries) {
        let header = [1; 52];
        let (pack, pack_size) = (record.pack, record.size);
        let copy = BlobCopy { pack, pack_size, header, offset, ordinal, entry: entry.clone() };
        assert_eq!(catalog.copies(entry.kind, &entry.id).unwrap(), [copy]);
        assert!(catalog.contains(entry.kind, &entry.id).unwrap());
        offset += entry.sealed_len;
    }
    for (kind, id) in [(BlobKind::TreePage, blob_id(10)), (BlobKind::Data, blob_id(99))] {
        assert!(catalog.copies(kind, &id).unwrap().is_empty());
        assert!(!catalog.contains(kind, &id).unwrap());
    }
}

#[test]
fn copies_come_least_deep_first_and_one_pack_may_hold_several() {
    let catalog = catalog();
    catalog
        .add_packs(&[pack(1, vec![entry(5, 9), entry(5, 3)]), pack(2, vec![entry(5, 4), entry(5, 0)])])
        .unwrap();
    catalog.add_packs(&[pack(3, vec![entry(5, 1)])]).unwrap();
    let copies = catalog.copies(BlobKind::TreePage, &blob_id(5)).unwrap();
    let places: Vec<_> =
        copies.iter().map(|c| (c.entry.depth, c.pack.as_bytes()[0], c.ordinal, c.offset)).collect();
    assert_eq!(places, [(0, 2, 1, 157), (1, 3, 0, 52), (3, 1, 1, 157), (4, 2, 0, 52), (9, 1, 0, 52)]);
}

#[test]
fn packs_are_taken_once_however_often_they_are_listed() {
    let catalog = catalog();
    let (one, two) = (pack(1, vec![entry(1, 0), entry(2, 0)]), pack(2, vec![entry(3, 0)]));
    catalog.add_packs(std::slice::from_ref(&one)).unwrap();
    assert!(catalog.known_indexes().unwrap().is_empty());
    catalog.add_index(&IndexId::new([1; 32]), &[one.clone(), two.clone(), one.clone()]).unwrap();
    catalog.add_index(&IndexId::new([2; 32]), &[two.clone(), one.clone()]).unwrap();
    catalog.add_index(&IndexId::new([2; 32]), &[]).unwrap();
    assert_eq!(catalog.blob_count().unwrap(), 3);
    assert_eq!(
        catalog.known_indexes().unwrap(),
        HashSet::from([IndexId::new([1; 32]), IndexId::new([2; 32])])
    );
    assert_eq!(catalog.known_packs().unwrap(), HashSet::from([one.pack, two.pack]));
    assert_eq!(catalog.copies(BlobKind::Secret, &blob_id(3)).unwrap().len(), 1);
    let runs = ClassTotals { packs: 1, pack_bytes: one.size, blobs: 2, plain_bytes: 2003, sealed_bytes: 203 };
    assert_eq!(catalog.totals(PackClass::Runs).unwrap(), runs);
    assert_eq!(catalog.totals(PackClass::Media).unwrap(), ClassTotals::default());
    catalog.clear_blobs().unwrap();
    assert_eq!(catalog.blob_count().unwrap(), 0);
    assert!(catalog.known_indexes().unwrap().is_empty() && catalog.known_packs().unwrap().is_empty());
    assert!(!catalog.contains(BlobKind::Secret, &blob_id(3)).unwrap());
}

#[test]
fn a_pack_whose_blobs_pass_its_end_is_damage_and_nothing_is_added() {
    let catalog = catalog();
    let mut long = pack(1, vec![entry(1, 0), entry(2, 0)]);
    long.entries[1].sealed_len = u32::MAX;
    let mut short = pack(2, vec![entry(3, 0)]);
    short.size = 154;
    let mut endless = pack(3, vec![]);
    endless.size = u64::MAX;
    for bad in [long, short] {
        let e = catalog.add_index(&IndexId::new([1; 32]), &[pack(4, vec![entry(4, 0)]), bad]).unwrap_err();
        assert_eq!(e.kind(), Kind::Damaged);
    }
    assert_eq!(catalog.add_packs(&[endless]).unwrap_err().kind(), Kind::Catalog);
    assert!(catalog.known_packs().unwrap().is_empty() && catalog.known_indexes().unwrap().is_empty());
    assert!(!catalog.contains(BlobKind::Data, &blob_id(4)).unwrap());
}

#[test]
fn threads_share_a_catalog() {
    let (_dir, home) = folder();
    let catalog = open(&home);
    std::thread::scope(|scope| {
        for number in 0..8u8 {
            let catalog = &catalog;
            scope.spawn(move || {
                catalog.add_packs(&[pack(number, vec![entry(u32::from(number) * 4, 0)])]).unwrap();
                assert!(catalog.contains(BlobKind::Data, &blob_id(u32::from(number) * 4)).unwrap());
            });
        }
    });
    assert_eq!(catalog.blob_count().unwrap(), 8);
}
