//! A source, a repository, a cache and a clock that belong to one test, and nothing of the machine it runs on.

use crate::truth::Truth;
use chatvault_engine::backup::{self, BackupOptions, BackupSummary};
use chatvault_engine::base::event::Silent;
use chatvault_engine::base::{Cancel, Kind, Observer, Result, SnapshotId, Timestamp, Warning, WarningKind};
use chatvault_engine::crypto::slot::{Derivations, unwrap};
use chatvault_engine::crypto::{Credential, RecoveryKey};
use chatvault_engine::format::config;
use chatvault_engine::format::object::Sealer;
use chatvault_engine::repo::{Client, Repo, Session, Snapshot};
use chatvault_engine::restore::{self, RestoreOptions, RestoreSummary};
use chatvault_engine::store::{LocalStore, ObjectName, Store};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// A clock that only the test moves, but for a millisecond each time it is read: no two snapshots have the same time.
#[derive(Debug)]
pub struct Clock(Mutex<Timestamp>);

impl Clock {
    /// The time it shows.
    ///
    /// # Panics
    /// Panics if another thread panicked while it moved the clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    /// The time it shows; a millisecond later it shows the next one.
    ///
    /// # Panics
    /// As [`Self::now`].
    #[must_use]
    pub fn tick(&self) -> Timestamp {
        let mut shown = self.0.lock().unwrap();
        let now = *shown;
        let next = now.nanos + 1_000_000;
        *shown = Timestamp::new(now.secs + i64::from(next / 1_000_000_000), next % 1_000_000_000);
        now
    }

    /// Moves it.
    ///
    /// # Panics
    /// As [`Self::now`].
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap() = now;
    }
}

/// Remembers every warning.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Vec<Warning>>);

impl Observer for Heard {
    fn warn(&self, warning: &Warning) {
        self.0.lock().unwrap().push(warning.clone());
    }
}

impl Heard {
    /// All warnings so far.
    ///
    /// # Panics
    /// Panics if another thread panicked while it warned.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.0.lock().unwrap().clone()
    }

    /// True if a warning of this kind came.
    #[must_use]
    pub fn has(&self, kind: WarningKind) -> bool {
        self.warnings().iter().any(|warning| warning.kind == kind)
    }
}

/// See the module's page.
#[derive(Debug)]
pub struct Lab {
    dir: TempDir,
    /// The clock of all its sessions.
    pub clock: Arc<Clock>,
    /// False once [`Self::crash`] was called: what ran before counts as dead.
    alive: Arc<AtomicBool>,
    key: RecoveryKey,
    restores: AtomicUsize,
}

impl Lab {
    /// A lab with an empty source. Its clock is far ahead, so that every file counts as settled.
    ///
    /// # Panics
    /// As everything in here: if the file system refuses.
    #[must_use]
    pub fn new() -> Self {
        Self::within(TempDir::new().unwrap())
    }

