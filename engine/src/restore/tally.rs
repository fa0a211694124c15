//! What a plan sums up, and what speaks against it.

use super::remove::Approved;
use super::room::Room;
use super::target::shown;
use super::{RestoreOptions, RestorePlan};
use crate::base::{Error, Kind, Observer, Result, StoredPath, Warning, WarningKind};
use crate::repo::Snapshot;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Most things in the way that are named.
const MOST_NAMED: usize = 5;

/// What speaks against a restore, by where it is in the target: the stored path would read as if the original were meant.
#[derive(Debug)]
pub(super) struct Conflicts {
    pub(super) why: &'static str,
    pub(super) to: PathBuf,
    pub(super) count: u64,
    pub(super) first: Vec<(PathBuf, String)>,
}

/// Most entries of which the names are kept.
const MOST_KEPT: u64 = 10_000;

impl Conflicts {
    pub(super) fn new(why: &'static str, to: &Path) -> Self {
        Self { why, to: to.to_owned(), count: 0, first: Vec::new() }
    }

    pub(super) fn add(&mut self, path: PathBuf, what: &str) {
        self.count += 1;
        if self.count <= MOST_KEPT {
            self.first.push((path, what.to_owned()));
        }
    }

    /// Names each in a warning.
    pub(super) fn tell(&self, message: &str, observer: &dyn Observer) {
        for (path, _) in &self.first {
            let message = message.to_owned();
            let path = StoredPath::from_fs(path);
            observer.warn(&Warning { kind: WarningKind::OnlyHere, path, message });
        }
    }

    pub(super) fn check(&self, kind: Kind) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let named =
            self.first.iter().take(MOST_NAMED).map(|(path, what)| format!("{} ({what})", shown(path)));
        let mut why = format!("{}: {}", self.why, named.collect::<Vec<_>>().join(", "));
        let more = self.count.saturating_sub(MOST_NAMED as u64);
        if more > 0 {
            why.push_str(&format!(" and {more} more"));
        }
        Err(Error::new(kind, "restore into", shown(&self.to)).because(why))
    }
}

/// The sums of a plan.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) files: u64,
    pub(super) dirs: u64,
    pub(super) symlinks: u64,
    pub(super) hard_links: u64,
    pub(super) specials: u64,
    pub(super) bytes: u64,
    pub(super) overwritten: u64,
    pub(super) unchanged: u64,
    pub(super) kept: u64,
    pub(super) deleted: u64,
    pub(super) deleted_bytes: u64,
    pub(super) discarded: u64,
    pub(super) deleted_for_good: u64,
    pub(super) failed: u64,
    pub(super) damaged: BTreeSet<StoredPath>,
    pub(super) denied: u64,
}

impl Sums {
    pub(super) fn into_plan(self, plan: RestorePlan) -> RestorePlan {
        RestorePlan {
            files: self.files,
            dirs: self.dirs,
            symlinks: self.symlinks,
            hard_links: self.hard_links,
            specials: self.specials,
            bytes: self.bytes,
            overwritten: self.overwritten,
            unchanged: self.unchanged,
            kept: self.kept,
            deleted: self.deleted,
            deleted_bytes: self.deleted_bytes,
            discarded: self.discarded,
            deleted_for_good: self.deleted_for_good,
            failed: self.failed,
            damaged: self.damaged,
            denied: self.denied,
            ..plan
        }
    }
}

/// What the walk brought.
pub(super) struct Tally {
    pub(super) sums: Sums,
    pub(super) room: Room,
    pub(super) approved: Approved,
    /// Entries of the target that the snapshot has too.
    pub(super) met: u64,
    /// Something was excluded by a pattern.
    pub(super) has_excluded: bool,
    pub(super) conflicts: Conflicts,
    pub(super) live: Conflicts,
    pub(super) only_here: Conflicts,
}

impl Tally {
    pub(super) fn new(plan: &RestorePlan, room: Room) -> Self {
        let conflicts = |why| Conflicts::new(why, &plan.target);
        Self {
            sums: Sums::default(),
            room,
            approved: Approved::default(),
            met: 0,
            has_excluded: false,
            conflicts: conflicts("these already exist"),
            live: conflicts("an app seems to be using these"),
            only_here: conflicts("these are in no snapshot and would be lost"),
        }
    }

    /// True if something would go that is in no snapshot, and nobody said that it may.
    pub(super) fn is_refused(&self, options: &RestoreOptions) -> bool {
        let is_bound = (options.delete || options.in_place) && !options.discard;
        // In place, a snapshot is taken between the first look and the real one.
        is_bound && self.only_here.count > 0 && !(options.in_place && options.compare)
    }

    /// What speaks against the restore.
    pub(super) fn check(
        &self,
        snapshot: &Snapshot,
        options: &RestoreOptions,
        observer: &dyn Observer,
    ) -> Result<()> {
        self.live.check(Kind::InUse)?;
        self.conflicts.check(Kind::AlreadyThere)?;
        let Sums { files, dirs, symlinks, specials, deleted, damaged, .. } = &self.sums;
        let is_nothing = files + dirs + symlinks + specials + deleted + self.sums.failed == 0;
        if is_nothing && (self.has_excluded || !options.include.is_empty()) && damaged.is_empty() {
            let subject = format!("snapshot {}", snapshot.id.short());
            return Err(Error::new(Kind::NotFound, "find in", subject)
                .because("nothing in it fits the patterns, or they leave nothing of it"));
        }
        if *deleted > 0 && self.met == 0 {
            return Err(Error::new(Kind::Usage, "delete from", shown(&self.conflicts.to)).because(
                "the folder is not empty and holds nothing of the snapshot: it may be the wrong one",
            ));
        }
        if self.is_refused(options) {
            self.only_here.tell("In no snapshot: it would be lost", observer);
            // Who asked to compare gets the whole plan, which cannot be applied.
            if !options.compare {
                self.only_here.check(Kind::OnlyHere)?;
            }
        } else if options.discard && !options.compare {
            self.only_here.tell("Deleted for good: it is in no snapshot", observer);
        }
        Ok(())
    }
}
