//! How much room a restore needs, and whether it is there: the sum of what will be written, and nothing else.

use super::target::{Free, shown};
use super::walk::{Decided, DecidedWalk, Event, Rules};
use super::work::files_at_once;
use super::{Action, LinkKey, RestorePlan, target};
use crate::base::{Cancel, Error, Kind, Result};
use crate::browse::{ContentReader, Piece};
use crate::model::{Content, ListItem, Node, NodeKind};
use crate::repo::Repo;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

/// Most pieces of files that are looked at for holes: 32 GiB in chunks of the usual size. A list can stand for any number.
const MOST_PIECES: u64 = 1 << 15;

/// What the smallest entry costs in any file system, in bytes. A tree whose folders share their subtrees can have more
/// entries than anybody could count: counting ends where not even this is there for each.
const LEAST_COST: u64 = 128;

/// Targets of links from this length on do not fit into the entry itself, in bytes.
const LONG_LINK: u64 = 60;

/// What is to be written, summed up.
#[derive(Debug)]
pub(super) struct Room {
    free: Free,
    /// Bytes that will be there in the end, beyond those of what is replaced.
    bytes: u64,
    /// Entries that are created.
    entries: u64,
    /// Sizes of the largest files that replace others: each of those is there twice while it is written.
    twice: BinaryHeap<Reverse<u64>>,
    /// Files that are written at the same time.
    at_once: usize,
}

impl Room {
    pub(super) fn new(free: Free, at_once: usize) -> Self {
        Self { free, bytes: 0, entries: 0, twice: BinaryHeap::new(), at_once }
    }

    /// Adds an entry that has so much data; false if there cannot be room for so many.
    pub(super) fn add(&mut self, entry: &Decided, data: u64) -> bool {
        let blocks = |bytes: u64| bytes.div_ceil(self.free.block).saturating_mul(self.free.block);
        let size = match entry.node.kind {
            NodeKind::File => blocks(data),
            NodeKind::Dir => self.free.block,
            NodeKind::Symlink => {
                let target = entry.node.target.as_ref().map_or(0, |target| target.len() as u64);
                if target < LONG_LINK { 0 } else { blocks(target) }
            }
            _ => 0,
        };
        match entry.action {
            Action::Make => {
                self.entries += 1;
                self.bytes = self.bytes.saturating_add(size);
            }
            Action::Overwrite | Action::Compare => {
                let there = entry.found.filter(|found| found.nlink == 1 && found.kind == NodeKind::File);
                let there = there.map_or(0, |found| found.blocks.saturating_mul(512));
                self.bytes = self.bytes.saturating_add(size.saturating_sub(there));
                self.twice.push(Reverse(size.min(there)));
                if self.twice.len() > self.at_once {
                    self.twice.pop();
                }
            }
            Action::Leave | Action::Keep | Action::Merge | Action::Delete => {}
        }
        self.entries.saturating_mul(LEAST_COST) <= self.free.bytes
    }

    /// Bytes that are needed at most at any time.
    pub(super) fn needed(&self) -> u64 {
        self.twice.iter().fold(self.bytes, |sum, Reverse(size)| sum.saturating_add(*size))
    }

    /// The error of too little room.
    pub(super) fn error(&self, about: &str, target: &std::path::Path) -> Error {
        let why = match self.free.entries.filter(|free| *free < self.entries) {
            Some(free) => {
                format!(
                    "room for {about}{} files and folders is needed, and there is for {free}",
                    self.entries
                )
            }
            None => format!("{about}{} bytes are needed, and {} are free", self.needed(), self.free.bytes),
        };
        Error::new(Kind::NoSpace, "restore into", shown(target)).because(why)
    }

    fn fits(&self) -> bool {
        self.free.entries.is_none_or(|free| self.entries <= free) && self.needed() <= self.free.bytes
    }
}

