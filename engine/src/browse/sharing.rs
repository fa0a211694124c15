//! Trees that say more than anyone can read. Folders with equal content share their pages, so thirty pages can stand for
//! a billion entries. Where a walk meets the same pages over and over, all entries are counted by pages, each page once.

use crate::base::{BlobId, Error, Result};
use crate::format::tree::TreePage;
use crate::repo::Repo;
use std::collections::{HashMap, HashSet};

/// Most entries of a tree in which folders share their pages.
const MOST_ENTRIES: u64 = 1 << 28;
/// A look at the whole tree is taken when so many folders were entered, on average this often each.
const FIRST_LOOK: u64 = 1024;
const OFTEN: u64 = 4;
/// Most pages that are remembered; a tree with more of them is no small one that looks large.
const MOST_PAGES: usize = 1 << 20;

/// The folders that a walk has entered.
#[derive(Debug, Default)]
pub struct Sharing {
    entered: u64,
    pages: HashSet<BlobId>,
    is_counted: bool,
    start: Option<BlobId>,
}

impl Sharing {
    /// A walk that begins in the folder of this page; with none, in the first one that is entered.
    #[must_use]
    pub fn from(start: Option<BlobId>) -> Self {
        Self { start, ..Self::default() }
    }

    /// A folder is entered.
    ///
    /// # Errors
    /// [`crate::base::Kind::Damaged`] if the tree has more entries than anyone can read.
    pub fn enter(&mut self, repo: &Repo, folder: &BlobId) -> Result<()> {
        if self.is_counted {
            return Ok(());
        }
        let start = *self.start.get_or_insert(*folder);
        self.entered += 1;
        if self.pages.len() < MOST_PAGES {
            self.pages.insert(*folder);
        }
        if self.entered < FIRST_LOOK || self.entered / OFTEN < self.pages.len() as u64 {
            return Ok(());
        }
        self.is_counted = true;
        self.pages = HashSet::new();
        let entries = count(repo, start)?;
        if entries <= MOST_ENTRIES {
            return Ok(());
        }
        let why = format!("its folders share their pages, so that it has more than {MOST_ENTRIES} entries");
        Err(Error::damaged("read a tree at page", start.short(), why))
    }
}

/// Entries below a page, each page read once; what cannot be read counts as nothing. Not more than one above the most.
fn count(repo: &Repo, start: BlobId) -> Result<u64> {
    let mut counted: HashMap<BlobId, u64> = HashMap::new();
    // A page is met twice: on the way down, and when everything below it is counted.
    let mut open = vec![(start, None::<(u64, Vec<BlobId>)>)];
    while let Some((page, found)) = open.pop() {
        repo.session().cancel.check()?;
        if let Some((own, below)) = found {
            let sum =
                below.iter().filter_map(|id| counted.get(id)).fold(own, |sum, n| sum.saturating_add(*n));
            counted.insert(page, sum.min(MOST_ENTRIES + 1));
            continue;
        }
        if counted.contains_key(&page) || counted.len() >= MOST_PAGES {
            continue;
        }
        // Until it is counted; nothing below it can be itself.
        counted.insert(page, 0);
        let (own, below) = match repo.tree_page(&page) {
            Ok(TreePage::Leaf(nodes)) => {
                (nodes.len() as u64, nodes.into_iter().filter_map(|node| node.subtree).collect())
            }
            Ok(TreePage::Inner { children, .. }) => (0, children.into_iter().map(|(_, id)| id).collect()),
            Err(_) => (0, Vec::new()),
        };
        let down: Vec<_> = below.iter().map(|id: &BlobId| (*id, None)).collect();
        open.push((page, Some((own, below))));
        open.extend(down);
    }
    Ok(counted.get(&start).copied().unwrap_or(0))
}
