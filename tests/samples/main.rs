//! Real samples from public projects, and a chat app's folder over a week: stored and restored identically. They are no
//! part of this project: what is not there is skipped, and said.
//!
//! `CHATVAULT_SAMPLES` names the folder of samples (else `../shared/data` beside the checkout), `CHATVAULT_WORKLOAD` a
//! folder with `states/state0` to `states/state7`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program with its own main"
)]

mod databases;
mod known;
mod workload;

use chatvault_tests::harness::{Harness, Outcome, Trial};
use chatvault_tests::{Lab, Truth};
use known::KNOWN;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = std::env::var_os("CHATVAULT_SAMPLES").map_or_else(beside_the_checkout, PathBuf::from);
    let lab = Lab::new();
    drop(lab.create());
    // One after the other: they share the lab.
    Harness::in_turns("samples").run(&arguments, tests(&lab, &folder))
}

fn beside_the_checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("../shared/data")
}

fn tests<'t>(lab: &'t Lab, folder: &Path) -> Vec<(String, Trial<'t>)> {
    let mut tests: Vec<(String, Trial<'t>)> = Vec::new();
    for (name, files, hash) in KNOWN {
        let folder = folder.join(name);
        tests.push((format!("sample {name}"), Box::new(move || sample(lab, &folder, files, hash))));
    }
    let whole = folder.to_owned();
    let is_there = move || KNOWN.iter().all(|(name, ..)| whole.join(name).is_dir());
    let whole = folder.to_owned();
    tests.push((
        "all samples together".to_owned(),
        Box::new(move || if is_there() { round_trip(lab, &whole) } else { absent(&whole) }),
    ));
    for (name, test) in [
        ("databases as they lie", databases::as_they_lie as fn(&Path) -> Outcome),
        ("databases in WAL mode with frames pending", databases::with_frames_pending),
    ] {
        let whole = folder.to_owned();
        tests.push((name.to_owned(), Box::new(move || test(&whole))));
    }
    tests.push(("a week of a chat app".to_owned(), Box::new(workload::run)));
    tests
}

fn absent(folder: &Path) -> Outcome {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    Outcome::Ignored(format!("{name} is not there"))
}

fn sample(lab: &Lab, folder: &Path, files: usize, hash: &str) -> Outcome {
    if !folder.is_dir() {
        return absent(folder);
    }
    let truth = Truth::read(folder);
    let found = (truth.files(), truth.content_hash().to_hex().to_string());
    assert_eq!(found, (files, hash.to_owned()), "this is not the sample that the test knows");
    round_trip(lab, folder)
}

/// A database of which one bit of the log is flipped: what SQLite makes of it comes back, and the log under a name that
/// SQLite does not know.
fn take_out_damaged_log(truth: &mut Truth, restored: &mut Truth) {
    const DATABASE: &str = "faults/wal-bit-flip/chat.db";
    let Some(log) = truth.0.remove(format!("{DATABASE}-wal").as_bytes()) else { return };
    let kept = restored.0.remove(format!("{DATABASE}-wal.damaged").as_bytes()).unwrap();
    assert_eq!(kept.content, log.content);
    let (stored, image) = (truth.0.remove(DATABASE.as_bytes()), restored.0.remove(DATABASE.as_bytes()));
    assert!(stored.is_some() && image.is_some());
}

/// One snapshot into the one repository, and back with repository and key alone.
fn round_trip(lab: &Lab, folder: &Path) -> Outcome {
    let folder = folder.canonicalize().unwrap();
    let mut truth = Truth::read(&folder);
    let summary = lab.snapshot_of(&lab.open(), &folder);
    truth.assert_same(&Truth::read(&folder), "the sample after the snapshot");
    lab.delete_cache();
    let repo = lab.open();
    let snapshot = chatvault_tests::lab::find(&repo, &summary.id);
    let restored = lab.restore_what_is_left(&repo, &snapshot, &folder);
    let mut restored = restored.truth();
    take_out_damaged_log(&mut truth, &mut restored);
    truth.assert_same(&restored, "the restored sample");
    let statistics = summary.statistics;
    Outcome::Passed(format!("{} files, {} bytes", statistics.total_files, statistics.total_bytes))
}
