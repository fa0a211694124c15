//! The second way through the tree: further names of files that had several, and the sidecars of databases, which follow
//! what became of their databases: the sidecar of one state beside the database of another would damage it.

use super::create::{no_folder, write};
use super::decide::look;
use super::target::failed;
use super::walk::{Decided, DecidedWalk, Event};
use super::work::{Job, Work, count};
use super::{Action, LinkKey, Overwrite, file};
use crate::base::{Result, StoredPath};
use crate::model::Node;
use crate::source::{Descent, SourceDir};
use crate::sqlite::capture::Sidecar;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The first name of each file that has several, and whether sidecars wait for their databases.
#[derive(Debug, Default)]
pub(super) struct Firsts {
    by_key: HashMap<LinkKey, First>,
    is_deferred: bool,
}

#[derive(Debug)]
struct First {
    path: StoredPath,
    /// True once the file is there.
    done: Arc<AtomicBool>,
}

impl Firsts {
    /// Takes the first name of a file, and gives the flag that is raised when it is there; nothing for a further name.
    pub(super) fn first(&mut self, key: LinkKey, path: &StoredPath) -> Option<Arc<AtomicBool>> {
        if self.by_key.contains_key(&key) {
            return None;
        }
        let done = Arc::new(AtomicBool::new(false));
        self.by_key.insert(key, First { path: path.clone(), done: Arc::clone(&done) });
        Some(done)
    }

    /// True if this is a further name of a file whose first name was taken.
    pub(super) fn has_other(&self, key: LinkKey, path: &StoredPath) -> bool {
        self.by_key.get(&key).is_some_and(|first| first.path != *path)
    }

    /// A sidecar waits for its database.
    pub(super) fn defer(&mut self) {
        self.is_deferred = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty() && !self.is_deferred
    }
}

/// Gives files their further names, and databases their sidecars. Where the file system cannot, or the first name is not
/// there, the file is written once more.
pub(super) fn make_all(work: &Work<'_>, firsts: &Firsts) -> Result<()> {
    let beside =
        |here: &SourceDir, database: &Node, path: &StoredPath| rule_beside(work, here, database, path);
    let mut walk = work.walk()?.with_beside(&beside);
    let mut source = FirstFolder { work, open: None };
    while let Some(event) = walk.step().or_else(|e| work.check().and(Err(e)))? {
        work.check()?;
        match event {
            Event::Entry(entry) if walk.skips_missing(&entry) => work.lost_folder(&entry.path),
            Event::Entry(entry) => {
                let first = LinkKey::of(&entry.node).and_then(|key| firsts.by_key.get(&key));
                let is_further = first.is_some_and(|first| first.path != entry.path);
                if !is_further && entry.database.is_none() {
                    continue;
                }
                let path = entry.path.clone();
                if let Err(e) = source.make(first, entry, &walk) {
                    work.lost(&path, e);
                }
            }
            Event::Lost(node, path, error) if !work.is_left_alone(&path) => {
                // Everything else was met before, and what could not be restored was told then.
                let is_further = LinkKey::of(&node).is_some_and(|key| firsts.has_other(key, &path));
                if is_further || Sidecar::main_of(&node.name).is_some() {
                    work.lost(&path, error);
                }
            }
            Event::Lost(..) | Event::Leave(..) | Event::Broken(..) => {}
        }
    }
    work.check()
}

/// The rule for a sidecar, now that its database is there or is not. Nothing if another database is there.
fn rule_beside(
    work: &Work<'_>,
    here: &SourceDir,
    database: &Node,
    path: &StoredPath,
) -> Result<Option<Overwrite>> {
    let rule = work.plan.options.overwrite;
    if work.is_left_alone(path) {
        let found = look(here, &database.name).map_err(failed("look at", path))?;
        return Ok(if found.is_some() { None } else { Some(rule) });
    }
    // If the database was written, no sidecar is there any more; if it was not, it is the stored one.
    Ok(match rule {
        Overwrite::Never | Overwrite::IfNewer => Some(Overwrite::Always),
        Overwrite::Refuse | Overwrite::Always | Overwrite::IfChanged => Some(rule),
    })
}

/// The folder of a first name, kept open for the next one.
struct FirstFolder<'w, 'a> {
    work: &'w Work<'a>,
    open: Option<(StoredPath, Descent)>,
}

impl FirstFolder<'_, '_> {
    /// Makes a further name of a file, or the sidecar of a database, or what is both.
    fn make(&mut self, first: Option<&First>, entry: Decided, walk: &DecidedWalk<'_>) -> Result<()> {
        let work = self.work;
        if entry.action == Action::Keep {
            count(&work.counts.kept);
            work.leave_alone(&entry.path);
            return Ok(());
        }
        let (path, action, is_sidecar) = (entry.path.clone(), entry.action, entry.database.is_some());
        let folder = walk.here(&path)?.try_clone().map_err(failed("open the folder of", &path))?;
        let done = first.filter(|first| first.path == path).map(|first| Arc::clone(&first.done));
        let job = Job::new(work, Arc::new(folder), entry, walk, done);
        if let Some(first) = first.filter(|first| first.path != path)
            && first.done.load(Ordering::Acquire)
            && let Ok(folder) = self.folder_of(&first.path)
            && let Ok(source) = folder.here()
            && file::link(work, (source, first.path.name()), &job)?
        {
            count(&work.counts.hard_links);
        } else {
            write(work, &job);
        }
        if !is_sidecar {
            return Ok(());
        }
        if work.is_left_alone(&path) {
            return file::move_stale(work, &job);
        }
        if action == Action::Make && work.was_moved_aside(&path) {
            count(&work.counts.overwritten);
        }
        Ok(())
    }

    /// Goes down from the target: paths may be longer than the system takes.
    fn folder_of(&mut self, path: &StoredPath) -> Result<&Descent> {
        let folder = path.parent().unwrap_or_else(StoredPath::root);
        let is_open = self.open.as_ref().is_some_and(|(open, _)| *open == folder);
        if !is_open {
            let mut descent = self.work.descent()?;
            let above = self.work.plan.start.folder.components().count();
            for name in folder.components().skip(above) {
                descent.enter(name).map_err(failed("open folder", &folder))?;
            }
            self.open = Some((folder, descent));
        }
        match &self.open {
            Some((_, descent)) => Ok(descent),
            None => Err(no_folder(path)),
        }
    }
}
