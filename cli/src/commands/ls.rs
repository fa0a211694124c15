//! `ls`

use crate::args::filter::FilterArgs;
use crate::args::select::Place;
use crate::context::{Context, missing};
use crate::exit::Outcome;
use crate::output::error::{Result, one_line};
use crate::output::progress::Progress;
use crate::output::wire::node::WireNode;
use crate::output::{Ui, human, warnings};
use chatvault_engine::base::path::clean;
use chatvault_engine::base::{Error, Observer, StoredPath, Warning};
use chatvault_engine::browse;
use chatvault_engine::model::{DatabaseState, Node, NodeKind};
use chatvault_engine::repo::{Repo, Snapshot};
use clap::Args;
use jiff::tz::TimeZone;
use std::ffi::OsString;

const EXAMPLES: &str = "\
Without PATH, the folders that the snapshot was taken of are listed.

Examples:
  chatvault ls
  chatvault ls -l latest~1:/home/ann/WhatsApp/Databases
  chatvault ls -R --json @yesterday

Exit codes: 0 done, 1 failed (also if the path is not in the snapshot), 2 wrong usage, 10 no repository, 12 wrong \
password or key, 22 damaged.";

/// List what is in a snapshot
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct LsArgs {
    /// The snapshot, and perhaps a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]", default_value = "latest")]
    place: OsString,

    /// List everything below, not only the direct entries
    #[arg(short = 'R', long)]
    recursive: bool,

    /// Show permissions, owner, size and time of each entry
    #[arg(short, long)]
    long: bool,

    #[command(flatten)]
    filter: FilterArgs,
}

pub(crate) fn run(args: &LsArgs, context: &Context) -> Result<Outcome> {
    let place = Place::parse(&args.place, &context.now())?;
    let filter = args.filter.read()?;
    let ui = context.ui.as_ref();
    let progress = Progress::new(ui);
    let (repo, snapshot) = &context.open_at(&filter, &place, &progress)?;
    let opened = warnings::tell(ui, &progress);
    context.name_state(snapshot);
    let printer = Printer { ui, observer: &progress, long: args.long, zone: context.zone() };
    let listed = match &place.path {
        Some(path) => printer.entries(repo, snapshot, path, args.recursive),
        None => printer.sources(repo, snapshot, args.recursive),
    };
    let met = warnings::tell(ui, &progress);
    let outcome = opened.and(&met);
    match listed {
        // Nobody reads on: nothing more to do, and nothing failed.
        Err(_) if ui.is_unread() => Ok(outcome),
        listed => {
            listed.map(|()| outcome).map_err(|error| missing::not_held(error, snapshot, place.path.as_ref()))
        }
    }
}

/// What must be known of the content of an entry.
fn note(node: &Node) -> String {
    let database = node.database.as_ref();
    let notes = [
        (database.is_some_and(|found| found.state == DatabaseState::AsItLay), "a database, stored as it lay"),
        (
            database.is_some_and(|found| found.damaged_log.is_some()),
            "a database whose write-ahead log is damaged",
        ),
        (node.changed_while_read, "changed while it was read"),
    ];
    let notes: Vec<&str> = notes.into_iter().filter(|(holds, _)| *holds).map(|(_, note)| note).collect();
    if notes.is_empty() { String::new() } else { format!("  ({})", notes.join("; ")) }
}

struct Printer<'u> {
    ui: &'u Ui,
    observer: &'u dyn Observer,
    long: bool,
    zone: TimeZone,
}

impl Printer<'_> {
    /// The sources of the snapshot, and what is in them.
    fn sources(
        &self,
        repo: &Repo,
        snapshot: &Snapshot,
        recursive: bool,
    ) -> chatvault_engine::base::Result<()> {
        for path in &snapshot.manifest.paths {
            let node = match browse::lookup(repo, snapshot, path) {
                Ok(node) => node,
                // A source that was not there when the snapshot was taken.
                Err(error) if error.kind() == chatvault_engine::base::Kind::NotFound => continue,
                Err(error) if error.is_unreadable() => {
                    let what = "This source cannot be listed";
                    self.observer.warn(&Warning::of_unreadable(Some(path), what, &error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.show(path, &node)?;
            if node.kind == NodeKind::Dir {
                self.entries(repo, snapshot, path, recursive)?;
            }
        }
        Ok(())
    }

    fn entries(
        &self,
        repo: &Repo,
        snapshot: &Snapshot,
        path: &StoredPath,
        recursive: bool,
    ) -> chatvault_engine::base::Result<()> {
        let cancel = &repo.session().cancel;
        let mut show = |path: &StoredPath, node: &Node| self.show(path, node);
        browse::list(repo, snapshot, path, recursive, cancel, self.observer, &mut show)
    }

    fn show(&self, path: &StoredPath, node: &Node) -> chatvault_engine::base::Result<()> {
        if self.ui.style().json {
            self.ui.json(&WireNode::new(path, node));
        } else if self.long {
            self.ui.line(self.long_line(path, node));
        } else {
            self.ui.line(path);
        }
        if self.ui.is_unread() { Err(Error::cancelled()) } else { Ok(()) }
    }

    fn long_line(&self, path: &StoredPath, node: &Node) -> String {
        let letter = match node.kind {
            NodeKind::File => '-',
            NodeKind::Dir => 'd',
            NodeKind::Symlink => 'l',
            NodeKind::Fifo => 'p',
            NodeKind::Socket => 's',
            NodeKind::CharDevice => 'c',
            NodeKind::BlockDevice => 'b',
        };
        let name =
            |name: &Option<String>, number: u32| name.as_deref().map_or_else(|| number.to_string(), one_line);
        let time = node.mtime.map(|time| human::local_time(time, &self.zone)).unwrap_or_default();
        let target =
            node.target.as_deref().map(|target| format!(" -> {}", clean(target))).unwrap_or_default();
        format!(
            "{} {:<8} {:<8} {:>12} {time:<19} {path}{target}{}",
            human::mode(letter, node.mode),
            name(&node.user, node.uid),
            name(&node.group, node.gid),
            node.size,
            note(node)
        )
    }
}
