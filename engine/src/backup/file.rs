//! Reading files: each reader thread takes one at a time, and reads it again when it changed meanwhile.

use super::Work;
use super::assembly::{Assembly, Cutter, Ending, Failed, Nature};
use super::beside::{Beside, Candidate, CandidateKind, beside_a_file, beside_an_image, beside_raw, look_at};
use super::database::{DatabaseReport, Outcome, read_database, samples};
use super::entry::{Place, open_again};
use super::folder::Folder;
use super::lineage::split;
use super::linked::LogPlace;
use super::memory::{StatKey, UNTRUSTED};
use crate::base::{Result, StoredPath, Timestamp, WarningKind};
use crate::model::lineage::Checked;
use crate::model::{Database, DatabaseState, Layout, Node, NodeKind};
use crate::source::{Neighbours, Segment, SourceDir, SourceFile, Stat, xattrs_of};
use crate::sqlite::capture::{Kind, Sidecar, is_locked_as_database};
use crate::sqlite::encrypted::{Outline, page_size};
use crate::sqlite::log_has_commits;
use crate::sqlite::{is_journal, is_log};
use crossbeam_channel::{Receiver, Sender};
use rayon::Scope;
use std::cell::OnceCell;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Times that a file which changed while it was read is read again, before it is stored as it was read last.
const READ_AGAIN: usize = 3;
/// Bytes of a log or journal that tell what it is.
const SIDECAR_HEAD: usize = 32;
/// Times that a database is opened again because its app has replaced it.
const OPEN_AGAIN: usize = 20;
/// How often, and with which pauses, it is looked whether an app uses a file that it has just written to as a database.
const LOOKS: u32 = 12;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// Names of folders above a file that may tell what app it is of.
const FOLDERS: usize = 3;
/// From here on a file is read in several steps, in bytes.
const LONG: u64 = 1 << 20;

/// An open file on its way from the walk to a reader.
pub struct FileTask {
    /// Its folder, which waits for it.
    pub folder: Arc<Folder>,
    /// The same in the file system.
    pub dir: Arc<SourceDir>,
    /// The file system that it lies on.
    pub device: u64,
    /// The file.
    pub file: SourceFile,
    /// Its node as far as the walk saw it.
    pub node: Node,
    /// What the file system said of it.
    pub key: StatKey,
    /// `-wal` and `-journal` beside it.
    pub sidecars: [Option<Stat>; 2],
    /// The files beside it that are part of it if it is a database, and entries of their own if not.
    pub beside: Vec<Candidate>,
    /// Where its log lies if it is a database.
    pub log: LogPlace,
}

impl FileTask {
    /// Where it is.
    pub fn path(&self) -> StoredPath {
        self.folder.path.join(&self.node.name)
    }

    /// What is to be remembered of it if it was begun to be read at `begun`, and was like this then.
    pub(super) fn key_to_remember(&self, work: &Work<'_>, begun: Timestamp, before: Stat) -> StatKey {
        let kept = OnceCell::new();
        let place = Place { folder: &self.folder, dir: &self.dir, device: self.device, kept: &kept };
        let [wal, journal] = self.sidecars;
        work.settled(&place, &self.node.name, self.key, begun, &[Some(before), wal, journal])
    }

    /// False for what lies beside it under the name of a sidecar and is none of SQLite's.
    pub fn may_own(&self, name: &[u8]) -> bool {
        let is_foreign = |candidate: &Candidate| candidate.kind == CandidateKind::Foreign;
        !self.beside.iter().any(|candidate| candidate.name == name && is_foreign(candidate))
    }
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
        // What waits here is open: the rest waits in the queue, and with it the readers.
        let room = work.open_files.saturating_sub(waiting.len());
        waiting.extend(queue.try_iter().take(room));
        let oldest = waiting.iter().enumerate().min_by_key(|(_, task)| task.node.mtime).map(|(at, _)| at);
        let task = match oldest {
            Some(at) => waiting.swap_remove(at),
            None => match queue.recv() {
                Ok(task) => task,
                Err(_) => return,
            },
        };
        // The one before must be recorded before it is asked what this one resembles.
        work.lineages.wait();
        if !work.writer.cancel.is_cancelled() {
            reader.read(task, false);
        }
    }
}

