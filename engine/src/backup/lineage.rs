//! What the databases of a run came from, and what is recorded of them for later runs.

use crate::base::error::unless_unreadable;
use crate::base::{BlobId, LineageId, Result, SnapshotId, StoredPath, Timestamp};
use crate::crypto::secret::random_bytes;
use crate::model::BlobKind;
use crate::model::lineage::{Checked, Lineage, Sample};
use crate::repo::Repo;
use crate::repo::earlier::EarlierRuns;
use crate::repo::lineage::write_lineage;
use crate::repo::pages::PageSink;
use crate::repo::snapshots::History;
use crate::repo::writer::{Fate, RunWriter};
use crate::rules::lineage::{closest, neighbour, newest_of_sources};
use crate::sqlite::verify::Integrity;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Most other sources whose databases a new one is compared with.
const MOST_SOURCES: usize = 16;

type Records = BTreeMap<StoredPath, Lineage>;
/// By folder, then by name: asked for each file of a folder.
type ByFolder = BTreeMap<StoredPath, BTreeMap<Vec<u8>, Lineage>>;

/// The line of a database.
pub(super) struct Line {
    pub(super) id: LineageId,
    /// The pages of its previous version's list.
    pub(super) pages: Vec<BlobId>,
    /// Goes with the assembly: when all is stored, or given up.
    _under_way: UnderWay,
}

/// Databases whose pieces are being stored.
#[derive(Clone, Default)]
struct Count(Arc<(Mutex<usize>, Condvar)>);

impl Count {
    fn change(&self, by: isize) {
        let (count, changed) = &*self.0;
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_add_signed(by);
        changed.notify_all();
    }
}

/// One of them.
struct UnderWay(Count);

impl UnderWay {
    fn new(count: &Count) -> Self {
        count.change(1);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.change(-1);
    }
}

/// Where a database came from.
pub(super) struct Origin<'r> {
    /// The same for all databases that came from one another.
    pub(super) id: LineageId,
    /// The runs that new ones may be stored as differences to.
    pub(super) runs: EarlierRuns<'r>,
    under_way: UnderWay,
}

impl<'r> Origin<'r> {
    /// What an assembly needs to begin, each time that the file is read.
    pub(super) fn begin(&self) -> (Line, EarlierRuns<'r>) {
        let under_way = UnderWay::new(&self.under_way.0);
        (Line { id: self.id, pages: self.runs.pages().to_vec(), _under_way: under_way }, self.runs.clone())
    }
}

/// What a file's assembly needs of its origin, and the runs; what is no database has none.
pub(super) fn split<'r>(origin: Option<Origin<'r>>, repo: &'r Repo) -> (Option<Line>, EarlierRuns<'r>) {
    match origin {
        None => (None, EarlierRuns::none(repo)),
        Some(origin) => {
            let (line, runs) = origin.begin();
            (Some(line), runs)
        }
    }
}

/// The records of earlier snapshots, and of this one.
pub(super) struct Lineages<'r> {
    repo: &'r Repo,
    /// Of the snapshot that the memory of files speaks of: they go on for what is not read again.
    remembered: ByFolder,
    /// Of the neighbouring snapshot in time.
    near: Records,
    near_pages: Vec<BlobId>,
    /// Roots of the records of other sources.
    others: Vec<BlobId>,
    loaded: OnceLock<Vec<Lineage>>,
    now: Mutex<Records>,
    /// Of these, the ones whose content is new and may not be durable yet.
    unsettled: Mutex<BTreeSet<StoredPath>>,
    under_way: Count,
}

impl<'r> Lineages<'r> {
    /// Reads the records of the neighbouring snapshot. Damaged records are as good as none.
    ///
    /// # Errors
    /// Fails if the repository fails for another reason than damage.
    pub(super) fn open(
        repo: &'r Repo,
        history: &History,
        (host, paths, time): (&str, &[StoredPath], Timestamp),
        remembered: Option<SnapshotId>,
    ) -> Result<Self> {
        let root_of = |id: SnapshotId| {
            history
                .snapshots
                .iter()
                .find(|snapshot| snapshot.id == id)
                .and_then(|found| found.manifest.lineage)
        };
        let read = |root: Option<BlobId>| {
            let Some(root) = root else { return Ok(Default::default()) };
            let (records, pages) = unless_unreadable(repo.read_lineage(&root))?.unwrap_or_default();
            let records: Records = records.into_iter().map(|record| (record.path.clone(), record)).collect();
            Ok((records, pages))
        };
        let near_root =
            neighbour(&history.snapshots, host, paths, time).and_then(|snapshot| snapshot.manifest.lineage);
        let (near, near_pages) = read(near_root)?;
        let remembered_root = remembered.and_then(root_of);
        let remembered = if remembered_root == near_root { near.clone() } else { read(remembered_root)?.0 };
        let remembered = by_folder(remembered);
        let others = newest_of_sources(&history.snapshots, MOST_SOURCES);
        let others = others.iter().filter_map(|snapshot| snapshot.manifest.lineage).collect();
        let (loaded, now, unsettled) = (OnceLock::new(), Mutex::default(), Mutex::default());
        let under_way = Count::default();
        Ok(Self { repo, remembered, near, near_pages, others, loaded, now, unsettled, under_way })
    }

