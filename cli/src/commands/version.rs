//! `version`

use crate::context::Context;
use crate::exit::Outcome;
use crate::output::error::Result;
use crate::output::wire::init::Version;
use chatvault_engine::crypto::envelope::{DRAFT, FORMAT, format_name};
use clap::Args;

/// Show the version of this program and the repository format that it reads and writes
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  chatvault version\n  chatvault version --json")]
pub(crate) struct VersionArgs {}

pub(crate) fn run(_: &VersionArgs, context: &Context) -> Result<Outcome> {
    let version = Version {
        message_type: "version",
        version: env!("CARGO_PKG_VERSION"),
        repository_format: format_name(FORMAT, DRAFT),
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
    };
    if context.ui.style().json {
        context.ui.json(&version);
    } else {
        context.ui.line(format_args!(
            "chatvault {} ({}, {}), repository format {}",
            version.version, version.os, version.arch, version.repository_format
        ));
    }
    Ok(Outcome::done())
}
