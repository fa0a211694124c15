//! L6: taking a snapshot. The walk goes through the sources in order; what the catalog remembers unchanged is taken over;
//! everything else is read and cut by reader threads, named, compressed and packed on all cores, and folders are closed
//! bottom-up as their last entry is done.

mod assembly;
mod beside;
mod database;
mod entry;
mod file;
mod folder;
mod gone;
mod known;
mod lineage;
mod linked;
mod memory;
mod options;
mod plan;
mod select;
mod stream;
mod tally;
mod video;
mod walk;

#[cfg(test)]
mod tests;

pub use database::{DatabaseCounts, DatabaseReport, NotChecked};
pub use gone::{Gone, GoneFile, ShrunkDatabase};
pub use memory::Ignored;
pub use options::{BackupOptions, BackupPreview, BackupSummary};
pub use select::{Marker, Selection};

use crate::base::{
    BlobId, Error, Found, Kind, Observer, Phase, Result, SnapshotId, StoredPath, Timestamp, Whose, WriterId,
};
use crate::model::{Manifest, Statistics};
use crate::repo::pages::Boundaries;
use crate::repo::snapshots::History;
use crate::repo::writer::{Added, Fate, RunWriter};
use crate::repo::{Repo, Snapshot};
use crate::rules::order::{in_order, misdated};
use crate::source::{StampClocks, descriptor_limit};
use crate::sqlite::capture::WaitBudget;
use crate::sqlite::verify::{CheckTime, Integrity};
use known::Memory;
use lineage::Lineages;
use linked::LinkedDatabases;
use plan::Plan;
use std::io::Read;
use std::path::PathBuf;
use tally::{Status, Taken, Tally};

/// Most files that wait, open, in each of three places: for the readers, for the database thread, and in it.
const MOST_OPEN: u64 = 64;
/// Descriptors of everything else: two ways down into the source, the readers with their copies of databases, the
/// repository, the cache, and the process itself.
const OTHER_DESCRIPTORS: u64 = 128;

/// Nanoseconds after which any clock has gone on by what it counts in, twice.
const LONG_AFTER: i128 = 4_000_000_000;
/// Longest time that one run waits for apps that are in the middle of changing their databases, for all of them together.
const WAIT_FOR_APPS: std::time::Duration = std::time::Duration::from_secs(10);

/// Takes a snapshot and makes it durable.
///
/// # Errors
/// Fails if no source is there, if the repository cannot be written, or when cancelled. What could not be read of the
/// sources is no error: it is counted, and named in the warnings.
pub fn snapshot(repo: &Repo, options: &BackupOptions, observer: &dyn Observer) -> Result<BackupSummary> {
    let plan = Plan::new(&options.paths)?;
    take(repo, options, observer, (plan.paths(), false), |work, parent| walk::store(work, &plan, parent))
}

/// Takes a snapshot of one file whose content arrives through a reader, under a path of its own. The paths and the
/// selection of the options do not count.
///
/// # Errors
/// As [`snapshot`]; and if the reader fails, because a part of a content is worth nothing.
pub fn stream(
    repo: &Repo,
    options: &BackupOptions,
    path: &StoredPath,
    content: &mut (dyn Read + Send),
    observer: &dyn Observer,
) -> Result<BackupSummary> {
    take(repo, options, observer, (vec![path.clone()], true), |work, parent| {
        stream::store(work, path, content, parent)
    })
}

/// Does everything that [`snapshot`] does, but writes nothing, and has no database checked.
///
/// # Errors
/// As [`snapshot`].
pub fn preview(repo: &Repo, options: &BackupOptions, observer: &dyn Observer) -> Result<BackupPreview> {
    // A check would copy each new state, to find out what nobody is going to keep.
    let options = &BackupOptions { integrity: Integrity::None, ..options.clone() };
    let plan = Plan::new(&options.paths)?;
    let history = repo.history(observer)?;
    let begun = repo.session().now();
    observer.phase(Phase::Storing);
    let source = Source::find(repo, &history, options, plan.paths())?;
    let (taken, _, added) = source
        .store(repo, Fate::Counted, options, observer, |work, parent| walk::store(work, &plan, parent))?;
    let statistics = taken.all_counted(&added, elapsed_ms(begun, repo.session().now()));
    let (parent, gone, warnings) = (source.parent_id(), taken.gone, taken.warnings);
    Ok(BackupPreview { parent, paths: source.paths, statistics, gone, warnings })
}

