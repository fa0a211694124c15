//! Writing what was planned: the first and the last way through the tree (see the module's page), and what all threads share.

use super::links::{self, Firsts};
use super::target::{self, Identity, check_name, failed, set_metadata, times};
use super::{LinkKey, Metadata, RestorePlan, RestoreSummary, file};
use crate::base::{Cancel, Counter, Error, Kind, Observer, Phase, Result, StoredPath, Warning, WarningKind};
use crate::browse::{ContentReader, Step};
use crate::model::{Node, NodeKind};
use crate::repo::Repo;
use crate::source::{Descent, SourceDir};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::fs::{AtFlags, Mode, mkdirat, symlinkat, syncfs, utimensat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Files that wait for a thread, for each thread. Each may hold a folder open.
const WAITING: usize = 8;
/// Most warnings that are kept.
const MOST_WARNINGS: usize = 10_000;
/// How often the wish to stop is looked at while the system writes to disk.
const LOOK_AT_CANCEL: Duration = Duration::from_millis(50);
/// Permission bits of a folder that are set: none that lend an owner's rights.
const DIR_MODE: u32 = 0o1777;

/// Restores what was planned; it is durable when this returns. What cannot be restored is told and counted, and the
/// rest goes on.
///
/// # Errors
/// [`Kind::NoSpace`] and [`Kind::Cancelled`] end the restore: what has its name by then is whole, nothing else of it
/// stays but folders, and none of it need be durable. So does a failure of the repository's store while folders are read.
pub fn apply(repo: &Repo, plan: RestorePlan, observer: &dyn Observer) -> Result<RestoreSummary> {
    observer.phase(Phase::Restoring);
    observer.expect(Counter::Files, plan.files);
    observer.expect(Counter::Bytes, plan.bytes);
    let work = Work::new(repo, plan, observer)?;
    let firsts = work.create_all()?;
    if !firsts.is_empty() {
        links::make_all(&work, &firsts)?;
    }
    // Opened before the folders get their permissions, which may shut us out.
    let root = work.root()?;
    work.finish_folders(&root)?;
    let failed = |e| Error::io("make durable", &work.shown, e);
    let root = root.as_fd().try_clone_to_owned().map_err(failed)?;
    let made = wait_for(&repo.session().cancel, move || Ok(syncfs(root)?))?;
    made.map_err(failed)?;
    Ok(work.summary())
}

/// Runs what cannot be interrupted on a thread of its own. Fails with [`Kind::Cancelled`] once the flag is raised, and
/// the thread goes on alone.
fn wait_for(
    cancel: &Cancel,
    call: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<io::Result<()>> {
    let failed = |e| Error::io("start", "a thread for writing to disk", e);
    let (done, waiting) = bounded(1);
    let run = move || {
        // Nobody waits for it any more when the restore was cancelled.
        let _ = done.send(call());
    };
    std::thread::Builder::new().name("write to disk".to_owned()).spawn(run).map_err(failed)?;
    loop {
        match waiting.recv_timeout(LOOK_AT_CANCEL) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => cancel.check()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::new(Kind::Internal, "write", "to disk").because("its thread ended early"));
            }
        }
    }
}

/// What all threads of a restore share.
pub(super) struct Work<'a> {
    pub(super) repo: &'a Repo,
    pub(super) plan: RestorePlan,
    observer: &'a dyn Observer,
    reader: ContentReader<'a>,
    /// Raised when the run ends early.
    stop: Cancel,
    failure: Mutex<Option<Error>>,
    target: Identity,
    shown: String,
    files: AtomicU64,
    bytes: AtomicU64,
    damaged: AtomicU64,
    refused: AtomicU64,
    dirs: AtomicU64,
    symlinks: AtomicU64,
    hard_links: AtomicU64,
    warnings: Mutex<Vec<Warning>>,
    /// Entries whose times or permissions could not be set, and the first of them.
    unset: Mutex<(u64, Option<(StoredPath, io::Error)>)>,
}

