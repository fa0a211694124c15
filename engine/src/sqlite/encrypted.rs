//! Databases that are encrypted page by page (SQLCipher: Signal, WeChat). They have no header that can be read, but pages
//! that did not change stay the same bytes, and a write-ahead log like others.

use super::capture::Kind;
use super::{SqliteHeader, wal};
use crate::codec::media;

/// Bytes of the file's start that are looked at, if it has as many.
pub const HEAD_LEN: usize = 4096;
/// No shorter file is a database of this kind: pages are never smaller.
const LEAST: u64 = 1024;
/// Page sizes that are guessed where no log tells: SQLCipher's since version 4, and before.
const GUESSES: [u32; 2] = [4096, 1024];
/// Chi-squared of bytes that are all equally likely is 255, give or take 23; this is 8 times that away. Text has thousands.
const MOST_CHI_SQUARED: f64 = 435.0;

/// How names of such databases begin and end, and in which folder they lie, if the name alone says too little.
const KNOWN: &[(&str, &str, Option<&str>)] = &[
    // Signal: desktop, Android.
    ("db.sqlite", "", Some("sql")),
    ("signal", ".db", None),
    // WeChat: Android.
    ("EnMicroMsg", ".db", None),
    // WeChat: Windows 3, macOS 3, both 4.
    ("MicroMsg", ".db", None),
    ("MSG", ".db", None),
    ("MediaMSG", ".db", None),
    ("FTSMSG", ".db", None),
    ("HardLink", ".db", None),
    ("", ".db", Some("Msg")),
    ("msg_", ".db", None),
    ("wccontact_new", ".db", None),
    ("group_new", ".db", None),
    ("session_new", ".db", None),
    ("hldata", ".db", None),
    ("", ".db", Some("db_storage")),
];

/// First bytes of contents that may look as random as encrypted ones, and are no media.
const NO_MEDIA: [&[u8]; 3] = [b"SQLite format 3\0", b"RIFF", b"%PDF"];

/// What is known of a file before it is read.
#[derive(Clone, Copy, Debug)]
pub struct Outline<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Names of the folders it lies in, the nearest first; three are enough.
    pub folders: &'a [&'a [u8]],
    /// Its bytes.
    pub size: u64,
    /// Its first [`HEAD_LEN`] bytes, or all of them.
    pub head: &'a [u8],
    /// The first 32 bytes of a file with this name and `-wal`, if there is one.
    pub wal: Option<&'a [u8]>,
}

/// The page size of a file that looks like an encrypted database; `None` for what does not.
///
/// It must begin with bytes that look random and that no other format begins with, and either lie beside a write-ahead log
/// whose page size divides its own size, or have name, folder and size of a database that is known to be encrypted. In
/// the second case the page size is a guess.
#[must_use]
pub fn page_size(outline: &Outline<'_>) -> Option<u32> {
    let Outline { name, folders, size, head, wal } = *outline;
    let is_random = size >= LEAST && head.len() as u64 >= size.min(HEAD_LEN as u64) && looks_random(head);
    // Only whole signatures: what looks like a frame of sound begins one of nine thousand encrypted databases by chance.
    let is_other =
        media::by_signature(head).is_some() || NO_MEDIA.iter().any(|magic| head.starts_with(magic));
    if !is_random || is_other {
        return None;
    }
    let divides = |page_size: &u32| size.is_multiple_of(u64::from(*page_size));
    let by_log = match wal.map(wal::Head::parse) {
        Some(wal::Head::Sound(header)) => Some(header.page_size).filter(divides),
        _ => None,
    };
    let by_name = || is_known(name, folders).then(|| GUESSES.into_iter().find(divides)).flatten();
    by_log.or_else(by_name)
}

fn is_known(name: &[u8], folders: &[&[u8]]) -> bool {
    KNOWN.iter().any(|(start, end, folder)| {
        name.len() >= start.len() + end.len()
            && name.starts_with(start.as_bytes())
            && name.ends_with(end.as_bytes())
            && (!end.is_empty() || name.len() == start.len())
            && folder.is_none_or(|folder| folders.contains(&folder.as_bytes()))
    })
}

/// What a file that begins with a readable header is, with that header; `None` where there is none: then it is an encrypted
/// database, or none. `head` is the first [`HEAD_LEN`] bytes, or all there are.
///
/// SQLCipher keeps the first 32 bytes readable where it is told to (as Signal tells it on iOS), because that system must see
/// what kind of file it is: then SQLite can say nothing of what comes behind them.
#[must_use]
pub fn kind_of(head: &[u8]) -> Option<(Kind, SqliteHeader)> {
    const READABLE: usize = 32;
    let header = SqliteHeader::parse(head)?;
    let is_encrypted = head.get(READABLE..HEAD_LEN).is_some_and(looks_random);
    Some((if is_encrypted { Kind::Encrypted } else { Kind::Plain }, header))
}

