//! A file whose pieces are being stored: the reader cuts it and hands the pieces to the worker threads; whoever finishes
//! the last piece writes its node.

use super::Work;
use super::folder::Folder;
use super::lineage::{Line, sample};
use super::memory::{RowEntry, StatKey, UNTRUSTED};
use super::tally::Status;
use crate::base::hash::IdStream;
use crate::base::{BlobId, Counter, Error, Result};
use crate::chunk::{Cutting, PageRuns, Pieces};
use crate::codec::media;
use crate::format::tree::encode_node;
use crate::model::lineage::{Checked, Lineage, Sample, sampled_runs};
use crate::model::{BlobKind, Content, DamagedLog, Layout, ListItem, Node, NodeKind, PackClass};
use crate::repo::earlier::EarlierRuns;
use crate::repo::pages::{ListLayout, write_list};
use crate::repo::writer::{Offer, Packing};
use crate::sqlite::{SqliteHeader, capture, encrypted};
use rayon::Scope;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What holes are hashed as.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// Why a file was not stored: a fault of the source costs this file, one of the repository the run.
pub(super) enum Failed {
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

/// What the first bytes of a content say of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    /// The header, if it is a database.
    pub(super) header: Option<SqliteHeader>,
    /// Bytes of a page, if it is a database whose pages are encrypted one by one.
    encrypted: Option<u32>,
    /// True for something else that is used as a database.
    is_opaque: bool,
    /// Whether its pieces are offered to the compressor.
    packing: Packing,
}

impl Nature {
    /// Bytes that tell it.
    pub(super) const HEAD_LEN: usize = encrypted::HEAD_LEN;

    pub(super) fn of(head: &[u8]) -> Self {
        // Of what is encrypted behind its header SQLite can say nothing.
        let (header, encrypted) = match encrypted::kind_of(head) {
            Some((capture::Kind::Plain, header)) => (Some(header), None),
            Some((_, header)) => (None, Some(header.page_size)),
            None => (None, None),
        };
        let packing = if media::recognise(head).is_some() { Packing::AsItIs } else { Packing::Tried };
        Self { header, encrypted, is_opaque: false, packing }
    }

    /// The same, if it turned out to be a database whose pages of this size are encrypted one by one. Its runs are offered
    /// to the compressor: the trial finds out that it does not pay, and a delta comes first.
    pub(super) fn or_encrypted(self, page_size: Option<u32>) -> Self {
        Self { encrypted: page_size, ..self }
    }

    /// The same, if it turned out to be used as a database, of which nothing else is known.
    pub(super) fn or_opaque(self) -> Self {
        Self { is_opaque: true, ..self }
    }

    /// What kind of database it is, if it is one.
    pub(super) fn database(&self) -> Option<capture::Kind> {
        match (self.header, self.encrypted) {
            (Some(_), _) => Some(capture::Kind::Plain),
            (None, Some(_)) => Some(capture::Kind::Encrypted),
            (None, None) => self.is_opaque.then_some(capture::Kind::Opaque),
        }
    }

    /// True if it is none of the formats that are known.
    pub(super) fn is_unknown(&self) -> bool {
        self.database().is_none() && self.packing == Packing::Tried
    }

    /// Bytes of a page of the database, as far as that is known; for an encrypted one it may be a guess.
    pub(super) fn page_size(&self) -> u32 {
        self.header.map(|header| header.page_size).or(self.encrypted).unwrap_or(0)
    }

    fn layout(&self) -> Layout {
        if self.database().is_some() { Layout::PageRuns } else { Layout::Stream }
    }
}

/// A file whose pieces are being stored.
pub(super) struct Assembly {
    folder: Arc<Folder>,
    pub(super) layout: Layout,
    packing: Packing,
    /// What it came from, if it is a database.
    line: Option<Line>,
    /// Pieces in their order; a chunk's id is filled in when it is stored.
    items: Mutex<Vec<ListItem>>,
    /// Pieces under way, and one for the reader.
    outstanding: AtomicUsize,
    /// True once a piece was not what stood in its place before.
    is_new: AtomicBool,
    end: Mutex<Option<Ending>>,
    /// The database whose damaged log this is, and which waits for it.
    database: Option<Arc<Assembly>>,
    /// The damaged log of this database, once it is stored.
    log: Mutex<Option<DamagedLog>>,
}