    /// A lab in memory where the machine has such a file system: for many short runs.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn light() -> Self {
        Self::within(TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap())
    }

    fn within(dir: TempDir) -> Self {
        fs::create_dir(dir.path().join("source")).unwrap();
        Self {
            dir,
            clock: Arc::new(Clock(Mutex::new(Timestamp::new(4_000_000_000, 0)))),
            alive: Arc::new(AtomicBool::new(true)),
            key: RecoveryKey::random().unwrap(),
            restores: AtomicUsize::new(0),
        }
    }

    /// The folder that holds everything of this lab.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The folder of which snapshots are taken.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.path().join("source")
    }

    /// The folder of the repository.
    #[must_use]
    pub fn repository(&self) -> PathBuf {
        self.path().join("repository")
    }

    /// The key that opens it.
    #[must_use]
    pub fn credential(&self) -> Credential {
        Credential::Recovery(self.key.clone())
    }

    /// A session with the lab's clock and cache.
    #[must_use]
    pub fn session(&self) -> Session {
        let (clock, alive) = (Arc::clone(&self.clock), Arc::clone(&self.alive));
        Session {
            client: Client {
                host: "lab".into(),
                user: "tester".into(),
                program: "chatvault tests".into(),
                boot_id: "boot".into(),
                pid: 1,
                pid_namespace: 1,
                process_started: 1,
            },
            clock: Arc::new(move || clock.tick()),
            since_boot: Arc::new(|| Duration::from_secs(1)),
            machine: Arc::new(|| [1; 16]),
            pause: Arc::new(|_| {}),
            is_alive: Arc::new(move |_, _| alive.load(Ordering::SeqCst)),
            utc_offset_minutes: 60,
            cache_dir: Some(self.path().join("cache")),
            scratch_dir: Some(self.path().to_owned()),
            compression: 3,
            threads: 2,
            cancel: Cancel::new(),
        }
    }

    /// From now on all runs of before count as dead.
    pub fn crash(&self) {
        self.alive.store(false, Ordering::SeqCst);
    }

    /// Makes the repository in its folder.
    ///
    /// # Panics
    /// Panics if that fails.
    #[must_use]
    pub fn create(&self) -> Repo {
        self.create_in(Arc::new(LocalStore::create(&self.repository()).unwrap()))
    }

    /// Makes the repository in a store.
    ///
    /// # Panics
    /// Panics if that fails.
    #[must_use]
    pub fn create_in(&self, store: Arc<dyn Store>) -> Repo {
        Repo::create(store, &[self.credential()], self.session()).unwrap()
    }

    /// Opens the repository in its folder.
    ///
    /// # Panics
    /// Panics if that fails.
    #[must_use]
    pub fn open(&self) -> Repo {
        self.open_in(Arc::new(LocalStore::open(&self.repository()).unwrap()))
    }

    /// Opens the repository in a store.
    ///
    /// # Panics
    /// Panics if that fails.
    #[must_use]
    pub fn open_in(&self, store: Arc<dyn Store>) -> Repo {
        Repo::open(store, &self.credential(), self.session(), &Silent).unwrap()
    }

    /// Deletes the cache: repository and key must be enough.
    ///
    /// # Panics
    /// Panics if there is none: then nothing would be shown by deleting it.
    pub fn delete_cache(&self) {
        let cache = self.path().join("cache");
        assert!(fs::read_dir(&cache).unwrap().next().is_some(), "there is no cache to delete");
        fs::remove_dir_all(cache).unwrap();
    }

    /// Takes a snapshot of the source.
    ///
    /// # Panics
    /// Panics if that fails or if anything could not be read.
    #[track_caller]
    pub fn snapshot(&self, repo: &Repo) -> BackupSummary {
        self.snapshot_of(repo, &self.source())
    }

    /// Takes a snapshot of another folder.
    ///
    /// # Panics
    /// As [`Self::snapshot`].
    #[track_caller]
    pub fn snapshot_of(&self, repo: &Repo, source: &Path) -> BackupSummary {
        let options = BackupOptions { paths: vec![source.to_owned()], ..BackupOptions::default() };
        let summary = backup::snapshot(repo, &options, &Silent).unwrap();
        assert_eq!(summary.statistics.unreadable, 0, "{:?}", summary.warnings);
        summary
    }

    /// Restores a snapshot of the source into a new folder.
    ///
    /// # Panics
    /// Panics if it is not there or if anything could not be restored.
    #[track_caller]
    #[must_use]
    pub fn restore(&self, repo: &Repo, id: &SnapshotId) -> Restored {
        let restored = self.restore_what_is_left(repo, &find(repo, id), &self.source());
        let summary = &restored.summary;
        assert_eq!((summary.damaged, summary.failed), (0, 0), "{:?}", summary.warnings);
        restored
    }

    /// Restores what can be restored of a snapshot of this folder.
    ///
    /// # Panics
    /// Panics if the restore as a whole fails.
    #[track_caller]
    #[must_use]
    pub fn restore_what_is_left(&self, repo: &Repo, snapshot: &Snapshot, source: &Path) -> Restored {
        self.try_restore(repo, snapshot, source).unwrap()
    }

    /// As [`Self::restore_what_is_left`].
    ///
    /// # Errors
    /// Fails if the restore as a whole does.
    ///
    /// # Panics
    /// Panics if `source` is not absolute.
    pub fn try_restore(&self, repo: &Repo, snapshot: &Snapshot, source: &Path) -> Result<Restored> {
        let number = self.restores.fetch_add(1, Ordering::SeqCst);
        let target = self.path().join(format!("restored {number}"));
        let options = RestoreOptions { target: target.clone(), ..RestoreOptions::default() };
        let plan = restore::plan(repo, snapshot, &options, &Silent)?;
        let summary = restore::apply(repo, plan, &Silent)?;
        let folder = target.join(source.strip_prefix("/").unwrap());
        Ok(Restored { target, folder, summary })
    }

    /// Shows the lab's clock the time of the file system, so that what was just written counts as not settled.
    ///
    /// # Panics
    /// Panics if the file system refuses.
    pub fn follow_file_system(&self) {
        self.clock.set(self.file_system_time());
    }

    /// Lets three seconds pass on the lab's clock, and as much on the file system's that whatever is written from now
    /// on bears another time stamp than what was written before.
    ///
    /// # Panics
    /// As [`Self::follow_file_system`].
    pub fn let_time_pass(&self) {
        let begin = self.file_system_time();
        let now = loop {
            let now = self.file_system_time();
            // Coarse clocks move in ticks of 1 to 10 ms, and a tick must be over.
            if now.as_nanos() > begin.as_nanos() + 20_000_000 {
                break now;
            }
        };
        self.clock.set(Timestamp::new(now.secs + 3, now.nanos));
    }

    fn file_system_time(&self) -> Timestamp {
        let probe = self.path().join("probe");
        fs::write(&probe, b"").unwrap();
        let data = fs::metadata(&probe).unwrap();
        fs::remove_file(&probe).unwrap();
        Timestamp::new(data.ctime(), u32::try_from(data.ctime_nsec()).unwrap())
    }

    /// What the repository in this store is sealed with, by the public interface only.
    ///
    /// # Panics
    /// Panics if the store holds no repository that the lab's key opens.
    #[must_use]
    pub fn sealer(&self, store: &dyn Store) -> Sealer {
        sealer_of(store, &self.credential())
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

/// What the repository in a store is sealed with, by the public interface only.
///
/// # Panics
/// Panics if the store holds no repository that the credential opens.
#[must_use]
pub fn sealer_of(store: &dyn Store, credential: &Credential) -> Sealer {
    let object = store.get(&ObjectName::config(), config::MAX_LEN).unwrap();
    let id = config::repository_id(&object).unwrap();
    let slots = store.list("keys").unwrap().objects;
    let bundle = slots.iter().find_map(|info| {
        let slot = store.get(&info.name, info.size).unwrap();
        unwrap(&id, credential, &mut Derivations::default(), &slot, "a slot").unwrap()
    });
    Sealer::new(id, bundle.unwrap())
}

/// The snapshot with this id.
///
/// # Panics
/// Panics if the repository does not list it.
#[track_caller]
#[must_use]
pub fn find(repo: &Repo, id: &SnapshotId) -> Snapshot {
    let snapshots = repo.snapshots(&Silent).unwrap();
    snapshots.into_iter().find(|snapshot| snapshot.id == *id).expect("the snapshot is listed")
}

/// A restored snapshot; deleted when dropped.
#[derive(Debug)]
pub struct Restored {
    target: PathBuf,
    /// The folder that was the source.
    pub folder: PathBuf,
    /// What the restore said.
    pub summary: RestoreSummary,
}

impl Restored {
    /// What was restored; nothing if not even the folder was.
    ///
    /// # Panics
    /// Panics if it cannot be read.
    #[must_use]
    pub fn truth(&self) -> Truth {
        if self.folder.exists() { Truth::read(&self.folder) } else { Truth::default() }
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        let _leftovers_go_with_the_lab = fs::remove_dir_all(&self.target);
    }
}

/// Kinds by which a failure names damage or what may come of it.
#[must_use]
pub fn is_clean_refusal(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Damaged
            | Kind::Denied
            | Kind::NewerFormat
            | Kind::NotFound
            | Kind::NoRepository
            | Kind::WrongKey
    )
}
