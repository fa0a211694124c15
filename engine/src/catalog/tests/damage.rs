//! Altered catalogs: noticed when they are opened; later no wrong answer where it would do harm, and no panic.

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
#[derive(Default, Debug, PartialEq, Eq)]
struct Outcomes {
    rebuilt: usize,
    failed: usize,
    quiet: usize,
}

impl Outcomes {
    fn count(&mut self, catalog: &Catalog, why: Option<String>) {
        assert!(!catalog.is_in_memory(), "{why:?}");
        let errors = use_all(catalog);
        match (why, errors) {
            (Some(_), errors) => {
                assert_eq!((errors, catalog.blob_count().unwrap()), (0, 0));
                self.rebuilt += 1;
            }
            (None, 0) => self.quiet += 1,
            (None, _) => self.failed += 1,
        }
        write_all(catalog);
    }
}

/// Opens files that are not what a program left.
fn try_altered(files: &[(&str, &[u8])], outcomes: &mut Outcomes) {
    let (_dir, home) = folder_with(files);
    let (catalog, why) = Catalog::open(Some(&home), &REPO, KEY).unwrap();
    outcomes.count(&catalog, why);
    catalog.destroy().unwrap();
    assert_eq!(open(&home).blob_count().unwrap(), 0);
}

/// Alters the database of a catalog that is open already.
fn try_altered_in_use(pristine: &Closed, altered: &[u8], outcomes: &mut Outcomes) {
    let (_dir, home) = folder_with(&pristine.files());
    let catalog = open(&home);
    fs::write(home.join("catalog.sqlite"), altered).unwrap();
    outcomes.count(&catalog, None);
    catalog.destroy().unwrap();
    assert_eq!(open(&home).blob_count().unwrap(), 0);
}

/// Database and seal of a filled catalog that was closed.
struct Closed {
    database: Vec<u8>,
    seal: Vec<u8>,
}

impl Closed {
    fn new() -> Self {
        let (_dir, home) = folder();
        fill(&open(&home));
        // What is deleted leaves free pages, on which nothing rests.
        let catalog = open(&home);
        let rows: Vec<_> = (0..9).map(|number| (path(&format!("/{number}")), vec![1; 5000])).collect();
        let source = [4; 32];
        assert!(catalog.memory_commit(&source, None, snapshot(1), rows, vec![]).unwrap());
        catalog.memory_clear(&source).unwrap();
        drop(catalog);
        assert!(!home.join("catalog.sqlite-wal").exists(), "a clean end leaves no log");
        let database = bytes_of(&home, "catalog.sqlite");
        assert!(database.len() >= 20 * 4096);
        let free = u32::from_be_bytes(database[36..40].try_into().unwrap());
        assert!(free > 5, "{free} free pages");
        Self { database, seal: bytes_of(&home, "catalog.seal") }
    }

    fn files(&self) -> [(&str, &[u8]); 2] {
        self.with(&self.database)
    }

    fn with<'a>(&'a self, database: &'a [u8]) -> [(&'a str, &'a [u8]); 2] {
        [("catalog.sqlite", database), ("catalog.seal", &self.seal)]
    }

    /// Four single bytes of every page, flipped.
    fn flipped(&self) -> impl Iterator<Item = Vec<u8>> {
        (0..self.database.len()).step_by(4096).enumerate().flat_map(|(number, page)| {
            [(0, 0xff), (3 + number % 9, 1), (100 + number * 37 % 3900, 0x10), (4000 + number % 90, 0xff)]
                .map(|(at, mask)| {
                    let mut altered = self.database.clone();
                    altered[page + at] ^= mask;
                    altered
                })
        })
    }

    /// Every page zeroed, every page replaced by another one, and the end cut off in every page.
    fn mangled(&self) -> impl Iterator<Item = Vec<u8>> {
        let pages = (0..self.database.len()).step_by(4096).flat_map(|page| {
            let (mut zeroed, mut swapped) = (self.database.clone(), self.database.clone());
            zeroed[page..page + 4096].fill(0);
            swapped.copy_within(4096..8192, page);
            [zeroed, swapped, self.database[..page + 1000].to_vec()]
        });
        pages.filter(|altered| *altered != self.database)
    }
}

#[test]
fn any_damage_of_a_closed_catalog_is_noticed_when_it_is_opened() {
    let closed = Closed::new();
    let mut outcomes = Outcomes::default();
    try_altered(&closed.files(), &mut outcomes);
    assert_eq!(outcomes, Outcomes { quiet: 1, ..Outcomes::default() });
    let mut tried = 0;
    for altered in closed.flipped().chain(closed.mangled()) {
        try_altered(&closed.with(&altered), &mut outcomes);
        tried += 1;
    }
    assert_eq!(outcomes, Outcomes { rebuilt: tried, failed: 0, quiet: 1 });
}

#[test]
fn what_is_damaged_without_a_seal_is_noticed_when_it_is_opened_or_answers_nothing() {
    let closed = Closed::new();
    let mut outcomes = Outcomes::default();
    for altered in closed.flipped().chain(closed.mangled()) {
        try_altered(&[("catalog.sqlite", &altered)], &mut outcomes);
    }
    // What stays quiet are bytes that are not used.
    assert_eq!(outcomes.failed, 0, "{outcomes:?}");
    assert!(outcomes.rebuilt > 2 * outcomes.quiet && outcomes.quiet > 10, "{outcomes:?}");
}

