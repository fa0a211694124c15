//! How much snapshots hold and how much of the repository they take: before and after deduplication and compression,
//! by kind of content, and what one snapshot alone uses.
//!
//! Each page is read at most twice, however many snapshots hold it: when the first one meets it, and when a second one
//! does, so that what rests on it counts as shared. What is known of blobs is kept in a scratch table.

mod kind;
#[cfg(test)]
mod tests;
mod walk;

pub use crate::catalog::DeltaTotals;
pub use crate::catalog::scratch::UseTotals;
pub use kind::ContentKind;

use crate::base::{Kind, Observer, Phase, Result, SnapshotId, StoredPath, Warning};
use crate::browse::lookup;
use crate::catalog::Catalog;
use crate::catalog::scratch::{Sums, Uses};
use crate::model::PackClass;
use crate::repo::open::warn_of_unreadable;
use crate::repo::{Repo, Snapshot};
use std::collections::BTreeMap;
use std::collections::HashSet;
use walk::Count;

/// Of what.
#[derive(Clone, Copy, Debug)]
pub struct StatsOptions<'a> {
    /// All snapshots of the repository: what another one of them uses too is not used by one alone.
    pub all: &'a [Snapshot],
    /// Those that are counted.
    pub chosen: &'a [Snapshot],
    /// Only what is at and below this path.
    pub path: Option<&'a StoredPath>,
}

/// Files and bytes as they would be restored; a file with several names counts for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindStats {
    /// Which.
    pub kind: ContentKind,
    /// In all counted snapshots together.
    pub restored: Restored,
    /// Its different blobs. One that files of several kinds share belongs to the first one that was met.
    pub blobs: UseTotals,
}

/// One snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotStats {
    /// Which.
    pub id: SnapshotId,
    /// What it holds.
    pub restored: Restored,
    /// What no other snapshot uses: forgetting it frees that. None if a path was named.
    pub alone: Option<UseTotals>,
}

/// The packs of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassStats {
    /// Which.
    pub class: PackClass,
    /// Packs.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs in them; one that is stored twice counts twice.
    pub blobs: u64,
}

/// The objects of one folder of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderStats {
    /// Its name: `packs`, `index`, `snapshots` and so on; `config` is the object itself.
    pub name: String,
    /// Objects.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// All figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The counted snapshots, oldest first.
    pub snapshots: Vec<SnapshotStats>,
    /// All of them together.
    pub restored: Restored,
    /// By kind of content, all kinds.
    pub kinds: Vec<KindStats>,
    /// Their different blobs of content.
    pub content: UseTotals,
    /// Their different pages of folders and lists.
    pub metadata: UseTotals,
    /// Blobs in the repository that no snapshot needs, or further copies: bytes in packs. None if a path was named.
    pub unneeded_bytes: Option<u64>,
    /// The stored copies of page runs of databases, and what differences save.
    pub deltas: DeltaTotals,
    /// The packs by class.
    pub classes: Vec<ClassStats>,
    /// All objects of the repository by folder.
    pub folders: Vec<FolderStats>,
}

/// Counts. What cannot be read is told to the observer as damage, and is missing in the figures.
///
/// # Errors
/// [`Kind::NotFound`] if a path was named and no chosen snapshot holds it; whatever is no damage.
pub fn stats(repo: &Repo, options: &StatsOptions<'_>, observer: &dyn Observer) -> Result<Stats> {
    observer.phase(Phase::Counting);
    let count = Count { repo, observer, uses: Uses::new()? };
    let mut snapshots = Vec::new();
    let mut sums = walk::no_sums();
    let mut missing = None;
    for (user, snapshot) in options.chosen.iter().enumerate() {
        let counted = match options.path {
            None => count.page(snapshot, user),
            Some(path) => lookup(repo, snapshot, path).and_then(|node| count.node(snapshot, &node, user)),
        };
        let counted = match counted {
            Ok(counted) => counted,
            Err(e) if e.kind() == Kind::NotFound && options.path.is_some() => {
                missing = missing.or(Some(e));
                continue;
            }
            Err(e) if e.is_unreadable() => {
                damaged(observer, snapshot, &e);
                walk::no_sums()
            }
            Err(e) => return Err(e),
        };
        walk::add(&mut sums, &counted);
        snapshots.push((user, snapshot.id, restored(&counted)));
    }
    if let (true, Some(e)) = (snapshots.is_empty(), missing) {
        return Err(e);
    }
    if options.path.is_none() {
        let chosen: HashSet<SnapshotId> = options.chosen.iter().map(|snapshot| snapshot.id).collect();
        for snapshot in options.all.iter().filter(|snapshot| !chosen.contains(&snapshot.id)) {
            count.page(snapshot, Uses::NOBODY)?;
        }
    }
    summed(&count, options, snapshots, &sums)
}

