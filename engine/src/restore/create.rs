//! The first way through the tree: everything but further names of files, and what is set on folders.

use super::decide::look;
use super::links::Firsts;
use super::metadata::Replaced;
use super::names::is_listed;
use super::target::failed;
use super::temporary::{occupied, remove_leftovers};
use super::walk::{Decided, DecidedWalk, Event};
use super::work::{Aside, Job, Work, count};
use super::{Action, LinkKey, Overwrite, file};
use crate::base::{Counter, Error, Kind, Result, StoredPath};
use crate::model::{Node, NodeKind};
use crate::source::{SourceDir, Stat};
use crate::sqlite::capture::Sidecar;
use crossbeam_channel::Sender;
use rustix::fs::{FileType, Mode, fchmod, makedev, mkdirat, mknodat, symlinkat};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Creates everything, files on all threads.
pub(super) fn create_all(work: &Work<'_>) -> Result<Firsts> {
    work.on_threads(
        |job| write(work, &job),
        |jobs| {
            let mut walk = work.walk()?;
            if work.plan.existing.is_some() {
                let root = walk.here(&work.plan.start.folder)?;
                remove_leftovers(root, work.repo.session(), work.begun);
            }
            Creation { work, jobs, here: None, firsts: Firsts::default() }.run(&mut walk)
        },
    )
}

/// Writes one file, on any thread.
pub(super) fn write(work: &Work<'_>, job: &Job) {
    if work.stop.is_cancelled() {
        return;
    }
    work.observer.working_on(&job.path);
    match file::restore(work, job) {
        Ok(()) => {
            work.observer.add(Counter::Files, 1);
            if let Some(done) = &job.done {
                done.store(true, std::sync::atomic::Ordering::Release);
            }
        }
        Err(e) => work.lost(&job.path, e),
    }
}

/// True if what stands under the name of an entry, which came after it was looked at, is that entry all the same: another
/// restore into the same target is at work.
pub(super) fn has_come(work: &Work<'_>, folder: &SourceDir, node: &Node, path: &StoredPath) -> bool {
    let found = look(folder, &node.name).ok().flatten();
    let is_the_name = || is_listed(folder, &node.name);
    match Overwrite::Always.decide(folder, found.as_ref(), node) {
        Action::Leave => is_the_name(),
        Action::Compare => is_the_name() && file::has_content(work, folder, node, path).unwrap_or(false),
        _ => false,
    }
}

struct Creation<'a, 'w> {
    work: &'w Work<'a>,
    jobs: Sender<Job>,
    /// The folder where we are, as the jobs hold it; opened for the first file.
    here: Option<Arc<SourceDir>>,
    firsts: Firsts,
}

impl Creation<'_, '_> {
    fn run(mut self, walk: &mut DecidedWalk<'_>) -> Result<Firsts> {
        let work = self.work;
        while let Some(event) = walk.step()? {
            match event {
                Event::Entry(entry) => {
                    let (is_dir, path) = (entry.node.kind == NodeKind::Dir, entry.path.clone());
                    if let Err(e) = self.create(entry, walk) {
                        work.lost(&path, e);
                        if is_dir {
                            walk.skip();
                        }
                    }
                }
                Event::Leave(..) => self.here = None,
                Event::Lost(_, path, error) => work.lost(&path, error),
                Event::Broken(folder, error) if !work.plan.damaged.contains(&folder) => {
                    work.lost(&folder, error);
                }
                // The plan has said so.
                Event::Broken(..) => {}
            }
        }
        Ok(self.firsts)
    }

    fn create(&mut self, entry: Decided, walk: &mut DecidedWalk<'_>) -> Result<()> {
        if entry.action == Action::Keep {
            if entry.node.kind != NodeKind::File || !self.is_later(&entry) {
                count(&self.work.counts.kept);
                self.work.leave_alone(&entry.path);
            }
            return Ok(());
        }
        match entry.node.kind {
            NodeKind::Dir => {
                self.here = None;
                self.create_dir(&entry, walk)
            }
            NodeKind::File => self.create_file(entry, walk),
            _ => self.create_other(&entry, walk.here(&entry.path)?),
        }
    }

    fn create_dir(&mut self, entry: &Decided, walk: &mut DecidedWalk<'_>) -> Result<()> {
        let work = self.work;
        let Decided { node, path, action, found, .. } = entry;
        let mut is_new = *action != Action::Merge;
        if is_new {
            let here = walk.here(path)?;
            if *action == Action::Overwrite {
                check_may_replace(entry)?;
                file::clear(work, here, node, path)?;
                count(&work.counts.overwritten);
            }
            is_new = make_dir(here, node, path)?;
            walk.enter(node, path)?;
        }
        count(&work.counts.dirs);
        if is_new {
            work.made(path);
            work.setter.disinherit(walk.here(path)?);
            return Ok(());
        }
        let here = walk.here(path)?;
        remove_leftovers(here, work.repo.session(), work.begun);
        if !walk.is_meant(path) || work.plan.options.overwrite == Overwrite::Never {
            work.leave_alone(path);
        } else if let Some(found) = found {
            open_for_us(here, found, node);
        }
        Ok(())
    }

