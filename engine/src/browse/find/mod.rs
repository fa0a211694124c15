//! Finding paths in all snapshots, each with what became of it: when it was there first, when it changed, when it was gone.
//!
//! Snapshots of one source of one machine are a line, in the order of their times: a path counts as gone only where its
//! source was taken, all of it could be read, and it was not in it. Along a line each snapshot is compared with the one before, page by page, and
//! what both have is not read: a thousand snapshots of the same files take as long as one. Files, folders and versions
//! are counted by nothing in memory: what is met, and what is still to be compared, is kept in a scratch table.

mod folders;
#[cfg(test)]
mod tests;
mod versions;

pub use versions::{Found, State, Version};

use crate::base::{BlobId, Counter, Kind, Observer, Phase, Result, StoredPath, Timestamp, Warning};
use crate::browse::{Sharing, lookup};
use crate::catalog::scratch::{History, Pending, Row, What};
use crate::filter::Patterns;
use crate::model::{Node, NodeKind};
use crate::repo::{Repo, Snapshot};
use folders::{Met, Pair};
use std::collections::BTreeMap;

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct FindOptions {
    /// Which paths; without any pattern all of them.
    pub patterns: Patterns,
    /// Only paths that were one of these once; without any, all.
    pub kinds: Vec<NodeKind>,
    /// Only paths with a version whose content changed last at this time or later.
    pub oldest: Option<Timestamp>,
    /// Only paths with a version whose content changed last at this time or earlier; the same version as for `oldest`.
    pub newest: Option<Timestamp>,
    /// Only paths that once had content whose id begins with these lower-case hexadecimal digits.
    pub content: Option<String>,
}

/// What was found, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FindStatistics {
    /// Snapshots that were looked at.
    pub snapshots: u64,
    /// Paths that were handed over; one in several lines counts in each.
    pub paths: u64,
    /// Their versions.
    pub versions: u64,
}

/// Snapshots of one source of one machine, oldest first.
#[derive(Debug)]
pub(super) struct Line<'s> {
    source: StoredPath,
    snapshots: Vec<&'s Snapshot>,
}

/// Hands every path that fits to `visit`, by path. The folders above the sources are not looked at. What cannot be read
/// is told to the observer as damage, and what was in it counts as unknown.
///
/// # Errors
/// What `visit` fails with, and whatever is no damage.
pub fn find(
    repo: &Repo,
    snapshots: &[Snapshot],
    options: &FindOptions,
    observer: &dyn Observer,
    visit: &mut dyn FnMut(&Found<'_>) -> Result<()>,
) -> Result<FindStatistics> {
    observer.phase(Phase::Searching);
    let lines = lines(snapshots);
    let search = Search { repo, options, observer, history: History::new()? };
    for (number, line) in lines.iter().enumerate() {
        search.line(number, line)?;
    }
    let mut statistics = FindStatistics { snapshots: snapshots.len() as u64, ..FindStatistics::default() };
    versions::each(&search.history, &lines, options, &mut |found| {
        repo.session().cancel.check()?;
        statistics.paths += 1;
        statistics.versions += found.versions.len() as u64;
        visit(found)
    })?;
    Ok(statistics)
}

/// The lines of some snapshots. A source that lies in another one of the same snapshot is in that one's line.
fn lines(snapshots: &[Snapshot]) -> Vec<Line<'_>> {
    let mut ordered: Vec<&Snapshot> = snapshots.iter().collect();
    ordered.sort_by_key(|snapshot| (snapshot.manifest.time, snapshot.manifest.lamport, snapshot.id));
    let mut lines: BTreeMap<(&str, &StoredPath), Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in ordered {
        let paths = &snapshot.manifest.paths;
        let mut outermost: Vec<&StoredPath> = paths
            .iter()
            .filter(|path| !paths.iter().any(|other| *path != other && path.is_within(other)))
            .collect();
        outermost.sort();
        outermost.dedup();
        for path in outermost {
            lines.entry((&snapshot.manifest.host, path)).or_default().push(snapshot);
        }
    }
    lines.into_iter().map(|((_, source), snapshots)| Line { source: source.clone(), snapshots }).collect()
}

/// A search under way.
struct Search<'a> {
    repo: &'a Repo,
    options: &'a FindOptions,
    observer: &'a dyn Observer,
    history: History,
}

/// A step along a line.
#[derive(Clone, Copy)]
struct Step<'a> {
    line: usize,
    /// The place of the later snapshot.
    at: usize,
    later: &'a Snapshot,
}

