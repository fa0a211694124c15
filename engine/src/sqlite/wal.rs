//! The write-ahead log (`-wal`): which frames of it are committed.
//!
//! Source: "Database File Format" of the SQLite documentation, section 4, and "WAL-mode File Format". A frame counts if it
//! has the header's salts and its checksum, which runs over everything before it, fits; it is committed if it or a later
//! one that counts ends a transaction. This is what SQLite itself goes by when it recovers a log.

use super::overlay::{Collector, Overlay, TooLarge, Unusable};
use super::{is_page_size, read_full, word};
use std::io;
use std::os::fd::BorrowedFd;

/// Bytes of the log's header.
pub const HEADER: usize = 32;
/// Bytes before the page in each frame.
pub const FRAME_HEAD: usize = 24;
/// The first number of a log whose checksums go over little-endian numbers; one more: big-endian.
pub const MAGIC: u32 = 0x377f_0682;
/// The only version there is.
pub const VERSION: u32 = 3_007_000;
/// Read at once, in bytes, if a frame is no longer than that.
const STEP: usize = 1 << 20;

/// The two running sums.
pub(super) type Sums = (u32, u32);

/// What a log's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of a page.
    pub page_size: u32,
    big_endian: bool,
    salts: [u8; 8],
    sums: Sums,
    raw: [u8; HEADER],
}

/// What the first bytes of a log are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// No header that SQLite would take for one: the log counts as empty.
    None,
    /// A header of a version that is not known.
    Unknown(u32),
    /// A header.
    Sound(Header),
}

impl Head {
    /// Reads the first bytes of a log.
    pub fn parse(bytes: &[u8]) -> Self {
        Self::parse_whole(bytes).unwrap_or(Self::None)
    }

    fn parse_whole(bytes: &[u8]) -> Option<Self> {
        let raw: [u8; HEADER] = *bytes.first_chunk()?;
        let (magic, version, page_size) = (word(&raw, 0)?, word(&raw, 4)?, word(&raw, 8)?);
        if magic & !1 != MAGIC || !is_page_size(page_size) {
            return None;
        }
        let big_endian = magic & 1 == 1;
        let sums = summed(big_endian, raw.get(..24)?, (0, 0));
        if sums != (word(&raw, 24)?, word(&raw, 28)?) {
            return None;
        }
        if version != VERSION {
            return Some(Self::Unknown(version));
        }
        let salts = *raw.get(16..24)?.first_chunk()?;
        Some(Self::Sound(Header { page_size, big_endian, salts, sums, raw }))
    }
}

/// How far a log is read, by the word of its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until {
    /// The generation of which the index speaks.
    pub salts: [u8; 8],
    /// The last frame of it that was published.
    pub frames: u32,
}

/// The committed frames of a log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Bytes of a page; none if the log is empty.
    pub page_size: Option<u32>,
    /// Number of committed frames.
    pub frames: u32,
    /// Pages of the database after the last commit.
    pub pages: u32,
    /// The last frame of each page.
    pub overlay: Overlay,
    proof: Option<Proof>,
}

/// What must not have changed for the frames to be the same.
#[derive(Clone, Copy, Debug)]
struct Proof {
    header: [u8; HEADER],
    /// Starts of the first and the last frame of the last transaction, and their first bytes. Only the last one can ever be
    /// written over without a new header: if its writer failed after the frames were complete and took it back.
    last: Option<[FrameHead; 2]>,
}

/// Where a frame starts, and its first bytes: its checksum goes over all frames before it.
type FrameHead = (u64, [u8; FRAME_HEAD]);

