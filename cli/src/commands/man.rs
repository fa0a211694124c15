//! `man`

use crate::commands::command_line;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use clap::Args;
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
    let program = command_line();
    let mut pages = vec![page(&program)?];
    for verb in shown_below(&program) {
        pages.push(page(verb)?);
        for below in shown_below(verb) {
            pages.push(page(below)?);
        }
    }
    if let Some((_, first)) = pages.first_mut() {
        first.push_str(&environment(&program));
        first.push_str(FILES);
    }
    Ok(pages)
}

fn shown_below(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command.get_subcommands().filter(|verb| verb.get_name() != "help" && !verb.is_hide_set())
}

fn page(command: &clap::Command) -> io::Result<(String, String)> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let shown = command.clone().disable_help_subcommand(true);
    let usage = shown.clone().render_usage().to_string();
    let has_options = shown.get_arguments().any(|argument| !argument.is_hide_set());
    let has_verbs = shown_below(&shown).next().is_some();
    let notes = Notes::of(&command.get_after_long_help().map(ToString::to_string).unwrap_or_default());
    let man = Man::new(shown).title(name.to_uppercase());
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    text.extend_from_slice(section("SYNOPSIS", usage.trim_start_matches("Usage:").trim()).as_bytes());
    man.render_description_section(&mut text)?;
    text.extend_from_slice(notes.about.as_bytes());
    if has_options {
        man.render_options_section(&mut text)?;
    }
    if has_verbs {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend_from_slice(notes.exit_status.as_bytes());
    text.extend_from_slice(notes.examples.as_bytes());
    Ok((format!("{name}.1"), String::from_utf8_lossy(&text).into_owned()))
}

/// What stands below the options in the help of a verb, as sections of its page.
#[derive(Default)]
struct Notes {
    about: String,
    exit_status: String,
    examples: String,
}

impl Notes {
    fn of(text: &str) -> Self {
        let mut notes = Self::default();
        for paragraph in text.split("\n\n") {
            if let Some(examples) = paragraph.strip_prefix("Examples:\n") {
                notes.examples = section("EXAMPLES", examples);
            } else if let Some(codes) = paragraph.strip_prefix("Exit codes: ") {
                notes.exit_status = section("EXIT STATUS", codes);
            } else if !paragraph.is_empty() {
                notes.about.push_str(&format!(".PP\n{}", body(paragraph)));
            }
        }
        notes
    }
}

fn section(title: &str, text: &str) -> String {
    format!(".SH {title}\n{}", body(text))
}

/// A paragraph; lines that are indented stay as they are.
fn body(text: &str) -> String {
    let mut lines = String::new();
    let mut is_kept = false;
    for line in text.lines() {
        if line.starts_with("  ") != is_kept {
            is_kept = !is_kept;
            lines.push_str(if is_kept { ".nf\n" } else { ".fi\n" });
        }
        lines.push_str(&escaped(line));
        lines.push('\n');
    }
    if is_kept {
        lines.push_str(".fi\n");
    }
    lines
}

/// A line in which nothing means anything to the typesetter.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// The variables, as the global options name them in their help.
fn environment(program: &clap::Command) -> String {
    let mut text =
        ".SH ENVIRONMENT\nThe command line is stronger than these, and these are stronger than a profile.\n"
            .to_owned();
    let mut add = |name: &str, meaning: &str| {
        text.push_str(&format!(".TP\n{}\n{}\n", escaped(name), escaped(meaning)));
    };
    for argument in program.get_arguments().filter(|argument| argument.is_global_set()) {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        if let (Some((meaning, rest)), Some(long)) = (help.split_once(" [env: "), argument.get_long()) {
            let name = rest.split(']').next().unwrap_or_default();
            add(name, &format!("{meaning}. As --{long}."));
        }
    }
    add(
        "XDG_DATA_HOME, XDG_CONFIG_HOME, XDG_CACHE_HOME",
        "Where the folders below FILES are, if not in the home.",
    );
    add("NO_COLOR", "If it is set and not empty, messages have no colours.");
    text
}

const FILES: &str = "\
.SH FILES
.TP
~/.local/share/chatvault/repository
The default repository.
.TP
~/.config/chatvault/profiles.toml
Profiles.
.TP
~/.config/chatvault/recovery\\-keys/
Saved recovery keys, one for each repository.
.TP
~/.config/chatvault/known\\-repositories
Where repositories were, so that a missing one is not mistaken for none.
.TP
~/.cache/chatvault/
Caches. They can be deleted at any time.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Cli;
    use clap::CommandFactory;

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

    #[test]
    fn each_page_has_the_sections_that_readers_of_manuals_look_for() {
        let pages = pages().unwrap();
        let page = |name: &str| &pages.iter().find(|(file, _)| file == name).unwrap().1;
        let sections = |name: &str| -> Vec<String> {
            page(name).lines().filter_map(|line| line.strip_prefix(".SH ")).map(str::to_owned).collect()
        };
        let whole = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES"];
        for name in ["chatvault-find.1", "chatvault-snapshot.1", "chatvault-key-add.1"] {
            let found = sections(name);
            let found: Vec<&str> =
                found.iter().map(String::as_str).filter(|section| !section.contains('"')).collect();
            assert_eq!(
                found.iter().filter(|found| whole.contains(found)).count(),
                whole.len(),
                "{name}: {found:?}"
            );
            assert!(!found.contains(&"EXTRA"), "{name}: {found:?}");
            assert!(!page(name).contains("cache\\-dir"), "{name} repeats the global options");
            assert!(page(name).contains("\\-\\-help"), "{name} does not say where they are");
        }
        let found = sections("chatvault.1");
        for wanted in ["SUBCOMMANDS", "EXIT STATUS", "EXAMPLES", "ENVIRONMENT", "FILES"] {
            assert!(found.iter().any(|found| found == wanted), "{wanted} is not in {found:?}");
        }
        let first = page("chatvault.1");
        for variable in ["CHATVAULT_REPOSITORY", "CHATVAULT_KEY_FILE", "CHATVAULT_NO_PROGRESS", "NO_COLOR"] {
            assert!(first.contains(variable), "{variable}");
        }
        let synopsis =
            page("chatvault-find.1").split(".SH SYNOPSIS\n").nth(1).unwrap().lines().next().unwrap();
        assert_eq!(synopsis, "chatvault find [OPTIONS] [PATTERN]...");
    }
}
