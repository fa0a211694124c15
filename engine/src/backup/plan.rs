//! The sources as a tree from `/` down: folders above them, and the sources themselves.

use super::no_source;
use crate::base::{Error, Kind, Result, StoredPath};
use crate::format::manifest::MAX_PATHS;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What of a folder belongs to the snapshot.
#[derive(Debug, Default)]
pub struct Plan {
    /// True for a source: everything below belongs to it.
    pub whole: bool,
    /// For a folder above sources: the entries on the way to them.
    pub children: BTreeMap<Vec<u8>, Plan>,
}

impl Plan {
    /// Takes the sources; doubled ones and ones inside others fold into one.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a path that is not absolute or holds `..`; [`Kind::NotFound`] if there is nothing at any of
    /// them: then nothing is written.
    pub fn new(paths: &[PathBuf]) -> Result<Self> {
        let mut root = Self::default();
        for path in paths {
            let stored = StoredPath::from_fs(path).ok_or_else(|| {
                Error::new(Kind::Usage, "take a snapshot of", path.display())
                    .because("the path is not absolute or holds `..`")
            })?;
            root.add(&stored);
        }
        if paths.iter().all(|path| path.symlink_metadata().is_err()) {
            return Err(no_source(paths));
        }
        let count = root.paths().len();
        if count > MAX_PATHS {
            return Err(Error::new(Kind::Usage, "take a snapshot of", format!("{count} paths")).because(format!(
                "a snapshot is taken of {MAX_PATHS} at most: name the folders that hold them, and exclude the rest"
            )));
        }
        Ok(root)
    }

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

    /// The sources, ascending.
    #[must_use]
    pub fn paths(&self) -> Vec<StoredPath> {
        let mut paths = Vec::new();
        let mut open = vec![(StoredPath::root(), self)];
        while let Some((path, plan)) = open.pop() {
            if plan.whole {
                paths.push(path);
            } else {
                open.extend(plan.children.iter().rev().map(|(name, child)| (path.join(name), child)));
            }
        }
        paths
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
}
