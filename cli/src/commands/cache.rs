//! `cache`

use crate::context::{Context, repository_ids};
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result, one_line};
use crate::output::human;
use crate::output::table::{self, Column};
use crate::output::wire::cache::{WireCache, WireCacheSummary};
use chatvault_engine::base::RepoId;
use chatvault_engine::catalog::{CacheFolder, Clearing, caches, clear_cache};
use clap::{Args, Subcommand};
use std::path::Path;

const EXAMPLES: &str = "\
A cache holds nothing that is not in its repository; without it the next command reads more. It holds names and sizes \
of files in plain text, for its owner only. A cache that a living program uses is never cleared.

Examples:
  chatvault cache                 where the caches are, of which repositories, how large
  chatvault cache clear           clear the cache of this repository; no key is needed
  chatvault cache clear --all     clear all, also of repositories that are gone

Exit codes: 0 done, 1 failed, 2 wrong usage, 10 no repository, 11 the cache is in use.";

const LIST: &str = "\
Examples:
  chatvault cache list
  chatvault cache list --json

Exit codes: 0 done, 1 failed, 2 wrong usage.";

const CLEAR: &str = "\
Nothing is lost by it: the next command makes a new cache, and reads more for that.

Examples:
  chatvault cache clear           clear the cache of this repository; no key is needed
  chatvault cache clear --all     clear all, also of repositories that are gone

Exit codes: 0 done, 1 failed, 2 wrong usage, 10 no repository, 11 the cache is in use.";

/// Show the caches on this machine, or clear them
///
/// Without a command they are shown.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    command: Option<CacheCommand>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
enum CacheCommand {
    /// Show where the caches are, of which repositories, and how large
    #[command(after_long_help = LIST)]
    List,
    /// Delete what no living program uses
    #[command(after_long_help = CLEAR)]
    Clear {
        /// The caches of all repositories
        #[arg(long)]
        all: bool,
    },
}

const COLUMNS: [Column; 4] =
    [Column::words("ID"), Column::numbers("SIZE"), Column::words("LAST USE"), Column::words("REPOSITORY")];

pub(crate) fn run(args: &CacheArgs, context: &Context) -> Result<Outcome> {
    let Some(folder) = &context.settings.cache_dir else {
        return Err(Failure::usage("There is no folder of caches")
            .because("no cache is to be kept, or HOME is not set")
            .with_hint("leave --no-cache and CHATVAULT_NO_CACHE out, or name one with --cache-dir PATH"));
    };
    match args.command.unwrap_or(CacheCommand::List) {
        CacheCommand::List => list(folder, context),
        CacheCommand::Clear { all: true } => clear_all(folder, context),
        CacheCommand::Clear { all: false } => clear_one(folder, context),
    }
}

fn list(folder: &Path, context: &Context) -> Result<Outcome> {
    let ui = &context.ui;
    let found = caches(folder)?;
    let outcome = Outcome::done();
    if ui.style().json {
        for cache in &found {
            ui.json(&WireCache::new(cache, false));
        }
        ui.json(&WireCacheSummary::new(folder.to_string_lossy().into_owned(), &found, 0, &outcome));
        return Ok(outcome);
    }
    ui.line(format_args!("{}: {}", human::shown(folder), sum(&found)));
    if !found.is_empty() {
        for line in table::lines(&COLUMNS, found.iter().map(|cache| row(cache, context)).collect()) {
            ui.line(line);
        }
    }
    Ok(outcome)
}

fn sum(found: &[CacheFolder]) -> String {
    let bytes = found.iter().map(|cache| cache.bytes).fold(0, u64::saturating_add);
    let number = human::count(u64::try_from(found.len()).unwrap_or(u64::MAX), "cache");
    format!("{number}, {}", human::bytes(bytes))
}

fn row(cache: &CacheFolder, context: &Context) -> Vec<String> {
    let location = cache.location.as_deref().map_or_else(|| "(not known)".to_owned(), one_line);
    let in_use = if cache.in_use { "  (in use)" } else { "" };
    vec![
        cache.repository.short(),
        human::bytes(cache.bytes),
        cache.last_use.map(|time| human::local_time(time, &context.zone())).unwrap_or_default(),
        format!("{location}{in_use}"),
    ]
}

/// This repository's cache. It needs no key: a cache is found by the id that the repository says in the clear.
fn clear_one(folder: &Path, context: &Context) -> Result<Outcome> {
    let store = context.open_store().map_err(|failure| match failure.condition() {
        Condition::NoRepository => failure
            .with_hint("`{program} cache clear --all` clears all caches, also of repositories that are gone"),
        _ => failure,
    })?;
    let ids = repository_ids(&store)?;
    let found: Vec<CacheFolder> =
        caches(folder)?.into_iter().filter(|cache| ids.contains(&cache.repository)).collect();
    let mut freed = Vec::new();
    for id in &ids {
        match clear_cache(folder, id)? {
            Clearing::Cleared(bytes) => freed.push((*id, bytes)),
            Clearing::Missing => {}
            Clearing::InUse => {
                return Err(Failure::new(
                    Condition::Locked,
                    format!("Failed to clear the cache of repository {}", id.short()),
                )
                .because("another running program uses it")
                .with_hint("wait until that program has ended, then run this again"));
            }
        }
    }
    Ok(tell(folder, &found, &freed, context))
}

fn clear_all(folder: &Path, context: &Context) -> Result<Outcome> {
    let found = caches(folder)?;
    let mut freed = Vec::new();
    for cache in &found {
        context.not_cancelled()?;
        match clear_cache(folder, &cache.repository)? {
            Clearing::Cleared(bytes) => freed.push((cache.repository, bytes)),
            Clearing::Missing => {}
            Clearing::InUse => context.ui.warn(&format!(
                "The cache of repository {} stays: another running program uses it",
                cache.repository.short()
            )),
        }
    }
    Ok(tell(folder, &found, &freed, context))
}

fn tell(folder: &Path, found: &[CacheFolder], freed: &[(RepoId, u64)], context: &Context) -> Outcome {
    let ui = &context.ui;
    let outcome = Outcome::done();
    let bytes = freed.iter().map(|(_, bytes)| bytes).sum();
    if ui.style().json {
        for cache in found {
            ui.json(&WireCache::new(cache, freed.iter().any(|(id, _)| *id == cache.repository)));
        }
        ui.json(&WireCacheSummary::new(folder.to_string_lossy().into_owned(), found, bytes, &outcome));
        return outcome;
    }
    let number = u64::try_from(freed.len()).unwrap_or(u64::MAX);
    ui.report(match number {
        0 => format!("There was nothing to clear in {}", human::shown(folder)),
        _ => format!(
            "{} cleared, {} freed in {}",
            human::count(number, "cache"),
            human::bytes(bytes),
            human::shown(folder)
        ),
    });
    outcome
}
