//! L1: new files and folders, as the operating system makes them: one scheme for temporary files, and one rule for who
//! owns what is new.
//!
//! Imports `base`, and of `crypto` only the source of randomness (for temporary names).

mod folder;
mod owner;
mod temporary;

pub use folder::{create_folder, create_folders, flush_folder, open_folder, open_folder_below, parent_of};
pub use owner::Ownership;
pub use temporary::{Published, Temporary, Way, is_temporary};

#[cfg(test)]
mod tests;
