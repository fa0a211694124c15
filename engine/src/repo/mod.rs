//! L4: the repository. The only layer that joins keys, formats, the store and the catalog, and the only one that knows
//! the order of writing (`commit.rs`).
//!
//! Operations above take a `&Repo`; the repository knows no operation.

pub mod adopt;
pub mod budget;
pub mod commit;
pub mod create;
mod delta;
pub mod earlier;
pub mod events;
mod guard;
pub mod keys;
pub mod lease;
pub mod lineage;
mod local;
pub mod mirror;
pub mod objects;
pub mod open;
pub mod pages;
pub mod reader;
pub mod resting;
pub mod session;
pub mod snapshots;
mod workshop;
pub mod writer;

pub use keys::{KeySlot, Replaced};
pub use open::{claimed_kinds, verify_credential};
pub use session::{Client, Session};
pub use snapshots::Snapshot;

use crate::base::hash::IdKey;
use crate::base::{BlobId, KeyId, RepoId};
use crate::chunk::Chunker;
use crate::codec::Decompressor;
use crate::format::Config;
use crate::format::object::Sealer;
use crate::model::BlobKind;
use crate::store::{ObjectName, Store};
use local::CatalogCell;
use snapshots::ReadEvent;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// An open repository with an up-to-date catalog.
pub struct Repo {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sealer: Sealer,
    pub(crate) config: Config,
    /// The key slot that opened it.
    slot: KeyId,
    local: CatalogCell,
    pub(crate) session: Session,
    pub(crate) chunker: Arc<Chunker>,
    id_keys: [IdKey; 4],
    decompressors: Mutex<Vec<Decompressor>>,
    /// Events that were read by their names: they never change.
    events: Mutex<HashMap<ObjectName, ReadEvent>>,
    /// True once the catalog's blobs were loaded anew because a blob could not be read.
    fresh: Mutex<bool>,
    /// Where a copy of the repository was used last, if that was not this one, until the index objects were compared.
    elsewhere: Mutex<Option<String>>,
    /// What could not be read so far.
    lost: Mutex<resting::Losses>,
}

impl Repo {
    /// The repository's id.
    #[must_use]
    pub fn id(&self) -> RepoId {
        self.sealer.repo
    }

    /// Where it is, for people.
    #[must_use]
    pub fn location(&self) -> String {
        self.store.location()
    }

    /// Where it is on this machine, if it is on this machine.
    #[must_use]
    pub fn local_path(&self) -> Option<&std::path::Path> {
        self.store.local_path()
    }

    /// The session it was opened in.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The name of some content.
    #[must_use]
    pub fn name(&self, kind: BlobKind, content: &[u8]) -> BlobId {
        self.id_key(kind).name(content)
    }

    /// The key under which content of a kind is named.
    #[must_use]
    pub fn id_key(&self, kind: BlobKind) -> &IdKey {
        let [data, tree, list, secret] = &self.id_keys;
        match kind {
            BlobKind::Data => data,
            BlobKind::TreePage => tree,
            BlobKind::ListPage => list,
            BlobKind::Secret => secret,
        }
    }
}

impl std::fmt::Debug for Repo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repo")
            .field("id", &self.id())
            .field("location", &self.location())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;
