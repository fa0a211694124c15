//! L2: virtual tables of a private copy lose their modules, so that SQLite can be asked about all tables at once.
//!
//! Otherwise it would let each virtual table check itself: with code that trusts what it reads and never looks at the clock,
//! and with tokenizers that only the app has, without which the whole question fails. A table whose module nobody has is
//! passed over. The content of a virtual table stands in ordinary tables, which are checked like others.

use crate::sqlite::SqliteHeader;
use rusqlite::Connection;
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// How SQLite writes the beginning of each description.
const CREATE: &[u8] = b"CREATE VIRTUAL TABLE ";
/// What stands in the place of each letter of a name. No module is called so.
const MASK: u8 = b'z';

/// A description that begins with more bytes, up to the end of the module's name, stays as it is.
const LONGEST: usize = 1024;
/// What follows a description on its page may look as if it went on with the name.
const MOST_TRIES: usize = 64;

/// How texts are written in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    /// The number stands in the header, whose other values SQLite takes for the first one.
    fn of(first: &[u8]) -> Self {
        match first.get(56..60) {
            Some([0, 0, 0, 2]) => Self::Utf16Le,
            Some([0, 0, 0, 3]) => Self::Utf16Be,
            _ => Self::Utf8,
        }
    }

    fn write(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Self::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
    }

    /// Bytes of a character that is no surrogate.
    fn step(self) -> usize {
        if self == Self::Utf8 { 1 } else { 2 }
    }

    /// The character at `at`; all beyond ASCII count as one and the same letter.
    fn at(self, bytes: &[u8], at: usize) -> Option<u8> {
        const LETTER: u8 = 0x80;
        let (low, high) = match self {
            Self::Utf8 => (*bytes.get(at)?, 0),
            Self::Utf16Le => (*bytes.get(at)?, *bytes.get(at + 1)?),
            Self::Utf16Be => (*bytes.get(at + 1)?, *bytes.get(at)?),
        };
        Some(if high == 0 && low.is_ascii() { low } else { LETTER })
    }

    fn mask(self, bytes: &mut [u8], at: usize) {
        let masked: &[u8] = match self {
            Self::Utf8 => &[MASK],
            Self::Utf16Le => &[MASK, 0],
            Self::Utf16Be => &[0, MASK],
        };
        if let Some(place) = bytes.get_mut(at..at + masked.len()) {
            place.copy_from_slice(masked);
        }
    }
}

/// Changes the names of all modules in the schema of the image in `file`, which `connection` has open and knows as it was.
/// True if something was changed; what cannot be changed stays, and is found by [`is_masked`].
pub(super) fn mask(connection: &Connection, file: &File, header: &SqliteHeader) -> rusqlite::Result<bool> {
    let mut first = [0; SqliteHeader::LEN];
    let mut page = vec![0; header.page_size as usize];
    let mut has_changed = false;
    if file.read_exact_at(&mut first, 0).is_err() {
        return Ok(false);
    }
    let encoding = Encoding::of(&first);
    let known = beginnings(connection, encoding)?;
    let mut statement = connection.prepare("SELECT pageno FROM dbstat WHERE name = 'sqlite_schema'")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number: u32 = row.get(0)?;
        let at = u64::from(number.saturating_sub(1)) * u64::from(header.page_size);
        if file.read_exact_at(&mut page, at).is_ok() && mask_all(&mut page, encoding, &known) {
            has_changed |= file.write_all_at(&page, at).is_ok();
        }
    }
    Ok(has_changed)
}

/// The beginnings of the descriptions of virtual tables, to the end of the module's name, as they stand in the file.
fn beginnings(connection: &Connection, encoding: Encoding) -> rusqlite::Result<HashSet<Vec<u8>>> {
    let mut statement = connection.prepare("SELECT sql FROM main.sqlite_schema")?;
    let mut rows = statement.query([])?;
    let mut known = HashSet::new();
    while let Some(row) = rows.next()? {
        if let Ok(sql) = row.get_ref(0)?.as_str()
            && let Some((_, to)) = (Words { bytes: sql.as_bytes(), encoding: Encoding::Utf8, at: 0 }).module()
            && let Some(beginning) = sql.get(..to)
        {
            known.insert(encoding.write(beginning));
        }
    }
    Ok(known)
}

/// Masks each name of a module in a page; false if there is none.
fn mask_all(page: &mut [u8], encoding: Encoding, known: &HashSet<Vec<u8>>) -> bool {
    let mut has_changed = false;
    let mut at = 0;
    while at < page.len() {
        let end = page.len().min(at + LONGEST);
        let bytes = page.get(..end).unwrap_or_default();
        let name = Words { bytes, encoding, at }.module().and_then(|(from, to)| {
            let mut ends = (from..=to).rev().take(MOST_TRIES);
            let to = ends.find(|to| page.get(at..*to).is_some_and(|bytes| known.contains(bytes)))?;
            Some((from, to))
        });
        if let Some((from, to)) = name {
            (from..to).step_by(encoding.step()).for_each(|at| encoding.mask(page, at));
            (has_changed, at) = (true, to);
        } else {
            at += 1;
        }
    }
    has_changed
}

/// True for the description of a virtual table whose module nobody has.
pub(super) fn is_masked(sql: &[u8]) -> bool {
    let name = Words { bytes: sql, encoding: Encoding::Utf8, at: 0 }.module();
    let name = name.and_then(|(from, to)| sql.get(from..to));
    name.is_some_and(|name| name.iter().all(|letter| *letter == MASK))
}

