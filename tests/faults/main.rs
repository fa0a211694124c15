//! Faults: the program is killed at every writing call, its disks fail and fill up, and what it reads is hostile.
//!
//! A harness of its own, because a case that the machine cannot make happen is reported as ignored, with the reason.
//! `CHATVAULT_FAULTS=all` takes every point where a fault can happen; without it, they are spread over each run.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test program with its own main"
)]

mod calls;
mod disk;
mod errors;
mod forge;
mod full;
mod hostile;
mod kill;
#[path = "../cli/kit.rs"]
#[allow(dead_code, reason = "shared with the tests of the command line, which use the rest")]
mod kit;
mod measure;
mod mounted;
mod passwords;
mod plan;
mod power;
mod reading;
mod restoring;
mod seal;
mod stage;
mod together;
mod trace;
mod unreadable;
mod wrong_order;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::Instant;

/// How a case ended, if it did not fail.
#[derive(Debug)]
pub enum Outcome {
    /// With what it saw.
    Passed(String),
    /// It could not be made to happen, and why.
    Ignored(String),
}

/// A name, which is a claim, and what shows it.
type Case = (&'static str, fn() -> Outcome);

/// The name of the threads on which cases run.
const CASE: &str = "case";
/// Parts of the names of the cases that take longest, the longest first.
const LONGEST: [&str; 3] = ["kill::a_change_of_password", "power::", "kill::"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [role, rest @ ..] if role == wrong_order::ROLE => return wrong_order::run(rest),
        [role, rest @ ..] if role == measure::ROLE => return measure::play(rest),
        _ => {}
    }
    if let Some(code) = in_a_mount_namespace(&arguments) {
        return code;
    }
    let cases: Vec<Case> = [
        kill::CASES,
        errors::CASES,
        full::CASES,
        hostile::CASES,
        unreadable::CASES,
        reading::CASES,
        restoring::CASES,
        seal::CASES,
        together::CASES,
        power::CASES,
        mounted::CASES,
    ]
    .concat();
    if arguments.iter().any(|argument| argument == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_chosen = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
    let chosen: Vec<Case> = cases.iter().filter(|(name, _)| is_chosen(name)).copied().collect();
    run(&chosen, cases.len() - chosen.len())
}

/// As root, everything runs again where what is mounted is seen by nobody else, and goes with this program.
fn in_a_mount_namespace(arguments: &[String]) -> Option<ExitCode> {
    const INSIDE: &str = "CHATVAULT_FAULTS_INSIDE";
    if !nix::unistd::geteuid().is_root() || std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--"]);
        command
    };
    let is_possible =
        unshare().arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !is_possible {
        return None;
    }
    let mut again = unshare();
    again.arg(std::env::current_exe().ok()?);
    let status = again.args(arguments).env(INSIDE, "1").status().ok()?;
    Some(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many cases ended how.
#[derive(Default)]
struct Ended {
    passed: usize,
    failed: usize,
    ignored: usize,
}

thread_local! {
    /// What the last panic on this thread said.
    static TOLD: RefCell<String> = RefCell::default();
}

/// Runs cases as long as there are any, on as many threads as there are processors: they share nothing, and most of the
/// time a program that is followed runs by turns with the thread that follows it.
fn run_all(chosen: &[Case]) -> Ended {
    let left = Mutex::new(chosen.iter());
    let ended = Mutex::new(Ended::default());
    let work = || {
        loop {
            let next = left.lock().unwrap().next();
            let Some((name, case)) = next else { return };
            let at = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(case));
            let mut ended = ended.lock().unwrap();
            match outcome {
                Ok(Outcome::Passed(what)) => {
                    ended.passed += 1;
                    println!("test {name} ... ok ({what}; {:.1} s)", at.elapsed().as_secs_f64());
                }
                Ok(Outcome::Ignored(why)) => {
                    ended.ignored += 1;
                    println!("test {name} ... ignored, {why}");
                }
                Err(_) => {
                    ended.failed += 1;
                    println!("test {name} ... FAILED\n{}", TOLD.with_borrow(Clone::clone));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            std::thread::Builder::new().name(CASE.to_owned()).spawn_scoped(scope, work).unwrap();
        }
    });
    ended.into_inner().unwrap()
}

fn run(chosen: &[Case], filtered: usize) -> ExitCode {
    let begun = Instant::now();
    println!("\nrunning {} tests", chosen.len());
    std::panic::set_hook(Box::new(|panic| {
        // What another thread of a case says would be lost with that thread.
        if std::thread::current().name() == Some(CASE) {
            TOLD.set(panic.to_string());
        } else {
            println!("{panic}");
        }
    }));
    // The longest first, so that at the end no processor waits for another one.
    let mut chosen = chosen.to_vec();
    chosen.sort_by_key(|(name, _)| {
        LONGEST.iter().position(|part| name.contains(part)).unwrap_or(LONGEST.len())
    });
    let Ended { passed, failed, ignored } = run_all(&chosen);
    println!("\nfaults: {} run, {ignored} ignored", passed + failed);
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {filtered} filtered \
         out; finished in {:.2}s\n",
        begun.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
