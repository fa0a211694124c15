//! `diff`

use crate::args::filter::FilterArgs;
use crate::args::select::Place;
use crate::context::Context;
use crate::exit::{Condition, Outcome};
use crate::output::error::Result;
use crate::output::progress::Progress;
use crate::output::wire::diff::{WireChange, WireDiffStatistics};
use crate::output::{Ui, human, warnings};
use crate::process;
use chatvault_engine::base::{Error, StoredPath, WarningKind};
use chatvault_engine::diff::{self, DiffStatistics, LiveOptions};
use chatvault_engine::model::{Change, NodeKind};
use clap::Args;
use std::ffi::OsString;

const EXAMPLES: &str = "\
Each line has a letter and a path: + added, - removed, M content changed, U only permissions, owner or time changed, \
T another kind of thing.

Examples:
  chatvault diff latest                what changed since the last snapshot
  chatvault diff latest~1 latest       what the last snapshot brought
  chatvault diff @monday latest --json

Files whose size and time are the stored ones count as unchanged.

Exit codes: 0 done (whether anything differs or not), 1 failed, 2 wrong usage, 3 done, but some of the folders could not \
be read, 10 no repository, 12 wrong password or key, 22 damaged, 130 cancelled.";

/// Show what differs between two snapshots, or between a snapshot and its folders as they are now
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DiffArgs {
    /// The first snapshot
    #[arg(value_name = "SNAPSHOT")]
    first: OsString,

    /// The second snapshot, or `live` for the folders as they are now
    #[arg(value_name = "SNAPSHOT|live", default_value = "live")]
    second: OsString,

    #[command(flatten)]
    filter: FilterArgs,
}

pub(crate) fn run(args: &DiffArgs, context: &Context) -> Result<Outcome> {
    let now = context.now();
    let first = Place::parse_snapshot(&args.first, &now)?;
    let second = if args.second == "live" { None } else { Some(Place::parse_snapshot(&args.second, &now)?) };
    let filter = args.filter.read()?;
    let ui = context.ui.as_ref();
    let progress = Progress::new(ui);
    let repo = context.open(&progress)?;
    let snapshots = repo.snapshots(&progress)?;
    let first = context.select(&snapshots, &filter, &first, &progress)?;
    let mut shown = 0_u64;
    let mut doubts = 0;
    let mut show = |change: &Change| {
        shown += 1;
        show(ui, change)
    };
    let (target, counts) = match second {
        Some(second) => {
            let second = context.select(&snapshots, &filter, &second, &progress)?;
            doubts = second.manifest.statistics.unreadable;
            let counts = diff::snapshots(&repo, first, second, &StoredPath::root(), &progress, &mut show);
            (second.id.to_string(), counts)
        }
        None => {
            let own_folders = context.own_folders(&repo);
            let owners = process::owners();
            let options = LiveOptions { own_folders: &own_folders, owners: &owners, check_content: false };
            ("live".to_owned(), diff::live(&repo, first, &options, &progress, &mut show))
        }
    };
    let told = progress.finish();
    let unreadable = told.iter().any(|warning| warning.kind == WarningKind::Unreadable);
    if doubts > 0 && counts.is_ok() {
        ui.warn(&format!(
            "The later snapshot lacks {} that could not be read then: what seems to be removed may have been there",
            human::count(doubts, "entry")
        ));
    }
    match counts {
        Err(_) if ui.is_unread() => Ok(Outcome::done()),
        Err(error) => {
            warnings::show(ui, &told, progress.warnings_dropped());
            Err(error.into())
        }
        Ok(_) if shown == 0 && !ui.style().json => {
            ui.report("No differences.");
            warnings::show(ui, &told, progress.warnings_dropped());
            Ok(warnings::outcome(&told).with(Condition::Incomplete, unreadable))
        }
        Ok(counts) => {
            statistics(ui, first.id.to_string(), target, &counts);
            warnings::show(ui, &told, progress.warnings_dropped());
            Ok(warnings::outcome(&told).with(Condition::Incomplete, unreadable))
        }
    }
}

fn show(ui: &Ui, change: &Change) -> chatvault_engine::base::Result<()> {
    if ui.style().json {
        ui.json(&WireChange::from(change));
    } else {
        let is_dir = [&change.after, &change.before]
            .into_iter()
            .flatten()
            .next()
            .is_some_and(|node| node.kind == NodeKind::Dir);
        ui.line(format_args!(
            "{}    {}{}",
            change.modifier.letter(),
            change.path,
            if is_dir { "/" } else { "" }
        ));
    }
    if ui.is_unread() { Err(Error::cancelled()) } else { Ok(()) }
}

fn statistics(ui: &Ui, source: String, target: String, counts: &DiffStatistics) {
    if ui.style().json {
        ui.json(&WireDiffStatistics::new(source, target, counts));
        return;
    }
    ui.report("");
    for (name, added, removed, changed) in [
        ("Files:", counts.files_added, counts.files_removed, Some(counts.changed_files)),
        ("Folders:", counts.dirs_added, counts.dirs_removed, None),
        ("Others:", counts.others_added, counts.others_removed, None),
    ] {
        let (added, removed) = (human::thousands(added), human::thousands(removed));
        let changed =
            changed.map(|number| format!(", {} changed", human::thousands(number))).unwrap_or_default();
        ui.report(format_args!("{name:<8} {added} added, {removed} removed{changed}"));
    }
    ui.report(format_args!(
        "Bytes:   {} added, {} removed",
        human::bytes(counts.bytes_added),
        human::bytes(counts.bytes_removed)
    ));
}
