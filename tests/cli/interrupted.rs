//! Snapshots that are stopped in the middle: what they tell, what they leave, and what the next one makes of it.

use crate::kit::{Ran, World, picture};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Files that are nothing but a hole, and the size of each: together far more than can be read while a test runs.
const HOLES: u64 = 4096;
const HOLE: u64 = 256 << 20;
/// Files of noise that come before the holes, and the size of each: one blob a file, several packs together.
const NOISES: u64 = 200;
const NOISE: usize = 200_000;
/// Far longer than anything here takes on a busy machine. No result depends on it: it makes a failure of what would
/// otherwise be a wait for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program under way, ended when the test is over.
struct Running(Child);

impl Running {
    fn snapshot(world: &World, options: &[&str]) -> Self {
        let arguments = ["-r", "repo", "--recovery-key-file", "key", "snapshot", "live"];
        let mut command = world.command(arguments.iter().chain(options));
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Waits until something holds while the program runs.
    #[track_caller]
    fn wait_until(&mut self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(self.0.try_wait().unwrap().is_none(), "ended before {what}");
            assert!(begun.elapsed() < PATIENCE, "no {what}");
            std::thread::yield_now();
        }
    }

    #[track_caller]
    fn ends(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ = self.0.wait();
    }
}

fn add_holes(world: &World) {
    fs::create_dir_all(world.path("live/z holes")).unwrap();
    for number in 0..HOLES {
        File::create(world.path(&format!("live/z holes/{number}"))).unwrap().set_len(HOLE).unwrap();
    }
}

fn add_noise(world: &World) {
    let mut state = 88_172_645_463_325_252_u64;
    for number in 0..NOISES {
        let noise: Vec<u8> = (0..NOISE / 8)
            .flat_map(|_| {
                // xorshift64, Marsaglia 2003.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            })
            .collect();
        world.write(&format!("live/a noise/{number}"), noise);
    }
}

/// Packs under their own names.
fn packs(world: &World) -> usize {
    let is_pack = |name: &str| name.len() == 64 && !name.starts_with('.');
    world
        .files("repo/packs")
        .iter()
        .filter(|path| path.file_name().unwrap().to_str().is_some_and(is_pack))
        .count()
}

#[test]
fn an_interrupted_snapshot_is_130_and_stores_nothing() {
    let world = World::with_repository();
    add_holes(&world);
    let mut running = Running::snapshot(&world, &[]);
    running.wait_until("a lease", || !world.files("repo/leases").is_empty());
    running.signal("-INT");
    assert_eq!(running.ends().code(), Some(130));
    assert!(world.ids().is_empty());
}

#[test]
fn progress_of_a_snapshot_has_totals_and_the_time_left() {
    let world = World::with_repository();
    add_holes(&world);
    let mut running = Running::snapshot(&world, &["--json"]);
    let lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let status = lines
        .take(60)
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .find(|line| line.get("seconds_remaining").is_some())
        .unwrap();
    assert_eq!((&status["message_type"], &status["phase"]), (&"status".into(), &"storing".into()));
    assert_eq!(status["total_files"], HOLES + 3);
    assert_eq!(status["total_bytes"], HOLES * HOLE + 70_006);
    let (done, share) = (status["bytes_done"].as_u64().unwrap(), status["percent_done"].as_f64().unwrap());
    assert!(done > 0 && done < HOLES * HOLE && share > 0.0 && share < 1.0, "{status}");
    let documentation = include_str!("../../docs/json-output.md");
    for name in status.as_object().unwrap().keys() {
        assert!(documentation.contains(&format!("`{name}`")), "{name} is not documented");
    }
}

/// Stops a first snapshot after its first pack, takes it again, and restores it without the cache.
fn stopped_and_taken_again(signal: &str, code: Option<i32>, with_cache: bool) {
    let world = World::with_repository();
    add_noise(&world);
    add_holes(&world);
    let mut running = Running::snapshot(&world, &["--no-progress"]);
    running.wait_until("a pack", || packs(&world) > 0);
    running.signal(signal);
    assert_eq!(running.ends().code(), code);
    assert!(world.ids().is_empty());
    let left = packs(&world);

    fs::remove_dir_all(world.path("live/z holes")).unwrap();
    let forget = || fs::remove_dir_all(world.path("home/.cache/chatvault")).unwrap();
    if !with_cache {
        forget();
    }
    let ran: Ran = world.repo(&["snapshot", "--json", "live"]).succeeded();
    let summary = ran.json_lines().pop().unwrap();
    assert_eq!(summary["warnings"], serde_json::json!([]));
    assert_eq!(summary["files_new"], NOISES + 3);
    let blobs = summary["data_blobs"].as_u64().unwrap();
    // A pack that is closed holds at least 8 MiB, or it is the last one of its kind.
    let in_a_pack = (8 << 20) / NOISE as u64;
    assert!(blobs + in_a_pack <= NOISES, "{blobs} blobs again, though {left} packs were there");

    let before = picture(&world.path("live"));
    forget();
    world.repo(&["restore", &format!("latest:{}", world.text("live")), "--target", "out"]).succeeded();
    assert!(picture(&world.path("out")) == before, "differs");
    assert!(world.files("repo/leases").is_empty());
}

#[test]
fn a_terminated_first_snapshot_is_taken_again_with_its_packs() {
    stopped_and_taken_again("-TERM", Some(130), true);
}

#[test]
fn a_killed_first_snapshot_is_taken_again_with_its_packs() {
    stopped_and_taken_again("-KILL", None, false);
}