impl Log {
    /// Reads a log as far as it goes now. By the word of the index, no further than that: what comes behind is not
    /// published yet, and of another generation than the index knows nothing is.
    pub fn read(file: BorrowedFd<'_>, until: Option<&Until>) -> Result<Self, Unusable> {
        let mut first = [0; HEADER];
        let empty = Self { page_size: None, frames: 0, pages: 0, overlay: Overlay::default(), proof: None };
        if read_full(file, &mut first, 0)? < HEADER {
            return Ok(empty);
        }
        let header = match Head::parse(&first) {
            Head::None => return Ok(empty),
            Head::Unknown(version) => return Err(Unusable::Version(version)),
            Head::Sound(header) => header,
        };
        let mut scan = Scan::new(header);
        let until = until.map(|until| if until.salts == header.salts { until.frames } else { 0 });
        let frame_len = scan.frame_len;
        let mut buffer = vec![0; (STEP / frame_len).max(1) * frame_len];
        let mut at = HEADER as u64;
        'log: loop {
            let count = read_full(file, &mut buffer, at)?;
            let mut frames = buffer.get(..count).unwrap_or_default().chunks_exact(frame_len);
            for frame in frames.by_ref() {
                if until.is_some_and(|until| scan.frames >= until) {
                    break 'log;
                }
                if scan.add(frame, at)?.is_none() {
                    break 'log;
                }
                at += frame_len as u64;
            }
            if count < buffer.len() {
                break;
            }
        }
        Ok(scan.finish())
    }

    /// Its generation; `None` for an empty log.
    pub fn salts(&self) -> Option<[u8; 8]> {
        self.proof?.header.get(16..24)?.first_chunk().copied()
    }

    /// True if the frames that were found are still there.
    pub fn is_unchanged(&self, file: BorrowedFd<'_>) -> io::Result<bool> {
        let Some(proof) = &self.proof else { return Ok(true) };
        let mut header = [0; HEADER];
        let mut is_same = read_full(file, &mut header, 0)? == HEADER && header == proof.header;
        for (at, head) in proof.last.iter().flatten() {
            let mut now = [0; FRAME_HEAD];
            is_same = is_same && read_full(file, &mut now, *at)? == FRAME_HEAD && now == *head;
        }
        Ok(is_same)
    }
}

/// A log while it is read.
struct Scan {
    header: Header,
    frame_len: usize,
    sums: Sums,
    frames: u32,
    committed: Collector,
    /// Of the transaction whose end was not seen yet.
    pending: Collector,
    /// The first frame of that transaction.
    begun: Option<FrameHead>,
    log: Log,
}

impl Scan {
    fn new(header: Header) -> Self {
        let proof = Proof { header: header.raw, last: None };
        let log = Log {
            page_size: Some(header.page_size),
            frames: 0,
            pages: 0,
            overlay: Overlay::default(),
            proof: Some(proof),
        };
        Self {
            frame_len: FRAME_HEAD + header.page_size as usize,
            sums: header.sums,
            header,
            frames: 0,
            committed: Collector::default(),
            pending: Collector::default(),
            begun: None,
            log,
        }
    }

    /// Takes the frame that starts at `at`; `None` if it does not count, and so nothing behind it.
    fn add(&mut self, frame: &[u8], at: u64) -> Result<Option<()>, TooLarge> {
        let Some((page, pages, head)) = self.check(frame) else { return Ok(None) };
        self.frames = self.frames.checked_add(1).ok_or(TooLarge)?;
        self.pending.push(page, at)?;
        let begun = *self.begun.get_or_insert((at, head));
        if pages > 0 {
            self.committed.take(&mut self.pending)?;
            self.begun = None;
            (self.log.frames, self.log.pages) = (self.frames, pages);
            self.log.proof = Some(Proof { header: self.header.raw, last: Some([begun, (at, head)]) });
        }
        Ok(Some(()))
    }

    /// Page, pages of the database if a transaction ends here, and the head of a frame that counts.
    fn check(&mut self, frame: &[u8]) -> Option<(u32, u32, [u8; FRAME_HEAD])> {
        let (head, content) = frame.split_first_chunk::<FRAME_HEAD>()?;
        let (page, pages) = (word(head, 0)?, word(head, 4)?);
        if head.get(8..16)? != self.header.salts || page == 0 {
            return None;
        }
        let sums = summed(self.header.big_endian, head.get(..8)?, self.sums);
        self.sums = summed(self.header.big_endian, content, sums);
        (self.sums == (word(head, 16)?, word(head, 20)?)).then_some((page, pages, *head))
    }

    fn finish(self) -> Log {
        Log { overlay: self.committed.finish(FRAME_HEAD as u64), ..self.log }
    }
}

/// Goes on with two sums over pairs of numbers.
pub(super) fn summed(big_endian: bool, bytes: &[u8], (mut first, mut second): Sums) -> Sums {
    let (pairs, _) = bytes.as_chunks::<8>();
    for [a, b, c, d, e, f, g, h] in pairs {
        let (one, other) = if big_endian {
            (u32::from_be_bytes([*a, *b, *c, *d]), u32::from_be_bytes([*e, *f, *g, *h]))
        } else {
            (u32::from_le_bytes([*a, *b, *c, *d]), u32::from_le_bytes([*e, *f, *g, *h]))
        };
        first = first.wrapping_add(one).wrapping_add(second);
        second = second.wrapping_add(other).wrapping_add(first);
    }
    (first, second)
}
