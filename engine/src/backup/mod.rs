//! L6: taking a snapshot. The walk goes through the sources in order; what the catalog remembers unchanged is taken over;
//! everything else is read and cut by reader threads, named, compressed and packed on all cores, and folders are closed
//! bottom-up as their last entry is done.

mod file;
mod folder;
mod memory;
mod plan;
mod walk;

#[cfg(test)]
mod tests;

use crate::base::hash::derive_key;
use crate::base::{
    BlobId, Error, Kind, Observer, Phase, Result, SnapshotId, StoredPath, Timestamp, Warning, WarningKind,
    WriterId,
};
use crate::model::{DatabaseState, Manifest, Node, Statistics};
use crate::repo::commit::Run;
use crate::repo::pages::Boundaries;
use crate::repo::writer::{Added, RunWriter};
use crate::repo::{Repo, Snapshot};
use crate::source::Owners;
use folder::Folder;
use plan::Plan;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Files that are open between the walk and the readers.
const OPEN_FILES: usize = 64;

/// What to take a snapshot of, and how.
#[derive(Clone, Debug, Default)]
pub struct BackupOptions {
    /// The sources, absolute.
    pub paths: Vec<PathBuf>,
    /// Folders of this program, which are left out with a note.
    pub own_folders: Vec<PathBuf>,
    /// Names of owners and groups.
    pub owners: Owners,
    /// Name of the machine, if not the session's.
    pub host: Option<String>,
    /// The time of the state, if it is not now.
    pub time: Option<Timestamp>,
    /// Tags.
    pub tags: Vec<String>,
    /// Description.
    pub description: Option<String>,
    /// Reads every file again, whatever the catalog remembers.
    pub force: bool,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct BackupSummary {
    /// The new snapshot.
    pub id: SnapshotId,
    /// The snapshot it was compared with.
    pub parent: Option<SnapshotId>,
    /// Root page of its tree.
    pub tree: BlobId,
    /// The time of the state.
    pub time: Timestamp,
    /// The sources as stored.
    pub paths: Vec<StoredPath>,
    /// Counts.
    pub statistics: Statistics,
    /// All warnings, in the order of their paths.
    pub warnings: Vec<Warning>,
}

/// Takes a snapshot and makes it durable.
///
/// # Errors
/// Fails if no source is there, if the repository cannot be written, or when cancelled. What could not be read of the
/// sources is no error: it is counted, and named in the warnings.
pub fn snapshot(repo: &Repo, options: &BackupOptions, observer: &dyn Observer) -> Result<BackupSummary> {
    let plan = Plan::new(&options.paths)?;
    let run = repo.begin(observer)?;
    let begun = repo.session().now();
    observer.phase(Phase::Storing);
    let host = options.host.clone().unwrap_or_else(|| repo.session().client.host.clone());
    let paths = plan.paths();
    let parent = find_parent(&run.history.snapshots, &host, &paths)
        .map(|snapshot| (snapshot.id, snapshot.manifest.root));
    let stored = Memory::open(repo, &run, &host, &paths).and_then(|memory| {
        let done = RunWriter::run(repo, |writer| {
            let work = Work::new(repo, options, observer, writer, &memory);
            let root = walk::store(&work, &plan, parent.map(|(_, root)| root))?;
            Ok(work.finish(root))
        })?;
        Ok((memory, done))
    });
    let (memory, (taken, packs, added)) = match stored {
        Ok(stored) => stored,
        Err(e) => {
            repo.abandon(run);
            return Err(e);
        }
    };
    observer.phase(Phase::Committing);
    let statistics = taken.all_counted(&added, elapsed_ms(begun, repo.session().now()));
    let parent = parent.map(|(id, _)| id);
    let manifest = Manifest {
        host,
        paths: paths.clone(),
        parent,
        root: taken.root,
        statistics,
        incomplete: taken.incomplete,
        ..manifest_of(repo, options, begun)
    };
    let time = manifest.time;
    let id = repo.commit(run, packs, manifest, observer)?;
    memory.commit(repo, id, taken.rows, taken.removed);
    repo.tell_of_catalog(observer);
    Ok(BackupSummary { id, parent, tree: taken.root, time, paths, statistics, warnings: taken.warnings })
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
        utc_offset_minutes: session.utc_offset_minutes,
        writer: WriterId::new([0; 16]),
        sequence: 0,
        previous: None,
        lamport: 0,
        heads: Vec::new(),
        imported: false,
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
    }
}

