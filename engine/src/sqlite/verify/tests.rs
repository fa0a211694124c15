//! What is sound is found sound, whatever its shape and its app; a copy leaves no trace.

use super::*;
use crate::sqlite::SqliteHeader;
use rusqlite::FileControl;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Everything that SQLite stores in one way or another, with pages that became free.
pub(super) const PLAIN: &str = "
    CREATE TABLE chat (id INTEGER PRIMARY KEY, name TEXT NOT NULL, score REAL, extra BLOB);
    CREATE INDEX chat_by_name ON chat (name COLLATE NOCASE, score DESC);
    CREATE UNIQUE INDEX some_chats ON chat (score) WHERE score > 10;
    CREATE TABLE pair (a TEXT, b INTEGER, note TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
    CREATE TABLE sum (a INTEGER, b INTEGER, c INTEGER AS (a + b) STORED, d INTEGER NOT NULL AS (a * 2));
    CREATE TABLE gone (x TEXT);
    CREATE VIEW names AS SELECT name FROM chat;
    CREATE TRIGGER renamed AFTER UPDATE ON chat BEGIN DELETE FROM gone; END;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
        INSERT INTO chat SELECT i, 'name ' || (i % 50), i * 0.5, zeroblob(i * 7) FROM n;
    INSERT INTO pair SELECT name || id, id, hex(extra) FROM chat WHERE id < 60;
    INSERT INTO sum (a, b) SELECT id, id + 1 FROM chat;
    INSERT INTO gone SELECT hex(zeroblob(300)) FROM chat;
    DELETE FROM gone WHERE rowid < 500;
    DELETE FROM chat WHERE id BETWEEN 200 AND 300;";

/// Tables that keep their content in other tables.
pub(super) const VIRTUAL: &str = "
    CREATE VIRTUAL TABLE words3 USING fts3(body);
    CREATE VIRTUAL TABLE words4 USING fts4(body, tokenize=simple);
    CREATE VIRTUAL TABLE words5 USING fts5(body);
    CREATE VIRTUAL TABLE places USING rtree(id, x0, x1);
    INSERT INTO words3 SELECT name || ' ' || id FROM chat;
    INSERT INTO words4 SELECT name || ' ' || id FROM chat;
    INSERT INTO words5 SELECT name || ' ' || id FROM chat;
    INSERT INTO places SELECT id, id, id + 5 FROM chat;";

#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) page_size: u32,
    pub(super) wal: bool,
    pub(super) auto_vacuum: u32,
    pub(super) reserved: i32,
}

pub(super) const USUAL: Shape = Shape { page_size: 4096, wal: false, auto_vacuum: 0, reserved: 0 };

/// A database of SQLite's own making.
pub(super) fn image_of(shape: Shape, sql: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.db");
    let connection = Connection::open(&path).unwrap();
    let mut reserved = shape.reserved;
    connection.file_control(None::<&str>, FileControl::ReserveBytes(&mut reserved)).unwrap();
    connection.pragma_update(None, "page_size", shape.page_size).unwrap();
    connection.pragma_update(None, "auto_vacuum", shape.auto_vacuum).unwrap();
    let mode = if shape.wal { "WAL" } else { "DELETE" };
    connection.pragma_update(None, "journal_mode", mode).unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    for part in sql {
        connection.execute_batch(&format!("BEGIN; {part} COMMIT;")).unwrap();
    }
    connection.close().unwrap();
    fs::read(path).unwrap()
}

pub(super) fn image(sql: &[&str]) -> Vec<u8> {
    image_of(USUAL, sql)
}

/// Thirty seconds of a clock that moves a millisecond whenever it is looked at.
pub(super) fn limits() -> CheckLimits {
    let ticks = AtomicU64::new(0);
    let clock = move || {
        let ticks = ticks.fetch_add(1, Ordering::Relaxed);
        Timestamp::new(0, 0).max(Timestamp::new((ticks / 1000) as i64, (ticks % 1000) as u32 * 1_000_000))
    };
    CheckLimits { clock: Arc::new(clock), at_most: Duration::from_secs(30), cancel: Cancel::new() }
}

