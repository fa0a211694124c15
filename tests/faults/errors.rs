//! Every write, flush and rename fails, once with a full disk and once with a broken one: no run says that it went well,
//! nothing acknowledged is lost, and no failed flush is tried again.

use crate::kill::first_run_goes_on;
use crate::kit::World;
use crate::passwords::Change;
use crate::stage::{Acknowledged, Stage};
use crate::trace::{Call, Fate, Traced};
use crate::{Case, Outcome, plan, trace};
use chatvault_tests::Truth;
use nix::errno::Errno;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

pub const CASES: &[Case] = &[
    ("errors::an_init_whose_disk_fails_anywhere_says_so_and_can_be_run_again", init),
    ("errors::a_snapshot_whose_repository_fails_anywhere_says_so_and_loses_nothing", repository),
    ("errors::a_snapshot_whose_cache_fails_anywhere_is_stored_all_the_same", cache),
    ("errors::a_restore_whose_target_fails_anywhere_says_so_and_leaves_no_wrong_file", target),
    ("errors::a_change_of_password_whose_repository_fails_anywhere_says_so_and_locks_nobody_out", passwd),
    ("errors::a_very_first_snapshot_whose_disk_fails_anywhere_says_so_and_can_be_run_again", very_first),
    ("errors::a_flush_that_is_tried_again_is_noticed", retried),
];

const ERRORS: [Errno; 2] = [Errno::ENOSPC, Errno::EIO];
/// Points of each run and error, unless all are asked for.
const MOST: usize = 100;
/// Of runs whose check derives keys from passwords, which takes a second.
const SLOW_MOST: usize = 10;

/// What failed, and what came of it.
#[derive(Default)]
struct Tally {
    landed: usize,
    calls: usize,
    most: usize,
    violations: Vec<String>,
}

/// Lets every planned call below a folder fail, from the state `before`.
fn failing(
    stage: &Stage,
    before: &str,
    below: &str,
    most: usize,
    command: &dyn Fn(&World) -> Command,
    check: &dyn Fn(&Stage, &Traced, &Call) -> Result<(), String>,
) -> Result<Tally, String> {
    let folders: Vec<PathBuf> = below.split(' ').map(|name| stage.world.path(name)).collect();
    let is_meant = |call: &Call| folders.iter().any(|folder| call.is_below(folder));
    stage.put_back(before);
    let whole = trace::run(&command(&stage.world), &mut |_| Fate::Pass)?;
    assert_eq!(whole.code, Some(0), "{}{}", whole.stdout, whole.stderr);
    let calls: Vec<Call> = whole.calls.into_iter().filter(is_meant).collect();
    assert!(!calls.is_empty(), "nothing is written below {below}");
    let mut tally = Tally { calls: calls.len(), most, ..Tally::default() };
    for (at, errno) in plan::points(&calls, most).into_iter().flat_map(|at| ERRORS.map(|errno| (at, errno))) {
        stage.put_back(before);
        let (mut number, mut failed) = (0, None);
        let ran = trace::run(&command(&stage.world), &mut |call| {
            let is_it = is_meant(call) && number == at;
            number += usize::from(is_meant(call));
            if !is_it {
                return Fate::Pass;
            }
            failed = Some(call.clone());
            Fate::Fail(errno)
        })?;
        let Some(failed) = failed else { continue };
        tally.landed += 1;
        if let Err(why) = check(stage, &ran, &failed).and_then(|()| no_flush_is_tried_again(&ran.calls)) {
            tally.violations.push(format!("{errno} at {}: {why}\n{}", shown(&failed), ran.stderr));
        }
    }
    Ok(tally)
}

fn shown(call: &Call) -> String {
    format!("{} of {}", call.name, call.path.display())
}

