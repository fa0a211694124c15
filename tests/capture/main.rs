//! Captures of databases whose app is running. The app is another process (this program once more), because SQLite's
//! locks are those of a process: one that reads the files must not have them open.
//!
//! A case that the machine cannot make happen is reported as ignored, with the reason (`chatvault_tests::harness`).
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
mod damaged;
mod failing;
mod judge;
mod linked;
mod medium;
mod missing;
mod pairs;
mod quiet;
mod replaced;
mod take;
mod torture;

use chatvault_tests::harness::{Case, Harness, Outcome, trials};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [role, path] if role == app::ROLE => return app::play(path),
        [role, rest @ ..] if role == busy::ROLE => return busy::play(rest),
        [role, rest @ ..] if role == replaced::ROLE => return replaced::play(rest),
        [role, rest @ ..] if role == pairs::ROLE => return pairs::play(rest),
        [role, path] if role == medium::ROLE => return medium::play(path),
        _ => {}
    }
    let cases = [
        quiet::CASES,
        closing::CASES,
        linked::CASES,
        medium::CASES,
        pairs::CASES,
        damaged::CASES,
        failing::CASES,
        missing::CASES,
        replaced::CASES,
        torture::CASES,
    ]
    .concat();
    Harness::in_turns("capture").run(&arguments, trials(&cases))
}
