//! Every write, flush and rename fails, once with a full disk and once with a broken one: no run says that it went well,
//! nothing acknowledged is lost, and no failed flush is tried again.

use crate::kill::first_run_goes_on;
use crate::kit::{Ran, World};
use crate::passwords::Change;
use crate::stage::{Acknowledged, Stage};
use crate::trace::{Call, Fate, Traced};
use crate::{Case, Outcome, plan, trace};
use chatvault_tests::Truth;
use nix::errno::Errno;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

pub const CASES: &[Case] = &[
    ("errors::an_init_whose_disk_fails_anywhere_says_so_and_can_be_run_again", init),
    ("errors::a_snapshot_whose_repository_fails_anywhere_says_so_and_loses_nothing", repository),
    ("errors::a_snapshot_whose_cache_fails_anywhere_is_stored_all_the_same_and_says_so", cache),
    ("errors::a_snapshot_whose_new_cache_fails_anywhere_is_stored_all_the_same_and_says_so", new_cache),
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
        // SQLite flushes what it puts back; a file that is removed then is given up all the same.
        let is_given_up = |call: &Call| call.name.starts_with("unlink") && call.path == failed.path;
        let later = &calls[at + 1..];
        let is_again = later.iter().take_while(|call| !is_taken_back(call)).any(again);
        if has_failed && is_again && !later.iter().any(is_given_up) {
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

fn summary_id(ran: &Traced) -> String {
    let line = ran.stdout.lines().last().unwrap_or_default();
    let summary: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    summary["snapshot_id"].as_str().unwrap_or("no summary").to_owned()
}

/// As [`fails`]; but what is stored is stored, also if its second copy is not: that is told, and the next run writes it.
fn fails_or_lacks_a_copy(ran: &Traced, failed: &Call, list: impl Fn() -> Ran) -> Result<(), String> {
    let is_copy = ["snapshots", "events"]
        .iter()
        .any(|folder| failed.path.to_string_lossy().contains(&format!("/mirror/{folder}")));
    let is_told =
        || ran.stdout.contains("mirror_not_written") || ran.stderr.contains("its second copy could not");
    if !(is_copy && ran.code == Some(0) && is_told()) {
        return fails(ran);
    }
    let (ran, id) = (list(), summary_id(ran));
    if ran.stdout.contains(&id) {
        Ok(())
    } else {
        Err(format!("what is stored is not listed: {}", ran.stderr))
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
    report(failing(&stage, "one", "repo", MOST, &snapshot, &|stage, ran, call| {
        fails_or_lacks_a_copy(ran, call, || stage.world.repo(&["list", "--json"]))?;
        stage.nothing_is_lost(&acknowledged)?;
        stage.goes_on()?;
        stage.nothing_is_lost(&acknowledged)
    }))
}

/// Calls in the cache whose failure may leave exit code 0, because nothing is lost by it, and why. SQLite makes them all,
/// and keeps what came of them to itself. Every other one has to be told.
const MAY_BE_SILENT: [(&str, &str); 8] = [
    ("fchown catalog.sqlite-journal", "as root, it gives the file to the owner whom it has already"),
    ("fchown catalog.sqlite-shm", "as root, it gives the file to the owner whom it has already"),
    ("fchown catalog.sqlite-wal", "as root, it gives the file to the owner whom it has already"),
    (
        "fsync the folder",
        "when a log or a journal begins, so that its name is durable: before the run ends, what is in it is in the \
         database, and the flush of that is not silent",
    ),
    ("open catalog.seal", "without a seal the next program checks the database page by page"),
    (
        "unlink catalog.sqlite-shm",
        "after all is in the database: the next program finds it stale, and makes it anew",
    ),
    (
        "unlink catalog.sqlite-wal",
        "after all is in the database: the next program finds in it what the database has",
    ),
    ("write catalog.seal", "without a seal the next program checks the database page by page"),
];

/// A snapshot with a cache that is there.
fn cache() -> Outcome {
    let (stage, acknowledged) = going_on();
    failing_cache(&stage, &acknowledged)
}

/// A snapshot on a machine that has not seen the repository yet.
fn new_cache() -> Outcome {
    let (stage, acknowledged) = going_on();
    fs::remove_dir_all(stage.world.path("home/.cache")).unwrap();
    stage.keep("one");
    failing_cache(&stage, &acknowledged)
}

fn failing_cache(stage: &Stage, acknowledged: &[Acknowledged]) -> Outcome {
    let silent = RefCell::new(BTreeSet::new());
    let tally = failing(stage, "one", "home/.cache", MOST, &snapshot, &|stage, ran, call| {
        if !matches!(ran.code, Some(0 | 1)) || ran.stderr.contains("panic") {
            return Err(format!("it ends with {:?}", ran.code));
        }
        if stage.ids()?.len() != 2 {
            return Err("the snapshot is not there".to_owned());
        }
        let folder = stage.world.text("home/.cache");
        if ran.code == Some(1) && !(ran.stderr.contains(&folder) && ran.stdout.contains("cache_failed")) {
            return Err("the folder of the cache is not named".to_owned());
        }
        if ran.code == Some(0) {
            let name = call.path.file_name().unwrap_or_default().to_string_lossy();
            let name = if name.len() == 64 { "the folder".into() } else { name };
            silent.borrow_mut().insert(format!("{} {name}", call.name));
        }
        stage.nothing_is_lost(acknowledged)?;
        stage.goes_on()
    });
    if tally.is_ok() {
        let silent = silent.borrow();
        let is_known = |call: &&String| MAY_BE_SILENT.iter().any(|(known, _)| known == call);
        let unexpected: Vec<_> = silent.iter().filter(|call| !is_known(call)).collect();
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
            let is_copy = call.path.to_string_lossy().contains("/mirror/events");
            if !(is_copy && ran.code == Some(0) && ran.stderr.contains("its second copy could not")) {
                fails(ran)?;
            }
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
    report(failing(&stage, "nothing", "home/.local home/.config", 30, &command, &|stage, ran, call| {
        // Without a number that is kept, this machine is another one in its next run, which is always safe.
        let config = stage.world.path("home/.config/chatvault");
        let is_number = call.path == config || call.path.parent() == Some(&*config);
        if !(is_number && ran.code == Some(0)) {
            fails_or_lacks_a_copy(ran, call, || stage.world.run(["list", "--json"]))?;
        }
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
    let call = |name, path: &str, answer: i64| Call {
        name,
        path: path.into(),
        to: None,
        bytes: Vec::new(),
        answer: Some(answer),
        thread: 1,
    };
    let flush = |path, answer| call("fsync", path, answer);
    let again = [flush("a", -5), flush("b", 0), flush("a", 0)];
    assert!(no_flush_is_tried_again(&[flush("a", 0), flush("b", -5), flush("a", 0)]).is_ok());
    assert!(no_flush_is_tried_again(&again).is_err());
    let removed = |path| [&again[..], &[call("unlink", path, 0)]].concat();
    assert!(
        no_flush_is_tried_again(&removed("a")).is_ok() && no_flush_is_tried_again(&removed("b")).is_err()
    );
    Outcome::Passed("a log with one is refused".to_owned())
}
