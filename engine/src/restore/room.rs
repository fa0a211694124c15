//! How much room a restore needs, and whether it is there.

use super::selection::{Met, Way};
use super::target::shown;
use super::{LinkKey, RestorePlan};
use crate::base::{Cancel, Error, Kind, Result};
use crate::model::{Content, ListItem, Node, NodeKind};
use crate::repo::Repo;
use std::collections::HashSet;

/// Most pieces of files that are looked at for holes: 32 GiB in chunks of the usual size. A list can stand for any number.
const MOST_PIECES: u64 = 1 << 15;

/// What an entry costs in the file system besides its content, in bytes.
pub(super) const ENTRY_COST: u64 = 4096;

pub(super) fn entries(plan: &RestorePlan) -> u64 {
    let there = plan.overwritten + plan.unchanged + plan.kept + plan.merged;
    (plan.files + plan.dirs + plan.symlinks).saturating_sub(there)
}

pub(super) fn no_room(about: &str, needed: u64, plan: &RestorePlan) -> Error {
    Error::new(Kind::NoSpace, "restore into", shown(&plan.target))
        .because(format!("{about}{needed} bytes are needed, and {} are free", plan.available_bytes))
}

/// Compares what is needed with what is there. Holes are counted only when there is too little room without that.
pub(super) fn check_room(repo: &Repo, plan: &mut RestorePlan, available_entries: Option<u64>) -> Result<()> {
    if let Some(available) = available_entries.filter(|available| *available < entries(plan)) {
        return Err(Error::new(Kind::NoSpace, "restore into", shown(&plan.target)).because(format!(
            "room for {} files and folders is needed, and there is for {available}",
            entries(plan)
        )));
    }
    if plan.needed_bytes > plan.available_bytes {
        // Counting ends where nothing could help: the same pages may stand for any number of bytes.
        let limit = plan.available_bytes.saturating_mul(16);
        let all = without_holes(repo, plan, limit)?;
        plan.needed_bytes = plan.needed_bytes.min(all);
    }
    if plan.needed_bytes <= plan.available_bytes {
        return Ok(());
    }
    let about = if plan.needed_bytes > plan.available_bytes.saturating_mul(16) { "at least " } else { "" };
    Err(no_room(about, plan.needed_bytes, plan))
}

/// Bytes that are needed when holes are left out, as if nothing of it were there; ends early beyond `limit`.
fn without_holes(repo: &Repo, plan: &RestorePlan, limit: u64) -> Result<u64> {
    let cancel = &repo.session().cancel;
    let mut needed = entries(plan).saturating_mul(ENTRY_COST);
    let (mut groups, mut pieces) = (HashSet::new(), MOST_PIECES);
    let mut way = Way::new(plan.start.walk(repo, cancel), &plan.selection);
    while let Some(met) = way.step()? {
        let Met::Entry(node, _) = met else { continue };
        if node.kind == NodeKind::File && LinkKey::of(&node).is_none_or(|key| groups.insert(key)) {
            let left = limit.saturating_sub(needed);
            needed = needed.saturating_add(data_of(repo, &node, left, &mut pieces, cancel)?);
        }
        if needed > limit {
            break;
        }
    }
    Ok(needed)
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
