//! Databases with several names (hard links). SQLite names a log after the name by which an app opened the database; under
//! its other names the same main file lies without what is in that log, and looks as if it were whole. So a database with
//! several names and no log beside this one is read last, when all names among the sources are known.

use super::Work;
use super::assembly::Nature;
use super::beside::{Beside, beside_a_file};
use super::entry::Place;
use super::file::{FileTask, read_full};
use super::folder::Folder;
use crate::base::{Result, StoredPath};
use crate::source::{Named, Neighbours, SourceDir};
use crate::sqlite::capture::{Sidecar, is_locked};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Databases that wait at most; more are read at once. Each keeps its folder from being closed.
const MOST_WAITING: usize = 10_000;

/// File system and number of a file.
type Identity = (u64, u64);

/// Where the log of a database lies, if it has one.
#[derive(Debug, Default)]
pub enum LogPlace {
    /// Beside it; nobody has asked for other names.
    #[default]
    Assumed,
    /// Beside it: no other name among the sources has one.
    Here,
    /// Beside another of its names.
    Other(Arc<SourceDir>, Vec<u8>),
    /// Beside a name that is not among the sources, by which an app has it open.
    Elsewhere,
}

impl LogPlace {
    /// What lies beside the database, by the name that its app uses.
    pub fn neighbours<'t>(&'t self, dir: &'t SourceDir, name: &'t [u8]) -> Neighbours<'t> {
        match self {
            Self::Other(dir, name) => Neighbours { dir, name },
            Self::Assumed | Self::Here | Self::Elsewhere => Neighbours { dir, name },
        }
    }

    /// True if what the file system says of this name tells when the database changes.
    pub fn is_here(&self) -> bool {
        matches!(self, Self::Assumed | Self::Here)
    }
}

/// The names of files that have several, as far as databases need them.
#[derive(Default)]
pub struct LinkedDatabases {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A name beside which a log or journal lies.
    logs: HashMap<Identity, StoredPath>,
    waiting: Vec<Waiting>,
}

/// A database that is read when all names are known.
pub struct Waiting {
    folder: Arc<Folder>,
    name: Vec<u8>,
    identity: Identity,
    beside: Beside,
}

impl LinkedDatabases {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a name beside which a log or journal lies.
    pub fn add_log(&self, identity: Identity, path: StoredPath) {
        self.state().logs.entry(identity).or_insert(path);
    }

    /// Has a database wait, and its folder with it. Gives back what lies beside it if too many are waiting.
    pub fn wait(
        &self,
        folder: &Arc<Folder>,
        name: &[u8],
        identity: Identity,
        beside: Beside,
    ) -> Option<Beside> {
        let mut state = self.state();
        if state.waiting.len() >= MOST_WAITING {
            return Some(beside);
        }
        folder.expect_one();
        state.waiting.push(Waiting { folder: Arc::clone(folder), name: name.to_vec(), identity, beside });
        None
    }

    /// One that has waited.
    pub fn next(&self) -> Option<Waiting> {
        self.state().waiting.pop()
    }

    /// Where the log of a file lies, other than beside the name in `place`.
    fn log_place(&self, place: &Place<'_>, name: &[u8], identity: Identity) -> io::Result<LogPlace> {
        let path = self.state().logs.get(&identity).cloned();
        if let Some(path) = path
            && let Ok(named) = Named::open(&path.to_fs())
            && named.stat.identity() == identity
        {
            return Ok(LogPlace::Other(Arc::new(named.dir), path.name().to_vec()));
        }
        let has_log = place.dir.stat_of(&Sidecar::Wal.beside(name)).is_ok();
        Ok(if !has_log && is_open(place.dir, name)? { LogPlace::Elsewhere } else { LogPlace::Here })
    }
}

/// True if an app has the database open and may write into a log. Without a log it is locked only while it is used, and
/// then the capture sees that.
fn is_open(dir: &SourceDir, name: &[u8]) -> io::Result<bool> {
    let file = dir.open_file(name)?;
    let mut head = vec![0; Nature::HEAD_LEN];
    let len = read_full(&mut file.reader(0, Nature::HEAD_LEN as u64), &mut head)?;
    let header = Nature::of(head.get(..len).unwrap_or_default()).header;
    Ok(header.is_none_or(|header| header.wal) && is_locked(file.as_fd()))
}

impl Work<'_> {
    /// The tasks for a database that has waited: nothing if it is taken over from memory.
    pub(super) fn linked(&self, waiting: Waiting) -> Result<Vec<FileTask>> {
        let Waiting { folder, name, identity, beside } = waiting;
        let path = folder.path.join(&name);
        // As the walk found it: by its name, or by a link that was named as a source.
        let named = Named::open(&path.to_fs()).and_then(|named| {
            if named.stat.identity() == identity { Ok(named) } else { Err(io::ErrorKind::NotFound.into()) }
        });
        let Named { dir, stat, .. } = match named {
            Ok(named) => named,
            Err(e) => {
                match e.kind() {
                    io::ErrorKind::NotFound => self.vanished(&folder, &path),
                    _ => self.missing(&folder, path, &e),
                }
                return folder.one_done(self).map(|()| Vec::new());
            }
        };
        let place = Place { folder: &folder, dir: &dir, device: stat.dev, kept: &OnceCell::new() };
        let tasks = match self.linked.log_place(&place, &name, identity) {
            Ok(log) => self.entry_with(&place, &name, &stat, beside, log),
            Err(e) => {
                self.missing(&folder, path, &e);
                self.entries_beside(&place, beside_a_file(beside.candidates))
            }
        };
        tasks.and_then(|tasks| folder.one_done(self).map(|()| tasks))
    }
}
