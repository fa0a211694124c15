//! Reading files: a reader thread cuts a file and hands the pieces to the worker threads; whoever finishes its last
//! piece writes its node.

use super::folder::Folder;
use super::memory::{RowEntry, StatKey, UNTRUSTED, is_settled};
use super::{Status, Work};
use crate::base::hash::IdStream;
use crate::base::{BlobId, Counter, Error, Result, WarningKind};
use crate::chunk::{Cutting, PageRuns, Pieces};
use crate::format::tree::encode_node;
use crate::model::{BlobKind, Content, Database, DatabaseState, Layout, ListItem, Node, NodeKind, PackClass};
use crate::repo::pages::write_list;
use crate::source::{Segment, SourceFile, Stat};
use crate::sqlite::SqliteHeader;
use crossbeam_channel::Receiver;
use rayon::Scope;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What holes are hashed as.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

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

/// Reads files from the queue until it ends.
pub fn read_files<'s>(work: &'s Work<'s>, queue: &Receiver<FileTask>, scope: &Scope<'s>) {
    let mut buffer = Vec::new();
    for task in queue {
        if work.writer.cancel.is_cancelled() {
            continue;
        }
        let path = || task.folder.path.join(&task.node.name);
        work.observer.working_on(&path());
        let folder = Arc::clone(&task.folder);
        match read_file(work, &task, scope, &mut buffer) {
            Ok(()) => {}
            Err(Failed::Source(e)) => {
                work.missing(&folder, path(), &e);
                if let Err(e) = folder.one_done(work) {
                    work.writer.fail(e);
                }
            }
            Err(Failed::Run(e)) => work.writer.fail(e),
        }
    }
}

/// Why a file was not stored: a fault of the source costs this file, one of the repository the run.
enum Failed {
    Source(io::Error),
    Run(Error),
}

impl From<io::Error> for Failed {
    fn from(e: io::Error) -> Self {
        Self::Source(e)
    }
}

impl From<Error> for Failed {
    fn from(e: Error) -> Self {
        Self::Run(e)
    }
}

/// A file whose pieces are being stored.
struct Assembly {
    folder: Arc<Folder>,
    layout: Layout,
    /// Pieces in their order; a chunk's id is filled in when it is stored.
    items: Mutex<Vec<ListItem>>,
    /// Pieces under way, and one for the reader.
    outstanding: AtomicUsize,
    /// What the reader knows at the end: node, key, status of the file.
    end: Mutex<Option<(Node, StatKey)>>,
}

fn read_file<'s>(
    work: &'s Work<'s>,
    task: &FileTask,
    scope: &Scope<'s>,
    buffer: &mut Vec<u8>,
) -> std::result::Result<(), Failed> {
    let begun = work.repo.session().now();
    let before = task.file.stat()?;
    let header = sqlite_header(&task.file, before.size)?;
    let layout = if header.is_some() { Layout::PageRuns } else { Layout::Stream };
    let assembly = Arc::new(Assembly {
        folder: Arc::clone(&task.folder),
        layout,
        items: Mutex::default(),
        outstanding: AtomicUsize::new(1),
        end: Mutex::default(),
    });
    let mut cutter = Cutter { work, assembly: &assembly, scope, held: None, hash: None, read: 0 };
    cutter.read_segments(&task.file, before.size, buffer)?;
    let (hash, read) = cutter.finish()?;
    let after = task.file.stat()?;
    let changed = read != before.size || !same_state(&before, &after);
    let mut node = Node {
        size: read,
        layout,
        hash,
        mode: after.mode,
        uid: after.uid,
        gid: after.gid,
        mtime: Some(before.mtime),
        changed_while_read: changed,
        ..task.node.clone()
    };
    node.database = header.map(|header| database(task, &header, changed));
    let path = task.folder.path.join(&node.name);
    work.warn_of_database(&path, &node);
    if changed && node.database.is_none() {
        work.warn(WarningKind::ChangedWhileRead, &path, "Changed while it was read: stored as it was read");
    }
    let [wal, journal] = task.sidecars;
    let settled = !changed && is_settled(begun, &[Some(before), wal, journal]);
    let key = if settled { task.key } else { UNTRUSTED };
    *assembly.end.lock().unwrap_or_else(PoisonError::into_inner) = Some((node, key));
    assembly.one_done(work)?;
    Ok(())
}

fn same_state(a: &Stat, b: &Stat) -> bool {
    (a.size, a.mtime, a.ctime, a.ino) == (b.size, b.mtime, b.ctime, b.ino)
}

