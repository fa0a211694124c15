//! The content of an earlier version of a database, run by run: what new runs may be stored as a difference to.

use crate::base::error::unless_unreadable;
use crate::base::{BlobId, Error, Result};
use crate::format::list::ListPage;
use crate::model::{BlobKind, Content, ListItem};
use crate::repo::Repo;
use crate::repo::pages::RUNS_PER_PAGE;

/// The runs of an earlier version. Asked for in ascending order, each of its pages is read once.
#[derive(Clone, Debug)]
pub struct EarlierRuns<'r> {
    repo: &'r Repo,
    /// The run of a version that has only one.
    only: Option<BlobId>,
    /// Pages of the list, in order.
    pages: Vec<BlobId>,
    /// The page that was read last, and its number.
    page: Option<(usize, Vec<ListItem>)>,
}

impl<'r> EarlierRuns<'r> {
    /// No earlier version.
    #[must_use]
    pub fn none(repo: &'r Repo) -> Self {
        Self { repo, only: None, pages: Vec::new(), page: None }
    }

    /// The runs of a content. One whose list cannot be read is as good as none: what is new is stored full then.
    ///
    /// # Errors
    /// Fails if the repository fails for another reason than damage.
    pub fn of(repo: &'r Repo, content: Content) -> Result<Self> {
        let earlier = Self::none(repo);
        Ok(match content {
            Content::None => earlier,
            Content::Chunk(id) => Self { only: Some(id), ..earlier },
            Content::List(root) => {
                Self { pages: unless_unreadable(repo.list_leaves(&root))?.unwrap_or_default(), ..earlier }
            }
        })
    }

    /// The pages of its list, in order.
    #[must_use]
    pub fn pages(&self) -> &[BlobId] {
        &self.pages
    }

    /// The run of this number, from 0; none past the end.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn at(&mut self, number: usize) -> Result<Option<BlobId>> {
        if number == 0 && self.only.is_some() {
            return Ok(self.only);
        }
        let (wanted, place) = (number / RUNS_PER_PAGE, number % RUNS_PER_PAGE);
        if self.page.as_ref().is_none_or(|(page, _)| *page != wanted) {
            let Some(id) = self.pages.get(wanted) else { return Ok(None) };
            let items = match unless_unreadable(self.repo.list_page(id))? {
                Some(ListPage::Leaf(items)) => items,
                _ => Vec::new(),
            };
            self.page = Some((wanted, items));
        }
        let item = self.page.as_ref().and_then(|(_, items)| items.get(place));
        Ok(match item {
            Some(ListItem::Chunk { id, .. }) => Some(*id),
            _ => None,
        })
    }
}

impl Repo {
    /// The pages of a list that name chunks, in the order of the file; they are not read, but for a list of one page.
    ///
    /// # Errors
    /// [`crate::base::Kind::Damaged`] if a page above them cannot be read, or if they are more than a file can have.
    pub fn list_leaves(&self, root: &BlobId) -> Result<Vec<BlobId>> {
        const MOST: usize = 1 << 24;
        let mut leaves = Vec::new();
        let mut pages = vec![(*root, None)];
        while let Some((id, above)) = pages.pop() {
            self.session().cancel.check()?;
            if matches!(above, Some((1, _))) {
                leaves.push(id);
                continue;
            }
            let page = self.list_page(&id)?;
            page.check_place(above)
                .map_err(|why| Error::damaged("read a list at page", root.short(), why))?;
            match page {
                ListPage::Leaf(_) => leaves.push(id),
                ListPage::Inner { level, children } => {
                    pages.extend(children.into_iter().rev().map(|(id, len)| (id, Some((level, len)))));
                }
            }
            if leaves.len() + pages.len() > MOST {
                return Err(Error::damaged("read a list at page", root.short(), "it has too many pages"));
            }
        }
        Ok(leaves)
    }

    /// Reads a list page.
    ///
    /// # Errors
    /// As [`Self::read_blob`].
    pub fn list_page(&self, id: &BlobId) -> Result<ListPage> {
        crate::format::list::decode(&self.read_blob(BlobKind::ListPage, id)?)
    }
}
