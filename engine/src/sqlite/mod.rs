//! L2: what SQLite keeps in its files, read by our own code from bytes that belong to somebody else.

pub mod capture;
pub mod encrypted;
pub mod header;
pub mod image;
pub mod verify;

mod journal;
mod overlay;
mod wal;

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

/// The number in four bytes at this place, the most significant first.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|raw| u32::from_be_bytes(*raw))
}

/// True for what SQLite takes as the size of a page.
fn is_page_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && (512..=65536).contains(&bytes)
}

/// Where SQLite's locks on the main file begin; the page that holds this byte is never used for anything else.
const PENDING_BYTE: u64 = 0x4000_0000;
