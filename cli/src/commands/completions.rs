//! `completions`

use crate::commands::Cli;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::error::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  chatvault completions bash > ~/.local/share/bash-completion/completions/chatvault
  chatvault completions zsh > ~/.zfunc/_chatvault
  chatvault completions fish > ~/.config/fish/completions/chatvault.fish";

/// Write a script that completes chatvault's command line in a shell
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, context: &Context) -> Result<Outcome> {
    // Into memory first: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "chatvault", &mut script);
    context.ui.line(String::from_utf8_lossy(&script).trim_end());
    Ok(Outcome::done())
}