/// A source, and what is known of it.
struct Source<'r> {
    host: String,
    paths: Vec<StoredPath>,
    /// The snapshot to compare with, and the root of its tree.
    parent: Option<(SnapshotId, BlobId)>,
    memory: Memory,
    lineages: Lineages<'r>,
}

impl<'r> Source<'r> {
    fn find(
        repo: &'r Repo,
        history: &History,
        options: &BackupOptions,
        paths: Vec<StoredPath>,
    ) -> Result<Self> {
        let host = options.host.clone().unwrap_or_else(|| repo.session().client.host.clone());
        let memory = Memory::open(repo, history, options, &host, &paths);
        // What is remembered is what is compared with: of two machines that are called the same, each goes on from its own.
        let parent = match options.parent.or(memory.base) {
            None => find_parent(&history.snapshots, &host, &paths),
            Some(id) => Some(
                history
                    .snapshots
                    .iter()
                    .find(|snapshot| snapshot.id == id)
                    .ok_or_else(|| Error::new(Kind::NotFound, "compare with snapshot", id.short()))?,
            ),
        };
        let parent = parent.map(|snapshot| (snapshot.id, snapshot.manifest.root));
        let time = options.time.unwrap_or_else(|| repo.session().now());
        let lineages = Lineages::open(repo, history, (&host, &paths, time), memory.base)?;
        Ok(Self { host, paths, parent, memory, lineages })
    }

    fn parent_id(&self) -> Option<SnapshotId> {
        self.parent.map(|(id, _)| id)
    }

    /// Has `fill` go through the source and store what is new.
    fn store(
        &self,
        repo: &Repo,
        fate: Fate,
        options: &BackupOptions,
        observer: &dyn Observer,
        fill: impl FnOnce(&Work<'_>, Option<BlobId>) -> Result<BlobId>,
    ) -> Result<(Taken, Vec<crate::model::PackRecord>, Added)> {
        RunWriter::run(repo, fate, |writer| {
            let work = Work::new(repo, options, observer, writer, self);
            let root = fill(&work, self.parent.map(|(_, root)| root))?;
            if work.tally.is_empty() {
                return Err(nothing_stored(&self.paths));
            }
            let lineage = self.lineages.write(writer)?;
            Ok(work.tally.finish(root, lineage))
        })
    }
}

fn take(
    repo: &Repo,
    options: &BackupOptions,
    observer: &dyn Observer,
    (paths, is_stream): (Vec<StoredPath>, bool),
    fill: impl FnOnce(&Work<'_>, Option<BlobId>) -> Result<BlobId>,
) -> Result<BackupSummary> {
    let run = repo.begin(observer)?;
    let begun = repo.session().now();
    observer.phase(Phase::Storing);
    let (source, (taken, packs, added), affected) = run.work(|| {
        let source = Source::find(repo, &run.history, options, paths)?;
        // Before, what was missing from the start; afterwards, what turned out to be damaged when it was to be rested on.
        let mut affected = repo.affected(&run.history.snapshots)?;
        let stored = source.store(repo, Fate::Stored, options, observer, fill)?;
        affected.extend(repo.affected(&run.history.snapshots)?);
        Ok((source, stored, affected))
    })?;
    observer.phase(Phase::Committing);
    let statistics = taken.all_counted(&added, elapsed_ms(begun, repo.session().now()));
    let (root, parent, paths) = (taken.root, source.parent_id(), source.paths.clone());
    let manifest = Manifest {
        host: source.host.clone(),
        paths: paths.clone(),
        parent,
        root,
        statistics,
        incomplete: taken.incomplete,
        lineage: taken.lineage,
        links: taken.links.clone(),
        is_stream,
        ..manifest_of(repo, options, begun)
    };
    let (time, utc_offset_minutes) = (manifest.time, manifest.utc_offset_minutes);
    let misdated = misdated(&run.history.snapshots, &manifest, run.writer());
    let id = repo.commit(run, packs, manifest, observer)?;
    source.memory.commit(repo, id, taken.rows, taken.removed);
    repo.settle_catalog();
    repo.tell_pending(observer);
    let Taken { warnings, databases, database_counts, gone, links, .. } = taken;
    let tree = root;
    Ok(BackupSummary {
        id,
        parent,
        tree,
        time,
        utc_offset_minutes,
        paths,
        statistics,
        warnings,
        databases,
        database_counts,
        gone,
        links,
        misdated,
        affected,
    })
}

fn elapsed_ms(begun: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_nanos().saturating_sub(begun.as_nanos()) / 1_000_000).unwrap_or(0)
}

/// A manifest with what the session and the options say; the chain is filled in by the commit.
fn manifest_of(repo: &Repo, options: &BackupOptions, begun: Timestamp) -> Manifest {
    let session = repo.session();
    Manifest {
        time: options.time.unwrap_or(begun),
        created: session.now(),
        utc_offset_minutes: options.utc_offset_minutes.unwrap_or(session.utc_offset_minutes),
        writer: WriterId::new([0; 16]),
        sequence: 0,
        previous: None,
        lamport: 0,
        heads: Vec::new(),
        // The clock says nothing of a state whose time somebody gave.
        imported: options.time.is_some(),
        host: String::new(),
        user: session.client.user.clone(),
        paths: Vec::new(),
        parent: None,
        root: BlobId::new([0; 32]),
        statistics: Statistics::default(),
        program: session.client.program.clone(),
        tags: options.tags.clone(),
        description: options.description.clone(),
        verdict: None,
        incomplete: false,
        summaries: None,
        lineage: None,
        links: Vec::new(),
        is_stream: false,
    }
}

/// The last snapshot of the same paths on the same machine.
fn find_parent<'s>(snapshots: &'s [Snapshot], host: &str, paths: &[StoredPath]) -> Option<&'s Snapshot> {
    let is_of_source =
        |snapshot: &&Snapshot| snapshot.manifest.host == host && snapshot.manifest.paths == paths;
    let of_source: Vec<&Snapshot> = snapshots.iter().filter(is_of_source).collect();
    in_order(&of_source).pop()
}