    /// True if the neighbouring snapshot has a database at this path: then it need not be looked for.
    pub(super) fn is_known(&self, path: &StoredPath) -> bool {
        self.near.contains_key(path)
    }

    /// Where the database at this path came from. `samples` are taken only if it is new there. If it is another one of
    /// this run, that one is made durable first: nothing may rest on what could be lost. Where nothing is stored, what only
    /// this run has cannot be read: to look for it would be taken for damage, and for a reason to load the catalog anew.
    pub(super) fn origin(
        &self,
        path: &StoredPath,
        samples: impl FnOnce() -> Result<Vec<Sample>>,
        writer: &RunWriter<'_>,
    ) -> Result<Origin<'r>> {
        let under_way = UnderWay::new(&self.under_way);
        let record = match self.near.get(path) {
            Some(record) => Some(record.clone()),
            None => self.closest(&samples()?)?,
        };
        let Some(record) = record else {
            let id = LineageId::new(random_bytes()?);
            return Ok(Origin { id, runs: EarlierRuns::none(self.repo), under_way });
        };
        if self.is_unsettled(&record) {
            if writer.fate == Fate::Counted {
                return Ok(Origin { id: record.id, runs: EarlierRuns::none(self.repo), under_way });
            }
            // Known before: what is recorded meanwhile may not be durable afterwards.
            let settled = self.unsettled().clone();
            writer.settle()?;
            self.unsettled().retain(|path| !settled.contains(path));
        }
        Ok(Origin { id: record.id, runs: EarlierRuns::of(self.repo, record.content)?, under_way })
    }

    /// Waits until no database's pieces are on their way: then all that were read are recorded, and may be rested on.
    pub(super) fn wait(&self) {
        let (count, changed) = &*self.under_way.0;
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count > 0 {
            count = changed.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// True for a record of this run whose content may not be durable yet. What the snapshot before has is.
    fn is_unsettled(&self, record: &Lineage) -> bool {
        self.unsettled().contains(&record.path)
            && self.near.get(&record.path).is_none_or(|near| near.content != record.content)
    }

    fn unsettled(&self) -> MutexGuard<'_, BTreeSet<StoredPath>> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most related database of this run, the neighbouring snapshot or any other source.
    fn closest(&self, samples: &[Sample]) -> Result<Option<Lineage>> {
        let loaded = self.loaded()?;
        // Unused pages are no kinship.
        let zeroes = self.repo.name(BlobKind::Data, &vec![0; self.repo.config.run as usize]);
        let samples: Vec<Sample> =
            samples.iter().filter(|one| one.id != sample(one.run, &zeroes).id).copied().collect();
        let samples = samples.as_slice();
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(closest(now.values().chain(self.near.values()).chain(loaded), samples).cloned())
    }

    /// The records of other sources, read when they are first needed.
    fn loaded(&self) -> Result<&[Lineage]> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let mut records = Vec::new();
        for root in &self.others {
            let read = unless_unreadable(self.repo.read_lineage(root))?;
            records.extend(read.into_iter().flat_map(|(records, _)| records));
        }
        // Of two threads that read them at once, one is not needed.
        Ok(self.loaded.get_or_init(|| records))
    }

    /// Records a database of this snapshot that was read.
    pub(super) fn add(&self, record: Lineage) {
        self.unsettled().insert(record.path.clone());
        self.record(record);
    }

    fn record(&self, record: Lineage) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).insert(record.path.clone(), record);
    }

    /// Records what was recorded before of a file that is taken over unread.
    pub(super) fn keep(&self, folder: &StoredPath, name: &[u8]) {
        if let Some(record) = self.remembered.get(folder).and_then(|names| names.get(name)) {
            self.record(record.clone());
        }
    }

    /// What was found before of an image of this name, if that is as much as is wanted now.
    pub(super) fn checked(&self, name: &BlobId, wanted: Integrity) -> Option<Checked> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = self.remembered.values().flat_map(BTreeMap::values);
        let known = now.values().chain(self.near.values()).chain(remembered);
        let known = known.filter(|record| record.hash.as_ref() == Some(name)).map(|record| record.checked);
        known.filter(|checked| is_enough(*checked, wanted)).max()
    }

    /// Stores the records of this snapshot and says their root page.
    pub(super) fn write(&self, sink: &dyn PageSink) -> Result<Option<BlobId>> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let records: Vec<Lineage> = now.values().cloned().collect();
        write_lineage(sink, &records, &self.near_pages)
    }
}

/// True if nothing more has to be found out. What is known is kept also where nothing is asked: it stays true of the image.
fn is_enough(checked: Checked, wanted: Integrity) -> bool {
    match checked {
        Checked::No => false,
        Checked::Quick => wanted != Integrity::Full,
        Checked::Full | Checked::Failed => true,
    }
}

/// The sample of a run.
pub(super) fn sample(run: u32, id: &BlobId) -> Sample {
    Sample { run, id: id.as_bytes().first_chunk().copied().unwrap_or_default() }
}

fn by_folder(records: Records) -> ByFolder {
    let mut folders = ByFolder::new();
    for (path, record) in records {
        let names = folders.entry(path.parent().unwrap_or_else(StoredPath::root)).or_default();
        names.insert(path.name().to_vec(), record);
    }
    folders
}
