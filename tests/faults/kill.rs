//! Killed before every writing call, and in the middle of every write: what was acknowledged is there, the next run
//! needs no help, and what was durable is not stored again.

use crate::kit::{Ran, World};
use crate::passwords::Change;
use crate::stage::{Acknowledged, Left, Stage, snapshot_id};
use crate::trace::{Call, Fate};
use crate::{Case, Outcome, plan, trace, wrong_order};
use chatvault_engine::store::ObjectName;
use chatvault_tests::Truth;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

pub const CASES: &[Case] = &[
    ("kill::an_init_that_is_killed_anywhere_can_be_run_again", init),
    ("kill::a_first_snapshot_that_is_killed_anywhere_loses_nothing_and_is_gone_on_with", first),
    ("kill::a_second_snapshot_that_is_killed_anywhere_loses_nothing_and_is_gone_on_with", second),
    ("kill::a_very_first_snapshot_without_options_that_is_killed_anywhere_can_be_run_again", very_first),
    ("kill::a_change_of_password_that_is_killed_anywhere_locks_nobody_out", passwd),
    ("kill::a_wrong_order_of_writes_is_caught_by_the_same_means", wrong),
    ("kill::what_is_stored_again_though_it_was_durable_is_caught_by_the_same_means", stored_again),
];

/// What was killed, and what came of it.
#[derive(Default)]
struct Tally {
    landed: usize,
    planned: usize,
    calls: usize,
    durable: u64,
    /// Kills after which something was durable and in no index.
    with_durable: usize,
    violations: Vec<String>,
}

impl Tally {
    fn outcome(self) -> Outcome {
        plan::assert_none(&self.violations);
        // Threads do not meet their calls in the same order every time: the last ones may not come.
        assert!(
            self.landed * 100 >= self.planned * 95,
            "only {} of {} kills landed",
            self.landed,
            self.planned
        );
        assert!(self.landed >= 10, "only {} kills landed", self.landed);
        Outcome::Passed(format!(
            "{} kills over {} writing calls, {} bytes found again after {} of them",
            self.landed, self.calls, self.durable, self.with_durable
        ))
    }
}

/// Kills `command` at every planned point, at most so many, from the state `before`, and has `check` look at what is left.
fn killed(
    stage: &Stage,
    before: &str,
    most: usize,
    command: &dyn Fn(&World) -> Command,
    check: &dyn Fn(&Stage, &mut Tally) -> Result<(), String>,
) -> Result<Tally, String> {
    let root = stage.world.path("");
    stage.put_back(before);
    let whole = trace::run(&command(&stage.world), &mut |_| Fate::Pass)?;
    assert_eq!(whole.code, Some(0), "{}{}", whole.stdout, whole.stderr);
    let calls: Vec<Call> = whole.calls.into_iter().filter(|call| call.is_below(&root)).collect();
    check(stage, &mut Tally::default()).map_err(|why| format!("without any kill: {why}"))?;
    let mut tally = Tally { calls: calls.len(), ..Tally::default() };
    for at in plan::points(&calls, most) {
        let tears = calls[at].bytes.len() > 1 && at % 2 == 0;
        stage.put_back(before);
        let mut number = 0;
        let mut last = String::new();
        let ran = trace::run(&command(&stage.world), &mut |call| {
            if !call.is_below(&root) {
                return Fate::Pass;
            }
            number += 1;
            if number <= at {
                return Fate::Pass;
            }
            last = format!("{} of {}", call.name, call.path.strip_prefix(&root).unwrap().display());
            if tears && call.bytes.len() > 1 { Fate::Tear } else { Fate::Kill }
        })?;
        tally.planned += 1;
        tally.landed += usize::from(ran.code.is_none());
        if let Err(why) = check(stage, &mut tally) {
            tally.violations.push(format!("killed at call {at} ({last}): {why}"));
        }
    }
    Ok(tally)
}

fn report(tally: Result<Tally, String>) -> Outcome {
    tally.map_or_else(Outcome::Ignored, Tally::outcome)
}

