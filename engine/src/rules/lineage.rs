//! What a database came from: the version whose runs the new one's runs are stored as differences to.

use crate::base::{StoredPath, Timestamp};
use crate::model::lineage::{Lineage, Sample};
use crate::repo::Snapshot;

/// The snapshot of the same paths on the same machine whose state is nearest in time: the last one that is not later
/// (an older state that is brought in today belongs among its neighbours of then), else the first one after it.
#[must_use]
pub fn neighbour<'s>(
    snapshots: &'s [Snapshot],
    host: &str,
    paths: &[StoredPath],
    time: Timestamp,
) -> Option<&'s Snapshot> {
    let of_source = || {
        snapshots.iter().filter(|snapshot| snapshot.manifest.host == host && snapshot.manifest.paths == paths)
    };
    let not_later = of_source().filter(|snapshot| snapshot.manifest.time <= time);
    not_later
        .max_by_key(|snapshot| snapshot.manifest.time)
        .or_else(|| of_source().min_by_key(|snapshot| snapshot.manifest.time))
}

/// The newest snapshot of each source that has lineage records, the newest first, at most so many.
#[must_use]
pub fn newest_of_sources(snapshots: &[Snapshot], most: usize) -> Vec<&Snapshot> {
    let mut newest: Vec<&Snapshot> = Vec::new();
    let mut order: Vec<&Snapshot> = snapshots.iter().filter(|s| s.manifest.lineage.is_some()).collect();
    order.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.manifest.time));
    for snapshot in order {
        let same = |other: &&Snapshot| {
            (&other.manifest.host, &other.manifest.paths)
                == (&snapshot.manifest.host, &snapshot.manifest.paths)
        };
        if newest.len() < most && !newest.iter().any(same) {
            newest.push(snapshot);
        }
    }
    newest
}

/// Of some databases the one that shares most sampled runs with a new one; none if no one shares any. One is enough: two
/// databases have a whole run in common by descent, or not at all, and what turns out not to resemble is stored full anyway.
pub fn closest<'l>(
    candidates: impl IntoIterator<Item = &'l Lineage>,
    samples: &[Sample],
) -> Option<&'l Lineage> {
    let shared = |candidate: &Lineage| {
        samples.iter().filter(|sample| candidate.samples.binary_search(sample).is_ok()).count()
    };
    candidates
        .into_iter()
        .map(|candidate| (shared(candidate), candidate))
        .filter(|(shared, _)| *shared > 0)
        // Of equals the first one: candidates come the nearest first.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BlobId, LineageId, SnapshotId};
    use crate::model::{Checked, Content};
    use crate::repo::testing::sample_manifest;

    fn snapshot(n: u8, time: i64, path: &str) -> Snapshot {
        let mut manifest = sample_manifest(n);
        manifest.time = Timestamp::new(time, 0);
        manifest.paths = vec![StoredPath::parse(path.as_bytes()).unwrap()];
        manifest.lineage = Some(BlobId::new([n; 32]));
        let id = SnapshotId::new([n; 32]);
        Snapshot { id, manifest, tags: Vec::new(), description: None, accepted: false }
    }

    fn samples(ids: &[u8]) -> Vec<Sample> {
        (0..).zip(ids).map(|(run, id)| Sample { run, id: [*id; 8] }).collect()
    }

    fn database(n: u8, ids: &[u8]) -> Lineage {
        Lineage {
            path: StoredPath::root().join(&[b'a' + n]),
            id: LineageId::new([n; 16]),
            page_size: 4096,
            size: 1,
            content: Content::None,
            hash: None,
            samples: samples(ids),
            checked: Checked::No,
        }
    }

    #[test]
    fn the_neighbour_is_the_last_state_before_or_else_the_first_after() {
        let all =
            [snapshot(1, 10, "/a"), snapshot(2, 30, "/a"), snapshot(3, 20, "/a"), snapshot(4, 25, "/b")];
        let paths = [StoredPath::parse(b"/a").unwrap()];
        let at = |time| neighbour(&all, "host", &paths, Timestamp::new(time, 0)).map(|s| s.id.as_bytes()[0]);
        assert_eq!([at(5), at(10), at(19), at(20), at(99)], [Some(1), Some(1), Some(1), Some(3), Some(2)]);
        assert!(neighbour(&all, "other", &paths, Timestamp::new(99, 0)).is_none());
    }

    #[test]
    fn each_source_gives_its_newest_records() {
        let mut all =
            vec![snapshot(1, 10, "/a"), snapshot(2, 30, "/a"), snapshot(4, 25, "/b"), snapshot(5, 40, "/c")];
        all[3].manifest.lineage = None;
        let ids = |most| newest_of_sources(&all, most).iter().map(|s| s.id.as_bytes()[0]).collect::<Vec<_>>();
        assert_eq!((ids(9), ids(1)), (vec![2, 4], vec![2]));
    }

    #[test]
    fn the_closest_shares_most_samples() {
        let all = [database(1, &[1, 2, 9, 9]), database(2, &[1, 2, 3, 9]), database(3, &[9, 2, 3, 4])];
        let found = |ids: &[u8]| closest(&all, &samples(ids)).map(|found| found.id.as_bytes()[0]);
        assert_eq!(
            [found(&[1, 2, 3, 4]), found(&[1, 2, 7, 7]), found(&[7, 7, 7, 7])],
            [Some(2), Some(1), None]
        );
        assert_eq!(found(&[0, 0, 0, 4, 0, 0, 0, 0, 0]), Some(3));
        assert_eq!(found(&[]), None);
    }
}
