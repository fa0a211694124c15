//! Two programs at once: two snapshots into one repository, round after round.
//!
//! `CHATVAULT_ROUNDS` is the number of rounds (50 without it).

use crate::kit::Ran;
use crate::stage::{Stage, snapshot_id};
use crate::{Case, Outcome};
use chatvault_tests::Truth;
use chatvault_tests::bytes::noise;
use std::process::{Child, Stdio};

pub const CASES: &[Case] = &[("together::two_programs_that_take_snapshots_at_once_store_both_whole", both)];

fn rounds() -> usize {
    std::env::var("CHATVAULT_ROUNDS").map_or(50, |rounds| rounds.parse().unwrap())
}

fn both() -> Outcome {
    let stage = Stage::with_repository();
    let world = &stage.world;
    let mut taken: Vec<(String, &str, Truth)> = Vec::new();
    let mut met = 0;
    for round in 0..rounds() {
        for side in ["one", "two"] {
            world.write(&format!("{side}/shared {round}"), noise(&format!("shared {round}"), 400_000));
            world.write(&format!("{side}/alone {round}"), noise(&format!("{side} {round}"), 200_000));
        }
        let truths = ["one", "two"].map(|side| Truth::read(&world.path(side)));
        let begin = |side: &str| -> Child {
            let arguments = ["-r", "repo", "--recovery-key-file", "key", "snapshot", "--json", side];
            world.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let mut runs = [begin("one"), begin("two")];
        // Two leases at one moment: both runs are under way.
        let mut overlapped = false;
        while runs.iter_mut().all(|run| run.try_wait().unwrap().is_none()) {
            overlapped |= leases(&stage) == 2;
        }
        met += usize::from(overlapped);
        for ((run, truth), side) in runs.into_iter().zip(truths).zip(["one", "two"]) {
            let output = run.wait_with_output().unwrap();
            let ran = Ran {
                code: output.status.code().unwrap_or(-1),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            };
            taken.push((snapshot_id(&ran.succeeded()), side, truth));
        }
        for (id, side, truth) in taken.iter().rev().take(2) {
            whole(&stage, id, side, truth);
        }
    }
    assert!(met * 2 >= rounds(), "they overlapped in {met} of {} rounds only", rounds());
    taken.iter().for_each(|(id, side, truth)| whole(&stage, id, side, truth));
    assert_eq!(leases(&stage), 0);
    Outcome::Passed(format!("{} rounds, {met} of them seen to overlap", rounds()))
}

fn leases(stage: &Stage) -> usize {
    let is_lease = |name: &std::ffi::OsStr| !name.to_string_lossy().starts_with('.');
    stage.world.files("repo/leases").iter().filter(|path| is_lease(path.file_name().unwrap())).count()
}

fn whole(stage: &Stage, id: &str, side: &str, truth: &Truth) {
    let target = stage.world.path("out");
    let _not_there = std::fs::remove_dir_all(&target);
    let place = format!("{id}:{}", stage.world.text(side));
    stage.world.repo(&["restore", &place, "--target", "out"]).succeeded();
    truth.assert_same(&Truth::read(&target), id);
}
