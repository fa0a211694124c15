//! Stat memory.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn row(folder: &str, bytes: &[u8]) -> (StoredPath, Vec<u8>) {
    (path(folder), bytes.to_vec())
}

#[test]
fn a_removed_folder_goes_with_all_below_it_and_nothing_beside_it() {
    let catalog = Catalog::open(None, &REPO, KEY).unwrap().0;
    assert_eq!(catalog.memory_open(&SOURCE).unwrap(), None);
    let folders = ["/", "/a", "/a/b", "/a/b/c", "/a/b.", "/a/b0", "/a/ba", "/a!", "/b"];
    let rows: Vec<_> = folders.iter().map(|folder| row(folder, folder.as_bytes())).collect();
    assert!(catalog.memory_commit(&SOURCE, None, snapshot(1), rows, vec![]).unwrap());
    let changed = vec![row("/a/b/new", b"new"), row("/b", b"changed")];
    assert!(
        catalog.memory_commit(&SOURCE, Some(snapshot(1)), snapshot(2), changed, vec![path("/a/b")]).unwrap()
    );
    let read = |folder: &str| catalog.memory_row(&SOURCE, &path(folder)).unwrap();
    for kept in ["/", "/a", "/a/b.", "/a/b0", "/a/ba", "/a!"] {
        assert_eq!(read(kept).as_deref(), Some(kept.as_bytes()), "{kept}");
    }
    assert_eq!((read("/a/b"), read("/a/b/c")), (None, None));
    assert_eq!((read("/a/b/new"), read("/b")), (Some(b"new".to_vec()), Some(b"changed".to_vec())));
    assert!(catalog.memory_commit(&SOURCE, Some(snapshot(2)), snapshot(3), vec![], vec![path("/")]).unwrap());
    assert!(folders.iter().all(|folder| read(folder).is_none()));
    assert_eq!(catalog.memory_open(&SOURCE).unwrap(), Some(snapshot(3)));
}

#[test]
fn sources_do_not_mix_and_clearing_forgets_one() {
    let catalog = Catalog::open(None, &REPO, KEY).unwrap().0;
    let other = [7; 32];
    for (source, text) in [(SOURCE, b"one"), (other, b"two")] {
        assert!(catalog.memory_commit(&source, None, snapshot(1), vec![row("/a", text)], vec![]).unwrap());
    }
    assert_eq!(catalog.memory_row(&SOURCE, &path("/a")).unwrap().unwrap(), b"one");
    assert_eq!(catalog.memory_row(&other, &path("/a")).unwrap().unwrap(), b"two");
    catalog.memory_clear(&SOURCE).unwrap();
    assert_eq!(catalog.memory_open(&SOURCE).unwrap(), None);
    assert_eq!(catalog.memory_row(&SOURCE, &path("/a")).unwrap(), None);
    assert_eq!(catalog.memory_row(&other, &path("/a")).unwrap().unwrap(), b"two");
}

#[test]
fn who_commits_second_writes_nothing_and_reads_no_foreign_row() {
    let (_dir, home) = folder();
    let (first, second) = (open(&home), open(&home));
    assert!(first.memory_commit(&SOURCE, None, snapshot(1), vec![row("/a", b"1")], vec![]).unwrap());
    assert_eq!(second.memory_row(&SOURCE, &path("/a")).unwrap(), None, "it was not opened");
    assert_eq!(second.memory_open(&SOURCE).unwrap(), Some(snapshot(1)));
    assert_eq!(second.memory_row(&SOURCE, &path("/a")).unwrap().unwrap(), b"1");
    assert!(
        first.memory_commit(&SOURCE, Some(snapshot(1)), snapshot(2), vec![row("/a", b"2")], vec![]).unwrap()
    );
    assert_eq!(second.memory_row(&SOURCE, &path("/a")).unwrap(), None);
    for expected in [Some(snapshot(1)), Some(snapshot(3)), None] {
        let rows = vec![row("/a", b"3"), row("/b", b"3")];
        assert!(!second.memory_commit(&SOURCE, expected, snapshot(3), rows, vec![path("/")]).unwrap());
    }
    assert_eq!(first.memory_row(&SOURCE, &path("/a")).unwrap().unwrap(), b"2");
    assert_eq!(first.memory_row(&SOURCE, &path("/b")).unwrap(), None);
    assert_eq!(second.memory_open(&SOURCE).unwrap(), Some(snapshot(2)));
    assert_eq!(second.memory_row(&SOURCE, &path("/a")).unwrap().unwrap(), b"2");
}

#[test]
fn of_many_commits_upon_one_state_one_wins() {
    let (_dir, home) = folder();
    drop(open(&home));
    let won = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u8)
            .map(|number| {
                let home = &home;
                scope.spawn(move || {
                    let rows = vec![row("/a", &[number; 100_000])];
                    open(home).memory_commit(&SOURCE, None, snapshot(number), rows, vec![]).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let catalog = open(&home);
    let winner = won.iter().position(|won| *won).unwrap() as u8;
    assert_eq!(catalog.memory_open(&SOURCE).unwrap(), Some(snapshot(winner)));
    assert_eq!(catalog.memory_row(&SOURCE, &path("/a")).unwrap().unwrap(), [winner; 100_000]);
}

#[test]
fn large_rows_are_kept_and_too_large_ones_are_not() {
    let catalog = Catalog::open(None, &REPO, KEY).unwrap().0;
    let large = vec![7; 3_000_000];
    let rows = vec![row("/large", &large), row("/too large", b"small")];
    assert!(catalog.memory_commit(&SOURCE, None, snapshot(1), rows, vec![]).unwrap());
    let rows = vec![(path("/too large"), vec![0; schema::MAX_ROW + 1])];
    assert!(catalog.memory_commit(&SOURCE, Some(snapshot(1)), snapshot(2), rows, vec![]).unwrap());
    assert_eq!(catalog.memory_row(&SOURCE, &path("/large")).unwrap().unwrap(), large);
    assert_eq!(catalog.memory_row(&SOURCE, &path("/too large")).unwrap(), None);
}

type Step = (Vec<(StoredPath, Vec<u8>)>, Vec<StoredPath>);

fn any_path() -> impl Strategy<Value = StoredPath> {
    prop::collection::vec("[ab!/0.\\xff]{1,2}", 0..4)
        .prop_map(|parts| path(&parts.join("/").replace("..", "c")))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let changed = prop::collection::vec((any_path(), prop::collection::vec(any::<u8>(), 0..9)), 0..8);
    prop::collection::vec((changed, prop::collection::vec(any_path(), 0..3)), 1..6)
}

proptest! {
    #[test]
    fn rows_are_those_of_a_plain_map(steps in steps(), asked in prop::collection::vec(any_path(), 8)) {
        let catalog = Catalog::open(None, &REPO, KEY).unwrap().0;
        let mut model = BTreeMap::new();
        let mut head = None;
        for (number, (changed, removed)) in (1..).zip(steps) {
            model.retain(|folder: &StoredPath, _| !removed.iter().any(|gone| folder.is_within(gone)));
            model.extend(changed.iter().cloned());
            prop_assert!(catalog.memory_commit(&SOURCE, head, snapshot(number), changed, removed).unwrap());
            head = Some(snapshot(number));
            for folder in asked.iter().chain(model.keys()) {
                let found = catalog.memory_row(&SOURCE, folder).unwrap();
                prop_assert_eq!(found.as_ref(), model.get(folder));
            }
        }
    }
}
