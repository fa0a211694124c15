//! The sources as a tree from `/` down: folders above them, and the sources themselves.

use super::no_source;
use crate::base::{Error, Kind, Result, StoredPath};
use crate::format::manifest::MAX_PATHS;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What a snapshot is taken of.
#[derive(Debug, Default)]
pub struct Plan {
    /// The tree from `/` down to the sources.
    pub root: Branch,
    /// Sources that are symbolic links: what they lead to is stored under their paths, also inside another source.
    pub links: BTreeSet<StoredPath>,
    /// Links that lead into another source, and that source: they are not stored a second time.
    pub doubled: Vec<(StoredPath, StoredPath)>,
}

/// What of a folder belongs to the snapshot.
#[derive(Debug, Default)]
pub struct Branch {
    /// True for a source: everything below belongs to it.
    pub whole: bool,
    /// For a folder above sources: the entries on the way to them.
    pub children: BTreeMap<Vec<u8>, Branch>,
}

impl Plan {
    /// Takes the sources; doubled ones and ones inside others fold into one.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a path that is not absolute or holds `..`; [`Kind::NotFound`] if there is nothing at any of
    /// them: then nothing is written.
    pub fn new(paths: &[PathBuf]) -> Result<Self> {
        let mut sources = Vec::with_capacity(paths.len());
        for path in paths {
            sources.push(StoredPath::from_fs(path).ok_or_else(|| {
                Error::new(Kind::Usage, "take a snapshot of", path.display())
                    .because("the path is not absolute or holds `..`")
            })?);
        }
        // A link that leads to nothing is as good as nothing.
        if paths.iter().all(|path| path.metadata().is_err()) {
            return Err(no_source(paths));
        }
        let mut plan = Self::of(sources);
        plan.fold_links();
        let count = plan.paths().len();
        if count > MAX_PATHS {
            return Err(Error::new(Kind::Usage, "take a snapshot of", format!("{count} paths")).because(format!(
                "a snapshot is taken of {MAX_PATHS} at most: name the folders that hold them, and exclude the rest"
            )));
        }
        Ok(plan)
    }

    fn of(sources: Vec<StoredPath>) -> Self {
        let mut plan = Self::default();
        for source in sources {
            plan.root.add(&source);
            if source.to_fs().symlink_metadata().is_ok_and(|found| found.is_symlink()) {
                plan.links.insert(source);
            }
        }
        plan
    }

    /// Leaves out links that lead into what is stored anyway.
    fn fold_links(&mut self) {
        let real = |path: &StoredPath| std::fs::canonicalize(path.to_fs()).ok();
        if self.links.is_empty() {
            return;
        }
        let paths = self.paths();
        let folders = paths.iter().filter(|path| !self.links.contains(*path));
        let mut kept: Vec<(PathBuf, StoredPath)> =
            folders.filter_map(|path| Some((real(path)?, path.clone()))).collect();
        let mut links = BTreeSet::new();
        for link in &self.links {
            let Some(target) = real(link) else {
                links.insert(link.clone());
                continue;
            };
            match kept.iter().find(|(there, _)| target.starts_with(there)) {
                Some((_, other)) => self.doubled.push((link.clone(), other.clone())),
                None => {
                    kept.push((target, link.clone()));
                    links.insert(link.clone());
                }
            }
        }
        if self.doubled.is_empty() {
            return;
        }
        let is_doubled = |path: &StoredPath| self.doubled.iter().any(|(link, _)| link == path);
        let mut root = Branch::default();
        paths.iter().filter(|path| !is_doubled(path)).for_each(|path| root.add(path));
        (self.root, self.links) = (root, links);
    }

    /// The sources, ascending.
    #[must_use]
    pub fn paths(&self) -> Vec<StoredPath> {
        let mut paths = Vec::new();
        let mut open = vec![(StoredPath::root(), &self.root)];
        while let Some((path, branch)) = open.pop() {
            if branch.whole {
                paths.push(path);
            } else {
                open.extend(branch.children.iter().rev().map(|(name, child)| (path.join(name), child)));
            }
        }
        paths
    }
}

impl Branch {
    fn add(&mut self, path: &StoredPath) {
        let mut at = self;
        for name in path.components() {
            if at.whole {
                return;
            }
            at = at.children.entry(name.to_vec()).or_default();
        }
        at.whole = true;
        at.children.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_doubled_sources_fold() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("b/c")).unwrap();
        let plan = Plan::new(&[at("b/c"), at("b"), at("b/"), at("a")]).unwrap();
        let stored = |name: &str| StoredPath::from_fs(&at(name)).unwrap();
        assert_eq!(plan.paths(), [stored("a"), stored("b")]);
    }

    #[test]
    fn relative_and_missing_sources_are_refused() {
        assert_eq!(Plan::new(&["a".into()]).unwrap_err().kind(), Kind::Usage);
        assert_eq!(Plan::new(&["/../a".into()]).unwrap_err().kind(), Kind::Usage);
        assert_eq!(Plan::new(&["/not there".into()]).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(Plan::new(&[]).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn links_into_what_is_stored_anyway_fold_and_others_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        std::fs::create_dir_all(at("real/inner")).unwrap();
        std::fs::create_dir_all(at("card/chats")).unwrap();
        let links = [
            ("a", "card/chats"),
            ("b", "card/chats"),
            ("c", "real"),
            ("d", "real/inner"),
            ("real/link", "../card"),
        ];
        for (link, target) in links {
            std::os::unix::fs::symlink(target, at(link)).unwrap();
        }
        let stored = |name: &str| StoredPath::from_fs(&at(name)).unwrap();
        let plan = Plan::new(&["a", "b", "c", "d", "real", "real/link"].map(at)).unwrap();
        assert_eq!(plan.paths(), [stored("a"), stored("real")]);
        let doubled = [("b", "a"), ("c", "real"), ("d", "real")];
        assert_eq!(plan.doubled, doubled.map(|(link, other)| (stored(link), stored(other))));
        assert_eq!(plan.links.into_iter().collect::<Vec<_>>(), [stored("a"), stored("real/link")]);
        std::os::unix::fs::symlink("gone", at("nowhere")).unwrap();
        assert_eq!(Plan::new(&[at("nowhere")]).unwrap_err().kind(), Kind::NotFound);
    }
}