fn names_in(dir: &Path) -> Vec<std::ffi::OsString> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

pub(super) fn check(image: &[u8], which: Integrity) -> Verdict {
    let dir = tempfile::tempdir().unwrap();
    let mut copy = PrivateCopy::new_in(dir.path());
    copy.write_all(image).unwrap();
    let verdict = copy.check(which, &limits());
    assert_eq!(names_in(dir.path()).len(), 0);
    verdict
}

pub(super) fn sound() -> Verdict {
    Verdict::Sound { left_out: Vec::new(), odd_values: Vec::new() }
}

/// A plain connection to an image, and what became of the image.
pub(super) fn plainly<T>(image: &[u8], ask: impl FnOnce(&Connection) -> T) -> (T, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plain.db");
    fs::write(&path, image).unwrap();
    let connection = Connection::open(&path).unwrap();
    let answer = ask(&connection);
    connection.close().unwrap();
    (answer, fs::read(path).unwrap())
}

/// The first answer to a plain quick check.
pub(super) fn plain_check(image: &[u8]) -> String {
    let ask = |connection: &Connection| connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    plainly(image, ask).0.unwrap_or_else(|e: rusqlite::Error| e.to_string())
}

/// Changes the words that describe a database, as an app with its own SQLite would have written them.
pub(super) fn reworded(image: &[u8], sql: &str) -> Vec<u8> {
    let sql = format!("PRAGMA writable_schema = ON; {sql}");
    plainly(image, |connection| connection.execute_batch(&sql).unwrap()).1
}

/// A page of a table or index: its place in the file.
pub(super) fn page_of(image: &[u8], name: &str, kind: &str) -> usize {
    let sql = "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = ?2 LIMIT 1";
    let ask = |connection: &Connection| connection.query_row(sql, [name, kind], |row| row.get::<_, u32>(0));
    (plainly(image, ask).0.unwrap() as usize - 1) * page_size(image)
}

pub(super) fn page_size(image: &[u8]) -> usize {
    SqliteHeader::parse(image).unwrap().page_size as usize
}

/// Asserts that damage is found, quickly and fully; returns the first finding of the quick check.
pub(super) fn fails(image: &[u8]) -> String {
    let [quick, _] = [Integrity::Quick, Integrity::Full].map(|which| match check(image, which) {
        Verdict::Failed(findings) => {
            assert!(!findings.is_empty() && findings.len() <= 8, "{findings:?}");
            assert!(findings.iter().all(|line| line.len() <= 800 && !line.contains('\n')), "{findings:?}");
            findings[0].clone()
        }
        verdict => panic!("{which:?}: {verdict:?}"),
    });
    quick
}

#[test]
fn sound_databases_of_all_shapes_are_found_sound() {
    let mut checked = 0;
    for page_size in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
        for (wal, auto_vacuum, reserved) in
            [(false, 0, 0), (true, 0, 0), (false, 1, 0), (true, 2, 0), (true, 0, 32), (false, 1, 12)]
        {
            let shape = Shape { page_size, wal, auto_vacuum, reserved };
            for sql in [&[PLAIN][..], &[PLAIN, VIRTUAL]] {
                let image = image_of(shape, sql);
                assert_eq!(image[18..20], if wal { [2, 2] } else { [1, 1] }, "{shape:?}");
                let (largest_root, free) = (&image[52..56], &image[36..40]);
                assert_eq!((i32::from(image[20]), *largest_root != [0; 4]), (reserved, auto_vacuum > 0));
                assert!(*free != [0; 4] || auto_vacuum == 1 || sql.len() > 1, "{shape:?} has no free pages");
                for which in [Integrity::Quick, Integrity::Full] {
                    assert_eq!(check(&image, which), sound(), "{shape:?} {which:?}");
                    checked += 1;
                }
            }
        }
    }
    assert_eq!(checked, 192);
}

