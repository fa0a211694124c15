//! The rollback journal (`-journal`): what the database was before a transaction that never ended.
//!
//! Source: "Database File Format" of the SQLite documentation, section 3, and for what it leaves open the behaviour of
//! SQLite itself when it rolls such a journal back: where a record is damaged or cut off, everything from there on is
//! ignored.

use super::overlay::{Collector, Overlay, Unusable};
use super::{PENDING_BYTE, is_page_size, read_full, word};
use std::io;
use std::os::fd::BorrowedFd;

/// The first bytes of a header.
pub(super) const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// Bytes of a header that mean something; it fills a sector.
const HEADER: usize = 28;
/// No shorter journal is looked at.
const LEAST: u64 = 512;
/// Bytes before the page in a record; the checksum behind it takes as many.
const RECORD_HEAD: usize = 4;
/// A count of records that says: as many as the file has room for.
const UNCOUNTED: u32 = u32::MAX;
/// The checksum of a record takes every 200th byte of the page.
const CHECK_STEP: usize = 200;
/// SQLite takes no longer name for that of a super-journal.
const LONGEST_NAME: usize = 512;

/// What lies beside a database as its journal.
#[derive(Debug)]
pub enum Journal {
    /// Nothing that would be rolled back: empty, ended by zeroes at its start, or never completed.
    Ended,
    /// It belongs to a transaction over several databases. Whether that was committed is known elsewhere.
    OfSeveral,
    /// The original pages of a transaction.
    Open(Rollback),
}

/// How the database was.
#[derive(Debug)]
pub struct Rollback {
    /// Bytes of a page.
    pub page_size: u32,
    /// Pages of the database before the transaction.
    pub pages: u32,
    /// The original content of the pages that the transaction may have written.
    pub overlay: Overlay,
}

/// True if a file that begins with these bytes is a journal: one of a transaction that is under way, whose header has all
/// but magic number and count until the first flush, one that is to be rolled back, or one that was ended.
pub fn begins(head: &[u8]) -> bool {
    let is_unflushed = || {
        let (unset, set) = head.split_at_checked(MAGIC.len() + 4).unwrap_or_default();
        let sector = word(set, 8).is_some_and(|bytes| bytes.is_power_of_two() && bytes <= 65536);
        unset.iter().all(|byte| *byte == 0) && sector && word(set, 12).is_some_and(is_page_size)
    };
    head.iter().all(|byte| *byte == 0) || head.starts_with(&MAGIC) || is_unflushed()
}

impl Journal {
    /// True if the first byte says that a transaction may be open. Cheap; [`Self::read`] knows more.
    pub fn may_be_open(file: BorrowedFd<'_>) -> io::Result<bool> {
        let mut first = [0];
        Ok(read_full(file, &mut first, 0)? == 1 && first != [0])
    }

    /// Reads a journal of `len` bytes; `page_size` is that of the database, which very old journals do not tell.
    pub fn read(file: BorrowedFd<'_>, len: u64, page_size: Option<u32>) -> Result<Self, Unusable> {
        if len < LEAST {
            return Ok(Self::Ended);
        }
        if names_another(file, len)? {
            return Ok(Self::OfSeveral);
        }
        let Some((first, sector, page_size)) = first_header(file, page_size)? else { return Ok(Self::Ended) };
        let mut playback = Playback {
            file,
            len,
            sector,
            page_size,
            pages: first.pages,
            collector: Collector::default(),
            record: vec![0; page_size as usize + 2 * RECORD_HEAD],
        };
        let mut header = Some(first);
        let mut at = 0;
        while let Some(current) = header.take() {
            at += sector;
            if !playback.records(&current, &mut at)? {
                break;
            }
            at = at.next_multiple_of(sector);
            if at.saturating_add(sector) <= len {
                header = Header::read(file, at)?;
            }
        }
        let overlay = playback.collector.finish(RECORD_HEAD as u64);
        Ok(Self::Open(Rollback { page_size, pages: first.pages, overlay }))
    }
}

/// The part of a header that each has.
#[derive(Clone, Copy, Debug)]
struct Header {
    records: u32,
    nonce: u32,
    pages: u32,
}

