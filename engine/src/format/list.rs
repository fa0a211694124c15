//! List pages: what a file's content consists of. A page is an array of a level, a unit and items; at level 0 the items
//! are chunks and holes, above it they are pages of the level below with the bytes of the file that each stands for.

use crate::base::{BlobId, Result};
use crate::format::cbor::Reader;
use crate::format::pack::MAX_BLOB_LEN;
use crate::model::ListItem;
use minicbor::Encoder;

/// Most items of a page.
pub const MAX_ITEMS: usize = 4096;
/// Most levels of a list.
pub const MAX_LEVELS: u64 = 8;

/// A page of a content list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListPage {
    /// Chunks and holes in the order of the file.
    Leaf(Vec<ListItem>),
    /// Pages of the level below.
    Inner {
        /// 1 for a page of leaves.
        level: u64,
        /// Page and the bytes of the file it stands for.
        children: Vec<(BlobId, u64)>,
    },
}

impl ListPage {
    /// Bytes of the file that the page stands for; `None` if the sum has no 64 bits.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        match self {
            Self::Leaf(items) => items.iter().try_fold(0u64, |sum, item| sum.checked_add(item.len())),
            Self::Inner { children, .. } => {
                children.iter().try_fold(0u64, |sum, (_, len)| sum.checked_add(*len))
            }
        }
    }

    /// 0 for a leaf.
    #[must_use]
    pub fn level(&self) -> u64 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner { level, .. } => *level,
        }
    }

    /// Says why the page cannot stand where it was found: below a page of level `above` that gives it so many bytes, or,
    /// with none, at the root.
    pub fn check_place(&self, above: Option<(u64, u64)>) -> std::result::Result<(), &'static str> {
        match above {
            Some((above, _)) if self.level().checked_add(1) != Some(above) => {
                Err("its levels do not descend one by one")
            }
            Some((_, bytes)) if self.total() != Some(bytes) => Err("a page has another length than was said"),
            _ => Ok(()),
        }
    }
}

/// The bytes of a leaf. Chunks of `unit` bytes are written without their length.
#[must_use]
pub fn encode_leaf(unit: u32, items: &[ListItem]) -> Vec<u8> {
    let mut out = Vec::with_capacity(items.len() * 40 + 8);
    let _infallible = Encoder::new(&mut out).array(3).and_then(|e| {
        e.u64(0)?.u32(unit)?.array(items.len() as u64)?;
        items.iter().try_for_each(|item| {
            match item {
                ListItem::Chunk { id, len } if *len == unit => e.bytes(id.as_bytes())?,
                ListItem::Chunk { id, len } => e.array(2)?.bytes(id.as_bytes())?.u32(*len)?,
                ListItem::Hole { len } => e.u64(*len)?,
            };
            Ok(())
        })
    });
    out
}

/// The bytes of a page of pages.
#[must_use]
pub fn encode_inner(level: u64, children: &[(BlobId, u64)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(children.len() * 44 + 8);
    let _infallible = Encoder::new(&mut out).array(3).and_then(|e| {
        e.u64(level)?.u32(0)?.array(children.len() as u64)?;
        children.iter().try_for_each(|(id, len)| e.array(2)?.bytes(id.as_bytes())?.u64(*len).map(|_| ()))
    });
    out
}

/// Reads a page.
pub fn decode(page: &[u8]) -> Result<ListPage> {
    let mut r = Reader::new(page, "a list page");
    r.tuple(3)?;
    let (level, unit) = (r.uint()?, r.uint32()?);
    let page = if level == 0 {
        ListPage::Leaf(r.array(MAX_ITEMS, |r| decode_item(r, unit))?)
    } else if level < MAX_LEVELS {
        let children = r.array(MAX_ITEMS, |r| {
            r.tuple(2)?;
            Ok((BlobId::new(r.fixed()?), r.uint()?))
        })?;
        ListPage::Inner { level, children }
    } else {
        return Err(r.bad("it has too many levels"));
    };
    r.end()?;
    let nothing = match &page {
        ListPage::Leaf(items) => items.is_empty(),
        ListPage::Inner { children, .. } => children.is_empty() || children.iter().any(|(_, len)| *len == 0),
    };
    if nothing {
        return Err(r.bad("it stands for no bytes"));
    }
    if page.total().is_none() {
        return Err(r.bad("its lengths have no sum"));
    }
    Ok(page)
}

fn decode_item(r: &mut Reader<'_>, unit: u32) -> Result<ListItem> {
    let item = if r.at_uint() {
        ListItem::Hole { len: r.uint()? }
    } else if r.at_array() {
        r.tuple(2)?;
        ListItem::Chunk { id: BlobId::new(r.fixed()?), len: r.uint32()? }
    } else {
        ListItem::Chunk { id: BlobId::new(r.fixed()?), len: unit }
    };
    let too_long = matches!(item, ListItem::Chunk { len, .. } if len > MAX_BLOB_LEN);
    if item.is_empty() || too_long { Err(r.bad("an item has an impossible length")) } else { Ok(item) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item() -> impl Strategy<Value = ListItem> {
        prop_oneof![
            (any::<[u8; 32]>(), prop_oneof![Just(65536u32), 1..=MAX_BLOB_LEN])
                .prop_map(|(id, len)| ListItem::Chunk { id: BlobId::new(id), len }),
            (1u64..1 << 50).prop_map(|len| ListItem::Hole { len }),
        ]
    }

    proptest! {
        #[test]
        fn a_leaf_reads_as_written(items in proptest::collection::vec(item(), 1..50), unit in prop_oneof![Just(0u32), Just(65536)]) {
            prop_assert_eq!(decode(&encode_leaf(unit, &items)).unwrap(), ListPage::Leaf(items));
        }
    }

    #[test]
    fn impossible_pages_are_refused() {
        let id = BlobId::new([1; 32]);
        let huge = ListItem::Hole { len: u64::MAX };
        assert!(decode(&encode_leaf(0, &[huge, huge])).is_err());
        assert!(decode(&encode_leaf(0, &[ListItem::Chunk { id, len: MAX_BLOB_LEN + 1 }])).is_err());
        assert!(decode(&encode_leaf(0, &[ListItem::Hole { len: 0 }])).is_err());
        assert!(decode(&encode_inner(MAX_LEVELS, &[(id, 1)])).is_err());
        assert!(decode(&encode_inner(1, &[(id, u64::MAX), (id, 1)])).is_err());
        assert!(decode(&encode_inner(1, &[(id, 1)])).is_ok());
        assert!(decode(&encode_inner(1, &[(id, 1), (id, 0)])).is_err());
        assert!(decode(&encode_inner(1, &[])).is_err());
        assert!(decode(&encode_leaf(0, &[])).is_err());
    }

    #[test]
    fn a_page_stands_one_level_below_and_for_the_bytes_that_were_said() {
        let leaf = ListPage::Leaf(vec![ListItem::Hole { len: 7 }]);
        let inner = ListPage::Inner { level: 2, children: vec![(BlobId::new([1; 32]), 7)] };
        for (page, above) in [(&leaf, 1), (&inner, 3)] {
            assert!(page.check_place(None).is_ok());
            assert!(page.check_place(Some((above, 7))).is_ok());
            for wrong in [(above, 6), (above, 8), (above - 1, 7), (above + 1, 7), (u64::MAX, 7)] {
                assert!(page.check_place(Some(wrong)).is_err(), "{wrong:?}");
            }
        }
    }
}
