//! The write-ahead log (`-wal`): which frames of it are committed.
//!
//! Source: "Database File Format" of the SQLite documentation, section 4, and "WAL-mode File Format". A frame counts if it
//! has the header's salts and its checksum, which runs over everything before it, fits; it is committed if it or a later
//! one that counts ends a transaction. This is what SQLite itself goes by when it recovers a log.
//!
//! Behind the last committed frame there may be more of the same generation in good order: pages that a transaction wrote
//! early and took back, or that a killed app left. None of them ends a transaction. So a log is damaged if behind the place
//! where its checksums end there is a frame that ends one, and whose checksum follows from that of the frame before it; or
//! if the index says that more frames were published.

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
    /// What was a header: it has its first number, or all but that, and its checksum does not fit.
    Damaged,
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
        let has_magic = magic & !1 == MAGIC;
        let big_endian = magic & 1 == 1;
        let sums = summed(big_endian, raw.get(..24)?, (0, 0));
        let is_sound = has_magic && is_page_size(page_size) && sums == (word(&raw, 24)?, word(&raw, 28)?);
        if !is_sound {
            let was_one = has_magic || (version == VERSION && is_page_size(page_size));
            return was_one.then_some(Self::Damaged);
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
    /// Pages of the database after that.
    pub pages: u32,
    /// Bytes of a page.
    pub page_size: u32,
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
    /// True if frames were committed that cannot be told from the log any more.
    pub is_damaged: bool,
    salts: Option<[u8; 8]>,
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
        if read_full(file, &mut first, 0)? < HEADER {
            return Ok(Self::empty());
        }
        let header = match Head::parse(&first) {
            Head::Unknown(version) => return Err(Unusable::Version(version)),
            Head::Sound(header) => header,
            head => return unsound(file, head, first, until),
        };
        let known = until.map(|until| if until.salts == header.salts { until.frames } else { 0 });
        let mut scan = Scan::new(header);
        let end = scan.run(file, known)?;
        let log =
            match until.filter(|until| known.is_some_and(|known| end.is_broken && known == until.frames)) {
                Some(until) => scan.believing(file, until, end.at)?,
                // Nobody keeps an index: only what lies behind can tell.
                None if known.is_none() && end.is_broken => {
                    let is_damaged = has_survivor(file, &header, end.at)?;
                    Self { is_damaged, ..scan.finish() }
                }
                None => scan.finish(),
            };
        Ok(log)
    }

    fn empty() -> Self {
        Self {
            page_size: None,
            frames: 0,
            pages: 0,
            overlay: Overlay::default(),
            is_damaged: false,
            salts: None,
            proof: None,
        }
    }

    /// Bytes up to the end of the last committed frame.
    pub fn len(&self) -> u64 {
        let frame = self.page_size.map_or(0, |page_size| FRAME_HEAD as u64 + u64::from(page_size));
        HEADER as u64 + u64::from(self.frames) * frame
    }

    /// Its generation; `None` for an empty log.
    pub fn salts(&self) -> Option<[u8; 8]> {
        self.salts
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

/// A log whose header is none. SQLite takes it for empty, unless it has the database open and so knows better.
fn unsound(
    file: BorrowedFd<'_>,
    head: Head,
    raw: [u8; HEADER],
    until: Option<&Until>,
) -> Result<Log, Unusable> {
    let proof = Some(Proof { header: raw, last: None });
    match until {
        Some(until) if until.frames > 0 => {
            let header = Header {
                page_size: until.page_size,
                big_endian: false,
                salts: until.salts,
                sums: (0, 0),
                raw,
            };
            Scan::new(header).believing(file, until, HEADER as u64)
        }
        Some(_) => Ok(Log { proof, ..Log::empty() }),
        None => {
            let len = rustix::fs::fstat(file).map_err(io::Error::from)?.st_size;
            let has_frames = u64::try_from(len).is_ok_and(|len| len > HEADER as u64);
            Ok(Log { is_damaged: head == Head::Damaged && has_frames, proof, ..Log::empty() })
        }
    }
}

/// True if behind the frame at `at`, which does not count, there is one that ends a transaction and follows from the frame
/// before it.
fn has_survivor(file: BorrowedFd<'_>, header: &Header, at: u64) -> io::Result<bool> {
    let frame_len = FRAME_HEAD + header.page_size as usize;
    let mut before = [0; FRAME_HEAD];
    let mut head = [0; FRAME_HEAD];
    let mut page = Vec::new();
    let mut at = at;
    if read_full(file, &mut before, at)? < FRAME_HEAD {
        return Ok(false);
    }
    loop {
        at += frame_len as u64;
        if read_full(file, &mut head, at)? < FRAME_HEAD {
            return Ok(false);
        }
        let is_end =
            head.get(8..16) == Some(&header.salts[..]) && word(&head, 4).is_some_and(|pages| pages > 0);
        if is_end {
            page.resize(header.page_size as usize, 0);
            let is_whole = read_full(file, &mut page, at + FRAME_HEAD as u64)? == page.len();
            let stored = |head: &[u8]| word(head, 16).zip(word(head, 20));
            let sums = stored(&before).map(|before| {
                let sums = summed(header.big_endian, head.get(..8).unwrap_or_default(), before);
                summed(header.big_endian, &page, sums)
            });
            if is_whole && sums.is_some() && sums == stored(&head) {
                return Ok(true);
            }
        }
        before = head;
    }
}

/// Where a scan ended.
struct End {
    /// The first frame that was not taken.
    at: u64,
    /// True if there is one that does not count.
    is_broken: bool,
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
            salts: Some(header.salts),
            proof: Some(proof),
            ..Log::empty()
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

    /// Takes frames as long as they count, and at most so many.
    fn run(&mut self, file: BorrowedFd<'_>, most: Option<u32>) -> Result<End, Unusable> {
        let frame_len = self.frame_len;
        let mut buffer = vec![0; (STEP / frame_len).max(1) * frame_len];
        let mut at = HEADER as u64;
        loop {
            let count = read_full(file, &mut buffer, at)?;
            for frame in buffer.get(..count).unwrap_or_default().chunks_exact(frame_len) {
                if most.is_some_and(|most| self.frames >= most) {
                    return Ok(End { at, is_broken: false });
                }
                if self.add(frame, at)?.is_none() {
                    return Ok(End { at, is_broken: true });
                }
                at += frame_len as u64;
            }
            if count < buffer.len() {
                // Shorter than what was published is broken, too.
                return Ok(End { at, is_broken: most.is_some_and(|most| self.frames < most) });
            }
        }
    }

    /// Goes on with the frame at `at` and takes all that were published, though their checksums do not tell: so does the
    /// app, which has the database open and goes by the index.
    fn believing(mut self, file: BorrowedFd<'_>, until: &Until, at: u64) -> Result<Log, Unusable> {
        let frame_len = self.frame_len as u64;
        let end = HEADER as u64 + u64::from(until.frames) * frame_len;
        let (mut at, mut begun, mut last) = (at, None, None);
        while at < end {
            let mut head = [0; FRAME_HEAD];
            let is_whole = read_full(file, &mut head, at)? == FRAME_HEAD
                && read_full(file, &mut [0], at + frame_len - 1)? == 1;
            if !is_whole {
                break;
            }
            let page = word(&head, 0).filter(|page| (1..=until.pages).contains(page));
            if let Some(page) = page.filter(|_| head.get(8..16) == Some(&until.salts[..])) {
                self.pending.push(page, at)?;
            }
            begun = begun.or(Some((at, head)));
            last = Some((at, head));
            at += frame_len;
        }
        if at < end {
            // Cut off: what SQLite would find there is an error.
            return Ok(Log { is_damaged: true, ..self.finish() });
        }
        self.committed.take(&mut self.pending)?;
        (self.log.frames, self.log.pages) = (until.frames, until.pages);
        let last = begun.zip(last).map(|(first, last)| [first, last]);
        self.log.proof = Some(Proof { header: self.header.raw, last });
        Ok(Log { is_damaged: true, ..self.finish() })
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
