//! Reading files: each reader thread takes one at a time, and reads it again when it changed meanwhile.

use super::Work;
use super::assembly::{Assembly, Cutter, Ending, Failed, Nature};
use super::folder::Folder;
use super::lineage::{Origin, sample};
use super::memory::{StatKey, UNTRUSTED, is_settled};
use crate::base::{Result, Timestamp, WarningKind};
use crate::model::lineage::{Checked, Sample, sampled_runs};
use crate::model::{BlobKind, Database, DatabaseState, Layout, Node};
use crate::source::{Segment, SourceFile, Stat, xattrs_of};
use crate::sqlite::SqliteHeader;
use crossbeam_channel::{Receiver, Sender};
use rayon::Scope;
use std::io::{self, Read};
use std::sync::Arc;

/// Times that a file which changed while it was read is read again, before it is stored as it was read last.
const READ_AGAIN: usize = 3;
/// From here on a file is read in several steps, in bytes.
const LONG: u64 = 1 << 20;

/// An open file on its way from the walk to a reader.
pub struct FileTask {
    /// Its folder, which waits for it.
    pub folder: Arc<Folder>,
    /// The file.
    pub file: SourceFile,
    /// Its node as far as the walk saw it.
    pub node: Node,
    /// What the file system said of it.
    pub key: StatKey,
    /// `-wal` and `-journal` beside it.
    pub sidecars: [Option<Stat>; 2],
}

/// Reads files from the queue until it ends, but for databases at paths where there was none before: they are handed on.
pub fn read_files<'s>(
    work: &'s Work<'s>,
    queue: &Receiver<FileTask>,
    new_databases: &Sender<FileTask>,
    scope: &Scope<'s>,
) {
    let mut reader = Reader { work, scope, buffer: Vec::new() };
    for task in queue {
        if work.writer.cancel.is_cancelled() {
            continue;
        }
        if let Some(task) = reader.read(task, true) {
            // The other end is there for as long as this thread lives.
            let _sent = new_databases.send(task);
        }
    }
}

/// Reads databases from the queue until it ends, of those that are waiting always the oldest: apps keep copies of their
/// databases of several days, and each is a difference to the one before.
pub fn read_new_databases<'s>(work: &'s Work<'s>, queue: &Receiver<FileTask>, scope: &Scope<'s>) {
    let mut reader = Reader { work, scope, buffer: Vec::new() };
    let mut waiting: Vec<FileTask> = Vec::new();
    loop {
        waiting.extend(queue.try_iter());
        let oldest = waiting.iter().enumerate().min_by_key(|(_, task)| task.node.mtime).map(|(at, _)| at);
        let task = match oldest {
            Some(at) => waiting.swap_remove(at),
            None => match queue.recv() {
                Ok(task) => task,
                Err(_) => return,
            },
        };
        if !work.writer.cancel.is_cancelled() {
            reader.read(task, false);
        }
    }
}

/// A thread that reads one file after the other.
struct Reader<'s, 'scope> {
    work: &'s Work<'s>,
    scope: &'scope Scope<'s>,
    buffer: Vec<u8>,
}

impl<'s> Reader<'s, '_> {
    /// Reads a file; what goes wrong is told and counted. With `may_hand_on`, a database at a new path is given back.
    fn read(&mut self, task: FileTask, may_hand_on: bool) -> Option<FileTask> {
        let work = self.work;
        let path = || task.folder.path.join(&task.node.name);
        let read = match nature(&task.file) {
            Ok(nature) if may_hand_on && nature.header.is_some() && !work.lineages.is_known(&path()) => {
                return Some(task);
            }
            Ok(nature) => {
                work.observer.working_on(&path());
                read_file(work, &task, nature, self.scope, &mut self.buffer)
            }
            Err(e) => Err(e.into()),
        };
        match read {
            Ok(()) => {}
            Err(Failed::Source(e)) => {
                work.missing(&task.folder, path(), &e);
                if let Err(e) = task.folder.one_done(work) {
                    work.writer.fail(e);
                }
            }
            Err(Failed::Run(e)) => work.writer.fail(e),
        }
        None
    }
}

/// A file as it was read once.
struct Reading {
    assembly: Arc<Assembly>,
    node: Node,
    header: Option<SqliteHeader>,
    /// When it was begun.
    begun: Timestamp,
    before: Stat,
    change: Change,
}

/// What happened to a file while it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Nothing.
    None,
    /// Its content is whole, but the file has lost its name: deleted, or replaced by another one.
    Unlinked,
    /// It was written to, grew or shrank: what was read may be no state that it ever had.
    Altered,
}

