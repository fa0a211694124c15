//! What a program takes: a child of a child, so that nothing else counts. It is this test program under another role.

use crate::kit::Ran;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The first argument that gives this program the role.
pub const ROLE: &str = "measure-a-program";

/// Processor time after which a program is ended.
const MOST_SECONDS: u32 = 20;

/// What a program did and took.
#[derive(Debug)]
pub struct Measured {
    pub ran: Ran,
    /// Most memory, in bytes.
    pub memory: u64,
    /// Processor time, in milliseconds: unlike the time on the wall it does not grow with what else runs.
    pub processor_ms: u64,
}

/// Runs a program; `note` is a file for the figures.
pub fn run(command: &Command, note: &Path) -> Measured {
    let mut outer = Command::new(std::env::current_exe().unwrap());
    outer.arg(ROLE).arg(note).arg(command.get_program()).args(command.get_args()).env_clear();
    outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer.current_dir(command.get_current_dir().unwrap());
    let ran = Ran::of(&mut outer);
    let text = fs::read_to_string(note).unwrap();
    let (memory, time) = text.split_once(' ').unwrap();
    Measured { ran, memory: memory.parse().unwrap(), processor_ms: time.parse().unwrap() }
}

/// Plays the role: the file for the figures, the program, its arguments.
pub fn play(arguments: &[String]) -> ExitCode {
    let [note, program, rest @ ..] = arguments else { return ExitCode::FAILURE };
    // What does not end by itself is ended.
    let limit = format!("ulimit -t {MOST_SECONDS}; exec \"$0\" \"$@\"");
    let status = Command::new("/bin/sh").args(["-c", &limit]).arg(program).args(rest).status().unwrap();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let time = usage.user_time() + usage.system_time();
    fs::write(note, format!("{} {}", usage.max_rss() * 1024, time.num_milliseconds())).unwrap();
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255))
}
