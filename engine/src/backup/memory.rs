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
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the file system said of an entry. Equal keys mean: not touched since.
pub type StatKey = [u8; 16];

/// The key of an entry that must be read again whatever the file system says.
pub const UNTRUSTED: StatKey = [0; 16];

/// Bytes of the tree page's name at the head of a row.
const TREE_LEN: usize = 32;
/// Bytes before the name of an entry.
const HEAD_LEN: usize = 23;

/// A change within so many seconds before the reading may be followed by another one with the same time stamp.
const SETTLED_SECS: i64 = 2;

/// What of the file system's word is not trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// The time of the last change of metadata, where other programs touch it without changing anything.
    pub ctime: bool,
    /// The number of the file, where the file system gives it anew at each mount.
    pub inode: bool,
}

/// The key of a file: of itself, and of its `-wal` and `-journal`, since fifty commits to a database can leave size and
/// time of its main file as they were.
#[must_use]
pub fn stat_key(secret: &[u8; 32], ignored: Ignored, stat: &Stat, sidecars: &[Option<Stat>; 2]) -> StatKey {
    let mut bytes = Vec::with_capacity(300);
    for stat in [Some(stat)].into_iter().chain(sidecars.iter().map(Option::as_ref)) {
        match stat {
            None => bytes.push(0),
            Some(stat) => {
                bytes.extend_from_slice(&[1, ignored.inode.into(), ignored.ctime.into()]);
                bytes.extend_from_slice(&stat.size.to_le_bytes());
                for number in [stat.mode, stat.uid, stat.gid] {
                    bytes.extend_from_slice(&number.to_le_bytes());
                }
                bytes.extend_from_slice(&stat.nlink.to_le_bytes());
                if !ignored.inode {
                    bytes.extend_from_slice(&stat.ino.to_le_bytes());
                }
                let ctime = (!ignored.ctime).then_some(stat.ctime);
                for time in [Some(stat.mtime), ctime].into_iter().flatten() {
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
        let near = |secs| Timestamp { secs, nanos: read.nanos };
        let is_past = |time: Timestamp| time <= near(read.secs.saturating_sub(SETTLED_SECS));
        // A time that somebody set to the future does not hide a change: that sets it to the present.
        let is_far = |time: Timestamp| time > near(read.secs.saturating_add(SETTLED_SECS));
        is_past(stat.ctime) && (is_past(stat.mtime) || is_far(stat.mtime))
    })
}

/// What a folder was before: from the catalog's memory, or (then no key fits) from the parent's tree.
#[derive(Debug)]
pub struct Previous {
    /// Its root page.
    pub tree: BlobId,
    bytes: Vec<u8>,
    entries: Vec<Place>,
    /// The entry that will be asked for next, most likely: a hint only.
    next: AtomicUsize,
}

#[derive(Debug)]
struct Place {
    key: StatKey,
    kind: NodeKind,
    name: Range<usize>,
    node: Range<usize>,
}

/// One entry of a folder.
#[derive(Clone, Copy, Debug)]
pub struct RowEntry<'r> {
    /// Its name.
    pub name: &'r [u8],
    /// What the file system said of it.
    pub key: StatKey,
    /// What it is.
    pub kind: NodeKind,
    /// Its encoded node.
    pub node: &'r [u8],
}

impl RowEntry<'_> {
    /// Its node.
    pub fn decode(&self) -> Result<Node> {
        decode_node(&mut Reader::new(self.node, "a remembered node"))
    }
}

/// A row that is being written, in any order.
#[derive(Debug)]
pub struct RowBuilder {
    bytes: Vec<u8>,
    entries: Vec<Place>,
}

impl Default for RowBuilder {
    fn default() -> Self {
        Self { bytes: vec![0; TREE_LEN], entries: Vec::new() }
    }
}

