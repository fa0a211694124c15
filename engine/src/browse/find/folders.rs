//! Two versions of a folder side by side, without the pages that both have.
//!
//! Pages are cut by content, so that versions share most of them. An entry of a page that both have is in both the same;
//! one of any other page has its counterpart, if there is one, in a page that is not shared either.

use crate::base::path::clean;
use crate::base::{BlobId, Error, Result};
use crate::catalog::scratch::Pending;
use crate::format::tree::{Above, TreePage};
use crate::model::Node;
use crate::repo::Repo;
use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};

/// What is met at a path in two snapshots.
#[derive(Clone, Copy)]
pub(super) struct Met<'n> {
    pub(super) before: Option<&'n Node>,
    pub(super) after: Option<&'n Node>,
    /// True if it cannot be told whether what is missing in the later one was there.
    pub(super) unknown: bool,
}

/// An entry that is not in a shared page: its name, and what it is in the earlier and the later version.
pub(super) type Entry = (Vec<u8>, Option<Node>, Option<Node>);

/// Two versions of a folder.
pub(super) struct Pair<'a> {
    before: Side<'a>,
    after: Side<'a>,
}

/// The pages of one version that are still to be read; all of one level.
struct Side<'a> {
    repo: &'a Repo,
    broken: &'a dyn Fn(&Error),
    pages: VecDeque<(BlobId, Option<Above>)>,
    /// 0 once all pages are leaves.
    level: u64,
    leaf: std::vec::IntoIter<Node>,
    next: Option<Node>,
    last: Option<Vec<u8>>,
    is_broken: bool,
}

impl<'a> Pair<'a> {
    /// Goes down to the leaves that are not shared. `broken` is told of every page that cannot be used.
    pub(super) fn open(repo: &'a Repo, pending: &Pending, broken: &'a dyn Fn(&Error)) -> Result<Self> {
        let mut pair = Self {
            before: Side::open(repo, pending.before, broken)?,
            after: Side::open(repo, pending.after, broken)?,
        };
        loop {
            if pair.before.level == pair.after.level {
                pair.drop_shared();
            }
            let level = pair.before.level.max(pair.after.level);
            if level == 0 {
                return Ok(pair);
            }
            for side in [&mut pair.before, &mut pair.after] {
                if side.level == level {
                    side.descend()?;
                }
            }
        }
    }

    fn drop_shared(&mut self) {
        let ids = |side: &Side<'_>| side.pages.iter().map(|(id, _)| *id).collect::<HashSet<_>>();
        let (before, after) = (ids(&self.before), ids(&self.after));
        self.before.pages.retain(|(id, _)| !after.contains(id));
        self.after.pages.retain(|(id, _)| !before.contains(id));
    }

    /// True once a page of the later version could not be used: what is missing from now on may have been in it.
    pub(super) fn later_is_broken(&self) -> bool {
        self.after.is_broken
    }

    /// The next entry by name.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        let order = match (self.before.peek()?, self.after.peek()?) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => before.name.cmp(&after.name),
        };
        let before = if order.is_le() { self.before.next.take() } else { None };
        let after = if order.is_ge() { self.after.next.take() } else { None };
        let name = before.as_ref().or(after.as_ref()).map(|node| node.name.clone()).unwrap_or_default();
        Ok(Some((name, before, after)))
    }
}

impl<'a> Side<'a> {
    fn open(repo: &'a Repo, root: Option<BlobId>, broken: &'a dyn Fn(&Error)) -> Result<Self> {
        let mut side = Self {
            repo,
            broken,
            pages: VecDeque::new(),
            level: 0,
            leaf: Vec::new().into_iter(),
            next: None,
            last: None,
            is_broken: false,
        };
        if let Some(root) = root {
            match side.read(&root, None)? {
                Some(TreePage::Leaf(nodes)) => side.leaf = nodes.into_iter(),
                Some(TreePage::Inner { level, children }) => {
                    side.level = level - 1;
                    side.pages = children.into_iter().map(|(first, id)| (id, Some((level, first)))).collect();
                }
                None => {}
            }
        }
        Ok(side)
    }

    /// Replaces all pages by those below them.
    fn descend(&mut self) -> Result<()> {
        let mut below = VecDeque::new();
        for (id, above) in std::mem::take(&mut self.pages) {
            if let Some(TreePage::Inner { level, children }) = self.read(&id, above.as_ref())? {
                below.extend(children.into_iter().map(|(first, id)| (id, Some((level, first)))));
            }
        }
        self.pages = below;
        self.level = self.level.saturating_sub(1);
        Ok(())
    }

    /// Reads a page; none if it cannot be used, which is told.
    fn read(&mut self, id: &BlobId, above: Option<&Above>) -> Result<Option<TreePage>> {
        self.repo.session().cancel.check()?;
        let page = self.repo.tree_page(id).and_then(|page| match page.check_place(above) {
            Ok(()) => Ok(page),
            Err(why) => Err(Error::damaged("read a folder at page", id.short(), why)),
        });
        match page {
            Ok(page) => Ok(Some(page)),
            Err(e) if e.is_unreadable() => {
                self.is_broken = true;
                (self.broken)(&e);
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn peek(&mut self) -> Result<Option<&Node>> {
        while self.next.is_none() {
            if let Some(node) = self.leaf.next() {
                if self.last.as_ref().is_some_and(|last| *last >= node.name) {
                    self.is_broken = true;
                    (self.broken)(&Error::damaged(
                        "read a folder at name",
                        clean(&node.name),
                        "its names do not ascend",
                    ));
                    continue;
                }
                self.last = Some(node.name.clone());
                self.next = Some(node);
            } else if let Some((id, above)) = self.pages.pop_front() {
                if let Some(TreePage::Leaf(nodes)) = self.read(&id, above.as_ref())? {
                    self.leaf = nodes.into_iter();
                }
            } else {
                return Ok(None);
            }
        }
        Ok(self.next.as_ref())
    }
}
