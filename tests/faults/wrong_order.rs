//! A snapshot whose order of writes is wrong: what the tests of kills must catch. It is this test program under another
//! role, with the engine on a store that acknowledges packs before it writes them, and writes them after the manifest.

use crate::kit::World;
use crate::stage::key_line;
use chatvault_engine::backup::{self, BackupOptions};
use chatvault_engine::base::event::Silent;
use chatvault_engine::base::{Cancel, Result, Timestamp};
use chatvault_engine::crypto::{Credential, RecoveryKey};
use chatvault_engine::repo::{Client, Repo, Session};
use chatvault_engine::store::{LocalStore, ObjectName, Store};
use chatvault_tests::hand_on;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The first argument that gives this program the role.
pub const ROLE: &str = "snapshot-in-wrong-order";

/// A snapshot of `live` in wrong order.
pub fn command(world: &World) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(ROLE).args(["repo", "key", "live"].map(|name| world.path(name)));
    command.current_dir(world.path("")).env("HOME", world.path("home"));
    command
}

/// Plays the role: repository, key file, source.
pub fn run(arguments: &[String]) -> ExitCode {
    let [repository, key, source] = arguments else { return ExitCode::FAILURE };
    let key = RecoveryKey::parse(&key_line(&fs::read_to_string(key).unwrap())).unwrap();
    let store = Arc::new(Eager::new(LocalStore::open(Path::new(repository)).unwrap()));
    let repo = Repo::open(store, &Credential::Recovery(key), session(), &Silent).unwrap();
    let options = BackupOptions { paths: vec![PathBuf::from(source)], ..BackupOptions::default() };
    backup::snapshot(&repo, &options, &Silent).unwrap();
    ExitCode::SUCCESS
}

fn session() -> Session {
    Session {
        client: Client {
            host: "wrong".into(),
            user: "tester".into(),
            program: "wrong order".into(),
            boot_id: String::new(),
            pid: std::process::id(),
            pid_namespace: 1,
            process_started: 0,
        },
        // No two snapshots of one repository are taken in this role: their times are not compared.
        clock: Arc::new(|| Timestamp::new(1_700_000_000, 0)),
        since_boot: Arc::new(|| Duration::from_secs(1)),
        machine: Arc::new(|| [1; 16]),
        pause: Arc::new(|_| {}),
        is_alive: Arc::new(|_, _| false),
        utc_offset_minutes: 0,
        cache_dir: None,
        scratch_dir: None,
        compression: 3,
        threads: 2,
        cancel: Cancel::new(),
    }
}

/// Keeps packs in memory until a manifest is written, and a little longer.
#[derive(Debug)]
struct Eager {
    inner: LocalStore,
    packs: Mutex<Vec<(ObjectName, Vec<u8>)>>,
}

impl Eager {
    fn new(inner: LocalStore) -> Self {
        Self { inner, packs: Mutex::default() }
    }
}

impl Store for Eager {
    hand_on!(list rest);

    fn put_new(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        if name.as_str().starts_with("packs/") {
            self.packs.lock().unwrap().push((name.clone(), bytes.to_vec()));
            return Ok(());
        }
        self.inner.put_new(name, bytes)?;
        if name.as_str().starts_with("snapshots/") {
            for (name, bytes) in self.packs.lock().unwrap().drain(..) {
                self.inner.put_new(&name, &bytes)?;
            }
        }
        Ok(())
    }
}