/// What the reader knows when it has read a file.
pub(super) struct Ending {
    pub(super) node: Node,
    pub(super) key: StatKey,
    /// Whether a database was found sound.
    pub(super) checked: Checked,
}

/// A content that was cut.
pub(super) struct Cut {
    /// The hash of the whole; none for a single piece.
    pub(super) hash: Option<BlobId>,
    /// Of a database, the name of the whole; none for an empty one.
    pub(super) name: Option<BlobId>,
    /// Its bytes.
    pub(super) len: u64,
}

/// Cuts one file and hands its pieces on.
pub(super) struct Cutter<'c, 's> {
    work: &'s Work<'s>,
    assembly: &'c Arc<Assembly>,
    scope: &'c Scope<'s>,
    /// The first piece, until it is known whether it is the only one: then its blob id is the hash of the whole.
    held: Option<Vec<u8>>,
    hash: Option<IdStream>,
    read: u64,
    /// The runs of a database's previous version.
    earlier: EarlierRuns<'s>,
}

impl<'c, 's> Cutter<'c, 's> {
    pub(super) fn new(
        work: &'s Work<'s>,
        assembly: &'c Arc<Assembly>,
        scope: &'c Scope<'s>,
        earlier: EarlierRuns<'s>,
    ) -> Self {
        Self { work, assembly, scope, held: None, hash: None, read: 0, earlier }
    }

    /// Cuts what a reader gives, and says how many bytes that was.
    pub(super) fn cut(
        &mut self,
        reader: impl Read,
        buffer: &mut Vec<u8>,
    ) -> std::result::Result<u64, Failed> {
        let repo = self.work.repo;
        let cutting = match self.assembly.layout {
            Layout::PageRuns => Cutting::PageRuns(PageRuns::new(repo.config.run)?),
            Layout::Stream => Cutting::Stream(Arc::clone(&repo.chunker)),
        };
        let mut pieces = Pieces::with_buffer(reader, cutting, std::mem::take(buffer));
        let before = self.read;
        for piece in pieces.by_ref() {
            self.piece(piece?)?;
        }
        *buffer = pieces.into_buffer();
        Ok(self.read - before)
    }

    /// Takes a stretch of zeroes that is no data.
    pub(super) fn hole(&mut self, len: u64) -> Result<()> {
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

    fn dispatch(&mut self, piece: Vec<u8>) -> Result<()> {
        let work = self.work;
        let permit = work.writer.reserve(piece.len())?;
        let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        let place = self.assembly.push(ListItem::Chunk { id: BlobId::new([0; 32]), len });
        let class = if self.assembly.layout == Layout::PageRuns { PackClass::Runs } else { PackClass::Media };
        let previous = self.earlier.at(place)?;
        let assembly = Arc::clone(self.assembly);
        let offer = Offer { kind: BlobKind::Data, class, packing: assembly.packing, previous };
        assembly.outstanding.fetch_add(1, Ordering::SeqCst);
        self.scope.spawn(move |_| {
            if work.writer.cancel.is_cancelled() {
                return;
            }
            let done = work.writer.guard(|| {
                let stored = work.writer.put(offer, piece, permit);
                work.observer.add(Counter::Bytes, len.into());
                let id = stored?;
                if previous != Some(id) {
                    assembly.is_new.store(true, Ordering::Relaxed);
                }
                assembly.fill(place, ListItem::Chunk { id, len });
                assembly.one_done(work)
            });
            if let Err(e) = done {
                work.writer.fail(e);
            }
        });
        Ok(())
    }

    /// Hands on what is left.
    pub(super) fn finish(mut self) -> Result<Cut> {
        let mut name = None;
        if let Some(only) = self.held.take() {
            // Named once more by the worker: that is cheap, and only databases need it here.
            name = self.assembly.line.as_ref().map(|_| self.work.repo.name(BlobKind::Data, &only));
            self.dispatch(only)?;
        }
        let hash = self.hash.map(|hash| hash.finish());
        Ok(Cut { hash, name: hash.or(name), len: self.read })
    }
}

impl Assembly {
    /// A file of this folder, which waits for it.
    pub(super) fn new(folder: &Arc<Folder>, nature: &Nature, line: Option<Line>) -> Arc<Self> {
        Arc::new(Self {
            folder: Arc::clone(folder),
            layout: nature.layout(),
            packing: nature.packing,
            line,
            items: Mutex::default(),
            outstanding: AtomicUsize::new(1),
            is_new: AtomicBool::new(false),
            end: Mutex::default(),
            database: None,
            log: Mutex::default(),
        })
    }

