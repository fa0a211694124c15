//! The bytes of a file: its pieces in order, read ahead by several threads, checked piece by piece and as a whole.

use crate::base::hash::IdStream;
use crate::base::{BlobId, Cancel, Error, Kind, Result};
use crate::model::{BlobKind, Content, ListItem, Node};
use crate::repo::Repo;
use crossbeam_channel::{Receiver, bounded};
use rayon::{Scope, ThreadPool, ThreadPoolBuilder};
use std::collections::VecDeque;
use std::io::Write;

/// Bytes of one file that are read ahead.
const WINDOW: u64 = 16 << 20;
/// Bytes that all files which are read at the same time may read ahead together.
const ALL_WINDOWS: u64 = 48 << 20;
/// Pieces of one file that are read ahead, holes included.
const MOST_PIECES: usize = 512;
/// Zeroes for the hash and for writing; long enough for the hash to use all of the processor.
const ZEROES: &[u8] = &[0; 256 << 10];

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes.
    Data(Vec<u8>),
    /// So many zero bytes where the source had a hole.
    Hole(u64),
}

/// Writes the content of a file to `out`, holes as zeroes. What is no file has none.
///
/// # Errors
/// [`Kind::Damaged`] if a piece or the whole is not what was stored; by then the bytes before, or all, are written.
/// [`Kind::Io`] if `out` fails; the cause is the `std::io::Error`.
pub fn write_content(repo: &Repo, node: &Node, out: &mut dyn Write, cancel: &Cancel) -> Result<()> {
    let failed = |e| Error::io("write", "the output", e);
    for_each_piece(repo, node, cancel, &mut |piece| match piece {
        Piece::Data(bytes) => out.write_all(&bytes).map_err(failed),
        Piece::Hole(len) => each_zeroes(len, |zeroes| {
            cancel.check()?;
            out.write_all(zeroes).map_err(failed)
        }),
    })?;
    out.flush().map_err(failed)
}

/// Hands the pieces of a file to `visit`, in order; see [`ContentReader::for_each_piece`], which serves many files
/// better.
pub fn for_each_piece(
    repo: &Repo,
    node: &Node,
    cancel: &Cancel,
    visit: &mut dyn FnMut(Piece) -> Result<()>,
) -> Result<()> {
    match node.content {
        Content::List(_) => ContentReader::new(repo, 1)?.for_each_piece(node, cancel, visit),
        _ => read_short(repo, node, visit),
    }
}

/// Reads files, with threads that read ahead.
#[derive(Debug)]
pub struct ContentReader<'r> {
    repo: &'r Repo,
    pool: ThreadPool,
    window: u64,
}

impl<'r> ContentReader<'r> {
    /// A reader for so many files at the same time.
    pub fn new(repo: &'r Repo, at_once: usize) -> Result<Self> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(repo.session().threads.max(1))
            .thread_name(|n| format!("read ahead {n}"))
            .build()
            .map_err(|e| Error::new(Kind::Io, "start", "threads for reading").because(e))?;
        Ok(Self { repo, pool, window: WINDOW.min(ALL_WINDOWS / (at_once.max(1) as u64)) })
    }

    /// Hands the pieces of a file to `visit` on this thread, in order; nothing for an empty file or no file.
    ///
    /// # Errors
    /// What `visit` fails with; [`Kind::Damaged`] if a piece or the length is not what was stored. The hash of the whole is
    /// compared after the last piece: only after success is what was handed over known to be what was stored.
    pub fn for_each_piece(
        &self,
        node: &Node,
        cancel: &Cancel,
        visit: &mut dyn FnMut(Piece) -> Result<()>,
    ) -> Result<()> {
        cancel.check()?;
        let Content::List(root) = node.content else { return read_short(self.repo, node, visit) };
        // Raised when we end early: what is still to be read ahead is then not read.
        let stop = cancel.child();
        self.pool.in_place_scope(|scope| {
            let mut ahead = Ahead::new(self, node, &stop, scope, visit);
            let done =
                self.repo.each_list_item(&root, &mut |item| ahead.add(item)).and_then(|()| ahead.finish());
            stop.cancel();
            done
        })
    }
}

