//! L2: the bytes of every stored object, one file per section of `docs/format.md`. Encoding and decoding only.
//!
//! Metadata is CBOR (RFC 8949) in its deterministic form: maps with ascending integer keys, definite lengths, shortest
//! numbers. A key that a reader does not know is skipped; what must not be skipped has a feature bit in the config.

pub mod cbor;
pub mod config;
pub mod event;
pub mod index;
pub mod key_note;
pub mod lease;
pub mod lineage;
pub mod list;
pub mod manifest;
pub mod object;
pub mod pack;
pub mod tree;

pub use config::Config;
pub use key_note::KeyNote;
pub use lease::Lease;
