//! Write-ahead logs that were damaged: what SQLite drops of them without a word is told, and the log is handed over.

use super::*;

/// A database whose log has so many transactions of a few frames each.
fn with_commits(commits: u32) -> Crash {
    let crash = Crash::new("PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;");
    crash.run("CREATE TABLE message(id INTEGER PRIMARY KEY, text); PRAGMA wal_checkpoint(TRUNCATE)");
    for number in 0..commits {
        crash.run(&format!("INSERT INTO message(text) VALUES('{number:0>300}')"));
    }
    crash.leave();
    crash
}

/// What a capture says of the log: nothing, or its bytes.
fn told(main: &Path) -> Option<Vec<u8>> {
    let file = File::open(main).unwrap();
    let captured =
        capture(file.as_fd(), &Folder(main), Kind::Plain, &Patience::new(&|_| {}, &later), &mut |image| {
            let mut bytes = Vec::new();
            image.damaged_log().map(|mut log| log.read_to_end(&mut bytes)).transpose()?;
            Ok::<_, io::Error>(bytes)
        })
        .unwrap();
    captured.has_damaged_log.then_some(captured.value)
}

/// Places of frames that end a transaction.
fn ends(log: &[u8]) -> Vec<usize> {
    let frames = (32..log.len()).step_by(512 + 24);
    frames.filter(|at| log.get(at + 4..at + 8).is_some_and(|pages| pages != [0; 4])).collect()
}

#[test]
fn a_bit_that_is_flipped_anywhere_before_the_last_transaction_is_told() {
    let crash = with_commits(200);
    let path = sidecar_of(&crash.left, Sidecar::Wal);
    let whole = std::fs::read(&path).unwrap();
    let ends = ends(&whole);
    assert_eq!((told(&crash.left), ends.len()), (None, 200));
    // The last transaction has no end behind it: a damage of it is a torn tail, whatever made it.
    let last = ends[198] + 512 + 24;
    let header = (0..32).map(|at| at * 8 + at % 8);
    // Odd steps, so that heads and pages, and every bit of a byte, are met.
    let others = (0..200).map(|number| (32 * 8) + number * ((last - 32) * 8 / 200) + number % 7);
    let mut tried = 0;
    for bit in header.chain(others) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bytes).unwrap();
        let kept = told(&crash.left);
        assert!(kept.as_ref() == Some(&bytes), "bit {bit}: {:?}", kept.map(|kept| kept.len()));
        same_as_sqlite(&crash.left);
        tried += 1;
    }
    assert_eq!(tried, 232);
}

#[test]
fn a_block_of_zeroes_in_a_log_is_told() {
    let crash = with_commits(60);
    let path = sidecar_of(&crash.left, Sidecar::Wal);
    let whole = std::fs::read(&path).unwrap();
    for block in 0..whole.len() / 4096 - 2 {
        let mut bytes = whole.clone();
        bytes[block * 4096..(block + 1) * 4096].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        // Without its header nothing of it is known for a log.
        assert_eq!(told(&crash.left).is_some(), block > 0, "block {block}");
        same_as_sqlite(&crash.left);
    }
}

#[test]
fn a_torn_tail_and_a_log_that_was_begun_anew_are_not_told() {
    let crash = with_commits(20);
    let path = sidecar_of(&crash.left, Sidecar::Wal);
    let whole = std::fs::read(&path).unwrap();
    for len in (0..whole.len()).step_by(211) {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert_eq!(told(&crash.left), None, "{len} bytes");
    }
    crash.run("PRAGMA wal_checkpoint(RESTART); INSERT INTO message(text) VALUES('anew')");
    assert!(std::fs::metadata(sidecar_of(crash.leave(), Sidecar::Wal)).unwrap().len() >= whole.len() as u64);
    assert_eq!(told(&crash.left), None, "frames of an earlier generation");
}

#[test]
fn pages_that_were_written_early_and_taken_back_are_not_told() {
    let crash = Crash::new("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=4;");
    crash.run(FILL);
    for round in 0..10 {
        crash.run("BEGIN; UPDATE message SET text = hex(randomblob(200))");
        let len = |crash: &Crash| std::fs::metadata(sidecar_of(&crash.written, Sidecar::Wal)).unwrap().len();
        let spilled = len(&crash);
        assert_eq!(told(crash.leave()), None, "its app was killed in the middle");
        crash.run("ROLLBACK");
        assert_eq!(told(crash.leave()), None);
        crash.run(&format!("INSERT INTO message(text) VALUES('{round}')"));
        assert!(len(&crash) >= spilled, "what was spilled lies behind the last commit");
        assert_eq!(told(crash.leave()), None);
        same_as_sqlite(&crash.left);
    }
}