impl Search<'_> {
    fn line(&self, number: usize, line: &Line<'_>) -> Result<()> {
        let (mut root, mut before) = (None::<BlobId>, None::<Node>);
        for (at, &later) in line.snapshots.iter().enumerate() {
            self.repo.session().cancel.check()?;
            if root == Some(later.manifest.root) {
                continue;
            }
            root = Some(later.manifest.root);
            let step = Step { line: number, at, later };
            let (after, unknown) = match lookup(self.repo, later, &line.source) {
                Ok(node) => (Some(node), false),
                Err(e) if e.kind() == Kind::NotFound => (None, false),
                Err(e) if e.is_unreadable() => {
                    self.broken(step, &line.source, &e);
                    (None, true)
                }
                Err(e) => return Err(e),
            };
            self.meet(step, &line.source, Met { before: before.as_ref(), after: after.as_ref(), unknown })?;
            let mut sharing = Sharing::from(after.as_ref().and_then(|node| node.subtree));
            while let Some(pending) = self.history.pop()? {
                if let Some(folder) = pending.after.or(pending.before) {
                    sharing.enter(self.repo, &folder)?;
                }
                self.folder(step, &pending)?;
            }
            before = after;
        }
        Ok(())
    }

    /// Compares two folders of one path: pages that both have are not read.
    fn folder(&self, step: Step<'_>, pending: &Pending) -> Result<()> {
        self.repo.session().cancel.check()?;
        let path = from_key(&pending.path);
        let broken = |e: &crate::base::Error| self.broken(step, &path, e);
        self.observer.working_on(&path);
        let mut pair = Pair::open(self.repo, pending, &broken)?;
        while let Some((name, before, after)) = pair.next()? {
            self.observer.add(Counter::Files, u64::from(after.is_some()));
            let unknown = pending.unknown || pair.later_is_broken();
            let met = Met { before: before.as_ref(), after: after.as_ref(), unknown };
            self.meet(step, &path.join(&name), met)?;
        }
        Ok(())
    }

    /// Notes what changed at a path, and lets its folders be compared later.
    fn meet(&self, step: Step<'_>, path: &StoredPath, met: Met<'_>) -> Result<()> {
        let what = match (met.before, met.after) {
            (Some(before), Some(after)) if is_same(before, after) => None,
            (_, Some(_)) => Some(What::Present),
            (Some(_), None) if met.unknown => Some(What::Unknown),
            (Some(_), None) => Some(What::Gone),
            (None, None) => None,
        };
        if let Some(what) = what
            && (self.options.patterns.is_empty() || self.options.patterns.matches(path))
        {
            let node = met.after.or(met.before);
            self.history.note(&Row {
                path: key(path),
                line: step.line,
                at: step.at,
                what,
                kind: node.map_or(NodeKind::File, |node| node.kind),
                size: node.map_or(0, |node| node.size),
                mtime: node.and_then(|node| node.mtime),
                content: node.and_then(Node::content_hash),
                target: node.and_then(|node| node.target.clone()),
            })?;
        }
        let tree = |node: Option<&Node>| node.and_then(|node| node.subtree);
        let (before, after) = (tree(met.before), tree(met.after));
        if before != after {
            self.history.push(&Pending { path: key(path), before, after, unknown: met.unknown })?;
        }
        Ok(())
    }

    fn broken(&self, step: Step<'_>, path: &StoredPath, error: &crate::base::Error) {
        let id = step.later.id.short();
        let what = format!("In snapshot {id} or the one before it, not all that is in it can be read");
        self.observer.warn(&Warning::of_unreadable(Some(path), &what, error));
    }
}

/// True if one path has the same version in both snapshots. A folder has only one: that it is there.
fn is_same(before: &Node, after: &Node) -> bool {
    before.kind == after.kind
        && (before.kind == NodeKind::Dir
            || (before.size == after.size
                && before.mtime == after.mtime
                && before.content_hash() == after.content_hash()
                && before.target == after.target))
}

/// The path in a form whose bytes sort as trees do.
fn key(path: &StoredPath) -> Vec<u8> {
    path.components().fold(Vec::new(), |mut key, part| {
        key.push(0);
        key.extend_from_slice(part);
        key
    })
}

/// The path of a key.
fn from_key(key: &[u8]) -> StoredPath {
    key.split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
        .fold(StoredPath::root(), |path, part| path.join(part))
}
