//! Writing what was planned (see the module's page).

use super::create::create_all;
use super::remove::Extras;
use super::target::shown;
use super::verify::verify_all;
use super::walk::{Event, Level};
use super::work::Work;
use super::{RestorePlan, RestoreSummary, links};
use crate::base::{Cancel, Error, Kind, Observer, Phase, Result, StoredPath};
use crate::model::NodeKind;
use crate::repo::Repo;
use crate::source::SourceDir;
use crossbeam_channel::{RecvTimeoutError, bounded};
use rustix::fs::syncfs;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the wish to stop is looked at while the system writes to disk.
const LOOK_AT_CANCEL: Duration = Duration::from_millis(50);

/// Restores what was planned; it is durable when this returns. What cannot be restored is told and counted, and the
/// rest goes on.
///
/// # Errors
/// [`Kind::NoSpace`] and [`Kind::Cancelled`] end the restore: what has its name by then is whole, nothing else of it
/// stays but folders, nothing is deleted, and none of it need be durable. So does a failure of the repository's store while
/// folders are read.
pub fn apply(repo: &Repo, plan: RestorePlan, observer: &dyn Observer) -> Result<RestoreSummary> {
    if plan.only_here > 0 {
        let why = format!("{} entries of it are in no snapshot and would be lost", plan.only_here);
        return Err(Error::new(Kind::OnlyHere, "restore into", shown(&plan.target)).because(why));
    }
    let work = Work::new(repo, plan, observer)?;
    work.begin(Phase::Restoring);
    let firsts = create_all(&work)?;
    if !firsts.is_empty() {
        links::make_all(&work, &firsts)?;
    }
    // Opened before the folders get their permissions, which may shut us out.
    let root = work.root()?;
    if work.plan.options.verify {
        flush(&work, &root)?;
        verify_all(&work)?;
    }
    Finish { work: &work, broken: BTreeSet::new() }.run()?;
    flush(&work, &root)?;
    Ok(work.summary())
}

/// Makes durable what was written.
fn flush(work: &Work<'_>, root: &SourceDir) -> Result<()> {
    let failed = |e| Error::io("make durable", &work.shown, e);
    let root = root.as_fd().try_clone_to_owned().map_err(failed)?;
    let made = wait_for(&work.repo.session().cancel, move || Ok(syncfs(root)?))?;
    made.map_err(failed)
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

/// The last part: what the snapshot does not have goes, if that is asked for, and folders get their times and
/// permissions. Each is left before its own are set, because we may not be able to enter it afterwards.
struct Finish<'a, 'w> {
    work: &'w Work<'a>,
    /// Folders of which entries cannot be read: nothing in them is known to be too much.
    broken: BTreeSet<StoredPath>,
}

impl Finish<'_, '_> {
    fn run(&mut self) -> Result<()> {
        let work = self.work;
        let start = &work.plan.start;
        let mut walk = work.walk_of_folders(true)?;
        while let Some(event) = walk.step()? {
            match event {
                Event::Leave(level, path) => self.finish(walk.here(&path)?, level, &path)?,
                Event::Lost(node, path, error)
                    if node.kind == NodeKind::Dir && !work.is_left_alone(&path) =>
                {
                    work.lost(&path, error);
                }
                Event::Broken(path, _) => {
                    self.broken.insert(path);
                }
                Event::Entry(entry) if walk.skips_missing(&entry) => work.lost_folder(&entry.path),
                Event::Entry(_) | Event::Lost(..) => {}
            }
        }
        let Some((here, mut level)) = walk.into_top() else { return Ok(()) };
        if work.plan.existing.is_none() {
            work.made(&start.folder);
            level.node = start.own.as_deref().cloned();
        }
        self.finish(&here, level, &start.folder)
    }

    fn finish(&mut self, folder: &SourceDir, level: Level, path: &StoredPath) -> Result<()> {
        let work = self.work;
        let is_whole = !self.broken.contains(path) && !work.plan.damaged.contains(path);
        for (name, stat) in level.extras.filter(|_| is_whole).into_iter().flat_map(Extras::left) {
            let below = path.join(&name);
            if work.was_moved_aside(&below) {
                continue;
            }
            let entry = (name.as_slice(), &stat);
            let done = work.remove(folder, entry, &below, level.is_included)?;
            work.counts.deleted.fetch_add(done.entries, Ordering::Relaxed);
        }
        if let Some(node) = level.node.filter(|_| !work.is_left_alone(path)) {
            let unset = match work.was_made(path) {
                true => work.setter.set(folder, &node, None),
                false => work.setter.set_merged(folder, &node),
            };
            work.not_set(path, unset);
        }
        Ok(())
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