/// True if all values of a byte are about equally frequent.
fn looks_random(bytes: &[u8]) -> bool {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let mean = bytes.len() as f64 / 256.0;
    let chi_squared: f64 = counts.iter().map(|count| (f64::from(*count) - mean).powi(2) / mean).sum();
    chi_squared <= MOST_CHI_SQUARED
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    /// Bytes as a cipher makes them.
    fn noise(len: usize, seed: u8) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn outline<'a>(name: &'a str, folders: &'a [&'a [u8]], size: u64, head: &'a [u8]) -> Outline<'a> {
        Outline { name: name.as_bytes(), folders, size, head, wal: None }
    }

    #[test]
    fn a_readable_header_before_noise_is_that_of_an_encrypted_database() {
        let folder = tempfile::tempdir().unwrap();
        let db = Connection::open(folder.path().join("chat.db")).unwrap();
        db.execute_batch("CREATE TABLE m(t); INSERT INTO m VALUES(hex(randomblob(9000)))").unwrap();
        let plain = std::fs::read(folder.path().join("chat.db")).unwrap();
        let kind = |head: &[u8]| kind_of(head).map(|(kind, header)| (kind, header.page_size));
        assert_eq!(kind(&plain), Some((Kind::Plain, 4096)));
        let encrypted = [&plain[..32], &noise(HEAD_LEN, 3)[32..]].concat();
        assert_eq!(kind(&encrypted), Some((Kind::Encrypted, 4096)));
        assert_eq!(kind(&encrypted[..HEAD_LEN - 1]), Some((Kind::Plain, 4096)), "too little to tell");
        assert_eq!((kind(&noise(HEAD_LEN, 3)), kind(b"")), (None, None));
    }

    #[test]
    fn known_names_in_their_folders_are_recognised() {
        let head = noise(HEAD_LEN, 1);
        for (path, size, expected) in [
            ("Signal/sql/db.sqlite", 40960, Some(4096)),
            ("Signal/db.sqlite", 40960, None),
            ("sql/db.sqlite2", 40960, None),
            ("databases/signal.db", 40960, Some(4096)),
            ("MicroMsg/0123/EnMicroMsg.db", 41984, Some(1024)),
            ("MicroMsg/0123/EnMicroMsg.db", 41985, None),
            ("MicroMsg/0123/EnMicroMsg.db", 41472, None),
            ("Msg/Multi/MSG0.db", 40960, Some(4096)),
            ("Msg/Misc.db", 40960, Some(4096)),
            ("db_storage/message/message_0.db", 40960, Some(4096)),
            ("other/message_0.db", 40960, None),
            ("holiday/IMG-1.jpg", 40960, None),
            ("x/.db", 40960, None),
        ] {
            let mut folders: Vec<&[u8]> = path.split('/').rev().map(str::as_bytes).collect();
            let name = std::str::from_utf8(folders.remove(0)).unwrap();
            assert_eq!(page_size(&outline(name, &folders, size, &head)), expected, "{path} of {size}");
        }
    }

    #[test]
    fn every_cipher_text_looks_random_and_nothing_else() {
        for seed in 0..200 {
            for len in [1024, 2048, 4096] {
                assert!(looks_random(&noise(len, seed)), "{seed} {len}");
            }
            let mut page = noise(4096, seed);
            page[4084..].fill(0);
            assert!(looks_random(&page), "WeChat fills 12 bytes of each page with zeroes");
        }
        let words: Vec<u8> = b"a message and its answer. ".iter().copied().cycle().take(4096).collect();
        let mut half = noise(4096, 1);
        half[2048..].fill(0);
        let hex: Vec<u8> =
            noise(2048, 2).iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
        for (what, bytes) in
            [("text", words), ("zeroes", vec![0; 4096]), ("half", half), ("hexadecimal", hex)]
        {
            assert!(!looks_random(&bytes), "{what}");
            assert_eq!(page_size(&outline("EnMicroMsg.db", &[], 8192, &bytes)), None, "{what}");
        }
    }

    #[test]
    fn formats_that_pack_their_content_are_none() {
        let page_size_of = |at: usize, magic: &[u8]| {
            let mut head = noise(HEAD_LEN, 3);
            head[at..at + magic.len()].copy_from_slice(magic);
            page_size(&outline("EnMicroMsg.db", &[], 8192, &head))
        };
        for (at, magic) in [
            (0, &b"SQLite format 3\0"[..]),
            (0, b"PK\x03\x04"),
            (0, b"\x1f\x8b\x08"),
            (0, b"BZh91A"),
            (0, b"\x28\xb5\x2f\xfd"),
            (0, b"\xfd7zXZ\0"),
            (0, b"7z\xbc\xaf\x27\x1c"),
            (0, b"Rar!\x1a\x07"),
            (0, b"\xff\xd8\xff"),
            (0, b"\x89PNG\r\n\x1a\n"),
            (0, b"GIF89a"),
            (0, b"RIFF"),
            (0, b"OggS\0"),
            (0, b"fLaC"),
            (0, b"\x1a\x45\xdf\xa3"),
            (0, b"ID3\x04"),
            (0, b"%PDF"),
            (4, b"ftyp"),
        ] {
            assert_eq!(page_size_of(at, magic), None, "{magic:?}");
        }
        for salt in [&b"\xff\xfb\x90"[..], b"\xff\xf1\x50", b"PK"] {
            assert_eq!(page_size_of(0, salt), Some(4096), "a salt may begin so: {salt:?}");
        }
        let short = noise(700, 4);
        assert_eq!(page_size(&outline("EnMicroMsg.db", &[], 700, &short)), None);
        assert_eq!(page_size(&outline("EnMicroMsg.db", &[], 4096, &short)), None, "too little was read");
    }

    #[test]
    fn a_log_beside_it_tells_whatever_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA page_size=2048; PRAGMA journal_mode=WAL; CREATE TABLE message(text)")
            .unwrap();
        let log = std::fs::read(folder.path().join("chat.db-wal")).unwrap();
        let head = noise(HEAD_LEN, 5);
        let beside = |size, wal| page_size(&Outline { wal: Some(wal), ..outline("any", &[], size, &head) });
        assert_eq!(beside(20480, &log[..32]), Some(2048));
        assert_eq!(beside(20480 + 1024, &log[..32]), None, "pages of this size do not fill the file");
        assert_eq!(beside(20480, &log[..31]), None);
        assert_eq!(beside(20480, &noise(32, 6)), None);
    }
}
