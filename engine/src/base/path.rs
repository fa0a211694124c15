//! Paths and names as they are stored: bytes, never text, and never trusted on a terminal.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// An absolute path as stored: components joined by `/`, with a leading `/`; the root is `/`.
///
/// Ordered as trees are: component by component, each by its bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoredPath(Vec<u8>);

impl StoredPath {
    /// The root of a snapshot.
    #[must_use]
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// Takes bytes: doubled and trailing slashes and `.` go, a leading one is added. `None` if a component is `..` or
    /// holds a NUL.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut path = Self::root();
        for part in bytes.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return None,
                _ if part.contains(&0) => return None,
                _ => path = path.join(part),
            }
        }
        Some(path)
    }

    /// Takes an absolute path of the file system that holds no `..`.
    #[must_use]
    pub fn from_fs(path: &Path) -> Option<Self> {
        if path.is_absolute() { Self::parse(path.as_os_str().as_bytes()) } else { None }
    }

    /// The path with one more component, whose bytes are taken as they are.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + name.len() + 1);
        bytes.extend_from_slice(&self.0);
        if bytes.last() != Some(&b'/') {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes)
    }

    /// The components from the root down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.0.split(|b| *b == b'/').filter(|part| !part.is_empty())
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.components().last().unwrap_or_default()
    }

    /// The folder that holds this path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.iter().rposition(|b| *b == b'/')?;
        Some(Self(self.0.get(..cut.max(1))?.to_vec()))
    }

    /// True for `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == b"/"
    }

    /// True if `self` is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        other.is_root()
            || self.0 == other.0
            || (self.0.starts_with(&other.0) && self.0.get(other.0.len()) == Some(&b'/'))
    }

    /// The bytes, with the leading slash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same path on the file system.
    #[must_use]
    pub fn to_fs(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.0))
    }
}

impl PartialOrd for StoredPath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for StoredPath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.components().cmp(other.components())
    }
}

impl fmt::Display for StoredPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean(&self.0))
    }
}

impl fmt::Debug for StoredPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredPath({self})")
    }
}

/// Text that is safe on a terminal: bytes that are no UTF-8 become `\xNN`, control and invisible direction-changing
/// characters become `\u{N}`. Everything else stays as it is, the backslash too.
#[must_use]
pub fn clean(bytes: &[u8]) -> Cow<'_, str> {
    use fmt::Write;
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.chars().any(is_unsafe)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_unsafe(c) {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

/// Control characters, line and paragraph separators, zero-width and bidirectional formatting characters.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_normalises_and_refuses() {
        assert_eq!(StoredPath::parse(b"a//b/./c/").unwrap().as_bytes(), b"/a/b/c");
        assert_eq!(StoredPath::parse(b""), Some(StoredPath::root()));
        assert_eq!(StoredPath::parse(b"/a/../b"), None);
        assert_eq!(StoredPath::parse(b"a\0b"), None);
    }

    #[test]
    fn parents_and_containment() {
        let p = StoredPath::parse(b"/a/b").unwrap();
        assert_eq!(p.parent().unwrap().as_bytes(), b"/a");
        assert_eq!(p.parent().unwrap().parent(), Some(StoredPath::root()));
        assert!(p.is_within(&StoredPath::root()));
        assert!(!StoredPath::parse(b"/ab").unwrap().is_within(&StoredPath::parse(b"/a").unwrap()));
        assert!(StoredPath::parse(b"/a b").unwrap() > StoredPath::parse(b"/a/z").unwrap());
    }

    #[test]
    fn cleaning_leaves_no_control_character() {
        assert_eq!(clean(b"plain \xc3\xa9"), "plain \u{e9}");
        assert_eq!(clean(b"\x1b[2J\n\xff"), "\\u{1b}[2J\\u{a}\\xff");
        assert_eq!(clean("a\u{202e}b".as_bytes()), "a\\u{202e}b");
    }
}
