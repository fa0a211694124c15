//! L3: which pages of a database were written, as SQLite's write-ahead log tells (sqlite.org/fileformat2.html, section
//! 4.1): every frame of it names its page.

use crate::sqlite::wal::{FRAME_HEAD, HEADER, MAGIC, VERSION};
use crate::sqlite::{is_page_size, word};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Longest log that is read. After a longer one, most of a database is new anyway.
const MAX_LOG: u64 = 2 << 20;

/// Where the written pages begin in the database, in bytes. It may name more pages than were written last, but never
/// less. None if the log does not tell: it is none, it is too long, or its beginning was written over.
pub(super) fn written_pages(log: &File) -> io::Result<Option<HashSet<u64>>> {
    let len = log.metadata()?.len();
    let Some(len) = usize::try_from(len).ok().filter(|_| len <= MAX_LOG) else { return Ok(None) };
    let mut bytes = vec![0; len];
    log.read_exact_at(&mut bytes, 0)?;
    Ok(if bytes.is_empty() { Some(HashSet::new()) } else { pages_of(&bytes) })
}

fn pages_of(log: &[u8]) -> Option<HashSet<u64>> {
    let (header, frames) = log.split_first_chunk::<HEADER>()?;
    let (magic, version, page_size) = (word(header, 0)?, word(header, 4)?, word(header, 8)?);
    let is_log = magic & !1 == MAGIC && version == VERSION && is_page_size(page_size);
    // A log begins anew when all of it is in the database; each time, this counts on from 0.
    let is_first = word(header, 12)? == 0;
    if !is_log || !is_first {
        return None;
    }
    let frames = frames.chunks(FRAME_HEAD + page_size as usize);
    // A frame that was not written to its end counts too, if its number was.
    let pages = frames.filter_map(|frame| word(frame, 0));
    Some(pages.map(|page| u64::from(page.saturating_sub(1)) * u64::from(page_size)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    /// Rewrites a row of its own page in a database in WAL mode, and says which bytes of the file changed at the end.
    #[test]
    fn all_pages_that_change_are_named_until_the_log_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("database");
        let open = || {
            let connection = Connection::open(&path).unwrap();
            connection.pragma_update(None, "journal_mode", "WAL").unwrap();
            connection
        };
        open()
            .execute_batch(
                "CREATE TABLE t (id INTEGER PRIMARY KEY, bytes BLOB);
                 WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100)
                 INSERT INTO t SELECT x, zeroblob(3000) FROM n",
            )
            .unwrap();
        let before = std::fs::read(&path).unwrap();
        let connection = open();
        let set = |id: i64| {
            connection.execute("UPDATE t SET bytes = randomblob(3000) WHERE id = ?", [id]).unwrap();
        };
        set(7);
        let log = File::open(dir.path().join("database-wal")).unwrap();
        set(90);
        connection.execute("INSERT INTO t SELECT id + 1000, zeroblob(9000) FROM t LIMIT 5", ()).unwrap();
        let told = |log: &File| written_pages(log).unwrap();
        let before_the_end = told(&log).unwrap();
        drop(connection);
        assert!(!dir.path().join("database-wal").exists());
        let pages = told(&log).unwrap();
        assert_eq!(pages, before_the_end, "it can be read when its name is gone");
        let after = std::fs::read(&path).unwrap();
        assert!(after.len() > before.len());
        let changed = (0..after.len())
            .step_by(4096)
            .filter(|at| after.get(*at..at + 4096) != before.get(*at..at + 4096));
        let changed: HashSet<u64> = changed.map(|at| at as u64).collect();
        assert!(changed.is_subset(&pages), "{changed:?} {pages:?}");
        assert!(changed.len() >= 7 && pages.len() < 30, "{changed:?} {pages:?}");

        let connection = open();
        let log = File::open(dir.path().join("database-wal")).unwrap();
        assert_eq!(told(&log), Some(HashSet::new()));
        for _ in 0..2 {
            connection.execute("UPDATE t SET bytes = zeroblob(2000) WHERE id = 3", ()).unwrap();
            connection.query_row("PRAGMA wal_checkpoint", (), |_| Ok(())).unwrap();
        }
        connection.execute("UPDATE t SET bytes = zeroblob(2000) WHERE id = 50", ()).unwrap();
        assert_eq!(told(&log), None, "what was written first is written over");
    }

    #[test]
    fn what_is_no_log_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let told = |bytes: &[u8]| {
            let path = dir.path().join("log");
            std::fs::write(&path, bytes).unwrap();
            written_pages(&File::open(path).unwrap()).unwrap()
        };
        let numbers = |numbers: [u32; 8]| numbers.map(u32::to_be_bytes).as_flattened().to_vec();
        let header = numbers([0x377f_0682, 3_007_000, 512, 0, 1, 2, 3, 4]);
        assert_eq!(told(&header), Some(HashSet::new()));
        let frame = |page: u32| [&page.to_be_bytes()[..], &[0; 532]].concat();
        let frames = [&header[..], &frame(3), &frame(1), &frame(9)[..4]].concat();
        assert_eq!(told(&frames), Some(HashSet::from([1024, 0, 4096])));
        assert_eq!(told(&header[..31]), None);
        assert_eq!(told(&[7; 5000]), None);
        for bad in [[1, 3_007_000, 512, 0], [0x377f_0682, 1, 512, 0], [0x377f_0682, 3_007_000, 513, 0]] {
            let [magic, version, size, count] = bad;
            assert_eq!(told(&numbers([magic, version, size, count, 1, 2, 3, 4])), None);
        }
        assert_eq!(told(&numbers([0x377f_0682, 3_007_000, 512, 1, 1, 2, 3, 4])), None);
        assert_eq!(told(&vec![0; MAX_LOG as usize + 1]), None);
    }
}
