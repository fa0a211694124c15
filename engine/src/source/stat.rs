//! What the file system knows of an entry.

use super::Owners;
use crate::base::Timestamp;
use crate::model::{Node, NodeKind};
use rustix::fs::{FileType, major, minor};
use std::io;

/// The metadata of one entry, of the entry itself and not of what a link points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: NodeKind,
    /// Number of the file system.
    pub dev: u64,
    /// Number within the file system.
    pub ino: u64,
    /// Number of names of this file.
    pub nlink: u64,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    /// Owner by number.
    pub uid: u32,
    /// Group by number.
    pub gid: u32,
    /// Bytes of the content; of the target for a link; whatever the file system says for the rest.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of content or metadata, which no program can set.
    pub ctime: Timestamp,
    /// Major and minor number of a device; zeroes for everything else.
    pub device: (u32, u32),
    /// Units of 512 bytes that the file system uses for the content.
    pub blocks: u64,
}

impl Stat {
    /// Takes what the system says; an error of kind `Unsupported` for a kind of entry that is not known.
    pub(super) fn from_system(raw: &rustix::fs::Stat) -> io::Result<Self> {
        let kind = kind(FileType::from_raw_mode(raw.st_mode))
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "this kind of entry is not known"))?;
        let is_device = matches!(kind, NodeKind::CharDevice | NodeKind::BlockDevice);
        Ok(Self {
            kind,
            dev: raw.st_dev,
            ino: raw.st_ino,
            nlink: widen(raw.st_nlink),
            mode: raw.st_mode & 0o7777,
            uid: raw.st_uid,
            gid: raw.st_gid,
            size: unsigned(raw.st_size),
            mtime: time(raw.st_mtime, widen(raw.st_mtime_nsec)),
            ctime: time(raw.st_ctime, widen(raw.st_ctime_nsec)),
            device: if is_device { (major(raw.st_rdev), minor(raw.st_rdev)) } else { (0, 0) },
            blocks: unsigned(raw.st_blocks),
        })
    }

    /// The node of an entry as far as this tells: without its content, and without what only some kinds have.
    #[must_use]
    pub fn node(&self, name: &[u8], owners: &Owners) -> Node {
        Node {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            user: owners.user(self.uid).map(str::to_owned),
            group: owners.group(self.gid).map(str::to_owned),
            mtime: Some(self.mtime),
            ..Node::new(name.to_vec(), self.kind)
        }
    }

    /// When the file system last stamped it: the time of status change, or that of content where there is no such time.
    #[must_use]
    pub fn stamp(&self) -> Timestamp {
        if self.ctime == Timestamp::default() { self.mtime } else { self.ctime }
    }

    /// File system and number: what makes it this entry and no other.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    /// True if the content takes less room than its size: it has holes, or is compressed by the file system.
    #[must_use]
    pub fn may_have_holes(&self) -> bool {
        self.blocks.saturating_mul(512) < self.size
    }
}

impl TryFrom<&rustix::fs::Stat> for Stat {
    type Error = io::Error;

    fn try_from(raw: &rustix::fs::Stat) -> io::Result<Self> {
        Self::from_system(raw)
    }
}

/// The kind of an entry as the model names it.
pub(super) fn kind(file_type: FileType) -> Option<NodeKind> {
    Some(match file_type {
        FileType::RegularFile => NodeKind::File,
        FileType::Directory => NodeKind::Dir,
        FileType::Symlink => NodeKind::Symlink,
        FileType::Fifo => NodeKind::Fifo,
        FileType::Socket => NodeKind::Socket,
        FileType::CharacterDevice => NodeKind::CharDevice,
        FileType::BlockDevice => NodeKind::BlockDevice,
        FileType::Unknown => return None,
    })
}

/// The widths of these fields differ between processors.
fn widen(number: impl Into<u64>) -> u64 {
    number.into()
}

/// A length that the system's interface has as signed; a negative one (a broken file system) counts as none.
fn unsigned(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(0)
}

fn time(secs: i64, nanos: u64) -> Timestamp {
    Timestamp::new(secs, u32::try_from(nanos).unwrap_or(0))
}
