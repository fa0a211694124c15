//! `diff`

use crate::args::filter::FilterArgs;
use crate::args::select::Place;
use crate::context::Context;
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result, one_line};
use crate::output::human::shell_word;
use crate::output::progress::Progress;
use crate::output::wire::diff::{WireChange, WireDiffStatistics};
use crate::output::{Ui, human, warnings};
use crate::process;
use chatvault_engine::base::{Error, StoredPath, WarningKind};
use chatvault_engine::browse::{Selector, SnapshotFilter};
use chatvault_engine::diff::{self, DiffStatistics, LiveOptions};
use chatvault_engine::model::{Change, NodeKind};
use chatvault_engine::repo::{Repo, Snapshot};
use clap::Args;
use std::ffi::OsString;

const EXAMPLES: &str = "\
Each line has a letter and a path: + added, - removed, M content changed, U only permissions, owner or time changed, \
T another kind of thing.

Examples:
  chatvault diff latest                what changed since the last snapshot
  chatvault diff latest~1 latest       what the last snapshot brought
  chatvault diff @monday latest --json

The first lines say which two states are compared. `latest~1` is the snapshot before `latest` of the same machine and \
the same paths. Without --host, `latest` and `@TIME` mean snapshots of this machine if the other side is `live`. Files \
with the stored size and time count as unchanged.

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

/// The two states that are compared.
struct Sides<'s> {
    first: &'s Snapshot,
    /// None for the folders as they are now.
    second: Option<&'s Snapshot>,
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
    let sides = match second {
        Some(second) => Sides {
            first: context.select(&snapshots, &filter, &first, &progress)?,
            second: Some(context.select(&snapshots, &filter, &second, &progress)?),
        },
        None => {
            Sides { first: of_this_machine(context, &snapshots, filter, &first, &progress)?, second: None }
        }
    };
    sides.introduce(context);
    let compared = sides.compare(context, &repo, &progress);
    let told = progress.finish();
    let unreadable = told.iter().any(|warning| warning.kind == WarningKind::Unreadable);
    match compared {
        Err(_) if ui.is_unread() => Ok(Outcome::done()),
        Err(error) => {
            warnings::show(ui, &told, progress.warnings_dropped());
            Err(error.into())
        }
        Ok((counts, shown)) => {
            if shown == 0 && !ui.style().json {
                ui.report("No differences.");
            } else {
                sides.statistics(context, &counts);
            }
            sides.warn(ui);
            warnings::show(ui, &told, progress.warnings_dropped());
            Ok(warnings::outcome(&told).with(Condition::Incomplete, unreadable))
        }
    }
}

/// The snapshot to compare with the folders of this machine: without `--host`, `latest` and a time mean its own snapshots.
///
/// # Errors
/// Fails for a snapshot of another machine: this one's files have nothing to do with it.
fn of_this_machine<'s>(
    context: &Context,
    snapshots: &'s [Snapshot],
    mut filter: SnapshotFilter,
    selector: &Selector,
    progress: &Progress<'_>,
) -> Result<&'s Snapshot> {
    let own = context.own_hosts();
    let has_own = snapshots.iter().any(|snapshot| own.contains(&snapshot.manifest.host));
    if filter.hosts.is_empty() && has_own && !matches!(selector, Selector::Prefix(_)) {
        filter.hosts.clone_from(&own);
    }
    let snapshot = context.select(snapshots, &filter, selector, progress)?;
    let host = &snapshot.manifest.host;
    if own.contains(host) {
        return Ok(snapshot);
    }
    let (id, host) = (snapshot.id.short(), one_line(host));
    Err(Failure::usage(format!("Failed to compare snapshot {id} with the folders of this machine"))
        .because(format!("it is of {host}, and this machine is {}", one_line(&own.join(" or "))))
        .with_hint(format!(
            "name two snapshots, as in `{} --host {}`; if its folders are on this machine, say so in a profile: \
             host = \"{host}\"",
            context.command("diff latest~1 latest"),
            shell_word(&host)
        )))
}

impl Sides<'_> {
    fn introduce(&self, context: &Context) {
        let ui = &context.ui;
        ui.report(format_args!("From:    {}", context.state(self.first)));
        ui.report(match self.second {
            Some(second) => format!("To:      {}", context.state(second)),
            None => "To:      the folders as they are now".to_owned(),
        });
        ui.report("");
    }

    /// Shows each difference. Gives back what they are in numbers, and how many were shown.
    fn compare(
        &self,
        context: &Context,
        repo: &Repo,
        progress: &Progress<'_>,
    ) -> chatvault_engine::base::Result<(DiffStatistics, u64)> {
        let mut shown = 0;
        let mut show = |change: &Change| {
            shown += 1;
            show(&context.ui, change)
        };
        let counts = match self.second {
            Some(second) => {
                diff::snapshots(repo, self.first, second, &StoredPath::root(), progress, &mut show)
            }
            None => {
                let own_folders = context.own_folders(repo);
                let owners = process::owners();
                let options =
                    LiveOptions { own_folders: &own_folders, owners: &owners, check_content: false };
                diff::live(repo, self.first, &options, progress, &mut show)
            }
        };
        counts.map(|counts| (counts, shown))
    }

    /// Warns of what makes the answer mean less than it seems to.
    fn warn(&self, ui: &Ui) {
        let Some(second) = self.second else { return };
        let (before, after) = (&self.first.manifest, &second.manifest);
        if before.host != after.host {
            ui.warn(&format!(
                "These snapshots are of different machines: {} and {}",
                one_line(&before.host),
                one_line(&after.host)
            ));
        }
        if !before.is_of_same_paths(after) {
            ui.warn(&format!(
                "These snapshots are of different sources: {} and {}",
                human::paths(&before.paths),
                human::paths(&after.paths)
            ));
        }
        if after.statistics.unreadable > 0 {
            ui.warn(&format!(
                "{} could not be read for the later snapshot: what seems to be removed may have been there",
                human::count(after.statistics.unreadable, "entry")
            ));
        }
    }

    fn statistics(&self, context: &Context, counts: &DiffStatistics) {
        if context.ui.style().json {
            context.ui.json(&WireDiffStatistics::new(self.first, self.second, counts));
        } else {
            statistics(&context.ui, counts);
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

fn statistics(ui: &Ui, counts: &DiffStatistics) {
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
