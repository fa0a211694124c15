//! Which snapshot is the last one: by the clock, and where one writer made them, by the order in which it did.

use crate::base::{SnapshotId, Timestamp, WriterId};
use crate::model::Manifest;
use crate::repo::Snapshot;
use std::collections::HashMap;

/// How far the clock may go back without a word, in nanoseconds: an hour, as clocks are set twice a year and by hand.
const MOST_BACK: i128 = 60 * 60 * 1_000_000_000;

/// What a snapshot was taken of, and where.
type Line<'s> = (&'s str, &'s [crate::base::StoredPath]);

/// The snapshots in their order, the last one at the end. A clock that was wrong for a while does not disturb the order of
/// what one writer made: a snapshot counts as no later than those that the writer made after it. Older states that
/// were brought in later go by their time alone.
#[must_use]
pub fn in_order<'s>(snapshots: &[&'s Snapshot]) -> Vec<&'s Snapshot> {
    let mut groups: Vec<Vec<&Snapshot>> = Vec::new();
    let made = || snapshots.iter().copied().filter(|snapshot| !snapshot.manifest.imported);
    if one_writer(made()).is_some() {
        groups.push(made().collect());
    } else {
        let mut lines: HashMap<Line<'_>, Vec<&Snapshot>> = HashMap::new();
        made().for_each(|snapshot| lines.entry(line_of(&snapshot.manifest)).or_default().push(snapshot));
        groups.extend(lines.into_values().filter(|line| one_writer(line.iter().copied()).is_some()));
    }
    let mut times: HashMap<SnapshotId, Timestamp> = HashMap::new();
    for mut group in groups {
        group.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.manifest.sequence));
        let mut earliest = None;
        for snapshot in group {
            let time = earliest.map_or(snapshot.manifest.time, |time| snapshot.manifest.time.min(time));
            earliest = Some(time);
            times.insert(snapshot.id, time);
        }
    }
    let mut ordered = snapshots.to_vec();
    ordered.sort_by_key(|snapshot| {
        let time = times.get(&snapshot.id).copied().unwrap_or(snapshot.manifest.time);
        (time, snapshot.manifest.lamport, snapshot.id)
    });
    ordered
}

/// The writer of all of them; none if there are several, or none at all.
fn one_writer<'s>(mut snapshots: impl Iterator<Item = &'s Snapshot>) -> Option<WriterId> {
    let first = snapshots.next()?.manifest.writer;
    snapshots.all(|snapshot| snapshot.manifest.writer == first).then_some(first)
}

fn line_of(manifest: &Manifest) -> Line<'_> {
    (&manifest.host, &manifest.paths)
}

/// What is odd about the time of a snapshot, beside the ones that were there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Misdated {
    /// The last snapshot of the same writer, if that is more than an hour later by its time: a clock is wrong.
    pub clock_went_back: Option<(SnapshotId, Timestamp)>,
    /// The snapshot of the same paths on the same machine that `latest` names instead.
    pub latest: Option<(SnapshotId, Timestamp)>,
}

/// Looks at the time of a snapshot that is about to be written by this writer.
#[must_use]
pub fn misdated(snapshots: &[Snapshot], manifest: &Manifest, writer: WriterId) -> Misdated {
    let of = |snapshot: &Snapshot| (snapshot.id, snapshot.manifest.time);
    if manifest.imported {
        return Misdated::default();
    }
    let own =
        snapshots.iter().filter(|snapshot| snapshot.manifest.writer == writer && !snapshot.manifest.imported);
    let last = own.max_by_key(|snapshot| snapshot.manifest.sequence);
    let clock_went_back =
        last.filter(|last| last.manifest.time.as_nanos() - manifest.time.as_nanos() > MOST_BACK).map(of);
    let next = Manifest { writer, sequence: u64::MAX, lamport: u64::MAX, ..manifest.clone() };
    // No id is that.
    let id = SnapshotId::new([0xff; 32]);
    let next = Snapshot { id, manifest: next, tags: Vec::new(), description: None, accepted: false };
    let line: Vec<&Snapshot> = snapshots
        .iter()
        .chain([&next])
        .filter(|snapshot| line_of(&snapshot.manifest) == line_of(manifest))
        .collect();
    let latest = in_order(&line).last().copied().filter(|latest| latest.id != id).map(of);
    Misdated { clock_went_back, latest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::StoredPath;
    use crate::repo::testing::sample_manifest;

    /// A snapshot of this writer, with its number, and its time in hours.
    fn taken(writer: u8, sequence: u64, hours: i64) -> Snapshot {
        let manifest = Manifest {
            writer: WriterId::new([writer; 16]),
            sequence,
            lamport: sequence,
            time: Timestamp::new(hours * 3600, 0),
            ..sample_manifest(0)
        };
        let id = SnapshotId::new([writer * 16 + sequence as u8; 32]);
        Snapshot { id, manifest, tags: Vec::new(), description: None, accepted: false }
    }

    fn order(snapshots: &[Snapshot]) -> Vec<u64> {
        let all: Vec<&Snapshot> = snapshots.iter().collect();
        in_order(&all).into_iter().map(|snapshot| snapshot.manifest.sequence).collect()
    }

    #[test]
    fn what_one_writer_made_goes_by_its_chain_whatever_its_clock_said() {
        assert_eq!(order(&[taken(1, 3, 12), taken(1, 1, 10), taken(1, 2, 9_999)]), [1, 2, 3]);
        assert_eq!(order(&[taken(1, 1, 10), taken(1, 2, 11), taken(1, 3, -5)]), [1, 2, 3]);
    }

    #[test]
    fn what_several_writers_made_goes_by_time_and_each_line_of_one_by_its_chain() {
        assert_eq!(order(&[taken(1, 1, 99), taken(2, 2, 10), taken(1, 3, 11)]), [2, 3, 1]);
        let mut other = taken(2, 4, 50);
        other.manifest.paths = vec![StoredPath::root().join(b"other")];
        assert_eq!(order(&[taken(1, 1, 99), taken(1, 2, 10), other]), [1, 2, 4]);
    }

    #[test]
    fn imported_states_go_by_their_time() {
        let mut old = taken(1, 3, 5);
        old.manifest.imported = true;
        assert_eq!(order(&[taken(1, 1, 1), taken(1, 2, 10), old]), [1, 3, 2]);
    }

    #[test]
    fn a_clock_that_went_back_and_another_latest_are_noticed() {
        let hours = |hours| taken(1, 0, hours).manifest;
        let [one, two] = [1, 2].map(|n| WriterId::new([n; 16]));
        let history = [taken(1, 1, 100)];
        let latest = Some((history[0].id, history[0].manifest.time));
        assert_eq!(misdated(&history, &hours(101), one), Misdated::default());
        assert_eq!(misdated(&history, &hours(99), one), Misdated::default());
        let back = Misdated { clock_went_back: latest, ..Misdated::default() };
        assert_eq!(misdated(&history, &hours(98), one), back);
        let hidden = Misdated { latest, ..Misdated::default() };
        assert_eq!(misdated(&history, &hours(99), two), hidden);
        let imported = Manifest { imported: true, ..hours(1) };
        assert_eq!(misdated(&history, &imported, one), Misdated::default());
    }
}
