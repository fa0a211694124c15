//! What a snapshot records of each database in it, so that any machine finds what later versions may be stored as
//! differences to, and whether the same image was checked before.

use crate::base::{BlobId, LineageId, StoredPath};
use crate::model::Content;

/// Most runs of a database that are sampled.
pub const MOST_SAMPLES: usize = 32;

/// A sampled run: its number, and the first bytes of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sample {
    /// Which run of the database, from 0.
    pub run: u32,
    /// The first 8 bytes of its blob id.
    pub id: [u8; 8],
}

/// What was found out about the soundness of a database's image. The number is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Checked {
    /// It was not checked, or the check did not come to an end.
    #[default]
    No = 0,
    /// SQLite's quick check found nothing.
    Quick = 1,
    /// SQLite's full check found nothing.
    Full = 2,
    /// A check found damage.
    Failed = 3,
}

impl Checked {
    /// The result of a stored number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::No, Self::Quick, Self::Full, Self::Failed]
            .into_iter()
            .find(|checked| u64::from(*checked as u8) == number)
    }
}

/// One database of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// Where it is in the snapshot.
    pub path: StoredPath,
    /// The same for all databases that came from one another.
    pub id: LineageId,
    /// Bytes of a page; 0 if that is not known.
    pub page_size: u32,
    /// Bytes of the stored image.
    pub size: u64,
    /// Where its image is.
    pub content: Content,
    /// The name of the whole image; none for an empty one.
    pub hash: Option<BlobId>,
    /// Some of its runs, ascending by number.
    pub samples: Vec<Sample>,
    /// Whether the image was checked.
    pub checked: Checked,
}

/// The numbers of the runs that are sampled in a database of so many runs: every 2^n-th one, so that databases of
/// different length have many in common.
pub fn sampled_runs(runs: u64) -> impl Iterator<Item = u32> {
    let stride = runs.div_ceil(MOST_SAMPLES as u64).max(1).next_power_of_two();
    (0..runs.div_ceil(stride)).filter_map(move |n| u32::try_from(n * stride).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_samples_and_near_lengths_share_them() {
        for runs in 0..5000 {
            let samples: Vec<u32> = sampled_runs(runs).collect();
            assert!(samples.len() <= MOST_SAMPLES && (runs == 0) == samples.is_empty());
            assert!(runs < 64 || samples.len() > MOST_SAMPLES / 2, "{runs}");
            let longer: Vec<u32> = sampled_runs(runs + runs / 4).collect();
            let shared = samples.iter().filter(|run| longer.contains(run)).count();
            assert!(shared * 2 >= samples.len(), "{runs}");
        }
    }
}
