//! The seal of the catalog: no kill makes it lie, it goes before the first write and comes after the last flush.

use crate::kit::World;
use crate::stage::Stage;
use crate::trace::{Call, Fate};
use crate::{Case, Outcome, plan, trace};
use std::process::{Command, Stdio};

pub const CASES: &[Case] = &[
    ("seal::a_catalog_is_believed_wherever_its_last_user_was_killed", killed),
    ("seal::a_seal_goes_durably_before_the_first_write_and_comes_after_the_last_flush", order),
    ("seal::an_order_that_is_not_kept_is_noticed", wrong_order),
    ("seal::a_catalog_that_several_programs_use_and_leave_at_once_is_believed", together),
];

const CACHE: &str = "home/.cache";
/// Kills of each verb, unless all are asked for.
const MOST: usize = 80;

fn command(world: &World, verb: &[&str]) -> Command {
    world.command(["-r", "repo", "--recovery-key-file", "key"].iter().chain(verb))
}

/// With a catalog that was closed twice, and something new to store.
fn with_catalog() -> Stage {
    let stage = Stage::with_repository();
    stage.snapshot();
    stage.world.repo(&["list"]).succeeded();
    stage.live(2);
    stage.keep("closed");
    stage
}

/// A verb says nothing of the catalog.
fn is_calm(stage: &Stage, verb: &[&str]) -> Result<(), String> {
    let ran = stage.world.repo(verb);
    match ran.code {
        0 if !ran.stderr.contains("catalog") => Ok(()),
        code => Err(format!("{verb:?} ends with {code}: {}", ran.stderr)),
    }
}

/// Killed before every writing call in the cache, and in the middle of every other write.
fn killed() -> Outcome {
    let stage = with_catalog();
    let cache = stage.world.path(CACHE);
    let (mut landed, mut planned, mut violations) = (0, 0, Vec::new());
    for verb in [&["snapshot", "live"][..], &["list"]] {
        stage.put_back("closed");
        let whole = match trace::run(&command(&stage.world, verb), &mut |_| Fate::Pass) {
            Ok(whole) => whole,
            Err(why) => return Outcome::Ignored(why),
        };
        assert_eq!(whole.code, Some(0), "{}", whole.stderr);
        let calls: Vec<Call> = whole.calls.into_iter().filter(|call| call.is_below(&cache)).collect();
        for at in plan::points(&calls, MOST) {
            stage.put_back("closed");
            let (mut number, mut last) = (0, String::new());
            let ran = trace::run(&command(&stage.world, verb), &mut |call| {
                number += usize::from(call.is_below(&cache));
                if number != at + 1 || !call.is_below(&cache) {
                    return Fate::Pass;
                }
                last = format!("{} of {}", call.name, call.path.display());
                if at % 2 == 0 && call.bytes.len() > 1 { Fate::Tear } else { Fate::Kill }
            })
            .unwrap();
            planned += 1;
            landed += usize::from(ran.code.is_none());
            // What is left is met by a verb that reads or by one that writes, then by the other one.
            let mut then = [&["list"][..], &["snapshot", "live"]];
            then.rotate_left(at % 2);
            for next in then.iter().chain([&&["ls", "-R"][..]]) {
                if let Err(why) = is_calm(&stage, next) {
                    violations.push(format!("{verb:?} killed at {at} ({last}): {why}"));
                }
            }
        }
    }
    plan::assert_none(&violations);
    assert!(landed * 100 >= planned * 95 && landed > 40, "only {landed} of {planned} kills landed");
    Outcome::Passed(format!("{landed} kills in the cache, and nobody was alarmed"))
}

