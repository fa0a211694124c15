//! `restore`

mod in_place;

use crate::args::filter::FilterArgs;
use crate::args::patterns;
use crate::args::secret::SecretSource;
use crate::args::select::Place;
use crate::context::{Context, missing};
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result};
use crate::output::human::{shell_word, shown};
use crate::output::progress::Progress;
use crate::output::restored::{Restored, planned};
use crate::output::{human, warnings};
use crate::process;
use chatvault_engine::base::{Error, Kind, StoredPath, Warning};
use chatvault_engine::repo::{Repo, Snapshot};
use chatvault_engine::restore::{self, Overwrite, Ownership, RestoreOptions};
use clap::{Args, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Without PATH, everything comes back under its stored path: /home/ann/photos to DIR/home/ann/photos. With PATH, what is in \
that folder, or that one file, comes straight into DIR. Without --overwrite no existing file is touched: if one has \
another content, nothing is restored. An overwritten file is there until the stored one is whole. It passes on its owner, \
group, access list and set-id bits, unless --owner is given. Files that are as stored already are not touched.

--in-place restores every source to where it was, on the computer that the snapshot is of. Before that it stores the \
existing files as a snapshot with the tag before-restore, which `latest` never means. Without --overwrite it is \
--overwrite if-changed.

A PATTERN is written as for a shell and fits stored paths: `*.jpg` and `Media/*` anywhere, `/home/**/Media` from the top. \
What lies below a folder that fits is meant too; --exclude is stronger than --include. After a `!` a pattern takes out \
again what an earlier one meant; those of files come first.

--delete removes only inside the folders that the snapshot was taken of. Without PATH, or with a PATH above these folders, \
what lies in DIR beside them, or beside a folder on the way to them, stays. It removes nothing that is in no snapshot: \
then the whole restore is refused and names each such file. Take a snapshot first, or say --discard.

A restore that was interrupted goes on with --overwrite if-changed: what is there already is not written again. With \
--verify too it reads every file again, also those that it found there.

Examples:
  chatvault restore latest --target out
  chatvault restore @2026-11-20:/home/ann/WhatsApp --target WhatsApp-of-friday
  chatvault restore latest --include '*.jpg' --target pictures
  chatvault restore latest:/home/ann/WhatsApp --target ~/WhatsApp --overwrite always --delete --dry-run
  chatvault restore @yesterday --in-place

Exit codes: 0 done, 1 failed (also if existing files differ, an app is using the target, the target refused some \
files, or --verify found a difference), 2 wrong usage (also if something would come into the repository or into its own \
source), 10 no repository, 12 wrong password or key, 20 something would be lost that is in no snapshot, 21 restored as \
stored, but SQLite finds a database damaged (--verify), 22 some files are lost to damage, the others are restored, 130 \
cancelled.";

/// Most places that the last line names.
const MOST_PLACES: usize = 3;

/// Give back the state of a snapshot
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct RestoreArgs {
    /// The snapshot, and perhaps a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    place: OsString,

    /// The folder that gets the files; it is created if it is missing
    #[arg(long, value_name = "DIR", required_unless_present = "in_place")]
    target: Option<PathBuf>,

    /// Restore every source to where it was, and take a snapshot of what is there before
    #[arg(long, conflicts_with = "target")]
    in_place: bool,

    /// Restore only what this fits; can be given several times
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,

    /// As --include, with upper and lower case the same
    #[arg(long, value_name = "PATTERN")]
    iinclude: Vec<String>,

    /// As --include, with the patterns in a file, one on each line
    #[arg(long, value_name = "FILE")]
    include_file: Vec<PathBuf>,

    /// Do not restore what this fits; can be given several times
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,

    /// As --exclude, with upper and lower case the same
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<String>,

    /// As --exclude, with the patterns in a file, one on each line
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,

    /// What to do with existing files; by default nothing is restored if any differ
    #[arg(long, value_name = "WHEN", value_enum)]
    overwrite: Option<OverwriteArg>,

    /// Delete files in restored folders that are not in the snapshot; needs --overwrite, and spares what --exclude matches
    #[arg(long)]
    delete: bool,

    /// Delete and overwrite even files that are in no snapshot
    #[arg(long)]
    discard: bool,

    /// Show what would be done, and do nothing
    #[arg(long, conflicts_with = "verify")]
    dry_run: bool,

    /// Afterwards, read every file again from the disk and compare it with what was stored
    #[arg(long)]
    verify: bool,

    /// Make holes of all blocks of zeroes; without this what was a hole is one
    #[arg(long)]
    sparse: bool,

    /// Give files their stored owners and groups, by name where the name exists here; set-user-id bits too
    #[arg(long)]
    owner: bool,

    /// With --owner, take the stored numbers and not the names
    #[arg(long, requires = "owner")]
    numeric_owner: bool,

    /// Restore pipes and sockets too, and devices as root
    #[arg(long)]
    special: bool,

    /// Write although an app seems to be using the target
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    filter: FilterArgs,
}

/// When something that stands in the way is overwritten.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum OverwriteArg {
    /// Files are compared by content, and replaced where it differs
    Always,
    /// As always, but a file of the stored size and time counts as unchanged
    IfChanged,
    /// Only what is older than what was stored is replaced
    IfNewer,
    /// What is there stays; only what is missing is restored
    Never,
}

