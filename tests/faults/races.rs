//! Two programs that create one repository at the same time. Both are stopped and continued at random moments.
//!
//! `CHATVAULT_RACES` is the number of races of each kind (20 without it).

use crate::kit::{Ran, World};
use crate::{Case, Outcome};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::hash::{BuildHasher, RandomState};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const CASES: &[Case] = &[
    ("races::whoever_creates_a_repository_at_the_same_time_as_another_can_open_it", inits),
    ("races::two_first_snapshots_of_the_default_repository_are_both_stored", first_snapshots),
];

fn races() -> usize {
    std::env::var("CHATVAULT_RACES").map_or(20, |races| races.parse().unwrap())
}

/// Runs two programs at once and injects delays: each is stopped after a random time, and continued after another one.
fn race(commands: [Command; 2], seed: &RandomState, race: usize) -> [Ran; 2] {
    let micros =
        |what: &str, side: usize, most: u64| Duration::from_micros(seed.hash_one((what, side, race)) % most);
    std::thread::scope(|scope| {
        let mut side = 0;
        let running = commands.map(|mut command| {
            side += 1;
            let number = side;
            scope.spawn(move || {
                std::thread::sleep(micros("begin", number, 3000));
                let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
                for round in 0..12 {
                    std::thread::sleep(micros(&format!("runs {round}"), number, 4000));
                    pause(&child, micros(&format!("stands {round}"), number, 6000));
                }
                finished(child)
            })
        });
        running.map(|program| program.join().unwrap())
    })
}

fn pause(child: &Child, time: Duration) {
    let process = Pid::from_raw(i32::try_from(child.id()).unwrap());
    // Not yet waited for: if it has ended, the signals reach nobody.
    kill(process, Signal::SIGSTOP).unwrap();
    std::thread::sleep(time);
    kill(process, Signal::SIGCONT).unwrap();
}

fn finished(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn world() -> World {
    World::within(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
}

fn inits() -> Outcome {
    let (seed, mut won, mut lost) = (RandomState::new(), 0, 0);
    for number in 0..races() {
        let world = world();
        let keys = ["one", "two"];
        let commands = keys.map(|key| world.command(["-r", "repo", "--recovery-key-file", key, "init"]));
        for (key, ran) in keys.into_iter().zip(race(commands, &seed, number)) {
            if ran.code == 0 {
                won += 1;
                world.run(["-r", "repo", "--recovery-key-file", key, "list"]).succeeded();
            } else {
                lost += 1;
                ran.failed_with(1, &["repository"]);
            }
        }
        assert_eq!(won, number + 1, "race {number}");
    }
    assert_eq!(lost, won);
    Outcome::Passed(format!("{won} races"))
}

fn first_snapshots() -> Outcome {
    let (seed, mut created) = (RandomState::new(), 0);
    for number in 0..races() {
        let world = world();
        let sources = ["one", "two"];
        for source in sources {
            world.write(&format!("{source}/chat.txt"), source);
        }
        let commands = sources.map(|source| world.command(["snapshot", "--json", source]));
        let runs = race(commands, &seed, number).map(Ran::succeeded);
        let list = world.run(["list", "--json"]).succeeded().json();
        assert_eq!(list.as_array().unwrap().len(), 2, "race {number}");
        for (source, ran) in sources.into_iter().zip(&runs) {
            let summary = ran.json_lines().pop().unwrap();
            let place =
                format!("{}:{}/chat.txt", summary["snapshot_id"].as_str().unwrap(), world.text(source));
            assert_eq!(world.run(["cat", &place]).succeeded().stdout, source, "race {number}");
        }
        created += runs.iter().filter(|ran| ran.stdout.contains("\"initialized\"")).count();
    }
    assert!(created <= races(), "{created}");
    Outcome::Passed(format!("{} races", races()))
}
