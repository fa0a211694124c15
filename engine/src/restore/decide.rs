//! The rule: what happens to an entry, from what the target has under its name. Nothing else decides about an entry.

use super::{Action, Overwrite};
use crate::base::hash::IdKey;
use crate::base::{BlobId, Cancel, Result, StoredPath};
use crate::model::{Node, NodeKind};
use crate::restore::target::failed;
use crate::source::{SourceDir, SourceFile, Stat};
use std::io::{self, Read};

/// Bytes that are hashed at once.
const HASH_STEP: usize = 256 * 1024;

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
    pub(super) fn beside(self, database: Action) -> Option<Self> {
        match database {
            Action::Keep => None,
            Action::Leave => Some(self),
            _ if self == Self::Refuse => Some(self),
            _ => Some(Self::Always),
        }
    }

    /// Decides about an entry by what stands at its place in an open folder. Two folders are merged: that is no question.
    pub(super) fn decide(self, folder: &SourceDir, found: Option<&Stat>, node: &Node) -> Action {
        let Some(found) = found else { return Action::Make };
        if (node.kind, found.kind) == (NodeKind::Dir, NodeKind::Dir) {
            return Action::Merge;
        }
        match self {
            Self::Never => return Action::Keep,
            Self::IfNewer if node.mtime.is_none_or(|stored| stored <= found.mtime) => return Action::Keep,
            _ => {}
        }
        if found.kind != node.kind {
            return Action::Overwrite;
        }
        match node.kind {
            NodeKind::File if found.size != node.size => Action::Overwrite,
            NodeKind::File if self == Self::IfChanged && node.mtime == Some(found.mtime) => Action::Leave,
            NodeKind::File => Action::Compare,
            NodeKind::Symlink => match folder.read_link(&node.name, found.size) {
                Ok(target) if node.target.as_ref() == Some(&target) => Action::Leave,
                _ => Action::Overwrite,
            },
            NodeKind::CharDevice | NodeKind::BlockDevice if node.device != Some(found.device) => {
                Action::Overwrite
            }
            _ => Action::Leave,
        }
    }
}

/// The hash of the first `size` bytes of an open file; none if it is shorter.
pub(super) fn hash_of(
    file: &SourceFile,
    size: u64,
    key: &IdKey,
    path: &StoredPath,
    stop: &Cancel,
) -> Result<Option<BlobId>> {
    hash_of_counted(file, size, key, path, stop, &|_| {})
}

/// As [`hash_of`]; tells how many bytes were read, step by step.
fn hash_of_counted(
    file: &SourceFile,
    size: u64,
    key: &IdKey,
    path: &StoredPath,
    stop: &Cancel,
    read_on: &dyn Fn(u64),
) -> Result<Option<BlobId>> {
    let mut hash = key.stream();
    let mut reader = file.reader(0, size);
    let mut buffer = vec![0; HASH_STEP.min(usize::try_from(size).unwrap_or(HASH_STEP))];
    let mut left = size;
    while left > 0 {
        stop.check()?;
        let read = reader.read(&mut buffer).map_err(failed("read", path))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
        hash.update(bytes);
        left = left.saturating_sub(read as u64);
        read_on(read as u64);
    }
    Ok(Some(hash.finish()))
}

/// True if an open file holds the stored content.
pub(super) fn same_content(
    file: &SourceFile,
    node: &Node,
    key: &IdKey,
    path: &StoredPath,
    stop: &Cancel,
) -> Result<bool> {
    same_content_counted(file, node, key, path, stop, &|_| {})
}

/// As [`same_content`]; tells how many bytes were read, step by step.
pub(super) fn same_content_counted(
    file: &SourceFile,
    node: &Node,
    key: &IdKey,
    path: &StoredPath,
    stop: &Cancel,
    read_on: &dyn Fn(u64),
) -> Result<bool> {
    let Some(expected) = node.content_hash() else { return Ok(node.size == 0) };
    Ok(hash_of_counted(file, node.size, key, path, stop, read_on)? == Some(expected))
}
