//! L2: what SQLite keeps in its files, read by our own code from bytes that belong to somebody else.

pub mod capture;
pub mod encrypted;
pub mod header;
pub mod image;
pub mod verify;

mod journal;
mod overlay;
pub(crate) mod wal;

pub use header::SqliteHeader;
pub use image::Image;

use rustix::io::{pread, retry_on_intr};
use std::io;
use std::os::fd::BorrowedFd;

/// Reads from `offset` on until the buffer is full or the file ends, and says how many bytes that were.
fn read_full(file: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(room) = buf.get_mut(done..).filter(|room| !room.is_empty()) {
        let Some(at) = offset.checked_add(done as u64) else { break };
        // A negative offset for the system: behind the end of every file.
        if i64::try_from(at).is_err() {
            break;
        }
        match retry_on_intr(|| pread(file, &mut *room, at))? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

/// True if a file of this name's end, beginning with these bytes, is one that SQLite has left or would take for its own; what
/// is not belongs to somebody else, whatever its name.
#[must_use]
pub fn is_of_sqlite(sidecar: capture::Sidecar, head: &[u8]) -> bool {
    // A log or journal that was used and is kept for the next time may begin with zeroes.
    let begins = |magics: &[&[u8]]| {
        head.iter().all(|byte| *byte == 0) || magics.iter().any(|magic| head.starts_with(magic))
    };
    match sidecar {
        capture::Sidecar::Wal => begins(&[&wal::MAGIC.to_be_bytes(), &(wal::MAGIC | 1).to_be_bytes()]),
        capture::Sidecar::Journal => journal::begins(head),
        // Its version, in the processor's own order.
        capture::Sidecar::Shm => begins(&[&wal::VERSION.to_le_bytes(), &wal::VERSION.to_be_bytes()]),
    }
}

/// True if a write-ahead log begins with these bytes: one that is sound, or of a version that is not known.
#[must_use]
pub fn is_log(head: &[u8]) -> bool {
    wal::Head::parse(head) != wal::Head::None
}

/// True if the journal of a transaction that was not ended begins with these bytes.
#[must_use]
pub fn is_journal(head: &[u8]) -> bool {
    head.len() >= JOURNAL_HEAD && journal::begins(head) && head.iter().any(|byte| *byte != 0)
}

/// True for a write-ahead log that holds committed changes.
#[must_use]
pub fn log_has_commits(file: BorrowedFd<'_>) -> bool {
    wal::Log::read(file, None).is_ok_and(|log| log.frames > 0)
}

/// The number in four bytes at this place, the most significant first.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|raw| u32::from_be_bytes(*raw))
}

/// True for what SQLite takes as the size of a page.
pub(crate) fn is_page_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && (512..=65536).contains(&bytes)
}

/// Bytes of a journal's header.
const JOURNAL_HEAD: usize = 28;

/// Where SQLite's locks on the main file begin; the page that holds this byte is never used for anything else.
const PENDING_BYTE: u64 = 0x4000_0000;

#[cfg(test)]
mod tests {
    use super::capture::Sidecar;
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn what_sqlite_leaves_is_its_own_and_anything_else_is_not() {
        for (mode, sidecars) in [
            ("WAL", &[Sidecar::Wal, Sidecar::Shm][..]),
            ("PERSIST", &[Sidecar::Journal]),
            ("TRUNCATE", &[Sidecar::Journal]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let db = Connection::open(folder.path().join("chat.db")).unwrap();
            db.execute_batch(&format!(
                "PRAGMA journal_mode={mode}; CREATE TABLE m(t); INSERT INTO m VALUES(1);"
            ))
            .unwrap();
            for sidecar in sidecars {
                let left = std::fs::read(folder.path().join(format!("chat.db{}", sidecar.suffix()))).unwrap();
                assert!(is_of_sqlite(*sidecar, left.get(..32).unwrap_or(&left)), "{mode} {sidecar:?}");
            }
        }
        for mode in ["DELETE", "PERSIST", "TRUNCATE"] {
            let folder = tempfile::tempdir().unwrap();
            let db = Connection::open(folder.path().join("chat.db")).unwrap();
            db.execute_batch(&format!(
                "PRAGMA journal_mode={mode}; CREATE TABLE m(t); BEGIN; INSERT INTO m VALUES(1);"
            ))
            .unwrap();
            let open = std::fs::read(folder.path().join("chat.db-journal")).unwrap();
            // The nonce: neither zeroes nor the magic number.
            assert!(open[..12] == [0; 12] && open[12..16] != [0; 4], "{mode}");
            assert!(is_of_sqlite(Sidecar::Journal, &open[..32]), "{mode}");
            assert!(!is_of_sqlite(Sidecar::Wal, &open[..32]), "{mode}");
        }
        for sidecar in Sidecar::ALL {
            assert!(is_of_sqlite(sidecar, b""));
            assert!(
                !is_of_sqlite(sidecar, b"Dear diary, today") && !is_of_sqlite(sidecar, b"SQLite format 3\0")
            );
        }
    }
}
