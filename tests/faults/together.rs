//! Two programs at once: two snapshots into one repository, round after round.
//!
//! `CHATVAULT_ROUNDS` is the number of rounds (50 without it).

use crate::kit::Ran;
use crate::stage::{Stage, snapshot_id};
use crate::{Case, Outcome};
use chatvault_tests::Truth;
use chatvault_tests::bytes::noise;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const CASES: &[Case] = &[
    ("together::two_programs_that_take_snapshots_at_once_store_both_whole", both),
    ("together::a_run_in_another_container_is_not_taken_for_dead", containers),
];

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

/// A container has processes of its own: from inside, those outside are not seen.
fn containers() -> Outcome {
    let inside = |command: &mut Command| -> bool {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !inside(Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"])) {
        return Outcome::Ignored("no container can be made here".to_owned());
    }
    let stage = Stage::with_repository();
    let world = &stage.world;
    world.write("one/file", noise("one", 3_000_000));
    world.write("two/file", noise("two", 400_000));
    let truths = ["one", "two"].map(|side| Truth::read(&world.path(side)));
    let snapshot = |side| ["-r", "repo", "--recovery-key-file", "key", "snapshot", "--json", side];
    let mut outside = world.command(snapshot("one"));
    let outside = outside.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let process = Pid::from_raw(i32::try_from(outside.id()).unwrap());
    let names = || world.files("repo/leases");
    while leases(&stage) == 0 {
        std::thread::sleep(Duration::from_micros(100));
    }
    kill(process, Signal::SIGSTOP).unwrap();
    let before = names();
    assert_eq!(leases(&stage), 1, "it ended before it was stopped");
    let program = world.command(snapshot("two"));
    let mut container = Command::new("unshare");
    container.args(["--pid", "--fork", "--mount-proc"]).arg(program.get_program()).args(program.get_args());
    container.current_dir(world.path("")).env_clear().stdin(Stdio::null());
    for (name, value) in program.get_envs() {
        container.env(name, value.unwrap());
    }
    let second = snapshot_id(&Ran::of(&mut container).succeeded());
    let after = names();
    kill(process, Signal::SIGCONT).unwrap();
    let output = outside.wait_with_output().unwrap();
    assert_eq!(after, before, "the lease of a living run was removed");
    let first = snapshot_id(&Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    });
    for (id, side, truth) in [(first, "one", &truths[0]), (second, "two", &truths[1])] {
        whole(&stage, &id, side, truth);
    }
    assert_eq!(leases(&stage), 0);
    Outcome::Passed("one run inside, one outside".to_owned())
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
