//! Which snapshots come into question, for every verb that takes some.

use crate::args::tag;
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use chatvault_engine::base::StoredPath;
use chatvault_engine::browse::SnapshotFilter;
use clap::Args;
use std::path::{Path, PathBuf};

/// Which snapshots come into question, however they are named.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which snapshots")]
pub(crate) struct FilterArgs {
    /// Only snapshots of this machine; given several times, of any of them
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,

    /// Only snapshots of a source that holds this path; given several times, all of them
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Only snapshots with this tag, `a,b` for both, '' for those without; given several times, any of them
    #[arg(long = "tag", value_name = "TAG[,TAG]")]
    tags: Vec<String>,
}

impl FilterArgs {
    /// What is asked for.
    pub(crate) fn read(&self) -> Result<SnapshotFilter> {
        Ok(SnapshotFilter {
            hosts: self.hosts.clone(),
            paths: self.paths.iter().map(|path| stored(path)).collect::<Result<_>>()?,
            tags: self.tags.iter().map(|list| tag::list(list)).collect::<Result<_>>()?,
        })
    }
}

/// The path as snapshots have it. It need not be there on this machine.
fn stored(path: &Path) -> Result<StoredPath> {
    let refused = || Failure::usage(format!("Failed to use the path {}", shown(path)));
    let absolute = std::path::absolute(path).map_err(|cause| refused().because(cause))?;
    StoredPath::from_fs(&absolute).ok_or_else(|| {
        refused().because("it holds `..`").with_hint("write it as `{chatvault} list` shows the paths")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Condition;

    #[test]
    fn lists_of_tags_and_paths_are_read() {
        let args = FilterArgs {
            hosts: vec!["phone".into()],
            paths: vec!["/a/./b/".into()],
            tags: vec!["x,y".into(), String::new()],
        };
        let filter = args.read().unwrap();
        assert_eq!(filter.tags, [vec!["x".to_owned(), "y".to_owned()], vec![]]);
        assert_eq!(filter.paths, [StoredPath::parse(b"/a/b").unwrap()]);
        let refused = FilterArgs { paths: vec!["/a/../b".into()], ..FilterArgs::default() };
        assert_eq!(refused.read().unwrap_err().condition(), Condition::Usage);
        assert!(FilterArgs::default().read().unwrap().is_empty());
    }
}
