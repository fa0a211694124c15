//! L3: who writes from this machine, and how far its chain has come.

use super::{Catalog, failed, get_meta, put_meta};
use crate::base::{Error, Kind, Result, WriterId};
use std::fs::{File, TryLockError};

pub(super) const LOCK: &str = "writer.lock";
const WRITER: &str = "writer";

/// A writer, and the number and the hash of its last object.
pub type WriterState = (WriterId, u64, Option<[u8; 32]>);

/// The right to extend this machine's chain, until it is dropped.
#[derive(Debug)]
pub struct WriterLock {
    _file: File,
}

impl Catalog {
    /// This machine's writer; none if there is none or it was altered, and then a new one begins.
    pub fn writer(&self) -> Result<Option<WriterState>> {
        let stored =
            get_meta(&self.connection(), &self.key, WRITER).map_err(failed("read the writer from"))?;
        Ok(stored.and_then(|bytes| decode(&bytes)))
    }

    /// Remembers how far the writer's chain has come: after its object is durable.
    pub fn set_writer(&self, writer: &WriterId, sequence: u64, hash: Option<[u8; 32]>) -> Result<()> {
        let mut bytes = writer.as_bytes().to_vec();
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(hash.as_ref().map_or(&[], |hash| &hash[..]));
        let act = "write the writer to";
        let connection = self.writing(act)?;
        put_meta(&connection, &self.key, WRITER, &bytes).map_err(failed(act))
    }

    /// Takes the right to use the writer; none if another program has it, and always none in memory.
    pub fn lock_writer(&self) -> Result<Option<WriterLock>> {
        let Some(home) = &self.home else { return Ok(None) };
        let failed = |e| Error::new(Kind::Catalog, "lock the writer of", "the local catalog").because(e);
        let file = home.open_lock_file(LOCK).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(WriterLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(failed(e)),
        }
    }
}

fn decode(bytes: &[u8]) -> Option<WriterState> {
    let (writer, rest) = bytes.split_first_chunk()?;
    let (sequence, hash) = rest.split_first_chunk()?;
    let hash = if hash.is_empty() { None } else { Some(hash.try_into().ok()?) };
    Some((WriterId::new(*writer), u64::from_le_bytes(*sequence), hash))
}