#[test]
fn what_is_damaged_while_it_is_used_gives_no_wrong_answer() {
    let closed = Closed::new();
    let mut flips = Outcomes::default();
    closed.flipped().for_each(|altered| try_altered_in_use(&closed, &altered, &mut flips));
    assert!(flips.failed > 10 && flips.quiet > 10, "{flips:?}");
    let mut others = Outcomes::default();
    closed.mangled().for_each(|altered| try_altered_in_use(&closed, &altered, &mut others));
    assert!(others.failed > 10, "{others:?}");
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
fn beside_a_log_no_seal_is_believed_and_none_is_left() {
    let closed = Closed::new();
    let pages = closed.database.len() / 4096;
    // A page of a table: its type becomes one that there is not.
    let table = (1..pages).find(|page| closed.database[page * 4096] == 0x0d).unwrap();
    let mut damaged = closed.database.clone();
    damaged[table * 4096] = 0x77;
    let (database, log) = killed();
    // A seal that fits the damage: only one that is not asked can be silent about it.
    let (_dir, home) = folder_with(&[("catalog.sqlite", &damaged)]);
    seal::Seal::new(&home, "catalog.sqlite", &Secret::new(KEY)).set();
    let fitting = bytes_of(&home, "catalog.seal");
    for (database, seal, log, is_damaged) in [
        (&damaged, &fitting, &b""[..], true),
        (&damaged, &fitting, b"a log that is none", true),
        // A seal that does not fit says nothing either.
        (&closed.database, &fitting, b"", false),
        (&database, &fitting, &log, false),
    ] {
        let files = [("catalog.sqlite", &database[..]), ("catalog.seal", seal), ("catalog.sqlite-wal", log)];
        let (_dir, home) = folder_with(&files);
        let (catalog, why) = Catalog::open(Some(&home), &REPO, KEY).unwrap();
        assert_eq!(why.as_ref().is_some_and(|why| why.contains("damaged")), is_damaged, "{why:?}");
        assert!(!home.join("catalog.seal").exists());
        assert_eq!(catalog.blob_count().unwrap(), if is_damaged { 0 } else { 120 });
        drop(catalog);
        drop(open(&home));
        assert!(home.join("catalog.seal").exists());
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
    // SQLite's own checksums end the log before the damage.
    assert!(outcomes.quiet > 0 && outcomes.failed + outcomes.rebuilt == 0, "{outcomes:?}");
}

#[test]
fn every_altered_row_is_noticed_when_it_is_opened() {
    let closed = Closed::new();
    for sql in [
        "UPDATE memory SET path = x'2f782f' WHERE path = CAST('/folder/7/' AS BLOB)",
        "UPDATE memory SET bytes = x'00' WHERE path = CAST('/folder/8/' AS BLOB)",
        "UPDATE memory SET bytes = 'text'",
        "UPDATE sources SET snapshot = zeroblob(32)",
        "DELETE FROM sources",
        "UPDATE manifests SET bytes = x'00' WHERE id = (SELECT max(id) FROM manifests)",
        "UPDATE meta SET value = x'00' WHERE key = 'writer'",
        "INSERT INTO meta VALUES ('more', x'00', x'00')",
        "UPDATE blobs SET pack = 1 + pack % 3 WHERE id = (SELECT max(id) FROM blobs)",
        "UPDATE blobs SET ordinal = ordinal + 100 WHERE id = (SELECT max(id) FROM blobs)",
        "INSERT INTO blobs SELECT zeroblob(32), kind, pack, ordinal, copy FROM blobs LIMIT 1",
        "DELETE FROM blobs WHERE id = (SELECT min(id) FROM blobs)",
        "UPDATE blobs SET kind = 77 WHERE id = (SELECT min(id) FROM blobs)",
        "UPDATE packs SET size = size + 1 WHERE number = 2",
        "DELETE FROM packs WHERE number = 1",
        "UPDATE indexes SET id = x'00'",
    ] {
        for is_sealed in [false, true] {
            let (_dir, home) = folder_with(&closed.files()[..1 + usize::from(is_sealed)]);
            assert!(raw(&home).execute(sql, ()).unwrap() > 0, "{sql} changes nothing");
            let why = Catalog::open(Some(&home), &REPO, KEY).unwrap().1.unwrap_or_default();
            let expected = if is_sealed { "its bytes are not" } else { "it is damaged (" };
            assert!(why.contains(expected), "{sql}: {why}");
            drop(open(&home));
        }
    }
}

#[test]
fn rows_that_somebody_else_writes_meanwhile_are_not_believed() {
    let (_dir, home) = folder();
    let catalog = open(&home);
    fill(&catalog);
    let sql = "UPDATE memory SET path = x'2f782f' WHERE path = CAST('/folder/7/' AS BLOB);
               UPDATE memory SET bytes = x'00' WHERE path = CAST('/folder/8/' AS BLOB);
               UPDATE manifests SET bytes = x'00';
               UPDATE meta SET value = x'00' WHERE key IN ('writer', 'prune epoch');
               UPDATE blobs SET pack = 2 WHERE pack = 1;
               INSERT INTO blobs SELECT zeroblob(32), kind, pack, ordinal, copy FROM blobs LIMIT 1;";
    raw(&home).execute_batch(sql).unwrap();
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
    raw(&home)
        .execute_batch("UPDATE packs SET size = size + 1; UPDATE sources SET snapshot = zeroblob(32)")
        .unwrap();
    assert_eq!(catalog.known_packs().unwrap_err().kind(), Kind::Catalog);
    assert_eq!(catalog.memory_open(&SOURCE).unwrap(), None);
    assert!(catalog.memory_commit(&SOURCE, None, snapshot(8), vec![], vec![]).unwrap());
    assert_eq!(
        catalog.memory_row(&SOURCE, &path("/folder/9")).unwrap(),
        None,
        "rows without a head are gone"
    );
}