/// Content that is at most one blob.
fn read_short(repo: &Repo, node: &Node, visit: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
    match node.content {
        Content::Chunk(id) => {
            let plain = repo.read_blob(BlobKind::Data, &id)?;
            if plain.len() as u64 != node.size {
                return Err(wrong_length());
            }
            visit(Piece::Data(plain))
        }
        _ if node.size == 0 => Ok(()),
        _ => Err(wrong_length()),
    }
}

fn wrong_length() -> Error {
    Error::damaged("read", "the content of a file", "its pieces do not add up to its length")
}

/// A piece that is on its way.
enum Pending {
    Chunk(Receiver<Result<Vec<u8>>>, u32),
    Hole(u64),
}

/// The pieces between the list and `visit`.
struct Ahead<'a, 'scope> {
    repo: &'scope Repo,
    scope: &'a Scope<'scope>,
    stop: &'scope Cancel,
    visit: &'a mut dyn FnMut(Piece) -> Result<()>,
    queue: VecDeque<Pending>,
    window: u64,
    bytes_ahead: u64,
    /// Bytes of the file that the list has not named yet.
    left: u64,
    hash: IdStream,
    expected: Option<BlobId>,
}

impl<'a, 'scope> Ahead<'a, 'scope> {
    fn new(
        reader: &ContentReader<'scope>,
        node: &Node,
        stop: &'scope Cancel,
        scope: &'a Scope<'scope>,
        visit: &'a mut dyn FnMut(Piece) -> Result<()>,
    ) -> Self {
        Self {
            repo: reader.repo,
            scope,
            stop,
            visit,
            queue: VecDeque::new(),
            window: reader.window,
            bytes_ahead: 0,
            left: node.size,
            hash: reader.repo.id_key(BlobKind::Data).stream(),
            expected: node.content_hash(),
        }
    }

    fn add(&mut self, item: ListItem) -> Result<()> {
        self.stop.check()?;
        self.left = self.left.checked_sub(item.len()).ok_or_else(wrong_length)?;
        match item {
            ListItem::Hole { len } => self.queue.push_back(Pending::Hole(len)),
            ListItem::Chunk { id, len } => {
                let (sender, receiver) = bounded(1);
                let (repo, stop) = (self.repo, self.stop);
                self.scope.spawn(move |_| {
                    let read = stop.check().and_then(|()| repo.read_piece(&id));
                    // Nobody waits for it any more when the reading ended early.
                    let _ = sender.send(read);
                });
                self.bytes_ahead += u64::from(len);
                self.queue.push_back(Pending::Chunk(receiver, len));
            }
        }
        while self.bytes_ahead > self.window || self.queue.len() > MOST_PIECES {
            self.deliver()?;
        }
        Ok(())
    }

    /// Waits for the first piece, checks it and hands it over.
    fn deliver(&mut self) -> Result<()> {
        match self.queue.pop_front() {
            None => Ok(()),
            Some(Pending::Hole(len)) => {
                each_zeroes(len, |zeroes| {
                    self.stop.check()?;
                    self.hash.update(zeroes);
                    Ok(())
                })?;
                (self.visit)(Piece::Hole(len))
            }
            Some(Pending::Chunk(receiver, len)) => {
                let plain = receiver.recv().map_err(|_| Error::cancelled())??;
                self.bytes_ahead -= u64::from(len);
                if plain.len() as u64 != u64::from(len) {
                    return Err(wrong_length());
                }
                self.hash.update(&plain);
                (self.visit)(Piece::Data(plain))
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        while !self.queue.is_empty() {
            self.deliver()?;
        }
        if self.left > 0 {
            return Err(wrong_length());
        }
        if self.expected == Some(self.hash.finish()) {
            return Ok(());
        }
        Err(Error::damaged("read", "the content of a file", "as a whole it is not what was stored"))
    }
}

/// Calls `each` with zeroes until `len` bytes are done.
fn each_zeroes(mut len: u64, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    while len > 0 {
        let part = usize::try_from(len).ok().and_then(|len| ZEROES.get(..len)).unwrap_or(ZEROES);
        each(part)?;
        len -= part.len() as u64;
    }
    Ok(())
}