/// The words of a description.
struct Words<'t> {
    bytes: &'t [u8],
    encoding: Encoding,
    at: usize,
}

impl Words<'_> {
    /// Where the name of the module of a virtual table begins and ends, if such a description begins here.
    fn module(mut self) -> Option<(usize, usize)> {
        self.word(CREATE)?;
        self.name()?;
        self.space();
        self.word(b"USING")?;
        let before = self.at;
        self.space();
        let (from, to) = self.name()?;
        (self.at > before && from < to).then_some((from, to))
    }

    fn peek(&self) -> Option<u8> {
        self.encoding.at(self.bytes, self.at)
    }

    fn next(&mut self) -> Option<u8> {
        let next = self.peek()?;
        self.at += self.encoding.step();
        Some(next)
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        word.iter()
            .all(|letter| self.next().is_some_and(|next| next.eq_ignore_ascii_case(letter)))
            .then_some(())
    }

    /// Passes over what separates words.
    fn space(&mut self) {
        loop {
            let start = self.at;
            match self.next() {
                Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0c) => {}
                Some(b'-') if self.next() == Some(b'-') => {
                    while !matches!(self.next(), None | Some(b'\n')) {}
                }
                Some(b'/') if self.next() == Some(b'*') => {
                    let mut last = 0;
                    while let Some(next) = self.next() {
                        if (last, next) == (b'*', b'/') {
                            break;
                        }
                        last = next;
                    }
                }
                _ => {
                    self.at = start;
                    return;
                }
            }
        }
    }

    /// Passes over a name, and says where its letters are. In quotes it may not hold quotes.
    fn name(&mut self) -> Option<(usize, usize)> {
        let is_letter = |letter: u8| {
            letter.is_ascii_alphanumeric() || matches!(letter, b'_' | b'$') || !letter.is_ascii()
        };
        let close = match self.peek()? {
            quote @ (b'"' | b'\'' | b'`') => Some(quote),
            b'[' => Some(b']'),
            _ => None,
        };
        if close.is_some() {
            self.next();
        }
        let from = self.at;
        while self.peek().is_some_and(|next| close.map_or_else(|| is_letter(next), |close| next != close)) {
            self.next();
        }
        let to = self.at;
        if let Some(close) = close {
            self.next()?;
            if self.peek() == Some(close) && close != b']' {
                return None;
            }
        }
        Some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(sql: &str, encoding: Encoding) -> HashSet<Vec<u8>> {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE x (a); PRAGMA writable_schema = ON;").unwrap();
        connection.execute("UPDATE sqlite_schema SET sql = ?", [sql]).unwrap();
        beginnings(&connection, encoding).unwrap()
    }

    #[test]
    fn the_module_is_found_and_masked_in_each_encoding() {
        for (sql, masked) in [
            ("CREATE VIRTUAL TABLE words USING fts5(a)", "CREATE VIRTUAL TABLE words USING zzzz(a)"),
            ("create virtual table w using\n \"fts 4\"", "create virtual table w using\n \"zzzzz\""),
            (
                "CREATE VIRTUAL TABLE \"USING x\"/*USING y*/--USING z\nUSING rtree(id, a, b)",
                "CREATE VIRTUAL TABLE \"USING x\"/*USING y*/--USING z\nUSING zzzzz(id, a, b)",
            ),
            ("CREATE VIRTUAL TABLE [a]USING[b c](d)", "CREATE VIRTUAL TABLE [a]USING[zzz](d)"),
            ("CREATE VIRTUAL TABLE größe USING fts3", "CREATE VIRTUAL TABLE größe USING zzzz"),
        ] {
            for encoding in [Encoding::Utf8, Encoding::Utf16Le, Encoding::Utf16Be] {
                let (before, after) = (encoding.write(sql), encoding.write(masked));
                for around in [&b""[..], b"CREATE VIRTUAL \x07"] {
                    // What follows may be letters, too.
                    let mut page = [around, &before, around, &before, b"abc"].concat();
                    assert!(mask_all(&mut page, encoding, &known(sql, encoding)), "{sql} {encoding:?}");
                    assert_eq!(page, [around, &after, around, &after, b"abc"].concat(), "{sql} {encoding:?}");
                }
            }
            assert!(is_masked(masked.as_bytes()) && !is_masked(sql.as_bytes()), "{sql}");
        }
    }

    #[test]
    fn what_is_no_whole_description_stays() {
        for sql in [
            "",
            "CREATE TABLE words (a)",
            "CREATE VIRTUAL TABLE words",
            "CREATE VIRTUAL TABLE words USIN",
            "CREATE VIRTUAL TABLE words USING ",
            "CREATE VIRTUAL TABLE \"words USING fts5(a)",
            "CREATE VIRTUAL TABLE words USING \"fts5",
            "CREATE VIRTUAL TABLE words USING \"ft\"\"s5\"",
            "CREATE VIRTUAL TABLE \"a\"\"b\" USING fts5",
            "CREATE VIRTUAL TABLE words /* USING fts5",
        ] {
            let mut page = sql.as_bytes().to_vec();
            assert!(!mask_all(&mut page, Encoding::Utf8, &known(sql, Encoding::Utf8)), "{sql}");
            assert_eq!(page, sql.as_bytes());
            assert!(!is_masked(sql.as_bytes()));
        }
    }
}
