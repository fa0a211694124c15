//! Full disks and readers that went away: the message names the disk that is full, and a snapshot in progress commits.

use crate::kit::{Ran, World};
use crate::stage::Stage;
use crate::trace::{Fate, Traced};
use crate::{Case, Outcome, trace};
use chatvault_tests::bytes::noise;
use nix::errno::Errno;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const CASES: &[Case] = &[
    ("full::a_full_repository_is_1_and_named_and_nothing_is_lost", repository),
    ("full::a_full_target_is_1_and_named", target),
    ("full::a_full_cache_is_1_and_named_and_the_snapshot_is_stored", cache),
    ("full::a_closed_or_full_output_stops_no_snapshot_and_no_verb_panics", output),
];

/// A small file system of its own; gone when dropped, and with this program.
pub struct Small(PathBuf);

impl Small {
    /// None if this machine or user may not mount.
    pub fn mount(folder: &Path, size: &str) -> Option<Self> {
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

/// Errors were injected before; whether there was a file system that was full, too.
fn told(is_real: bool) -> Outcome {
    if is_real {
        Outcome::Passed("on small file systems and by injected errors".to_owned())
    } else {
        Outcome::Ignored("nothing can be mounted here: only injected errors were tried".to_owned())
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
    told(is_real.is_some())
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
    told(is_real.is_some())
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
    told(is_real)
}

/// Every verb that prints, with outputs that cannot be written to.
fn output() -> Outcome {
    let stage = Stage::with_repository();
    let latest = format!("latest:{}", stage.world.text("live/chat.txt"));
    let verbs: [&[&str]; 19] = [
        &["snapshot", "live"],
        &["snapshot", "--json", "live"],
        &["snapshot", "--dry-run", "live"],
        &["snapshot", "--dry-run", "--json", "live"],
        &["list"],
        &["list", "--json"],
        &["ls", "latest"],
        &["ls", "--json", "latest"],
        &["diff", "latest~1", "latest"],
        &["cat", &latest],
        &["restore", "latest", "--target", "out"],
        &["find", "*.txt"],
        &["find", "--json", "*.txt"],
        &["stats"],
        &["stats", "--json"],
        &["tag", "--add", "x", "latest"],
        &["key", "list"],
        &["key", "list", "--json"],
        &["cache"],
    ];
    stage.snapshot();
    let mut taken = 1;
    for verb in verbs {
        for is_full in [true, false] {
            let _not_there = fs::remove_dir_all(stage.world.path("out"));
            let ran = with_bad_output(repo(&stage.world, verb), is_full);
            assert!(!ran.stderr.contains("panic"), "{verb:?}: {}", ran.stderr);
            let wanted = i32::from(is_full);
            assert_eq!(ran.code, wanted, "{verb:?}, full output: {is_full}: {}", ran.stderr);
            assert!(!is_full || ran.stderr.contains("standard output"), "{verb:?}: {}", ran.stderr);
            taken += usize::from(verb[0] == "snapshot" && verb[1] != "--dry-run");
            assert_eq!(stage.ids().unwrap().len(), taken, "{verb:?} with a full output: {is_full}");
        }
    }
    for id in stage.ids().unwrap() {
        stage.restores_as(&id, &stage.truth()).unwrap();
    }
    Outcome::Passed(format!("{} verbs", verbs.len()))
}

/// Standard output on a full device, or a pipe whose reader is gone before the program begins.
fn with_bad_output(mut command: Command, is_full: bool) -> Ran {
    if is_full {
        return Ran::of(command.stdout(File::options().write(true).open("/dev/full").unwrap()));
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Ran::of(command.stdout(writer))
}
