//! Faults: the program is killed at every writing call, its disks fail and fill up, and what it reads is hostile.
//!
//! A case that the machine cannot make happen is reported as ignored, with the reason (`chatvault_tests::harness`).
//! `CHATVAULT_FAULTS=all` takes every point where a fault can happen; without it, they are spread over each run.
#![allow(
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
mod owners;
mod passwords;
mod plan;
mod power;
mod races;
mod reading;
mod restoring;
mod seal;
mod sectors;
mod stage;
mod targets;
mod together;
mod trace;
mod unreadable;
mod wrong_order;

use chatvault_tests::harness::{Case, Harness, Outcome, trials};
use std::process::{Command, ExitCode, Stdio};

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
    let cases = [
        kill::CASES,
        errors::CASES,
        full::CASES,
        hostile::CASES,
        unreadable::CASES,
        reading::CASES,
        restoring::CASES,
        seal::CASES,
        sectors::CASES,
        targets::CASES,
        together::CASES,
        races::CASES,
        owners::CASES,
        power::CASES,
        mounted::CASES,
    ]
    .concat();
    // They share nothing, and most of the time a program that is followed runs by turns with the thread that follows it.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Harness { name: "faults", threads, longest: &LONGEST }.run(&arguments, trials(&cases))
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
