//! A snapshot against the source as it is now.

use super::compare::{Compare, Entry, Side, is_captured};
use super::stored::Stored;
use super::{DiffStatistics, find};
use crate::base::{BlobId, Error, Observer, Phase, Result, StoredPath, Warning, WarningKind};
use crate::model::{BlobKind, Change, DatabaseState, Node, NodeKind};
use crate::repo::{Repo, Snapshot};
use crate::source::{self, Descent, Named, Neighbours, Owners, SourceDir, SourceFile, Stat, xattrs_of_entry};
use crate::sqlite::capture::{Failed, Kind, Patience, Sidecar, capture};
use crate::sqlite::{Image, encrypted};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Bytes of a file that are read at once.
const READ: usize = 1 << 20;

/// How to look at the source.
#[derive(Clone, Copy, Debug)]
pub struct LiveOptions<'o> {
    /// Folders of this program, which no snapshot holds.
    pub own_folders: &'o [PathBuf],
    /// Names of owners and groups.
    pub owners: &'o Owners,
    /// Reads every file, even if its size and time of modification are the stored ones.
    pub check_content: bool,
}

/// Hands every difference between a snapshot and its sources as they are now to `visit`, source by source. What cannot be
/// read is told to the observer, and nothing is said of it. A file whose size and time of modification (to the
/// nanosecond) are the stored ones counts as unchanged, unless the options say otherwise; any other of the same size is
/// read. What has no stored content is nowhere named: the nodes of the source have none.
///
/// # Errors
/// [`crate::base::Kind::Usage`] for a snapshot of a stream; what `visit` fails with. Stored folders that cannot be read
/// whole are told to `observer`, and the others compared.
pub fn live(
    repo: &Repo,
    snapshot: &Snapshot,
    options: &LiveOptions<'_>,
    observer: &dyn Observer,
    visit: &mut dyn FnMut(&Change) -> Result<()>,
) -> Result<DiffStatistics> {
    if snapshot.manifest.is_stream {
        return Err(Error::new(
            crate::base::Kind::Usage,
            "compare with the source of snapshot",
            snapshot.id.short(),
        )
        .because("it arrived on standard input, and has no source"));
    }
    observer.phase(Phase::Comparing);
    let own: Vec<(u64, u64)> = options
        .own_folders
        .iter()
        .filter_map(|path| SourceDir::open(path).ok()?.stat().ok())
        .map(|stat| (stat.dev, stat.ino))
        .collect();
    let mut statistics = DiffStatistics::default();
    for path in &snapshot.manifest.paths {
        let stored = find(repo, snapshot, path)?;
        let folder = path.parent().unwrap_or_else(StoredPath::root);
        let links = &snapshot.manifest.links;
        let mut now = Live { repo, options, own: &own, links, observer, levels: Vec::new(), descent: None };
        let was_link = stored.as_ref().is_some_and(|node| node.kind == NodeKind::Symlink);
        now.start(path, !was_link);
        let mut compare = Compare::new(repo, folder, Stored::new(repo, observer, stored), now);
        compare.statistics = statistics;
        compare.run(observer, visit)?;
        statistics = compare.statistics;
    }
    Ok(statistics)
}

/// The file system as one side of a comparison.
struct Live<'a> {
    repo: &'a Repo,
    options: &'a LiveOptions<'a>,
    own: &'a [(u64, u64)],
    /// Links that the snapshot followed.
    links: &'a [(StoredPath, Vec<u8>)],
    observer: &'a dyn Observer,
    levels: Vec<Level>,
    /// The folder where we are; for the start the one above it. None at a start that is not there, or is `/`.
    descent: Option<Descent>,
}

struct Level {
    entries: std::vec::IntoIter<source::Entry>,
    head: Option<Entry>,
}

