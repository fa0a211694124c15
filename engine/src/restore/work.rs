//! What all threads of a restore share: the plan, the counts, the wish to stop, and what is to be told.

use super::create::asides;
use super::kept::{self, Kept};
use super::metadata::{Failures, Setter, Unset};
use super::remove::{Guard, RemoveMode, Removed, remove};
use super::target::{self, Identity, failed};
use super::temporary::Names;
use super::walk::{Decided, DecidedWalk, Rules};
use super::{Action, Overwrite, RestorePlan, RestoreSummary};
use crate::base::{
    Cancel, Counter, Error, Kind, Observer, Phase, Result, StoredPath, Timestamp, Warning, WarningKind, Whose,
};
use crate::browse::ContentReader;
use crate::model::Node;
use crate::repo::{Repo, Session};
use crate::source::{Descent, SourceDir, Stat};
use crate::sqlite::verify::CheckTime;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::BuildHasher;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files that wait for a thread, for each thread. Each may hold a folder open.
const WAITING: usize = 8;
/// Files at once for the disk's sake: each takes a few MiB, and a check of a database twenty.
const MOST_FOR_THE_DISK: usize = 8;
/// Most warnings that are kept.
const MOST_WARNINGS: usize = 10_000;

/// A file that is to be written.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) folder: Arc<SourceDir>,
    pub(super) node: Node,
    pub(super) path: StoredPath,
    pub(super) action: Action,
    /// What was found at its place.
    pub(super) found: Option<Stat>,
    /// True if what is there may be replaced.
    pub(super) may_replace: bool,
    /// Names beside it that must not be taken for part of it.
    pub(super) asides: Vec<Aside>,
    /// Raised when the file is there, for its further names.
    pub(super) done: Option<Arc<AtomicBool>>,
}

impl Job {
    pub(super) fn new(
        work: &Work<'_>,
        folder: Arc<SourceDir>,
        entry: Decided,
        walk: &DecidedWalk<'_>,
        done: Option<Arc<AtomicBool>>,
    ) -> Self {
        let asides = asides(work, &entry.node, &entry.path, walk);
        let Decided { node, path, action, found, rule, .. } = entry;
        Self { folder, node, path, action, found, may_replace: rule != Overwrite::Refuse, asides, done }
    }
}

/// A name beside a database that SQLite would take for part of it.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) name: Vec<u8>,
    /// True if a file of this name is restored later: it gives way only if the database is another than before.
    pub(super) is_restored: bool,
}

/// What was done, by numbers.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) denied: AtomicU64,
    pub(super) discarded: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) dirs: AtomicU64,
    pub(super) symlinks: AtomicU64,
    pub(super) hard_links: AtomicU64,
    pub(super) specials: AtomicU64,
    pub(super) overwritten: AtomicU64,
    pub(super) unchanged: AtomicU64,
    pub(super) kept: AtomicU64,
    pub(super) deleted: AtomicU64,
    pub(super) verified: AtomicU64,
    pub(super) differing: AtomicU64,
    pub(super) sound_databases: AtomicU64,
    pub(super) unsound_databases: AtomicU64,
    pub(super) unchecked_databases: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) struct Work<'a> {
    pub(super) repo: &'a Repo,
    pub(super) plan: RestorePlan,
    pub(super) observer: &'a dyn Observer,
    pub(super) reader: ContentReader<'a>,
    pub(super) names: Names,
    pub(super) setter: Setter,
    pub(super) counts: Counts,
    /// When the run began.
    pub(super) begun: Timestamp,
    /// Raised when the run ends early.
    pub(super) stop: Cancel,
    pub(super) shown: String,
    pub(super) check_time: CheckTime,
    failure: Mutex<Option<Error>>,
    target: Identity,
    protected: Vec<Identity>,
    hasher: RandomState,
    kept: Kept<'a>,
    /// Folders that were made, by the hash of their paths.
    made: Mutex<HashSet<u64>>,
    /// Entries that keep their metadata and are not verified, because they are not as they were stored: by the hash of
    /// their paths, since there may be many.
    left_alone: Mutex<HashSet<u64>>,
    /// Files that were moved out of the way: where they were, and where they are.
    moved: Mutex<BTreeSet<StoredPath>>,
    warnings: Mutex<Vec<Warning>>,
    /// What could not be set: on how many entries, and on which first.
    unset: Mutex<BTreeMap<Unset, (u64, StoredPath, io::Error)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files that are written or read at the same time. On few processors more than those: some wait for the disk while others
/// are opened and hashed.
pub(super) fn files_at_once(session: &Session) -> usize {
    let threads = session.threads.max(1);
    threads.max((2 * threads).min(MOST_FOR_THE_DISK))
}

