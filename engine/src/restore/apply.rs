//! Writing what was planned (see the module's page).

use super::create::create_all;
use super::remove::{Act, Extras, Ground, remove};
use super::selection::Met;
use super::target::failed;
use super::verify::verify_all;
use super::work::Work;
use super::{RestorePlan, RestoreSummary, links};
use crate::base::{Cancel, Error, Kind, Observer, Phase, Result, StoredPath};
use crate::model::{Node, NodeKind};
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
    Finish { work: &work, broken: BTreeSet::new() }.run(&root)?;
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

/// The last way: what the snapshot does not have goes, if that is asked for, and folders get their times and
/// permissions. Each is left before its own are set, because we may not be able to enter it afterwards.
struct Finish<'a, 'w> {
    work: &'w Work<'a>,
    /// Folders of which entries cannot be read: nothing in them is known to be too much.
    broken: BTreeSet<StoredPath>,
}

/// A folder on the way down.
struct Entered {
    node: Node,
    below: Below,
    included: bool,
}

/// What is known of a folder in which entries are restored.
struct Below {
    ground: Ground,
    /// What is in it, if what is too much is to go.
    extras: Option<Extras>,
}

impl Finish<'_, '_> {
    fn run(&mut self, root: &SourceDir) -> Result<()> {
        let work = self.work;
        let start = work.plan.start.clone();
        let mut descent = work.descent()?;
        let mut way = work.way();
        let included = way.is_included();
        let mut top = self.below(Ground::Above, start.is_whole, root, &start.folder)?;
        let mut entered: Vec<Entered> = Vec::new();
        while let Some(met) = way.step()? {
            match met {
                Met::Entry(node, path) => {
                    let above = entered.last_mut().map_or(&mut top, |folder| &mut folder.below);
                    if let Some(extras) = &mut above.extras {
                        extras.has(&node.name);
                    }
                    if node.kind != NodeKind::Dir {
                        continue;
                    }
                    if let Err(e) = descent.enter(&node.name) {
                        // It could not be made, and that was said; or something else is to stay there.
                        if !work.is_left_alone(&path) {
                            work.lost(&path, failed("open folder", &path)(e));
                        }
                        way.skip();
                        continue;
                    }
                    let here = descent.here().map_err(failed("open folder", &path))?;
                    let below = self.below(above.ground, Ground::is_whole(&node), here, &path)?;
                    entered.push(Entered { node, below, included: way.is_meant(&path) });
                }
                Met::Leave(path) => {
                    let folder = descent.here().and_then(SourceDir::try_clone);
                    descent.leave().map_err(failed("leave a folder in", &path))?;
                    let (Some(done), Ok(folder)) = (entered.pop(), folder) else { continue };
                    self.finish(&folder, Some(&done.node), done.below.extras, &path, done.included)?;
                }
                Met::Broken(path, _) => {
                    self.broken.insert(path);
                }
            }
        }
        let own = start.own.as_deref().filter(|_| work.plan.existing.is_none());
        self.finish(root, own, top.extras, &start.folder, included)
    }

    fn below(&self, above: Ground, is_whole: bool, folder: &SourceDir, path: &StoredPath) -> Result<Below> {
        let ground = Ground::of(above, is_whole, folder).map_err(failed("look at", path))?;
        let deletes = self.work.plan.options.delete && ground.may_lose();
        let extras =
            if deletes { Some(Extras::of(folder).map_err(failed("look into", path))?) } else { None };
        Ok(Below { ground, extras })
    }

    fn finish(
        &mut self,
        folder: &SourceDir,
        node: Option<&Node>,
        extras: Option<Extras>,
        path: &StoredPath,
        included: bool,
    ) -> Result<()> {
        let work = self.work;
        if let Some(extras) = extras
            && !self.broken.contains(path)
            && !work.plan.damaged.contains(path)
        {
            let tell = |path: &StoredPath, error| work.not_removed(path, &error);
            for (name, stat) in extras.left() {
                let below = path.join(&name);
                if work.was_moved_aside(&below) {
                    continue;
                }
                let entry = (name.as_slice(), &stat);
                let done = remove(&work.guard(), folder, entry, &below, included, &Act::Remove(&tell))?;
                work.counts.deleted.fetch_add(done.entries, Ordering::Relaxed);
            }
        }
        if let Some(node) = node.filter(|_| !work.is_left_alone(path)) {
            work.not_set(path, work.setter.set(folder, node));
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