/// The last snapshot of the same paths on the same machine.
fn find_parent<'s>(snapshots: &'s [Snapshot], host: &str, paths: &[StoredPath]) -> Option<&'s Snapshot> {
    snapshots.iter().rev().find(|snapshot| snapshot.manifest.host == host && snapshot.manifest.paths == paths)
}

/// The catalog's memory of this source.
struct Memory {
    source: [u8; 32],
    /// The snapshot that holds everything the memory names.
    base: Option<SnapshotId>,
    /// What the catalog said, to notice when another run committed in between.
    expected: Option<SnapshotId>,
    /// Key of the stat keys.
    stats: [u8; 32],
    /// Key of the hard-link groups.
    links: [u8; 32],
}

impl Memory {
    /// Memory counts only while the snapshot that vouches for it is there: then nothing it names can be gone.
    fn open(repo: &Repo, run: &Run, host: &str, paths: &[StoredPath]) -> Result<Self> {
        let secret = repo.sealer.bundle.mac_key();
        let stats = derive_key("chatvault 1 stat keys of a memory", &[&secret]);
        let links = derive_key("chatvault 1 hard-link groups", &[&secret]);
        let mut material: Vec<&[u8]> = vec![&secret, host.as_bytes()];
        for path in paths {
            material.push(&[0]);
            material.push(path.as_bytes());
        }
        let source = derive_key("chatvault 1 source of a memory", &material);
        // A memory that cannot be read only costs time: everything is read again.
        let expected = repo.catalog().memory_open(&source).unwrap_or(None);
        let base = expected.filter(|id| run.history.snapshots.iter().any(|snapshot| snapshot.id == *id));
        if expected.is_some() && base.is_none() {
            repo.catalog().memory_clear(&source)?;
        }
        Ok(Self { source, base, expected: base, stats, links })
    }

    /// Remembers the new state. The snapshot is acknowledged whatever happens here: the memory only saves time.
    fn commit(
        &self,
        repo: &Repo,
        id: SnapshotId,
        rows: Vec<(StoredPath, Vec<u8>)>,
        removed: Vec<StoredPath>,
    ) {
        let committed = repo.catalog().memory_commit(&self.source, self.expected, id, rows, removed);
        if committed.is_err() {
            let _forgotten_is_safe = repo.catalog().memory_clear(&self.source);
        }
        repo.only_costs_time(committed);
    }
}

/// What all threads of one run share.
struct Work<'a> {
    repo: &'a Repo,
    options: &'a BackupOptions,
    observer: &'a dyn Observer,
    writer: &'a RunWriter<'a>,
    memory: &'a Memory,
    boundaries: Boundaries,
    counts: Counts,
    warnings: Mutex<Vec<Warning>>,
    rows: Mutex<Vec<(StoredPath, Vec<u8>)>>,
    removed: Mutex<Vec<StoredPath>>,
}

#[derive(Debug, Default)]
struct Counts {
    files_new: AtomicU64,
    files_changed: AtomicU64,
    files_unmodified: AtomicU64,
    dirs_new: AtomicU64,
    dirs_changed: AtomicU64,
    dirs_unmodified: AtomicU64,
    symlinks: AtomicU64,
    specials: AtomicU64,
    unreadable: AtomicU64,
    /// Of the unreadable ones, those that the parent had.
    lost: AtomicU64,
    total_bytes: AtomicU64,
}

/// How an entry compares with what was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    New,
    Changed,
    Unmodified,
}

impl Status {
    fn of(before: Option<&[u8]>, now: &[u8]) -> Self {
        match before {
            None => Self::New,
            Some(before) if before == now => Self::Unmodified,
            Some(_) => Self::Changed,
        }
    }
}

/// What the walk and the workers leave behind.
struct Taken {
    root: BlobId,
    statistics: Statistics,
    incomplete: bool,
    warnings: Vec<Warning>,
    rows: Vec<(StoredPath, Vec<u8>)>,
    removed: Vec<StoredPath>,
}

impl Taken {
    /// The statistics with what the writer added.
    fn all_counted(&self, added: &Added, duration_ms: u64) -> Statistics {
        Statistics {
            data_blobs: added.data_blobs.load(Ordering::Relaxed),
            tree_blobs: added.page_blobs.load(Ordering::Relaxed),
            data_added: added.plain_bytes.load(Ordering::Relaxed),
            data_added_packed: added.packed_bytes.load(Ordering::Relaxed),
            duration_ms,
            ..self.statistics
        }
    }
}

