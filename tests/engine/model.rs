//! Random lives of a folder, with snapshots in between: every state that was ever stored comes back, whatever became
//! of the cache. The truth is read from the folder by the kit before each snapshot.
//!
//! Half of the snapshots are taken at once (what was just written is not settled, and must be read again next time),
//! half after three seconds have passed on the session's clock, which the file system's clock follows by more than one
//! tick, as it would. Edits that keep size and time of the last change are frequent.
//!
//! `CHATVAULT_CASES` is the number of lives, `CHATVAULT_SEED` the seed of the first one; a failure prints its own.

use crate::lives::{count, from_environment, live_once};
use chatvault_engine::base::SnapshotId;
use chatvault_engine::repo::Repo;
use chatvault_engine::store::MemoryStore;
use chatvault_tests::bytes::{noise, text};
use chatvault_tests::{Lab, Truth, sample};
use proptest::prelude::*;
use std::cell::Cell;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One step; numbers choose among what is there.
#[derive(Clone, Debug)]
enum Step {
    Create { folder: u8, name: u8, size: u32, seed: u8 },
    Overwrite { file: u8, seed: u8 },
    SameSizeSameTime { file: u8, seed: u8 },
    Append { file: u8, size: u16 },
    Truncate { file: u8, keep: u8 },
    Rename { from: u8, folder: u8, name: u8 },
    Exchange { a: u8, b: u8 },
    Delete { what: u8 },
    Mode { what: u8, mode: u16 },
    Symlink { folder: u8, name: u8, target: u8 },
    Folder { folder: u8, name: u8 },
    HardLink { file: u8, folder: u8, name: u8 },
    Touch { what: u8, seconds: u16 },
    Snapshot { settled: bool },
    Restore { which: u8 },
    DeleteCache,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![4 => 0..200u32, 3 => 1000..60_000u32, 1 => 250_000..1_500_000u32];
    prop_oneof![
        5 => (any::<u8>(), 0..12u8, size, any::<u8>())
            .prop_map(|(folder, name, size, seed)| Step::Create { folder, name, size, seed }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(file, seed)| Step::Overwrite { file, seed }),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(file, seed)| Step::SameSizeSameTime { file, seed }),
        2 => (any::<u8>(), 1..5000u16).prop_map(|(file, size)| Step::Append { file, size }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(file, keep)| Step::Truncate { file, keep }),
        2 => (any::<u8>(), any::<u8>(), 0..12u8).prop_map(|(from, folder, name)| Step::Rename { from, folder, name }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Step::Exchange { a, b }),
        2 => any::<u8>().prop_map(|what| Step::Delete { what }),
        1 => (any::<u8>(), 0..0o1000u16).prop_map(|(what, mode)| Step::Mode { what, mode }),
        1 => (any::<u8>(), 0..12u8, any::<u8>())
            .prop_map(|(folder, name, target)| Step::Symlink { folder, name, target }),
        2 => (any::<u8>(), 0..12u8).prop_map(|(folder, name)| Step::Folder { folder, name }),
        1 => (any::<u8>(), any::<u8>(), 0..12u8).prop_map(|(file, folder, name)| Step::HardLink { file, folder, name }),
        1 => (any::<u8>(), any::<u16>()).prop_map(|(what, seconds)| Step::Touch { what, seconds }),
        6 => any::<bool>().prop_map(|settled| Step::Snapshot { settled }),
        3 => any::<u8>().prop_map(|which| Step::Restore { which }),
        1 => Just(Step::DeleteCache),
        2 => Just(Step::Reopen),
    ]
}

/// What all lives together went through: proof that the lives were lives.
#[derive(Debug, Default)]
struct Seen {
    snapshots: Cell<u64>,
    restores: Cell<u64>,
    unmodified: Cell<u64>,
    hidden_edits: Cell<u64>,
    deleted_caches: Cell<u64>,
}

