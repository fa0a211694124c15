//! A repository of which one object cannot be read: a bad sector, or a file of another user. Only what rests on that
//! object is missing, all of it is named, and it is the repository that is said to be at fault.

use crate::kit::{Ran, World};
use crate::stage::{Acknowledged, Stage, snapshot_id};
use crate::trace::{Call, Fate, Traced};
use crate::{Case, Outcome, plan, trace};
use chatvault_tests::Truth;
use nix::errno::Errno;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const CASES: &[Case] = &[
    ("sectors::an_object_that_the_disk_cannot_read_costs_what_rests_on_it_only", unreadable),
    ("sectors::an_object_of_another_user_is_named_and_never_called_lost", denied),
    ("sectors::a_repository_whose_disk_is_pulled_out_ends_every_verb_and_is_named", pulled_out),
    ("sectors::a_run_that_blames_the_target_or_hides_a_loss_is_noticed", known_bad),
];

/// Objects that fail in all, spread over all verbs; with `CHATVAULT_FAULTS=all` every one that is read, at least [`ALL`].
const MOST: usize = 60;
const ALL: usize = 200;

/// The verbs that read a repository, each with what it is asked.
fn verbs(world: &World) -> Vec<Vec<String>> {
    let live = world.text("live");
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    vec![
        words(&["list", "--json"]),
        words(&["ls", "-R", "--json"]),
        words(&["ls", "-R", "--json", "latest~2"]),
        words(&["find", "--json", "*.jpg"]),
        words(&["stats", "--json"]),
        words(&["cat", "--json", &format!("latest:{live}/chat.txt")]),
        words(&["cat", "--json", &format!("latest~2:{live}/chats.db")]),
        words(&["diff", "--json", "latest~1", "latest"]),
        words(&["diff", "--json", "latest", "live"]),
        words(&["restore", "--json", &format!("latest:{live}"), "--target", "out"]),
        words(&["snapshot", "--json", "live"]),
        words(&["key", "list", "--json"]),
    ]
}

/// A repository with three snapshots of a database and of media, and a source that went on.
fn stage() -> (Stage, [Acknowledged; 2]) {
    let stage = Stage::with_repository();
    stage.live_database(1);
    let first = stage.snapshot();
    stage.live(2);
    stage.live_database(2);
    stage.snapshot();
    stage.live(3);
    stage.live_database(3);
    let last = stage.snapshot();
    assert!(stage.deltas() > 0, "no blob rests on another one");
    stage.live_database(4);
    stage.keep("three");
    (stage, [first, last])
}

fn command(world: &World, verb: &[String]) -> Command {
    world.command(
        ["-r", "repo", "--recovery-key-file", "key"].into_iter().chain(verb.iter().map(String::as_str)),
    )
}

/// The state of before, with the cache of this machine or on a new one.
fn put_back(stage: &Stage, with_cache: bool) {
    stage.put_back("three");
    let _not_there = fs::remove_dir_all(stage.world.path("out"));
    if !with_cache {
        fs::remove_dir_all(stage.world.path("home/.cache")).unwrap();
    }
}

fn is_read(call: &Call) -> bool {
    matches!(call.name, "read" | "pread64")
}

/// The objects of the repository that a verb reads, in the order in which it first does.
fn objects_read(stage: &Stage, verb: &[String], with_cache: bool) -> Result<Vec<PathBuf>, String> {
    put_back(stage, with_cache);
    let repo = stage.world.path("repo");
    let ran = trace::run_with_reads(&command(&stage.world, verb), &mut |_| Fate::Pass)?;
    assert_eq!(ran.code, Some(0), "{verb:?}: {}{}", ran.stdout, ran.stderr);
    let mut seen = BTreeSet::new();
    let reads = ran.calls.into_iter().filter(|call| is_read(call) && call.is_below(&repo));
    // What this run wrote itself has another name the next time.
    let objects = reads
        .map(|call| call.path)
        .filter(|path| stage.world.path("kept/three").join(relative(stage, path)).is_file());
    Ok(objects.filter(|path| seen.insert(path.clone())).collect())
}

fn relative(stage: &Stage, path: &Path) -> PathBuf {
    path.strip_prefix(stage.world.path("")).unwrap_or(path).to_owned()
}

