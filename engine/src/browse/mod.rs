//! L6: looking into snapshots: which one is meant, what lies in it, the bytes of a file, in which snapshots a path was
//! what, and how much all of it takes.
//!
//! Nothing here goes down by recursion or holds a whole tree: snapshots may be deeper and wider than memory.

mod content;
pub mod find;
mod folder;
mod narrow;
mod select;
mod sharing;
pub mod stats;
mod walk;

pub use content::{ContentReader, Piece, for_each_piece, write_content};
pub use folder::FolderNodes;
pub(crate) use folder::find as find_entry;
pub use narrow::{SnapshotFilter, last_of_each};
pub use select::{Holder, Selector, select, select_among, select_holding};
pub use sharing::Sharing;
pub use walk::{Step, Walk, list, lookup};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
