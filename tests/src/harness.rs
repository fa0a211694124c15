//! The runner of the test programs that have a `main` of their own, because a case that the machine cannot make happen is
//! reported as ignored, with the reason. It understands what `cargo test` hands to any test program: parts of names, and
//! `--list`.
#![allow(clippy::print_stdout, reason = "the output of a test program")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
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

/// What shows a claim; it may rest on what its program holds.
pub type Trial<'t> = Box<dyn FnOnce() -> Outcome + Send + 't>;

/// How a test program runs its cases.
#[derive(Clone, Copy, Debug)]
pub struct Harness {
    /// The name of the program: its last line, `NAME: 3 run, 1 skipped`, is what `.ci/run` looks for.
    pub name: &'static str,
    /// Cases that run at the same time: more than one if they share nothing.
    pub threads: usize,
    /// Parts of the names of the cases that take longest, the longest first: they begin, so that at the end no
    /// processor waits for another one.
    pub longest: &'static [&'static str],
}

/// How many cases ended how.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ended {
    passed: usize,
    failed: usize,
    ignored: usize,
}

/// The name of the threads on which cases run.
const CASE: &str = "case";

thread_local! {
    /// What the last panic on this thread said.
    static TOLD: RefCell<String> = RefCell::default();
}

/// The cases of a table, for [`Harness::run`].
#[must_use]
pub fn trials(cases: &[Case]) -> Vec<(String, Trial<'static>)> {
    cases.iter().map(|(name, case)| ((*name).to_owned(), Box::new(*case) as Trial<'static>)).collect()
}

impl Harness {
    /// A program that runs one case after the other.
    #[must_use]
    pub const fn in_turns(name: &'static str) -> Self {
        Self { name, threads: 1, longest: &[] }
    }

    /// Does what the arguments of the program (without its name) ask for, and says how the program is to end.
    ///
    /// # Panics
    /// Panics if the system has no thread left.
    #[must_use]
    pub fn run(&self, arguments: &[String], cases: Vec<(String, Trial<'_>)>) -> ExitCode {
        if arguments.iter().any(|argument| argument == "--list") {
            cases.iter().for_each(|(name, _)| println!("{name}: test"));
            return ExitCode::SUCCESS;
        }
        let begun = Instant::now();
        let total = cases.len();
        let chosen = self.chosen(arguments, cases);
        let filtered = total - chosen.len();
        println!("\nrunning {} tests", chosen.len());
        std::panic::set_hook(Box::new(|panic| {
            // What another thread of a case says would be lost with that thread.
            if std::thread::current().name() == Some(CASE) {
                TOLD.set(panic.to_string());
            } else {
                println!("{panic}");
            }
        }));
        let Ended { passed, failed, ignored } = self.run_all(chosen);
        let result = if failed == 0 { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {filtered} \
             filtered out; finished in {:.2}s\n",
            begun.elapsed().as_secs_f64()
        );
        println!("{}: {} run, {ignored} skipped", self.name, passed + failed);
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Those whose name has one of the parts that were asked for, in the order in which they begin.
    fn chosen<'t>(
        &self,
        arguments: &[String],
        mut cases: Vec<(String, Trial<'t>)>,
    ) -> VecDeque<(String, Trial<'t>)> {
        let parts: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
        cases.retain(|(name, _)| parts.is_empty() || parts.iter().any(|part| name.contains(*part)));
        cases.sort_by_key(|(name, _)| {
            self.longest.iter().position(|part| name.contains(part)).unwrap_or(self.longest.len())
        });
        cases.into()
    }

    /// Runs cases as long as there are any.
    fn run_all(&self, chosen: VecDeque<(String, Trial<'_>)>) -> Ended {
        let left = Mutex::new(chosen);
        let ended = Mutex::new(Ended::default());
        let work = || {
            loop {
                let next = left.lock().unwrap().pop_front();
                let Some((name, case)) = next else { return };
                let begun = Instant::now();
                let outcome = catch_unwind(AssertUnwindSafe(case));
                let mut ended = ended.lock().unwrap();
                match outcome {
                    Ok(Outcome::Passed(what)) => {
                        ended.passed += 1;
                        println!("test {name} ... ok ({what}; {:.1} s)", begun.elapsed().as_secs_f64());
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
            for _ in 0..self.threads {
                std::thread::Builder::new().name(CASE.to_owned()).spawn_scoped(scope, work).unwrap();
            }
        });
        ended.into_inner().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: [Case; 4] = [
        ("one::passes", || Outcome::Passed("it".into())),
        ("one::fails", || panic!("as it must")),
        ("two::is_ignored", || Outcome::Ignored("why".into())),
        ("two::passes", || Outcome::Passed("it".into())),
    ];

    fn names(harness: Harness, arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        harness.chosen(&arguments, trials(&CASES)).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn parts_of_names_choose_and_the_longest_begin() {
        let all = ["one::passes", "one::fails", "two::is_ignored", "two::passes"];
        let in_turns = Harness::in_turns("test");
        assert_eq!(names(in_turns, &[]), all);
        assert_eq!(names(in_turns, &["--nocapture", "ign", "fails"]), all[1..3]);
        let harness = Harness { longest: &["two::passes", "two"], ..in_turns };
        assert_eq!(names(harness, &[]), [all[3], all[2], all[0], all[1]]);
        assert_eq!(names(harness, &["three"]), Vec::<String>::new());
    }

    #[test]
    fn each_case_is_counted_once_and_a_panic_is_a_failure() {
        for threads in [1, 3] {
            let harness = Harness { threads, ..Harness::in_turns("test") };
            let ended = harness.run_all(harness.chosen(&[], trials(&CASES)));
            assert_eq!(ended, Ended { passed: 2, failed: 1, ignored: 1 }, "{threads}");
        }
    }
}
