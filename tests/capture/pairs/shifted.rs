//! A database in WAL mode behind a private header, as some apps have it whose SQLite reads its main file from a later byte
//! on. The app of this test lets an ordinary SQLite work on a hidden database, and does to the files that can be seen what
//! that SQLite did to its own, in the same order and under the same locks.

use super::{
    ALIVE, App, CHECKPOINT, Outcome, Progress, SHARED, ended, lab, lock, restored, snapshots, state,
};
use crate::app::COMMIT;
use crate::judge::{State, state_of};
use chatvault_engine::base::WarningKind;
use chatvault_engine::model::DatabaseState;
use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK};
use rusqlite::Connection;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a copy of the index header, and of both with the numbers of checkpoints.
const COPY: usize = 48;
const INDEX: usize = 136;
const PAGE: usize = 4096;

/// The app keeps the last rows only.
const TRIM: &str = "BEGIN; DELETE FROM message WHERE id <= (SELECT max(id) FROM message) - 4000;
    UPDATE s SET n = (SELECT count(*) FROM message); COMMIT";

struct Shifted {
    hidden: PathBuf,
    db: Connection,
    main: File,
    wal: File,
    shm: File,
    header: u64,
    /// The generation whose header is in the log, and how far the log goes.
    salts: Vec<u8>,
    end: u64,
}

#[expect(clippy::host_endian_bytes, reason = "the index is memory that the programs of one machine share")]
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn path(hidden: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", hidden.display()))
}

/// What the app has before its pages: nothing that would look like a database.
fn private_header(len: u64) -> Vec<u8> {
    b"private header of an app, version 1;"
        .iter()
        .copied()
        .cycle()
        .take(usize::try_from(len).unwrap())
        .collect()
}