impl<'a> Work<'a> {
    pub(super) fn new(repo: &'a Repo, plan: RestorePlan, observer: &'a dyn Observer) -> Result<Self> {
        let session = repo.session();
        let root = target::open(&plan.target, plan.existing, plan.start.own.is_some())?;
        let protected = target::identities(&plan.options.protected);
        Ok(Self {
            repo,
            observer,
            reader: ContentReader::new(repo, files_at_once(session))?,
            names: Names::new(session)?,
            setter: Setter::new(plan.options.ownership.clone()),
            counts: Counts {
                damaged: AtomicU64::new((plan.damaged.len() as u64).saturating_sub(plan.denied)),
                denied: AtomicU64::new(plan.denied),
                ..Counts::default()
            },
            begun: session.now(),
            stop: session.cancel.child(),
            shown: target::shown(&plan.target),
            check_time: CheckTime::default(),
            failure: Mutex::default(),
            target: target::identity(&root)?,
            protected,
            hasher: RandomState::new(),
            kept: Kept::new(repo, &plan),
            made: Mutex::default(),
            left_alone: Mutex::default(),
            moved: Mutex::default(),
            warnings: Mutex::default(),
            unset: Mutex::default(),
            plan,
        })
    }

    /// The target, opened anew.
    pub(super) fn root(&self) -> Result<SourceDir> {
        target::open(&self.plan.target, Some(self.target), false)
    }

    pub(super) fn descent(&self) -> Result<Descent> {
        Descent::new(self.root()?).map_err(|e| Error::io("look at", &self.shown, e))
    }

