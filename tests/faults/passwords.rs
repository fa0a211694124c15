//! A change of password that is stopped anywhere: the old password or the new one opens the repository, and the same
//! command again ends with the new one.
//!
//! A derivation of a key from a password costs a quarter of a second, and must. So what is not about passwords is done
//! with the recovery key, and a state of keys that was tried byte for byte is not tried again.

use crate::kit::{Ran, World};
use crate::stage::{Acknowledged, Stage};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// From the old password to the new one.
const CHANGE: [&str; 7] = ["-r", "repo", "-p", "old", "key", "passwd", "--new-password-file"];

/// A stage whose state `one` has a snapshot and the old password.
pub struct Change {
    pub stage: Stage,
    pub acknowledged: [Acknowledged; 1],
    tried: RefCell<BTreeSet<[u8; 32]>>,
}

impl Change {
    pub fn new() -> Self {
        let stage = Stage::with_repository();
        let acknowledged = [stage.snapshot()];
        stage.world.write("old", "the old password\n");
        stage.world.write("new", "the new password\n");
        stage.world.repo(&["key", "add", "--new-password-file", "old"]).succeeded();
        stage.keep("one");
        Self { stage, acknowledged, tried: RefCell::default() }
    }

    pub fn command(world: &World) -> Command {
        world.command(CHANGE.iter().chain(&["new"]))
    }

    pub fn opens(&self, password: &str) -> bool {
        self.stage.world.run(["-r", "repo", "-p", password, "list"]).code == 0
    }

    /// What must hold whatever happened to a change that began from `one`.
    pub fn locks_nobody_out(&self) -> Result<(), String> {
        self.stage.nothing_is_lost(&self.acknowledged)?;
        if !self.tried.borrow_mut().insert(keys(&self.stage.world.path("repo"), &self.stage.world)) {
            return Ok(());
        }
        let again = Ran::of(&mut Self::command(&self.stage.world));
        match again.code {
            // 12: the old password opens it no longer.
            0 | 12 if self.opens("new") => Ok(()),
            0 | 12 => Err(format!("the new password does not open it, and the old one: {}", again.stderr)),
            code => Err(format!("the same again ends with {code}: {}", again.stderr)),
        }
    }

    /// How many states of keys were tried with passwords.
    pub fn tried(&self) -> usize {
        self.tried.borrow().len()
    }
}

/// All that decides which password opens a repository: names and bytes of key slots, events and config, of both copies.
fn keys(repo: &Path, world: &World) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for path in world.files("repo") {
        let name = path.strip_prefix(repo).unwrap();
        let name = name.strip_prefix("mirror").unwrap_or(name);
        if ["keys", "events", "config"].iter().any(|part| name.starts_with(part)) {
            for part in [path.as_os_str().as_encoded_bytes(), &fs::read(&path).unwrap()] {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
        }
    }
    *hasher.finalize().as_bytes()
}
