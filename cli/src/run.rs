//! One run of the program, from the command line to its outcome.

use crate::args::global::Invocation;
use crate::commands::Cli;
use crate::config::{self, Environment, Folders};
use crate::context::Context;
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result};
use crate::output::human::{shell_word, shown};
use crate::output::{Style, Ui};
use crate::process;
use crate::signals;
use chatvault_engine::base::Cancel;
use chatvault_engine::source;
use chatvault_engine::sqlite::verify;
use std::ffi::OsString;
use std::sync::Arc;

/// Parses, runs, and tells what went wrong.
pub(crate) fn run(arguments: Vec<OsString>, environment: &Environment) -> Outcome {
    let text = |name| environment.text(name).ok().flatten();
    let streams = Style::of_process(text("TERM"), text("NO_COLOR"));
    let wants_json = arguments.iter().any(|argument| argument == "--json");
    let called = arguments.first().cloned();
    let cli = match Cli::read(arguments) {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error, Style { json: wants_json, ..streams }),
    };
    let ui = Arc::new(Ui::of_process(config::style(&cli.global, environment, streams)));
    let program = process::program(called.as_deref(), environment.get("PATH"));
    let program = shell_word(&shown(&program));
    let invocation = Invocation { program, repeated: cli.global.repeated() };
    let ended = run_verb(&cli, &ui, environment, &invocation)
        .map_err(|failure| failure.for_this_run(&invocation.program, &invocation.repeated));
    let outcome = told(&ui, ended);
    match ui.finish() {
        Ok(()) => outcome,
        // The gravest condition counts; that the output is incomplete is one more.
        Err(failure) => {
            ui.fail(&failure);
            outcome.with(failure.condition(), true)
        }
    }
}

fn run_verb(cli: &Cli, ui: &Arc<Ui>, environment: &Environment, invocation: &Invocation) -> Result<Outcome> {
    verify::assert_version()?;
    source::raise_descriptor_limit();
    let folders = Folders::of(environment);
    let settings = config::settings(&cli.global, environment, &folders)?;
    let cancel = Cancel::new();
    signals::listen(&cancel, ui);
    cli.run(&Context::new(Arc::clone(ui), settings, folders, environment, cancel, invocation.clone()))
}

fn told(ui: &Ui, ended: Result<Outcome>) -> Outcome {
    ended.unwrap_or_else(|failure| {
        ui.fail(&failure);
        failure.condition().into()
    })
}

/// Help and version are answers; everything else is wrong usage.
fn not_parsed(error: &clap::Error, style: Style) -> Outcome {
    let is_answer = !error.use_stderr();
    let ui = Ui::of_process(style);
    let rendered = error.render();
    if is_answer {
        ui.line(rendered.to_string().trim_end());
        return told(&ui, ui.finish().map(|()| Outcome::done()));
    }
    if style.json {
        let text = rendered.to_string();
        // What is missing stands in lines of its own below the first.
        let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let message = lines.join(" ");
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        ui.fail(&Failure::usage(message).with_hint("`chatvault --help` shows the verbs and options"));
    } else if style.colours {
        ui.remark(rendered.ansi().to_string().trim_end());
    } else {
        ui.remark(rendered.to_string().trim_end());
    }
    Condition::Usage.into()
}