/// What is wrong with the order of the calls of a run.
fn violation(calls: &[Call]) -> Option<String> {
    let is = |call: &Call, names: &[&str], file: &str| {
        names.iter().any(|name| call.name.starts_with(name)) && call.path.ends_with(file)
    };
    let first = |names: &[&str], file: &str| calls.iter().position(|call| is(call, names, file));
    let last = |names: &[&str], file: &str| calls.iter().rposition(|call| is(call, names, file));
    let Some(gone) = first(&["pwrite"], "catalog.seal") else { return Some("no seal goes".to_owned()) };
    let is_flush = |call: &Call| call.is_flush() && call.path == calls[gone].path;
    let flushed = calls.iter().skip(gone).position(is_flush).map(|behind| gone + behind);
    let Some(flushed) = flushed else { return Some("that the seal goes is not flushed".to_owned()) };
    let writes = ["pwrite", "write", "ftruncate"];
    let written = ["catalog.sqlite-wal", "catalog.sqlite"].map(|file| first(&writes, file));
    let [Some(log), Some(database)] = written else { return Some("nothing is written".to_owned()) };
    if log.min(database) < flushed {
        return Some(format!(
            "call {} writes before call {flushed} flushes that the seal goes",
            log.min(database)
        ));
    }
    let made = last(&["write"], "catalog.seal");
    let made = made.zip(last(&["fsync", "fdatasync"], "catalog.sqlite")).zip(last(&writes, "catalog.sqlite"));
    match made {
        Some(((seal, flush), write)) if seal > flush && flush > write => None,
        other => Some(format!("seal, flush and last write of the database: {other:?}")),
    }
}

fn calls_of_a_snapshot() -> Result<Vec<Call>, String> {
    let stage = with_catalog();
    let cache = stage.world.path(CACHE);
    let ran = trace::run(&command(&stage.world, &["snapshot", "live"]), &mut |_| Fate::Pass)?;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    Ok(ran.calls.into_iter().filter(|call| call.is_below(&cache)).collect())
}

fn order() -> Outcome {
    match calls_of_a_snapshot() {
        Ok(calls) => {
            assert_eq!(violation(&calls), None);
            Outcome::Passed(format!("in {} calls", calls.len()))
        }
        Err(why) => Outcome::Ignored(why),
    }
}

/// The known-bad variants.
fn wrong_order() -> Outcome {
    let calls = match calls_of_a_snapshot() {
        Ok(calls) => calls,
        Err(why) => return Outcome::Ignored(why),
    };
    let mut told = Vec::new();
    for (flush, file) in [(true, "catalog.seal"), (true, "catalog.sqlite"), (false, "catalog.seal")] {
        let is_left_out = |call: &&Call| call.is_flush() == flush && call.path.ends_with(file);
        let others: Vec<Call> = calls.iter().filter(|call| !is_left_out(call)).cloned().collect();
        assert!(others.len() < calls.len());
        told.push(violation(&others).unwrap());
    }
    // The first write to the log comes too early, and so does the new seal.
    let position = |file: &str, name: &str| {
        let is = |call: &Call| call.path.ends_with(file) && call.name.starts_with(name);
        (calls.iter().position(is).unwrap(), calls.iter().rposition(is).unwrap())
    };
    for moved in [position("catalog.sqlite-wal", "pwrite").0, position("catalog.seal", "write").1] {
        let mut others = calls.clone();
        let call = others.remove(moved);
        others.insert(0, call);
        told.push(violation(&others).unwrap());
    }
    Outcome::Passed(told.join("; "))
}

/// Programs that begin and end when they like: none has to say anything of the catalog.
fn together() -> Outcome {
    let stage = with_catalog();
    let mut runs = 0;
    for round in 0..40 {
        let verbs = [&["snapshot", "live"][..], &["list"], &["snapshot", "live"], &["ls", "-R"]];
        let begun = verbs.map(|verb| {
            command(&stage.world, verb).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        });
        for (run, verb) in begun.into_iter().zip(verbs) {
            let output = run.wait_with_output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && !told.contains("catalog"), "round {round}, {verb:?}: {told}");
            runs += 1;
        }
        is_calm(&stage, &["list"]).unwrap();
    }
    assert!(stage.world.files(CACHE).iter().any(|path| path.ends_with("catalog.seal")));
    Outcome::Passed(format!("{runs} programs, four at a time"))
}
