//! What is no SQLite file but is used like one: by its log, its journal or its locks. Only the app knows where its pages lie.

mod cipher;
mod shifted;

use crate::take::now;
use crate::{Case, Outcome};
use chatvault_engine::backup::BackupSummary;
use chatvault_engine::base::event::Silent;
use chatvault_engine::model::DatabaseState;
use chatvault_engine::repo::{Repo, Session};
use chatvault_engine::store::MemoryStore;
use chatvault_tests::lab::find;
use chatvault_tests::{Lab, Restored};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

pub const ROLE: &str = "--play-pair";

pub const CASES: &[Case] = &[
    ("pairs::main_file_and_log_behind_a_private_header_fit_together_in_every_snapshot", shifted::live),
    ("pairs::a_pair_is_taken_over_together_and_comes_back_together", shifted::quiet),
    ("pairs::a_log_of_another_version_is_told_and_flagged", shifted::unknown_log),
    ("pairs::an_unknown_database_in_rollback_mode_is_whole_in_every_snapshot", cipher::live),
    ("pairs::the_hot_journal_of_an_unknown_database_is_stored_with_it", cipher::killed),
];

/// SQLite's locks on a main file, and on an index.
const SHARED: (i64, i64) = ((1 << 30) + 2, 510);
const RESERVED: (i64, i64) = ((1 << 30) + 1, 1);
const PENDING: (i64, i64) = (1 << 30, 1);
const ALIVE: (i64, i64) = (128, 1);
/// Those of checkpoints and readers.
const CHECKPOINT: (i64, i64) = (120, 8);

/// The app's side.
pub fn play(arguments: &[String]) -> ExitCode {
    match arguments {
        [kind, folder, bytes] if kind == "shifted" => {
            shifted::play(Path::new(folder), bytes.parse().unwrap());
        }
        [kind, folder] if kind == "cipher" => cipher::play(Path::new(folder)),
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// Takes or gives back a lock of this process; false if somebody else has one.
fn lock(file: &File, kind: libc::c_int, (start, len): (i64, i64)) -> bool {
    let wanted =
        libc::flock { l_type: kind.try_into().unwrap(), l_whence: 0, l_start: start, l_len: len, l_pid: 0 };
    fcntl(file, FcntlArg::F_SETLK(&wanted)).is_ok()
}

/// An app in another process, and what it has committed.
struct App {
    child: Child,
    progress: PathBuf,
}

impl App {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let progress = folder.join("progress");
        std::fs::write(&progress, [0; 8]).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .arg(ROLE)
            .arg(arguments[0])
            .arg(folder)
            .args(&arguments[1..])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut app = Self { child, progress };
        while app.commits() < 20 {
            assert!(app.child.try_wait().unwrap().is_none(), "the app has ended");
            std::thread::yield_now();
        }
        app
    }

    fn commits(&self) -> u64 {
        let mut number = [0; 8];
        File::open(&self.progress).unwrap().read_exact_at(&mut number, 0).unwrap();
        u64::from_le_bytes(number)
    }

    /// Lets it come to its end.
    fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success(), "the app met an error");
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Tells how many commits there are.
struct Progress(File, u64);

impl Progress {
    fn new(folder: &Path) -> Self {
        Self(File::options().write(true).open(folder.join("progress")).unwrap(), 0)
    }

    fn one_more(&mut self) {
        self.1 += 1;
        self.0.write_all_at(&self.1.to_le_bytes(), 0).unwrap();
    }
}

/// Says when the tests' side wants no more.
fn ended() -> impl Fn() -> bool {
    let wait = std::thread::spawn(|| std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new()));
    move || wait.is_finished()
}

/// A lab with the real time, and a folder for the app beside its source.
fn lab() -> (Lab, Repo, PathBuf) {
    let lab = Lab::light();
    let store = Arc::new(MemoryStore::new());
    drop(lab.create_in(store.clone()));
    let session = Session { clock: Arc::new(now), pause: Arc::new(std::thread::sleep), ..lab.session() };
    let repo = Repo::open(store, &lab.credential(), session, &Silent).unwrap();
    let folder = lab.path().join("app");
    std::fs::create_dir(&folder).unwrap();
    (lab, repo, folder)
}

/// What was restored of a snapshot.
fn restored(lab: &Lab, repo: &Repo, taken: &BackupSummary) -> Restored {
    let restored = lab.try_restore(repo, &find(repo, &taken.id), &lab.source()).unwrap();
    assert_eq!((restored.summary.damaged, restored.summary.failed), (0, 0), "{:?}", restored.summary);
    restored
}

/// The state of the only database of a snapshot.
fn state(taken: &BackupSummary) -> DatabaseState {
    let [report] = taken.databases.as_slice() else { panic!("{:?} {:?}", taken.databases, taken.warnings) };
    report.state
}

/// How many snapshots beside a live app.
fn snapshots(usual: u64) -> u64 {
    std::env::var("CHATVAULT_PAIRS").map_or(usual, |number| number.parse().unwrap())
}
