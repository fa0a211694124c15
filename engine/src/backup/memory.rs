//! What a snapshot remembers of a folder so that the next one can skip what did not change: for each entry a key over
//! what the file system says of it, and its node as encoded then. Kept in the catalog, authenticated there.
//!
//! ```text
//! tree (32) | for each entry, ascending by name: key (16) | kind (1) | name length (2) | node length (4) | name | node
//! ```

use crate::base::{BlobId, Result, Timestamp, hash};
use crate::format::cbor::Reader;
use crate::format::tree::{decode_node, encode_node};
use crate::model::{Node, NodeKind};
use crate::source::Stat;
use std::ops::Range;

/// What the file system said of an entry. Equal keys mean: not touched since.
pub type StatKey = [u8; 16];

/// The key of an entry that must be read again whatever the file system says.
pub const UNTRUSTED: StatKey = [0; 16];

/// A change within so many seconds before the reading may be followed by another one with the same time stamp.
const SETTLED_SECS: i64 = 2;

/// The key of a file: of itself, and of its `-wal` and `-journal`, since fifty commits to a database can leave size and
/// time of its main file as they were.
#[must_use]
pub fn stat_key(secret: &[u8; 32], stat: &Stat, sidecars: &[Option<Stat>; 2]) -> StatKey {
    let mut bytes = Vec::with_capacity(200);
    for stat in [Some(stat)].into_iter().chain(sidecars.iter().map(Option::as_ref)) {
        match stat {
            None => bytes.push(0),
            Some(stat) => {
                bytes.push(1);
                bytes.extend_from_slice(&stat.size.to_le_bytes());
                bytes.extend_from_slice(&stat.ino.to_le_bytes());
                for time in [stat.mtime, stat.ctime] {
                    bytes.extend_from_slice(&time.secs.to_le_bytes());
                    bytes.extend_from_slice(&time.nanos.to_le_bytes());
                }
            }
        }
    }
    let full = *hash::IdKey::new(*secret).name(&bytes).as_bytes();
    full.first_chunk::<16>().copied().unwrap_or(UNTRUSTED)
}

/// True if nothing was changed shortly before `read`, so that a later change must show in the time stamps.
#[must_use]
pub fn is_settled(read: Timestamp, stats: &[Option<Stat>]) -> bool {
    stats.iter().flatten().all(|stat| {
        [stat.mtime, stat.ctime].iter().all(|time| {
            *time <= Timestamp { secs: read.secs.saturating_sub(SETTLED_SECS), nanos: read.nanos }
        })
    })
}

/// An entry of a folder, ready for its tree page.
#[derive(Clone, Debug)]
pub struct RowEntry {
    /// Its name.
    pub name: Vec<u8>,
    /// What the file system said of it.
    pub key: StatKey,
    /// What it is.
    pub kind: NodeKind,
    /// Its encoded node.
    pub node: Vec<u8>,
}

/// Encodes what is remembered of a folder.
#[must_use]
pub fn encode_row(tree: &BlobId, entries: &[RowEntry]) -> Vec<u8> {
    let size: usize = entries.iter().map(|entry| entry.name.len() + entry.node.len() + 23).sum();
    let mut row = Vec::with_capacity(32 + size);
    row.extend_from_slice(tree.as_bytes());
    for entry in entries {
        row.extend_from_slice(&entry.key);
        row.push(entry.kind as u8);
        row.extend_from_slice(&u16::try_from(entry.name.len()).unwrap_or(u16::MAX).to_le_bytes());
        row.extend_from_slice(&u32::try_from(entry.node.len()).unwrap_or(u32::MAX).to_le_bytes());
        row.extend_from_slice(&entry.name);
        row.extend_from_slice(&entry.node);
    }
    row
}

/// What a folder was before: from the catalog's memory, or (then no key fits) from the parent's tree.
#[derive(Debug)]
pub struct Previous {
    /// Its root page.
    pub tree: BlobId,
    bytes: Vec<u8>,
    entries: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    key: StatKey,
    kind: NodeKind,
    name: Range<usize>,
    node: Range<usize>,
}

/// One entry of a folder as it was.
#[derive(Clone, Copy, Debug)]
pub struct Before<'p> {
    /// What the file system said of it.
    pub key: StatKey,
    /// What it was.
    pub kind: NodeKind,
    /// Its name.
    pub name: &'p [u8],
    /// Its encoded node.
    pub node: &'p [u8],
}

impl Before<'_> {
    /// Its node.
    pub fn decode(&self) -> Result<Node> {
        decode_node(&mut Reader::new(self.node, "a remembered node"))
    }
}