impl Live<'_> {
    /// Begins with one path as the only entry of the folder above it. A link is followed if the snapshot did so.
    fn start(&mut self, path: &StoredPath, follows: bool) {
        let opened = if path.is_root() {
            SourceDir::open(&path.to_fs()).and_then(|dir| {
                let stat = dir.stat()?;
                Ok((Descent::new(dir)?, stat))
            })
        } else if follows {
            Named::open(&path.to_fs()).and_then(|named| Ok((Descent::new(named.dir)?, named.stat)))
        } else {
            let above = path.parent().unwrap_or_else(StoredPath::root).to_fs();
            SourceDir::open(&above).and_then(|dir| {
                let stat = dir.stat_of(path.name())?;
                Ok((Descent::new(dir)?, stat))
            })
        };
        let name = path.name().to_vec();
        let entry = match opened {
            Ok((descent, stat)) => {
                self.descent = Some(descent);
                source::Entry { name, stat: Ok(stat) }
            }
            Err(e) => source::Entry { name, stat: Err(e) },
        };
        let is_gone = matches!(&entry.stat, Err(e) if is_not_there(e));
        let entries = if is_gone { Vec::new() } else { vec![entry] };
        self.levels.push(Level { entries: entries.into_iter(), head: None });
    }

    fn unreadable(&self, path: &StoredPath, error: &io::Error) {
        let message = format!("Cannot be compared: {error}");
        self.observer.warn(&Warning { kind: WarningKind::Unreadable, path: Some(path.clone()), message });
    }

    /// The node of an entry; nothing for this program's own folders and for what has gone since it was listed.
    fn node(&self, entry: source::Entry, path: &StoredPath) -> Option<Entry> {
        let source::Entry { name, stat } = entry;
        let made = stat.and_then(|stat| Ok((stat, self.make(&name, &stat)?)));
        match made {
            Ok((stat, _))
                if stat.kind == NodeKind::Symlink && self.links.iter().any(|(link, _)| link == path) =>
            {
                let why = "the snapshot holds what this link leads to; compare a snapshot of the link alone";
                self.unreadable(path, &io::Error::other(why));
                Some(Entry { name, node: None })
            }
            Ok((stat, _)) if stat.kind == NodeKind::Dir && self.own.contains(&(stat.dev, stat.ino)) => None,
            Ok((_, node)) => Some(Entry { name, node: Some(node) }),
            Err(e) if is_not_there(&e) => None,
            Err(e) => {
                self.unreadable(path, &e);
                Some(Entry { name, node: None })
            }
        }
    }

    fn make(&self, name: &[u8], stat: &Stat) -> io::Result<Node> {
        let mut node = stat.node(name, self.options.owners);
        match stat.kind {
            NodeKind::File => node.size = self.size(name, stat)?,
            NodeKind::Symlink => node.target = Some(self.here()?.read_link(name, stat.size)?),
            NodeKind::CharDevice | NodeKind::BlockDevice => node.device = Some(stat.device),
            _ => {}
        }
        if !name.is_empty() {
            // What was too much for a snapshot is in none.
            let too_many = |e: &io::Error| e.kind() == io::ErrorKind::FileTooLarge;
            node.xattrs = match xattrs_of_entry(self.here()?, name) {
                Err(e) if too_many(&e) => Vec::new(),
                xattrs => xattrs?,
            };
        }
        Ok(node)
    }

    /// The bytes of a file, also where the file system tells 0 for what has some (proc, some FUSE).
    fn size(&self, name: &[u8], stat: &Stat) -> io::Result<u64> {
        if stat.size > 0 {
            return Ok(stat.size);
        }
        let file = self.here()?.open_file(name)?;
        io::copy(&mut file.reader(0, u64::MAX), &mut io::sink())
    }

    fn here(&self) -> io::Result<&SourceDir> {
        self.descent.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?.here()
    }

    /// The name of the content of a file, read in one pass; with the length, as it may have changed meanwhile.
    fn hash(&self, name: &[u8]) -> Result<io::Result<(BlobId, u64)>> {
        let file = match self.here().and_then(|here| here.open_file(name)) {
            Ok(file) => file,
            Err(e) => return Ok(Err(e)),
        };
        file.advise_sequential();
        self.hash_of(&mut file.reader(0, u64::MAX))
    }

    fn hash_of(&self, reader: &mut dyn Read) -> Result<io::Result<(BlobId, u64)>> {
        let mut hash = self.repo.id_key(BlobKind::Data).stream();
        let mut buffer = vec![0; READ];
        let mut len = 0;
        loop {
            self.repo.session().cancel.check()?;
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(Ok((hash.finish(), len))),
                Ok(count) => {
                    hash.update(buffer.get(..count).unwrap_or_default());
                    len += count as u64;
                }
                Err(e) => return Ok(Err(e)),
            }
        }
    }
}