fn init() -> Outcome {
    let stage = Stage::new();
    stage.live(1);
    stage.keep("nothing");
    report(killed(&stage, "nothing", plan::MOST, &|world| repo(world, &["init"]), &|stage, _| {
        // Either there is a whole repository, or `init` makes one.
        if stage.world.repo(&["list"]).code != 0 {
            let again = stage.world.repo(&["init"]);
            if again.code != 0 {
                return Err(format!("the next init ends with {}: {}", again.code, again.stderr));
            }
        }
        stage.goes_on()?;
        stage.nothing_is_lost(&[])
    }))
}

fn repo(world: &World, arguments: &[&str]) -> Command {
    world.command(["-r", "repo", "--recovery-key-file", "key"].iter().chain(arguments))
}

fn snapshot(world: &World) -> Command {
    repo(world, &["snapshot", "--json", "live"])
}

/// What must hold after a kill during a snapshot.
fn after_snapshot(stage: &Stage, acknowledged: &[Acknowledged], tally: &mut Tally) -> Result<(), String> {
    after_snapshot_and(stage, acknowledged, tally, &|_| ())
}

/// The same if something happens before the next run.
fn after_snapshot_and(
    stage: &Stage,
    acknowledged: &[Acknowledged],
    tally: &mut Tally,
    meanwhile: &dyn Fn(&Stage),
) -> Result<(), String> {
    stage.nothing_is_lost(acknowledged)?;
    let left: Left = stage.left();
    meanwhile(stage);
    stage.goes_on()?;
    stage.nothing_is_lost(acknowledged)?;
    let (durable, again) = (left.bytes(), left.stored_again(stage));
    tally.durable += durable;
    tally.with_durable += usize::from(durable > 0);
    if again * 10 > durable {
        return Err(format!("{again} of {durable} durable bytes were stored again"));
    }
    Ok(())
}

fn first() -> Outcome {
    let stage = Stage::with_repository();
    stage.keep("empty");
    let tally =
        killed(&stage, "empty", plan::MOST, &snapshot, &|stage, tally| after_snapshot(stage, &[], tally));
    if let Ok(tally) = &tally {
        assert!(
            tally.with_durable * 3 > tally.landed,
            "packs were left by {} kills only",
            tally.with_durable
        );
    }
    report(tally)
}

fn second() -> Outcome {
    let stage = Stage::with_repository();
    stage.live_database(1);
    let acknowledged = [stage.snapshot()];
    stage.live(2);
    stage.live_database(2);
    stage.keep("one");
    assert_eq!(stage.deltas(), 0);
    let check = |stage: &Stage, tally: &mut Tally| after_snapshot(stage, &acknowledged, tally);
    let tally = killed(&stage, "one", plan::MOST, &snapshot, &check);
    if let Ok(tally) = &tally {
        assert!(tally.with_durable > 0, "no kill left a pack");
        assert!(stage.deltas() > 0, "nothing rests on the first snapshot");
    }
    report(tally)
}

/// Everything that a run without options makes: repository, kept key, what is known of it, catalog, snapshot.
fn very_first() -> Outcome {
    let stage = Stage::new();
    stage.live(1);
    stage.keep("nothing");
    let command = |world: &World| world.command(["snapshot", "--json", "live"]);
    report(killed(&stage, "nothing", 60, &command, &|stage, tally| {
        // Every second time a snapshot meets first what was left, and not a verb that reads.
        let mut listed = Vec::new();
        if tally.planned % 2 == 1 {
            let ran = stage.world.run(["list", "--json"]);
            match ran.code {
                0 => listed = ids_of(&ran),
                // It was not there yet.
                10 => {}
                code => return Err(format!("list ends with {code}: {}", ran.stderr)),
            }
        }
        first_run_goes_on(stage, &listed)
    }))
}

