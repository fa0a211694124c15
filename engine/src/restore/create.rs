//! The first way through the tree: everything but further names of files, and what is set on folders.

use super::existing::{Decision, look};
use super::links::Firsts;
use super::selection::{Met, Way};
use super::target::{check_name, failed};
use super::temporary::{occupied, remove_leftovers};
use super::work::{Aside, Job, Work, count};
use super::{LinkKey, Overwrite, file};
use crate::base::{Counter, Error, Kind, Result, StoredPath};
use crate::model::{Node, NodeKind};
use crate::source::{Descent, SourceDir, Stat};
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
            let descent = work.descent()?;
            if work.plan.existing.is_some() {
                let root = descent.here().map_err(failed("open", &work.plan.start.folder))?;
                remove_leftovers(root, work.repo.session(), work.begun);
            }
            Creation { work, jobs, descent, here: None, firsts: Firsts::default() }.run()
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

/// What is to be done with an entry of an open folder, and what is there.
pub(super) fn decide(
    overwrite: Overwrite,
    folder: &SourceDir,
    node: &Node,
) -> Result<(Decision, Option<Stat>)> {
    if overwrite == Overwrite::Refuse {
        return Ok((Decision::Make, None));
    }
    let found = look(folder, &node.name).map_err(|e| Error::io("look at", "what is there", e))?;
    Ok((overwrite.decide(folder, found.as_ref(), node), found))
}

/// True if times and permissions of what is there are the stored ones.
pub(super) fn is_settled(work: &Work<'_>, found: Option<&Stat>, node: &Node) -> bool {
    found.is_some_and(|found| node.mtime == Some(found.mtime) && found.mode == work.setter.mode_of(node))
}

struct Creation<'a, 'w> {
    work: &'w Work<'a>,
    jobs: Sender<Job>,
    descent: Descent,
    /// The folder where we are, as the jobs hold it; opened for the first file.
    here: Option<Arc<SourceDir>>,
    firsts: Firsts,
}

impl Creation<'_, '_> {
    fn run(mut self) -> Result<Firsts> {
        let work = self.work;
        let mut way = work.way();
        while let Some(met) = way.step()? {
            match met {
                Met::Entry(node, path) => {
                    let is_dir = node.kind == NodeKind::Dir;
                    match self.create(node, &path, &way) {
                        Ok(true) => {}
                        Ok(false) if is_dir => way.skip(),
                        Ok(false) => {}
                        Err(e) => {
                            work.lost(&path, e);
                            if is_dir {
                                way.skip();
                            }
                        }
                    }
                }
                Met::Leave(folder) => {
                    self.here = None;
                    self.descent.leave().map_err(failed("leave a folder in", &folder))?;
                }
                Met::Broken(folder, error) if !work.plan.damaged.contains(&folder) => {
                    work.lost(&folder, error);
                }
                // The plan has said so.
                Met::Broken(..) => {}
            }
        }
        Ok(self.firsts)
    }

    /// False if the entry is left as it is.
    fn create(&mut self, node: Node, path: &StoredPath, way: &Way<'_>) -> Result<bool> {
        check_name(&node.name, path)?;
        match node.kind {
            NodeKind::Dir => self.create_dir(&node, path, way),
            NodeKind::File => self.create_file(node, path, way),
            NodeKind::Symlink => self.create_other(&node, path),
            _ if self.work.plan.options.special => self.create_other(&node, path),
            _ => Ok(false),
        }
    }

    /// Something is there that stays.
    fn keep(&self, path: &StoredPath) {
        count(&self.work.counts.kept);
        self.work.leave_alone(path);
    }