    /// The damaged log of this database, which waits for it.
    pub(super) fn with_log(self: &Arc<Self>) -> Arc<Self> {
        self.outstanding.fetch_add(1, Ordering::SeqCst);
        Arc::new(Self {
            folder: Arc::clone(&self.folder),
            layout: Layout::Stream,
            packing: Packing::Tried,
            line: None,
            items: Mutex::default(),
            outstanding: AtomicUsize::new(1),
            is_new: AtomicBool::new(false),
            end: Mutex::default(),
            database: Some(Arc::clone(self)),
            log: Mutex::default(),
        })
    }

    /// Says that a database's damaged log was read: so many bytes, and the hash of the whole.
    pub(super) fn end_log(&self, work: &Work<'_>, cut: &Cut) -> Result<()> {
        let node = Node { size: cut.len, hash: cut.hash, ..Node::new(Vec::new(), NodeKind::File) };
        self.end(work, Ending { node, key: UNTRUSTED, checked: Checked::No })
    }

    /// Says what the reader knows at the end; content and hash follow when the last piece is stored.
    pub(super) fn end(&self, work: &Work<'_>, ending: Ending) -> Result<()> {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(ending);
        self.one_done(work)
    }

    /// True once it is known that this is another content than before, which may be long before its end.
    pub(super) fn is_new(&self) -> bool {
        self.is_new.load(Ordering::Relaxed)
    }

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
        let Some(Ending { mut node, key, checked }) = end else { return Ok(()) };
        let items = std::mem::take(&mut *self.items());
        node.content = match items.as_slice() {
            [] => Content::None,
            [ListItem::Chunk { id, .. }] => {
                node.hash = None;
                Content::Chunk(*id)
            }
            items => Content::List(write_list(work.writer, &work.boundaries, self.list_layout(work), items)?),
        };
        if node.content == Content::None {
            node.hash = None;
        }
        if let Some(database) = &self.database {
            let log = DamagedLog { size: node.size, content: node.content, hash: node.hash };
            *database.log.lock().unwrap_or_else(PoisonError::into_inner) =
                (node.content != Content::None).then_some(log);
            return database.one_done(work);
        }
        if let Some(database) = &mut node.database {
            database.damaged_log = *self.log.lock().unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(line) = &self.line {
            work.lineages.add(Lineage {
                path: self.folder.path.join(&node.name),
                id: line.id,
                page_size: node.database.as_ref().map_or(0, |database| database.page_size),
                size: node.size,
                content: node.content,
                hash: node.content_hash(),
                samples: samples(&items),
                checked,
            });
        }
        self.finish(work, &node, key)
    }

    fn list_layout(&self, work: &Work<'_>) -> ListLayout<'_> {
        match self.layout {
            Layout::Stream => ListLayout::Stream,
            Layout::PageRuns => {
                let previous = self.line.as_ref().map_or(&[][..], |line| &line.pages);
                ListLayout::PageRuns { run: work.repo.config.run, previous }
            }
        }
    }

    fn finish(&self, work: &Work<'_>, node: &Node, key: StatKey) -> Result<()> {
        let bytes = encode_node(node);
        let before = self.folder.previous.as_ref().and_then(|p| p.find(&node.name));
        let status = Status::of(before.map(|before| before.node), &bytes);
        work.compare_file(&self.folder, before, status, node);
        work.count_file(status, node.size);
        work.found(&self.folder, &node.name, status);
        work.observer.add(Counter::Files, 1);
        self.folder.push(RowEntry { name: &node.name, key, kind: NodeKind::File, node: &bytes });
        self.folder.one_done(work)
    }
}

/// The sampled runs of a database's list.
fn samples(items: &[ListItem]) -> Vec<Sample> {
    sampled_runs(items.len() as u64)
        .filter_map(|run| match items.get(run as usize)? {
            ListItem::Chunk { id, .. } => Some(sample(run, id)),
            ListItem::Hole { .. } => None,
        })
        .collect()
}

/// The longest chunk fits into a blob: the two limits stand in one layer each and are compared here.
const _: () = assert!(crate::chunk::MAX_CHUNK_LEN <= crate::format::pack::MAX_BLOB_LEN);
const _: () = assert!(crate::codec::MAX_BLOB_LEN == crate::format::pack::MAX_BLOB_LEN);