fn ids_of(list: &Ran) -> Vec<String> {
    let list = list.json();
    list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// The next run without options works, all that is listed restores, and the one key that is kept opens it.
pub fn first_run_goes_on(stage: &Stage, listed: &[String]) -> Result<(), String> {
    let world = &stage.world;
    let again = world.run(["snapshot", "--json", "live"]);
    if again.code != 0 {
        return Err(format!("the next snapshot ends with {}: {}", again.code, again.stderr));
    }
    let list = world.run(["list", "--json"]);
    if list.code != 0 {
        return Err(format!("then list ends with {}: {}", list.code, list.stderr));
    }
    let ids = ids_of(&list);
    if !listed.iter().chain([&snapshot_id(&again)]).all(|id| ids.contains(id)) {
        return Err(format!("{listed:?} were there, and then {ids:?}"));
    }
    for id in ids {
        let _not_there = fs::remove_dir_all(world.path("out"));
        let place = format!("{id}:{}", world.text("live"));
        let ran = world.run(["restore", &place, "--target", "out"]);
        if ran.code != 0 {
            return Err(format!("restoring {id} ends with {}: {}", ran.code, ran.stderr));
        }
        let differences = stage.truth().differences(&Truth::read(&world.path("out")));
        if !differences.is_empty() {
            return Err(format!("{id} differs: {differences:?}"));
        }
    }
    // Nothing is left beside it: the key of a killed run was used again.
    let keys = world.files("home/.config/chatvault/recovery-keys");
    let [key] = keys.as_slice() else { return Err(format!("kept keys: {keys:?}")) };
    let repository = world.text("home/.local/share/chatvault/repository");
    let ran = world.run(["-r", &repository, "--recovery-key-file", key.to_str().unwrap(), "list"]);
    if ran.code == 0 { Ok(()) } else { Err(format!("the kept key ends with {}: {}", ran.code, ran.stderr)) }
}

fn passwd() -> Outcome {
    let change = Change::new();
    let Change { stage, .. } = &change;
    stage.put_back("one");
    assert!(
        change.opens("old") && !change.opens("new"),
        "the old password does not open it, or the new one does"
    );
    Ran::of(&mut Change::command(&stage.world)).succeeded();
    assert!(
        change.opens("new") && !change.opens("old"),
        "the old password still opens it, or the new one does not"
    );
    let tally = killed(stage, "one", plan::MOST, &Change::command, &|stage, _| {
        change.locks_nobody_out()?;
        stage.goes_on()
    });
    if let Ok(tally) = &tally {
        // At least a third of the calls write slots and events.
        assert!(change.tried() * 3 > tally.landed, "{} states were tried", change.tried());
    }
    report(tally)
}

/// The same engine on a store that acknowledges packs before it writes them, and writes them last.
fn wrong() -> Outcome {
    let stage = Stage::with_repository();
    stage.keep("empty");
    let tally = match killed(&stage, "empty", plan::MOST, &wrong_order::command, &|stage, _| {
        stage.nothing_is_lost(&[])
    }) {
        Ok(tally) => tally,
        Err(why) => return Outcome::Ignored(why),
    };
    assert!(!tally.violations.is_empty(), "{} kills, and nothing was noticed", tally.landed);
    Outcome::Passed(format!("{} of {} kills showed it", tally.violations.len(), tally.landed))
}

/// Packs that are durable and go before the next run: it has to store them again, which the count must show.
fn stored_again() -> Outcome {
    let stage = Stage::with_repository();
    stage.keep("empty");
    let lose = |stage: &Stage| {
        let (packs, indexed) = stage.packs();
        let names: Vec<String> = packs
            .keys()
            .filter(|id| !indexed.contains(*id))
            .map(|id| ObjectName::pack(id).last().to_owned())
            .collect();
        let is_lost = |path: &PathBuf| names.iter().any(|name| path.ends_with(name));
        stage
            .world
            .files("repo")
            .iter()
            .filter(|path| is_lost(path))
            .for_each(|path| fs::remove_file(path).unwrap());
    };
    let check = |stage: &Stage, tally: &mut Tally| after_snapshot_and(stage, &[], tally, &lose);
    let tally = match killed(&stage, "empty", 30, &snapshot, &check) {
        Ok(tally) => tally,
        Err(why) => return Outcome::Ignored(why),
    };
    let caught = tally.violations.iter().filter(|why| why.contains("were stored again")).count();
    assert!(tally.with_durable > 0 && caught == tally.with_durable, "{caught}: {:?}", tally.violations);
    Outcome::Passed(format!("{caught} of {} kills showed it", tally.landed))
}