/// Runs a verb while every read of one object fails, and says how often that happened.
fn failing(stage: &Stage, verb: &[String], object: &Path, errno: Errno) -> Result<(Traced, usize), String> {
    let mut failed = 0;
    let ran = trace::run_with_reads(&command(&stage.world, verb), &mut |call| {
        if !is_read(call) || call.path != object {
            return Fate::Pass;
        }
        failed += 1;
        Fate::Fail(errno)
    })?;
    Ok((ran, failed))
}

/// What a run says in JSON: its lines on both streams.
fn lines(ran: &Traced) -> Vec<Value> {
    let all = ran.stdout.lines().chain(ran.stderr.lines());
    all.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// All warnings and the failure of a run.
fn told(ran: &Traced) -> Vec<Value> {
    let mut told = Vec::new();
    for line in lines(ran) {
        match line["message_type"].as_str() {
            Some("warning" | "exit_error") => told.push(line),
            _ => told.extend(line["warnings"].as_array().into_iter().flatten().cloned()),
        }
    }
    told
}

/// What may not happen, whatever the verb: a panic, another exit code, another disk that is blamed.
fn check_told(ran: &Traced, codes: &[i32]) -> Result<(), String> {
    if ran.stderr.contains("panic") || !ran.code.is_some_and(|code| codes.contains(&code)) {
        return Err(format!("it ends with {:?}", ran.code));
    }
    let told = told(ran);
    if ran.code != Some(0) && told.is_empty() {
        return Err("nothing is said".to_owned());
    }
    if ran.code == Some(1) && lines(ran).iter().any(|line| line["conditions"].to_string().contains("damaged"))
    {
        return Err("what this user may not read is called lost".to_owned());
    }
    match told.iter().find(|line| line["whose"] != "repository") {
        Some(line) => Err(format!("another disk is blamed: {line}")),
        None => Ok(()),
    }
}

/// What a restore brought is right, and what it did not bring is named.
fn check_restored(stage: &Stage, ran: &Traced, truth: &Truth) -> Result<(), String> {
    let out = stage.world.path("out");
    let found = if out.exists() { Truth::read(&out) } else { Truth::default() };
    let live = stage.world.text("live");
    let named: Vec<String> =
        told(ran).iter().filter_map(|line| line["path"].as_str().map(str::to_owned)).collect();
    let failed_whole = told(ran).iter().any(|line| line["message_type"] == "exit_error");
    for (path, entry) in &truth.0 {
        let text = String::from_utf8_lossy(path).into_owned();
        let full = if text.is_empty() { live.clone() } else { format!("{live}/{text}") };
        match found.0.get(path) {
            Some(there) if there.content == entry.content => {}
            Some(_) => return Err(format!("wrong bytes in {text}")),
            None if failed_whole
                || named.iter().any(|name| full == *name || full.starts_with(&format!("{name}/"))) => {}
            None => return Err(format!("{text} is missing and not named")),
        }
    }
    Ok(())
}

/// A snapshot of a healthy source is stored whatever the repository has lost.
fn check_snapshot(stage: &Stage, ran: &Traced, codes: &[i32]) -> Result<(), String> {
    let stored = Ran { code: ran.code.unwrap_or(-1), stdout: ran.stdout.clone(), stderr: ran.stderr.clone() };
    if !codes.contains(&stored.code) {
        return Err("no snapshot of a healthy source".to_owned());
    }
    let id = snapshot_id(&stored);
    let restored = stage.restores_as(&id, &stage.truth());
    restored.map_err(|why| format!("the new snapshot: {why}"))
}

/// Verb, with a cache or without, object.
type Place = (Vec<String>, bool, PathBuf);

/// Places spread over all verbs, with a cache and without.
fn places(stage: &Stage) -> Result<Vec<Place>, String> {
    let mut by_verb = Vec::new();
    for with_cache in [true, false] {
        for verb in verbs(&stage.world) {
            let objects = objects_read(stage, &verb, with_cache)?;
            by_verb
                .push(objects.into_iter().map(|it| (verb.clone(), with_cache, it)).collect::<Vec<Place>>());
        }
    }
    let each = if plan::all() { usize::MAX } else { MOST.div_ceil(by_verb.len()) };
    Ok(by_verb.iter().flat_map(|of| plan::spread(of, each)).collect())
}

/// Runs every place with an error, and tells how many failed reads there were.
fn run(errno: Errno, codes: &[i32]) -> Outcome {
    let (stage, [_, (_, truth)]) = stage();
    let places = match places(&stage) {
        Ok(places) => places,
        Err(why) => return Outcome::Ignored(why),
    };
    let (mut violations, mut reads, mut of_verbs) = (Vec::new(), 0, BTreeMap::new());
    for (verb, with_cache, object) in &places {
        put_back(&stage, *with_cache);
        let (ran, failed) = failing(&stage, verb, object, errno).unwrap();
        assert!(failed > 0, "{verb:?} did not read {}", object.display());
        reads += failed;
        *of_verbs.entry(verb[0].clone()).or_insert(0) += 1;
        let mut checked = check_told(&ran, codes);
        if verb[0] == "restore" {
            checked = checked.and_then(|()| check_restored(&stage, &ran, &truth));
        }
        if verb[0] == "snapshot" {
            // The object can be read again: what is stored now must not rest on what was lost then.
            checked = checked.and_then(|()| check_snapshot(&stage, &ran, codes));
        }
        if let Err(why) = checked {
            let object = relative(&stage, object);
            violations.push(format!(
                "{verb:?}, cache {with_cache}, {}: {why}\n{}{}",
                object.display(),
                ran.stdout,
                ran.stderr
            ));
        }
    }
    plan::assert_none(&violations);
    let names: BTreeSet<String> = verbs(&stage.world).into_iter().map(|verb| verb[0].clone()).collect();
    let least = if plan::all() { ALL } else { MOST / 2 };
    assert!(places.len() >= least && of_verbs.len() == names.len(), "{of_verbs:?}");
    Outcome::Passed(format!("{} objects, {reads} reads: {of_verbs:?}", places.len()))
}

fn unreadable() -> Outcome {
    run(Errno::EIO, &[0, 22])
}

fn denied() -> Outcome {
    run(Errno::EACCES, &[0, 1])
}

/// From some read on, every call on the repository fails, as when its cable is pulled out.
fn pulled_out() -> Outcome {
    let (stage, acknowledged) = stage();
    let repo = stage.world.path("repo");
    let (mut runs, mut violations) = (0, Vec::new());
    for verb in verbs(&stage.world) {
        put_back(&stage, false);
        let whole = match trace::run_with_reads(&command(&stage.world, &verb), &mut |_| Fate::Pass) {
            Ok(ran) => ran,
            Err(why) => return Outcome::Ignored(why),
        };
        let count = whole.calls.iter().filter(|call| call.is_below(&repo)).count();
        for errno in [Errno::EIO, Errno::ENODEV] {
            put_back(&stage, false);
            let (mut number, mut failed) = (0, 0);
            let ran = trace::run_with_reads(&command(&stage.world, &verb), &mut |call| {
                if !call.is_below(&repo) {
                    return Fate::Pass;
                }
                number += 1;
                if number <= count / 2 {
                    return Fate::Pass;
                }
                failed += 1;
                Fate::Fail(errno)
            })
            .unwrap();
            assert!(failed > 0, "{verb:?}: nothing failed");
            runs += 1;
            let is_told = ran.stderr.contains("is not connected any more");
            if ran.code != Some(1) || !is_told {
                violations.push(format!("{verb:?} {errno}: {:?}\n{}{}", ran.code, ran.stdout, ran.stderr));
            }
        }
    }
    plan::assert_none(&violations);
    put_back(&stage, true);
    for (id, truth) in &acknowledged {
        stage.restores_as(id, truth).unwrap();
    }
    Outcome::Passed(format!("{runs} runs"))
}

/// The checks refuse what they are for.
fn known_bad() -> Outcome {
    let ran = |code: i32, stdout: &str, stderr: &str| Traced {
        code: Some(code),
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
        calls: Vec::new(),
    };
    let line = |whose: &str| {
        format!(r#"{{"message_type":"warning","kind":"damaged","whose":"{whose}","message":"x"}}"#)
    };
    assert!(check_told(&ran(22, "", &line("repository")), &[22]).is_ok());
    assert!(check_told(&ran(22, "", &line("target")), &[22]).is_err());
    assert!(check_told(&ran(22, "", ""), &[22]).is_err());
    assert!(check_told(&ran(1, "", &line("repository")), &[0, 22]).is_err());
    let (stage, [_, (_, truth)]) = stage();
    let summary = r#"{"message_type":"summary","warnings":[]}"#;
    let hidden = check_restored(&stage, &ran(22, summary, ""), &truth);
    assert!(hidden.unwrap_err().contains("is missing and not named"));
    Outcome::Passed("four of them are refused".to_owned())
}
