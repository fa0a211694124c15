//! `chatvault`: reads the command line and the environment, runs one verb, and ends with its exit code.

mod args;
mod commands;
mod config;
mod context;
mod exit;
mod output;
mod process;
mod run;
mod signals;
mod sources;

use std::process::ExitCode;

fn main() -> ExitCode {
    run::run(std::env::args_os().collect(), &config::Environment::of_process()).into()
}
