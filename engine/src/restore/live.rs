//! Databases in the target that an app seems to be using: writing into their folder would mix two states.

use crate::model::{Node, NodeKind};
use crate::source::SourceDir;
use crate::sqlite::capture::{Sidecar, is_locked};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

/// What speaks for an app that is using the databases of a folder.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Sidecars that hold something, with their lengths.
    sidecars: BTreeMap<Vec<u8>, u64>,
    locked: Vec<Vec<u8>>,
}

impl Suspects {
    /// Looks at the databases of a folder: those with sidecars beside them.
    pub(super) fn of(folder: &SourceDir) -> io::Result<Self> {
        let mut found = Self::default();
        let entries = folder.entries()?;
        for entry in &entries {
            let Some((base, sidecar)) = Sidecar::main_of(&entry.name) else { continue };
            let is_there = entries
                .binary_search_by(|other| other.name.as_slice().cmp(base))
                .is_ok_and(|at| entries.get(at).is_some_and(|other| is_file(other.stat.as_ref().ok())));
            if !is_there || found.locked.iter().any(|name| name == base) {
                continue;
            }
            if let Ok(stat) = &entry.stat
                && stat.size > 0
                && sidecar != Sidecar::Shm
            {
                found.sidecars.insert(entry.name.clone(), stat.size);
            }
            found.look(folder, base);
        }
        Ok(found)
    }

    /// Looks whether another process holds a lock on a database.
    pub(super) fn look(&mut self, folder: &SourceDir, name: &[u8]) {
        if folder.open_file(name).is_ok_and(|file| is_locked(file.as_fd()))
            && !self.locked.iter().any(|known| known == name)
        {
            self.locked.push(name.to_vec());
        }
    }

    /// A sidecar that is as it was stored comes from an earlier restore.
    pub(super) fn meet(&mut self, folder: &SourceDir, node: &Node) {
        if self.sidecars.get(&node.name) == Some(&node.size)
            && folder.stat_of(&node.name).is_ok_and(|stat| node.mtime == Some(stat.mtime))
        {
            self.sidecars.remove(&node.name);
        }
    }

    /// What speaks for an app, name by name.
    pub(super) fn reasons(self) -> impl Iterator<Item = (Vec<u8>, &'static str)> {
        let locked = self.locked.into_iter().map(|name| (name, "another program has it open"));
        let sidecars = self.sidecars.into_keys();
        locked.chain(sidecars.map(|name| (name, "it holds changes that are not in the database yet")))
    }
}

fn is_file(stat: Option<&crate::source::Stat>) -> bool {
    stat.is_some_and(|stat| stat.kind == NodeKind::File)
}
