//! What a command works with: streams, settings, clock, and the way to an open repository.

pub(crate) mod create;
pub(crate) mod missing;
pub(crate) mod unlock;

use crate::args::global::Invocation;
use crate::args::select::Place;
use crate::args::time;
use crate::config::machine::Machine;
use crate::config::{Environment, Folders, Settings, known};
use crate::exit::Condition;
use crate::output::error::{Failure, Result, one_line};
use crate::output::human;
use crate::output::progress::Progress;
use crate::output::{Ui, prompt, warnings};
use crate::process;
use chatvault_engine::base::{Cancel, Kind, RepoId, Timestamp, Warning, WarningKind};
use chatvault_engine::browse::{self, Selector, SnapshotFilter};
use chatvault_engine::format::config;
use chatvault_engine::repo::{Repo, Session, Snapshot};
use chatvault_engine::store::{LocalStore, ObjectName, Store};
use jiff::Zoned;
use jiff::tz::TimeZone;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What every command gets.
#[derive(Debug)]
pub(crate) struct Context {
    /// The streams.
    pub(crate) ui: Arc<Ui>,
    /// Command line and environment.
    pub(crate) settings: Settings,
    /// The folders of this program.
    pub(crate) folders: Folders,
    /// The wish to stop.
    pub(crate) cancel: Cancel,
    user: Option<String>,
    machine: Arc<Machine>,
    invocation: Invocation,
}

impl Context {
    /// Puts together what a command needs.
    pub(crate) fn new(
        ui: Arc<Ui>,
        settings: Settings,
        folders: Folders,
        environment: &Environment,
        cancel: Cancel,
        invocation: Invocation,
    ) -> Self {
        let user =
            ["USER", "LOGNAME"].iter().find_map(|name| environment.text(name).ok()?.map(str::to_owned));
        let machine = Arc::new(Machine::new(folders.config().ok()));
        Self { ui, settings, folders, cancel, user, machine, invocation }
    }

    /// A command for the same repository, opened by the same key, to be suggested: `verb` with its arguments, ready for
    /// a shell.
    pub(crate) fn command(&self, verb: &str) -> String {
        self.invocation.command(verb)
    }

    /// How this program is called, ready for a shell.
    pub(crate) fn program(&self) -> &str {
        &self.invocation.program
    }

