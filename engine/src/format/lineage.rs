//! Lineage pages: the databases of a snapshot, ascending by path. A page is an array of a level and items; at level 0 the
//! items are records, above it pages of the level below.

use crate::base::{BlobId, LineageId, Result, StoredPath};
use crate::format::cbor::{MAX_STRING, MapWriter, Reader};
use crate::model::Content;
use crate::model::lineage::{Checked, Lineage, MOST_SAMPLES, Sample};
use minicbor::Encoder;

/// Most items of a page.
pub const MAX_ITEMS: usize = 4096;
/// Most levels.
pub const MAX_LEVELS: u64 = 4;

/// A page of lineage records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineagePage {
    /// Records.
    Leaf(Vec<Lineage>),
    /// Pages of the level below.
    Inner {
        /// 1 for a page of leaves.
        level: u64,
        /// The pages.
        children: Vec<BlobId>,
    },
}

/// The bytes of a record.
#[must_use]
pub fn encode_record(record: &Lineage) -> Vec<u8> {
    // The name of a single chunk is that of the whole.
    let hash = record.hash.as_ref().map(|id| &id.as_bytes()[..]);
    let (chunk, list, hash) = match &record.content {
        Content::None => (None, None, None),
        Content::Chunk(id) => (Some(&id.as_bytes()[..]), None, None),
        Content::List(id) => (None, Some(&id.as_bytes()[..]), hash),
    };
    let mut map = MapWriter::new();
    map.bytes(0, record.path.as_bytes())
        .bytes(1, record.id.as_bytes())
        .uint_unless_zero(2, record.page_size.into())
        .uint_unless_zero(3, record.size)
        .bytes_if(4, chunk)
        .bytes_if(5, list)
        .array(6, &record.samples, |e, sample| e.array(2)?.u32(sample.run)?.bytes(&sample.id).map(|_| ()))
        .uint_unless_zero(7, record.checked as u64)
        .bytes_if(8, hash);
    map.finish()
}

/// The bytes of a leaf of encoded records.
#[must_use]
pub fn encode_leaf(records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let _infallible =
        Encoder::new(&mut out).array(2).and_then(|e| e.u64(0)?.array(records.len() as u64)).map(|_| ());
    records.iter().for_each(|record| out.extend_from_slice(record));
    out
}

/// The bytes of a page of pages.
#[must_use]
pub fn encode_inner(level: u64, children: &[BlobId]) -> Vec<u8> {
    let mut out = Vec::new();
    let _infallible = Encoder::new(&mut out).array(2).and_then(|e| {
        e.u64(level)?.array(children.len() as u64)?;
        children.iter().try_for_each(|id| e.bytes(id.as_bytes()).map(|_| ()))
    });
    out
}

/// Reads a page.
pub fn decode(page: &[u8]) -> Result<LineagePage> {
    let mut r = Reader::new(page, "a lineage page");
    r.tuple(2)?;
    let level = r.uint()?;
    let page = match level {
        0 => LineagePage::Leaf(r.array(MAX_ITEMS, record)?),
        _ if level < MAX_LEVELS => {
            LineagePage::Inner { level, children: r.array(MAX_ITEMS, |r| Ok(BlobId::new(r.fixed()?)))? }
        }
        _ => return Err(r.bad("it has too many levels")),
    };
    r.end()?;
    Ok(page)
}

fn record(r: &mut Reader<'_>) -> Result<Lineage> {
    let (mut path, mut id, mut content, mut checked) = (None, None, Content::None, Some(Checked::No));
    let (mut page_size, mut size, mut samples, mut hash) = (0, 0, Vec::new(), None);
    r.map(|key, r| {
        match key {
            0 => path = StoredPath::parse(r.bytes(MAX_STRING)?),
            1 => id = Some(LineageId::new(r.fixed()?)),
            2 => page_size = r.uint32()?,
            3 => size = r.uint()?,
            4 => {
                let id = BlobId::new(r.fixed()?);
                (content, hash) = (Content::Chunk(id), Some(id));
            }
            5 => content = Content::List(BlobId::new(r.fixed()?)),
            6 => {
                samples = r.array(MOST_SAMPLES, |r| {
                    r.tuple(2)?;
                    Ok(Sample { run: r.uint32()?, id: r.fixed()? })
                })?;
            }
            // A result that a later version may find is none for this one.
            7 => checked = Checked::from_number(r.uint()?).or(Some(Checked::No)),
            8 => hash = Some(BlobId::new(r.fixed()?)),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let (path, id) = (r.need(path, "path")?, r.need(id, "lineage id")?);
    Ok(Lineage { path, id, page_size, size, content, hash, samples, checked: checked.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn some_record()(
            path in "(/[a-z]{1,9}){1,4}", id: [u8; 16], page_size in prop_oneof![Just(0u32), Just(4096)], size: u64,
            content in prop_oneof![
                Just(Content::None),
                any::<[u8; 32]>().prop_map(|id| Content::Chunk(BlobId::new(id))),
                any::<[u8; 32]>().prop_map(|id| Content::List(BlobId::new(id))),
            ],
            samples in proptest::collection::vec((any::<u32>(), any::<[u8; 8]>()), 0..=MOST_SAMPLES), checked in 0u64..4,
        ) -> Lineage {
            Lineage {
                path: StoredPath::parse(path.as_bytes()).unwrap(),
                id: LineageId::new(id),
                page_size,
                size,
                hash: match content {
                    Content::None => None,
                    Content::Chunk(id) => Some(id),
                    Content::List(_) => Some(BlobId::new([7; 32])),
                },
                content,
                samples: samples.into_iter().map(|(run, id)| Sample { run, id }).collect(),
                checked: Checked::from_number(checked).unwrap(),
            }
        }
    }

    proptest! {
        #[test]
        fn a_leaf_reads_as_written(records in proptest::collection::vec(some_record(), 0..9), at: prop::sample::Index) {
            let page = encode_leaf(&records.iter().map(encode_record).collect::<Vec<_>>());
            prop_assert_eq!(decode(&page).unwrap(), LineagePage::Leaf(records));
            prop_assert!(decode(&page[..at.index(page.len())]).is_err());
        }
    }

    #[test]
    fn pages_of_pages_have_few_levels() {
        let children = vec![BlobId::new([1; 32]), BlobId::new([2; 32])];
        let page = LineagePage::Inner { level: 3, children: children.clone() };
        assert_eq!(decode(&encode_inner(3, &children)).unwrap(), page);
        assert!(decode(&encode_inner(MAX_LEVELS, &children)).is_err());
    }

    #[test]
    fn what_a_record_must_have() {
        for (path, id, is_sound) in [
            (Some(&b"/a"[..]), Some(&[1u8; 16][..]), true),
            (None, Some(&[1; 16]), false),
            (Some(b"/a"), None, false),
            (Some(b"/.."), Some(&[1; 16]), false),
        ] {
            let mut map = MapWriter::new();
            map.bytes_if(0, path).bytes_if(1, id).uint(7, 99);
            assert_eq!(decode(&encode_leaf(&[map.finish()])).is_ok(), is_sound);
        }
    }
}
