//! The head of a log's index (`-shm`): what the app's connections tell each other of the log.
//!
//! Source: "WAL-mode File Format" of the SQLite documentation, section 2. The index lies in memory that the connections
//! share, in the machine's byte order. It is worth something only while somebody has the database open, and not if that
//! somebody keeps an index of its own (exclusive locking mode).

use super::super::read_full;
use super::super::wal::summed;
use std::io;
use std::os::fd::BorrowedFd;

/// Bytes of each of the two copies of the header.
const COPY: usize = 48;
/// Bytes of a copy before its checksum.
const SUMMED: usize = 40;
/// Where the numbers of checkpoints start.
const CHECKPOINTS: u64 = 96;
/// Bytes of them.
const CHECKPOINTS_LEN: usize = 40;
/// The only version there is.
const VERSION: u32 = super::super::wal::VERSION;

/// What the index says at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    /// The generation of the log, as its header has it.
    pub salts: [u8; 8],
    /// Bytes of a page.
    pub page_size: u32,
    /// The last committed frame, counted from 1; 0 for an empty log.
    pub max_frame: u32,
    /// Pages of the database after that commit.
    pub pages: u32,
    /// Frames up to this one are in the main file.
    pub backfilled: u32,
    /// No checkpoint of this generation has tried to write back a frame behind this one.
    pub attempted: u32,
}

impl Index {
    /// Reads the index; `None` if it is not complete at this moment, as while a commit is published or the index is
    /// rebuilt.
    ///
    /// The numbers of checkpoints are read before the header: whoever begins the log anew writes new salts first and then
    /// sets these numbers to 0, so that numbers which were read before old salts are those of the old generation.
    pub fn read(shm: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let Some((backfilled, attempted)) = checkpoints(shm)? else { return Ok(None) };
        let mut header = [0; 2 * COPY];
        if read_full(shm, &mut header, 0)? < header.len() {
            return Ok(None);
        }
        Ok(Self::parse(&header, backfilled, attempted))
    }

    fn parse(header: &[u8; 2 * COPY], backfilled: u32, attempted: u32) -> Option<Self> {
        let (first, second) = header.split_at(COPY);
        let [is_made, is_big_endian, ..] = *first.get(12..)? else { return None };
        let sums = summed(cfg!(target_endian = "big"), first.get(..SUMMED)?, (0, 0));
        let is_sound = first == second
            && is_made != 0
            && is_big_endian <= 1
            && native(first, 0)? == VERSION
            && sums == (native(first, SUMMED)?, native(first, SUMMED + 4)?);
        let size = native_short(first, 14)?;
        // 65,536 does not fit into two bytes; 1 stands for it.
        let page_size = if size == 1 { 65536 } else { u32::from(size) };
        let index = Self {
            salts: *first.get(32..)?.first_chunk()?,
            page_size,
            max_frame: native(first, 16)?,
            pages: native(first, 20)?,
            backfilled,
            attempted,
        };
        is_sound.then_some(index)
    }
}

/// How far checkpoints came, and how far they tried to come.
pub fn checkpoints(shm: BorrowedFd<'_>) -> io::Result<Option<(u32, u32)>> {
    let mut raw = [0; CHECKPOINTS_LEN];
    if read_full(shm, &mut raw, CHECKPOINTS)? < raw.len() {
        return Ok(None);
    }
    Ok(native(&raw, 0).zip(native(&raw, 32)))
}

/// The number in two bytes at this place, in the machine's order.
#[expect(clippy::host_endian_bytes, reason = "the index is memory that the programs of one machine share")]
fn native_short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|raw| u16::from_ne_bytes(*raw))
}

/// The number in four bytes at this place, in the machine's order.
#[expect(clippy::host_endian_bytes, reason = "the index is memory that the programs of one machine share")]
fn native(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|raw| u32::from_ne_bytes(*raw))
}

#[cfg(test)]
mod tests {
    use super::super::super::word;
    use super::*;
    use rusqlite::Connection;
    use std::fs::File;
    use std::os::fd::AsFd;

    /// The index of a live database, which this process keeps open.
    struct Live {
        _folder: tempfile::TempDir,
        db: Connection,
        shm: File,
        wal: std::path::PathBuf,
    }

    impl Live {
        fn new(pragmas: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("chat.db");
            let db = Connection::open(&path).unwrap();
            db.execute_batch(&format!(
                "{pragmas}; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE m(t)"
            ))
            .unwrap();
            let shm = File::open(folder.path().join("chat.db-shm")).unwrap();
            Self { db, shm, wal: folder.path().join("chat.db-wal"), _folder: folder }
        }

        fn index(&self) -> Index {
            Index::read(self.shm.as_fd()).unwrap().unwrap()
        }

        /// Frames in the log, and those written back, by SQLite's own word.
        fn checkpoint(&self, mode: &str) -> (u32, u32) {
            let sql = format!("PRAGMA wal_checkpoint({mode})");
            self.db.query_row(&sql, [], |row| Ok((row.get(1)?, row.get(2)?))).unwrap()
        }
    }

    #[test]
    fn the_index_says_what_sqlite_says() {
        for page_size in [512, 4096, 65536] {
            let live = Live::new(&format!("PRAGMA page_size={page_size}"));
            for _ in 0..5 {
                live.db.execute_batch("INSERT INTO m VALUES(hex(randomblob(700)))").unwrap();
            }
            let index = live.index();
            let log = std::fs::read(&live.wal).unwrap();
            let frames = (log.len() - 32) / (page_size as usize + 24);
            let last = 32 + (frames - 1) * (page_size as usize + 24);
            assert_eq!((index.page_size, index.max_frame as usize), (page_size, frames));
            assert_eq!(index.salts, log[16..24]);
            assert_eq!(Some(index.pages), word(&log, last + 4));
            assert_eq!((index.backfilled, index.attempted), (0, 0));
            let (in_log, written) = live.checkpoint("PASSIVE");
            assert_eq!((in_log, written), (index.max_frame, index.max_frame));
            assert_eq!((live.index().backfilled, live.index().attempted), (written, written));
            live.db.execute_batch("INSERT INTO m VALUES('anew')").unwrap();
            let anew = live.index();
            assert!(anew.salts != index.salts && anew.max_frame > 0 && anew.attempted == 0, "{anew:?}");
            live.checkpoint("TRUNCATE");
            assert_eq!((live.index().max_frame, live.index().attempted), (0, 0));
        }
    }

    #[test]
    fn any_changed_bit_of_the_header_makes_the_index_unusable() {
        let live = Live::new("");
        let mut header = [0; 2 * COPY];
        assert_eq!(read_full(live.shm.as_fd(), &mut header, 0).unwrap(), header.len());
        assert!(Index::parse(&header, 0, 0).is_some());
        for at in 0..COPY {
            let mut one = header;
            one[at] ^= 4;
            assert!(Index::parse(&one, 0, 0).is_none(), "two copies that differ, byte {at}");
            one[at + COPY] ^= 4;
            assert!(Index::parse(&one, 0, 0).is_none(), "a checksum that does not fit, byte {at}");
        }
        let empty = tempfile::tempfile().unwrap();
        assert_eq!(Index::read(empty.as_fd()).unwrap(), None);
        empty.set_len(32768).unwrap();
        assert_eq!(Index::read(empty.as_fd()).unwrap(), None);
    }
}
