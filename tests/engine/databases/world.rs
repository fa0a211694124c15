//! Two machines with databases, and the repository in which both keep them.

use super::step::{Edit, Ending, Files, Step};
use super::{Seen, chains, sql};
use crate::lives::count;
use chatvault_engine::base::event::Silent;
use chatvault_engine::base::{LineageId, SnapshotId};
use chatvault_engine::model::DatabaseState;
use chatvault_engine::repo::{Repo, Session};
use chatvault_engine::sqlite::capture::Sidecar;
use chatvault_engine::store::MemoryStore;
use chatvault_tests::lab::find;
use chatvault_tests::sqlite::{all, beside, image};
use chatvault_tests::{Lab, Truth};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A database that is larger is made smaller instead of larger.
const LARGE: u64 = 900_000;
/// A machine has so many databases at most.
const MOST_DATABASES: usize = 6;

/// Content hashes by the name of the database.
type Images = BTreeMap<PathBuf, blake3::Hash>;

/// A version of all databases of a machine.
struct Taken {
    id: SnapshotId,
    source: PathBuf,
    images: Images,
}

struct Machine {
    host: &'static str,
    source: PathBuf,
    cache: PathBuf,
    repo: Option<Repo>,
    /// Apps that are open.
    open: BTreeMap<PathBuf, Connection>,
    /// Databases that were cut off, which no app can use.
    spoilt: BTreeSet<PathBuf>,
    /// The lines of its databases in its last snapshot.
    lines: BTreeMap<PathBuf, LineageId>,
}

/// A life under way.
pub struct World<'s> {
    lab: Lab,
    store: Arc<MemoryStore>,
    machines: [Machine; 2],
    scratch: PathBuf,
    taken: Vec<Taken>,
    /// Whole versions, to be copied back.
    older: Vec<Vec<u8>>,
    seen: &'s Seen,
}

impl Machine {
    fn new(lab: &Lab, host: &'static str) -> Self {
        let (source, cache) = (lab.path().join(host), lab.path().join(format!("cache of {host}")));
        fs::create_dir(&source).unwrap();
        let (open, spoilt, lines) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { host, source, cache, repo: None, open, spoilt, lines }
    }

    /// Its databases, sorted.
    fn databases(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(&self.source).unwrap().map(|entry| entry.unwrap());
        let mut paths: Vec<PathBuf> = names
            .filter(|entry| Sidecar::main_of(entry.file_name().as_encoded_bytes()).is_none())
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        paths
    }

    /// Ends the app of a database, if it is open: nothing is pending then.
    fn close(&mut self, path: &Path) {
        if let Some(db) = self.open.remove(path) {
            db.close().unwrap();
        }
        if !self.spoilt.contains(path) {
            let db = Connection::open(path).unwrap();
            all(&db, "SELECT * FROM sqlite_schema");
            db.close().unwrap();
        }
    }

    fn session(&self, lab: &Lab) -> Session {
        let mut session = lab.session();
        session.client.host = self.host.to_owned();
        session.cache_dir = Some(self.cache.clone());
        session
    }
}

fn remove_sidecars(path: &Path) {
    for sidecar in Sidecar::ALL {
        let _not_there = fs::remove_file(beside(path, sidecar));
    }
}

impl<'s> World<'s> {
    pub fn new(seen: &'s Seen) -> Self {
        let (lab, store) = (Lab::light(), Arc::new(MemoryStore::new()));
        let machines = ["phone", "other phone"].map(|host| Machine::new(&lab, host));
        drop(lab.create_in(store.clone()));
        let scratch = lab.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let world = Self { lab, store, machines, scratch, taken: Vec::new(), older: Vec::new(), seen };
        for name in ["0.db", "1.db"] {
            world.create(&world.machines[0].source.join(name), 4096);
        }
        world
    }