impl Shifted {
    fn new(folder: &Path, header: u64) -> Self {
        let hidden = folder.join("hidden.db");
        let db = Connection::open(&hidden).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF; PRAGMA cache_size=40;
             CREATE TABLE message(id INTEGER PRIMARY KEY, text); CREATE INDEX by_text ON message(text);
             CREATE TABLE s(n, seq); INSERT INTO s VALUES(0, 0);",
        )
        .unwrap();
        (0..200).for_each(|_| db.execute_batch(COMMIT).unwrap());
        db.execute_batch("UPDATE s SET seq = 0").unwrap();
        checkpoint_of(&db, "TRUNCATE");
        let source = folder.parent().unwrap().join("source");
        let open = |name: &str| {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(source.join(name))
                .unwrap()
        };
        let (main, wal, shm) = (open("nt_msg.db"), open("nt_msg.db-wal"), open("nt_msg.db-shm"));
        main.write_all_at(&private_header(header), 0).unwrap();
        main.write_all_at(&fs::read(&hidden).unwrap(), header).unwrap();
        shm.set_len(32768).unwrap();
        assert!(lock(&main, F_RDLCK, SHARED) && lock(&shm, F_RDLCK, ALIVE));
        let shifted = Self { hidden, db, main, wal, shm, header, salts: Vec::new(), end: 0 };
        shifted.shm.write_all_at(&shifted.index(), 0).unwrap();
        shifted
    }

    /// What the hidden SQLite's connections tell each other.
    fn index(&self) -> Vec<u8> {
        let mut index = vec![0; INDEX];
        File::open(path(&self.hidden, "-shm")).unwrap().read_exact_at(&mut index, 0).unwrap();
        index
    }

    /// The second copy first, as SQLite does it.
    fn publish(&self, index: &[u8]) {
        self.shm.write_all_at(&index[..COPY], COPY as u64).unwrap();
        self.shm.write_all_at(&index[..COPY], 0).unwrap();
    }

    fn commit(&mut self) {
        self.db.execute_batch(TRIM).unwrap();
        self.db.execute_batch(COMMIT).unwrap();
        let (index, log) = (self.index(), fs::read(path(&self.hidden, "-wal")).unwrap());
        if self.salts != index[32..40] {
            self.wal.write_all_at(&log[..32], 0).unwrap();
            (self.salts, self.end) = (index[32..40].to_vec(), 32);
        }
        let end = 32 + u64::from(word(&index, 16)) * (24 + PAGE as u64);
        let new = &log[usize::try_from(self.end).unwrap()..usize::try_from(end).unwrap()];
        for (number, part) in new.chunks(24 + PAGE).enumerate() {
            self.wal.write_all_at(part, self.end + (number * (24 + PAGE)) as u64).unwrap();
        }
        self.end = end;
        self.publish(&index);
    }

    /// Writes the log back, all of it or what an older reader leaves, and begins it anew if all was written back. False if
    /// somebody else has a lock that forbids it.
    fn checkpoint(&mut self, reader: &Connection, is_partial: bool, mode: &str) -> bool {
        if !lock(&self.shm, F_WRLCK, CHECKPOINT) {
            return false;
        }
        if is_partial {
            reader.execute_batch("BEGIN; SELECT count(*) FROM s;").unwrap();
            self.commit();
        }
        let before = fs::read(&self.hidden).unwrap();
        checkpoint_of(&self.db, "PASSIVE");
        let (index, after) = (self.index(), fs::read(&self.hidden).unwrap());
        // How far it will try to come, then the pages, then how far it came.
        self.shm.write_all_at(&index[128..132], 128).unwrap();
        for (number, page) in after.chunks(PAGE).enumerate() {
            if before.get(number * PAGE..(number + 1) * PAGE) != Some(page) {
                self.main.write_all_at(page, self.header + (number * PAGE) as u64).unwrap();
            }
        }
        self.shm.write_all_at(&index[96..100], 96).unwrap();
        if is_partial {
            reader.execute_batch("COMMIT").unwrap();
        } else {
            // The hidden log is cut in any case: only so it is begun anew at once.
            checkpoint_of(&self.db, "TRUNCATE");
            let index = self.index();
            assert_eq!(word(&index, 16), 0, "the log was begun anew");
            self.publish(&index);
            self.shm.write_all_at(&index[96..INDEX], 96).unwrap();
            if mode == "TRUNCATE" {
                self.wal.set_len(0).unwrap();
            }
        }
        lock(&self.shm, F_UNLCK, CHECKPOINT)
    }
}

fn checkpoint_of(db: &Connection, mode: &str) {
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())).unwrap();
}

pub fn play(folder: &Path, header: u64) {
    let mut app = Shifted::new(folder, header);
    let reader = Connection::open(&app.hidden).unwrap();
    let mut progress = Progress::new(folder);
    let ended = ended();
    let mut round = 0_u64;
    while !ended() {
        app.commit();
        progress.one_more();
        round += 1;
        if round.is_multiple_of(7) {
            let is_partial = round.is_multiple_of(3);
            let mode = if round.is_multiple_of(2) { "TRUNCATE" } else { "RESTART" };
            if app.checkpoint(&reader, is_partial, mode) && is_partial {
                progress.one_more();
            }
        }
    }
    // As a killed app leaves it: with its log.
}

/// What the app would find: the pages behind its header, and its log.
fn judged(folder: &Path, header: u64) -> Result<State, String> {
    let main = fs::read(folder.join("nt_msg.db")).unwrap();
    let header = usize::try_from(header).unwrap();
    assert!(main[..header] == private_header(header as u64));
    let own = tempfile::tempdir().unwrap();
    fs::write(own.path().join("own.db"), &main[header..]).unwrap();
    if let Ok(log) = fs::read(folder.join("nt_msg.db-wal")) {
        fs::write(own.path().join("own.db-wal"), log).unwrap();
    }
    state_of(&own.path().join("own.db"))
}