#[test]
fn the_copy_has_no_name_and_is_ours_alone() {
    let dir = tempfile::tempdir().unwrap();
    // All that means something in a path of SQLite's.
    for odd in ["plain", "a b%41?mode=rwc#x&'\"", "ü\u{202e}"] {
        let dir = dir.path().join(odd);
        fs::create_dir(&dir).unwrap();
        let mut copy = PrivateCopy::new_in(&dir);
        assert_eq!(names_in(&dir).len(), 0);
        copy.write_all(&image(&[PLAIN, VIRTUAL])).unwrap();
        assert_eq!(names_in(&dir).len(), 0);
        let metadata = copy.state.as_ref().unwrap().file.metadata().unwrap();
        assert_eq!((metadata.nlink(), metadata.mode() & 0o777), (0, 0o600));
        // The clock is looked at in the middle of the check.
        let (looked, held) = (Arc::new(AtomicU64::new(0)), dir.clone());
        let seen = Arc::clone(&looked);
        let clock = move || {
            assert_eq!(names_in(&held).len(), 0);
            seen.fetch_add(1, Ordering::Relaxed);
            Timestamp::new(0, 0)
        };
        assert_eq!(copy.check(Integrity::Full, &CheckLimits { clock: Arc::new(clock), ..limits() }), sound());
        assert!(looked.load(Ordering::Relaxed) > 10 && names_in(&dir).is_empty());
    }
    assert_eq!(names_in(dir.path()).len(), 3, "nothing was made beside the folders");
}

#[test]
fn parts_may_come_in_any_order_and_size() {
    let image = image_of(Shape { wal: true, ..USUAL }, &[PLAIN]);
    let dir = tempfile::tempdir().unwrap();
    for size in [1, 18, 19, 20, 4096, 100_000] {
        for backwards in [false, true] {
            let mut copy = PrivateCopy::new_in(dir.path());
            copy.expect_len(image.len() as u64);
            // Byte for byte only where it matters.
            let (head, rest) = image.split_at(100);
            let mut parts: Vec<_> = head
                .chunks(size.min(100))
                .scan(0, |at, part| Some((std::mem::replace(at, *at + part.len()), part)))
                .collect();
            parts.push((100, rest));
            if backwards {
                parts.reverse();
            }
            parts.iter().for_each(|(at, part)| copy.write_at(*at as u64, part));
            let mut copied = vec![0; image.len()];
            copy.state.as_ref().unwrap().file.read_exact_at(&mut copied, 0).unwrap();
            assert_eq!((copied[18..20].as_ref(), &image[18..20]), ([1, 1].as_ref(), [2, 2].as_ref()));
            copied[18..20].copy_from_slice(&[2, 2]);
            assert!(copied == image, "{size}");
            assert_eq!(copy.check(Integrity::Quick, &limits()), sound());
        }
    }
}

#[test]
fn a_copy_that_cannot_be_kept_is_a_reason_and_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let check = |mut copy: PrivateCopy| {
        copy.write_all(&image(&[PLAIN])).unwrap();
        match copy.check(Integrity::Quick, &limits()) {
            Verdict::NotChecked(why) => why,
            verdict => panic!("{verdict:?}"),
        }
    };
    let missing = check(PrivateCopy::new_in(&dir.path().join("missing")));
    assert!(
        missing.starts_with("no private copy can be made in the cache folder: No such file"),
        "{missing}"
    );

    let mut copy = PrivateCopy::new_in(dir.path());
    copy.expect_len(1 << 62);
    assert_eq!(check(copy), "the private copy cannot be written: the disk of the cache folder is full");

    let mut copy = PrivateCopy::new_in(dir.path());
    copy.state.as_mut().unwrap().file = File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(check(copy), "the private copy cannot be written: the disk of the cache folder is full");
    assert_eq!(names_in(dir.path()).len(), 0);
}

