//! `find`

use crate::args::filter::FilterArgs;
use crate::args::select::Place;
use crate::args::time;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::error::{Failure, Result, one_line};
use crate::output::progress::Progress;
use crate::output::wire::find::{WireFindSummary, WireVersion};
use crate::output::{Ui, human, warnings};
use chatvault_engine::base::{Error, Timestamp};
use chatvault_engine::browse::find::{FindOptions, FindStatistics, Found, State, Version, find};
use chatvault_engine::filter::{Pattern, Patterns};
use chatvault_engine::model::NodeKind;
use chatvault_engine::repo::Snapshot;
use clap::{Args, ValueEnum};
use jiff::Zoned;
use jiff::tz::TimeZone;
use std::ffi::OsString;

const EXAMPLES: &str = "\
A pattern fits the names of files and folders, or, if it holds a `/`, their paths: `*` and `?` stand for characters of a \
name, `[a-z]` for one of several, `{a,b}` for either, `**` for any number of folders; one that begins with `/` is a whole \
path. Quote it, so that the shell leaves it alone.

Each path is shown with its versions: `first` (in the first snapshot of its folder), `new`, `changed`, `touched` (only \
its time changed), `gone`, `back`, `unknown` (its folder is damaged there, or it is missing where some files could not be read); then size, time of the last change, the first \
digits of the content's id, and in which snapshots it was so. Equal content has an equal id, whatever its name. A path \
counts as gone only where a snapshot was taken of the folder that it was in, and nothing was unreadable then. Of the paths that fit, --type, --oldest, \
--newest and --content choose those that have one such version; all their versions are shown.

Examples:
  chatvault find IMG-2024.jpg
  chatvault find -i '*.jpg' --newest 2024-12-31
  chatvault find '/home/ann/WhatsApp/Databases/**' --type file --host phone
  chatvault find --content 5f0c21aa            everything that ever had this content
  chatvault find --snapshot latest --path-only '*.opus'

Exit codes: 0 done (whether anything was found or not), 1 failed, 2 wrong usage, 10 no repository, 12 wrong password or \
key, 22 damaged: not all was searched, 130 cancelled.";

/// Find files in all snapshots, and show when they appeared, changed and vanished
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct FindArgs {
    /// Names or paths, with wildcards; several: any of them
    #[arg(value_name = "PATTERN", required_unless_present = "content")]
    patterns: Vec<String>,

    /// Upper and lower case are the same
    #[arg(short, long)]
    ignore_case: bool,

    /// Only paths that were a thing of this type; can be given several times
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    kinds: Vec<Type>,

    /// Only paths with a version that was last changed at this time or later
    #[arg(short = 'O', long, value_name = "TIME")]
    oldest: Option<String>,

    /// Only paths with a version that was last changed at this time or earlier
    #[arg(short = 'N', long, value_name = "TIME")]
    newest: Option<String>,

    /// Only paths that once had the content whose id begins so
    #[arg(long, value_name = "ID", value_parser = digits)]
    content: Option<String>,

    /// Search only this snapshot; can be given several times
    #[arg(short, long = "snapshot", value_name = "SNAPSHOT")]
    snapshots: Vec<OsString>,

    /// Show only the paths, one a line
    #[arg(long)]
    path_only: bool,

    /// Show ids in full
    #[arg(short, long, conflicts_with = "path_only")]
    long: bool,

    #[command(flatten)]
    filter: FilterArgs,
}

/// What a path can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Type {
    /// A file
    #[value(alias = "f")]
    File,
    /// A folder
    #[value(alias = "d")]
    Dir,
    /// A symbolic link
    #[value(alias = "l")]
    Symlink,
    /// A pipe, a socket or a device
    Special,
}

fn digits(text: &str) -> std::result::Result<String, String> {
    if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("an id consists of the digits 0-9 and a-f".to_owned())
    }
}

pub(crate) fn run(args: &FindArgs, context: &Context) -> Result<Outcome> {
    let options = options(args, &context.now())?;
    let ui = context.ui.as_ref();
    let progress = Progress::new(ui);
    let chosen = snapshots(args, context, &progress);
    let (repo, chosen) = chosen?;
    let printer = Printer { ui, args, zone: context.zone() };
    let found = find(&repo, &chosen, &options, &progress, &mut |found| printer.show(found));
    let outcome = warnings::tell(ui, &progress);
    match found {
        // Nobody reads on: nothing more to do, and nothing failed.
        Err(_) if ui.is_unread() => Ok(outcome),
        Err(error) => Err(error.into()),
        Ok(statistics) => {
            printer.end(context, &statistics, &outcome);
            Ok(outcome)
        }
    }
}

