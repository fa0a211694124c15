//! L6: looking into snapshots: which one is meant, what lies in it, and the bytes of a file.
//!
//! Nothing here goes down by recursion or holds a whole tree: snapshots may be deeper and wider than memory.

mod content;
mod folder;
mod select;
mod sharing;
mod walk;

pub use content::{ContentReader, Piece, for_each_piece, write_content};
pub use folder::FolderNodes;
pub use select::{Selector, select};
pub use sharing::Sharing;
pub use walk::{Step, Walk, list, lookup};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
