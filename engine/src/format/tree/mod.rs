//! Tree pages. A page is an array of a level and items; at level 0 the items are nodes, above it they are pages of the
//! level below with the first name in each.

use crate::base::{BlobId, Result};
use crate::format::cbor::{MapWriter, Reader};
use crate::model::{Content, DamagedLog, Database, DatabaseState, Layout, Node, NodeKind};
use minicbor::Encoder;

/// Most items of a page.
pub const MAX_ITEMS: usize = 4096;
/// Most levels of a folder.
pub const MAX_LEVELS: u64 = 8;
/// Longest name of an entry in bytes.
pub const MAX_NAME: usize = 4096;
const MAX_TARGET: usize = 64 * 1024;
const MAX_XATTRS: usize = 4096;
const MAX_XATTR_VALUE: usize = 1 << 20;

/// A page of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreePage {
    /// The entries, ascending by name.
    Leaf(Vec<Node>),
    /// Pages of the level below and the first name in each, ascending.
    Inner {
        /// 1 for a page of leaves.
        level: u64,
        /// First name and page.
        children: Vec<(Vec<u8>, BlobId)>,
    },
}

/// What a page of pages says of one below it: its own level, and the first name there.
pub type Above = (u64, Vec<u8>);

impl TreePage {
    /// 0 for a leaf.
    #[must_use]
    pub fn level(&self) -> u64 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner { level, .. } => *level,
        }
    }

    /// The first name in the page; none in an empty leaf.
    #[must_use]
    pub fn first_name(&self) -> Option<&[u8]> {
        match self {
            Self::Leaf(nodes) => nodes.first().map(|node| node.name.as_slice()),
            Self::Inner { children, .. } => children.first().map(|(name, _)| name.as_slice()),
        }
    }

    /// Says why the page cannot stand where it was found: below a page of level `above` that gives it this first name,
    /// or, with none, at the root. That first names hold keeps a page from standing at two places of a folder, and so a
    /// few pages from standing for more of them than anyone can read.
    pub fn check_place(&self, above: Option<&Above>) -> std::result::Result<(), &'static str> {
        match (above, self.first_name()) {
            (None, _) => Ok(()),
            (Some((above, _)), _) if self.level().checked_add(1) != Some(*above) => {
                Err("its levels do not descend one by one")
            }
            (Some(_), None) => Err("a page below its root is empty"),
            (Some((_, said)), Some(first)) if said.as_slice() != first => {
                Err("a page begins with another name than was said")
            }
            _ => Ok(()),
        }
    }
}

/// The bytes of a leaf whose nodes are encoded already.
#[must_use]
pub fn encode_leaf<N: AsRef<[u8]>>(nodes: &[N]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nodes.iter().map(|node| node.as_ref().len()).sum::<usize>() + 8);
    // Writing into a vector cannot fail.
    let _ = Encoder::new(&mut out).array(2).and_then(|e| e.u64(0)?.array(nodes.len() as u64).map(|_| ()));
    nodes.iter().for_each(|node| out.extend_from_slice(node.as_ref()));
    out
}

/// The bytes of a page of pages.
#[must_use]
pub fn encode_inner(level: u64, children: &[(Vec<u8>, BlobId)]) -> Vec<u8> {
    let mut out = Vec::new();
    let _infallible = Encoder::new(&mut out).array(2).and_then(|e| {
        e.u64(level)?.array(children.len() as u64)?;
        children.iter().try_for_each(|(name, id)| e.array(2)?.bytes(name)?.bytes(id.as_bytes()).map(|_| ()))
    });
    out
}

/// The bytes of a node.
#[must_use]
pub fn encode_node(node: &Node) -> Vec<u8> {
    let mut map = MapWriter::new();
    map.bytes(0, &node.name)
        .uint(1, node.kind as u64)
        .uint(2, node.mode.into())
        .uint(3, node.uid.into())
        .uint(4, node.gid.into())
        .text_if(5, node.user.as_deref())
        .text_if(6, node.group.as_deref());
    if let Some(mtime) = node.mtime {
        map.time(7, mtime);
    }
    map.uint_unless_zero(8, node.size).uint_unless_zero(9, node.layout as u64);
    match &node.content {
        Content::None => {}
        Content::Chunk(id) => {
            map.bytes(10, id.as_bytes());
        }
        Content::List(id) => {
            map.bytes(11, id.as_bytes());
        }
    }
    map.bytes_if(12, node.hash.as_ref().map(|id| &id.as_bytes()[..])).bytes_if(13, node.target.as_deref());
    if let Some(group) = node.hard_link {
        map.uint(14, group);
    }
    if let Some((major, minor)) = node.device {
        map.field(15, |e| e.array(2)?.u32(major)?.u32(minor).map(|_| ()));
    }
    map.array(16, &node.xattrs, |e, (name, value)| e.array(2)?.bytes(name)?.bytes(value).map(|_| ()))
        .bytes_if(17, node.subtree.as_ref().map(|id| &id.as_bytes()[..]))
        .flag(18, node.changed_while_read);
    if let Some(database) = &node.database {
        map.field(19, |e| {
            e.array(3)?.u8(database.state as u8)?.u32(database.page_size)?;
            e.array(database.sidecars.len() as u64)?;
            database.sidecars.iter().try_for_each(|name| e.bytes(name).map(|_| ()))
        });
        if let Some(log) = &database.damaged_log {
            write_log(&mut map, log);
        }
    }
    map.finish()
}