    fn create(&self, path: &Path, page: u32) {
        let db = Connection::open(path).unwrap();
        sql::create(&db, page);
        let name = path.file_name().unwrap().as_encoded_bytes();
        sql::insert(&db, 900, 200, name[0].wrapping_add(u8::try_from(self.taken.len() % 100).unwrap()));
        db.close().unwrap();
    }

    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Edit { machine, db, edit, ending } => self.edit(*machine, *db, edit, *ending),
            Step::Files { machine, db, files } => self.files(*machine, *db, files),
            Step::Snapshot { machine, settled } => self.snapshot(*machine, *settled),
            Step::Restore { which } => {
                if let Some(number) = usize::from(*which).checked_rem(self.taken.len()) {
                    self.repo(0);
                    self.restore(self.machines[0].repo.as_ref().unwrap(), &self.taken[number]);
                }
            }
            Step::Reopen { machine } => self.machines[*machine].repo = None,
            Step::DeleteCatalog { machine } => {
                let machine = &mut self.machines[*machine];
                machine.repo = None;
                if fs::remove_dir_all(&machine.cache).is_ok() {
                    count(&self.seen.deleted_catalogs, 1);
                }
            }
        }
    }

    /// The database that a number chooses; none if the machine has none.
    fn choose(&self, machine: usize, db: u8) -> Option<PathBuf> {
        let databases = self.machines[machine].databases();
        databases.get(usize::from(db).checked_rem(databases.len())?).cloned()
    }

    fn edit(&mut self, machine: usize, db: u8, edit: &Edit, ending: Ending) {
        let Some(path) = self.choose(machine, db) else { return };
        let seen = self.seen;
        let machine = &mut self.machines[machine];
        if machine.spoilt.contains(&path) {
            return;
        }
        count(&seen.edits, 1);
        let db = machine.open.remove(&path).unwrap_or_else(|| Connection::open(&path).unwrap());
        let is_large = fs::metadata(&path).unwrap().len() > LARGE;
        match edit {
            Edit::Insert { .. } | Edit::Blob { .. } if is_large => sql::delete(&db, 1),
            Edit::Insert { rows, size, seed } => {
                sql::insert(&db, u32::from(*rows), usize::from(*size), *seed);
            }
            Edit::Update { from, rows, seed } => sql::update(&db, u32::from(*from), u32::from(*rows), *seed),
            Edit::Delete { part } => sql::delete(&db, *part),
            Edit::Blob { size, seed } => sql::blob(&db, *size, *seed),
            Edit::Vacuum => {
                all(&db, "VACUUM");
                count(&seen.vacuums, 1);
            }
            Edit::PageSize { power } => {
                count(&seen.page_sizes, u64::from(sql::page_size(&db, 1 << power)));
            }
            Edit::Journal { mode } => all(&db, &format!("PRAGMA journal_mode={mode}")),
            Edit::AutoVacuum { mode } => {
                all(&db, &format!("PRAGMA auto_vacuum={mode}"));
                all(&db, "VACUUM");
            }
            Edit::IncrementalVacuum { pages } => all(&db, &format!("PRAGMA incremental_vacuum({pages})")),
            Edit::Index => sql::index(&db),
        }
        match ending {
            Ending::Closed => db.close().unwrap(),
            Ending::FramesLeft => {
                sql::leave_frames(&db);
                db.close().unwrap();
            }
            Ending::Open => {
                machine.open.insert(path, db);
            }
        }
    }

    fn files(&mut self, number: usize, db: u8, files: &Files) {
        if let Files::Create { name, power } = files {
            let path = self.machines[number].source.join(format!("{name}.db"));
            if !path.exists() && self.machines[number].databases().len() < MOST_DATABASES {
                self.create(&path, 1 << power);
                count(&self.seen.edits, 1);
            }
            return;
        }
        let Some(path) = self.choose(number, db) else { return };
        self.machines[number].close(&path);
        let is_spoilt = self.machines[number].spoilt.contains(&path);
        let done = match files {
            Files::Create { .. } => unreachable!(),
            Files::Rename { name } => {
                let to = self.machines[number].source.join(format!("{name}.db"));
                !to.exists() && self.replace(number, &path, &to, true)
            }
            Files::Rotate => {
                let copies = [1, 2].map(|copy| path.with_extension(format!("db.{copy}")));
                let is_one = path.extension().is_some_and(|extension| extension == "db");
                is_one && {
                    if copies[0].exists() {
                        self.replace(number, &copies[0], &copies[1], true);
                    }
                    self.replace(number, &path, &copies[0], false)
                }
            }
            Files::Older { version } => self.bring_back(number, &path, *version),
            Files::Truncate { keep } => {
                self.machines[number].spoilt.insert(path.clone());
                remove_sidecars(&path);
                let file = File::options().write(true).open(&path).unwrap();
                file.set_len(file.metadata().unwrap().len() * u64::from(*keep) / 256).unwrap();
                count(&self.seen.cut_off, 1);
                true
            }
            Files::Remove => {
                remove_sidecars(&path);
                self.machines[number].spoilt.remove(&path);
                fs::remove_file(&path).unwrap();
                true
            }
            Files::Bring => {
                let to = self.machines[1 - number].source.join(path.file_name().unwrap());
                !is_spoilt && !to.exists() && fs::copy(&path, to).is_ok()
            }
            Files::CutOff { seed } => !is_spoilt && sql::cut_off(&path, &self.scratch, *seed),
        };
        count(&self.seen.edits, u64::from(done));
    }

    /// Moves or copies a database to another name, over what has it.
    fn replace(&mut self, number: usize, from: &Path, to: &Path, moves: bool) -> bool {
        let machine = &mut self.machines[number];
        for path in [from, to] {
            if path.exists() {
                machine.close(path);
            }
            remove_sidecars(path);
        }
        if machine.spoilt.contains(from) {
            machine.spoilt.insert(to.to_owned());
        } else {
            machine.spoilt.remove(to);
        }
        if moves {
            machine.spoilt.remove(from);
            fs::rename(from, to).unwrap();
        } else {
            fs::copy(from, to).unwrap();
        }
        true
    }

    fn bring_back(&mut self, number: usize, path: &Path, version: u8) -> bool {
        let Some(version) = usize::from(version).checked_rem(self.older.len()) else { return false };
        remove_sidecars(path);
        fs::write(path, &self.older[version]).unwrap();
        self.machines[number].spoilt.remove(path);
        count(&self.seen.older_states, 1);
        true
    }

    fn repo(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        if machine.repo.is_none() {
            let session = machine.session(&self.lab);
            let repo = Repo::open(self.store.clone(), &self.lab.credential(), session, &Silent);
            machine.repo = Some(repo.unwrap());
        }
    }

    fn snapshot(&mut self, number: usize, settled: bool) {
        if settled {
            self.lab.let_time_pass();
        } else {
            self.lab.follow_file_system();
        }
        self.repo(number);
        let (before, images) = (Truth::read(&self.machines[number].source), self.images(number));
        let machine = &self.machines[number];
        let repo = machine.repo.as_ref().unwrap();
        let summary = self.lab.snapshot_of(repo, &machine.source);
        before.assert_same(&Truth::read(&machine.source), "the machine after the snapshot");
        for report in &summary.databases {
            assert_ne!(report.state, DatabaseState::AsItLay, "{:?}", summary.warnings);
            count(&self.seen.merged, u64::from(report.frames > 0));
            count(&self.seen.rolled_back, u64::from(report.rolled_back > 0));
        }
        count(&self.seen.snapshots, 1);
        count(&self.seen.versions, images.len() as u64);
        let lines = lines_of(repo, &summary.id, &machine.source);
        self.compare_lines(number, &lines);
        self.machines[number].lines = lines;
        self.taken.push(Taken { id: summary.id, source: self.machines[number].source.clone(), images });
    }

    /// What each database must be; whole ones are kept to be copied back.
    fn images(&mut self, number: usize) -> Images {
        let machine = &self.machines[number];
        let mut images = Images::new();
        for path in machine.databases() {
            let image = image(&path, &self.scratch);
            images.insert(path.strip_prefix(&machine.source).unwrap().to_owned(), blake3::hash(&image));
            if !machine.spoilt.contains(&path) && self.older.len() < 200 {
                self.older.push(image);
            }
        }
        images
    }

    /// Counts the databases whose line goes on under another name, or is on both machines.
    fn compare_lines(&self, number: usize, now: &BTreeMap<PathBuf, LineageId>) {
        let (before, there) = (&self.machines[number].lines, &self.machines[1 - number].lines);
        for (name, line) in now {
            count(&self.seen.on_both, u64::from(there.values().any(|other| other == line)));
            if before.contains_key(name) {
                continue;
            }
            match before.iter().find(|(_, known)| *known == line) {
                Some((old, _)) if now.contains_key(old) => count(&self.seen.copied, 1),
                Some(_) => count(&self.seen.renamed, 1),
                None => {}
            }
        }
    }

    fn restore(&self, repo: &Repo, taken: &Taken) {
        let restored = self.lab.try_restore(repo, &find(repo, &taken.id), &taken.source).unwrap();
        assert_eq!((restored.summary.damaged, restored.summary.failed), (0, 0), "{:?}", restored.summary);
        let files = fs::read_dir(&restored.folder).unwrap().map(|entry| entry.unwrap());
        let images: Images = files
            .map(|entry| (entry.file_name().into(), blake3::hash(&fs::read(entry.path()).unwrap())))
            .collect();
        assert_eq!(images, taken.images, "what was restored of {}", taken.id);
        count(&self.seen.restores, 1);
    }

    /// Everything comes back from repository and key alone.
    pub fn end(mut self) {
        self.snapshot(0, false);
        self.snapshot(1, true);
        let chains = chains::read(self.store.as_ref(), &self.lab.credential());
        count(&self.seen.deltas, chains.deltas);
        count(&self.seen.full_copies, chains.full);
        self.seen.deepest.set(self.seen.deepest.get().max(u64::from(chains.deepest)));
        for machine in &mut self.machines {
            machine.repo = None;
        }
        let session = Session { cache_dir: None, ..self.lab.session() };
        let alone = Repo::open(self.store.clone(), &self.lab.credential(), session, &Silent).unwrap();
        for taken in &self.taken {
            self.restore(&alone, taken);
        }
    }
}

/// The lines of the databases of a snapshot, by name.
fn lines_of(repo: &Repo, id: &SnapshotId, source: &Path) -> BTreeMap<PathBuf, LineageId> {
    let Some(root) = find(repo, id).manifest.lineage else { return BTreeMap::new() };
    let (records, _) = repo.read_lineage(&root).unwrap();
    let name = |path: PathBuf| path.strip_prefix(source).unwrap().to_owned();
    records.into_iter().map(|record| (name(record.path.to_fs()), record.id)).collect()
}