impl Live<'_> {
    /// True if a database is in another committed state than the stored one; none if it cannot be read.
    fn has_other_state(&self, before: &Node, after: &Node, path: &StoredPath) -> Result<Option<bool>> {
        let unreadable = |e: io::Error| {
            self.unreadable(path, &e);
            Ok(None)
        };
        let here = match self.here() {
            Ok(here) => here,
            Err(e) => return unreadable(e),
        };
        let beside = Neighbours { dir: here, name: &after.name };
        let is_quiet = before.database.as_ref().is_some_and(|d| d.state == DatabaseState::Quiescent)
            && [Sidecar::Wal, Sidecar::Journal].into_iter().all(|sidecar| !beside.has_bytes(sidecar));
        if is_quiet && !self.options.check_content && (before.size, before.mtime) == (after.size, after.mtime)
        {
            return Ok(Some(false));
        }
        // An app may replace its database while it is read.
        for _ in 0..OPEN_TRIES {
            let file = match here.open_file(&after.name) {
                Ok(file) => file,
                Err(e) => return unreadable(e),
            };
            match self.captured(&file, &beside, before) {
                Ok((_, 0)) => return Ok(Some(before.size != 0)),
                Ok((hash, len)) => {
                    return Ok(Some(len != before.size || Some(hash) != before.content_hash()));
                }
                Err(Failed::Replaced) => {}
                Err(Failed::Impossible(why)) => return unreadable(io::Error::other(why.to_string())),
                Err(Failed::Io(_, e) | Failed::Read(Unread::Source(e))) => return unreadable(e),
                Err(Failed::Read(Unread::Run(e))) => return Err(e),
            }
        }
        unreadable(io::Error::other("its app replaced it each time it was read"))
    }

    /// Name and length of a database's committed state.
    fn captured(
        &self,
        file: &SourceFile,
        beside: &Neighbours<'_>,
        before: &Node,
    ) -> std::result::Result<(BlobId, u64), Failed<Unread>> {
        let session = self.repo.session();
        let (pause, now) = (|time| (session.pause)(time), || session.now());
        let patience = Patience::new(&pause, &now);
        let kind = before.database.as_ref().map_or(Kind::Plain, |_| kind_now(file));
        let mut read = |image: &Image<'_>| match self.hash_of(&mut image.reader()) {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(e)) => Err(Unread::Source(e)),
            Err(e) => Err(Unread::Run(e)),
        };
        capture(file.as_fd(), beside, kind, &patience, &mut read).map(|captured| captured.value)
    }
}

/// Times that a database which its app replaces is opened.
const OPEN_TRIES: usize = 10;

/// Why the content of a file has no name.
enum Unread {
    Source(io::Error),
    Run(Error),
}

/// What kind of database a file is that was one when it was stored.
fn kind_now(file: &SourceFile) -> Kind {
    let mut head = Vec::with_capacity(encrypted::HEAD_LEN);
    match file.reader(0, encrypted::HEAD_LEN as u64).read_to_end(&mut head) {
        Ok(_) => encrypted::kind_of(&head).map_or(Kind::Encrypted, |(kind, _)| kind),
        // It fails again when all of it is read, and is told then.
        Err(_) => Kind::Plain,
    }
}

fn is_not_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Side for Live<'_> {
    fn peek(&mut self, folder: &StoredPath) -> Result<Option<&Entry>> {
        while let Some(level) = self.levels.last_mut().filter(|level| level.head.is_none()) {
            let Some(entry) = level.entries.next() else { break };
            let path = folder.join(&entry.name);
            let head = self.node(entry, &path);
            if let Some(level) = self.levels.last_mut() {
                level.head = head;
            }
        }
        Ok(self.levels.last().and_then(|level| level.head.as_ref()))
    }

    fn take(&mut self) -> Option<Entry> {
        self.levels.last_mut()?.head.take()
    }

    fn enter(&mut self, node: &Node, path: &StoredPath) -> Result<bool> {
        // The root is the folder that is open already.
        let entered = match &mut self.descent {
            Some(descent) if node.name.is_empty() => descent.here().and_then(SourceDir::entries),
            Some(descent) => match descent.enter(&node.name) {
                Ok(()) => descent.here().and_then(SourceDir::entries).inspect_err(|_| {
                    let _back_where_we_were = descent.leave();
                }),
                Err(e) => Err(e),
            },
            None => return Ok(false),
        };
        match entered {
            Ok(entries) => {
                self.levels.push(Level { entries: entries.into_iter(), head: None });
                Ok(true)
            }
            Err(e) => {
                self.unreadable(path, &e);
                Ok(false)
            }
        }
    }

    fn leave(&mut self, folder: &StoredPath) -> bool {
        self.levels.pop();
        let left = self.descent.as_mut().map_or(Ok(()), Descent::leave);
        // It fails when the folder above was moved away while we were below it.
        left.inspect_err(|e| self.unreadable(folder, e)).is_ok()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn has_other_content(&mut self, before: &Node, after: &Node, path: &StoredPath) -> Result<Option<bool>> {
        if is_captured(before) {
            return self.has_other_state(before, after, path);
        }
        if before.mtime == after.mtime && !self.options.check_content {
            return Ok(Some(false));
        }
        match self.hash(&after.name)? {
            Ok((_, 0)) => Ok(Some(before.size != 0)),
            Ok((hash, len)) => Ok(Some(len != before.size || Some(hash) != before.content_hash())),
            Err(e) => {
                self.unreadable(path, &e);
                Ok(None)
            }
        }
    }
}
