//! Going down from a page to all blobs that rest on it, each for every user once, however deep and wide it is.

use super::{ContentKind, damaged};
use crate::base::{BlobId, Counter, Observer, Result};
use crate::catalog::scratch::{Meeting, Sums, Uses};
use crate::format::list::{self, ListPage};
use crate::format::tree::TreePage;
use crate::model::{BlobKind, Content, ListItem, Node, NodeKind};
use crate::repo::{Repo, Snapshot};

/// Pages on the way down whose children are kept in memory; those further up are read again when it is their turn.
const MOST_OPEN: usize = 64;
/// Longest chain of bases that is followed.
const MOST_BASES: usize = 64;

/// A count under way.
pub(super) struct Count<'a> {
    pub(super) repo: &'a Repo,
    pub(super) observer: &'a dyn Observer,
    pub(super) uses: Uses,
}

/// A page and of what kind the content is that it stands for.
#[derive(Clone, Copy)]
struct Page {
    kind: BlobKind,
    id: BlobId,
    class: usize,
}

/// A page on the way down.
struct Level {
    page: Page,
    /// The pages below it, the next one at `next`; none where they must be read again.
    below: Option<Vec<Page>>,
    next: usize,
    /// True once what it holds itself was counted.
    is_read: bool,
    sums: Sums,
    /// True if its sums are known already: then it is gone through only to share what rests on it.
    is_known: bool,
}

/// Who counts what.
#[derive(Clone, Copy)]
struct Turn<'a> {
    snapshot: &'a Snapshot,
    user: usize,
}

/// No files of any kind.
pub(super) fn no_sums() -> Sums {
    vec![(0, 0); ContentKind::ALL.len()]
}

/// Adds the second to the first.
pub(super) fn add(to: &mut Sums, from: &Sums) {
    for ((files, bytes), (more_files, more_bytes)) in to.iter_mut().zip(from) {
        *files = files.saturating_add(*more_files);
        *bytes = bytes.saturating_add(*more_bytes);
    }
}

