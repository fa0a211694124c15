//! Which snapshots come into question: by machine, path and tags.

use crate::base::StoredPath;
use crate::base::path::clean;
use crate::repo::Snapshot;
use std::collections::HashMap;

/// What a snapshot must be to come into question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// Of one of these machines; of any if there is none.
    pub hosts: Vec<String>,
    /// With all of these paths in its sources.
    pub paths: Vec<StoredPath>,
    /// With all tags of one of these lists; an empty list wants a snapshot without tags. Any if there is no list.
    pub tags: Vec<Vec<String>>,
}

impl SnapshotFilter {
    /// True if every snapshot comes into question.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.paths.is_empty() && self.tags.is_empty()
    }

    /// True if this one does.
    #[must_use]
    pub fn admits(&self, snapshot: &Snapshot) -> bool {
        let manifest = &snapshot.manifest;
        let has_tags = |wanted: &Vec<String>| match wanted.as_slice() {
            [] => snapshot.tags.is_empty(),
            all => all.iter().all(|tag| snapshot.tags.contains(tag)),
        };
        (self.hosts.is_empty() || self.hosts.contains(&manifest.host))
            && self.paths.iter().all(|path| manifest.paths.iter().any(|source| path.is_within(source)))
            && (self.tags.is_empty() || self.tags.iter().any(has_tags))
    }

    /// What is asked for, for people: `of the machine phone, with the tag x`.
    #[must_use]
    pub fn words(&self) -> String {
        let one_of = |words: Vec<String>| words.join(" or ");
        let mut parts = Vec::new();
        if !self.hosts.is_empty() {
            let hosts = self.hosts.iter().map(|host| clean(host.as_bytes()).into_owned()).collect();
            parts.push(format!("of the machine {}", one_of(hosts)));
        }
        if !self.paths.is_empty() {
            let paths: Vec<String> = self.paths.iter().map(ToString::to_string).collect();
            parts.push(format!("of a source that holds {}", paths.join(" and ")));
        }
        if !self.tags.is_empty() {
            let tags = self.tags.iter().map(|tags| match tags.as_slice() {
                [] => "no tag".to_owned(),
                tags => format!("the tag {}", clean(tags.join(" and ").as_bytes())),
            });
            parts.push(format!("with {}", one_of(tags.collect())));
        }
        parts.join(", ")
    }
}

/// The line of a snapshot: its machine and its sources, in an order that does not depend on how they were given.
pub(crate) fn line_of(snapshot: &Snapshot) -> (&str, Vec<&StoredPath>) {
    let mut paths: Vec<&StoredPath> = snapshot.manifest.paths.iter().collect();
    paths.sort();
    (&snapshot.manifest.host, paths)
}

/// The last so many snapshots of the same sources of each machine, in the order in which they come.
#[must_use]
pub fn last_of_each(snapshots: Vec<Snapshot>, count: usize) -> Vec<Snapshot> {
    let mut seen: HashMap<(String, Vec<StoredPath>), usize> = HashMap::new();
    let mut ordered: Vec<(usize, Snapshot)> = snapshots.into_iter().enumerate().collect();
    ordered.sort_by_key(|(place, snapshot)| (snapshot.manifest.time, *place));
    ordered.reverse();
    ordered.retain(|(_, snapshot)| {
        let mut paths = snapshot.manifest.paths.clone();
        paths.sort();
        let number = seen.entry((snapshot.manifest.host.clone(), paths)).or_default();
        *number += 1;
        *number <= count
    });
    ordered.sort_by_key(|(place, _)| *place);
    ordered.into_iter().map(|(_, snapshot)| snapshot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SnapshotId, Timestamp};
    use crate::repo::testing::sample_manifest;

    fn path(text: &str) -> StoredPath {
        StoredPath::parse(text.as_bytes()).unwrap()
    }

    fn snapshot(n: u8, host: &str, paths: &[&str], tags: &[&str]) -> Snapshot {
        let mut manifest = sample_manifest(n);
        manifest.time = Timestamp::new(n.into(), 0);
        manifest.host = host.to_owned();
        manifest.paths = paths.iter().map(|text| path(text)).collect();
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Snapshot { id: SnapshotId::new([n; 32]), manifest, tags, description: None, accepted: false }
    }

    #[test]
    fn each_condition_must_hold_and_any_of_several_values() {
        let one = snapshot(1, "phone", &["/a", "/b"], &["x", "y"]);
        let bare = snapshot(2, "tablet", &["/a"], &[]);
        let filter = |hosts: &[&str], paths: &[&str], tags: &[&[&str]]| SnapshotFilter {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            paths: paths.iter().map(|text| path(text)).collect(),
            tags: tags.iter().map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect()).collect(),
        };
        for (filter, wanted) in [
            (filter(&[], &[], &[]), (true, true)),
            (filter(&["phone"], &[], &[]), (true, false)),
            (filter(&["phone", "tablet"], &[], &[]), (true, true)),
            (filter(&["Phone"], &[], &[]), (false, false)),
            (filter(&[], &["/a"], &[]), (true, true)),
            (filter(&[], &["/a/deep/x"], &[]), (true, true)),
            (filter(&[], &["/ab"], &[]), (false, false)),
            (filter(&[], &["/"], &[]), (false, false)),
            (filter(&[], &["/a", "/b"], &[]), (true, false)),
            (filter(&[], &[], &[&["x", "y"]]), (true, false)),
            (filter(&[], &[], &[&["x", "z"]]), (false, false)),
            (filter(&[], &[], &[&["z"], &["y"]]), (true, false)),
            (filter(&[], &[], &[&[]]), (false, true)),
            (filter(&["tablet"], &["/a"], &[&[], &["x"]]), (false, true)),
        ] {
            assert_eq!((filter.admits(&one), filter.admits(&bare)), wanted, "{}", filter.words());
        }
        let words = filter(&["p\x1b", "q"], &["/a"], &[&["x", "y"], &[]]).words();
        assert_eq!(
            words,
            "of the machine p\\u{1b} or q, of a source that holds /a, with the tag x and y or no tag"
        );
    }

    #[test]
    fn the_last_of_each_source_stay_in_their_order() {
        let all = vec![
            snapshot(1, "phone", &["/a", "/b"], &[]),
            snapshot(2, "phone", &["/b", "/a"], &[]),
            snapshot(3, "tablet", &["/a"], &[]),
            snapshot(4, "phone", &["/a"], &[]),
            snapshot(5, "phone", &["/a", "/b"], &[]),
        ];
        let times = |count| -> Vec<i64> {
            last_of_each(all.clone(), count).iter().map(|one| one.manifest.time.secs).collect()
        };
        assert_eq!(times(1), [3, 4, 5]);
        assert_eq!(times(2), [2, 3, 4, 5]);
        assert_eq!(times(9), [1, 2, 3, 4, 5]);
    }
}
