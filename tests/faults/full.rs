//! Full disks and readers that went away: the message names the disk that is full, and a snapshot in progress commits.

use crate::kit::{Ran, World};
use crate::stage::Stage;
use crate::trace::{Fate, Traced};
use crate::{Case, Outcome, trace};
use chatvault_tests::bytes::noise;
use nix::errno::Errno;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const CASES: &[Case] = &[
    ("full::a_full_repository_is_1_and_named_and_nothing_is_lost", repository),
    ("full::a_full_target_is_1_and_named", target),
    ("full::a_full_cache_is_1_and_named_and_the_snapshot_is_stored", cache),
    ("full::a_closed_or_full_output_stops_no_snapshot_and_no_verb_panics", output),
];

/// A small file system of its own; gone when dropped, and with this program.
struct Small(PathBuf);

impl Small {
    /// None if this machine or user may not mount.
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let options = format!("size={size},mode=700");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "none"]).arg(folder).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Runs a command while nothing more can be written below a folder.
fn without_room(command: &Command, folder: &Path) -> Result<(Traced, usize), String> {
    let mut refused = 0;
    let ran = trace::run(command, &mut |call| {
        let takes_room = !call.name.starts_with("unlink") && !call.is_flush();
        if call.is_below(folder) && takes_room {
            refused += 1;
            Fate::Fail(Errno::ENOSPC)
        } else {
            Fate::Pass
        }
    })?;
    Ok((ran, refused))
}

fn repo(world: &World, arguments: &[&str]) -> Command {
    world.command(["-r", "repo", "--recovery-key-file", "key"].iter().chain(arguments))
}

fn ran(traced: Traced) -> Ran {
    Ran { code: traced.code.unwrap_or(-1), stdout: traced.stdout, stderr: traced.stderr }
}

fn how(is_real: bool) -> &'static str {
    if is_real {
        "on small file systems and by injected errors"
    } else {
        "by injected errors: nothing can be mounted"
    }
}

fn repository() -> Outcome {
    let stage = Stage::with_repository();
    let acknowledged = [stage.snapshot()];
    stage.live(2);
    let said = ["the repository's file system is full"];
    let result = without_room(&repo(&stage.world, &["snapshot", "live"]), &stage.world.path("repo"));
    let (traced, refused) = match result {
        Ok(done) => done,
        Err(why) => return Outcome::Ignored(why),
    };
    assert!(refused > 0);
    ran(traced).failed_with(1, &said);
    stage.nothing_is_lost(&acknowledged).unwrap();
    stage.goes_on().unwrap();

    let stage = Stage::new();
    let is_real = Small::mount(&stage.world.path("repo"), "3m").map(|_small| {
        stage.world.repo(&["init"]).succeeded();
        stage.live(1);
        let first = stage.snapshot();
        stage.world.write("live/long", noise("long", 4_000_000));
        stage.world.repo(&["snapshot", "live"]).failed_with(1, &said);
        stage.nothing_is_lost(std::slice::from_ref(&first)).unwrap();
        fs::remove_file(stage.world.path("live/long")).unwrap();
        let acknowledged = [first, stage.snapshot()];
        let filler = stage.world.path("repo/lost+found");
        let _until_it_is_full = fs::write(&filler, vec![0; 4_000_000]);
        stage.world.write("live/short", "short");
        stage.world.repo(&["snapshot", "live"]).failed_with(1, &said);
        // Reading needs no room.
        stage.nothing_is_lost(&acknowledged).unwrap();
    });
    Outcome::Passed(how(is_real.is_some()).to_owned())
}