fn sqlite_header(file: &SourceFile, size: u64) -> io::Result<Option<SqliteHeader>> {
    if size < 512 {
        return Ok(None);
    }
    let mut first = [0; SqliteHeader::LEN];
    match file.reader(0, SqliteHeader::LEN as u64).read_exact(&mut first) {
        Ok(()) => Ok(SqliteHeader::parse(&first)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
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

/// Cuts one file and hands its pieces on.
struct Cutter<'c, 's> {
    work: &'s Work<'s>,
    assembly: &'c Arc<Assembly>,
    scope: &'c Scope<'s>,
    /// The first piece, until it is known whether it is the only one: then its blob id is the hash of the whole.
    held: Option<Vec<u8>>,
    hash: Option<IdStream>,
    read: u64,
}

impl Cutter<'_, '_> {
    fn read_segments(
        &mut self,
        file: &SourceFile,
        size: u64,
        buffer: &mut Vec<u8>,
    ) -> std::result::Result<(), Failed> {
        let runs = self.assembly.layout == Layout::PageRuns;
        // A database is read whole: its runs must stay aligned, and a hole in it is rare.
        let segments = if runs { vec![Segment::Data { offset: 0, len: size }] } else { file.segments(size)? };
        file.advise_sequential();
        let repo = self.work.repo;
        for segment in segments {
            match segment {
                Segment::Hole { len, .. } => self.hole(len)?,
                Segment::Data { offset, len } => {
                    let cutting = if runs {
                        Cutting::PageRuns(PageRuns::new(repo.config.run)?)
                    } else {
                        Cutting::Stream(Arc::clone(&repo.chunker))
                    };
                    let mut pieces =
                        Pieces::with_buffer(file.reader(offset, len), cutting, std::mem::take(buffer));
                    let before = self.read;
                    for piece in pieces.by_ref() {
                        self.piece(piece?)?;
                    }
                    *buffer = pieces.into_buffer();
                    // Cut short meanwhile: what follows would be put at the wrong place.
                    if self.read - before != len {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn hole(&mut self, len: u64) -> Result<()> {
        self.release_held();
        let hash = self.hash.get_or_insert_with(|| self.work.repo.id_key(BlobKind::Data).stream());
        let mut left = len;
        while left > 0 {
            self.work.writer.cancel.check()?;
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
            hash.update(ZEROS.get(..part).unwrap_or_default());
            left -= part as u64;
        }
        self.read += len;
        self.assembly.push(ListItem::Hole { len });
        self.work.observer.add(Counter::Bytes, len);
        Ok(())
    }

    fn piece(&mut self, piece: Vec<u8>) -> Result<()> {
        self.work.writer.cancel.check()?;
        self.read += piece.len() as u64;
        if self.read == piece.len() as u64 {
            self.held = Some(piece);
            return Ok(());
        }
        self.release_held();
        if let Some(hash) = &mut self.hash {
            hash.update(&piece);
        }
        self.dispatch(piece)
    }

    /// A second piece comes: the first one goes on its way, and the whole gets a hash of its own.
    fn release_held(&mut self) {
        let hash = self.hash.get_or_insert_with(|| self.work.repo.id_key(BlobKind::Data).stream());
        if let Some(first) = self.held.take() {
            hash.update(&first);
            if let Err(e) = self.dispatch(first) {
                self.work.writer.fail(e);
            }
        }
    }

    fn dispatch(&self, piece: Vec<u8>) -> Result<()> {
        let work = self.work;
        let permit = work.writer.reserve(piece.len())?;
        let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        let place = self.assembly.push(ListItem::Chunk { id: BlobId::new([0; 32]), len });
        let class = if self.assembly.layout == Layout::PageRuns { PackClass::Runs } else { PackClass::Media };
        let assembly = Arc::clone(self.assembly);
        assembly.outstanding.fetch_add(1, Ordering::SeqCst);
        self.scope.spawn(move |_| {
            if work.writer.cancel.is_cancelled() {
                return;
            }
            let stored = work.writer.put(BlobKind::Data, class, piece, permit);
            work.observer.add(Counter::Bytes, len.into());
            let done = stored.and_then(|id| {
                assembly.fill(place, ListItem::Chunk { id, len });
                assembly.one_done(work)
            });
            if let Err(e) = done {
                work.writer.fail(e);
            }
        });
        Ok(())
    }

    /// The hash of the whole (none for a single piece) and the bytes read.
    fn finish(mut self) -> Result<(Option<BlobId>, u64)> {
        if let Some(only) = self.held.take() {
            self.dispatch(only)?;
        }
        Ok((self.hash.map(|hash| hash.finish()), self.read))
    }
}

impl Assembly {
    fn items(&self) -> std::sync::MutexGuard<'_, Vec<ListItem>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a piece and says its place.
    fn push(&self, item: ListItem) -> usize {
        let mut items = self.items();
        items.push(item);
        items.len() - 1
    }

    fn fill(&self, place: usize, item: ListItem) {
        if let Some(slot) = self.items().get_mut(place) {
            *slot = item;
        }
    }

    /// Says that a piece is stored, or that the reader is through. The last one finishes the file.
    fn one_done(&self, work: &Work<'_>) -> Result<()> {
        if self.outstanding.fetch_sub(1, Ordering::SeqCst) != 1 {
            return Ok(());
        }
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut node, key)) = end else { return Ok(()) };
        let items = std::mem::take(&mut *self.items());
        node.content = match items.as_slice() {
            [] => Content::None,
            [ListItem::Chunk { id, .. }] => {
                node.hash = None;
                Content::Chunk(*id)
            }
            items => {
                let run = work.repo.config.run;
                Content::List(write_list(work.writer, &work.boundaries, self.layout, run, items)?)
            }
        };
        if node.content == Content::None {
            node.hash = None;
        }
        self.finish(work, &node, key)
    }

    fn finish(&self, work: &Work<'_>, node: &Node, key: StatKey) -> Result<()> {
        let bytes = encode_node(node);
        let before = self.folder.previous.as_ref().and_then(|p| p.find(&node.name)).map(|before| before.node);
        work.count_file(Status::of(before, &bytes), node.size);
        work.observer.add(Counter::Files, 1);
        self.folder.push(RowEntry { name: node.name.clone(), key, kind: NodeKind::File, node: bytes });
        self.folder.one_done(work)
    }
}

/// The longest chunk fits into a blob: the two limits stand in one layer each and are compared here.
const _: () = assert!(crate::chunk::MAX_CHUNK_LEN <= crate::format::pack::MAX_BLOB_LEN);
const _: () = assert!(crate::codec::MAX_BLOB_LEN == crate::format::pack::MAX_BLOB_LEN);
