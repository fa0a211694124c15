//! L2: where a repository's objects lie. A store knows names and bytes, not what they mean.
//!
//! Imports `base`, and of `crypto` only the source of randomness (for temporary names). Every store passes the same
//! conformance suite.

mod local;
mod memory;
mod name;
mod recording;
#[cfg(test)]
mod suite;

pub use local::LocalStore;
pub use memory::MemoryStore;
pub use name::ObjectName;
pub use recording::{Call, Operation, RecordingStore};

use crate::base::{Result, Timestamp};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

/// One object of a store, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub name: ObjectName,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written, by the store's own clock.
    pub modified: Timestamp,
}

/// A place that keeps objects under names. Objects are written once and never changed.
///
/// A missing object is [`crate::base::Kind::NotFound`]; one that is too long, too short or no plain file is
/// [`crate::base::Kind::Damaged`].
pub trait Store: Send + Sync + Debug {
    /// Stores an object; it is durable when this returns. An object of this name with the same bytes is left as it is
    /// (that is a success), one with other bytes too ([`crate::base::Kind::AlreadyThere`]). After a failure nothing
    /// but a whole object can stand under the name.
    fn put_new(&self, name: &ObjectName, bytes: &[u8]) -> Result<()>;

    /// Reads a whole object. One longer than `max_len` bytes is refused before memory is taken for it.
    fn get(&self, name: &ObjectName, max_len: u64) -> Result<Vec<u8>>;

    /// Reads exactly `len` bytes from `offset` on.
    fn get_range(&self, name: &ObjectName, offset: u64, len: u64) -> Result<Vec<u8>>;

    /// All objects below a folder (`snapshots`, `packs`), at any depth, sorted by name; all of the store for the empty
    /// prefix. A missing folder is empty. Whatever bears a name that is no [`ObjectName`] is not shown.
    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>>;

    /// Removes an object; the removal is durable when this returns.
    fn delete(&self, name: &ObjectName) -> Result<()>;

    /// An object's size and time, `None` if it is not there.
    fn stat(&self, name: &ObjectName) -> Result<Option<ObjectInfo>>;

    /// Removes temporary files of killed runs that were last written before `older_than` by the store's own clock, and
    /// says how many. A store that has none removes none.
    fn remove_stale_temporaries(&self, _older_than: Timestamp) -> Result<u64> {
        Ok(0)
    }

    /// Bytes that can still be written, where the store can tell.
    fn free_space(&self) -> Result<Option<u64>>;

    /// Where the store is, for people: safe on a terminal.
    fn location(&self) -> String;

    /// The folder of a store in the local file system.
    fn local_path(&self) -> Option<&Path>;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn put_new(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        (**self).put_new(name, bytes)
    }

    fn get(&self, name: &ObjectName, max_len: u64) -> Result<Vec<u8>> {
        (**self).get(name, max_len)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: u64) -> Result<Vec<u8>> {
        (**self).get_range(name, offset, len)
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        (**self).list(prefix)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        (**self).delete(name)
    }

    fn stat(&self, name: &ObjectName) -> Result<Option<ObjectInfo>> {
        (**self).stat(name)
    }

    fn remove_stale_temporaries(&self, older_than: Timestamp) -> Result<u64> {
        (**self).remove_stale_temporaries(older_than)
    }

    fn free_space(&self) -> Result<Option<u64>> {
        (**self).free_space()
    }

    fn location(&self) -> String {
        (**self).location()
    }

    fn local_path(&self) -> Option<&Path> {
        (**self).local_path()
    }
}