fn damaged(observer: &dyn Observer, snapshot: &Snapshot, error: &crate::base::Error) {
    let id = snapshot.id.short();
    let what = format!("Not all of snapshot {id} can be read, the figures are too small");
    observer.warn(&Warning::of_unreadable(None, &what, error));
}

fn restored(sums: &Sums) -> Restored {
    sums.iter().fold(Restored::default(), |all, (files, bytes)| Restored {
        files: all.files.saturating_add(*files),
        bytes: all.bytes.saturating_add(*bytes),
    })
}

/// Puts the figures together.
fn summed(
    count: &Count<'_>,
    options: &StatsOptions<'_>,
    snapshots: Vec<(usize, SnapshotId, Restored)>,
    sums: &Sums,
) -> Result<Stats> {
    let Count { repo, observer, uses } = count;
    let (by_kind, alone) = (uses.by_class()?, uses.alone()?);
    let kinds: Vec<KindStats> = ContentKind::ALL
        .into_iter()
        .zip(sums)
        .enumerate()
        .map(|(number, (kind, (files, bytes)))| KindStats {
            kind,
            restored: Restored { files: *files, bytes: *bytes },
            blobs: by_kind.get(&number).copied().unwrap_or_default(),
        })
        .collect();
    let content = by_kind.into_values().fold(UseTotals::default(), |all, one| UseTotals {
        blobs: all.blobs + one.blobs,
        plain_bytes: all.plain_bytes.saturating_add(one.plain_bytes),
        stored_bytes: all.stored_bytes.saturating_add(one.stored_bytes),
    });
    let totals = PackClass::ALL
        .into_iter()
        .map(|class| Ok((class, repo.with_catalog(|catalog| catalog.totals(class))?)))
        .collect::<Result<Vec<_>>>()?;
    let sealed: u64 = totals.iter().map(|(_, totals)| totals.sealed_bytes).fold(0, u64::saturating_add);
    let needed = uses.all()?.stored_bytes;
    let is_whole = options.path.is_none();
    Ok(Stats {
        snapshots: snapshots
            .into_iter()
            .map(|(user, id, restored)| SnapshotStats {
                id,
                restored,
                alone: is_whole.then(|| alone.get(&user).copied().unwrap_or_default()),
            })
            .collect(),
        restored: restored(sums),
        kinds,
        content,
        metadata: uses.metadata()?,
        deltas: repo.with_catalog(Catalog::delta_totals)?,
        unneeded_bytes: is_whole.then(|| sealed.saturating_sub(needed)),
        classes: totals
            .into_iter()
            .map(|(class, totals)| ClassStats {
                class,
                packs: totals.packs,
                bytes: totals.pack_bytes,
                blobs: totals.blobs,
            })
            .collect(),
        folders: folders(repo, *observer)?,
    })
}

/// The objects of the repository, by the first part of their names.
fn folders(repo: &Repo, observer: &dyn Observer) -> Result<Vec<FolderStats>> {
    let mut folders: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let listing = repo.store.list("")?;
    warn_of_unreadable(&listing, observer);
    for object in listing.objects {
        let name = object.name.as_str().split('/').next().unwrap_or_default();
        let (files, bytes) = folders.entry(name.to_owned()).or_default();
        *files += 1;
        *bytes = bytes.saturating_add(object.size);
    }
    Ok(folders.into_iter().map(|(name, (files, bytes))| FolderStats { name, files, bytes }).collect())
}