pub fn live() -> Outcome {
    let (mut torn, mut pairs, mut count) = (Vec::new(), 0, 0);
    for header in [1024, 4096] {
        let (lab, repo, folder) = lab();
        let app = App::start(&folder, &["shifted", &header.to_string()]);
        for _ in 0..snapshots(3) {
            let before = app.commits();
            let taken = lab.snapshot_of(&repo, &lab.source());
            let after = app.commits();
            assert_eq!(taken.warnings, []);
            pairs += u64::from(state(&taken) == DatabaseState::Pair);
            count += 1;
            match judged(&restored(&lab, &repo, &taken).folder, header) {
                Ok(state) if (before..=after + 1).contains(&state.commit) => {}
                Ok(state) => torn.push(format!("commit {} is not in {before}..={after}", state.commit)),
                Err(why) => torn.push(why),
            }
        }
        app.stop();
    }
    assert!(torn.is_empty(), "{} of {count} torn: {torn:#?}", torn.len());
    assert!(pairs * 2 > count, "{pairs} pairs of {count}");
    Outcome::Passed(format!("{count} snapshots, {pairs} of them pairs"))
}

pub fn quiet() -> Outcome {
    let (lab, repo, folder) = lab();
    let app = App::start(&folder, &["shifted", "1024"]);
    app.kill();
    let commits = judged(&lab.source(), 1024).unwrap().commit;
    // A log that is settled, and longer than what of it counts.
    let wal = File::options().append(true).open(lab.source().join("nt_msg.db-wal")).unwrap();
    std::io::Write::write_all(&mut &wal, &[7; 5000]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let taken = lab.snapshot_of(&repo, &lab.source());
    assert_eq!((taken.warnings.as_slice(), state(&taken)), (&[][..], DatabaseState::Pair));
    let back = restored(&lab, &repo, &taken);
    let there = &back.folder;
    assert_eq!(judged(there, 1024).unwrap().commit, commits);
    assert!(fs::metadata(there.join("nt_msg.db-wal")).unwrap().len() < wal.metadata().unwrap().len());
    let again = lab.snapshot_of(&repo, &lab.source());
    assert_eq!((again.databases.len(), again.tree), (0, taken.tree), "taken over");
    assert_eq!(judged(&restored(&lab, &repo, &again).folder, 1024).unwrap().commit, commits);
    Outcome::Passed(format!("{commits} commits"))
}

pub fn unknown_log() -> Outcome {
    let (lab, repo, folder) = lab();
    let app = App::start(&folder, &["shifted", "1024"]);
    app.kill();
    // The header of another version, with the checksum that belongs to it.
    let path = lab.source().join("nt_msg.db-wal");
    let mut log = fs::read(&path).unwrap();
    log[4..8].copy_from_slice(&3_021_000_u32.to_be_bytes());
    let is_big = log[3] & 1 == 1;
    let number = |bytes: &[u8]| {
        let bytes = bytes.try_into().unwrap();
        if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    let (mut first, mut second) = (0_u32, 0_u32);
    for pair in log[..24].chunks(8) {
        first = first.wrapping_add(number(&pair[..4])).wrapping_add(second);
        second = second.wrapping_add(number(&pair[4..])).wrapping_add(first);
    }
    log[24..28].copy_from_slice(&first.to_be_bytes());
    log[28..32].copy_from_slice(&second.to_be_bytes());
    fs::write(&path, log).unwrap();
    let taken = lab.snapshot_of(&repo, &lab.source());
    let [warning] = taken.warnings.as_slice() else { panic!("{:?}", taken.warnings) };
    assert_eq!((warning.kind, state(&taken)), (WarningKind::DatabaseNotCaptured, DatabaseState::AsItLay));
    assert!(warning.message.contains("version 3021000"), "{}", warning.message);
    assert!(restored(&lab, &repo, &taken).folder.join("nt_msg.db-wal").exists());
    Outcome::Passed("main file and log are stored one by one".to_owned())
}
