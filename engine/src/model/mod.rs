//! L1: plain data that the layers above hand to each other. No input, no output, no encoding.

pub mod blob;
pub mod change;
pub mod lineage;
pub mod node;
pub mod snapshot;

pub use blob::{BlobEntry, BlobKind, CodecTag, PackClass, PackRecord};
pub use change::{Change, Modifier};
pub use lineage::{Checked, Lineage, Sample};
pub use node::{Content, DamagedLog, Database, DatabaseState, Layout, ListItem, Node, NodeKind};
pub use snapshot::{Event, EventAction, Head, Manifest, Statistics, Verdict, VerdictCode};
