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

use crate::base::{Error, Result, Timestamp};
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

/// What a store lists.
#[derive(Debug, Default)]
pub struct Listing {
    /// The objects, sorted by name.
    pub objects: Vec<ObjectInfo>,
    /// What could not be looked at. Objects there may exist all the same.
    pub unreadable: Vec<UnreadableName>,
}

/// A folder or object that a listing could not look at.
#[derive(Debug)]
pub struct UnreadableName {
    /// The folder's name with a trailing slash, empty for the whole store; or the object's name.
    pub name: String,
    /// Why: [`crate::base::Kind::Damaged`] or [`crate::base::Kind::Denied`].
    pub error: Error,
}

impl Listing {
    /// True if an object of this name may exist: it is listed, or nobody could look.
    #[must_use]
    pub fn may_hold(&self, name: &ObjectName) -> bool {
        self.objects.binary_search_by(|info| info.name.cmp(name)).is_ok() || self.hides(name)
    }

    /// True if the name lies where nobody could look.
    #[must_use]
    pub fn hides(&self, name: &ObjectName) -> bool {
        self.unreadable.iter().any(|unreadable| {
            let is_folder = unreadable.name.is_empty() || unreadable.name.ends_with('/');
            if is_folder {
                name.as_str().starts_with(&unreadable.name)
            } else {
                name.as_str() == unreadable.name
            }
        })
    }

    /// Fails if anything could not be looked at: for those who remove what is not listed.
    ///
    /// # Errors
    /// The first reason.
    pub fn complete(self) -> Result<Vec<ObjectInfo>> {
        match self.unreadable.into_iter().next() {
            Some(first) => Err(first.error),
            None => Ok(self.objects),
        }
    }
}

/// What a store can do, as far as it is known by now: a store finds out while it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// True if of several writers of one name exactly one succeeds. Without it, two may both succeed, and the bytes of
    /// either of them stay.
    pub conditional_puts: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { conditional_puts: true }
    }
}

/// A place that keeps objects under names. Objects are written once and never changed.
///
/// Every error says that it is the repository's ([`crate::base::Whose::Repository`]). A missing object is
/// [`crate::base::Kind::NotFound`]; one that is too long, too short or no plain file, or that the disk cannot read, is
/// [`crate::base::Kind::Damaged`]; one that this user may not read is [`crate::base::Kind::Denied`]. A store that is not
/// there any more is [`crate::base::Kind::Gone`], whatever was asked.
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
    /// prefix. A missing folder is empty. Whatever bears a name that is no [`ObjectName`] is not shown. One folder that
    /// cannot be read does not hide the others.
    fn list(&self, prefix: &str) -> Result<Listing>;

    /// Removes an object; the removal is durable when this returns.
    fn delete(&self, name: &ObjectName) -> Result<()>;

    /// An object's size and time, `None` if it is not there.
    fn stat(&self, name: &ObjectName) -> Result<Option<ObjectInfo>>;

    /// What this store can do. It may turn out less with the first object that is stored.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

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

    fn list(&self, prefix: &str) -> Result<Listing> {
        (**self).list(prefix)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        (**self).delete(name)
    }

    fn stat(&self, name: &ObjectName) -> Result<Option<ObjectInfo>> {
        (**self).stat(name)
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
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