/// Reads the databases that waited until all names of the sources were known.
pub fn read_linked<'s>(work: &'s Work<'s>, scope: &Scope<'s>) {
    let mut reader = Reader { work, scope, buffer: Vec::new() };
    // What lies beside one may have several names, too.
    while let Some(waiting) = work.linked.next() {
        if work.writer.cancel.is_cancelled() {
            return;
        }
        work.lineages.wait();
        match work.linked(waiting) {
            Ok(tasks) => tasks.into_iter().for_each(|task| {
                reader.read(task, false);
            }),
            Err(e) => work.writer.fail(e),
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
    /// Reads a file, and what lies beside it if that is not part of it; what goes wrong is told and counted. With
    /// `may_hand_on`, a database at a new path is given back.
    fn read(&mut self, mut task: FileTask, may_hand_on: bool) -> Option<FileTask> {
        let work = self.work;
        let nature = nature(work, &task);
        let is_database = nature.as_ref().is_ok_and(|nature| nature.database().is_some());
        if is_database && self.waits(&mut task) {
            if let Err(e) = task.folder.one_done(work) {
                work.writer.fail(e);
            }
            return None;
        }
        if may_hand_on && is_database && !work.lineages.is_known(&task.path()) {
            return Some(task);
        }
        work.observer.working_on(&task.path());
        // The folder must not be closed before the sidecars are done.
        task.folder.expect_one();
        let done = nature.map_err(Failed::Source).and_then(|nature| self.read_as(&mut task, nature));
        let beside = std::mem::take(&mut task.beside);
        let beside = match done {
            Ok(Done::Raw) => self.read_beside(&task, beside_raw(beside)),
            Ok(Done::Image) => self.read_beside(&task, beside_an_image(beside)),
            Ok(Done::NoDatabase) => self.read_beside(&task, beside_a_file(beside)),
            Err(Failed::Source(e)) => {
                match e.kind() {
                    // Its app has deleted it since the walk.
                    io::ErrorKind::NotFound => work.vanished(&task.folder, &task.path()),
                    _ => work.missing(&task.folder, task.path(), &e),
                }
                let done = task.folder.one_done(work);
                done.and_then(|()| self.read_beside(&task, beside_a_file(beside)))
            }
            Err(Failed::Run(e)) => Err(e),
        };
        if let Err(e) = beside.and_then(|()| task.folder.one_done(work)) {
            work.writer.fail(e);
        }
        None
    }

    /// True if a database has several names and no log beside this one, so that it waits until all names are known.
    fn waits(&self, task: &mut FileTask) -> bool {
        let beside = Beside { stats: task.sidecars, candidates: std::mem::take(&mut task.beside) };
        let is_asked = !matches!(task.log, LogPlace::Assumed) || self.work.options.raw_databases;
        let kept = match task.file.stat() {
            Ok(stat) if stat.nlink > 1 && !is_asked && !beside.has_log() => {
                self.work.linked.wait(&task.folder, &task.node.name, stat.identity(), beside)
            }
            _ => Some(beside),
        };
        match kept {
            None => true,
            Some(beside) => {
                task.beside = beside.candidates;
                false
            }
        }
    }

    fn read_as(&mut self, task: &mut FileTask, mut nature: Nature) -> std::result::Result<Done, Failed> {
        let mut replaced = 0;
        loop {
            if nature.database().is_none() {
                match read_file(self.work, task, nature, self.scope, &mut self.buffer, None)? {
                    Some(turned_out) => nature = turned_out,
                    None => {
                        warn_of_lone_log(self.work, task);
                        return Ok(Done::NoDatabase);
                    }
                }
            }
            if self.work.options.raw_databases {
                look_at(&task.dir, &mut task.beside);
                read_file(self.work, task, nature, self.scope, &mut self.buffer, None)?;
                return Ok(Done::Raw);
            }
            if nature.database() != Some(Kind::Opaque) && task.file.stat()?.size == 0 {
                // It has a header, so it is not empty: what is proved about a database rests on its size.
                let why = "its file system does not tell its size";
                read_file(self.work, task, nature, self.scope, &mut self.buffer, Some(why))?;
                return Ok(Done::Raw);
            }
            let why = match read_database(self.work, task, &nature, self.scope, &mut self.buffer)? {
                Outcome::Captured => return Ok(Done::Image),
                Outcome::Impossible(why) => why,
                Outcome::Replaced if replaced < OPEN_AGAIN => {
                    replaced += 1;
                    open_anew(self.work, task)?;
                    nature = self::nature(self.work, task)?;
                    continue;
                }
                Outcome::Replaced => "its app replaced it each time it was read".to_owned(),
            };
            look_at(&task.dir, &mut task.beside);
            read_file(self.work, task, nature, self.scope, &mut self.buffer, Some(&why))?;
            return Ok(Done::Raw);
        }
    }

    /// Stores what lies beside a file and is not part of it.
    fn read_beside(&mut self, task: &FileTask, beside: Vec<Candidate>) -> Result<()> {
        let kept = OnceCell::from(Arc::clone(&task.dir));
        let place = Place { folder: &task.folder, dir: &task.dir, device: task.device, kept: &kept };
        for task in self.work.entries_beside(&place, beside)? {
            self.read(task, false);
        }
        Ok(())
    }
}

/// Tells of a write-ahead log whose main file is not there: an app may have it open under another name.
fn warn_of_lone_log(work: &Work<'_>, task: &FileTask) {
    let Some((main, Sidecar::Wal)) = Sidecar::main_of(&task.node.name) else { return };
    let is_alone = task.dir.stat_of(main).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
    if is_alone && log_has_commits(task.file.as_fd()) {
        let message = format!(
            "This write-ahead log holds changes to a database that is missing: there is no {} beside it",
            String::from_utf8_lossy(main)
        );
        work.warn(WarningKind::DatabaseFileMissing, &task.path(), message);
    }
}

/// Opens what has the task's name by now, and looks at what lies beside it by now.
fn open_anew(work: &Work<'_>, task: &mut FileTask) -> io::Result<()> {
    let name = &task.node.name;
    let file = open_again(&task.dir, name)?;
    let stat = file.stat()?;
    let stats = Sidecar::ALL.map(|sidecar| {
        let name = sidecar.beside(name);
        let stat = task.dir.stat_of(&name).ok().filter(|stat| stat.kind == NodeKind::File)?;
        let path = || task.folder.path.join(&name);
        match task.beside.iter_mut().find(|candidate| candidate.name == name) {
            Some(candidate) => candidate.stat = stat,
            None if work.options.select.leaves_out(path, stat.kind, stat.size) => {}
            // The walk has not seen it: it is stored with the database, or not at all.
            None => task.beside.push(Candidate::new(name, stat, false, Beside::default())),
        }
        Some(stat)
    });
    task.node = work.node(&task.node.name, &stat);
    // What the walk saw was the file before, and its names.
    task.key = UNTRUSTED;
    task.log = LogPlace::Here;
    let [wal, _, journal] = stats;
    task.sidecars = [wal, journal];
    task.file = file;
    Ok(())
}

/// What of a database was stored.
enum Done {
    /// The main file; its sidecars are still to be stored.
    Raw,
    /// All of it, in one image.
    Image,
    /// A file that is no database.
    NoDatabase,
}

/// A file as it was read once.
struct Reading {
    assembly: Arc<Assembly>,
    node: Node,
    nature: Nature,
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

/// Reads and stores a file as it lies. If it turns out to be used as a database, it is not stored, and its nature is
/// given back.
fn read_file<'s>(
    work: &'s Work<'s>,
    task: &FileTask,
    nature: Nature,
    scope: &Scope<'s>,
    buffer: &mut Vec<u8>,
    not_captured: Option<&str>,
) -> std::result::Result<Option<Nature>, Failed> {
    let may_turn_out = nature.database().is_none() && !work.options.raw_databases;
    let mut reading = read_once(work, task, nature, scope, buffer)?;
    for _ in 0..READ_AGAIN {
        if reading.change != Change::Altered {
            break;
        }
        let now = self::nature(work, task)?;
        if may_turn_out && now.database().is_some() {
            return Ok(Some(now));
        }
        if may_turn_out && now.is_unknown() && is_seen_in_use(work, task) {
            return Ok(Some(now.or_opaque()));
        }
        // The pieces of the earlier attempt are stored, and most of them are met again.
        reading = read_once(work, task, now, scope, buffer)?;
    }
    if may_turn_out && reading.nature.is_unknown() && is_used(work, task, reading.change) {
        return Ok(Some(reading.nature.or_opaque()));
    }
    let Reading { assembly, mut node, nature, begun, before, change } = reading;
    let path = task.path();
    let xattrs = work.xattrs(&path, xattrs_of(&task.file));
    let is_whole = xattrs.is_some();
    node.xattrs = xattrs.unwrap_or_default();
    node.changed_while_read = change != Change::None;
    node.database = nature.database().map(|_| database(task, &nature));
    if let Some(database) = &node.database {
        work.tally.add_database(DatabaseReport::of_files(path.clone(), database.state));
        if not_captured.is_some() || node.changed_while_read {
            work.warn_of_database(&path, not_captured);
        }
    }
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
    // What could not be captured is tried again.
    let is_done = is_whole && change == Change::None && not_captured.is_none() && node.size == before.size;
    let key = if is_done { task.key_to_remember(work, begun, before) } else { UNTRUSTED };
    assembly.end(work, Ending { node, key, checked: Checked::No })?;
    Ok(None)
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
    let read_at = |bytes: &mut [u8], at| read_full(&mut task.file.reader(at, bytes.len() as u64), bytes);
    let origin = nature
        .database()
        .map(|_| work.lineages.origin(&task.path(), || samples(work, before.size, &read_at), work.writer));
    let (line, earlier) = split(origin.transpose()?, work.repo);
    let assembly = Assembly::new(&task.folder, &nature, line);
    let mut cutter = Cutter::new(work, &assembly, scope, earlier);
    read_segments(&mut cutter, &assembly, &task.file, before.size, buffer)?;
    let cut = cutter.finish()?;
    let (hash, read) = (cut.hash, cut.len);
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
    Ok(Reading { assembly, node, nature, begun, before, change })
}

fn change(read: u64, before: &Stat, after: &Stat) -> Change {
    // Where no size is told, nothing says how many bytes there should be.
    let same_content = (read == before.size || before.size == 0)
        && (before.size, before.mtime, before.ino) == (after.size, after.mtime, after.ino);
    if same_content && before.ctime == after.ctime {
        Change::None
    } else if same_content && after.nlink == 0 {
        Change::Unlinked
    } else {
        Change::Altered
    }
}

/// Reads until the buffer is full or the content ends.
pub(super) fn read_full(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(room) = bytes.get_mut(done..).filter(|room| !room.is_empty()) {
        match reader.read(room)? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

fn nature(work: &Work<'_>, task: &FileTask) -> io::Result<Nature> {
    let mut head = vec![0; Nature::HEAD_LEN];
    let len = read_full(&mut task.file.reader(0, Nature::HEAD_LEN as u64), &mut head)?;
    head.truncate(len);
    let nature = Nature::of(&head);
    if nature.database().is_some() {
        return Ok(nature);
    }
    let log = head_beside(task, Sidecar::Wal);
    if (log.is_some() || is_usual(&task.node.name))
        && let Some(page_size) = encrypted(task, &head, log.as_deref())?
    {
        return Ok(nature.or_encrypted(Some(page_size)));
    }
    let journal = head_beside(task, Sidecar::Journal);
    let is_used = log.is_some_and(|head| is_log(&head))
        || journal.is_some_and(|head| is_journal(&head))
        || has_gone(task)
        || nature.is_unknown() && (was_opaque(task) || is_locked_as_database(task.file.as_fd()));
    Ok(if is_used && !work.options.raw_databases { nature.or_opaque() } else { nature })
}

/// The first bytes of what lies beside the file under the name of a sidecar, if the walk has seen that.
fn head_beside(task: &FileTask, sidecar: Sidecar) -> Option<Vec<u8>> {
    let [wal, journal] = task.sidecars;
    let is_there = if sidecar == Sidecar::Wal { wal.is_some() } else { journal.is_some() };
    if is_there || !task.log.is_here() { head_of(task, sidecar) } else { None }
}

/// The first bytes of what lies beside the file under the name of a sidecar.
fn head_of(task: &FileTask, sidecar: Sidecar) -> Option<Vec<u8>> {
    let Neighbours { dir, name } = task.log.neighbours(&task.dir, &task.node.name);
    let mut head = vec![0; SIDECAR_HEAD];
    // One that is not there, or cannot be read, tells nothing.
    let file = dir.open_file(&sidecar.beside(name)).ok()?;
    let len = read_full(&mut file.reader(0, SIDECAR_HEAD as u64), &mut head).ok()?;
    head.truncate(len);
    Some(head)
}

/// True if a file that was read is used as a database: its app may have been in the middle of writing all the time.
fn is_used(work: &Work<'_>, task: &FileTask, change: Change) -> bool {
    match change {
        Change::Altered => is_seen_in_use(work, task),
        Change::None | Change::Unlinked => is_locked_as_database(task.file.as_fd()),
    }
}

/// Looks for a while whether an app that has just written shows that it uses the file as a database.
fn is_seen_in_use(work: &Work<'_>, task: &FileTask) -> bool {
    let has = |sidecar: Sidecar, is_one: fn(&[u8]) -> bool| {
        head_of(task, sidecar).is_some_and(|head| is_one(&head))
    };
    (0..LOOKS).any(|look| {
        if look > 0 {
            (work.repo.session().pause)(BETWEEN_LOOKS);
        }
        is_locked_as_database(task.file.as_fd())
            || has(Sidecar::Journal, is_journal)
            || has(Sidecar::Wal, is_log)
    })
}

/// True if the walk has seen a log or journal that is not there any more: an app has ended a transaction since.
fn has_gone(task: &FileTask) -> bool {
    let is_gone = |sidecar: Sidecar| {
        let stat = task.dir.stat_of(&sidecar.beside(&task.node.name));
        stat.is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
    };
    let [wal, journal] = task.sidecars;
    wal.is_some() && is_gone(Sidecar::Wal) || journal.is_some() && is_gone(Sidecar::Journal)
}

/// True if this name was that of something that is used as a database, which nothing need show now.
fn was_opaque(task: &FileTask) -> bool {
    let before = task.folder.previous.as_ref().and_then(|previous| previous.find(&task.node.name));
    let database = before.and_then(|before| before.decode().ok()?.database);
    database.is_some_and(|database| database.page_size == 0)
}

/// True for names that databases have.
fn is_usual(name: &[u8]) -> bool {
    name.ends_with(b".db") || name.ends_with(b".sqlite")
}

/// The page size, if the file looks like a database whose pages are encrypted.
fn encrypted(task: &FileTask, head: &[u8], wal: Option<&[u8]>) -> io::Result<Option<u32>> {
    let path = &task.folder.path;
    let folders: Vec<&[u8]> = path.components().collect();
    Ok(page_size(&Outline {
        name: &task.node.name,
        folders: &folders.into_iter().rev().take(FOLDERS).collect::<Vec<_>>(),
        size: task.file.stat()?.size,
        head,
        wal,
    }))
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
        // Some file systems (proc, some FUSE) tell 0 for what has bytes: only reading says.
        _ if size == 0 => vec![Segment::Data { offset: 0, len: u64::MAX }],
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
                if cutter.cut(file.reader(offset, len), buffer)? != len && size > 0 {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Records how a database got into the snapshot as it lay.
fn database(task: &FileTask, nature: &Nature) -> Database {
    let named = |sidecar: Sidecar, stat: &Option<Stat>| {
        let name = sidecar.beside(&task.node.name);
        (stat.is_some_and(|stat| stat.size > 0) && task.may_own(&name)).then_some(name)
    };
    let [wal, journal] = &task.sidecars;
    let sidecars: Vec<Vec<u8>> =
        [named(Sidecar::Wal, wal), named(Sidecar::Journal, journal)].into_iter().flatten().collect();
    // Nobody has proved that it is one committed state, whatever it looks like.
    let state = DatabaseState::AsItLay;
    Database { state, page_size: nature.page_size(), sidecars, damaged_log: None }
}
