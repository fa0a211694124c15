//! Databases with a write-ahead log.

use super::*;

const WAL: &str = "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;";

#[test]
fn of_every_page_size_and_kind_of_vacuum_the_image_is_what_a_checkpoint_leaves() {
    for page_size in PAGE_SIZES {
        for vacuum in ["NONE", "FULL", "INCREMENTAL"] {
            let crash =
                Crash::new(&format!("PRAGMA page_size={page_size}; PRAGMA auto_vacuum={vacuum}; {WAL}"));
            crash.run(FILL).run("PRAGMA wal_checkpoint(PASSIVE)");
            crash.run("UPDATE message SET text = hex(randomblob(150)) WHERE id % 7 = 0");
            crash.run("DELETE FROM message WHERE id > 300; PRAGMA incremental_vacuum");
            let captured = same_as_sqlite(crash.leave());
            assert_eq!(captured.page_size, Some(page_size));
            assert!(matches!(captured.state, State::Merged { frames } if frames > 3), "{captured:?}");
            assert_eq!(captured.reads, 1);
        }
    }
}

#[test]
fn a_database_that_grew_shrank_and_was_vacuumed_has_the_length_of_the_last_commit() {
    let crash = Crash::new(WAL);
    crash.run(FILL).run("PRAGMA wal_checkpoint(TRUNCATE)");
    let full = std::fs::metadata(&crash.written).unwrap().len();
    let grown = same_as_sqlite(crash.run("INSERT INTO message(text) SELECT text FROM message").leave());
    assert!(grown.len > full, "only the log knows of the new pages");
    assert_eq!(std::fs::metadata(&crash.written).unwrap().len(), full);
    let shrunk = same_as_sqlite(crash.run("DELETE FROM message WHERE id > 9; VACUUM").leave());
    assert!(shrunk.len < full / 4, "the main file is longer than its image");
    same_as_sqlite(crash.run("INSERT INTO message(text) SELECT hex(randomblob(9000)) FROM message").leave());
    same_as_sqlite(
        crash.run("PRAGMA wal_checkpoint(PASSIVE); INSERT INTO message(text) VALUES('x')").leave(),
    );
}

#[test]
fn with_and_without_an_index_of_the_log_the_image_is_the_same() {
    let crash = Crash::new(WAL);
    let left = crash.run(FILL).leave();
    let with = same_as_sqlite(left);
    let shm = sidecar_of(left, Sidecar::Shm);
    assert_eq!(with.sidecars.shm, Some(std::fs::metadata(&shm).unwrap().len()));
    std::fs::remove_file(shm).unwrap();
    let without = same_as_sqlite(left);
    assert_eq!((without.state, without.len, without.sidecars.shm), (with.state, with.len, None));
}

#[test]
fn an_idle_database_in_wal_mode_is_its_own_bytes() {
    let crash = Crash::new(WAL);
    crash.run(FILL).run("PRAGMA wal_checkpoint(TRUNCATE)");
    let left = crash.leave();
    assert_eq!(std::fs::metadata(sidecar_of(left, Sidecar::Wal)).unwrap().len(), 0);
    let own = std::fs::read(left).unwrap();
    for sidecars in [&[Sidecar::Wal, Sidecar::Shm][..], &[Sidecar::Wal], &[Sidecar::Shm], &[]] {
        copy(&crash.written, left, sidecars);
        let (bytes, captured) = taken(left, Kind::Plain).unwrap();
        assert!(bytes == own && captured.state == State::Quiescent, "{sidecars:?}");
        assert_eq!(captured.page_size, Some(4096));
    }
}

#[test]
fn frames_that_were_written_back_already_change_nothing() {
    let crash = Crash::new(WAL);
    crash.run(FILL).run("PRAGMA wal_checkpoint(FULL)");
    let captured = same_as_sqlite(crash.leave());
    assert!(matches!(captured.state, State::Merged { .. }));
    // The next transaction begins the log anew; behind its frames lie those of before.
    crash.run("UPDATE message SET text = 'new' WHERE id = 5");
    let captured = same_as_sqlite(crash.leave());
    assert!(matches!(captured.state, State::Merged { frames } if frames < 20), "{captured:?}");
}

#[test]
fn what_was_not_committed_is_left_out() {
    let crash = Crash::new(&format!("PRAGMA cache_size=4; {WAL}"));
    crash.run(FILL);
    let (before, _) = taken(crash.leave(), Kind::Plain).unwrap();
    crash.run("BEGIN; UPDATE message SET text = hex(randomblob(200))");
    let len = std::fs::metadata(sidecar_of(crash.leave(), Sidecar::Wal)).unwrap().len();
    assert!(len > before.len() as u64 * 3 / 2, "the open transaction has written into the log");
    same_as_sqlite(&crash.left);
    assert!(taken(&crash.left, Kind::Plain).unwrap().0 == before);
    // A transaction that was taken back is written over by the next one.
    crash.run("ROLLBACK; INSERT INTO message(text) VALUES('y')");
    same_as_sqlite(crash.leave());
}