/// After a failed flush the kernel may have dropped the bytes and say at the next one that all is well.
fn no_flush_is_tried_again(calls: &[Call]) -> Result<(), String> {
    for (at, failed) in calls.iter().enumerate() {
        let has_failed = failed.is_flush() && failed.answer.is_some_and(|answer| answer < 0);
        // Another thread may be on its way into a flush of the same folder: its success is not believed.
        let again = |call: &Call| call.is_flush() && call.path == failed.path && call.thread == failed.thread;
        // What is taken back from a folder is flushed for itself.
        let is_taken_back =
            |call: &Call| call.name.starts_with("unlink") && call.path.parent() == Some(&*failed.path);
        let later = calls[at + 1..].iter().take_while(|call| !is_taken_back(call));
        if has_failed && later.into_iter().any(again) {
            return Err(format!("{} failed and was tried again", shown(failed)));
        }
    }
    Ok(())
}

fn report(tally: Result<Tally, String>) -> Outcome {
    match tally {
        Err(why) => Outcome::Ignored(why),
        Ok(tally) => {
            plan::assert_none(&tally.violations);
            assert!(
                tally.landed * 10 >= tally.calls.min(tally.most) * 19,
                "only {} of them came",
                tally.landed
            );
            Outcome::Passed(format!("{} errors at {} writing calls", tally.landed, tally.calls))
        }
    }
}

fn repo(world: &World, arguments: &[&str]) -> Command {
    world.command(["-r", "repo", "--recovery-key-file", "key"].iter().chain(arguments))
}

fn snapshot(world: &World) -> Command {
    repo(world, &["snapshot", "--json", "live"])
}

fn fails(ran: &Traced) -> Result<(), String> {
    match ran.code {
        Some(code) if code != 0 && !ran.stderr.contains("panic") => Ok(()),
        code => Err(format!("it ends with {code:?}")),
    }
}

fn init() -> Outcome {
    let stage = Stage::new();
    stage.live(1);
    stage.keep("nothing");
    report(failing(&stage, "nothing", "repo key", MOST, &|world| repo(world, &["init"]), &|stage, ran, _| {
        fails(ran)?;
        if stage.world.repo(&["list"]).code != 0 {
            let again = stage.world.repo(&["init"]);
            if again.code != 0 {
                return Err(format!("the next init ends with {}: {}", again.code, again.stderr));
            }
        }
        stage.goes_on()
    }))
}

/// A stage with an acknowledged snapshot and a source that went on.
fn going_on() -> (Stage, [Acknowledged; 1]) {
    let stage = Stage::with_repository();
    let acknowledged = [stage.snapshot()];
    stage.live(2);
    stage.keep("one");
    (stage, acknowledged)
}

fn repository() -> Outcome {
    let (stage, acknowledged) = going_on();
    report(failing(&stage, "one", "repo", MOST, &snapshot, &|stage, ran, _| {
        fails(ran)?;
        stage.nothing_is_lost(&acknowledged)?;
        stage.goes_on()?;
        stage.nothing_is_lost(&acknowledged)
    }))
}

/// Calls in the cache whose failure may leave exit code 0: those of its side files, without which it works, and those of
/// its database that SQLite does without or makes up for (the end of a connection, which writes the log into the
/// database and removes it; the log's owner; an opening after which the catalog is made anew). Every other one has to
/// be told.
const MAY_BE_SILENT: [&str; 16] = [
    "fchown catalog.sqlite-shm",
    "fchown catalog.sqlite-wal",
    "fsync the folder",
    "fsync catalog.sqlite",
    "fsync catalog.sqlite-wal",
    "ftruncate catalog.sqlite",
    "open CACHEDIR.TAG",
    "open location",
    "open writer.lock",
    "openat catalog.sqlite-shm",
    "openat catalog.sqlite-wal",
    "pwrite64 catalog.sqlite",
    "pwrite64 catalog.sqlite-wal",
    "unlink catalog.sqlite-shm",
    "unlink catalog.sqlite-wal",
    "write location",
];

