//! L0: the words that every layer uses. Imports no other module of the engine.

pub mod buffer;
pub mod cancel;
pub mod error;
pub mod event;
pub mod hash;
pub mod id;
pub mod past_cache;
pub mod path;
pub mod stamps;
pub mod time;

pub use buffer::PageBuffer;
pub use cancel::Cancel;
pub use error::{Error, Kind, Result, Whose};
pub use event::{Counter, Found, Observer, Phase, Warning, WarningKind};
pub use id::{BlobId, IndexId, KeyId, LeaseId, LineageId, PackId, RepoId, SnapshotId, WriterId};
pub use path::StoredPath;
pub use stamps::StampClock;
pub use time::Timestamp;