    /// The snapshot that is meant, among those that the filter admits.
    ///
    /// # Errors
    /// Fails if there is none; where some cannot be read, they are told of.
    pub(crate) fn select<'s>(
        &self,
        snapshots: &'s [Snapshot],
        filter: &SnapshotFilter,
        selector: &Selector,
        progress: &Progress<'_>,
    ) -> Result<&'s Snapshot> {
        browse::select_among(snapshots, filter, selector, self.time())
            .map_err(|error| self.none_selected(snapshots, error, progress))
    }

    /// The failure to find a snapshot; what was told until now is shown first.
    fn none_selected(
        &self,
        snapshots: &[Snapshot],
        error: chatvault_engine::base::Error,
        progress: &Progress<'_>,
    ) -> Failure {
        let told = progress.finish();
        warnings::show(&self.ui, &told, progress.warnings_dropped());
        if !snapshots.is_empty() {
            return error.into();
        }
        unreadable(&told).unwrap_or_else(|| {
            Failure::from(error).with_hint(format!("`{}` takes one", self.command("snapshot FOLDER")))
        })
    }

    /// Opens the repository, and finds the snapshot that was named: with a path, the last one that holds it.
    pub(crate) fn open_at(
        &self,
        filter: &SnapshotFilter,
        place: &Place,
        progress: &Progress<'_>,
    ) -> Result<(Repo, Snapshot)> {
        let repo = self.open(progress)?;
        let snapshots = repo.snapshots(progress)?;
        let snapshot = self.select_at(&repo, &snapshots, filter, place, progress)?.clone();
        Ok((repo, snapshot))
    }

    /// The snapshot that is meant: with a path, the last one that holds it. Says if newer ones do not.
    pub(crate) fn select_at<'s>(
        &self,
        repo: &Repo,
        snapshots: &'s [Snapshot],
        filter: &SnapshotFilter,
        place: &Place,
        progress: &Progress<'_>,
    ) -> Result<&'s Snapshot> {
        let Some(path) = &place.path else {
            return self.select(snapshots, filter, &place.selector, progress);
        };
        let holder = browse::select_holding(repo, snapshots, filter, &place.selector, path, self.time())
            .map_err(|error| self.none_selected(snapshots, error, progress))?;
        if holder.newer_without > 0 {
            let newer = u64::try_from(holder.newer_without).unwrap_or(u64::MAX);
            self.ui.warn(&format!(
                "{path} is not in the {} after {}: this is its last state",
                if newer == 1 { "snapshot".to_owned() } else { human::count(newer, "snapshot") },
                human::local_time(holder.snapshot.manifest.time, &self.zone()),
            ));
        }
        Ok(holder.snapshot)
    }

    /// Says on standard error which state an answer is of.
    pub(crate) fn name_state(&self, snapshot: &Snapshot) {
        self.ui.status(self.state(snapshot));
    }

    /// A snapshot in words: its id, its machine and its time.
    pub(crate) fn state(&self, snapshot: &Snapshot) -> String {
        format!(
            "Snapshot {} of {}, {}",
            snapshot.id.short(),
            one_line(&snapshot.manifest.host),
            human::local_time(snapshot.manifest.time, &self.zone())
        )
    }

    /// The names under which snapshots of this machine are stored: its own, and the one that the profile gives it.
    pub(crate) fn own_hosts(&self) -> Vec<String> {
        let own = self.session().client.host;
        std::iter::once(own).chain(self.settings.snapshot.host.clone()).collect()
    }

    /// The time now, in the local zone.
    pub(crate) fn now(&self) -> Zoned {
        Zoned::now()
    }

    /// The time now, as the engine takes it.
    pub(crate) fn time(&self) -> Timestamp {
        clock()
    }

    /// The local zone.
    pub(crate) fn zone(&self) -> TimeZone {
        TimeZone::system()
    }

    /// The run that the engine is told about.
    pub(crate) fn session(&self) -> Session {
        let machine = Arc::clone(&self.machine);
        Session {
            client: process::client(self.user.clone()),
            clock: Arc::new(clock),
            since_boot: Arc::new(process::since_boot),
            machine: Arc::new(move || machine.number(&process::machine())),
            pause: Arc::new(std::thread::sleep),
            is_alive: Arc::new(process::is_alive),
            utc_offset_minutes: self.now().offset().seconds() / 60,
            cache_dir: self.settings.cache_dir.clone(),
            scratch_dir: Some(self.settings.cache_dir.clone().unwrap_or_else(std::env::temp_dir)),
            compression: self.settings.compression,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            cancel: self.cancel.clone(),
        }
    }

    /// Where the repository is: the one that is named, or the default one. Absolute.
    pub(crate) fn repository_path(&self) -> Result<PathBuf> {
        match &self.settings.repository {
            Some(path) => std::path::absolute(path)
                .map_err(|cause| Failure::io("find the folder", human::shown(path), cause)),
            None => self.folders.default_repository(),
        }
    }

    /// True if no repository is named.
    pub(crate) fn is_default_repository(&self) -> bool {
        self.settings.repository.is_none()
    }

    /// The folders of this program and of the repository: what a snapshot leaves out.
    pub(crate) fn own_folders(&self, repo: &Repo) -> Vec<PathBuf> {
        self.folders
            .all()
            .map(PathBuf::as_path)
            .chain(self.settings.cache_dir.as_deref())
            .chain(repo.local_path())
            .filter_map(|path| std::fs::canonicalize(path).ok())
            .collect()
    }

    /// True if the default repository is meant, nothing is there, and none was ever made there.
    pub(crate) fn may_create(&self) -> Result<bool> {
        if !self.is_default_repository() {
            return Ok(false);
        }
        let path = self.repository_path()?;
        let is_missing = matches!(LocalStore::open(&path), Err(error) if error.kind() == Kind::NoRepository);
        Ok(is_missing && known::find(&self.folders.config()?, &path)?.is_none())
    }

    /// Opens the store of the repository.
    ///
    /// # Errors
    /// [`Condition::NoRepository`] with what to do about it.
    pub(crate) fn open_store(&self) -> Result<LocalStore> {
        let path = self.repository_path()?;
        LocalStore::open(&path).map_err(|error| match error.kind() {
            Kind::NoRepository => self.missing(&path, error),
            Kind::Damaged => Failure::from(error).with_hint(
                "without that file nothing opens the repository; copy `config` from a copy of this repository: it \
                 never changes, so that of any day will do; change nothing else there",
            ),
            _ => error.into(),
        })
    }

    /// Fails if the user wished to stop, perhaps instead of an answer to a question.
    pub(crate) fn not_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(prompt::cancelled());
        }
        Ok(())
    }

    /// Why nothing is there, and what to do.
    fn missing(&self, path: &Path, error: chatvault_engine::base::Error) -> Failure {
        let failure = Failure::from(error);
        let made_here =
            self.folders.config().ok().and_then(|config| known::find(&config, path).ok().flatten());
        let command = self.command("init");
        match made_here {
            // A repository in its place would hide that its disk is not connected.
            Some(id) if !self.is_default_repository() => failure.with_hint(format!(
                "repository {} was here before: connect its disk, or mount it here again",
                id.short()
            )),
            Some(id) => failure.with_hint(format!(
                "repository {} was here before: connect its disk, or move it back; only if it is gone for good, create \
                 a new one with `{command}`",
                id.short()
            )),
            None if self.is_default_repository() => failure.with_hint(
                "`{program} snapshot FOLDER` creates it; to use another repository, name it with `-r PATH`",
            ),
            // Nothing can be created there.
            None if !is_free(path) => {
                failure.with_hint("check the path: name the folder of a repository with `-r PATH`")
            }
            None => failure.with_hint(format!(
                "check that its disk is connected and that the path is right; if there was never a repository, \
                 `{command}` creates one"
            )),
        }
    }
}

