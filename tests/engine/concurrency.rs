//! Two snapshots at once into one repository, with one cache: neither waits for the other, both are whole.
//!
//! `CHATVAULT_ROUNDS` is the number of rounds (5 without it).

use chatvault_engine::backup::{self, BackupOptions};
use chatvault_engine::base::SnapshotId;
use chatvault_engine::base::event::Silent;
use chatvault_engine::repo::Repo;
use chatvault_engine::store::{LocalStore, Store};
use chatvault_tests::bytes::{noise, text};
use chatvault_tests::lab::find;
use chatvault_tests::meeting::{Meeting, MeetingStore};
use chatvault_tests::{Lab, Truth};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Adds what both sources of a round share and what each has alone.
fn live_on(source: &Path, name: &str, round: usize) {
    let at = source.join(format!("round {round}"));
    fs::create_dir_all(&at).unwrap();
    fs::write(at.join("shared"), noise(&format!("shared {round}"), 1_500_000)).unwrap();
    fs::write(at.join("alone"), noise(&format!("{name} {round}"), 700_000)).unwrap();
    fs::write(source.join("chat.txt"), text(name, 40_000 + 1000 * round)).unwrap();
}

fn open(lab: &Lab, meeting: &Arc<Meeting>) -> Repo {
    lab.open_in(Arc::new(MeetingStore::new(LocalStore::open(&lab.repository()).unwrap(), meeting)))
}

fn take(repo: &Repo, source: &Path) -> SnapshotId {
    let options = BackupOptions { paths: vec![source.to_owned()], ..BackupOptions::default() };
    backup::snapshot(repo, &options, &Silent).unwrap().id
}

/// One round; `sources` may name one folder twice.
fn round(lab: &Lab, sources: &[PathBuf; 2], number: usize, taken: &mut Vec<(SnapshotId, PathBuf, Truth)>) {
    let names = ["left", "right"];
    for (source, name) in sources.iter().zip(names) {
        live_on(source, name, number);
    }
    let truths = sources.each_ref().map(|source| Truth::read(source));
    let meeting = Meeting::of(2);
    let ids = std::thread::scope(|scope| {
        let runs = sources.each_ref().map(|source| scope.spawn(|| take(&open(lab, &meeting), source)));
        runs.map(|run| run.join().unwrap())
    });
    assert!(meeting.took_place(), "round {number}: the runs did not overlap");
    assert_ne!(ids[0], ids[1]);
    taken.extend(
        ids.into_iter().zip(sources.clone()).zip(truths).map(|((id, source), truth)| (id, source, truth)),
    );
}

fn all_are_whole(lab: &Lab, taken: &[(SnapshotId, PathBuf, Truth)], what: &str) {
    let repo = lab.open();
    assert_eq!(repo.snapshots(&Silent).unwrap().len(), taken.len());
    assert_eq!(LocalStore::open(&lab.repository()).unwrap().list("leases").unwrap().objects, [], "{what}");
    for (id, source, truth) in taken {
        let restored = lab.restore_what_is_left(&repo, &find(&repo, id), source);
        truth.assert_same(&restored.truth(), &format!("{what}, snapshot {}", id.short()));
    }
}

fn rounds() -> usize {
    std::env::var("CHATVAULT_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap())
}

#[test]
fn two_snapshots_of_two_sources_at_once_are_both_whole() {
    let lab = Lab::new();
    drop(lab.create());
    let sources = ["one", "two"].map(|name| lab.source().join(name));
    let mut taken = Vec::new();
    for number in 0..rounds() {
        round(&lab, &sources, number, &mut taken);
        all_are_whole(
            &lab,
            &taken[taken.len() - 2..].iter().chain(&taken[..taken.len() - 2]).cloned().collect::<Vec<_>>(),
            &format!("round {number}"),
        );
    }
    lab.delete_cache();
    all_are_whole(&lab, &taken, "without the cache");
}

#[test]
fn two_snapshots_of_one_source_at_once_are_both_whole_and_are_remembered() {
    let lab = Lab::new();
    drop(lab.create());
    let sources = [lab.source(), lab.source()];
    let mut taken = Vec::new();
    for number in 0..rounds() {
        round(&lab, &sources, number, &mut taken);
    }
    all_are_whole(&lab, &taken, "with the cache");
    let after = lab.snapshot(&lab.open());
    assert_eq!((after.statistics.files_new, after.statistics.files_changed), (0, 0));
    taken.push((after.id, lab.source(), Truth::read(&lab.source())));
    lab.delete_cache();
    all_are_whole(&lab, &taken, "without the cache");
}