impl From<OverwriteArg> for Overwrite {
    fn from(when: OverwriteArg) -> Self {
        match when {
            OverwriteArg::Always => Self::Always,
            OverwriteArg::IfChanged => Self::IfChanged,
            OverwriteArg::IfNewer => Self::IfNewer,
            OverwriteArg::Never => Self::Never,
        }
    }
}

impl RestoreArgs {
    fn options(&self, place: &Place, context: &Context, repo: &Repo) -> Result<RestoreOptions> {
        let secret = context.settings.secret.as_ref().and_then(SecretSource::file);
        let ownership = match (self.owner, self.numeric_owner) {
            (false, _) => Ownership::Own,
            (true, false) => Ownership::Names(process::owners()),
            (true, true) => Ownership::Numbers,
        };
        Ok(RestoreOptions {
            target: self.folder().to_owned(),
            path: place.path.clone(),
            repository: repo.local_path().map(Path::to_owned),
            include: patterns::read(&self.include_file, &self.include, &self.iinclude)?,
            exclude: patterns::read(&self.exclude_file, &self.exclude, &self.iexclude)?,
            overwrite: match self.overwrite {
                Some(when) => when.into(),
                None if self.in_place => Overwrite::IfChanged,
                None => Overwrite::default(),
            },
            delete: self.delete,
            protected: context.own_folders(repo).into_iter().chain(secret.map(Path::to_owned)).collect(),
            verify: self.verify,
            sparse: self.sparse,
            ownership,
            special: self.special,
            discard: self.discard,
            in_place: self.in_place,
            compare: self.dry_run,
            force: self.force,
        })
    }

    /// The folder that gets the files.
    fn folder(&self) -> &Path {
        self.target.as_deref().unwrap_or(Path::new("/"))
    }
}

pub(crate) fn run(args: &RestoreArgs, context: &Context) -> Result<Outcome> {
    let place = Place::parse(&args.place, &context.now())?;
    let filter = args.filter.read()?;
    let ui = context.ui.as_ref();
    let progress = Progress::new(ui);
    let (repo, snapshot) = &context.open_at(&filter, &place, &progress)?;
    let options = args.options(&place, context, repo)?;
    let before = match args.in_place {
        true => in_place::prepare(args, context, (repo, snapshot), place.path.is_some(), &progress)?,
        false => None,
    };
    let mut tell = |entry: &restore::Planned<'_>| {
        if args.dry_run {
            planned(ui, entry);
        }
    };
    let plan = restore::plan_each(repo, snapshot, &options, &progress, &mut tell);
    let has_begun = plan.is_ok() && !args.dry_run;
    let restored = plan.and_then(|plan| {
        let restored = Restored::planned(&plan, args.verify, args.dry_run);
        if args.dry_run {
            return Ok(restored);
        }
        restore::apply(repo, plan, &progress).map(|summary| restored.done(summary))
    });
    let told: Vec<Warning> =
        progress.finish().into_iter().chain(warnings::of_losses(repo, &context.zone())).collect();
    let restored = match restored {
        Ok(restored) => restored,
        Err(error) => {
            warnings::show(ui, &told, progress.warnings_dropped());
            return Err(match error.kind() {
                Kind::NotFound => missing::not_held(error, snapshot, place.path.as_ref()),
                _ => explained(error, args, (snapshot, place.path.as_ref()), context, has_begun),
            });
        }
    };
    let outcome = restored.outcome(&told);
    if ui.style().json {
        let path = place.path.as_ref();
        let wire = restored.wire(snapshot, path, args.folder(), &told, &outcome, progress.elapsed());
        ui.json(&wire.after(before));
        return Ok(outcome);
    }
    restored.words(snapshot, args.folder(), progress.elapsed()).iter().for_each(|line| ui.report(line));
    warnings::show(ui, &told, progress.warnings_dropped());
    if !args.dry_run {
        ui.report(where_the_files_are(&places(snapshot, place.path.as_ref(), args.folder())));
    }
    Ok(outcome)
}