/// What all threads of one run share.
struct Work<'a> {
    repo: &'a Repo,
    options: &'a BackupOptions,
    observer: &'a dyn Observer,
    writer: &'a RunWriter<'a>,
    memory: &'a Memory,
    lineages: &'a Lineages<'a>,
    boundaries: Boundaries,
    tally: Tally,
    check_time: CheckTime,
    clocks: StampClocks,
    /// True if what is remembered was remembered long enough ago for any clock to have gone on.
    is_long_after: bool,
    /// True if there is a snapshot to compare with.
    has_parent: bool,
    /// Most files that wait, open, in one place.
    open_files: usize,
    /// What is left to wait for apps that are in the middle of something.
    waits: WaitBudget,
    linked: LinkedDatabases,
}

impl<'a> Work<'a> {
    fn new(
        repo: &'a Repo,
        options: &'a BackupOptions,
        observer: &'a dyn Observer,
        writer: &'a RunWriter<'a>,
        source: &'a Source<'a>,
    ) -> Self {
        let tally = Tally::new(Memory::staged(repo));
        let (memory, lineages) = (&source.memory, &source.lineages);
        let (boundaries, check_time) = (Boundaries::new(repo), CheckTime::default());
        Self {
            repo,
            options,
            observer,
            writer,
            memory,
            lineages,
            boundaries,
            tally,
            check_time,
            clocks: StampClocks::new(options.foreign_clocks),
            is_long_after: source.memory.created.is_some_and(|created| {
                let now = repo.session().now();
                now.as_nanos() - created.as_nanos() >= LONG_AFTER
            }),
            has_parent: source.parent.is_some(),
            open_files: open_files(descriptor_limit()),
            waits: WaitBudget::new(WAIT_FOR_APPS),
            linked: LinkedDatabases::default(),
        }
    }
}

/// Most files that wait in one place where so many descriptors are allowed: each takes two, with its folder.
fn open_files(limit: u64) -> usize {
    let most = (limit.saturating_sub(OTHER_DESCRIPTORS) / 6).clamp(4, MOST_OPEN);
    usize::try_from(most).unwrap_or(1)
}

/// A snapshot without anything would be the latest one, and what is restored, compared and listed first.
fn nothing_stored(paths: &[StoredPath]) -> Error {
    let names: Vec<String> = paths.iter().map(ToString::to_string).collect();
    Error::new(Kind::Io, "take a snapshot of", names.join(", "))
        .because("nothing of it could be stored: it could not be read, or was left out")
        .of(Whose::Source)
}

/// The error of a snapshot without any source.
fn no_source(paths: &[PathBuf]) -> Error {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    Error::new(Kind::NotFound, "take a snapshot of", names.join(", "))
        .because("there is nothing at this path")
        .of(Whose::Source)
}