    fn create_dir(&mut self, node: &Node, path: &StoredPath, way: &Way<'_>) -> Result<bool> {
        let work = self.work;
        // Folders above the sources get no times later, but are no more open than they were.
        let mode = if node.mtime.is_some() { 0o700 } else { 0o700 | (node.mode & 0o777) };
        let here = self.descent.here().map_err(failed("make folder", path))?;
        let (decision, found) = decide(work.plan.options.overwrite, here, node)?;
        let mut is_new = true;
        if found.is_some_and(|found| found.kind == NodeKind::Dir) {
            is_new = false;
        } else {
            match decision {
                Decision::Keep => {
                    self.keep(path);
                    return Ok(false);
                }
                Decision::Make => {}
                _ => {
                    file::clear(work, here, node, path)?;
                    count(&work.counts.overwritten);
                }
            }
            match mkdirat(here, node.name.as_slice(), Mode::from_raw_mode(mode)) {
                Ok(()) => {}
                // What stands there is a folder, or else it is not entered.
                Err(Errno::EXIST) => is_new = false,
                Err(e) => return Err(failed("make folder", path)(e.into())),
            }
        }
        self.descent.enter(&node.name).map_err(failed("open folder", path))?;
        self.here = None;
        count(&work.counts.dirs);
        if !is_new {
            let here = self.descent.here().map_err(failed("open folder", path))?;
            remove_leftovers(here, work.repo.session(), work.begun);
            if !way.is_meant(path) || work.plan.options.overwrite == Overwrite::Never {
                work.leave_alone(path);
            } else if let Some(found) = found {
                open_for_us(here, &found, node);
            }
        }
        Ok(true)
    }

    /// Makes a link or a special file.
    fn create_other(&self, node: &Node, path: &StoredPath) -> Result<bool> {
        let work = self.work;
        let here = self.descent.here().map_err(failed("make", path))?;
        let (decision, found) = decide(work.plan.options.overwrite, here, node)?;
        let folder = here.as_fd();
        let unset = match decision {
            Decision::Keep => {
                self.keep(path);
                return Ok(false);
            }
            Decision::Same | Decision::Compare => {
                count(&work.counts.unchanged);
                let is_settled = found.is_some_and(|found| node.mtime == Some(found.mtime));
                if is_settled && node.kind == NodeKind::Symlink && work.setter.is_plain(node) {
                    return Ok(true);
                }
                work.setter.set_by_name(folder, &node.name, node)
            }
            Decision::Make if node.kind == NodeKind::Symlink => {
                let target = node.target.as_deref().unwrap_or_default();
                symlinkat(target, folder, node.name.as_slice()).map_err(|e| occupied(e, path))?;
                work.setter.set_by_name(folder, &node.name, node)
            }
            _ => {
                let made = work.names.make(folder, |name| make(here, name, node));
                let (temporary, ()) = made.map_err(failed("make", path))?;
                let unset = work.setter.set_by_name(folder, temporary.name(), node);
                file::put(work, temporary, decision, here, node, path)?;
                unset
            }
        };
        work.not_set(path, unset);
        if !matches!(decision, Decision::Same | Decision::Compare) {
            count(if node.kind == NodeKind::Symlink { &work.counts.symlinks } else { &work.counts.specials });
        }
        Ok(true)
    }

    fn create_file(&mut self, node: Node, path: &StoredPath, way: &Way<'_>) -> Result<bool> {
        let mut done = None;
        if let Some(key) = LinkKey::of(&node).filter(|_| self.work.plan.hard_links > 0) {
            let Some(flag) = self.firsts.first(key, path) else { return Ok(true) };
            done = Some(flag);
        }
        // What becomes of its database must be known before.
        if way.database_of(&node, path).is_some() {
            self.firsts.defer();
            return Ok(true);
        }
        let here = self.descent.here().map_err(failed("open the folder of", path))?;
        let (decision, found) = decide(self.work.plan.options.overwrite, here, &node)?;
        if decision == Decision::Keep {
            self.keep(path);
            return Ok(false);
        }
        let folder = match &self.here {
            Some(folder) => Arc::clone(folder),
            None => {
                let folder = here.try_clone().map_err(failed("open the folder of", path))?;
                self.here.insert(Arc::new(folder)).clone()
            }
        };
        let job = Job {
            folder,
            is_settled: is_settled(self.work, found.as_ref(), &node),
            asides: asides(self.work, &node, path, way),
            node,
            path: path.clone(),
            decision,
            done,
        };
        self.jobs.send(job).map_err(|_| Error::cancelled())?;
        Ok(true)
    }
}

/// Names beside a database that SQLite would take for part of it.
pub(super) fn asides(work: &Work<'_>, node: &Node, path: &StoredPath, way: &Way<'_>) -> Vec<Aside> {
    if node.database.is_none() || work.plan.options.overwrite == Overwrite::Refuse {
        return Vec::new();
    }
    let folder = path.parent().unwrap_or_else(StoredPath::root);
    let names = Sidecar::ALL.into_iter().map(|sidecar| sidecar.beside(&node.name));
    names.map(|name| Aside { is_restored: way.restores(&folder.join(&name)), name }).collect()
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
