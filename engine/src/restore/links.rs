//! The second way through the tree: further names of files that had several.

use super::create::{asides, decide, is_settled, no_folder, write};
use super::existing::Decision;
use super::selection::{Met, Way};
use super::target::failed;
use super::work::{Job, Work, count};
use super::{LinkKey, file};
use crate::base::{Result, StoredPath};
use crate::model::{Node, NodeKind};
use crate::source::Descent;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The first name of each file that has several.
#[derive(Debug, Default)]
pub(super) struct Firsts(HashMap<LinkKey, First>);

#[derive(Debug)]
struct First {
    path: StoredPath,
    /// True once the file is there.
    done: Arc<AtomicBool>,
}

impl Firsts {
    /// Takes the first name of a file, and gives the flag that is raised when it is there; nothing for a further name.
    pub(super) fn first(&mut self, key: LinkKey, path: &StoredPath) -> Option<Arc<AtomicBool>> {
        if self.0.contains_key(&key) {
            return None;
        }
        let done = Arc::new(AtomicBool::new(false));
        self.0.insert(key, First { path: path.clone(), done: Arc::clone(&done) });
        Some(done)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Gives files their further names. Where the file system cannot, or the first one is not there, the file is written
/// once more.
pub(super) fn make_all(work: &Work<'_>, firsts: &Firsts) -> Result<()> {
    let mut descent = work.descent()?;
    let mut way = work.way();
    let mut source = FirstFolder { work, open: None };
    while let Some(met) = way.step().or_else(|e| work.check().and(Err(e)))? {
        work.check()?;
        match met {
            Met::Entry(node, _) if node.kind == NodeKind::Dir => {
                if descent.enter(&node.name).is_err() {
                    // It could not be made, and that was said; or something else is to stay there.
                    way.skip();
                }
            }
            Met::Entry(node, path) => {
                let first = LinkKey::of(&node).and_then(|key| firsts.0.get(&key));
                if let Some(first) = first.filter(|first| first.path != path)
                    && let Err(e) = source.link(first, node, &path, &descent, &way)
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

/// The folder of a first name, kept open for the next one.
struct FirstFolder<'w, 'a> {
    work: &'w Work<'a>,
    open: Option<(StoredPath, Descent)>,
}

impl FirstFolder<'_, '_> {
    fn link(
        &mut self,
        first: &First,
        node: Node,
        path: &StoredPath,
        descent: &Descent,
        way: &Way<'_>,
    ) -> Result<()> {
        let work = self.work;
        let here = descent.here().map_err(failed("open the folder of", path))?;
        let (decision, found) = decide(work, here, &node)?;
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
            done: None,
        };
        if first.done.load(Ordering::Acquire)
            && let Ok(folder) = self.folder_of(&first.path)
            && let Ok(source) = folder.here()
            && file::link(work, (source, first.path.name()), &job)?
        {
            count(&work.counts.hard_links);
            return Ok(());
        }
        write(work, &job);
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
