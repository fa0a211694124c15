//! The lineage records of a snapshot: written as pages, read with bounds.

use crate::base::{BlobId, Error, Kind, Result};
use crate::format::lineage::{self, LineagePage};
use crate::model::BlobKind;
use crate::model::lineage::Lineage;
use crate::repo::Repo;
use crate::repo::pages::PageSink;

/// Records of a page: about 20 KiB.
const PER_PAGE: usize = 48;
/// Most records that are read of one snapshot; a machine with more databases only loses what they might rest on.
const MOST_RECORDS: usize = 1 << 16;

/// Stores records that ascend by path and says their root page; none for no records. `previous` are the leaves of an
/// earlier snapshot's records.
///
/// # Errors
/// Fails if the repository cannot be written, or if they are more than the levels of pages can hold.
pub fn write_lineage(
    sink: &dyn PageSink,
    records: &[Lineage],
    previous: &[BlobId],
) -> Result<Option<BlobId>> {
    let mut level = Vec::new();
    for (at, page) in records.chunks(PER_PAGE).enumerate() {
        let encoded: Vec<Vec<u8>> = page.iter().map(lineage::encode_record).collect();
        let before = previous.get(at).copied();
        level.push(sink.put_page(BlobKind::ListPage, lineage::encode_leaf(&encoded), before)?);
    }
    for height in 1..lineage::MAX_LEVELS {
        if level.len() <= 1 {
            return Ok(level.pop());
        }
        let pages = level
            .chunks(lineage::MAX_ITEMS)
            .map(|children| sink.put_page(BlobKind::ListPage, lineage::encode_inner(height, children), None));
        level = pages.collect::<Result<_>>()?;
    }
    Err(Error::new(Kind::Internal, "store", "the lineage records").because("there are too many of them"))
}

impl Repo {
    /// The lineage records under a root page, and the leaves that hold them.
    ///
    /// # Errors
    /// [`Kind::Damaged`] if a page cannot be read.
    pub fn read_lineage(&self, root: &BlobId) -> Result<(Vec<Lineage>, Vec<BlobId>)> {
        let (mut records, mut leaves) = (Vec::new(), Vec::new());
        let mut pages = vec![(*root, None)];
        while let Some((id, above)) = pages.pop() {
            self.session().cancel.check()?;
            let damaged = |why| Error::damaged("read lineage page", id.short(), why);
            match (lineage::decode(&self.read_blob(BlobKind::ListPage, &id)?)?, above) {
                (LineagePage::Leaf(leaf), None | Some(1)) => {
                    records.extend(leaf);
                    leaves.push(id);
                }
                (LineagePage::Inner { level, children }, above)
                    if above.is_none_or(|above| level + 1 == above) =>
                {
                    pages.extend(children.into_iter().rev().map(|id| (id, Some(level))));
                }
                _ => return Err(damaged("its levels do not descend one by one")),
            }
            if records.len() > MOST_RECORDS || pages.len() > MOST_RECORDS {
                return Err(damaged("there are too many records"));
            }
        }
        Ok((records, leaves))
    }
}
