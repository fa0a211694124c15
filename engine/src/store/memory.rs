//! L2: a store in memory, for tests of everything above. Same contract as the local one; nothing outlives it.

use super::{Capabilities, Listing, ObjectInfo, ObjectName, Store};
use crate::base::{Error, Kind, Result, Timestamp, Whose};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a store without conditional puts lets other writers come between its two steps.
const BETWEEN_LOOK_AND_PUT: Duration = Duration::from_micros(300);

/// Objects in a map. Its clock stands still unless a test moves it.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    lacks_conditional_puts: bool,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<ObjectName, (Timestamp, Vec<u8>)>,
    now: Timestamp,
}

impl MemoryStore {
    /// An empty store whose clock shows 1970.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that looks whether a name is free and then stores the object, as two steps: another writer may
    /// come between them.
    #[must_use]
    pub fn without_conditional_puts() -> Self {
        Self { lacks_conditional_puts: true, ..Self::default() }
    }

    /// Moves the store's clock.
    pub fn set_time(&self, now: Timestamp) {
        self.state().now = now;
    }

    /// Puts an object of these bytes in place, whatever stood there: damage for tests.
    pub fn overwrite(&self, name: &ObjectName, bytes: &[u8]) {
        let mut state = self.state();
        let now = state.now;
        state.objects.insert(name.clone(), (now, bytes.to_vec()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn put_new(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        let mut state = self.state();
        let now = state.now;
        if self.lacks_conditional_puts && !state.objects.contains_key(name) {
            drop(state);
            std::thread::sleep(BETWEEN_LOOK_AND_PUT);
            self.state().objects.insert(name.clone(), (now, bytes.to_vec()));
            return Ok(());
        }
        match state.objects.get(name) {
            None => {
                state.objects.insert(name.clone(), (now, bytes.to_vec()));
                Ok(())
            }
            Some((_, there)) if there == bytes => Ok(()),
            Some(_) => Err(already_there(name)),
        }
    }

    fn get(&self, name: &ObjectName, max_len: u64) -> Result<Vec<u8>> {
        let state = self.state();
        let (_, bytes) = state.objects.get(name).ok_or_else(|| not_found("read object", name))?;
        check_len(name, bytes.len() as u64, max_len)?;
        Ok(bytes.clone())
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: u64) -> Result<Vec<u8>> {
        let state = self.state();
        let (_, bytes) = state.objects.get(name).ok_or_else(|| not_found("read object", name))?;
        check_range(name, bytes.len() as u64, offset, len)?;
        let range = usize::try_from(offset).ok().zip(usize::try_from(len).ok());
        let part = range.and_then(|(start, len)| bytes.get(start..)?.get(..len));
        part.map(<[u8]>::to_vec).ok_or_else(|| too_short(name, bytes.len() as u64, offset, len))
    }

    fn list(&self, prefix: &str) -> Result<Listing> {
        let folder = folder_prefix(prefix)?;
        let state = self.state();
        let below = state.objects.iter().filter(|(name, _)| name.as_str().starts_with(&folder));
        let objects = below.map(|(name, object)| info(name, object)).collect();
        Ok(Listing { objects, unreadable: Vec::new() })
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.state().objects.remove(name).map(|_| ()).ok_or_else(|| not_found("delete object", name))
    }

    fn stat(&self, name: &ObjectName) -> Result<Option<ObjectInfo>> {
        Ok(self.state().objects.get(name).map(|object| info(name, object)))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { conditional_puts: !self.lacks_conditional_puts }
    }

    fn free_space(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn local_path(&self) -> Option<&Path> {
        None
    }
}

fn info(name: &ObjectName, (modified, bytes): &(Timestamp, Vec<u8>)) -> ObjectInfo {
    ObjectInfo { name: name.clone(), size: bytes.len() as u64, modified: *modified }
}

/// The beginning that all names below a folder share.
pub(super) fn folder_prefix(prefix: &str) -> Result<String> {
    if prefix.is_empty() { Ok(String::new()) } else { Ok(format!("{}/", ObjectName::new(prefix)?)) }
}

pub(super) fn not_found(act: &str, name: &ObjectName) -> Error {
    Error::new(Kind::NotFound, act, name).because("there is no such object").of(Whose::Repository)
}

pub(super) fn already_there(name: &ObjectName) -> Error {
    Error::new(Kind::AlreadyThere, "store object", name)
        .because("other content stands under this name")
        .of(Whose::Repository)
}

fn too_short(name: &ObjectName, size: u64, offset: u64, len: u64) -> Error {
    Error::damaged(
        "read object",
        name,
        format!("it ends at byte {size}, and {len} bytes from {offset} on are needed"),
    )
}

/// Refuses an object that is longer than the caller can use.
pub(super) fn check_len(name: &ObjectName, size: u64, max_len: u64) -> Result<()> {
    if size <= max_len {
        return Ok(());
    }
    Err(Error::damaged(
        "read object",
        name,
        format!("it has {size} bytes, and {max_len} is the most it may have"),
    ))
}

/// Refuses a range that passes the end of the object.
pub(super) fn check_range(name: &ObjectName, size: u64, offset: u64, len: u64) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(too_short(name, size, offset, len)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    #[test]
    fn passes_the_suite() {
        suite::run(&|| MemoryStore::new());
        suite::run(&|| MemoryStore::without_conditional_puts());
    }

    #[test]
    fn its_clock_is_the_tests() {
        let store = MemoryStore::new();
        store.set_time(Timestamp::new(5, 6));
        store.put_new(&ObjectName::config(), b"x").unwrap();
        assert_eq!(store.stat(&ObjectName::config()).unwrap().unwrap().modified, Timestamp::new(5, 6));
        store.overwrite(&ObjectName::config(), b"y");
        assert_eq!(store.get(&ObjectName::config(), 9).unwrap(), b"y");
    }
}
