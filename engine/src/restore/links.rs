//! The second way through the tree: further names of files that had several.

use super::LinkKey;
use super::apply::{Job, Work};
use super::file;
use super::target::failed;
use crate::base::{Result, StoredPath};
use crate::browse::Step;
use crate::model::{Node, NodeKind};
use crate::source::Descent;
use std::collections::HashMap;
use std::os::fd::AsFd;
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
    let cancel = work.repo.session().cancel.clone();
    let mut descent = work.descent()?;
    let mut walk = work.plan.start.walk(work.repo, &cancel);
    let mut source = FirstFolder { work, open: None };
    while let Some(step) = walk.step()? {
        work.check()?;
        match step {
            Step::Entry(node) if node.kind == NodeKind::Dir => {
                if descent.enter(&node.name).is_err() {
                    // It could not be made, and that was said.
                    walk.skip();
                }
            }
            Step::Entry(node) => {
                let path = walk.path_of(&node);
                let first = LinkKey::of(&node).and_then(|key| firsts.0.get(&key));
                if let Some(first) = first.filter(|first| first.path != path)
                    && let Err(e) = source.link(first, node, &path, &descent)
                {
                    work.lost(&path, e);
                }
            }
            Step::Leave => descent.leave().map_err(failed("leave a folder in", walk.folder()))?,
            Step::Broken(_) => {}
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
    fn link(&mut self, first: &First, node: Node, path: &StoredPath, descent: &Descent) -> Result<()> {
        let here = descent.here().map_err(failed("open the folder of", path))?;
        if first.done.load(Ordering::Acquire)
            && let Ok(folder) = self.folder_of(&first.path)
            && let Ok(source) = folder.here()
            && file::link(source, first.path.name(), here, &node.name, path)?
        {
            self.work.linked();
            return Ok(());
        }
        let folder = here.as_fd().try_clone_to_owned().map_err(failed("open the folder of", path))?;
        self.work.write(&Job { folder: Arc::new(folder), node, path: path.clone(), done: None });
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
            None => Err(crate::base::Error::new(crate::base::Kind::Internal, "open folder", path)),
        }
    }
}
