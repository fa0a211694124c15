//! The verbs: one enum, one match, one file each.

mod cache;
mod cat;
mod completions;
mod demo;
mod diff;
mod find;
mod init;
mod key;
mod list;
mod ls;
mod man;
mod recovery_kit;
mod restore;
mod snapshot;
mod stats;
mod tag;
mod version;

use crate::args::global::GlobalArgs;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::error::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;

const EXAMPLES: &str = "\
Examples:
  chatvault snapshot ~/WhatsApp              keep the folder as it is now
  chatvault list                             show all snapshots
  chatvault ls latest:/home/ann/WhatsApp     show what is in the last one
  chatvault find IMG-2024.jpg                show in which snapshots a file is, and how it was
  chatvault restore @yesterday --target out  give back the state of yesterday
  chatvault recovery-kit                     print the key, to keep on paper

A snapshot is named as `latest`, `latest~1` (the one before), by the first digits of its id, or as `@TIME`: the last \
one at or before that time (@2026-11-20, \"@2026-11-20 18:00\", @yesterday, @monday, or RFC 3339). `SNAPSHOT:PATH` is a \
path in it.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 snapshot stored but some files could not be read, 10 no repository, \
11 another program's work forbids it, 12 wrong password or key, 20 restore would lose what is in no snapshot, 21 SQLite finds a database damaged, 22 something in the repository is damaged, \
130 cancelled.";

/// Keeps every state that your chats were ever in
///
/// chatvault takes snapshots of the folders in which chat apps keep their databases and media. It stores each new byte
/// once, compressed and encrypted, and gives back any state of any day. It never writes into those folders.
#[derive(Parser, Debug)]
#[command(name = "chatvault", version, after_long_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Init(init::InitArgs),
    #[command(visible_alias = "backup")]
    Snapshot(Box<snapshot::SnapshotArgs>),
    #[command(visible_alias = "snapshots")]
    List(list::ListArgs),
    Ls(ls::LsArgs),
    Find(find::FindArgs),
    Diff(diff::DiffArgs),
    #[command(visible_alias = "dump")]
    Cat(cat::CatArgs),
    Restore(restore::RestoreArgs),
    Key(key::KeyArgs),
    Stats(stats::StatsArgs),
    Tag(tag::TagArgs),
    RecoveryKit(recovery_kit::RecoveryKitArgs),
    Cache(cache::CacheArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    Version(version::VersionArgs),
}

/// The options that every verb has are explained once.
const GLOBAL: &str = "Global options, such as -r, --json and -q: `chatvault --help`";

/// The command line as it is read and explained: the help of a verb leaves the global options to that of the program.
pub(crate) fn command_line() -> clap::Command {
    let mut program = Cli::command();
    // Gives the verbs the global options, which are hidden there then.
    program.build();
    program.mut_subcommands(without_global)
}

fn without_global(verb: clap::Command) -> clap::Command {
    let notes = verb.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let hide = |argument: clap::Arg| {
        let is_global = argument.is_global_set();
        argument.hide(is_global)
    };
    let notes = if notes.is_empty() { GLOBAL.to_owned() } else { format!("{GLOBAL}\n\n{notes}") };
    verb.mut_args(hide).mut_subcommands(without_global).after_help(GLOBAL).after_long_help(notes)
}

impl Cli {
    /// Reads a command line.
    pub(crate) fn read(arguments: Vec<OsString>) -> std::result::Result<Self, clap::Error> {
        let mut program = command_line();
        let matches = program.try_get_matches_from_mut(arguments)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut program))
    }

    /// Runs the verb.
    pub(crate) fn run(&self, context: &Context) -> Result<Outcome> {
        match &self.command {
            Command::Init(args) => init::run(args, context),
            Command::Snapshot(args) => snapshot::run(args, context),
            Command::List(args) => list::run(args, context),
            Command::Ls(args) => ls::run(args, context),
            Command::Find(args) => find::run(args, context),
            Command::Diff(args) => diff::run(args, context),
            Command::Cat(args) => cat::run(args, context),
            Command::Restore(args) => restore::run(args, context),
            Command::Key(args) => key::run(args, context),
            Command::Stats(args) => stats::run(args, context),
            Command::Tag(args) => tag::run(args, context),
            Command::RecoveryKit(args) => recovery_kit::run(args, context),
            Command::Cache(args) => cache::run(args, context),
            Command::Demo(args) => demo::run(args, context),
            Command::Completions(args) => completions::run(args, context),
            Command::Man(args) => man::run(args, context),
            Command::Version(args) => version::run(args, context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Condition;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_names_every_exit_code() {
        let help = EXAMPLES.rsplit("Exit codes: ").next().unwrap_or_default();
        let numbers = help.split([' ', ',']).filter_map(|word| word.parse().ok());
        let mut codes: Vec<u8> = Condition::BY_PRECEDENCE.iter().map(|condition| condition.code()).collect();
        codes.push(0);
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(numbers.collect::<Vec<u8>>(), codes);
    }

    #[test]
    fn every_verb_explains_itself() {
        let program = Cli::command();
        let below = program.get_subcommands().flat_map(clap::Command::get_subcommands);
        for verb in program.get_subcommands().chain(below) {
            let name = verb.get_name();
            assert!(verb.get_about().is_some(), "{name}");
            let help = verb.clone().render_long_help().to_string();
            assert!(help.contains("Examples:"), "{name} has no examples");
            for argument in verb.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{name} {}", argument.get_id());
            }
        }
    }
}