    /// Makes a link or a special file.
    fn create_other(&self, entry: &Decided, here: &SourceDir) -> Result<()> {
        let work = self.work;
        let Decided { node, path, action, found, .. } = entry;
        let folder = here.as_fd();
        if matches!(action, Action::Leave | Action::Compare) {
            count(&work.counts.unchanged);
            if found.is_some_and(|found| work.setter.differs(&found, node)) {
                work.not_set(path, work.setter.set_by_name(folder, &node.name, node, None));
            }
            return Ok(());
        }
        let made = if *action == Action::Make && node.kind == NodeKind::Symlink {
            let target = node.target.as_deref().unwrap_or_default();
            let made = symlinkat(target, folder, node.name.as_slice()).map_err(|e| occupied(e, path));
            made.map(|()| work.setter.set_by_name(folder, &node.name, node, None))
        } else {
            self.put_other(entry, here)
        };
        match made {
            Ok(unset) => work.not_set(path, unset),
            Err(e) if e.kind() == Kind::AlreadyThere && has_come(work, here, node, path) => {
                count(&work.counts.unchanged);
                return Ok(());
            }
            Err(e) => return Err(e),
        }
        count(if node.kind == NodeKind::Symlink { &work.counts.symlinks } else { &work.counts.specials });
        Ok(())
    }

    fn put_other(&self, entry: &Decided, here: &SourceDir) -> Result<super::metadata::Failures> {
        let work = self.work;
        let Decided { node, path, .. } = entry;
        check_may_replace(entry)?;
        let replaced = Replaced::of(here, node);
        let discards = file::discards(work, here, node, path, entry.action)?;
        let made = work.names.make(here.as_fd(), |name| make(here, name, node));
        let (temporary, ()) = made.map_err(failed("make", path))?;
        let unset = work.setter.set_by_name(here.as_fd(), temporary.name(), node, replaced.as_ref());
        file::put(work, temporary, entry.action, here, node, path)?;
        if discards {
            work.discarded(path);
        }
        Ok(unset)
    }

    /// True for further names and for sidecars: what becomes of their first names and databases must be known before.
    fn is_later(&mut self, entry: &Decided) -> bool {
        let is_further = LinkKey::of(&entry.node)
            .filter(|_| self.work.plan.hard_links > 0)
            .is_some_and(|key| self.firsts.has_other(key, &entry.path));
        if entry.database.is_some() {
            self.firsts.defer();
        }
        is_further || entry.database.is_some()
    }

    fn create_file(&mut self, entry: Decided, walk: &DecidedWalk<'_>) -> Result<()> {
        let work = self.work;
        let mut done = None;
        if let Some(key) = LinkKey::of(&entry.node).filter(|_| work.plan.hard_links > 0) {
            let Some(flag) = self.firsts.first(key, &entry.path) else { return Ok(()) };
            done = Some(flag);
        }
        if entry.database.is_some() {
            self.firsts.defer();
            return Ok(());
        }
        let folder = match &self.here {
            Some(folder) => Arc::clone(folder),
            None => {
                let folder = walk.here(&entry.path)?.try_clone();
                let folder = folder.map_err(failed("open the folder of", &entry.path))?;
                self.here.insert(Arc::new(folder)).clone()
            }
        };
        let job = Job::new(work, folder, entry, walk, done);
        self.jobs.send(job).map_err(|_| Error::cancelled())
    }
}

/// Refuses to replace what came after a plan that found nothing in the way.
fn check_may_replace(entry: &Decided) -> Result<()> {
    if entry.rule == Overwrite::Refuse && entry.action != Action::Make {
        return Err(occupied(Errno::EXIST, &entry.path));
    }
    Ok(())
}

/// Makes a folder; false if one has come meanwhile.
fn make_dir(here: &SourceDir, node: &Node, path: &StoredPath) -> Result<bool> {
    // Folders above the sources get no permissions later, but are no more open than they were.
    let mode = if node.mtime.is_some() { 0o700 } else { 0o700 | (node.mode & 0o777) };
    match mkdirat(here, node.name.as_slice(), Mode::from_raw_mode(mode)) {
        Ok(()) => Ok(true),
        // What stands there is a folder, or else it is not entered.
        Err(Errno::EXIST) => Ok(false),
        Err(e) => Err(failed("make folder", path)(e.into())),
    }
}

/// Names beside a database that SQLite would take for part of it.
pub(super) fn asides(work: &Work<'_>, node: &Node, path: &StoredPath, walk: &DecidedWalk<'_>) -> Vec<Aside> {
    if node.database.is_none() || work.plan.options.overwrite == Overwrite::Refuse {
        return Vec::new();
    }
    let folder = path.parent().unwrap_or_else(StoredPath::root);
    let names = Sidecar::ALL.into_iter().map(|sidecar| sidecar.beside(&node.name));
    names.map(|name| Aside { is_restored: walk.restores(&folder.join(&name)), name }).collect()
}

fn make(folder: &SourceDir, name: &str, node: &Node) -> rustix::io::Result<()> {
    let (kind, device) = match node.kind {
        NodeKind::Symlink => {
            return symlinkat(node.target.as_deref().unwrap_or_default(), folder, name);
        }
        NodeKind::Fifo => (FileType::Fifo, None),
        NodeKind::Socket => (FileType::Socket, None),
        NodeKind::CharDevice => (FileType::CharacterDevice, node.device),
        NodeKind::BlockDevice => (FileType::BlockDevice, node.device),
        NodeKind::File | NodeKind::Dir => return Err(Errno::INVAL),
    };
    let (major, minor) = device.unwrap_or_default();
    mknodat(folder, name, kind, Mode::from_raw_mode(0o600), makedev(major, minor))
}

/// Lets ourselves write into a folder of ours that is there and closed to us; its stored permissions are set in the end.
fn open_for_us(folder: &SourceDir, found: &Stat, node: &Node) {
    let is_ours = found.uid == rustix::process::geteuid().as_raw();
    if is_ours && found.mode & 0o300 != 0o300 && node.mtime.is_some() {
        // If this fails, what is to be written says so.
        let _ = fchmod(folder, Mode::from_raw_mode(found.mode | 0o700));
    }
}

/// The error of an entry that is none of those that have several names.
pub(super) fn no_folder(path: &StoredPath) -> Error {
    Error::new(Kind::Internal, "open folder", path)
}
