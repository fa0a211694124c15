//! From what was met snapshot by snapshot to the versions of each path.

use super::{FindOptions, Line, from_key};
use crate::base::id::to_hex;
use crate::base::{BlobId, Result, StoredPath, Timestamp};
use crate::catalog::scratch::{History, Row, What};
use crate::model::NodeKind;
use crate::repo::Snapshot;

/// How a path came to be what it is from some snapshot on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is in the first snapshot of its source.
    First,
    /// It was not in the snapshot before.
    New,
    /// Its content, its size, its kind or its target differ from the snapshot before.
    Changed,
    /// Only the time of its last change differs.
    Touched,
    /// It was missing, and is there again.
    Back,
    /// It is missing.
    Gone,
    /// It cannot be told whether it is there: its folder is damaged in the repository.
    Unknown,
    /// It is missing in a snapshot that lacks what could not be read in its source, and may be a part of that.
    Unread,
}

impl State {
    /// The name in JSON output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::New => "new",
            Self::Changed => "changed",
            Self::Touched => "touched",
            Self::Back => "back",
            Self::Gone => "gone",
            Self::Unknown | Self::Unread => "unknown",
        }
    }

    /// Why it cannot be told whether there is something at the path, in JSON output.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Unknown => Some("damaged"),
            Self::Unread => Some("unreadable"),
            _ => None,
        }
    }

    /// True if there is something at the path.
    #[must_use]
    pub fn is_there(self) -> bool {
        !matches!(self, Self::Gone | Self::Unknown | Self::Unread)
    }
}

/// What a path was in some snapshots of a line that follow each other.
#[derive(Clone, Debug)]
pub struct Version<'s> {
    /// How it came about.
    pub state: State,
    /// What it is; of what is gone, what it was.
    pub kind: NodeKind,
    /// Bytes of a file.
    pub size: u64,
    /// The last change of its content.
    pub mtime: Option<Timestamp>,
    /// The name of its content; none for an empty file and for what is no file.
    pub content: Option<BlobId>,
    /// Where a symbolic link points.
    pub target: Option<Vec<u8>>,
    /// The first snapshot with this version.
    pub first: &'s Snapshot,
    /// The last snapshot with it.
    pub last: &'s Snapshot,
    /// How many snapshots have it.
    pub snapshots: u64,
}

/// A path of one line of snapshots, and what became of it.
#[derive(Clone, Debug)]
pub struct Found<'s> {
    /// The path.
    pub path: StoredPath,
    /// The machine.
    pub host: &'s str,
    /// The source that it belongs to.
    pub source: &'s StoredPath,
    /// Its versions, oldest first.
    pub versions: Vec<Version<'s>>,
    /// Snapshots of the source that were looked at.
    pub snapshots: u64,
}

/// Hands over every path that fits, by path.
pub(super) fn each<'s>(
    history: &History,
    lines: &'s [Line<'s>],
    options: &FindOptions,
    visit: &mut dyn FnMut(&Found<'s>) -> Result<()>,
) -> Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    let mut finish = |rows: &mut Vec<Row>| -> Result<()> {
        let found = found_of(rows, lines);
        rows.clear();
        match found {
            Some(found) if fits(&found, options) => visit(&found),
            _ => Ok(()),
        }
    };
    history.each(&mut |row| {
        if rows.first().is_some_and(|first| first.path != row.path || first.line != row.line) {
            finish(&mut rows)?;
        }
        rows.push(row);
        Ok(())
    })?;
    finish(&mut rows)
}

/// The versions of one path in one line.
fn found_of<'s>(rows: &[Row], lines: &'s [Line<'s>]) -> Option<Found<'s>> {
    let first = rows.first()?;
    let line = lines.get(first.line)?;
    let mut versions = Vec::with_capacity(rows.len());
    let mut there: Option<&Row> = None;
    for (number, row) in rows.iter().enumerate() {
        let end = rows.get(number + 1).map_or(line.snapshots.len(), |next| next.at);
        let before = number.checked_sub(1).and_then(|number| rows.get(number));
        let state = state_of(row, before, there);
        let seen = line.snapshots.get(row.at..end)?;
        // Which files could not be read is not stored, only how many: until a snapshot lacks none, nobody can tell.
        let unread = match state {
            State::Gone => {
                seen.iter().take_while(|snapshot| snapshot.manifest.statistics.unreadable > 0).count()
            }
            _ => 0,
        };
        let (unread, rest) = seen.split_at_checked(unread)?;
        versions.extend(version(row, State::Unread, unread));
        versions.extend(version(row, state, rest));
        if row.what == What::Present {
            there = Some(row);
        }
    }
    let host = &line.snapshots.first()?.manifest.host;
    let snapshots = line.snapshots.len() as u64;
    Some(Found { path: from_key(&first.path), host, source: &line.source, versions, snapshots })
}

/// What a row says of some snapshots; nothing without any.
fn version<'s>(row: &Row, state: State, snapshots: &[&'s Snapshot]) -> Option<Version<'s>> {
    let (first, last) = (snapshots.first()?, snapshots.last()?);
    Some(Version {
        state,
        kind: row.kind,
        size: row.size,
        mtime: row.mtime,
        content: row.content,
        target: row.target.clone(),
        first,
        last,
        snapshots: snapshots.len() as u64,
    })
}

/// `before` is the row before, `there` the last one with an entry.
fn state_of(row: &Row, before: Option<&Row>, there: Option<&Row>) -> State {
    let is_equal = |there: &Row| {
        (there.kind, there.size, there.content, &there.target)
            == (row.kind, row.size, row.content, &row.target)
    };
    match (row.what, before.map(|before| before.what), there) {
        (What::Gone, ..) => State::Gone,
        (What::Unknown, ..) => State::Unknown,
        (What::Present, _, None) if row.at == 0 => State::First,
        (What::Present, _, None) => State::New,
        (What::Present, Some(What::Present), Some(there)) if !is_equal(there) => State::Changed,
        (What::Present, Some(What::Present), Some(_)) => State::Touched,
        (What::Present, _, Some(_)) => State::Back,
    }
}

/// True if a version is one that was looked for.
fn fits(found: &Found<'_>, options: &FindOptions) -> bool {
    found.versions.iter().filter(|version| version.state.is_there()).any(|version| {
        let in_time = |bound: Option<Timestamp>, holds: fn(&Timestamp, &Timestamp) -> bool| {
            bound.is_none_or(|bound| version.mtime.is_some_and(|mtime| holds(&mtime, &bound)))
        };
        (options.kinds.is_empty() || options.kinds.contains(&version.kind))
            && in_time(options.oldest, |mtime, bound| mtime >= bound)
            && in_time(options.newest, |mtime, bound| mtime <= bound)
            && options.content.as_ref().is_none_or(|digits| {
                version.content.is_some_and(|id| to_hex(id.as_bytes()).starts_with(digits))
            })
    })
}