fn write_log(map: &mut MapWriter, log: &DamagedLog) {
    let (Content::Chunk(id) | Content::List(id)) = log.content else { return };
    map.field(22, |e| {
        e.array(if log.hash.is_some() { 3 } else { 2 })?.u64(log.size)?.bytes(id.as_bytes())?;
        log.hash.iter().try_for_each(|hash| e.bytes(hash.as_bytes()).map(|_| ()))
    });
}

fn read_log(r: &mut Reader<'_>) -> Result<DamagedLog> {
    let items = r.array_len(3)?;
    let (size, id) = (r.uint()?, BlobId::new(r.fixed()?));
    let log = match items {
        2 => DamagedLog { size, content: Content::Chunk(id), hash: None },
        3 => DamagedLog { size, content: Content::List(id), hash: Some(BlobId::new(r.fixed()?)) },
        _ => return Err(r.bad("the log of a database has too few fields")),
    };
    if log.size == 0 || log.size > i64::MAX.unsigned_abs() {
        return Err(r.bad("the log of a database has no length"));
    }
    Ok(log)
}

/// Reads a page.
pub fn decode(page: &[u8]) -> Result<TreePage> {
    let mut r = Reader::new(page, "a tree page");
    r.tuple(2)?;
    let level = r.uint()?;
    let page = if level == 0 {
        let nodes = r.array(MAX_ITEMS, decode_node)?;
        if !nodes.is_sorted_by(|a, b| a.name < b.name) {
            return Err(r.bad("its names do not ascend"));
        }
        TreePage::Leaf(nodes)
    } else if level < MAX_LEVELS {
        let children = r.array(MAX_ITEMS, |r| {
            r.tuple(2)?;
            Ok((r.bytes(MAX_NAME)?.to_vec(), BlobId::new(r.fixed()?)))
        })?;
        if !children.is_sorted_by(|a, b| a.0 < b.0) || children.is_empty() {
            return Err(r.bad("its pages do not ascend"));
        }
        TreePage::Inner { level, children }
    } else {
        return Err(r.bad("it has too many levels"));
    };
    r.end()?;
    Ok(page)
}

/// Reads one node.
pub fn decode_node(r: &mut Reader<'_>) -> Result<Node> {
    let mut node = Node::new(Vec::new(), NodeKind::File);
    let (mut kind, mut log) = (None, None);
    r.map(|key, r| {
        match key {
            0 => node.name = r.bytes(MAX_NAME)?.to_vec(),
            1 => kind = NodeKind::from_number(r.uint()?),
            2 => node.mode = r.uint32()?,
            3 => node.uid = r.uint32()?,
            4 => node.gid = r.uint32()?,
            5 => node.user = Some(r.text(MAX_NAME)?),
            6 => node.group = Some(r.text(MAX_NAME)?),
            7 => node.mtime = Some(r.time()?),
            8..=12 | 19 => decode_content(key, r, &mut node)?,
            13 => node.target = Some(r.bytes(MAX_TARGET)?.to_vec()),
            14 => node.hard_link = Some(r.uint()?),
            15 => {
                r.tuple(2)?;
                node.device = Some((r.uint32()?, r.uint32()?));
            }
            16 => {
                node.xattrs = r.array(MAX_XATTRS, |r| {
                    r.tuple(2)?;
                    Ok((r.bytes(MAX_NAME)?.to_vec(), r.bytes(MAX_XATTR_VALUE)?.to_vec()))
                })?;
            }
            17 => node.subtree = Some(BlobId::new(r.fixed()?)),
            18 => node.changed_while_read = r.flag()?,
            22 => log = Some(read_log(r)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    node.kind = r.need(kind, "kind of node")?;
    if log.is_some() {
        node.database.as_mut().ok_or_else(|| r.bad("a log of no database"))?.damaged_log = log;
    }
    check_node(&node).map_err(|why| r.bad(why))?;
    Ok(node)
}

fn decode_content(key: u64, r: &mut Reader<'_>, node: &mut Node) -> Result<()> {
    match key {
        8 => node.size = r.uint()?,
        9 => {
            let layout = Layout::from_number(r.uint()?);
            node.layout = r.need(layout, "layout")?;
        }
        10 => node.content = Content::Chunk(BlobId::new(r.fixed()?)),
        11 => node.content = Content::List(BlobId::new(r.fixed()?)),
        12 => node.hash = Some(BlobId::new(r.fixed()?)),
        _ => {
            r.tuple(3)?;
            let state = DatabaseState::from_number(r.uint()?);
            let state = r.need(state, "state of a database")?;
            let page_size = r.uint32()?;
            let sidecars = r.array(16, |r| Ok(r.bytes(MAX_NAME)?.to_vec()))?;
            node.database = Some(Database { state, page_size, sidecars, damaged_log: None });
        }
    }
    Ok(())
}

/// Says why a node cannot be an entry of a folder.
fn check_node(node: &Node) -> std::result::Result<(), &'static str> {
    let name = node.name.as_slice();
    if name.is_empty() || name == b"." || name == b".." || name.iter().any(|b| matches!(b, b'/' | 0)) {
        return Err("a name is none");
    }
    let is_file = node.kind == NodeKind::File;
    let fits = (node.mode & !0o7777) == 0
        && (node.kind == NodeKind::Dir) == node.subtree.is_some()
        && (node.kind == NodeKind::Symlink) == node.target.is_some()
        && (is_file || (node.content == Content::None && node.size == 0))
        && (node.content == Content::None) == (node.size == 0)
        && matches!(node.content, Content::List(_)) == node.hash.is_some()
        && node.target.as_ref().is_none_or(|target| !target.is_empty() && !target.contains(&0))
        && node.size <= i64::MAX.unsigned_abs();
    if fits { Ok(()) } else { Err("a node contradicts itself") }
}

#[cfg(test)]
mod tests;
