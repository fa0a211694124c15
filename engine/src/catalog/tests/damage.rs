//! Altered catalogs: no wrong answer where it would do harm, and no panic.

use super::*;

fn bytes_of(home: &Path, file: &str) -> Vec<u8> {
    fs::read(home.join(file)).unwrap()
}

/// A fresh folder with these files.
fn folder_with(files: &[(&str, &[u8])]) -> (TempDir, std::path::PathBuf) {
    let (dir, home) = folder();
    fs::create_dir_all(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    for (name, bytes) in files {
        fs::write(home.join(name), bytes).unwrap();
    }
    (dir, home)
}

/// The answer if there is one; every failure must be the catalog's.
fn answer<T>(result: Result<T>, errors: &mut usize) -> Option<T> {
    result.inspect_err(|e| assert_eq!(e.kind(), Kind::Catalog, "{e:?}")).inspect_err(|_| *errors += 1).ok()
}

/// Uses everything of a catalog that was filled and altered; returns the number of failures.
fn use_all(catalog: &Catalog) -> usize {
    let errors = &mut 0;
    for number in 0..130 {
        let right = entry(number, (number % 3) as u8);
        let pack = PackId::new([(number / 40) as u8; 32]);
        for copy in answer(catalog.copies(right.kind, &right.id), errors).into_iter().flatten() {
            assert!(
                number < 120
                    && copy.entry == right
                    && copy.pack == pack
                    && copy.header == [pack.as_bytes()[0]; 52]
            );
            assert_eq!(copy.ordinal, number % 40);
        }
        assert!(number < 120 || answer(catalog.contains(right.kind, &right.id), errors) != Some(true));
    }
    for number in 0..5 {
        let bytes = answer(catalog.manifest(&snapshot(number)), errors).flatten();
        assert!(bytes.is_none_or(|bytes| bytes == [number; 900]));
    }
    let head = answer(catalog.memory_open(&SOURCE), errors).flatten();
    assert!(head.is_none_or(|head| head == snapshot(4)));
    for number in 0..45 {
        let row = answer(catalog.memory_row(&SOURCE, &path(&format!("/folder/{number}"))), errors).flatten();
        assert!(row.is_none_or(|row| number < 40 && row == row_of(number)), "row {number}");
    }
    let writer = answer(catalog.writer(), errors).flatten();
    assert!(writer.is_none_or(|writer| writer == (WriterId::new([5; 16]), 17, Some([6; 32]))));
    let packs = answer(catalog.known_packs(), errors).unwrap_or_default();
    assert!(
        packs.iter().all(|pack| pack.as_bytes()[0] < 3 && *pack == PackId::new([pack.as_bytes()[0]; 32]))
    );
    assert!(answer(catalog.prune_epoch(), errors).is_none_or(|epoch| epoch == 3 || epoch == 0));
    answer(catalog.known_indexes(), errors);
    *errors
}

/// Writes into an altered catalog.
fn write_all(catalog: &Catalog) {
    let errors = &mut 0;
    answer(catalog.add_index(&IndexId::new([8; 32]), &[pack(7, vec![entry(500, 0)])]), errors);
    answer(catalog.put_manifest(&snapshot(9), b"nine"), errors);
    let head = catalog.memory_open(&SOURCE).unwrap_or_default();
    let rows = vec![(path("/folder/3"), b"new".to_vec())];
    answer(catalog.memory_commit(&SOURCE, head, snapshot(9), rows, vec![path("/folder/5")]), errors);
    answer(catalog.forget_manifests_except(&HashSet::new()), errors);
    answer(catalog.set_writer(&WriterId::new([4; 16]), 1, None), errors);
    answer(catalog.clear_blobs(), errors);
}

/// What became of an altered catalog.
#[derive(Default, Debug)]
struct Outcomes {
    rebuilt: usize,
    failed: usize,
    quiet: usize,
}

fn try_altered(files: &[(&str, &[u8])], outcomes: &mut Outcomes) {
    let (_dir, home) = folder_with(files);
    let (catalog, why) = Catalog::open(Some(&home), &REPO, KEY).unwrap();
    assert!(!catalog.is_in_memory(), "{why:?}");
    let errors = use_all(&catalog);
    match (why, errors) {
        (Some(_), errors) => {
            assert_eq!((errors, catalog.blob_count().unwrap()), (0, 0));
            outcomes.rebuilt += 1;
        }
        (None, 0) => outcomes.quiet += 1,
        (None, _) => outcomes.failed += 1,
    }
    write_all(&catalog);
    catalog.destroy().unwrap();
    assert_eq!(open(&home).blob_count().unwrap(), 0);
}

#[test]
fn flipped_bytes_in_any_page_give_no_wrong_answer() {
    let (_dir, home) = folder();
    fill(&open(&home));
    assert!(!home.join("catalog.sqlite-wal").exists(), "a clean end leaves no log");
    let pristine = bytes_of(&home, "catalog.sqlite");
    assert!(pristine.len() >= 20 * 4096);
    let mut outcomes = Outcomes::default();
    for (number, page) in (0..pristine.len()).step_by(4096).enumerate() {
        for (at, mask) in
            [(0, 0xff), (3 + number % 9, 1), (100 + number * 37 % 3900, 0x10), (4000 + number % 90, 0xff)]
        {
            let mut altered = pristine.clone();
            altered[page + at] ^= mask;
            try_altered(&[("catalog.sqlite", &altered)], &mut outcomes);
        }
    }
    assert!(outcomes.rebuilt > 0 && outcomes.failed > 10 && outcomes.quiet > 10, "{outcomes:?}");
}

#[test]
fn zeroed_swapped_and_missing_pages_give_no_wrong_answer() {
    let (_dir, home) = folder();
    fill(&open(&home));
    let pristine = bytes_of(&home, "catalog.sqlite");
    let mut outcomes = Outcomes::default();
    for page in (0..pristine.len()).step_by(4096) {
        let mut zeroed = pristine.clone();
        zeroed[page..page + 4096].fill(0);
        try_altered(&[("catalog.sqlite", &zeroed)], &mut outcomes);
        let mut swapped = pristine.clone();
        swapped.copy_within(4096..8192, page);
        try_altered(&[("catalog.sqlite", &swapped)], &mut outcomes);
        try_altered(&[("catalog.sqlite", &pristine[..page + 1000])], &mut outcomes);
    }
    assert!(outcomes.rebuilt > 0 && outcomes.failed > 0, "{outcomes:?}");
}

/// Database and log of a filled catalog as a killed program leaves them.
fn killed() -> (Vec<u8>, Vec<u8>) {
    let (_dir, home) = folder();
    drop(open(&home));
    let catalog = open(&home);
    fill(&catalog);
    let files = (bytes_of(&home, "catalog.sqlite"), bytes_of(&home, "catalog.sqlite-wal"));
    assert!(!files.1.is_empty());
    files
}

#[test]
fn after_a_kill_everything_is_there() {
    let (database, log) = killed();
    let (_dir, home) = folder_with(&[("catalog.sqlite", &database), ("catalog.sqlite-wal", &log)]);
    let catalog = open(&home);
    assert_eq!(catalog.blob_count().unwrap(), 120);
    assert_eq!(use_all(&catalog), 0);
    assert_eq!(catalog.memory_open(&SOURCE).unwrap(), Some(snapshot(4)));
}

#[test]
fn after_a_kill_a_damaged_page_is_found_at_opening() {
    let (_dir, home) = folder();
    fill(&open(&home));
    let mut database = bytes_of(&home, "catalog.sqlite");
    let pages = database.len() / 4096;
    // A page of a table: its type becomes one that there is not.
    let table = (1..pages).find(|page| database[page * 4096] == 0x0d).unwrap();
    database[table * 4096] = 0x77;
    for (log, is_found) in [(&b""[..], false), (b"a log that is none", true)] {
        let (_dir, home) = folder_with(&[("catalog.sqlite", &database), ("catalog.sqlite-wal", log)]);
        let why = Catalog::open(Some(&home), &REPO, KEY).unwrap().1;
        assert_eq!(why.is_some_and(|why| why.contains("damaged")), is_found);
    }
}

#[test]
fn a_damaged_log_gives_no_wrong_answer() {
    let (database, log) = killed();
    let mut outcomes = Outcomes::default();
    for at in (0..log.len()).step_by(4099) {
        let mut altered = log.clone();
        altered[at] ^= 0x21;
        try_altered(&[("catalog.sqlite", &database), ("catalog.sqlite-wal", &altered)], &mut outcomes);
        try_altered(&[("catalog.sqlite", &database), ("catalog.sqlite-wal", &log[..at])], &mut outcomes);
    }
    assert!(outcomes.quiet > 0, "{outcomes:?}");
}

#[test]
fn rows_that_somebody_else_wrote_are_not_believed() {
    let (_dir, home) = folder();
    fill(&open(&home));
    let sql = "UPDATE memory SET path = x'2f782f' WHERE path = CAST('/folder/7/' AS BLOB);
               UPDATE memory SET bytes = x'00' WHERE path = CAST('/folder/8/' AS BLOB);
               UPDATE manifests SET bytes = x'00';
               UPDATE meta SET value = x'00' WHERE key IN ('writer', 'prune epoch');
               UPDATE blobs SET pack = 2 WHERE pack = 1;
               INSERT INTO blobs SELECT zeroblob(32), kind, pack, ordinal, copy FROM blobs LIMIT 1;";
    raw(&home).execute_batch(sql).unwrap();
    let catalog = open(&home);
    assert_eq!(catalog.memory_open(&SOURCE).unwrap(), Some(snapshot(4)));
    for gone in ["/x", "/folder/7", "/folder/8"] {
        assert_eq!(catalog.memory_row(&SOURCE, &path(gone)).unwrap(), None);
    }
    assert!(catalog.memory_row(&SOURCE, &path("/folder/9")).unwrap().is_some());
    assert_eq!(catalog.manifest(&snapshot(1)).unwrap(), None);
    assert_eq!((catalog.writer().unwrap(), catalog.prune_epoch().unwrap()), (None, 0));
    assert_eq!(catalog.copies(BlobKind::Data, &blob_id(0)).unwrap_err().kind(), Kind::Catalog);
    assert_eq!(catalog.contains(BlobKind::Data, &blob_id(0)).unwrap_err().kind(), Kind::Catalog);
    assert_eq!(catalog.contains(BlobKind::Data, &BlobId::new([0; 32])).unwrap_err().kind(), Kind::Catalog);
    assert_eq!(catalog.known_packs().unwrap().len(), 3);
    drop(catalog);
    raw(&home)
        .execute_batch("UPDATE packs SET size = size + 1; UPDATE sources SET snapshot = zeroblob(32)")
        .unwrap();
    let catalog = open(&home);
    assert_eq!(catalog.known_packs().unwrap_err().kind(), Kind::Catalog);
    assert_eq!(catalog.memory_open(&SOURCE).unwrap(), None);
    assert!(catalog.memory_commit(&SOURCE, None, snapshot(8), vec![], vec![]).unwrap());
    assert_eq!(
        catalog.memory_row(&SOURCE, &path("/folder/9")).unwrap(),
        None,
        "rows without a head are gone"
    );
}
