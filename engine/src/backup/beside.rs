//! What lies beside an entry under the name of a sidecar: part of it if it is a database, else an entry like others, which
//! may be a database itself and have sidecars of its own.

use super::file::read_full;
use super::plan::Branch;
use crate::base::StoredPath;
use crate::model::NodeKind;
use crate::source::{SourceDir, Stat};
use crate::sqlite::capture::Sidecar;
use crate::sqlite::is_of_sqlite;
use std::io;

/// Bytes of a sidecar that tell whether it is one.
const HEAD: usize = 32;

/// What lies beside an entry and may be part of it.
#[derive(Default)]
pub struct Beside {
    /// `-wal` and `-journal`, which tell whether a database changed.
    pub stats: [Option<Stat>; 2],
    /// `-wal`, `-shm` and `-journal`, as far as the options do not leave them out.
    pub candidates: Vec<Candidate>,
}

impl Beside {
    /// True if SQLite would look into what lies here before it reads the main file.
    pub fn has_log(&self) -> bool {
        let [wal, journal] = self.stats;
        wal.is_some() || journal.is_some_and(|journal| journal.size > 0)
    }
}

/// A regular file that has the name of a sidecar of another one. Who stores that one stores this one too, or finds out that
/// it is part of a database.
pub struct Candidate {
    /// Its name.
    pub name: Vec<u8>,
    /// What the file system says of it.
    pub stat: Stat,
    /// False beside a source that is a file, unless it is a source as well: then it is stored only with its database.
    pub is_wanted: bool,
    /// What its content is, as far as somebody looked.
    pub kind: CandidateKind,
    /// What lies beside it in turn.
    pub beside: Beside,
}

/// What the content of a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateKind {
    /// What SQLite leaves, so that it is part of the database beside which it lies.
    Sidecar,
    /// Anything else.
    Foreign,
    /// It cannot be read.
    Unreadable,
}

impl Candidate {
    /// A file whose content nobody has looked at.
    pub fn new(name: Vec<u8>, stat: Stat, is_wanted: bool, beside: Beside) -> Self {
        Self { name, stat, is_wanted, kind: CandidateKind::Sidecar, beside }
    }
}

/// True for what has the name of a sidecar of a source in the same folder.
pub fn is_beside_source(plan: &Branch, folder: &StoredPath, name: &[u8], stat: &Stat) -> bool {
    let main = Sidecar::main_of(name).filter(|_| stat.kind == NodeKind::File);
    main.is_some_and(|(main, _)| {
        let is_file = |dir: SourceDir| dir.stat_of(main).is_ok_and(|stat| stat.kind == NodeKind::File);
        plan.children.get(main).is_some_and(|child| child.whole)
            && SourceDir::open(&folder.to_fs()).is_ok_and(is_file)
    })
}

/// What lies beside a source that is a file. What of it is no source too is stored only as part of it.
pub fn beside_source(plan: &Branch, dir: &SourceDir, name: &[u8]) -> Beside {
    let found = Sidecar::ALL.map(|sidecar| {
        let name = sidecar.beside(name);
        let stat = dir.stat_of(&name).ok().filter(|stat| stat.kind == NodeKind::File);
        stat.map(|stat| (name, stat))
    });
    let [wal, _, journal] = found.each_ref().map(|found| found.as_ref().map(|(_, stat)| *stat));
    let candidates = found.into_iter().flatten().map(|(name, stat)| {
        let is_wanted = plan.children.get(&name).is_some_and(|child| child.whole);
        let beside = if is_wanted { beside_source(plan, dir, &name) } else { Beside::default() };
        Candidate::new(name, stat, is_wanted, beside)
    });
    Beside { stats: [wal, journal], candidates: candidates.collect() }
}

/// Looks at the content of the candidates beside a database.
pub fn look_at(dir: &SourceDir, candidates: &mut [Candidate]) {
    for candidate in candidates {
        candidate.kind = kind_of(dir, &candidate.name);
    }
}

fn kind_of(dir: &SourceDir, name: &[u8]) -> CandidateKind {
    let mut head = [0; HEAD];
    let read = dir.open_file(name).and_then(|file| read_full(&mut file.reader(0, HEAD as u64), &mut head));
    match (Sidecar::main_of(name), read) {
        (Some((_, sidecar)), Ok(len)) if is_of_sqlite(sidecar, head.get(..len).unwrap_or_default()) => {
            CandidateKind::Sidecar
        }
        // An app that has ended meanwhile took it away.
        (_, Err(e)) if e.kind() == io::ErrorKind::NotFound => CandidateKind::Sidecar,
        (_, Err(_)) => CandidateKind::Unreadable,
        (_, Ok(_)) => CandidateKind::Foreign,
    }
}

/// The entries among the candidates beside a file that is no database.
pub fn beside_a_file(candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.into_iter().filter(|candidate| candidate.is_wanted).collect()
}

/// The entries among the candidates beside a database whose files are stored one by one: they are needed with it.
pub fn beside_raw(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let is_entry = |candidate: &Candidate| candidate.is_wanted || candidate.kind != CandidateKind::Foreign;
    candidates.into_iter().filter(is_entry).collect()
}

/// The entries among the candidates beside a database that is stored in one image: what is no part of it, and what lies
/// beside its parts.
pub fn beside_an_image(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut entries = Vec::new();
    for candidate in candidates {
        if candidate.kind == CandidateKind::Sidecar {
            entries.extend(beside_a_file(candidate.beside.candidates));
        } else if candidate.is_wanted {
            entries.push(candidate);
        }
    }
    entries
}