/// True if nothing is at the path, or an empty folder.
fn is_free(path: &Path) -> bool {
    match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// The failure of a repository whose snapshots cannot be read, if these warnings tell of any.
pub(crate) fn unreadable(told: &[Warning]) -> Option<Failure> {
    let damaged = told.iter().filter(|warning| warning.kind == WarningKind::Damaged).count();
    (damaged > 0).then(|| {
        let are = if damaged == 1 { "is" } else { "are" };
        Failure::new(Condition::Damaged, format!("No snapshot can be read; {damaged} {are} damaged")).with_hint(
            "change nothing in the repository; check the disk's health, and use a copy of the repository if there is one",
        )
    })
}

/// The clock.
fn clock() -> Timestamp {
    time::stored(jiff::Timestamp::now())
}

/// The ids that the two copies of the config say without a key, the first copy's first, each once. No key vouches for
/// them yet: a copy may be damaged.
pub(crate) fn repository_ids(store: &LocalStore) -> Result<Vec<RepoId>> {
    let read = |name: &ObjectName| {
        store.get(name, config::MAX_LEN).and_then(|object| config::repository_id(&object))
    };
    let name = ObjectName::config();
    match (read(&name), read(&name.mirror())) {
        (Ok(first), Ok(second)) if first != second => Ok(vec![first, second]),
        (Ok(id), _) | (Err(_), Ok(id)) => Ok(vec![id]),
        (Err(first), Err(_)) => Err(first.into()),
    }
}