/// Compares what is needed with what is there. What is in holes, or there already, is found out only when there is too
/// little room for all.
pub(super) fn check_room(repo: &Repo, plan: &mut RestorePlan, room: &Room) -> Result<()> {
    plan.needed_bytes = room.needed();
    if room.fits() {
        return Ok(());
    }
    let exact = count_exactly(repo, plan, room)?;
    plan.needed_bytes = exact.needed();
    if exact.fits() {
        return Ok(());
    }
    let about = if exact.needed() > most(exact.free) { "at least " } else { "" };
    Err(exact.error(about, &plan.target))
}

/// Counting ends where nothing could help: the same pages may stand for any number of bytes.
fn most(free: Free) -> u64 {
    free.bytes.saturating_mul(16)
}

/// The sum without holes and without files that are there with the stored content.
fn count_exactly(repo: &Repo, plan: &RestorePlan, room: &Room) -> Result<Room> {
    let cancel = &repo.session().cancel;
    let mut exact = Room::new(room.free, files_at_once(repo.session()));
    let (mut groups, mut pieces) = (HashSet::new(), MOST_PIECES);
    let reader = ContentReader::new(repo, 1)?;
    let root = plan.existing.map(|known| target::open(&plan.target, Some(known), false)).transpose()?;
    let rules = Rules { repo, plan, cancel, compares: true, lists_extras: false, only_folders: false };
    let mut walk = DecidedWalk::new(rules, root)?;
    while let Some(event) = walk.step()? {
        let Event::Entry(entry) = event else { continue };
        let mut data = 0;
        if entry.node.kind == NodeKind::File {
            if LinkKey::of(&entry.node).is_some_and(|key| !groups.insert(key)) {
                continue;
            }
            if matches!(entry.action, Action::Make | Action::Overwrite) {
                let left = most(room.free).saturating_sub(exact.needed());
                data = match plan.options.sparse {
                    true => nonzero(&reader, &entry.node, room.free, cancel)?,
                    false => data_of(repo, &entry.node, left, &mut pieces, cancel)?,
                };
            }
        }
        if !exact.add(&entry, data) || exact.needed() > most(room.free) {
            break;
        }
    }
    Ok(exact)
}

/// Bytes of a file without its holes; a list that cannot be read, or is longer than the pieces that may still be looked
/// at, counts as all data. Ends early beyond `limit`.
fn data_of(repo: &Repo, node: &Node, limit: u64, pieces: &mut u64, cancel: &Cancel) -> Result<u64> {
    let Content::List(root) = node.content else { return Ok(node.size) };
    let mut data = 0u64;
    let counted = repo.each_list_item(&root, &mut |item| {
        cancel.check()?;
        let too_many = || Error::damaged("count", "the bytes of a file", "it has too many pieces");
        *pieces = pieces.checked_sub(1).ok_or_else(too_many)?;
        if let ListItem::Chunk { len, .. } = item {
            data = data.saturating_add(len.into());
        }
        let more = Error::new(Kind::NoSpace, "count", "the bytes of a file");
        if data > limit { Err(more) } else { Ok(()) }
    });
    match counted {
        Ok(()) => Ok(data),
        Err(e) if e.kind() == Kind::NoSpace => Ok(data),
        Err(e) if e.is_unreadable() => Ok(node.size),
        Err(e) => Err(e),
    }
}

/// Bytes of a file in blocks that are not all zeroes; reads it, up to more than what is free. A file that cannot be read is
/// not written either.
fn nonzero(reader: &ContentReader<'_>, node: &Node, free: Free, cancel: &Cancel) -> Result<u64> {
    let mut data = 0u64;
    let block = usize::try_from(free.block).unwrap_or(4096);
    let counted = reader.for_each_piece(node, cancel, &mut |piece| {
        if let Piece::Data(bytes) = piece {
            let filled = bytes.chunks(block).filter(|part| part.iter().any(|byte| *byte != 0)).count();
            data = data.saturating_add((filled as u64).saturating_mul(free.block));
        }
        let more = Error::new(Kind::NoSpace, "count", "the bytes of a file");
        if data > free.bytes { Err(more) } else { Ok(()) }
    });
    match counted {
        Err(e) if matches!(e.kind(), Kind::Cancelled | Kind::Gone) => Err(e),
        _ => Ok(data),
    }
}