impl Header {
    /// The header at this place, if there is one.
    fn read(file: BorrowedFd<'_>, at: u64) -> io::Result<Option<Self>> {
        let mut raw = [0; HEADER];
        let count = read_full(file, &mut raw, at)?;
        Ok(Self::parse(raw.get(..count).unwrap_or_default()))
    }

    fn parse(raw: &[u8]) -> Option<Self> {
        let is_header = raw.starts_with(&MAGIC) && raw.len() == HEADER;
        let header = Self { records: word(raw, 8)?, nonce: word(raw, 12)?, pages: word(raw, 16)? };
        is_header.then_some(header)
    }
}

/// The header at the start, with the sizes of sectors and pages.
fn first_header(file: BorrowedFd<'_>, known: Option<u32>) -> io::Result<Option<(Header, u64, u32)>> {
    let mut raw = [0; HEADER];
    read_full(file, &mut raw, 0)?;
    let parse = || {
        let (sector, page_size) = (word(&raw, 20)?, word(&raw, 24)?);
        let page_size = if page_size == 0 { known? } else { page_size };
        let is_sound = is_page_size(page_size) && sector.is_power_of_two() && (32..=65536).contains(&sector);
        is_sound.then_some((Header::parse(&raw)?, u64::from(sector), page_size))
    };
    Ok(parse())
}

/// A journal while it is read.
struct Playback<'a> {
    file: BorrowedFd<'a>,
    len: u64,
    sector: u64,
    page_size: u32,
    /// Pages of the database before the transaction.
    pages: u32,
    collector: Collector,
    record: Vec<u8>,
}

impl Playback<'_> {
    /// Takes the records of a header, from `at` on; false if nothing behind them counts.
    fn records(&mut self, header: &Header, at: &mut u64) -> Result<bool, Unusable> {
        let len = self.record.len() as u64;
        let count = match header.records {
            UNCOUNTED => self.len.saturating_sub(self.sector) / len,
            counted => u64::from(counted),
        };
        let lock_page = PENDING_BYTE / u64::from(self.page_size) + 1;
        for _ in 0..count {
            if read_full(self.file, &mut self.record, *at)? < self.record.len() {
                return Ok(false);
            }
            let Some(page) = word(&self.record, 0) else { return Ok(false) };
            if page == 0 || u64::from(page) == lock_page {
                return Ok(false);
            }
            if page <= self.pages {
                if self.sum(header.nonce) != word(&self.record, self.record.len() - RECORD_HEAD) {
                    return Ok(false);
                }
                self.collector.push(page, *at)?;
            }
            *at += len;
        }
        Ok(true)
    }

    /// The checksum of the page in the record.
    fn sum(&self, nonce: u32) -> Option<u32> {
        let page = self.record.get(RECORD_HEAD..)?.get(..self.page_size as usize)?;
        let places = (1..page.len().saturating_sub(CHECK_STEP) + 1).rev().step_by(CHECK_STEP);
        Some(places.filter_map(|at| page.get(at)).fold(nonce, |sum, byte| sum.wrapping_add(u32::from(*byte))))
    }
}

/// True if a super-journal is named at the end.
fn names_another(file: BorrowedFd<'_>, len: u64) -> io::Result<bool> {
    let mut end = [0; 16];
    let Some(tail) = len.checked_sub(16) else { return Ok(false) };
    if read_full(file, &mut end, tail)? < end.len() || !end.ends_with(&MAGIC) {
        return Ok(false);
    }
    let (Some(length), Some(sum)) = (word(&end, 0), word(&end, 4)) else { return Ok(false) };
    let mut name = [0; LONGEST_NAME];
    let Some(name) = name.get_mut(..length as usize).filter(|name| !name.is_empty()) else {
        return Ok(false);
    };
    let Some(at) = tail.checked_sub(u64::from(length)) else { return Ok(false) };
    let is_whole = read_full(file, name, at)? == name.len();
    // A byte of a name counts with its sign where SQLite was built with signed characters, which it mostly was.
    let signed = name.iter().fold(0_u32, |sum, byte| sum.wrapping_add_signed(i32::from(byte.cast_signed())));
    let unsigned = name.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    Ok(is_whole && (sum == signed || sum == unsigned))
}