fn read_file<'s>(
    work: &'s Work<'s>,
    task: &FileTask,
    nature: Nature,
    scope: &Scope<'s>,
    buffer: &mut Vec<u8>,
) -> std::result::Result<(), Failed> {
    let mut reading = read_once(work, task, nature, scope, buffer)?;
    for _ in 0..READ_AGAIN {
        if reading.change != Change::Altered {
            break;
        }
        // The pieces of the earlier attempt are stored, and most of them are met again.
        reading = read_once(work, task, self::nature(&task.file)?, scope, buffer)?;
    }
    let Reading { assembly, mut node, header, begun, before, change } = reading;
    let path = task.folder.path.join(&node.name);
    let xattrs = work.xattrs(&path, xattrs_of(&task.file));
    let is_whole = xattrs.is_some();
    node.xattrs = xattrs.unwrap_or_default();
    node.changed_while_read = change != Change::None;
    node.database = header.map(|header| database(task, &header, node.changed_while_read));
    work.warn_of_database(&path, &node);
    if node.database.is_none() {
        let message = match change {
            Change::None => None,
            Change::Unlinked => Some("Was deleted or replaced while it was read: stored as it was"),
            Change::Altered => Some("Changed each time it was read: stored as it was read last"),
        };
        if let Some(message) = message {
            work.warn(WarningKind::ChangedWhileRead, &path, message);
        }
    }
    let [wal, journal] = task.sidecars;
    let settled = is_whole && change == Change::None && is_settled(begun, &[Some(before), wal, journal]);
    let key = if settled { task.key } else { UNTRUSTED };
    Ok(assembly.end(work, Ending { node, key, checked: Checked::No })?)
}

fn read_once<'s>(
    work: &'s Work<'s>,
    task: &FileTask,
    nature: Nature,
    scope: &Scope<'s>,
    buffer: &mut Vec<u8>,
) -> std::result::Result<Reading, Failed> {
    let begun = work.repo.session().now();
    let before = task.file.stat()?;
    let origin = match nature.header {
        Some(_) => {
            let path = task.folder.path.join(&task.node.name);
            Some(work.lineages.origin(&path, || samples(work, &task.file, before.size), work.writer)?)
        }
        None => None,
    };
    let (line, earlier) = Origin::split(origin, work.repo);
    let assembly = Assembly::new(&task.folder, &nature, line);
    let mut cutter = Cutter::new(work, &assembly, scope, earlier);
    read_segments(&mut cutter, &assembly, &task.file, before.size, buffer)?;
    let (hash, read) = cutter.finish()?;
    let after = task.file.stat()?;
    let node = Node {
        size: read,
        layout: assembly.layout,
        hash,
        mode: after.mode,
        uid: after.uid,
        gid: after.gid,
        mtime: Some(before.mtime),
        ..task.node.clone()
    };
    let change = change(read, &before, &after);
    Ok(Reading { assembly, node, header: nature.header, begun, before, change })
}

/// The sampled runs of a database that is not cut yet. One that cannot be read has none: that will be noticed.
fn samples(work: &Work<'_>, file: &SourceFile, size: u64) -> Result<Vec<Sample>> {
    let run = u64::from(work.repo.config.run);
    let mut bytes = Vec::new();
    let mut samples = Vec::new();
    for number in sampled_runs(size.div_ceil(run)) {
        work.writer.cancel.check()?;
        bytes.clear();
        if file.reader(u64::from(number) * run, run).read_to_end(&mut bytes).is_ok() {
            samples.push(sample(number, &work.repo.name(BlobKind::Data, &bytes)));
        }
    }
    Ok(samples)
}

fn change(read: u64, before: &Stat, after: &Stat) -> Change {
    let same_content = read == before.size
        && (before.size, before.mtime, before.ino) == (after.size, after.mtime, after.ino);
    if same_content && before.ctime == after.ctime {
        Change::None
    } else if same_content && after.nlink == 0 {
        Change::Unlinked
    } else {
        Change::Altered
    }
}

fn nature(file: &SourceFile) -> io::Result<Nature> {
    let mut head = Vec::with_capacity(Nature::HEAD_LEN);
    file.reader(0, Nature::HEAD_LEN as u64).read_to_end(&mut head)?;
    Ok(Nature::of(&head))
}

fn read_segments(
    cutter: &mut Cutter<'_, '_>,
    assembly: &Assembly,
    file: &SourceFile,
    size: u64,
    buffer: &mut Vec<u8>,
) -> std::result::Result<(), Failed> {
    // A database is read whole: its runs must stay aligned, and a hole in it is rare.
    let segments = match assembly.layout {
        Layout::PageRuns => vec![Segment::Data { offset: 0, len: size }],
        Layout::Stream => file.segments(size)?,
    };
    if size >= LONG {
        file.advise_sequential();
    }
    for segment in segments {
        match segment {
            Segment::Hole { len, .. } => cutter.hole(len)?,
            Segment::Data { offset, len } => {
                // Cut short meanwhile: what follows would be put at the wrong place.
                if cutter.cut(file.reader(offset, len), buffer)? != len {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Records how a database got into the snapshot.
fn database(task: &FileTask, header: &SqliteHeader, changed: bool) -> Database {
    let named = |suffix: &str, stat: &Option<Stat>| {
        let pending = stat.is_some_and(|stat| stat.size > 0);
        pending.then(|| [&task.node.name, suffix.as_bytes()].concat())
    };
    let [wal, journal] = &task.sidecars;
    let sidecars: Vec<Vec<u8>> =
        [named("-wal", wal), named("-journal", journal)].into_iter().flatten().collect();
    let as_it_lay = changed || !sidecars.is_empty();
    let state = if as_it_lay { DatabaseState::AsItLay } else { DatabaseState::Quiescent };
    Database { state, page_size: header.page_size, sidecars }
}
