//! The options that every verb has.

use crate::output::error::one_line;
use crate::output::human::shell_word;
use crate::output::human::shown;
use clap::Args;
use std::path::PathBuf;

/// How this run was called, for commands that are suggested.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    /// The program, ready for a shell.
    pub(crate) program: String,
    /// The options for the repository and its key, each with a space in front, ready for a shell.
    pub(crate) repeated: String,
}

impl Invocation {
    /// A command for the same repository, opened by the same key.
    pub(crate) fn command(&self, verb: &str) -> String {
        format!("{}{} {verb}", self.program, self.repeated)
    }
}

/// Options that every verb has. Each has an environment variable; the command line is stronger.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Folder of the repository [env: CHATVAULT_REPOSITORY] [default: $XDG_DATA_HOME/chatvault/repository]
    #[arg(short, long, value_name = "PATH", global = true)]
    pub(crate) repo: Option<PathBuf>,

    /// File whose first line is the password [env: CHATVAULT_PASSWORD_FILE]
    #[arg(short, long, value_name = "FILE", global = true)]
    pub(crate) password_file: Option<PathBuf>,

    /// Command, run by `sh -c`, whose first line of output is the password [env: CHATVAULT_PASSWORD_COMMAND]
    #[arg(long, value_name = "COMMAND", global = true)]
    pub(crate) password_command: Option<String>,

    /// File with the recovery key: the key alone, or a saved recovery kit [env: CHATVAULT_RECOVERY_KEY_FILE]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) recovery_key_file: Option<PathBuf>,

    /// File that opens the repository together with the password: a second factor [env: CHATVAULT_KEY_FILE]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) key_file: Option<PathBuf>,

    /// Profile of profiles.toml in the configuration folder, for what is not given here [env: CHATVAULT_PROFILE]
    #[arg(short = 'P', long, value_name = "NAME", global = true)]
    pub(crate) profile: Option<String>,

    /// Folder of the caches [env: CHATVAULT_CACHE_DIR] [default: $XDG_CACHE_HOME/chatvault]
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Keep no cache: slower, and nothing is left behind [env: CHATVAULT_NO_CACHE]
    #[arg(long, global = true, conflicts_with = "cache_dir")]
    pub(crate) no_cache: bool,

    /// How hard to compress what is stored, 1 (fast) to 19 (small) [env: CHATVAULT_COMPRESSION] [default: 3]
    #[arg(long, value_name = "LEVEL", global = true, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(crate) compression: Option<i32>,

    /// Write JSON lines for programs [env: CHATVAULT_JSON]
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Show only answers, warnings and errors [env: CHATVAULT_QUIET]
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Show no progress [env: CHATVAULT_NO_PROGRESS]
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
}

impl GlobalArgs {
    /// The options that say which repository is meant and what opens it, as they were given, for a command that is
    /// suggested: each with a space in front, quoted for a shell.
    pub(crate) fn repeated(&self) -> String {
        let path = |path: &Option<PathBuf>| path.as_deref().map(shown);
        [
            ("-P", self.profile.clone()),
            ("-r", path(&self.repo)),
            ("--password-file", path(&self.password_file)),
            ("--password-command", self.password_command.clone()),
            ("--recovery-key-file", path(&self.recovery_key_file)),
            ("--key-file", path(&self.key_file)),
        ]
        .into_iter()
        .filter_map(|(option, value)| Some(format!(" {option} {}", shell_word(&one_line(&value?)))))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_the_repository_and_its_key_is_repeated_and_nothing_else() {
        assert_eq!(GlobalArgs::default().repeated(), "");
        let args = GlobalArgs {
            repo: Some("/my chats".into()),
            password_command: Some("pass it's".into()),
            key_file: Some("/usb/a key".into()),
            profile: Some("phone".into()),
            json: true,
            ..GlobalArgs::default()
        };
        assert_eq!(
            args.repeated(),
            " -P phone -r '/my chats' --password-command 'pass it'\\''s' --key-file '/usb/a key'"
        );
    }
}