#[test]
fn of_a_log_with_a_torn_tail_what_came_before_counts() {
    let crash = Crash::new(WAL);
    crash.run(FILL).run("PRAGMA wal_checkpoint(TRUNCATE)");
    let left = crash.leave().to_owned();
    let mut states = vec![taken(&left, Kind::Plain).unwrap().0];
    for round in 0..3 {
        crash.run(&format!("INSERT INTO message(text) VALUES(hex(zeroblob(9000 + {round})))"));
        states.push(taken(crash.leave(), Kind::Plain).unwrap().0);
    }
    let log = sidecar_of(&left, Sidecar::Wal);
    let whole = std::fs::read(&log).unwrap();
    let frame = 4096 + 24;
    let frames = (whole.len() - 32) / frame;
    let mut seen = Vec::new();
    for cut in (0..=frames)
        .flat_map(|frame_no| [32 + frame_no * frame, 31 + frame_no * frame, 56 + frame_no * frame])
    {
        std::fs::write(&log, &whole[..cut.min(whole.len())]).unwrap();
        same_as_sqlite(&left);
        let (bytes, _) = taken(&left, Kind::Plain).unwrap();
        let state = states.iter().position(|state| *state == bytes);
        seen.push(state.unwrap_or_else(|| panic!("cut at {cut}: no state that was committed")));
    }
    seen.dedup();
    assert!(
        seen.starts_with(&[0]) && seen.ends_with(&[3]) && (0..4).all(|state| seen.contains(&state)),
        "{seen:?}"
    );
}

#[test]
fn a_log_with_checksums_in_the_other_byte_order_is_read() {
    let crash = Crash::new(WAL);
    let left = crash.run(FILL).leave().to_owned();
    let expected = taken(&left, Kind::Plain).unwrap().0;
    let log = sidecar_of(&left, Sidecar::Wal);
    let mut bytes = std::fs::read(&log).unwrap();
    assert_eq!(bytes[3], 0x82, "this machine writes little-endian checksums");
    let sum = |bytes: &[u8], (mut a, mut b): (u32, u32)| {
        for pair in bytes.chunks_exact(8) {
            a = a.wrapping_add(u32::from_be_bytes(*pair.first_chunk().unwrap())).wrapping_add(b);
            b = b.wrapping_add(u32::from_be_bytes(*pair.last_chunk().unwrap())).wrapping_add(a);
        }
        (a, b)
    };
    let put = |bytes: &mut [u8], (a, b): (u32, u32)| {
        bytes[..4].copy_from_slice(&a.to_be_bytes());
        bytes[4..8].copy_from_slice(&b.to_be_bytes());
    };
    bytes[3] = 0x83;
    let mut sums = sum(&bytes[..24], (0, 0));
    put(&mut bytes[24..], sums);
    for frame in bytes[32..].chunks_exact_mut(4096 + 24) {
        sums = sum(&frame[24..], sum(&frame[..8], sums));
        put(&mut frame[16..], sums);
    }
    std::fs::write(&log, bytes).unwrap();
    same_as_sqlite(&left);
    assert!(taken(&left, Kind::Plain).unwrap().0 == expected);
}

#[test]
fn bytes_that_extensions_keep_at_the_end_of_pages_stay() {
    let crash = Crash::new("PRAGMA page_size=4096; VACUUM;");
    let Crash { written, left, db, .. } = &crash;
    // An empty database with 32 bytes reserved: the only page's content begins that much earlier.
    let mut page = std::fs::read(written).unwrap();
    assert_eq!((page.len(), &page[105..107]), (4096, &4096_u16.to_be_bytes()[..]));
    page[20] = 32;
    page[105..107].copy_from_slice(&4064_u16.to_be_bytes());
    std::fs::write(left, page).unwrap();
    let _ = db;
    let reserved = Connection::open(left).unwrap();
    reserved.execute_batch(&format!("{WAL} {FILL}")).unwrap();
    let other = left.with_file_name("other.db");
    copy(left, &other, &[Sidecar::Wal]);
    same_as_sqlite(&other);
    let (bytes, _) = taken(&other, Kind::Plain).unwrap();
    assert_eq!(SqliteHeader::parse(&bytes).unwrap().reserved, 32);
}

