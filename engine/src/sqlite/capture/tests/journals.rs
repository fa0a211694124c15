//! Databases in rollback mode, and journals of transactions that never ended.

use super::*;

/// A database in which a transaction has spilled pages and is still open.
fn spilled(pragmas: &str, change: &str) -> Crash {
    let crash = Crash::new(&format!("{pragmas} PRAGMA cache_size=5;"));
    crash.run(FILL).run("BEGIN").run(change);
    crash
}

const CHANGE: &str = "UPDATE message SET text = hex(randomblob(200))";

#[test]
fn a_quiescent_database_is_its_own_bytes() {
    for mode in ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF"] {
        let crash = Crash::new(&format!("PRAGMA journal_mode={mode};"));
        let left = crash.run(FILL).leave();
        let (bytes, captured) = taken(left, Kind::Plain).unwrap();
        assert!(bytes == std::fs::read(left).unwrap(), "{mode}");
        assert_eq!((captured.state, captured.reads), (State::Quiescent, 1), "{mode}");
        let journal = captured.sidecars.journal;
        match mode {
            "TRUNCATE" => assert_eq!(journal, Some(0)),
            "PERSIST" => assert!(journal > Some(512), "its start was filled with zeroes: {journal:?}"),
            _ => assert_eq!(journal, None),
        }
        same_as_sqlite(left);
    }
}

#[test]
fn bytes_behind_the_last_page_and_empty_files_are_kept() {
    let crash = Crash::new("");
    let left = crash.run(FILL).leave();
    let mut bytes = std::fs::read(left).unwrap();
    bytes.extend_from_slice(b"a tail that is no page");
    std::fs::write(left, &bytes).unwrap();
    assert!(taken(left, Kind::Plain).unwrap().0 == bytes);
    std::fs::write(left, b"").unwrap();
    let (bytes, captured) = taken(left, Kind::Plain).unwrap();
    assert!(bytes.is_empty() && captured.page_size.is_none());
}

#[test]
fn of_every_page_size_a_hot_journal_is_rolled_back_as_sqlite_does() {
    for page_size in PAGE_SIZES {
        for synchronous in ["OFF", "NORMAL", "FULL"] {
            let crash =
                spilled(&format!("PRAGMA page_size={page_size}; PRAGMA synchronous={synchronous};"), CHANGE);
            let left = crash.leave();
            let main = std::fs::read(left).unwrap();
            let captured = same_as_sqlite(left);
            assert!(matches!(captured.state, State::RolledBack { pages } if pages > 1), "{captured:?}");
            assert_eq!(captured.page_size, Some(page_size));
            let (bytes, _) = taken(left, Kind::Plain).unwrap();
            assert!(
                page_size > 16384 || bytes != main,
                "{page_size}: the transaction had written into the main file"
            );
        }
    }
}

#[test]
fn a_journal_of_several_parts_is_read_to_its_end() {
    let crash = spilled("PRAGMA synchronous=FULL;", CHANGE);
    let journal = std::fs::read(sidecar_of(crash.leave(), Sidecar::Journal)).unwrap();
    let magic = &journal[..8];
    let parts = journal.chunks_exact(512).filter(|sector| sector.starts_with(magic)).count();
    assert!(parts > 3, "{parts} parts");
    same_as_sqlite(&crash.left);
    // The rows as they were: the change had nothing but hexadecimal digits, in another length.
    crash.run("ROLLBACK");
    assert!(taken(&crash.left, Kind::Plain).unwrap().0 == std::fs::read(&crash.written).unwrap());
}

#[test]
fn a_transaction_that_grew_or_shrank_the_database_is_rolled_back_to_its_length() {
    let grown = spilled("", "INSERT INTO message(text) SELECT hex(randomblob(900)) FROM message");
    let left = grown.leave();
    let captured = same_as_sqlite(left);
    assert!(captured.len < std::fs::metadata(left).unwrap().len());
    let shrunk = spilled(
        "PRAGMA auto_vacuum=FULL;",
        "DELETE FROM message WHERE id > 3; INSERT INTO message(text) SELECT hex(randomblob(900)) FROM message",
    );
    same_as_sqlite(shrunk.leave());
    let vacuumed = Crash::new("PRAGMA cache_size=5;");
    vacuumed.run(FILL).run("DELETE FROM message WHERE id % 3 > 0");
    same_as_sqlite(vacuumed.run("VACUUM").leave());
}

