//! An entry of a folder, and what a file's content consists of.

use crate::base::{BlobId, Timestamp};

/// What kind of entry a node is. The number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum NodeKind {
    /// A regular file.
    File = 0,
    /// A folder.
    Dir = 1,
    /// A symbolic link.
    Symlink = 2,
    /// A named pipe: recorded, never opened.
    Fifo = 3,
    /// A socket: recorded, never opened.
    Socket = 4,
    /// A character device: recorded, never opened.
    CharDevice = 5,
    /// A block device: recorded, never opened.
    BlockDevice = 6,
}

impl NodeKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::File, Self::Dir, Self::Symlink, Self::Fifo, Self::Socket, Self::CharDevice, Self::BlockDevice];

    /// The kind of a stored number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| u64::from(*kind as u8) == number)
    }

    /// True for pipes, sockets and devices.
    #[must_use]
    pub fn is_special(self) -> bool {
        !matches!(self, Self::File | Self::Dir | Self::Symlink)
    }

    /// The name in JSON output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice => "chardev",
            Self::BlockDevice => "dev",
        }
    }
}

/// By which rule a file's content was cut. Decided from the content and recorded. The number is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Layout {
    /// FastCDC under the repository's table.
    #[default]
    Stream = 0,
    /// Runs of a fixed number of bytes, aligned to the pages of a database.
    PageRuns = 1,
}

impl Layout {
    /// The layout of a stored number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Stream, Self::PageRuns].into_iter().find(|layout| u64::from(*layout as u8) == number)
    }
}

/// Where the content of a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Content {
    /// There is none: an empty file, or no file at all.
    #[default]
    None,
    /// The whole content is this one blob.
    Chunk(BlobId),
    /// The content is what this list's leaves name, one after the other.
    List(BlobId),
}

/// One piece of a content list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListItem {
    /// A data blob and the bytes of its plaintext.
    Chunk {
        /// The blob.
        id: BlobId,
        /// Bytes of its plaintext.
        len: u32,
    },
    /// Bytes that are zero because the source had a hole there.
    Hole {
        /// Bytes of the hole.
        len: u64,
    },
}

impl ListItem {
    /// Bytes of the file that this piece stands for.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Chunk { len, .. } => u64::from(*len),
            Self::Hole { len } => *len,
        }
    }

    /// True for a piece of no bytes, which is never stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// In which way a database got into the snapshot. The number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DatabaseState {
    /// Nothing was pending: its own bytes are one committed state.
    Quiescent = 0,
    /// An app may have been writing: main file and sidecars are stored as they lay, which may not fit together.
    AsItLay = 1,
    /// The committed frames of the sidecars were laid over the main file.
    Captured = 2,
    /// Main file and log (or journal) were captured in one committed state and are stored beside each other.
    Pair = 3,
}

impl DatabaseState {
    /// The state of a stored number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Quiescent, Self::AsItLay, Self::Captured, Self::Pair]
            .into_iter()
            .find(|state| u64::from(*state as u8) == number)
    }
}

/// What is recorded of a file that is a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// How it was taken.
    pub state: DatabaseState,
    /// Bytes of a page.
    pub page_size: u32,
    /// Names of the sidecars that belonged to this state (stored beside it, or merged into it).
    pub sidecars: Vec<Vec<u8>>,
    /// Its write-ahead log as it was, if that was damaged: part of what the app had committed is only there.
    pub damaged_log: Option<DamagedLog>,
}

/// The bytes of a damaged write-ahead log, which are kept beside the image of its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedLog {
    /// Bytes.
    pub size: u64,
    /// Where they are: never nowhere.
    pub content: Content,
    /// Name of the whole content, if it is a list.
    pub hash: Option<BlobId>,
}

impl DamagedLog {
    /// What the name of the entry that stands for it adds to its database's. SQLite takes it for nothing of its own.
    pub const SUFFIX: &'static [u8] = b"-wal.damaged";
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The name as bytes: 1 to 4,096, no `/`, no NUL, neither `.` nor `..`.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    /// Owner by number.
    pub uid: u32,
    /// Group by number.
    pub gid: u32,
    /// Owner by name, where it had one.
    pub user: Option<String>,
    /// Group by name, where it had one.
    pub group: Option<String>,
    /// Last change of the content. Left out for the folders above the sources.
    pub mtime: Option<Timestamp>,
    /// Bytes of the content of a file; 0 for everything else.
    pub size: u64,
    /// By which rule the content was cut.
    pub layout: Layout,
    /// Where the content is.
    pub content: Content,
    /// Name of the whole content under the key of data blobs; left out where there is none or it is one chunk.
    pub hash: Option<BlobId>,
    /// Where a symbolic link points, as bytes.
    pub target: Option<Vec<u8>>,
    /// Files of one snapshot with the same number are one file with several names.
    pub hard_link: Option<u64>,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// Extended attributes, by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The root page of a folder.
    pub subtree: Option<BlobId>,
    /// True if the file changed while it was read.
    pub changed_while_read: bool,
    /// What is known of it as a database.
    pub database: Option<Database>,
}

impl Node {
    /// A node of this name and kind, with nothing else known.
    #[must_use]
    pub fn new(name: Vec<u8>, kind: NodeKind) -> Self {
        Self {
            name,
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            mtime: None,
            size: 0,
            layout: Layout::Stream,
            content: Content::None,
            hash: None,
            target: None,
            hard_link: None,
            device: None,
            xattrs: Vec::new(),
            subtree: None,
            changed_while_read: false,
            database: None,
        }
    }

    /// The entry that stands for a database's damaged write-ahead log: a file beside it.
    #[must_use]
    pub fn damaged_log(&self) -> Option<Self> {
        let log = self.database.as_ref()?.damaged_log?;
        Some(Self {
            name: [self.name.as_slice(), DamagedLog::SUFFIX].concat(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            user: self.user.clone(),
            group: self.group.clone(),
            mtime: self.mtime,
            size: log.size,
            content: log.content,
            hash: log.hash,
            ..Self::new(Vec::new(), NodeKind::File)
        })
    }

    /// The name of the whole content; `None` for an empty file and for everything that is no file.
    #[must_use]
    pub fn content_hash(&self) -> Option<BlobId> {
        match self.content {
            Content::Chunk(id) => Some(id),
            Content::List(_) => self.hash,
            Content::None => None,
        }
    }
}
