//! L2: what SQLite keeps in its files, read by our own code from bytes that belong to somebody else.

pub mod header;
pub mod verify;

pub use header::SqliteHeader;