fn options(args: &FindArgs, now: &Zoned) -> Result<FindOptions> {
    let pattern =
        |text: &String| if args.ignore_case { Pattern::ignoring_case(text) } else { Pattern::new(text) };
    let patterns: Vec<Pattern> = args.patterns.iter().map(pattern).collect();
    let patterns = Patterns::new(&patterns).map_err(|error| {
        Failure::from(error)
            .with_hint("quote it: chatvault find '*.jpg'; a backslash takes the meaning from *?[]{}")
    })?;
    let read = |text: &Option<String>, read: fn(&str, &Zoned) -> std::result::Result<Timestamp, String>| {
        text.as_deref()
            .map(|text| {
                read(text, now).map_err(|why| {
                    Failure::usage(format!("Failed to read the time `{}`", one_line(text)))
                        .because(why)
                        .with_hint("a day is enough: 2026-11-20")
                })
            })
            .transpose()
    };
    Ok(FindOptions {
        patterns,
        kinds: args.kinds.iter().flat_map(|kind| kinds(*kind)).copied().collect(),
        oldest: read(&args.oldest, time::parse_begin)?,
        newest: read(&args.newest, time::parse_end)?,
        content: args.content.clone(),
    })
}

fn kinds(kind: Type) -> &'static [NodeKind] {
    match kind {
        Type::File => &[NodeKind::File],
        Type::Dir => &[NodeKind::Dir],
        Type::Symlink => &[NodeKind::Symlink],
        Type::Special => &[NodeKind::Fifo, NodeKind::Socket, NodeKind::CharDevice, NodeKind::BlockDevice],
    }
}

/// The open repository and the snapshots that are searched.
fn snapshots(
    args: &FindArgs,
    context: &Context,
    progress: &Progress<'_>,
) -> Result<(chatvault_engine::repo::Repo, Vec<Snapshot>)> {
    let filter = args.filter.read()?;
    let now = context.now();
    let named =
        args.snapshots.iter().map(|text| Place::parse_snapshot(text, &now)).collect::<Result<Vec<_>>>()?;
    let repo = context.open(progress)?;
    let all = repo.snapshots(progress)?;
    if named.is_empty() {
        let chosen: Vec<Snapshot> = all.into_iter().filter(|snapshot| filter.admits(snapshot)).collect();
        return Ok((repo, chosen));
    }
    let mut chosen: Vec<Snapshot> = Vec::new();
    for selector in &named {
        let snapshot = context.select(&all, &filter, selector, progress)?;
        if chosen.iter().all(|other| other.id != snapshot.id) {
            chosen.push(snapshot.clone());
        }
    }
    Ok((repo, chosen))
}

struct Printer<'u> {
    ui: &'u Ui,
    args: &'u FindArgs,
    zone: TimeZone,
}

impl Printer<'_> {
    fn show(&self, found: &Found<'_>) -> chatvault_engine::base::Result<()> {
        if self.ui.style().json {
            for version in &found.versions {
                self.ui.json(&WireVersion::new(found, version));
            }
        } else if self.args.path_only {
            self.ui.line(&found.path);
        } else {
            self.ui.line(format_args!("{}  (on {})", found.path, one_line(found.host)));
            for version in &found.versions {
                self.ui.line(self.version(version));
            }
        }
        if self.ui.is_unread() { Err(Error::cancelled()) } else { Ok(()) }
    }

    fn version(&self, version: &Version<'_>) -> String {
        let size = match version.kind {
            NodeKind::File if version.state.is_there() => human::bytes(version.size),
            NodeKind::Dir if version.state.is_there() => "folder".to_owned(),
            _ => String::new(),
        };
        let there = version.state.is_there();
        let mtime = version.mtime.filter(|_| there).map(|time| human::local_time(time, &self.zone));
        let content = version
            .content
            .filter(|_| there)
            .map(|id| if self.args.long { id.to_string() } else { id.short() });
        let width = if self.args.long { 64 } else { 8 };
        let doubt = match version.state {
            State::Unread => " (could not be read then, or was gone)",
            State::Unknown => " (damaged)",
            _ => "",
        };
        format!(
            "  {:<8} {size:>10}  {:<19}  {:<width$}  {}{doubt}",
            version.state.name(),
            mtime.unwrap_or_default(),
            content.unwrap_or_default(),
            self.snapshots(version)
        )
    }

    fn snapshots(&self, version: &Version<'_>) -> String {
        let one = |snapshot: &Snapshot| {
            let id = if self.args.long { snapshot.id.to_string() } else { snapshot.id.short() };
            format!("{id} of {}", human::local_time(snapshot.manifest.time, &self.zone))
        };
        let preposition = if version.state.is_there() { "in" } else { "not in" };
        match version.snapshots {
            1 => format!("{preposition} {}", one(version.first)),
            several => format!(
                "{preposition} {} to {}, {}",
                one(version.first),
                one(version.last),
                human::count(several, "snapshot")
            ),
        }
    }

    fn end(&self, context: &Context, statistics: &FindStatistics, outcome: &Outcome) {
        if self.ui.style().json {
            self.ui.json(&WireFindSummary::new(statistics, outcome));
            return;
        }
        let snapshots = human::count(statistics.snapshots, "snapshot");
        if statistics.paths == 0 {
            self.ui.status(format_args!("Nothing was found in {snapshots}."));
            return;
        }
        self.ui.status(format_args!(
            "{} in {}. `{}` shows one, `{}` gives it back.",
            human::count(statistics.paths, "path"),
            snapshots,
            context.command("cat SNAPSHOT:PATH"),
            context.command("restore SNAPSHOT:PATH --target DIR")
        ));
    }
}
