//! The first 100 bytes of a SQLite database.
//!
//! Source: "Database File Format" of the SQLite documentation, section 1.3.

/// The first 16 bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What the header says. All of it is a claim of the file, to be checked against its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqliteHeader {
    /// Bytes of a page: a power of two from 512 to 65,536.
    pub page_size: u32,
    /// True if the database is in write-ahead logging mode (a `-wal` file may hold committed pages).
    pub wal: bool,
    /// Bytes at the end of each page that SQLite leaves alone (extensions keep nonces or checksums there).
    pub reserved: u8,
    /// Counts transactions in rollback mode; in WAL mode it may stand still.
    pub change_counter: u32,
    /// Pages of the database, as last written; only meant if [`Self::page_count_is_current`].
    pub page_count: u32,
    /// Counts changes of the schema.
    pub schema_cookie: u32,
    /// A number of the app (`PRAGMA user_version`), most often the version of its schema.
    pub user_version: u32,
    /// A number of the file's kind (`PRAGMA application_id`), 0 for most.
    pub application_id: u32,
    /// The change counter at the time when [`Self::page_count`] was written.
    pub version_valid_for: u32,
    /// The SQLite that wrote last, as 1000000 x + 1000 y + z for version x.y.z.
    pub sqlite_version: u32,
}

impl SqliteHeader {
    /// Bytes of the header.
    pub const LEN: usize = 100;

    /// Reads the header from the first bytes of a file. `None` if there are fewer than [`Self::LEN`], or if SQLite itself
    /// would not take them for a database.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.first_chunk()?;
        let (magic, rest) = bytes.split_first_chunk::<16>()?;
        let [size_high, size_low, write_version, read_version, reserved, most, least, leaf, ..] = *rest
        else {
            return None;
        };
        // 65,536 does not fit into two bytes; 1 stands for it.
        let page_size = match u16::from_be_bytes([size_high, size_low]) {
            1 => 65536,
            size => u32::from(size),
        };
        let sound = magic == MAGIC
            && page_size.is_power_of_two()
            && page_size >= 512
            && page_size - u32::from(reserved) >= 480
            && [most, least, leaf] == [64, 32, 32]
            && write_version >= 1
            && (1..=2).contains(&read_version);
        let word = |at: usize| bytes.get(at..)?.first_chunk().map(|raw| u32::from_be_bytes(*raw));
        Some(Self {
            page_size,
            wal: read_version == 2,
            reserved,
            change_counter: word(24)?,
            page_count: word(28)?,
            schema_cookie: word(40)?,
            user_version: word(60)?,
            application_id: word(68)?,
            version_valid_for: word(92)?,
            sqlite_version: word(96)?,
        })
        .filter(|_| sound)
    }

    /// True if the page count was written by the transaction that last changed the file; otherwise the length of the file
    /// tells the pages.
    #[must_use]
    pub fn page_count_is_current(&self) -> bool {
        self.page_count > 0 && self.change_counter == self.version_valid_for
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    /// A database of this page size and journal mode, with one table; its header and its length.
    fn made(page_size: u32, journal: &str) -> (Vec<u8>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(&format!(
            "PRAGMA page_size={page_size}; PRAGMA journal_mode={journal};
             CREATE TABLE message(text); INSERT INTO message VALUES(hex(zeroblob(70000)));
             PRAGMA user_version=17; PRAGMA application_id=0x01020304;"
        ))
        .unwrap();
        db.close().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let len = bytes.len() as u64;
        (bytes, len)
    }

    #[test]
    fn real_databases_of_every_page_size_and_mode_are_read() {
        for page_size in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
            for (journal, wal) in [("DELETE", false), ("WAL", true)] {
                let (bytes, len) = made(page_size, journal);
                let header = SqliteHeader::parse(&bytes).unwrap();
                assert_eq!((header.page_size, header.wal), (page_size, wal));
                assert_eq!((header.user_version, header.application_id), (17, 0x0102_0304));
                assert_eq!(u64::from(header.page_count) * u64::from(page_size), len);
                assert!(header.page_count_is_current());
                assert_eq!(i64::from(header.sqlite_version), i64::from(rusqlite::version_number()));
            }
        }
    }

    #[test]
    fn a_transaction_moves_the_change_counter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let db = Connection::open(&path).unwrap();
        let read = || SqliteHeader::parse(&std::fs::read(&path).unwrap()).unwrap();
        db.execute_batch("CREATE TABLE message(text)").unwrap();
        let before = read();
        db.execute_batch("INSERT INTO message VALUES('x')").unwrap();
        assert_eq!(read().change_counter, before.change_counter + 1);
        assert_eq!(read().schema_cookie, before.schema_cookie);
    }

    #[test]
    fn what_sqlite_would_refuse_is_no_database() {
        let (good, _) = made(4096, "DELETE");
        assert!(SqliteHeader::parse(&good[..100]).is_some());
        assert!((0..100).all(|len| SqliteHeader::parse(&good[..len]).is_none()));
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            SqliteHeader::parse(&bad)
        };
        assert!(with(18, &[3]).is_some(), "a newer writer may be read");
        for (at, bytes) in [
            (0, &b"s"[..]),
            (15, b"1"),
            (16, &[0, 0]),
            (16, &[1, 0]),
            (16, &[0, 2]),
            (16, &[0x10, 1]),
            (16, &[0x30, 0]),
            (18, &[0]),
            (19, &[0]),
            (19, &[3]),
            (21, &[63]),
            (22, &[31]),
            (23, &[33]),
        ] {
            assert_eq!(with(at, bytes), None, "{bytes:?} at {at}");
        }
        assert_eq!(with(16, &[2, 0, 1, 1, 33]), None, "too little of a page is left");
        assert!(with(16, &[2, 0, 1, 1, 32]).is_some());
    }

    #[test]
    fn a_page_count_of_an_older_writer_is_not_current() {
        let (mut bytes, _) = made(4096, "DELETE");
        bytes[27] ^= 1;
        assert!(!SqliteHeader::parse(&bytes).unwrap().page_count_is_current());
    }
}