/// A life under way.
struct World<'s> {
    lab: Lab,
    store: Arc<MemoryStore>,
    repo: Option<Repo>,
    taken: Vec<(SnapshotId, Truth)>,
    seen: &'s Seen,
}

/// Paths of the source, sorted: folders (the source itself too), files, and all but the source.
#[derive(Default)]
struct Paths {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
    all: Vec<PathBuf>,
}

fn pick(paths: &[PathBuf], number: u8) -> Option<&PathBuf> {
    paths.get(usize::from(number) % paths.len().max(1))
}

fn content(seed: u8, size: usize) -> Vec<u8> {
    if seed.is_multiple_of(2) { noise(&seed.to_string(), size) } else { text(&seed.to_string(), size) }
}

impl<'s> World<'s> {
    fn new(seen: &'s Seen) -> Self {
        let (lab, store) = (Lab::light(), Arc::new(MemoryStore::new()));
        let repo = Some(lab.create_in(store.clone()));
        Self { lab, store, repo, taken: Vec::new(), seen }
    }

    fn paths(&self) -> Paths {
        let mut paths = Paths { folders: vec![self.lab.source()], ..Paths::default() };
        let mut next = 0;
        while let Some(folder) = paths.folders.get(next).cloned() {
            next += 1;
            let mut entries: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()).collect();
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let kind = entry.file_type().unwrap();
                paths.all.push(entry.path());
                if kind.is_dir() {
                    paths.folders.push(entry.path());
                } else if kind.is_file() {
                    paths.files.push(entry.path());
                }
            }
        }
        paths
    }

    fn repo(&mut self) -> &Repo {
        let (lab, store) = (&self.lab, &self.store);
        self.repo.get_or_insert_with(|| lab.open_in(store.clone()))
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Snapshot { settled } => self.snapshot(*settled),
            Step::Restore { which } => {
                if let Some(number) = usize::from(*which).checked_rem(self.taken.len()) {
                    self.restore(number);
                }
            }
            Step::DeleteCache => {
                self.repo = None;
                if self.lab.path().join("cache").exists() {
                    self.lab.delete_cache();
                    count(&self.seen.deleted_caches, 1);
                }
            }
            Step::Reopen => self.repo = None,
            edit => self.edit(edit, &self.paths()),
        }
    }

    fn snapshot(&mut self, settled: bool) {
        if settled {
            self.lab.let_time_pass();
        } else {
            self.lab.follow_file_system();
        }
        let truth = Truth::read(&self.lab.source());
        self.repo();
        let summary = self.lab.snapshot(self.repo.as_ref().unwrap());
        assert_eq!(summary.statistics.total_files, truth.files() as u64);
        count(&self.seen.snapshots, 1);
        count(&self.seen.unmodified, summary.statistics.files_unmodified);
        self.taken.push((summary.id, truth));
    }

    fn restore(&mut self, number: usize) {
        self.repo();
        let (id, truth) = &self.taken[number];
        let restored = self.lab.restore(self.repo.as_ref().unwrap(), id);
        truth.assert_same(&restored.truth(), &format!("snapshot {number}"));
        count(&self.seen.restores, 1);
    }

    /// An edit that does not fit what is there does nothing, as for a person.
    fn edit(&self, edit: &Step, paths: &Paths) {
        let file = |number: &u8| pick(&paths.files, *number);
        let place = |folder: &u8, name: &u8| pick(&paths.folders, *folder).unwrap().join(format!("n{name}"));
        let any = |number: &u8| pick(&paths.all, *number);
        let _may_not_fit = match edit {
            Step::Create { folder, name, size, seed } => {
                let path = place(folder, name);
                if path.exists() { Ok(()) } else { fs::write(path, content(*seed, *size as usize)) }
            }
            Step::Overwrite { file: number, seed } => {
                file(number).map_or(Ok(()), |path| fs::write(path, content(*seed, usize::from(*seed) * 700)))
            }
            Step::SameSizeSameTime { file: number, seed } => {
                file(number).map_or(Ok(()), |path| self.hidden_edit(path, *seed))
            }
            Step::Append { file: number, size } => file(number).map_or(Ok(()), |path| {
                let old = fs::read(path).unwrap();
                fs::write(path, [old, content(3, usize::from(*size))].concat())
            }),
            Step::Truncate { file: number, keep } => file(number).map_or(Ok(()), |path| {
                let file = File::options().write(true).open(path)?;
                file.set_len(file.metadata()?.len() * u64::from(*keep) / 256)
            }),
            Step::Rename { from, folder, name } => {
                any(from).map_or(Ok(()), |path| fs::rename(path, place(folder, name)))
            }
            Step::Exchange { a, b } => any(a).zip(any(b)).map_or(Ok(()), |(a, b)| exchange(a, b)),
            Step::Delete { what } => any(what).map_or(Ok(()), |path| {
                if path.is_dir() && !path.is_symlink() {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                }
            }),
            Step::Mode { what, mode } => any(what).filter(|path| !path.is_symlink()).map_or(Ok(()), |path| {
                let open = if sample::is_root() { 0 } else { 0o700 };
                fs::set_permissions(path, Permissions::from_mode(u32::from(*mode) | open))
            }),
            Step::Symlink { folder, name, target } => symlink(format!("n{target}"), place(folder, name)),
            Step::Folder { folder, name } => fs::create_dir(place(folder, name)),
            Step::HardLink { file: number, folder, name } => {
                file(number).map_or(Ok(()), |path| fs::hard_link(path, place(folder, name)))
            }
            Step::Touch { what, seconds } => {
                any(what).filter(|path| !path.is_symlink()).map_or(Ok(()), |path| {
                    let time = std::time::UNIX_EPOCH + std::time::Duration::new(u64::from(*seconds), 7);
                    File::open(path)?.set_times(FileTimes::new().set_modified(time))
                })
            }
            Step::Snapshot { .. } | Step::Restore { .. } | Step::DeleteCache | Step::Reopen => unreachable!(),
        };
    }

    /// Other bytes, but the size and the time of the last change stay.
    fn hidden_edit(&self, path: &Path, seed: u8) -> std::io::Result<()> {
        let file = File::options().write(true).open(path)?;
        let before = file.metadata()?;
        let old = fs::read(path)?;
        let new = content(seed, old.len());
        fs::write(path, &new)?;
        file.set_times(FileTimes::new().set_modified(before.modified()?))?;
        count(&self.seen.hidden_edits, u64::from(old != new));
        Ok(())
    }
}

/// Exchanges two entries in one step: both keep everything but their names.
fn exchange(a: &Path, b: &Path) -> std::io::Result<()> {
    let here = rustix::fs::CWD;
    Ok(rustix::fs::renameat_with(here, a, here, b, rustix::fs::RenameFlags::EXCHANGE)?)
}

fn live(steps: &[Step], seen: &Seen) {
    let mut world = World::new(seen);
    for step in steps {
        world.take(step);
    }
    world.snapshot(false);
    world.repo = None;
    world.lab.delete_cache();
    for number in 0..world.taken.len() {
        world.restore(number);
    }
}

#[test]
fn every_state_that_was_stored_comes_back() {
    let (cases, first) = (from_environment("CHATVAULT_CASES", 100), from_environment("CHATVAULT_SEED", 1));
    let seen = Seen::default();
    for seed in first..first + cases {
        let steps = proptest::collection::vec(step(), 5..60);
        live_once(seed, 300, "CHATVAULT_CASES=1", &steps, |steps| live(&steps, &seen));
    }
    for counter in
        [&seen.snapshots, &seen.restores, &seen.unmodified, &seen.hidden_edits, &seen.deleted_caches]
    {
        assert!(counter.get() >= cases / 4, "{seen:?}");
    }
}