#[test]
fn what_is_no_plain_database_is_not_checked() {
    for bytes in [vec![], vec![7; 5000], b"SQLite format 3\0".to_vec(), image(&[PLAIN])[..99].to_vec()] {
        let why = "it does not begin as a plain SQLite database does".to_owned();
        assert_eq!(check(&bytes, Integrity::Quick), Verdict::NotChecked(why));
    }
    let switched_off = Verdict::NotChecked("integrity checks are switched off".to_owned());
    assert_eq!(check(&image(&[PLAIN]), Integrity::None), switched_off);
}

#[test]
fn a_check_ends_when_its_time_is_over_or_it_is_cancelled() {
    for sql in [&[PLAIN][..], &[PLAIN, VIRTUAL]] {
        let image = image(sql);
        let dir = tempfile::tempdir().unwrap();
        let ask = |limits: &CheckLimits, which| {
            let mut copy = PrivateCopy::new_in(dir.path());
            copy.write_all(&image).unwrap();
            copy.check(which, limits)
        };
        for which in [Integrity::Quick, Integrity::Full] {
            for milliseconds in [0, 3, 20] {
                let late = CheckLimits { at_most: Duration::from_millis(milliseconds), ..limits() };
                assert_eq!(ask(&late, which), Verdict::NotChecked("it took too long".to_owned()));
            }
            let cancelled = limits();
            cancelled.cancel.cancel();
            assert_eq!(ask(&cancelled, which), Verdict::NotChecked("it was cancelled".to_owned()));
            // In the middle: the wish comes while the clock is read for the tenth time.
            let (cancel, looks) = (Cancel::new(), AtomicU64::new(0));
            let wish = cancel.clone();
            let clock = move || {
                if looks.fetch_add(1, Ordering::Relaxed) == 9 {
                    wish.cancel();
                }
                Timestamp::new(0, 0)
            };
            let limits = CheckLimits { clock: Arc::new(clock), cancel, ..limits() };
            assert_eq!(ask(&limits, which), Verdict::NotChecked("it was cancelled".to_owned()));
        }
    }
}

#[test]
fn a_copy_may_be_checked_by_another_thread() {
    let dir = tempfile::tempdir().unwrap();
    let mut copy = PrivateCopy::new_in(dir.path());
    copy.write_all(&image(&[PLAIN])).unwrap();
    let limits = limits();
    let verdict = std::thread::spawn(move || copy.check(Integrity::Quick, &limits)).join().unwrap();
    assert_eq!(verdict, sound());
}

#[test]
fn an_old_sqlite_is_refused_and_ours_is_not() {
    assert_version().unwrap();
    accept(3_051_003, "3.51.3").unwrap();
    let refused = accept(3_051_002, "3.51.2").unwrap_err();
    let text = refused.full_text();
    assert!(text.starts_with("Failed to use SQLite 3.51.2: versions before 3.51.3 can damage"), "{text}");
}

#[test]
fn all_checks_of_a_run_together_end_too() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(&[PLAIN]);
    let (ticks, time) = (AtomicU64::new(0), CheckTime::default());
    // Forty seconds pass whenever somebody looks.
    let clock = move || Timestamp::new(40 * i64::try_from(ticks.fetch_add(1, Ordering::Relaxed)).unwrap(), 0);
    let limits = CheckLimits { clock: Arc::new(clock), at_most: CHECK_AT_MOST, cancel: Cancel::new() };
    let mut verdicts = Vec::new();
    while !matches!(verdicts.last(), Some(Verdict::NotChecked(why)) if why.contains("four hours in sum")) {
        let mut copy = PrivateCopy::new_in(dir.path());
        copy.write_all(&image).unwrap();
        verdicts.push(time.check(copy, Integrity::Quick, &limits));
        assert!(verdicts.len() < 1000, "{verdicts:?}");
    }
    // One alone has a quarter of an hour.
    assert!(verdicts.len() > 16, "{verdicts:?}");
    assert!(time.spent().as_secs() >= CHECKS_AT_MOST.as_secs());
}
