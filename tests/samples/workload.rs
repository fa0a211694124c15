//! A chat app's folder on eight days in a row: each day lies at the same place when its snapshot is taken, all go into
//! one repository, and all come back without the cache.

use crate::Outcome;
use chatvault_tests::{Lab, Truth};
use std::fs;
use std::path::{Path, PathBuf};

/// A day's folder at the place of snapshots; it goes back when dropped, whatever happened.
struct Moved<'p> {
    from: PathBuf,
    place: &'p Path,
}

impl<'p> Moved<'p> {
    fn new(from: PathBuf, place: &'p Path) -> Self {
        fs::rename(&from, place).unwrap();
        Self { from, place }
    }
}

impl Drop for Moved<'_> {
    fn drop(&mut self) {
        fs::rename(self.place, &self.from).expect("the day goes back to its place");
    }
}

pub fn run() -> Outcome {
    let Some(workload) = std::env::var_os("CHATVAULT_WORKLOAD").map(PathBuf::from) else {
        return Outcome::Ignored("CHATVAULT_WORKLOAD is not set".to_owned());
    };
    let workload = workload.canonicalize().expect("CHATVAULT_WORKLOAD names a folder");
    let days: Vec<PathBuf> = (0..8).map(|day| workload.join(format!("states/state{day}"))).collect();
    assert!(days.iter().all(|day| day.is_dir()), "CHATVAULT_WORKLOAD has no states/state0 to states/state7");
    let place = workload.join("live");
    assert!(!place.exists(), "{} is left from an earlier run", place.display());
    let lab = Lab::new();
    drop(lab.create());
    let mut taken = Vec::new();
    let mut growth = 0;
    for (number, day) in days.iter().enumerate() {
        let _at_its_place = Moved::new(day.clone(), &place);
        let truth = Truth::read(&place);
        let before = size(&lab.repository());
        let summary = lab.snapshot_of(&lab.open(), &place);
        if number > 0 {
            growth += size(&lab.repository()) - before;
        }
        taken.push((summary, truth));
    }
    lab.delete_cache();
    let repo = lab.open();
    for (summary, truth) in &taken {
        let snapshot = chatvault_tests::lab::find(&repo, &summary.id);
        let restored = lab.restore_what_is_left(&repo, &snapshot, &place);
        truth.assert_same(&restored.truth(), "a restored day");
    }
    let files = taken.iter().map(|(summary, _)| summary.statistics.total_files).sum::<u64>();
    Outcome::Passed(format!("{files} files on 8 days; a day adds {} bytes", growth / 7))
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> u64 {
    Truth::read(folder).0.values().map(|entry| entry.size).sum()
}