impl<'a> Work<'a> {
    fn new(
        repo: &'a Repo,
        options: &'a BackupOptions,
        observer: &'a dyn Observer,
        writer: &'a RunWriter<'a>,
        memory: &'a Memory,
    ) -> Self {
        Self {
            repo,
            options,
            observer,
            writer,
            memory,
            boundaries: Boundaries::new(repo),
            counts: Counts::default(),
            warnings: Mutex::default(),
            rows: Mutex::default(),
            removed: Mutex::default(),
        }
    }

    fn warn(&self, kind: WarningKind, path: &StoredPath, message: impl Into<String>) {
        let warning = Warning { kind, path: Some(path.clone()), message: message.into() };
        self.observer.warn(&warning);
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// Counts and names an entry that cannot be read and is therefore not in the snapshot.
    fn missing(&self, folder: &Folder, path: StoredPath, why: &std::io::Error) {
        let had_it = folder.previous.as_ref().is_some_and(|previous| previous.find(path.name()).is_some());
        self.count_unreadable(had_it);
        let message = format!("Cannot be read and is not in this snapshot: {why}");
        self.warn(WarningKind::Unreadable, &path, message);
        self.forget_folder(path);
    }

    /// Counts and names a folder that cannot be listed: it is stored, but its entries are not.
    fn unlisted(&self, folder: &Folder, why: &std::io::Error) {
        self.count_unreadable(folder.previous.as_ref().is_some_and(|previous| previous.entries().len() > 0));
        let message = format!("This folder cannot be read, and what is in it is not in this snapshot: {why}");
        self.warn(WarningKind::Unreadable, &folder.path, message);
    }

    fn count_unreadable(&self, parent_had_it: bool) {
        self.counts.unreadable.fetch_add(1, Ordering::Relaxed);
        if parent_had_it {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Warns of a database that is in this snapshot as it lay.
    fn warn_of_database(&self, path: &StoredPath, node: &Node) {
        let Some(database) = node.database.as_ref().filter(|d| d.state == DatabaseState::AsItLay) else {
            return;
        };
        let message = if database.sidecars.is_empty() || node.changed_while_read {
            "This database changed while it was read: it was stored as it lay, and may be damaged in this snapshot. \
             Close the app and take another one"
        } else {
            "This database has changes that its app has not merged yet: it was stored as it lay, with its sidecar files. \
             If the app was writing meanwhile, they may not fit together"
        };
        self.warn(WarningKind::DatabaseNotCaptured, path, message);
    }

    fn count_file(&self, status: Status, bytes: u64) {
        let counter = match status {
            Status::New => &self.counts.files_new,
            Status::Changed => &self.counts.files_changed,
            Status::Unmodified => &self.counts.files_unmodified,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.counts.total_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn count_dir(&self, status: Status) {
        let counter = match status {
            Status::New => &self.counts.dirs_new,
            Status::Changed => &self.counts.dirs_changed,
            Status::Unmodified => &self.counts.dirs_unmodified,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers a folder for the next snapshot.
    fn remember(&self, folder: &Folder, row: Vec<u8>) {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).push((folder.path.clone(), row));
    }

    /// Has a folder and everything below it forgotten: it is not in this snapshot.
    fn forget_folder(&self, path: StoredPath) {
        self.removed.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }

    fn finish(self, root: BlobId) -> Taken {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        let (new, changed, same) =
            (load(&counts.files_new), load(&counts.files_changed), load(&counts.files_unmodified));
        let statistics = Statistics {
            files_new: new,
            files_changed: changed,
            files_unmodified: same,
            dirs_new: load(&counts.dirs_new),
            dirs_changed: load(&counts.dirs_changed),
            dirs_unmodified: load(&counts.dirs_unmodified),
            symlinks: load(&counts.symlinks),
            specials: load(&counts.specials),
            unreadable: load(&counts.unreadable),
            total_files: new + changed + same,
            total_bytes: load(&counts.total_bytes),
            ..Statistics::default()
        };
        let incomplete = load(&counts.lost) > 0;
        let mut warnings = self.warnings.into_inner().unwrap_or_else(PoisonError::into_inner);
        warnings.sort_by(|a, b| a.path.cmp(&b.path));
        Taken {
            root,
            statistics,
            incomplete,
            warnings,
            rows: self.rows.into_inner().unwrap_or_else(PoisonError::into_inner),
            removed: self.removed.into_inner().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// The error of a snapshot without any source.
fn no_source(paths: &[PathBuf]) -> Error {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    Error::new(Kind::NotFound, "take a snapshot of", names.join(", "))
        .because("there is nothing at this path")
}
