//! L1: sealing and opening, keys and how they are wrapped. Knows no stored object but the key slot's inside.
//!
//! `docs/format.md`, sections "Envelope" and "Key slots", says every byte.

pub mod aead;
pub mod bundle;
pub mod envelope;
pub mod kdf;
pub mod key_file;
pub mod recovery;
pub mod secret;
pub mod slot;

pub use aead::{Algorithm, ObjectKey, TAG_LEN};
pub use bundle::KeyBundle;
pub use envelope::{HEADER_LEN, Header, KeySource, ObjectType};
pub use kdf::KdfParams;
pub use key_file::KeyFile;
pub use recovery::RecoveryKey;
pub use secret::{Secret, random_bytes};
pub use slot::{Credential, SlotKind};