fn cache() -> Outcome {
    let (stage, acknowledged) = going_on();
    let silent = RefCell::new(BTreeSet::new());
    let told = Cell::new(0);
    let tally = failing(&stage, "one", "home/.cache", MOST, &snapshot, &|stage, ran, call| {
        if !matches!(ran.code, Some(0 | 1)) || ran.stderr.contains("panic") {
            return Err(format!("it ends with {:?}", ran.code));
        }
        if stage.ids()?.len() != 2 {
            return Err("the snapshot is not there".to_owned());
        }
        if ran.code == Some(1) && !ran.stderr.contains("cache") && !ran.stdout.contains("cache") {
            return Err("the cache is not named".to_owned());
        }
        match ran.code {
            Some(0) => {
                let name = call.path.strip_prefix(stage.world.path("home/.cache")).unwrap();
                let name = name.file_name().unwrap_or_default().to_string_lossy();
                let name = if name.len() == 64 { "the folder".into() } else { name };
                silent.borrow_mut().insert(format!("{} {name}", call.name));
            }
            _ => told.set(told.get() + 1),
        }
        stage.nothing_is_lost(&acknowledged)?;
        stage.goes_on()
    });
    if let Ok(tally) = &tally {
        let silent = silent.borrow();
        assert!(
            told.get() * 5 >= tally.landed * 2,
            "only {} of {} are told: {silent:?}",
            told.get(),
            tally.landed
        );
        let unexpected: Vec<_> =
            silent.iter().filter(|call| !MAY_BE_SILENT.contains(&call.as_str())).collect();
        assert!(unexpected.is_empty(), "nobody is told of {unexpected:?}");
    }
    report(tally)
}

fn passwd() -> Outcome {
    let change = Change::new();
    report(failing(&change.stage, "one", "repo", SLOW_MOST, &Change::command, &|stage, ran, call| {
        // A lease that stays is told, and the change is done.
        let is_lease = call.is_below(&stage.world.path("repo/leases"));
        if !(is_lease && ran.code == Some(0) && ran.stderr.contains("lease could not be removed")) {
            fails(ran)?;
        }
        change.locks_nobody_out()
    }))
}

/// Without options: the default repository, its kept key, what is known of it.
fn very_first() -> Outcome {
    let stage = Stage::new();
    stage.live(1);
    stage.keep("nothing");
    let command = |world: &World| world.command(["snapshot", "--json", "live"]);
    report(failing(&stage, "nothing", "home/.local home/.config", 30, &command, &|stage, ran, _| {
        fails(ran)?;
        first_run_goes_on(stage, &[])
    }))
}

fn target() -> Outcome {
    let stage = Stage::with_repository();
    let (id, truth) = stage.snapshot();
    stage.keep("one");
    let clean = |stage: &Stage| {
        let _not_there = fs::remove_dir_all(stage.world.path("out"));
    };
    let command = |world: &World| {
        let live = format!("{id}:{}", world.text("live"));
        repo(world, &["restore", &live, "--target", "out"])
    };
    let tally = failing(
        &stage,
        "one",
        "out",
        MOST,
        &|world| {
            clean(&stage);
            command(world)
        },
        &|stage, ran, call| {
            // Times, owners and permissions that cannot be set are told, and the content is there.
            let is_content = !call.name.starts_with("utim") && !call.name.contains("ch");
            if is_content {
                fails(ran)?;
            }
            let out = stage.world.path("out");
            if out.exists() {
                no_wrong_file(&truth, &Truth::read(&out))?;
            }
            Ok(())
        },
    );
    report(tally)
}

/// What is there under its own name has its whole content.
fn no_wrong_file(truth: &Truth, found: &Truth) -> Result<(), String> {
    let wrong = found.0.iter().find(|(path, entry)| {
        truth.0.get(*path).is_none_or(|right| right.content != entry.content || right.target != entry.target)
    });
    match wrong {
        None => Ok(()),
        Some((path, _)) => Err(format!("{} is left", chatvault_tests::truth::shown(path))),
    }
}

/// The known-bad variant of the rule about flushes.
fn retried() -> Outcome {
    let flush = |path: &str, answer: i64| Call {
        name: "fsync",
        path: path.into(),
        to: None,
        bytes: Vec::new(),
        answer: Some(answer),
        thread: 1,
    };
    assert!(no_flush_is_tried_again(&[flush("a", 0), flush("b", -5), flush("a", 0)]).is_ok());
    assert!(no_flush_is_tried_again(&[flush("a", -5), flush("b", 0), flush("a", 0)]).is_err());
    Outcome::Passed("a log with one is refused".to_owned())
}
