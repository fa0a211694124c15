//! What stands at the place of an entry, and what is to happen to it.

use super::Overwrite;
use crate::base::hash::IdKey;
use crate::base::{Cancel, Result, StoredPath};
use crate::model::{Node, NodeKind};
use crate::restore::target::failed;
use crate::source::{SourceDir, SourceFile, Stat};
use std::io::{self, Read};

/// Bytes that are compared at a time.
const COMPARE_LEN: usize = 256 * 1024;

/// What is to be done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing is there, or nothing may be.
    Make,
    /// What is there gives way.
    Replace,
    /// A file of the stored length is there, which gives way if its content is another.
    Compare,
    /// What is there is as it was stored, but for its metadata.
    Same,
    /// What is there stays.
    Keep,
}

/// What stands under a name, if anything does.
pub(super) fn look(folder: &SourceDir, name: &[u8]) -> io::Result<Option<Stat>> {
    match folder.stat_of(name) {
        Ok(stat) => Ok(Some(stat)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename) => Ok(None),
        Err(e) => Err(e),
    }
}

impl Overwrite {
    /// The rule for a sidecar, by what was decided about its database: both are of one state, or SQLite would lay the
    /// changes of one state over another. Nothing if the sidecar is not to be restored.
    pub(super) fn beside(self, database: Decision) -> Option<Self> {
        match database {
            Decision::Keep => None,
            Decision::Same => Some(self),
            _ if self == Self::Refuse => Some(self),
            _ => Some(Self::Always),
        }
    }

    /// Decides about an entry, by what stands at its place in an open folder. Two folders are merged: that is no question.
    pub(super) fn decide(self, folder: &SourceDir, found: Option<&Stat>, node: &Node) -> Decision {
        let Some(found) = found else { return Decision::Make };
        match self {
            Self::Refuse => return Decision::Make,
            Self::Never => return Decision::Keep,
            Self::IfNewer if node.mtime.is_none_or(|stored| stored <= found.mtime) => return Decision::Keep,
            _ => {}
        }
        if found.kind != node.kind {
            return Decision::Replace;
        }
        match node.kind {
            NodeKind::File if found.size != node.size => Decision::Replace,
            // Its metadata are those of its other names, too.
            NodeKind::File if found.nlink > 1 && node.hard_link.is_none() => Decision::Replace,
            NodeKind::File if self == Self::IfChanged && node.mtime == Some(found.mtime) => Decision::Same,
            NodeKind::File => Decision::Compare,
            NodeKind::Symlink => match folder.read_link(&node.name, found.size) {
                Ok(target) if node.target.as_ref() == Some(&target) => Decision::Same,
                _ => Decision::Replace,
            },
            NodeKind::CharDevice | NodeKind::BlockDevice if node.device != Some(found.device) => {
                Decision::Replace
            }
            _ => Decision::Same,
        }
    }
}

/// True if an open file holds the stored content.
pub(super) fn same_content(
    file: &SourceFile,
    node: &Node,
    key: &IdKey,
    path: &StoredPath,
    stop: &Cancel,
) -> Result<bool> {
    let Some(expected) = node.content_hash() else { return Ok(node.size == 0) };
    let mut hash = key.stream();
    let mut reader = file.reader(0, node.size);
    let mut buffer = vec![0; COMPARE_LEN.min(usize::try_from(node.size).unwrap_or(COMPARE_LEN))];
    let mut left = node.size;
    while left > 0 {
        stop.check()?;
        let read = reader.read(&mut buffer).map_err(failed("read", path))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(false) };
        hash.update(bytes);
        left = left.saturating_sub(read as u64);
    }
    Ok(hash.finish() == expected)
}