    /// The walk, once more, by the same rules as the plan took it. Files are compared by whoever writes them, and not
    /// here.
    pub(super) fn walk(&self) -> Result<DecidedWalk<'_>> {
        DecidedWalk::new(self.rules(), Some(self.root()?))
    }

    /// The walk when everything but folders has been seen to.
    pub(super) fn walk_of_folders(&self, lists_extras: bool) -> Result<DecidedWalk<'_>> {
        let rules = Rules { lists_extras, only_folders: true, ..self.rules() };
        DecidedWalk::new(rules, Some(self.root()?))
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            repo: self.repo,
            plan: &self.plan,
            cancel: &self.stop,
            compares: false,
            lists_extras: false,
            only_folders: false,
        }
    }

    pub(super) fn threads(&self) -> usize {
        files_at_once(self.repo.session())
    }

    /// Removes an entry with all that lies below, as far as the plan has seen it.
    pub(super) fn remove(
        &self,
        folder: &SourceDir,
        entry: (&[u8], &Stat),
        path: &StoredPath,
        is_included: bool,
    ) -> Result<Removed> {
        let guard = Guard { selection: &self.plan.selection, protected: &self.protected, cancel: &self.stop };
        let tell = |path: &StoredPath, error| self.not_removed(path, &error);
        let mut mode = RemoveMode::Remove(&self.plan.approved, &tell);
        remove(&guard, folder, entry, path, is_included, &mut mode)
    }

    /// Ends early with the failure that began it.
    pub(super) fn check(&self) -> Result<()> {
        if !self.stop.is_cancelled() {
            return Ok(());
        }
        Err(lock(&self.failure).take().unwrap_or_else(Error::cancelled))
    }

    /// An entry that is not restored: told and counted, or the end of the run.
    pub(super) fn lost(&self, path: &StoredPath, error: Error) {
        match (error.kind(), error.whose()) {
            (Kind::NoSpace | Kind::Cancelled | Kind::Gone, _) => return self.end(error),
            (Kind::Denied, Some(Whose::Repository)) => count(&self.counts.denied),
            (Kind::Damaged, _) | (_, Some(Whose::Repository)) => count(&self.counts.damaged),
            _ => count(&self.counts.refused),
        }
        self.leave_alone(path);
        // What the repository cannot give is no fault of the target.
        let kind = match error.whose() {
            Some(Whose::Repository) if error.is_unreadable() => WarningKind::of_unreadable(&error),
            _ => WarningKind::NotRestored,
        };
        self.warn(kind, Some(path), format!("Not restored: {}", error.full_text()));
    }

    /// A folder that was made, or was there, and is not any more; nothing if it was to be left alone or could not be made,
    /// which was said.
    pub(super) fn lost_folder(&self, path: &StoredPath) {
        if !self.is_left_alone(path) {
            self.lost(path, failed("open folder", path)(io::ErrorKind::NotFound.into()));
        }
    }

    /// Ends the run by a failure that concerns all of it.
    fn end(&self, error: Error) {
        let mut failure = lock(&self.failure);
        // A thread that was stopped says "cancelled": the failure that stopped it is the cause.
        if failure.is_none() && !self.stop.is_cancelled() {
            *failure = Some(match error.kind() {
                Kind::NoSpace => Error::new(Kind::NoSpace, "restore into", &self.shown).because(error),
                _ => error,
            });
        }
        self.stop.cancel();
    }

    /// Something of the target is about to go. If it is in no snapshot, that is told and counted.
    ///
    /// # Errors
    /// The wish to stop.
    pub(super) fn discards(&self, entry: &kept::Entry<'_>) -> Result<bool> {
        Ok(!self.kept.holds(entry, &self.stop)?)
    }

    /// What [`Work::discards`] said is gone.
    pub(super) fn discarded(&self, path: &StoredPath) {
        count(&self.counts.discarded);
        let path = StoredPath::from_fs(&self.plan.real_path(path));
        self.warn(
            WarningKind::OnlyHere,
            path.as_ref(),
            "Replaced; what was there is in no snapshot".to_owned(),
        );
    }

    /// A folder has been made at this path.
    pub(super) fn made(&self, folder: &StoredPath) {
        lock(&self.made).insert(self.hasher.hash_one(folder.as_bytes()));
    }

    pub(super) fn was_made(&self, folder: &StoredPath) -> bool {
        lock(&self.made).contains(&self.hasher.hash_one(folder.as_bytes()))
    }

    /// Something that the snapshot does not have, and that could not be removed.
    pub(super) fn not_removed(&self, path: &StoredPath, error: &Error) {
        count(&self.counts.refused);
        self.warn(WarningKind::NotRestored, Some(path), format!("Not removed: {}", error.full_text()));
    }

    pub(super) fn warn(&self, kind: WarningKind, path: Option<&StoredPath>, message: String) {
        let warning = Warning { kind, path: path.cloned(), message };
        self.observer.warn(&warning);
        let mut warnings = lock(&self.warnings);
        if warnings.len() < MOST_WARNINGS {
            warnings.push(warning);
        }
    }

    pub(super) fn not_set(&self, path: &StoredPath, failures: Failures) {
        if failures.is_empty() {
            return;
        }
        let mut unset = lock(&self.unset);
        for (what, error) in failures {
            unset.entry(what).or_insert_with(|| (0, path.clone(), error)).0 += 1;
        }
    }

    /// An entry that is not as it was stored, by the person's wish or by a failure.
    pub(super) fn leave_alone(&self, path: &StoredPath) {
        lock(&self.left_alone).insert(self.hasher.hash_one(path.as_bytes()));
    }

    pub(super) fn is_left_alone(&self, path: &StoredPath) -> bool {
        let left_alone = lock(&self.left_alone);
        !left_alone.is_empty() && left_alone.contains(&self.hasher.hash_one(path.as_bytes()))
    }

    pub(super) fn moved_aside(&self, path: StoredPath) {
        lock(&self.moved).insert(path);
    }

    pub(super) fn was_moved_aside(&self, path: &StoredPath) -> bool {
        lock(&self.moved).contains(path)
    }

    /// Hands what `produce` sends to `consume` on all threads.
    pub(super) fn on_threads<J: Send, T>(
        &self,
        consume: impl Fn(J) + Sync,
        produce: impl FnOnce(Sender<J>) -> Result<T>,
    ) -> Result<T> {
        let (jobs, waiting): (Sender<J>, Receiver<J>) = bounded(self.threads() * WAITING);
        let produced = std::thread::scope(|scope| {
            for _ in 0..self.threads() {
                let (waiting, consume) = (waiting.clone(), &consume);
                scope.spawn(move || waiting.iter().for_each(consume));
            }
            // With no thread left sending would fail, not wait for ever.
            drop(waiting);
            // The threads end when the sender is gone.
            produce(jobs)
        });
        // Why the threads stopped comes before what that led to.
        self.check()?;
        produced
    }

    /// A new part of the work begins, of so many files.
    pub(super) fn begin(&self, phase: Phase) {
        self.observer.phase(phase);
        self.observer.expect(Counter::Files, self.plan.files);
        self.observer.expect(Counter::Bytes, self.plan.bytes);
    }

    pub(super) fn summary(self) -> RestoreSummary {
        let specials = if self.plan.options.special { 0 } else { self.plan.specials };
        if specials > 0 {
            let message = match specials {
                1 => "1 pipe, socket or device was not restored".to_owned(),
                _ => format!("{specials} pipes, sockets or devices were not restored"),
            };
            self.warn(WarningKind::SpecialFile, None, message);
        }
        let mut owners_failed = 0;
        for (what, (entries, path, error)) in std::mem::take(&mut *lock(&self.unset)) {
            if what == Unset::Owner {
                owners_failed = entries;
            }
            self.warn(WarningKind::NotRestored, Some(&path), what.sentence(entries, &error));
        }
        let counts = self.counts;
        RestoreSummary {
            files: counts.files.into_inner(),
            dirs: counts.dirs.into_inner(),
            symlinks: counts.symlinks.into_inner(),
            hard_links: counts.hard_links.into_inner(),
            bytes: counts.bytes.into_inner(),
            damaged: counts.damaged.into_inner(),
            denied: counts.denied.into_inner(),
            discarded: counts.discarded.into_inner() + self.plan.deleted_for_good,
            failed: counts.refused.into_inner(),
            specials,
            specials_restored: counts.specials.into_inner(),
            overwritten: counts.overwritten.into_inner(),
            unchanged: counts.unchanged.into_inner(),
            kept: counts.kept.into_inner(),
            deleted: counts.deleted.into_inner(),
            verified: counts.verified.into_inner(),
            sound_databases: counts.sound_databases.into_inner(),
            unsound_databases: counts.unsound_databases.into_inner(),
            unchecked_databases: counts.unchecked_databases.into_inner(),
            differing: counts.differing.into_inner(),
            owners_failed,
            warnings: self.warnings.into_inner().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