#[test]
fn a_database_whose_page_size_changed_is_read_with_the_new_one() {
    let crash = Crash::new("PRAGMA page_size=1024;");
    crash.run(FILL).run(WAL).run("INSERT INTO message(text) VALUES('a')");
    assert_eq!(same_as_sqlite(crash.leave()).page_size, Some(1024));
    crash.run("PRAGMA journal_mode=DELETE; PRAGMA page_size=8192; VACUUM");
    assert_eq!(same_as_sqlite(crash.leave()).page_size, Some(8192));
    crash.run(WAL).run("INSERT INTO message(text) VALUES('b')");
    assert_eq!(same_as_sqlite(crash.leave()).page_size, Some(8192));
}

#[test]
fn a_log_with_pages_of_another_size_is_told() {
    let small = Crash::new(&format!("PRAGMA page_size=1024; {WAL} {FILL}"));
    let large = Crash::new(&format!("PRAGMA page_size=4096; {WAL} {FILL}"));
    let left = small.leave();
    let foreign = || {
        std::fs::copy(sidecar_of(&large.written, Sidecar::Wal), sidecar_of(left, Sidecar::Wal)).unwrap();
    };
    foreign();
    // A log with all pages of its database, the first among them, makes it that database.
    assert_eq!(same_as_sqlite(left).page_size, Some(4096));
    large.run("PRAGMA wal_checkpoint(TRUNCATE); UPDATE message SET text = 'w' WHERE id = 1");
    foreign();
    let failed = taken(left, Kind::Plain).unwrap_err();
    assert!(matches!(failed, Failed::Impossible(Impossible::LogPageSize)), "{failed:?}");
    assert!(by_sqlite(left).is_err(), "SQLite does not take it either");
}

#[test]
fn pages_of_an_encrypted_database_are_taken_from_its_log() {
    let crash = Crash::new(WAL);
    crash.run(FILL).run("PRAGMA wal_checkpoint(PASSIVE); UPDATE message SET text = 'z' WHERE id < 50");
    let left = crash.leave().to_owned();
    let expected = by_sqlite(&left).unwrap();
    // Without its first bytes a main file says as little as an encrypted one.
    let mut hidden = std::fs::read(&left).unwrap();
    hidden[..100].fill(0xa5);
    std::fs::write(&left, hidden).unwrap();
    let (bytes, captured) = taken(&left, Kind::Encrypted).unwrap();
    assert_eq!(captured.page_size, Some(4096));
    assert_eq!(bytes.len(), expected.len());
    assert!(bytes[4096..] == expected[4096..]);
    std::fs::remove_file(sidecar_of(&left, Sidecar::Wal)).unwrap();
    let (bytes, captured) = taken(&left, Kind::Encrypted).unwrap();
    assert!(bytes == std::fs::read(&left).unwrap() && captured.page_size.is_none());
}

#[test]
fn a_database_over_one_gigabyte_has_the_page_of_the_locks() {
    let crash = Crash::new("PRAGMA page_size=65536;");
    crash.run(&format!("{WAL} CREATE TABLE message(id INTEGER PRIMARY KEY, text)"));
    crash.run("PRAGMA wal_checkpoint(TRUNCATE)");
    drop(crash.db);
    // Sparse, and as long as if it had grown: the free pages are in no list, so that only the next growth counts.
    let past = (1_u64 << 30) + (3 << 16);
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&crash.written).unwrap();
    file.set_len(past).unwrap();
    use std::os::unix::fs::FileExt;
    file.write_all_at(&u32::try_from(past >> 16).unwrap().to_be_bytes(), 28).unwrap();
    let db = Connection::open(&crash.written).unwrap();
    db.execute_batch("PRAGMA wal_autocheckpoint=0; INSERT INTO message VALUES(1, zeroblob(200000))").unwrap();
    copy(&crash.written, &crash.left, &[Sidecar::Wal]);
    let file = File::open(&crash.left).unwrap();
    let mut end = vec![0; 8 << 16];
    let captured = capture(
        file.as_fd(),
        &Folder(&crash.left),
        Kind::Plain,
        &Patience::new(&|_| {}, &later),
        &mut |image| image.read_at(&mut end, (1 << 30) - (1 << 16)),
    )
    .unwrap();
    assert!(captured.len > past && matches!(captured.state, State::Merged { .. }));
    assert!(end[1 << 16..2 << 16].iter().all(|byte| *byte == 0), "the page of the locks is never used");
    let expected = by_sqlite_long(&crash.left, (1 << 30) - (1 << 16), captured.value);
    assert_eq!(captured.value, expected.len());
    assert!(end[..captured.value] == expected);
}

/// Bytes of a stretch of what SQLite makes of a long database, in its place.
fn by_sqlite_long(main: &Path, from: u64, len: usize) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let db = Connection::open(main).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).unwrap();
    db.close().unwrap();
    let file = File::open(main).unwrap();
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, from).unwrap();
    assert_eq!(file.metadata().unwrap().len(), from + len as u64);
    bytes
}