impl RowBuilder {
    /// Adds an entry.
    pub fn push(&mut self, entry: RowEntry<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&entry.key);
        self.bytes.push(entry.kind as u8);
        self.bytes.extend_from_slice(&u16::try_from(entry.name.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.bytes.extend_from_slice(&u32::try_from(entry.node.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend_from_slice(entry.name);
        self.bytes.extend_from_slice(entry.node);
        let name = start + HEAD_LEN..start + HEAD_LEN + entry.name.len();
        let node = name.end..self.bytes.len();
        self.entries.push(Place { key: entry.key, kind: entry.kind, name, node });
    }

    /// The folder with its entries in order; the tree is still to be set.
    #[must_use]
    pub fn finish(self) -> Previous {
        let Self { bytes, entries } = self;
        let row = Previous { tree: BlobId::new([0; TREE_LEN]), bytes, entries, next: AtomicUsize::new(0) };
        let is_sorted = row.entries().is_sorted_by(|a, b| a.name < b.name);
        if is_sorted {
            return row;
        }
        let mut order: Vec<&Place> = row.entries.iter().collect();
        order.sort_unstable_by(|a, b| row.entry(a).name.cmp(row.entry(b).name));
        let mut sorted = Self { bytes: Vec::with_capacity(row.bytes.len()), entries: Vec::new() };
        sorted.bytes.resize(TREE_LEN, 0);
        sorted.entries.reserve_exact(order.len());
        order.into_iter().for_each(|place| sorted.push(row.entry(place)));
        Previous { tree: row.tree, bytes: sorted.bytes, entries: sorted.entries, next: AtomicUsize::new(0) }
    }
}

impl Previous {
    /// Reads a row; `None` if it is none.
    #[must_use]
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let tree = BlobId::from_slice(bytes.get(..TREE_LEN)?)?;
        let mut entries = Vec::new();
        let mut at = TREE_LEN;
        while at < bytes.len() {
            let head: [u8; HEAD_LEN] = bytes.get(at..at + HEAD_LEN)?.try_into().ok()?;
            let (key, rest) = head.split_first_chunk::<16>()?;
            let [kind, n0, n1, b0, b1, b2, b3] = *rest else { return None };
            let name = at + HEAD_LEN..at + HEAD_LEN + usize::from(u16::from_le_bytes([n0, n1]));
            let node = name.end..name.end.checked_add(u32::from_le_bytes([b0, b1, b2, b3]) as usize)?;
            bytes.get(node.clone())?;
            at = node.end;
            entries.push(Place { key: *key, kind: NodeKind::from_number(kind.into())?, name, node });
        }
        Some(Self { tree, bytes, entries, next: AtomicUsize::new(0) })
    }

    /// What a folder was according to a tree: with nodes, without keys.
    #[must_use]
    pub fn from_tree(tree: BlobId, nodes: &[Node]) -> Self {
        let mut row = RowBuilder::default();
        for node in nodes {
            let bytes = encode_node(node);
            row.push(RowEntry { name: &node.name, key: UNTRUSTED, kind: node.kind, node: &bytes });
        }
        let mut row = row.finish();
        row.set_tree(tree);
        row
    }

    fn entry(&self, place: &Place) -> RowEntry<'_> {
        let slice = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        RowEntry { key: place.key, kind: place.kind, name: slice(&place.name), node: slice(&place.node) }
    }

    /// The entry of this name. Who asks for names in ascending order is answered without a search.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<RowEntry<'_>> {
        let next = self.next.load(Ordering::Relaxed);
        if let Some(place) = self.entries.get(next).filter(|place| self.entry(place).name == name) {
            self.next.store(next + 1, Ordering::Relaxed);
            return Some(self.entry(place));
        }
        let at = self.entries.binary_search_by(|place| self.entry(place).name.cmp(name)).ok()?;
        self.next.store(at + 1, Ordering::Relaxed);
        self.entries.get(at).map(|place| self.entry(place))
    }

    /// All entries, ascending by name.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = RowEntry<'_>> {
        self.entries.iter().map(|place| self.entry(place))
    }

    /// True if a folder with these entries is what it was, so that its tree page is known.
    #[must_use]
    pub fn has_same_nodes(&self, now: &Self) -> bool {
        self.entries.len() == now.entries.len()
            && self.entries().zip(now.entries()).all(|(a, b)| a.name == b.name && a.node == b.node)
    }

    /// Says which tree page stands for the folder.
    pub fn set_tree(&mut self, tree: BlobId) {
        self.tree = tree;
        if let Some(place) = self.bytes.first_chunk_mut::<TREE_LEN>() {
            *place = *tree.as_bytes();
        }
    }

    /// The row's bytes, to be remembered.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// As [`Self::as_bytes`].
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
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
        let key = |stat: Stat, sidecars| stat_key(&[1; 32], Ignored::default(), &stat, &sidecars);
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
    fn what_is_ignored_does_not_change_a_key() {
        let key =
            |ignored, ino, ctime| stat_key(&[1; 32], ignored, &Stat { ino, ..stat(5, ctime) }, &[None, None]);
        let (no_inode, no_ctime) =
            (Ignored { inode: true, ctime: false }, Ignored { inode: false, ctime: true });
        assert_eq!(key(no_inode, 2, 10), key(no_inode, 3, 10));
        assert_ne!(key(no_inode, 2, 10), key(no_inode, 2, 11));
        assert_eq!(key(no_ctime, 2, 10), key(no_ctime, 2, 11));
        assert_ne!(key(no_ctime, 2, 10), key(no_ctime, 3, 10));
        assert_ne!(key(no_ctime, 2, 10), key(no_inode, 2, 10));
    }

    #[test]
    fn rows_read_as_written_and_cut_ones_are_refused_or_shorter() {
        let node = Node::new(b"a".to_vec(), NodeKind::Fifo);
        let bytes = encode_node(&node);
        let entry = |name| RowEntry { name, key: [7; 16], kind: NodeKind::Fifo, node: &bytes };
        let mut row = RowBuilder::default();
        row.push(entry(b"b"));
        row.push(entry(b"a"));
        let mut written = row.finish();
        written.set_tree(BlobId::new([3; 32]));
        let read = Previous::parse(written.as_bytes().to_vec()).unwrap();
        assert!(read.has_same_nodes(&written) && read.tree == BlobId::new([3; 32]));
        assert!(read.entries().map(|entry| entry.name).eq([b"a", b"b"]));
        assert_eq!(read.find(b"a").unwrap().decode().unwrap(), node);
        assert!(read.find(b"c").is_none());
        let whole = read.into_bytes();
        let one = (whole.len() - TREE_LEN) / 2;
        let ends = [TREE_LEN, TREE_LEN + one];
        assert!(
            (0..whole.len())
                .filter(|len| !ends.contains(len))
                .all(|len| Previous::parse(whole[..len].to_vec()).is_none())
        );
    }
}
