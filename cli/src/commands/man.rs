//! `man`

use crate::commands::Cli;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use clap::{Args, CommandFactory};
use clap_mangen::Man;
use std::io;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  chatvault man | man -l -
  chatvault man --output ~/.local/share/man/man1";

/// Write the manual: all pages one after the other, or each to its file
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ManArgs {
    /// Write each page to a file of its own in this folder, which is made if it is missing
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &ManArgs, context: &Context) -> Result<Outcome> {
    let pages = pages().map_err(|cause| Failure::io("make", "the manual", cause))?;
    let Some(folder) = &args.output else {
        for (_, page) in &pages {
            context.ui.line(page.trim_end());
        }
        return Ok(Outcome::done());
    };
    std::fs::create_dir_all(folder).map_err(|cause| Failure::io("make the folder", shown(folder), cause))?;
    for (name, page) in &pages {
        let path = folder.join(name);
        std::fs::write(&path, page).map_err(|cause| Failure::io("write", shown(&path), cause))?;
    }
    context.ui.status(format_args!("{} pages are in {}", pages.len(), shown(folder)));
    Ok(Outcome::done())
}

/// The page of the program, then one for each verb and each verb below it, with their file names.
fn pages() -> io::Result<Vec<(String, String)>> {
    let mut program = Cli::command();
    program.build();
    let mut pages = vec![page(program.clone())?];
    for verb in shown_below(&program) {
        pages.push(page(verb.clone())?);
        for below in shown_below(verb) {
            pages.push(page(below.clone())?);
        }
    }
    Ok(pages)
}

fn shown_below(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command.get_subcommands().filter(|verb| verb.get_name() != "help" && !verb.is_hide_set())
}

fn page(command: clap::Command) -> io::Result<(String, String)> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut text = Vec::new();
    Man::new(command.disable_help_subcommand(true)).title(name.to_uppercase()).render(&mut text)?;
    Ok((format!("{name}.1"), String::from_utf8_lossy(&text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_its_page() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        let program = Cli::command();
        let below = program.get_subcommands().flat_map(clap::Command::get_subcommands);
        let verbs = program.get_subcommands().chain(below).count();
        assert_eq!(names.len(), verbs + 1);
        assert_eq!(names.first(), Some(&"chatvault.1"));
        assert!(names.contains(&"chatvault-recovery-kit.1") && names.contains(&"chatvault-key-add.1"));
        assert!(pages.iter().all(|(_, page)| page.contains(".TH")));
    }
}
