//! What rests on something that is lost: a base that cannot be read takes the versions of a database with it that were
//! stored as differences to it, on every day that has them. All of them are named when one is met.

use crate::base::error::unless_unreadable;
use crate::base::event::Silent;
use crate::base::{BlobId, Error, Kind, Result, StoredPath, Timestamp, Warning, WarningKind, Whose};
use crate::catalog::Catalog;
use crate::model::lineage::Lineage;
use crate::model::{BlobKind, Content, ListItem};
use crate::repo::{Repo, Snapshot};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};

/// Most blobs that are remembered as unreadable; with more of them the repository needs a check anyway.
const MOST_LOST: usize = 1 << 18;
/// Databases that are named in a sentence.
const MOST_NAMED: usize = 20;

/// What could not be read in this run.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    all: HashSet<Blob>,
    /// Of these, what nobody was told of yet.
    untold: HashSet<Blob>,
    /// Why something could not be read that may be whole, and how often that happened; nobody was told of it yet.
    denied: Option<(String, u64)>,
    /// True once this user could not read an index object: what is found nowhere may be named there.
    denied_index: bool,
}

/// A blob by kind and name.
pub(crate) type Blob = (BlobKind, BlobId);

/// A database of which some versions cannot be read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affected {
    /// The machine it is from.
    pub host: String,
    /// Where it is in its snapshots.
    pub path: StoredPath,
    /// The times of the snapshots that have such a version, ascending.
    pub times: Vec<Timestamp>,
}

impl Repo {
    /// Notes what could not be read: it is not present, and [`Self::affected`] tells of it.
    pub(crate) fn note_lost(&self, blobs: impl IntoIterator<Item = Blob>) {
        let mut losses = self.losses();
        for blob in blobs {
            if losses.all.len() < MOST_LOST && losses.all.insert(blob) {
                losses.untold.insert(blob);
            }
        }
    }

    /// Notes that this user may not read something. It is not lost: what rests on it is left as it is.
    pub(crate) fn note_denied(&self, error: &Error) {
        let mut losses = self.losses();
        let (_, times) = losses.denied.get_or_insert_with(|| (error.full_text(), 0));
        *times += 1;
    }

    /// Notes that this user may not read an index object, or the folder of them.
    pub(crate) fn note_denied_index(&self) {
        self.losses().denied_index = true;
    }

    /// The error of a blob that no index object names, as far as they can be read.
    pub(crate) fn not_named(&self, id: &BlobId) -> Error {
        let (kind, why) = if self.losses().denied_index {
            (Kind::Denied, "no index object that this user may read names it")
        } else {
            (Kind::Damaged, "the repository does not hold it, or no index names its pack")
        };
        Error::new(kind, "read blob", id.short()).because(why).of(Whose::Repository)
    }

    /// The warning that this user may not read all of the repository, once.
    pub(crate) fn take_denied(&self) -> Option<Warning> {
        let (first, times) = self.losses().denied.take()?;
        let what = match times {
            1 => "This user may not read an object of the repository, and worked without it".to_owned(),
            _ => format!(
                "This user may not read some objects of the repository, and {times} times worked without"
            ),
        };
        Some(Warning { kind: WarningKind::Denied, path: None, message: format!("{what}: {first}") })
    }

    /// True for what could not be read in this run.
    pub(crate) fn is_lost(&self, kind: BlobKind, id: &BlobId) -> bool {
        let losses = self.losses();
        !losses.all.is_empty() && losses.all.contains(&(kind, *id))
    }

    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The databases, in all snapshots, that rest on what could not be read since this was last asked.
    ///
    /// # Errors
    /// Fails if the repository fails for another reason than damage.
    pub fn affected(&self, snapshots: &[Snapshot]) -> Result<Vec<Affected>> {
        let lost = std::mem::take(&mut self.losses().untold);
        if lost.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.with_catalog(|catalog| Catalog::resting_on(catalog, &lost))?;
        self.databases_of(snapshots, &all)
    }

    /// As [`Self::affected`], of all snapshots; they are listed only if something is lost.
    ///
    /// # Errors
    /// As [`Self::affected`].
    pub fn affected_anywhere(&self) -> Result<Vec<Affected>> {
        if self.losses().untold.is_empty() {
            return Ok(Vec::new());
        }
        self.affected(&self.snapshots(&Silent)?)
    }