/// A file that is to be written.
pub(super) struct Job {
    pub(super) folder: Arc<OwnedFd>,
    pub(super) node: Node,
    pub(super) path: StoredPath,
    /// Raised when the file is there, for its further names.
    pub(super) done: Option<Arc<AtomicBool>>,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl<'a> Work<'a> {
    pub(super) fn new(repo: &'a Repo, plan: RestorePlan, observer: &'a dyn Observer) -> Result<Self> {
        let root = target::open(&plan.target, plan.existing, plan.start.own)?;
        Ok(Self {
            repo,
            observer,
            reader: ContentReader::new(repo, repo.session().threads)?,
            stop: repo.session().cancel.child(),
            failure: Mutex::default(),
            target: target::identity(&root)?,
            shown: target::shown(&plan.target),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            damaged: AtomicU64::new(plan.damaged.len() as u64),
            refused: AtomicU64::new(0),
            dirs: AtomicU64::new(0),
            symlinks: AtomicU64::new(0),
            hard_links: AtomicU64::new(0),
            warnings: Mutex::default(),
            unset: Mutex::default(),
            plan,
        })
    }

    /// The target, opened anew.
    pub(super) fn root(&self) -> Result<SourceDir> {
        target::open(&self.plan.target, Some(self.target), None)
    }

    pub(super) fn descent(&self) -> Result<Descent> {
        Descent::new(self.root()?).map_err(|e| Error::io("look at", &self.shown, e))
    }

    /// Ends early with the failure that began it.
    pub(super) fn check(&self) -> Result<()> {
        if !self.stop.is_cancelled() {
            return Ok(());
        }
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(failure.unwrap_or_else(Error::cancelled))
    }

    /// An entry that is not restored: told and counted, or the end of the run.
    pub(super) fn lost(&self, path: &StoredPath, error: Error) {
        match error.kind() {
            Kind::NoSpace | Kind::Cancelled => {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
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
            Kind::Damaged => count(&self.damaged),
            _ => count(&self.refused),
        }
        self.warn(WarningKind::NotRestored, Some(path), format!("Not restored: {}", error.full_text()));
    }

    fn warn(&self, kind: WarningKind, path: Option<&StoredPath>, message: String) {
        let warning = Warning { kind, path: path.cloned(), message };
        self.observer.warn(&warning);
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < MOST_WARNINGS {
            warnings.push(warning);
        }
    }

    pub(super) fn not_set(&self, path: &StoredPath, error: io::Error) {
        let mut unset = self.unset.lock().unwrap_or_else(PoisonError::into_inner);
        unset.0 += 1;
        unset.1.get_or_insert_with(|| (path.clone(), error));
    }

    pub(super) fn linked(&self) {
        count(&self.hard_links);
    }

    /// Writes one file, on any thread.
    pub(super) fn write(&self, job: &Job) {
        if self.stop.is_cancelled() {
            return;
        }
        let Job { folder, node, path, done } = job;
        self.observer.working_on(path);
        match file::restore(&self.reader, folder.as_fd(), node, path, &self.stop, self.observer) {
            Ok(unset) => {
                count(&self.files);
                self.bytes.fetch_add(node.size, Ordering::Relaxed);
                self.observer.add(Counter::Files, 1);
                if let Some(done) = done {
                    done.store(true, Ordering::Release);
                }
                if let Some(error) = unset {
                    self.not_set(path, error);
                }
            }
            Err(e) => self.lost(path, e),
        }
    }

    /// The first way: everything but further names, and times and permissions of folders.
    fn create_all(&self) -> Result<Firsts> {
        let threads = self.repo.session().threads.max(1);
        let (jobs, waiting): (Sender<Job>, Receiver<Job>) = bounded(threads * WAITING);
        let created = std::thread::scope(|scope| {
            for _ in 0..threads {
                let waiting = waiting.clone();
                scope.spawn(move || waiting.iter().for_each(|job| self.write(&job)));
            }
            // With no thread left sending would fail, not wait for ever.
            drop(waiting);
            // The threads end when the sender is gone.
            Creation { work: self, jobs, descent: self.descent()?, here: None, firsts: Firsts::default() }
                .run()
        });
        // Why the threads stopped comes before what that led to.
        self.check()?;
        created
    }

    /// The last way: times and permissions of folders. Each is left before its own are set, because we may not be able
    /// to enter it afterwards.
    fn finish_folders(&self, root: &SourceDir) -> Result<()> {
        let mut descent = self.descent()?;
        let mut walk = self.plan.start.walk(self.repo, &self.stop);
        let mut entered: Vec<Option<Metadata>> = Vec::new();
        while let Some(step) = walk.step()? {
            match step {
                Step::Entry(node) if node.kind == NodeKind::Dir => match descent.enter(&node.name) {
                    Ok(()) => entered.push(Metadata::of(&node)),
                    // It could not be made, and that was said.
                    Err(_) => walk.skip(),
                },
                Step::Leave => {
                    let path = || walk.folder().clone();
                    let folder = descent.here().and_then(|here| here.as_fd().try_clone_to_owned());
                    descent.leave().map_err(failed("leave a folder in", walk.folder()))?;
                    let set = |metadata| folder.and_then(|folder| set_metadata(folder, metadata, DIR_MODE));
                    if let Some(Err(e)) = entered.pop().flatten().map(set) {
                        self.not_set(&path(), e);
                    }
                }
                Step::Entry(_) | Step::Broken(_) => {}
            }
        }
        if let Some(metadata) = self.plan.start.own.filter(|_| self.plan.existing.is_none())
            && let Err(e) = set_metadata(root, metadata, DIR_MODE)
        {
            self.not_set(&self.plan.start.folder, e);
        }
        Ok(())
    }

    fn summary(self) -> RestoreSummary {
        let specials = self.plan.specials;
        if specials > 0 {
            let message = format!("{specials} pipes, sockets or devices were not restored");
            self.warn(WarningKind::SpecialFile, None, message);
        }
        let unset = std::mem::take(&mut *self.unset.lock().unwrap_or_else(PoisonError::into_inner));
        if let (entries, Some((path, error))) = unset {
            let message =
                format!("Times or permissions of {entries} entries could not be set, here first: {error}");
            self.warn(WarningKind::NotRestored, Some(&path), message);
        }
        RestoreSummary {
            files: self.files.into_inner(),
            dirs: self.dirs.into_inner(),
            symlinks: self.symlinks.into_inner(),
            hard_links: self.hard_links.into_inner(),
            bytes: self.bytes.into_inner(),
            damaged: self.damaged.into_inner(),
            failed: self.refused.into_inner(),
            specials,
            warnings: self.warnings.into_inner().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// The first way through the tree.
struct Creation<'a, 'w> {
    work: &'w Work<'a>,
    jobs: Sender<Job>,
    descent: Descent,
    /// The folder where we are, as the jobs hold it; opened for the first file.
    here: Option<Arc<OwnedFd>>,
    firsts: Firsts,
}

impl Creation<'_, '_> {
    fn run(mut self) -> Result<Firsts> {
        let work = self.work;
        let mut walk = work.plan.start.walk(work.repo, &work.stop);
        while let Some(step) = walk.step()? {
            match step {
                Step::Entry(node) => {
                    let (path, is_dir) = (walk.path_of(&node), node.kind == NodeKind::Dir);
                    if let Err(e) = self.create(node, &path) {
                        work.lost(&path, e);
                        if is_dir {
                            walk.skip();
                        }
                    }
                }
                Step::Leave => {
                    self.here = None;
                    self.descent.leave().map_err(failed("leave a folder in", walk.folder()))?;
                }
                Step::Broken(error) if !work.plan.damaged.contains(walk.folder()) => {
                    work.lost(walk.folder(), error);
                }
                // The plan has said so.
                Step::Broken(_) => {}
            }
        }
        Ok(self.firsts)
    }

    fn create(&mut self, node: Node, path: &StoredPath) -> Result<()> {
        check_name(&node.name, path)?;
        match node.kind {
            NodeKind::Dir => self.create_dir(&node, path),
            NodeKind::Symlink => self.create_symlink(&node, path),
            NodeKind::File => self.create_file(node, path),
            _ => Ok(()),
        }
    }

    fn create_dir(&mut self, node: &Node, path: &StoredPath) -> Result<()> {
        let mode = if node.mtime.is_some() { 0o700 } else { 0o777 };
        let here = self.descent.here().map_err(failed("make folder", path))?;
        match mkdirat(here, node.name.as_slice(), Mode::from_raw_mode(mode)) {
            // What stands there is a folder, or else it is not entered.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(failed("make folder", path)(e.into())),
        }
        self.descent.enter(&node.name).map_err(failed("open folder", path))?;
        self.here = None;
        count(&self.work.dirs);
        Ok(())
    }

    fn create_symlink(&self, node: &Node, path: &StoredPath) -> Result<()> {
        let here = self.descent.here().map_err(failed("make link", path))?;
        let target = node.target.as_deref().unwrap_or_default();
        symlinkat(target, here, node.name.as_slice()).map_err(|e| file::occupied(e, path))?;
        count(&self.work.symlinks);
        if let Some(metadata) = Metadata::of(node)
            && let Err(e) = utimensat(here, node.name.as_slice(), &times(metadata), AtFlags::SYMLINK_NOFOLLOW)
        {
            self.work.not_set(path, e.into());
        }
        Ok(())
    }

    fn create_file(&mut self, node: Node, path: &StoredPath) -> Result<()> {
        let mut done = None;
        if let Some(key) = LinkKey::of(&node).filter(|_| self.work.plan.hard_links > 0) {
            let Some(flag) = self.firsts.first(key, path) else { return Ok(()) };
            done = Some(flag);
        }
        let folder = match &self.here {
            Some(folder) => Arc::clone(folder),
            None => {
                let here = self.descent.here().and_then(|here| here.as_fd().try_clone_to_owned());
                let folder = Arc::new(here.map_err(failed("open the folder of", path))?);
                self.here.insert(folder).clone()
            }
        };
        let job = Job { folder, node, path: path.clone(), done };
        self.jobs.send(job).map_err(|_| Error::cancelled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_return_does_not_delay_the_wish_to_stop() {
        let cancel = Cancel::new();
        let (release, held) = bounded::<()>(0);
        let raise = cancel.clone();
        let call = move || {
            raise.cancel();
            // Returns only when the test is over.
            let _ = held.recv();
            Ok(())
        };
        assert_eq!(wait_for(&cancel, call).unwrap_err().kind(), Kind::Cancelled);
        drop(release);
    }

    #[test]
    fn what_a_call_returns_is_handed_on() {
        let cancel = Cancel::new();
        assert!(wait_for(&cancel, || Ok(())).unwrap().is_ok());
        let failure = wait_for(&cancel, || Err(io::ErrorKind::StorageFull.into())).unwrap().unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::StorageFull);
    }
}
