//! The program on a terminal of its own.

use crate::kit::{Ran, World};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

/// The program on a terminal of its own, and all that the terminal has shown.
pub struct Terminal {
    script: Child,
    shown: String,
}

impl Terminal {
    /// The program with these arguments.
    pub fn new(world: &World, arguments: &str) -> Self {
        Self::of(world, "dumb", &format!("exec chatvault {arguments}"))
    }

    /// A line for the shell, on a terminal of this kind.
    pub fn of(world: &World, kind: &str, line: &str) -> Self {
        let program = format!("tty; {line}");
        let mut command = world.command([""; 0]);
        let mut script = Command::new("script");
        script.args(["-qec", &program, "/dev/null"]).current_dir(world.path("")).env_clear();
        script.envs(command.env("TERM", kind).get_envs().filter_map(|(name, value)| Some((name, value?))));
        let script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self { script: script.spawn().unwrap(), shown: String::new() }
    }

    /// Reads until the question was asked so many times and the terminal shows no more what is typed.
    pub fn asked(&mut self, question: &str, times: usize) {
        let mut byte = [0];
        while self.shown.matches(question).count() < times {
            let read = self.script.stdout.as_mut().unwrap().read(&mut byte).unwrap();
            assert_eq!(read, 1, "{question} was not asked {times} times: {}", self.shown);
            self.shown.push(char::from(byte[0]));
        }
        let device = self.shown.lines().next().unwrap().trim().to_owned();
        let hides = || {
            let settings = Command::new("stty").args(["-a", "-F", &device]).output().unwrap();
            assert!(settings.status.success(), "{device}: {settings:?}");
            String::from_utf8_lossy(&settings.stdout).split_whitespace().any(|word| word == "-echo")
        };
        assert!((0..10_000).any(|_| hides()), "what is typed would be shown");
    }

    pub fn types(&mut self, typed: &str) {
        self.script.stdin.as_mut().unwrap().write_all(typed.as_bytes()).unwrap();
    }

    /// Answers the question each time it is asked; no answer is shown.
    pub fn answers(mut self, question: &str, answers: &[&str]) -> Ran {
        for (number, answer) in answers.iter().enumerate() {
            self.asked(question, number + 1);
            self.types(&format!("{answer}\n"));
        }
        let ran = self.ends();
        for answer in answers.iter().filter(|answer| !answer.is_empty()) {
            assert!(!ran.stdout.contains(answer), "{answer} is shown: {}", ran.stdout);
        }
        ran
    }

    pub fn ends(mut self) -> Ran {
        // Standard input stays open: its end would be typed too.
        let mut rest = Vec::new();
        self.script.stdout.as_mut().unwrap().read_to_end(&mut rest).unwrap();
        let code = self.script.wait().unwrap().code().unwrap_or(-1);
        let stdout = self.shown + &String::from_utf8_lossy(&rest);
        Ran { code, stdout, stderr: String::new() }
    }
}