#[test]
fn a_main_file_that_lost_its_end_is_made_as_long_as_before() {
    let crash = spilled("", CHANGE);
    let left = crash.leave();
    let len = std::fs::metadata(left).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(left).unwrap();
    for less in [1, 4095, 4096, 10_000] {
        file.set_len(len - less).unwrap();
        same_as_sqlite(left);
    }
}

#[test]
fn a_journal_that_was_ended_or_never_begun_is_no_hot_one() {
    let crash = spilled("", CHANGE);
    let left = crash.leave();
    let main = std::fs::read(left).unwrap();
    let path = sidecar_of(left, Sidecar::Journal);
    let journal = std::fs::read(&path).unwrap();
    let ended = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = journal.clone();
        change(&mut changed);
        std::fs::write(&path, changed).unwrap();
        let (bytes, captured) = taken(left, Kind::Plain).unwrap();
        assert!(bytes == main && captured.state == State::Quiescent);
        same_as_sqlite(left);
    };
    ended(&|journal| journal[..28].fill(0));
    ended(&|journal| journal.clear());
    ended(&|journal| journal.truncate(511));
    ended(&|journal| journal[3] ^= 1);
    ended(&|journal| journal[23] = 1);
    ended(&|journal| journal[26] ^= 1);
}

#[test]
fn an_old_journal_that_does_not_tell_its_page_size_is_read_by_the_databases() {
    let crash = spilled("PRAGMA page_size=2048;", CHANGE);
    let left = crash.leave();
    let (expected, _) = taken(left, Kind::Plain).unwrap();
    let path = sidecar_of(left, Sidecar::Journal);
    let mut journal = std::fs::read(&path).unwrap();
    assert_eq!(journal[24..28], 2048_u32.to_be_bytes());
    journal[24..28].fill(0);
    std::fs::write(&path, journal).unwrap();
    assert_eq!(same_as_sqlite(left).page_size, Some(2048));
    assert!(taken(left, Kind::Plain).unwrap().0 == expected);
}

#[test]
fn a_transaction_over_several_databases_is_told() {
    let crash = spilled("", CHANGE);
    let left = crash.leave();
    let path = sidecar_of(left, Sidecar::Journal);
    let mut journal = std::fs::read(&path).unwrap();
    let name = b"/home/somebody/both.db-mj0123456789";
    let sum: u32 = name.iter().map(|byte| u32::from(*byte)).sum();
    let magic: Vec<u8> = journal[..8].to_vec();
    for part in [&name[..], &u32::try_from(name.len()).unwrap().to_be_bytes(), &sum.to_be_bytes(), &magic] {
        journal.extend_from_slice(part);
    }
    std::fs::write(&path, &journal).unwrap();
    let failed = taken(left, Kind::Plain).unwrap_err();
    assert!(matches!(failed, Failed::Impossible(Impossible::TransactionOverSeveral)), "{failed:?}");
    // With a wrong checksum it names nothing, and the journal is one like others.
    let at = journal.len() - 9;
    journal[at] ^= 1;
    std::fs::write(&path, &journal).unwrap();
    same_as_sqlite(left);
}

#[test]
fn a_hot_journal_beside_a_log_with_frames_is_told() {
    let crash = spilled("", CHANGE);
    let other = Crash::new("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;");
    let left = crash.leave();
    let log = sidecar_of(left, Sidecar::Wal);
    std::fs::copy(sidecar_of(&other.run(FILL).written, Sidecar::Wal), &log).unwrap();
    let failed = taken(left, Kind::Plain).unwrap_err();
    assert!(matches!(failed, Failed::Impossible(Impossible::JournalAndLog)), "{failed:?}");
    std::fs::write(&log, vec![0; 9000]).unwrap();
    same_as_sqlite(left);
}

#[test]
fn the_journal_of_an_encrypted_database_tells_the_size_of_its_pages() {
    let crash = spilled("PRAGMA page_size=1024;", CHANGE);
    let left = crash.leave();
    let expected = by_sqlite(left).unwrap();
    let mut hidden = std::fs::read(left).unwrap();
    hidden[..100].fill(0xa5);
    std::fs::write(left, hidden).unwrap();
    let (bytes, captured) = taken(left, Kind::Encrypted).unwrap();
    assert!(bytes == expected, "page 1 is in the journal, too");
    assert_eq!(captured.page_size, Some(1024));
}