impl Previous {
    /// Reads a row; `None` if it is none.
    #[must_use]
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let tree = BlobId::from_slice(bytes.get(..32)?)?;
        let mut entries = Vec::new();
        let mut at = 32;
        while at < bytes.len() {
            let head: [u8; 23] = bytes.get(at..at + 23)?.try_into().ok()?;
            let (key, rest) = head.split_first_chunk::<16>()?;
            let [kind, n0, n1, b0, b1, b2, b3] = *rest else { return None };
            let name = at + 23..at + 23 + usize::from(u16::from_le_bytes([n0, n1]));
            let node = name.end..name.end.checked_add(u32::from_le_bytes([b0, b1, b2, b3]) as usize)?;
            bytes.get(node.clone())?;
            at = node.end;
            entries.push(Place { key: *key, kind: NodeKind::from_number(kind.into())?, name, node });
        }
        Some(Self { tree, bytes, entries })
    }

    /// What a folder was according to a tree: with nodes, without keys.
    #[must_use]
    pub fn from_tree(tree: BlobId, nodes: &[Node]) -> Option<Self> {
        let entries: Vec<RowEntry> = nodes
            .iter()
            .map(|node| RowEntry {
                name: node.name.clone(),
                key: UNTRUSTED,
                kind: node.kind,
                node: encode_node(node),
            })
            .collect();
        Self::parse(encode_row(&tree, &entries))
    }

    fn before(&self, place: &Place) -> Before<'_> {
        let slice = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        Before { key: place.key, kind: place.kind, name: slice(&place.name), node: slice(&place.node) }
    }

    /// The entry of this name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<Before<'_>> {
        let at = self.entries.binary_search_by(|place| self.before(place).name.cmp(name)).ok()?;
        self.entries.get(at).map(|place| self.before(place))
    }

    /// All entries, ascending by name.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Before<'_>> {
        self.entries.iter().map(|place| self.before(place))
    }

    /// True if a folder with these entries is what it was, so that its tree page is known.
    #[must_use]
    pub fn has_same_nodes(&self, now: &[RowEntry]) -> bool {
        self.entries.len() == now.len()
            && self.entries().zip(now).all(|(before, now)| before.name == now.name && before.node == now.node)
    }

    /// True if this very row would be written again.
    #[must_use]
    pub fn is_row(&self, row: &[u8]) -> bool {
        self.bytes == row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(size: u64, ctime: i64) -> Stat {
        Stat {
            kind: NodeKind::File,
            dev: 1,
            ino: 2,
            nlink: 1,
            mode: 0o600,
            uid: 0,
            gid: 0,
            size,
            mtime: Timestamp::new(10, 0),
            ctime: Timestamp::new(ctime, 5),
            device: (0, 0),
            blocks: 8,
        }
    }

    #[test]
    fn a_key_depends_on_the_file_and_its_sidecars() {
        let key = |stat: Stat, sidecars| stat_key(&[1; 32], &stat, &sidecars);
        let plain = key(stat(5, 10), [None, None]);
        assert_eq!(plain, key(stat(5, 10), [None, None]));
        let others = [
            key(stat(6, 10), [None, None]),
            key(stat(5, 11), [None, None]),
            key(stat(5, 10), [Some(stat(1, 1)), None]),
            key(stat(5, 10), [None, Some(stat(1, 1))]),
            key(stat(5, 10), [Some(stat(2, 1)), None]),
        ];
        assert!(others.iter().all(|other| *other != plain));
    }

    #[test]
    fn what_changed_within_two_seconds_is_not_settled() {
        let read = |secs, nanos| is_settled(Timestamp::new(secs, nanos), &[Some(stat(1, 10)), None]);
        assert!(read(12, 5) && read(13, 0));
        assert!(!read(12, 4) && !read(10, 0) && !read(5, 0));
    }

    #[test]
    fn rows_read_as_written_and_cut_ones_are_refused_or_shorter() {
        let node = Node::new(b"a".to_vec(), NodeKind::Fifo);
        let entries =
            [RowEntry { name: b"a".to_vec(), key: [7; 16], kind: NodeKind::Fifo, node: encode_node(&node) }];
        let row = encode_row(&BlobId::new([3; 32]), &entries);
        let previous = Previous::parse(row.clone()).unwrap();
        assert!(previous.has_same_nodes(&entries) && previous.is_row(&row));
        assert_eq!(previous.find(b"a").unwrap().decode().unwrap(), node);
        assert!(previous.find(b"b").is_none());
        assert!(
            (0..row.len()).filter(|len| *len != 32).all(|len| Previous::parse(row[..len].to_vec()).is_none())
        );
    }
}
