//! Captures of databases whose app is running. The app is another process (this program once more), because SQLite's
//! locks are those of a process: one that reads the files must not have them open.
//!
//! A harness of its own, because a case that the machine cannot make happen is reported as ignored, with the reason.
//! `CHATVAULT_CAPTURES` is the number of captures beside a busy writer, 40 without it.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test program with its own main"
)]

mod app;
mod busy;
mod closing;
mod judge;
mod medium;
mod quiet;
mod take;
mod torture;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How a case ended, if it did not fail.
#[derive(Debug)]
pub enum Outcome {
    /// With what it saw.
    Passed(String),
    /// It could not be tried here, and why.
    Ignored(String),
}

/// A name that is a claim, and what shows it.
pub type Case = (&'static str, fn() -> Outcome);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [role, path] if role == app::ROLE => return app::play(path),
        [role, rest @ ..] if role == busy::ROLE => return busy::play(rest),
        [role, path] if role == medium::ROLE => return medium::play(path),
        _ => {}
    }
    let cases: Vec<Case> = [quiet::CASES, closing::CASES, medium::CASES, torture::CASES].concat();
    if arguments.iter().any(|argument| argument == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_chosen = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
    let chosen: Vec<Case> = cases.iter().filter(|(name, _)| is_chosen(name)).copied().collect();
    run(&chosen, cases.len() - chosen.len())
}

fn run(chosen: &[Case], filtered: usize) -> ExitCode {
    let begun = Instant::now();
    println!("\nrunning {} tests", chosen.len());
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    let told = Arc::new(Mutex::new(String::new()));
    let listener = Arc::clone(&told);
    std::panic::set_hook(Box::new(move |panic| *listener.lock().unwrap() = panic.to_string()));
    for (name, case) in chosen {
        let at = Instant::now();
        match catch_unwind(AssertUnwindSafe(case)) {
            Ok(Outcome::Passed(what)) => {
                passed += 1;
                println!("test {name} ... ok ({what}; {:.1} s)", at.elapsed().as_secs_f64());
            }
            Ok(Outcome::Ignored(why)) => {
                ignored += 1;
                println!("test {name} ... ignored, {why}");
            }
            Err(_) => {
                failed += 1;
                println!("test {name} ... FAILED\n{}", told.lock().unwrap());
            }
        }
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {filtered} filtered \
         out; finished in {:.2}s\n",
        begun.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