impl Count<'_> {
    /// Counts a whole snapshot; files and bytes by kind.
    pub(super) fn page(&self, snapshot: &Snapshot, user: usize) -> Result<Sums> {
        let root = Page { kind: BlobKind::TreePage, id: snapshot.manifest.root, class: 0 };
        self.below(Turn { snapshot, user }, root)
    }

    /// Counts one entry and what lies below it.
    pub(super) fn node(&self, snapshot: &Snapshot, node: &Node, user: usize) -> Result<Sums> {
        let turn = Turn { snapshot, user };
        // A page that is not there, with this one entry.
        let page = Page { kind: BlobKind::TreePage, id: snapshot.manifest.root, class: 0 };
        let mut level =
            Level { page, below: None, is_read: false, next: 0, sums: no_sums(), is_known: false };
        if let Some(page) = self.entry(turn, node, &mut level)? {
            let below = self.below(turn, page)?;
            add(&mut level.sums, &below);
        }
        Ok(level.sums)
    }

    /// Goes through all pages at and below one that this user has not met before, or that are shared from now on.
    fn below(&self, turn: Turn<'_>, root: Page) -> Result<Sums> {
        let mut done = no_sums();
        let mut levels: Vec<Level> = Vec::new();
        let (sums, level) = self.enter(turn, root)?;
        add(&mut done, &sums);
        levels.extend(level);
        while let Some(level) = levels.last_mut() {
            self.repo.session().cancel.check()?;
            if level.below.is_none() {
                level.below = Some(self.read(turn, level)?);
                level.is_read = true;
            }
            let next = level.below.as_ref().and_then(|below| below.get(level.next)).copied();
            if let Some(page) = next {
                level.next += 1;
                let (sums, below) = self.enter(turn, page)?;
                add(&mut level.sums, &sums);
                levels.extend(below);
                let far = levels.len().checked_sub(MOST_OPEN + 1);
                if let Some(level) = far.and_then(|far| levels.get_mut(far)) {
                    level.below = None;
                }
                continue;
            }
            let Some(level) = levels.pop() else { break };
            if !level.is_known {
                if level.page.kind == BlobKind::TreePage {
                    self.uses.set_sums(level.page.kind, &level.page.id, &level.sums)?;
                }
                add(levels.last_mut().map_or(&mut done, |above| &mut above.sums), &level.sums);
            }
        }
        Ok(done)
    }

    /// Meets a page: what is known to lie below it, and the page itself if it must be gone through.
    fn enter(&self, turn: Turn<'_>, page: Page) -> Result<(Sums, Option<Level>)> {
        let (sums, is_known) = match self.meet(turn, page)? {
            Meeting::Known(sums) => return Ok((sums, None)),
            Meeting::NowShared(sums) => (sums, true),
            Meeting::New => (no_sums(), false),
        };
        let level = Level { page, below: None, is_read: false, next: 0, sums: no_sums(), is_known };
        Ok((sums, Some(level)))
    }

    /// The pages below one. What the page itself holds is counted when it is read first.
    fn read(&self, turn: Turn<'_>, level: &mut Level) -> Result<Vec<Page>> {
        match self.try_read(turn, level) {
            Err(e) if e.is_unreadable() => {
                damaged(self.observer, turn.snapshot, &e);
                Ok(Vec::new())
            }
            other => other,
        }
    }

    fn try_read(&self, turn: Turn<'_>, level: &mut Level) -> Result<Vec<Page>> {
        let Page { kind, id, class } = level.page;
        let mut below = Vec::new();
        if kind == BlobKind::ListPage {
            match list::decode(&self.repo.read_blob(kind, &id)?)? {
                ListPage::Inner { children, .. } => {
                    below.extend(children.into_iter().map(|(id, _)| Page { kind, id, class }));
                }
                ListPage::Leaf(items) if !level.is_read => {
                    for item in items {
                        if let ListItem::Chunk { id, .. } = item {
                            self.meet(turn, Page { kind: BlobKind::Data, id, class })?;
                        }
                    }
                }
                ListPage::Leaf(_) => {}
            }
            return Ok(below);
        }
        match self.repo.tree_page(&id)? {
            TreePage::Inner { children, .. } => {
                below.extend(children.into_iter().map(|(_, id)| Page { kind, id, class }));
            }
            TreePage::Leaf(nodes) => {
                for node in nodes {
                    below.extend(self.entry(turn, &node, level)?);
                }
            }
        }
        Ok(below)
    }

    /// Counts an entry, unless that was done; the page that it rests on, if there is one.
    fn entry(&self, turn: Turn<'_>, node: &Node, level: &mut Level) -> Result<Option<Page>> {
        if let Some(id) = node.subtree {
            return Ok(Some(Page { kind: BlobKind::TreePage, id, class: 0 }));
        }
        if node.kind != NodeKind::File {
            return Ok(None);
        }
        let class = ContentKind::of(node) as usize;
        if !level.is_read {
            self.observer.add(Counter::Files, 1);
            if let Some((files, bytes)) = level.sums.get_mut(class) {
                *files += 1;
                *bytes = bytes.saturating_add(node.size);
            }
        }
        match node.content {
            Content::List(id) => Ok(Some(Page { kind: BlobKind::ListPage, id, class })),
            Content::Chunk(id) if !level.is_read => {
                self.meet(turn, Page { kind: BlobKind::Data, id, class }).map(|_| None)
            }
            Content::Chunk(_) | Content::None => Ok(None),
        }
    }

    /// Meets a blob and the bases that it rests on.
    fn meet(&self, turn: Turn<'_>, page: Page) -> Result<Meeting> {
        let Page { kind, mut id, class } = page;
        let mut first = None;
        for _ in 0..MOST_BASES {
            let meeting = self.uses.meet(kind, &id, turn.user)?;
            let is_known = matches!(meeting, Meeting::Known(_));
            let is_new = meeting == Meeting::New;
            first = first.or(Some(meeting));
            if is_known {
                break;
            }
            let copies = self.repo.with_catalog(|catalog| catalog.copies(kind, &id))?;
            let copy = copies.first().map(|copy| &copy.entry);
            if is_new {
                let (plain, stored) = copy.map_or((0, 0), |copy| (copy.plain_len, copy.sealed_len));
                self.uses.add(kind, &id, turn.user, class, plain.into(), stored.into())?;
                if copy.is_none() && kind == BlobKind::Data {
                    damaged(self.observer, turn.snapshot, &self.repo.not_named(&id));
                }
            }
            let Some(base) = copy.and_then(|copy| copy.base) else { break };
            id = base;
        }
        Ok(first.unwrap_or(Meeting::New))
    }
}
