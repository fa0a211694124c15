//! Folders and content lists as pages: cut by content, so that a change in a long one costs a few pages.

use crate::base::hash::{IdKey, derive_key};
use crate::base::{BlobId, Cancel, Error, Result};
use crate::format::list::{self, ListPage};
use crate::format::tree::{self, Above, TreePage};
use crate::model::{BlobKind, ListItem, Node};
use crate::repo::Repo;

/// Up to so many items are one page.
const ONE_PAGE: usize = 256;
/// Items of a page of a list of page runs.
pub(super) const RUNS_PER_PAGE: usize = 256;
/// Mean number of items of a page that is cut by content.
const MEAN_ITEMS: u64 = 192;
/// A page ends here at the latest.
const MOST_ITEMS: usize = 1024;
/// A page ends here at the latest, in encoded bytes.
const MOST_BYTES: usize = 1 << 20;

/// Stores pages; a run's writer does.
pub trait PageSink {
    /// Stores a page and says its name. `previous` is the page that stood in its place before.
    fn put_page(&self, kind: BlobKind, page: Vec<u8>, previous: Option<BlobId>) -> Result<BlobId>;
}

/// Where pages end.
#[derive(Debug)]
pub struct Boundaries(IdKey);

impl Boundaries {
    pub(crate) fn new(repo: &Repo) -> Self {
        Self(IdKey::new(derive_key("chatvault 1 page boundary", &[repo.sealer.bundle.dedup.expose()])))
    }

    fn ends_page(&self, name: &[u8]) -> bool {
        let hash = self.0.name(name);
        let first = hash.as_bytes().first_chunk::<8>().copied().unwrap_or_default();
        u64::from_le_bytes(first) < u64::MAX / MEAN_ITEMS
    }
}

/// Splits items into pages. `name` is what decides (none never ends a page), `size` the encoded bytes of an item.
fn split<'i, T>(
    items: &'i [T],
    boundaries: &Boundaries,
    name: impl Fn(&T) -> Option<&[u8]>,
    size: impl Fn(&T) -> usize,
) -> Vec<&'i [T]> {
    let total: usize = items.iter().map(&size).sum();
    if items.len() <= ONE_PAGE && total <= MOST_BYTES {
        return vec![items];
    }
    let mut pages = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, item) in items.iter().enumerate() {
        bytes += size(item);
        let full = at + 1 - start >= MOST_ITEMS || bytes >= MOST_BYTES;
        if full || name(item).is_some_and(|name| boundaries.ends_page(name)) {
            pages.extend(items.get(start..=at));
            (start, bytes) = (at + 1, 0);
        }
    }
    pages.extend(items.get(start..).filter(|rest| !rest.is_empty()));
    pages
}

fn too_long(what: &str) -> Error {
    Error::new(crate::base::Kind::Internal, "store", what).because("it has too many levels of pages")
}

/// An encoded node and its name.
#[derive(Clone, Copy, Debug)]
pub struct EncodedNode<'n> {
    /// The name.
    pub name: &'n [u8],
    /// The node's bytes.
    pub bytes: &'n [u8],
}

/// Stores a folder whose nodes ascend by name, and says its root page.
pub fn write_tree(sink: &dyn PageSink, boundaries: &Boundaries, nodes: &[EncodedNode<'_>]) -> Result<BlobId> {
    let mut level = Vec::new();
    for page in split(nodes, boundaries, |node| Some(node.name), |node| node.bytes.len()) {
        let bytes: Vec<&[u8]> = page.iter().map(|node| node.bytes).collect();
        let first = page.first().map(|node| node.name.to_vec()).unwrap_or_default();
        level.push((first, sink.put_page(BlobKind::TreePage, tree::encode_leaf(&bytes), None)?));
    }
    for height in 1..tree::MAX_LEVELS {
        if let [(_, root)] = level.as_slice() {
            return Ok(*root);
        }
        let mut above = Vec::new();
        for page in split(&level, boundaries, |(_, id)| Some(id.as_bytes()), |(name, _)| name.len() + 40) {
            let first = page.first().map(|(name, _)| name.clone()).unwrap_or_default();
            let page = tree::encode_inner(height, page);
            above.push((first, sink.put_page(BlobKind::TreePage, page, None)?));
        }
        level = above;
    }
    Err(too_long("a folder"))
}

/// How a content list is cut into pages.
#[derive(Clone, Copy, Debug)]
pub enum ListLayout<'p> {
    /// By content.
    Stream,
    /// In pages of equally many runs, each of which takes the place of one of the file's previous version.
    PageRuns {
        /// Bytes of a run.
        run: u32,
        /// The pages of the previous version, in order.
        previous: &'p [BlobId],
    },
}

