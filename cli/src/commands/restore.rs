//! `restore`

use crate::args::filter::FilterArgs;
use crate::args::patterns;
use crate::args::secret::SecretSource;
use crate::args::select::Place;
use crate::context::{Context, missing};
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use crate::output::progress::Progress;
use crate::output::restored::{Restored, planned};
use crate::output::{human, warnings};
use crate::process;
use chatvault_engine::base::{Error, Kind, Warning};
use chatvault_engine::repo::Repo;
use chatvault_engine::restore::{self, Overwrite, Ownership, RestoreOptions};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Without PATH, everything comes back under its stored path: /home/ann/photos to DIR/home/ann/photos. With PATH, what is in \
that folder, or that one file, comes straight into DIR. Without --overwrite nothing that is there is touched: if \
something stands in the way, nothing is restored. What is overwritten is there until the stored file is whole.

A PATTERN is written as for a shell and fits stored paths: `*.jpg` and `Media/*` anywhere, `/home/**/Media` from the top. \
What lies below a folder that fits is meant too; --exclude is stronger than --include. After a `!` a pattern takes out \
again what an earlier one meant; those of files come first.

--delete removes only inside the folders that the snapshot was taken of. Without PATH, or with a PATH above these folders, \
what lies in DIR beside them, or beside a folder on the way to them, stays.

A restore that was interrupted goes on with --overwrite if-changed: what is there already is not written again. With \
--verify too it reads every file again, also those that it found there.

Examples:
  chatvault restore latest --target out
  chatvault restore @2026-11-20:/home/ann/WhatsApp --target WhatsApp-of-friday
  chatvault restore latest --include '*.jpg' --target pictures
  chatvault restore latest:/home/ann/WhatsApp --target ~/WhatsApp --overwrite always --delete --dry-run

Exit codes: 0 done, 1 failed (also if something stands in the way, an app is using the target, the target refused some \
files, or --verify found a difference), 2 wrong usage (also if something would come into the repository, or \
--delete would remove what the snapshot left out), 10 no repository, 12 wrong password or key, 21 restored as stored, but SQLite finds a \
database damaged (--verify), 22 some files are lost to damage, the others are restored, 130 cancelled.";

/// Give back the state of a snapshot
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct RestoreArgs {
    /// The snapshot, and perhaps a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    place: OsString,

    /// The folder that gets the files; it is made if it is missing
    #[arg(long, value_name = "DIR")]
    target: PathBuf,

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

    /// What happens to what stands in the way; without this nothing is restored then
    #[arg(long, value_name = "WHEN", value_enum)]
    overwrite: Option<OverwriteArg>,

    /// Remove from restored folders what the snapshot does not have there; what this command's --exclude means stays
    #[arg(long)]
    delete: bool,

    /// Delete although the snapshot lacks what could not be read, or what its own options left out
    #[arg(long, requires = "delete")]
    force_delete: bool,

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
            target: self.target.clone(),
            path: place.path.clone(),
            repository: repo.local_path().map(Path::to_owned),
            include: patterns::read(&self.include_file, &self.include, &self.iinclude)?,
            exclude: patterns::read(&self.exclude_file, &self.exclude, &self.iexclude)?,
            overwrite: self.overwrite.map(Into::into).unwrap_or_default(),
            delete: self.delete,
            protected: context.own_folders(repo).into_iter().chain(secret.map(Path::to_owned)).collect(),
            verify: self.verify,
            sparse: self.sparse,
            ownership,
            special: self.special,
            force_delete: self.force_delete,
            force: self.force,
        })
    }
}

pub(crate) fn run(args: &RestoreArgs, context: &Context) -> Result<Outcome> {
    let place = Place::parse(&args.place, &context.now())?;
    let filter = args.filter.read()?;
    let ui = context.ui.as_ref();
    let progress = Progress::new(ui);
    let (repo, snapshot) = &context.open_at(&filter, &place, &progress)?;
    let options = args.options(&place, context, repo)?;
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
                _ => explained(error, &args.target, has_begun),
            });
        }
    };
    let outcome = restored.outcome(&told);
    if ui.style().json {
        let path = place.path.as_ref();
        ui.json(&restored.wire(snapshot, path, &args.target, &told, &outcome, progress.elapsed()));
        return Ok(outcome);
    }
    for line in restored.words(snapshot, &args.target, progress.elapsed()) {
        ui.report(line);
    }
    warnings::show(ui, &told, progress.warnings_dropped());
    Ok(outcome)
}

fn explained(error: Error, target: &Path, has_begun: bool) -> Failure {
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
        Kind::Usage if error.act() == "delete" => Failure::from(error).with_hint(
            "leave --delete out, name with --exclude what is to stay and add --force-delete, or say --force-delete \
             if all that is meant to be gone (with --dry-run it shows what)",
        ),
        Kind::Usage => Failure::from(error)
            .with_hint("name another folder: --target DIR, or leave out what must not be there: --exclude PATTERN"),
        Kind::NoSpace => {
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
        _ => error.into(),
    }
}