fn target() -> Outcome {
    let stage = Stage::with_repository();
    stage.snapshot();
    let restore = ["restore", "latest", "--target", "out"];
    let (traced, refused) = match without_room(&repo(&stage.world, &restore), &stage.world.path("out/")) {
        Ok(done) => done,
        Err(why) => return Outcome::Ignored(why),
    };
    assert!(refused > 0);
    let text = ran(traced).ended_with(1).stderr;
    assert!(text.contains("target") || text.contains("/out"), "{text}");
    assert!(text.contains("No space left"), "{text}");

    let is_real = Small::mount(&stage.world.path("small"), "100k").map(|_small| {
        let ran = stage.world.repo(&["restore", "latest", "--target", "small/out"]);
        ran.failed_with(1, &["small/out", "free"]);
    });
    Outcome::Passed(how(is_real.is_some()).to_owned())
}

fn cache() -> Outcome {
    let stage = Stage::with_repository();
    stage.snapshot();
    stage.live(2);
    stage.keep("one");
    let check = |ran: Ran| {
        let ran = ran.failed_with(1, &["cache", "full"]);
        assert!(ran.stderr.contains("the snapshot is stored"), "{}", ran.stderr);
        stage.goes_on().unwrap();
        assert_eq!(stage.ids().unwrap().len(), 3);
    };
    let snapshot = repo(&stage.world, &["snapshot", "live"]);
    let (traced, refused) = match without_room(&snapshot, &stage.world.path("home/.cache")) {
        Ok(done) => done,
        Err(why) => return Outcome::Ignored(why),
    };
    assert!(refused > 0);
    check(ran(traced));
    let mut is_real = false;
    for size in ["4k", "32k", "64k", "100k", "128k"] {
        stage.put_back("one");
        is_real = Small::mount(&stage.world.path("small"), size).is_some_and(|_small| {
            check(stage.world.repo(&["--cache-dir", "small", "snapshot", "live"]));
            // Reading does not need it: the answer is whole, and the exit code says so.
            let list = stage.world.repo(&["--cache-dir", "small", "list"]).succeeded();
            assert!(list.stderr.contains("cache"), "{}", list.stderr);
            true
        });
    }
    Outcome::Passed(how(is_real).to_owned())
}

/// Every verb that prints, with outputs that cannot be written to.
fn output() -> Outcome {
    let stage = Stage::with_repository();
    let latest = format!("latest:{}", stage.world.text("live/chat.txt"));
    let verbs: [&[&str]; 9] = [
        &["snapshot", "live"],
        &["snapshot", "--json", "live"],
        &["list"],
        &["list", "--json"],
        &["ls", "latest"],
        &["ls", "--json", "latest"],
        &["diff", "latest~1", "latest"],
        &["cat", &latest],
        &["restore", "latest", "--target", "out"],
    ];
    stage.snapshot();
    let (mut taken, mut full) = (1, 0);
    for verb in verbs {
        for is_full in [true, false] {
            let _not_there = fs::remove_dir_all(stage.world.path("out"));
            let ran = with_bad_output(repo(&stage.world, verb), is_full);
            assert!(!ran.stderr.contains("panic"), "{verb:?}: {}", ran.stderr);
            let allowed: &[i32] = if is_full { &[0, 1] } else { &[0] };
            assert!(allowed.contains(&ran.code), "{verb:?} ends with {}: {}", ran.code, ran.stderr);
            full += usize::from(is_full && ran.code == 1 && ran.stderr.contains("standard output"));
            if verb[0] == "snapshot" {
                taken += 1;
                assert_eq!(stage.ids().unwrap().len(), taken, "{verb:?} with a full output: {is_full}");
            }
        }
    }
    assert!(full >= 6, "only {full} verbs noticed that their output is full");
    for id in stage.ids().unwrap() {
        stage.restores_as(&id, &stage.truth()).unwrap();
    }
    Outcome::Passed(format!("{} verbs", verbs.len()))
}

/// Standard output on a full device, or a pipe whose reader is gone; standard error is kept, and once more both are bad.
fn with_bad_output(mut command: Command, is_full: bool) -> Ran {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    if is_full {
        return Ran::of(command.stdout(full()).stderr(Stdio::piped()));
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Ran { code: child.wait().unwrap().code().unwrap_or(-1), stdout: String::new(), stderr }
}
