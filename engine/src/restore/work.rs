//! What all threads of a restore share: the plan, the counts, the wish to stop, and what is to be told.

use super::metadata::{Failures, Setter, Unset};
use super::remove::Guard;
use super::selection::Way;
use super::target::{self, Identity};
use super::temporary::Names;
use super::{RestorePlan, RestoreSummary};
use crate::base::{
    Cancel, Counter, Error, Kind, Observer, Phase, Result, StoredPath, Timestamp, Warning, WarningKind, Whose,
};
use crate::browse::ContentReader;
use crate::model::Node;
use crate::repo::{Repo, Session};
use crate::restore::existing::Decision;
use crate::source::{Descent, SourceDir};
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
    pub(super) decision: Decision,
    /// True if times and permissions of the file that is there need no change.
    pub(super) is_settled: bool,
    /// Names beside it that must not be taken for part of it.
    pub(super) asides: Vec<Aside>,
    /// Raised when the file is there, for its further names.
    pub(super) done: Option<Arc<AtomicBool>>,
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
                refused: AtomicU64::new(plan.denied),
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

    /// The way through all that is restored.
    pub(super) fn way(&self) -> Way<'_> {
        Way::new(self.plan.start.walk(self.repo, &self.stop), &self.plan.selection)
    }

    pub(super) fn threads(&self) -> usize {
        files_at_once(self.repo.session())
    }

    /// What may be removed.
    pub(super) fn guard(&self) -> Guard<'_> {
        Guard { selection: &self.plan.selection, protected: &self.protected, cancel: &self.stop }
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
        match error.kind() {
            Kind::NoSpace | Kind::Cancelled | Kind::Gone => {
                let mut failure = lock(&self.failure);
                // A thread that was stopped says "cancelled": the failure that stopped it is the cause.
                if failure.is_none() && !self.stop.is_cancelled() {
                    *failure = Some(match error.kind() {
                        Kind::NoSpace => {
                            Error::new(Kind::NoSpace, "restore into", &self.shown).because(error)
                        }
                        _ => error,
                    });
                }
                self.stop.cancel();
                return;
            }
            Kind::Damaged => count(&self.counts.damaged),
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
            let thing = match what {
                Unset::Owner => {
                    owners_failed = entries;
                    "Owners".to_owned()
                }
                Unset::TimesOrPermissions => "Times or permissions".to_owned(),
                Unset::Attribute(family) => format!("Extended attributes ({})", family.name()),
            };
            let message = format!("{thing} of {entries} entries could not be set, here first: {error}");
            self.warn(WarningKind::NotRestored, Some(&path), message);
        }
        let counts = self.counts;
        RestoreSummary {
            files: counts.files.into_inner(),
            dirs: counts.dirs.into_inner(),
            symlinks: counts.symlinks.into_inner(),
            hard_links: counts.hard_links.into_inner(),
            bytes: counts.bytes.into_inner(),
            damaged: counts.damaged.into_inner(),
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
