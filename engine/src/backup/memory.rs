//! What a snapshot remembers of a folder so that the next one can skip what did not change: for each entry a key over
//! what the file system says of it, and its node as encoded then. Kept in the catalog, authenticated there.
//!
//! ```text
//! tree (32) | for each entry, ascending by name: key (16) | kind (1) | name length (2) | node length (4) | name | node
//! ```

use crate::base::{BlobId, Result, hash};
use crate::format::cbor::Reader;
use crate::format::tree::{decode_node, encode_node};
use crate::model::{Node, NodeKind};
use crate::source::Stat;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the file system said of an entry, in three parts: 8 bytes over what always counts, 4 over the time of status
/// change, 4 over the number of the file. Equal keys mean: not touched since.
pub type StatKey = [u8; 16];

/// The key of an entry that must be read again whatever the file system says.
pub const UNTRUSTED: StatKey = [0; 16];

/// Bytes of a key's first and second part.
const BASE_LEN: usize = 8;
const CTIME_LEN: usize = 4;

/// Bytes of the tree page's name at the head of a row.
const TREE_LEN: usize = 32;
/// Bytes before the name of an entry.
const HEAD_LEN: usize = 23;

/// What of the file system's word is not trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// The time of the last change of metadata, where other programs touch it without changing anything.
    pub ctime: bool,
    /// The number of the file, where the file system gives it anew at each mount.
    pub inode: bool,
}

/// The key of a file: of itself, and of its `-wal` and `-journal`, since fifty commits to a database can leave size and
/// time of its main file as they were. Its number of names does not count: another one changes nothing of the content.
#[must_use]
pub fn stat_key(secret: &[u8; 32], stat: &Stat, sidecars: &[Option<Stat>; 2]) -> StatKey {
    let stats = || [Some(stat)].into_iter().chain(sidecars.iter().map(Option::as_ref));
    let mut bytes = Vec::with_capacity(128);
    for stat in stats() {
        bytes.push(stat.is_some().into());
        let Some(stat) = stat else { continue };
        bytes.extend_from_slice(&stat.size.to_le_bytes());
        bytes.extend_from_slice(&stat.mtime.as_nanos().to_le_bytes());
        for number in [stat.mode, stat.uid, stat.gid] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    let name = hash::IdKey::new(*secret).name(&bytes);
    let base = name.as_bytes().first_chunk::<8>().copied().unwrap_or_default();
    let seed = secret.first_chunk::<8>().copied().map_or(0, u64::from_le_bytes);
    let [ctime, inode] = [stamp_bits as fn(&Stat) -> u64, |stat| stat.ino]
        .map(|number| mixed(seed, stats().map(|stat| stat.map_or(0, number))));
    let mut key = UNTRUSTED;
    key.iter_mut().zip([base.as_slice(), &ctime, &inode].concat()).for_each(|(to, from)| *to = from);
    key
}

/// A time of status change in one number: 584 years apart, two may be the same.
fn stamp_bits(stat: &Stat) -> u64 {
    (stat.ctime.secs as u64).wrapping_mul(1_000_000_000).wrapping_add(stat.ctime.nanos.into())
}

/// Four bytes that nearly always differ where the numbers do. Nobody can choose the numbers, so that it need be no more
/// than quick.
fn mixed(seed: u64, numbers: impl Iterator<Item = u64>) -> [u8; 4] {
    let mix = |hash: u64, number: u64| {
        let hash = (hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 32)
    };
    let [.., a, b, c, d] = numbers.fold(seed, mix).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    [a, b, c, d]
}

/// True if what is remembered says that an entry was not touched, as far as it is to be believed.
#[must_use]
pub fn is_same(before: &StatKey, now: &StatKey, ignored: Ignored) -> bool {
    let equal = |from, len| before.iter().zip(now).skip(from).take(len).all(|(before, now)| before == now);
    *before != UNTRUSTED
        && equal(0, BASE_LEN)
        && (ignored.ctime || equal(BASE_LEN, CTIME_LEN))
        && (ignored.inode || equal(BASE_LEN + CTIME_LEN, CTIME_LEN))
}

/// What is remembered of an entry that had this key, but was read so soon after a change that a later one may not show:
/// it is to be read once more. Then it is settled, unless that happens at once.
#[must_use]
pub fn unsettled(key: StatKey) -> StatKey {
    key.map(|byte| !byte)
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
    use crate::base::Timestamp;

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

    const ALL: Ignored = Ignored { ctime: false, inode: false };

    #[test]
    fn a_key_depends_on_the_file_and_its_sidecars() {
        let key = |stat: Stat, sidecars| stat_key(&[1; 32], &stat, &sidecars);
        let plain = key(stat(5, 10), [None, None]);
        assert_eq!(plain, key(stat(5, 10), [None, None]));
        assert_eq!(plain, key(Stat { nlink: 2, ..stat(5, 10) }, [None, None]));
        let others = [
            key(stat(6, 10), [None, None]),
            key(stat(5, 11), [None, None]),
            key(Stat { mode: 0o644, ..stat(5, 10) }, [None, None]),
            key(stat(5, 10), [Some(stat(1, 1)), None]),
            key(stat(5, 10), [None, Some(stat(1, 1))]),
            key(stat(5, 10), [Some(stat(2, 1)), None]),
        ];
        assert!(others.iter().all(|other| !is_same(&plain, other, ALL)));
        assert!(is_same(&plain, &plain, ALL) && !is_same(&UNTRUSTED, &UNTRUSTED, ALL));
        assert!(!is_same(&unsettled(plain), &plain, Ignored { ctime: true, inode: true }));
    }

    #[test]
    fn what_is_ignored_relaxes_the_comparison_with_any_memory() {
        let key = |size, ino, ctime| stat_key(&[1; 32], &Stat { ino, ..stat(size, ctime) }, &[None, None]);
        let before = key(5, 2, 10);
        for (ctime, inode) in [(false, false), (true, false), (false, true), (true, true)] {
            let same = |now: StatKey| is_same(&before, &now, Ignored { ctime, inode });
            assert!(same(key(5, 2, 10)) && !same(key(6, 2, 10)));
            assert_eq!((same(key(5, 2, 11)), same(key(5, 3, 10))), (ctime, inode));
            assert_eq!(same(key(5, 3, 11)), ctime && inode);
        }
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