/// Where the sources, or the path that was named, come in the target.
fn places(snapshot: &Snapshot, path: Option<&StoredPath>, target: &Path) -> Vec<PathBuf> {
    let in_target = |source: &StoredPath| {
        let below = OsStr::from_bytes(source.as_bytes().strip_prefix(b"/").unwrap_or_default());
        target.join(below)
    };
    match path {
        Some(_) => vec![target.to_owned()],
        None => snapshot.manifest.paths.iter().map(in_target).collect(),
    }
}

/// The last line: where to look.
fn where_the_files_are(places: &[PathBuf]) -> String {
    let named: Vec<String> = places.iter().take(MOST_PLACES).map(|place| shown(place)).collect();
    let more = match places.len().saturating_sub(MOST_PLACES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("Your files are in {}{more}", named.join(", "))
}

/// What to do after a refusal that concerns existing files.
fn explained(
    error: Error,
    args: &RestoreArgs,
    (snapshot, path): (&Snapshot, Option<&StoredPath>),
    context: &Context,
    has_begun: bool,
) -> Failure {
    let target = args.folder();
    match error.kind() {
        Kind::Cancelled if has_begun => Failure::new(
            Condition::Cancelled,
            format!(
                "Cancelled: the files restored so far are complete and stay in {}; the rest is missing",
                shown(target)
            ),
        )
        .with_hint("to go on, run the same command with `--overwrite if-changed`: what is there is not written again"),
        Kind::Cancelled => Failure::new(Condition::Cancelled, "Cancelled: nothing was restored")
            .with_hint("run the same command again"),
        Kind::AlreadyThere if target.is_file() => Failure::from(error).with_hint(
            "nothing was restored; name a folder: --target DIR; a single file comes into it under its own name",
        ),
        Kind::AlreadyThere => Failure::from(error).with_hint(
            "nothing was restored; name a new or empty folder: --target DIR, or say what may be overwritten: \
             --overwrite if-changed, if-newer, never or always (--dry-run shows what that would do)",
        ),
        Kind::InUse => Failure::from(error).with_hint(
            "nothing was restored; close the app and run this again, name another folder: --target DIR, or say \
             --force if no app is using it",
        ),
        Kind::OnlyHere => Failure::from(error).with_hint(only_here_hint(&places(snapshot, path, target), context)),
        Kind::Usage if error.act() == "delete from" => Failure::from(error).with_hint(
            "nothing was deleted; check --target, and say with --overwrite if-changed, if-newer or always that the \
             folder may be changed (with --dry-run it shows what)",
        ),
        Kind::Usage if error.act() == restore::INTO_ITSELF => {
            let (id, source) = (snapshot.id.short(), error.subject().to_owned());
            let back = context.command(&format!(
                "restore {} --target {} --overwrite if-changed",
                shell_word(&format!("{id}:{source}")),
                shell_word(&source)
            ));
            Failure::from(error).with_hint(format!(
                "nothing was restored; to put that folder back: `{back}`; all of the snapshot: `{}`",
                context.command(&format!("restore {id} --in-place"))
            ))
        }
        Kind::Usage => Failure::from(error)
            .with_hint("name another folder: --target DIR, or leave out what must not be there: --exclude PATTERN"),
        Kind::NoSpace => no_space(error, has_begun),
        _ => error.into(),
    }
}

fn only_here_hint(places: &[PathBuf], context: &Context) -> String {
    let places: Vec<String> = places.iter().map(|place| shell_word(&place.display().to_string())).collect();
    format!(
        "nothing was restored; store them first: `{}`, spare them with --exclude, or say --discard to lose them",
        context.command(&format!("snapshot {}", places.join(" ")))
    )
}

fn no_space(error: Error, has_begun: bool) -> Failure {
    let failure = Failure::from(error).with_hint(if has_begun {
        "make room there and run this again with `--overwrite if-changed`: what is there is not written again"
    } else {
        "make room there, or name a folder on another disk"
    });
    let why = failure.why().map(human::sizes);
    match why {
        Some(why) => failure.because(why),
        None => failure,
    }
}
