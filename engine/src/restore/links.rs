//! The second way through the tree: further names of files that had several, and the sidecars of databases, which follow
//! what became of their databases: the sidecar of one state beside the database of another would damage it.

use super::create::{asides, decide, is_settled, no_folder, write};
use super::existing::{Decision, look};
use super::selection::{Met, Way};
use super::target::failed;
use super::work::{Job, Work, count};
use super::{LinkKey, Overwrite, file};
use crate::base::{Result, StoredPath};
use crate::model::{Node, NodeKind};
use crate::source::{Descent, SourceDir};
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
    let mut descent = work.descent()?;
    let mut way = work.way();
    let mut source = FirstFolder { work, open: None };
    while let Some(met) = way.step().or_else(|e| work.check().and(Err(e)))? {
        work.check()?;
        match met {
            Met::Entry(node, path) if node.kind == NodeKind::Dir => {
                if let Err(e) = descent.enter(&node.name) {
                    // It could not be made, and that was said; or something else is to stay there.
                    if !work.is_left_alone(&path) {
                        work.lost(&path, failed("open folder", &path)(e));
                    }
                    way.skip();
                }
            }
            Met::Entry(node, path) => {
                let first = LinkKey::of(&node).and_then(|key| firsts.by_key.get(&key));
                let database = way.database_of(&node, &path);
                let is_further = first.is_some_and(|first| first.path != path);
                if (is_further || database.is_some())
                    && let Err(e) = source.make(first, database.as_ref(), node, &path, &descent, &way)
                {
                    work.lost(&path, e);
                }
            }
            Met::Leave(folder) => descent.leave().map_err(failed("leave a folder in", &folder))?,
            Met::Broken(..) => {}
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
    fn make(
        &mut self,
        first: Option<&First>,
        database: Option<&(Node, StoredPath)>,
        node: Node,
        path: &StoredPath,
        descent: &Descent,
        way: &Way<'_>,
    ) -> Result<()> {
        let work = self.work;
        let here = descent.here().map_err(failed("open the folder of", path))?;
        let rule = work.plan.options.overwrite;
        let rule = match database {
            Some((database, at)) => rule_beside(work, here, database, at)?,
            None => Some(rule),
        };
        let (decision, found) = match rule {
            Some(rule) => decide(rule, here, &node)?,
            None => (Decision::Keep, None),
        };
        if decision == Decision::Keep {
            count(&work.counts.kept);
            work.leave_alone(path);
            return Ok(());
        }
        let job = Job {
            folder: Arc::new(here.try_clone().map_err(failed("open the folder of", path))?),
            is_settled: is_settled(work, found.as_ref(), &node),
            asides: asides(work, &node, path, way),
            node,
            path: path.clone(),
            decision,
            done: first.filter(|first| first.path == *path).map(|first| Arc::clone(&first.done)),
        };
        if let Some(first) = first.filter(|first| first.path != *path)
            && first.done.load(Ordering::Acquire)
            && let Ok(folder) = self.folder_of(&first.path)
            && let Ok(source) = folder.here()
            && file::link(work, (source, first.path.name()), &job)?
        {
            count(&work.counts.hard_links);
        } else {
            write(work, &job);
        }
        if database.is_none() {
            return Ok(());
        }
        if work.is_left_alone(path) {
            return file::move_stale(work, &job);
        }
        if decision == Decision::Make && work.was_moved_aside(path) {
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