/// Stores a content list and says its root page.
pub fn write_list(
    sink: &dyn PageSink,
    boundaries: &Boundaries,
    layout: ListLayout<'_>,
    items: &[ListItem],
) -> Result<BlobId> {
    let (unit, previous, pages) = match layout {
        ListLayout::PageRuns { run, previous } => (run, previous, items.chunks(RUNS_PER_PAGE).collect()),
        ListLayout::Stream => (0, &[][..], split(items, boundaries, chunk_name, |_| 40)),
    };
    let mut level = Vec::new();
    for (at, page) in pages.into_iter().enumerate() {
        let bytes = page.iter().map(ListItem::len).sum::<u64>();
        let before = previous.get(at).copied();
        level.push((sink.put_page(BlobKind::ListPage, list::encode_leaf(unit, page), before)?, bytes));
    }
    for height in 1..list::MAX_LEVELS {
        if let [(root, _)] = level.as_slice() {
            return Ok(*root);
        }
        let mut above = Vec::new();
        for page in split(&level, boundaries, |(id, _)| Some(id.as_bytes()), |_| 45) {
            let bytes = page.iter().map(|(_, bytes)| *bytes).sum::<u64>();
            let page = list::encode_inner(height, page);
            above.push((sink.put_page(BlobKind::ListPage, page, None)?, bytes));
        }
        level = above;
    }
    Err(too_long("a content list"))
}

fn chunk_name(item: &ListItem) -> Option<&[u8]> {
    match item {
        ListItem::Chunk { id, .. } => Some(id.as_bytes()),
        ListItem::Hole { .. } => None,
    }
}

fn bad_folder(root: &BlobId, why: &str) -> Error {
    Error::damaged("read a folder at page", root.short(), why)
}

impl Repo {
    /// Reads a tree page.
    pub fn tree_page(&self, id: &BlobId) -> Result<TreePage> {
        tree::decode(&self.read_blob(BlobKind::TreePage, id)?)
    }

    /// All nodes of a folder, ascending by name.
    pub fn read_tree(&self, root: &BlobId, cancel: &Cancel) -> Result<Vec<Node>> {
        let mut nodes: Vec<Node> = Vec::new();
        self.each_tree_leaf(root, cancel, &mut |leaf| {
            let ascends = nodes.last().zip(leaf.first()).is_none_or(|(a, b)| a.name < b.name);
            if !ascends {
                return Err(bad_folder(root, "its names do not ascend"));
            }
            nodes.extend(leaf);
            Ok(())
        })?;
        Ok(nodes)
    }

    /// Hands the nodes of a folder to `leaf`, page by page, ascending by name.
    pub(crate) fn each_tree_leaf(
        &self,
        root: &BlobId,
        cancel: &Cancel,
        leaf: &mut dyn FnMut(Vec<Node>) -> Result<()>,
    ) -> Result<()> {
        let mut pages: Vec<(BlobId, Option<Above>)> = vec![(*root, None)];
        while let Some((id, above)) = pages.pop() {
            cancel.check()?;
            let page = self.tree_page(&id)?;
            page.check_place(above.as_ref()).map_err(|why| bad_folder(root, why))?;
            match page {
                TreePage::Leaf(nodes) => leaf(nodes)?,
                TreePage::Inner { level, children } => {
                    pages.extend(children.into_iter().rev().map(|(first, id)| (id, Some((level, first)))));
                }
            }
        }
        Ok(())
    }

    /// The node of one name in a folder, reading only the pages on the way to it.
    pub fn find_node(&self, root: &BlobId, name: &[u8]) -> Result<Option<Node>> {
        let (mut id, mut above) = (*root, None::<Above>);
        loop {
            self.session().cancel.check()?;
            let page = self.tree_page(&id)?;
            page.check_place(above.as_ref()).map_err(|why| bad_folder(root, why))?;
            match page {
                TreePage::Leaf(nodes) => return Ok(nodes.into_iter().find(|node| node.name == name)),
                TreePage::Inner { level, mut children } => {
                    children.truncate(children.partition_point(|(first, _)| first.as_slice() <= name));
                    let Some((first, child)) = children.pop() else { return Ok(None) };
                    (id, above) = (child, Some((level, first)));
                }
            }
        }
    }

    /// Calls `item` for every piece of a content list, in the order of the file, until it fails.
    pub fn each_list_item(&self, root: &BlobId, item: &mut dyn FnMut(ListItem) -> Result<()>) -> Result<()> {
        let mut pages = vec![(*root, None)];
        while let Some((id, above)) = pages.pop() {
            self.session().cancel.check()?;
            let page = self.list_page(&id)?;
            page.check_place(above)
                .map_err(|why| Error::damaged("read a list at page", root.short(), why))?;
            match page {
                ListPage::Leaf(items) => items.into_iter().try_for_each(&mut *item)?,
                ListPage::Inner { level, children } => {
                    pages.extend(children.into_iter().rev().map(|(id, len)| (id, Some((level, len)))));
                }
            }
        }
        Ok(())
    }
}