    /// The databases of which these blobs are a part.
    fn databases_of(&self, snapshots: &[Snapshot], lost: &HashSet<Blob>) -> Result<Vec<Affected>> {
        let mut found: BTreeMap<(String, StoredPath), Vec<Timestamp>> = BTreeMap::new();
        let mut known = HashMap::new();
        for snapshot in snapshots {
            let Some(root) = &snapshot.manifest.lineage else { continue };
            // Records that cannot be read name nothing.
            let Some((records, _)) = unless_unreadable(self.read_lineage(root))? else { continue };
            for Lineage { path, content, .. } in records {
                let is_hit = match known.get(&content) {
                    Some(is_hit) => *is_hit,
                    None => *known.entry(content).or_insert(self.is_part_of(&content, lost)?),
                };
                if is_hit {
                    let host = snapshot.manifest.host.clone();
                    found.entry((host, path)).or_default().push(snapshot.manifest.time);
                }
            }
        }
        let affected = found.into_iter().map(|((host, path), mut times)| {
            times.sort_unstable();
            Affected { host, path, times }
        });
        Ok(affected.collect())
    }

    /// True if one of the blobs is a run of this content, or a page of its list.
    fn is_part_of(&self, content: &Content, lost: &HashSet<Blob>) -> Result<bool> {
        let root = match content {
            Content::None => return Ok(false),
            Content::Chunk(id) => return Ok(lost.contains(&(BlobKind::Data, *id))),
            Content::List(root) => root,
        };
        let Some(leaves) = unless_unreadable(self.list_leaves(root))? else { return Ok(true) };
        if leaves.iter().any(|leaf| lost.contains(&(BlobKind::ListPage, *leaf))) {
            return Ok(true);
        }
        let mut is_hit = false;
        let read = self.each_list_item(root, &mut |item| {
            is_hit |= matches!(item, ListItem::Chunk { id, .. } if lost.contains(&(BlobKind::Data, id)));
            Ok(())
        });
        Ok(unless_unreadable(read)?.is_none() || is_hit)
    }
}

/// Names affected databases and their days in a sentence; none for none. `day` writes the day of a time.
#[must_use]
pub fn sentence(affected: &[Affected], day: impl Fn(Timestamp) -> String) -> Option<String> {
    if affected.is_empty() {
        return None;
    }
    let mut names: Vec<String> = affected.iter().take(MOST_NAMED).map(|one| named(one, &day)).collect();
    if affected.len() > MOST_NAMED {
        names.push(format!("and {} more", affected.len() - MOST_NAMED));
    }
    Some(format!("What is lost is also needed for other states: {}", names.join("; ")))
}

fn named(one: &Affected, day: &impl Fn(Timestamp) -> String) -> String {
    let mut days: Vec<String> = one.times.iter().map(|time| day(*time)).collect();
    days.dedup();
    let when = match days.as_slice() {
        [] => String::new(),
        [day] => format!(" of {day}"),
        [first, .., last] if days.len() > 6 => format!(" of {} days from {first} to {last}", days.len()),
        days => format!(" of {}", days.join(", ")),
    };
    format!("{} ({}){when}", one.path, one.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_databases_and_days() {
        let one = |days: std::ops::Range<i64>| Affected {
            host: "phone".into(),
            path: StoredPath::root().join(b"chat.db"),
            times: days.map(|day| Timestamp::new(day, 0)).collect(),
        };
        let day = |time: Timestamp| format!("day {}", time.secs);
        assert_eq!(sentence(&[], day), None);
        let text = |affected: &[Affected]| sentence(affected, day).unwrap();
        assert!(text(&[one(3..4)]).ends_with(": /chat.db (phone) of day 3"));
        assert!(text(&[one(3..6)]).ends_with("of day 3, day 4, day 5"));
        assert!(text(&[one(3..60)]).ends_with("of 57 days from day 3 to day 59"));
        assert!(text(&vec![one(1..2); 25]).ends_with("; and 5 more"));
    }
}
