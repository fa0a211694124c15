//! Logs and journals that are damaged in every way: never a panic, and the same bytes as SQLite wherever it takes them.

use super::*;
use proptest::prelude::*;

/// Cuts the file, overwrites bytes, repeats a stretch.
#[derive(Clone, Debug)]
enum Damage {
    Cut(usize),
    Set(usize, u8),
    Swap(usize, usize),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        any::<usize>().prop_map(Damage::Cut),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        // Among the first bytes, where the numbers stand.
        (0_usize..64, any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Damage::Swap(from, to)),
    ];
    proptest::collection::vec(one, 0..3)
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    let len = bytes.len().max(1);
    match damage {
        Damage::Cut(at) => bytes.truncate(at % len),
        Damage::Set(at, byte) => {
            if let Some(place) = bytes.get_mut(at % len) {
                *place = *byte;
            }
        }
        Damage::Swap(from, to) => {
            let (from, to) = (from % len / 512 * 512, to % len / 512 * 512);
            for step in 0..512 {
                if from + step < bytes.len() && to + step < bytes.len() {
                    bytes.swap(from + step, to + step);
                }
            }
        }
    }
}

/// The same as SQLite, or refused where SQLite refuses or the length is absurd.
fn judge(main: &Path) {
    let ours = taken(main, Kind::Plain);
    match (ours, by_sqlite(main)) {
        (Ok((bytes, captured)), Ok(expected)) => assert!(bytes == expected, "{captured:?}"),
        (Ok((_, captured)), Err(e)) => panic!("SQLite refuses ({e}) what was taken: {captured:?}"),
        (Err(Failed::Impossible(_)), _) => {}
        (Err(e), _) => panic!("{e:?}"),
    }
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn a_damaged_log_gives_what_sqlite_makes_of_it() {
    let crash = Crash::new("PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;");
    crash.run("CREATE TABLE message(id INTEGER PRIMARY KEY, text)");
    for round in 0..12 {
        crash.run(&format!("INSERT INTO message(text) VALUES(hex(zeroblob({round} * 150)))"));
    }
    let left = crash.leave();
    judge_damaged(left, Sidecar::Wal);
}

/// Damages a sidecar in many ways.
fn judge_damaged(left: &Path, sidecar: Sidecar) {
    let path = sidecar_of(left, sidecar);
    let whole = std::fs::read(&path).unwrap();
    assert!(whole.len() > 10_000, "{}", whole.len());
    proptest!(cases(), |(damages in damages())| {
        let mut bytes = whole.clone();
        damages.iter().for_each(|damage| apply(&mut bytes, damage));
        std::fs::write(&path, bytes).unwrap();
        judge(left);
    });
}

#[test]
fn a_damaged_journal_gives_what_sqlite_makes_of_it() {
    for synchronous in ["OFF", "FULL"] {
        let crash = Crash::new(&format!(
            "PRAGMA page_size=512; PRAGMA cache_size=5; PRAGMA synchronous={synchronous};"
        ));
        crash.run("CREATE TABLE message(id INTEGER PRIMARY KEY, text)");
        crash.run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
                   INSERT INTO message SELECT i, hex(randomblob(100)) FROM n",
        );
        crash.run("BEGIN; UPDATE message SET text = hex(randomblob(120))");
        judge_damaged(crash.leave(), Sidecar::Journal);
    }
}

#[test]
fn a_length_that_cannot_be_is_refused() {
    let crash = Crash::new("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;");
    let left = crash.run(FILL).leave();
    let log = sidecar_of(left, Sidecar::Wal);
    let mut bytes = std::fs::read(&log).unwrap();
    // The last commit claims 16 terabytes; checksums as a writer would make them.
    let frame = 4096 + 24;
    let last = bytes.len() - frame;
    let before: [u8; 8] = *bytes[last - frame + 16..].first_chunk().unwrap();
    let number = |raw: &[u8]| u32::from_be_bytes(*raw.first_chunk().unwrap());
    let mut sums = (number(&before), number(&before[4..]));
    bytes[last + 4..last + 8].fill(0xff);
    let head: Vec<u8> = bytes[last..last + 8].to_vec();
    for pair in head.chunks_exact(8).chain(bytes[last + 24..].chunks_exact(8)) {
        sums.0 = sums.0.wrapping_add(u32::from_le_bytes(*pair.first_chunk().unwrap())).wrapping_add(sums.1);
        sums.1 = sums.1.wrapping_add(u32::from_le_bytes(*pair.last_chunk().unwrap())).wrapping_add(sums.0);
    }
    bytes[last + 16..last + 20].copy_from_slice(&sums.0.to_be_bytes());
    bytes[last + 20..last + 24].copy_from_slice(&sums.1.to_be_bytes());
    std::fs::write(&log, bytes).unwrap();
    let failed = taken(left, Kind::Plain).unwrap_err();
    assert!(matches!(failed, Failed::Impossible(Impossible::Length)), "{failed:?}");
    assert!(by_sqlite(left).is_err(), "SQLite does not take it either");
}

#[test]
fn a_log_of_a_version_that_is_not_known_is_told() {
    let crash = Crash::new("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;");
    let left = crash.run(FILL).leave();
    let log = sidecar_of(left, Sidecar::Wal);
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[7] ^= 1;
    let number = |raw: &[u8]| u32::from_le_bytes(*raw.first_chunk().unwrap());
    let (mut a, mut b) = (0_u32, 0_u32);
    for pair in bytes[..24].chunks_exact(8) {
        a = a.wrapping_add(number(pair)).wrapping_add(b);
        b = b.wrapping_add(number(&pair[4..])).wrapping_add(a);
    }
    bytes[24..28].copy_from_slice(&a.to_be_bytes());
    bytes[28..32].copy_from_slice(&b.to_be_bytes());
    std::fs::write(&log, bytes).unwrap();
    let failed = taken(left, Kind::Plain).unwrap_err();
    assert!(matches!(failed, Failed::Impossible(Impossible::LogVersion(3_007_001))), "{failed:?}");
    assert!(by_sqlite(left).is_err(), "SQLite does not take it either");
}
