//! L2: a store that writes down what is asked of another one and fails on demand, for tests of the layers above.

use super::{Capabilities, Listing, ObjectInfo, ObjectName, Store};
use crate::base::{Error, Kind, Result, Whose};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Store::put_new`].
    Put,
    /// [`Store::get`].
    Get,
    /// [`Store::get_range`].
    GetRange,
    /// [`Store::list`].
    List,
    /// [`Store::delete`].
    Delete,
    /// [`Store::stat`].
    Stat,
}

/// One call, written down before it is handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// The object's name or the prefix.
    pub name: String,
    /// Bytes to be written or read; for a whole object the most that may be read; else 0.
    pub bytes: u64,
}

/// Wraps a store; hands every call on, except those that were chosen to fail.
#[derive(Debug)]
pub struct RecordingStore<S> {
    inner: S,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    fail_once: Option<usize>,
    fail_from: Option<usize>,
    flips: BTreeMap<ObjectName, u64>,
    refused: BTreeMap<ObjectName, Kind>,
    refusals: u64,
}

impl<S: Store> RecordingStore<S> {
    /// Wraps a store; nothing fails yet.
    pub fn new(inner: S) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// The wrapped store.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// All calls so far, the failed ones included.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Forgets the calls so far; counting begins again at 1.
    pub fn clear(&self) {
        self.state().calls.clear();
    }

    /// Lets call number `n` (the first since the last [`Self::clear`] is 1) fail with [`Kind::Io`], without effect.
    pub fn fail_at(&self, n: usize) {
        self.state().fail_once = Some(n);
    }

    /// Lets call number `n` and all later ones fail: what a killed run or a pulled cable looks like. `None` ends it.
    pub fn fail_from(&self, n: Option<usize>) {
        self.state().fail_from = n;
    }

    /// From now on every read of this object sees the lowest bit of the byte at `offset` flipped.
    pub fn corrupt(&self, name: &ObjectName, offset: u64) {
        self.state().flips.insert(name.clone(), offset);
    }

    /// From now on every read of this object fails with this kind: [`Kind::Damaged`] as a bad sector does,
    /// [`Kind::Denied`] as another user's file does.
    pub fn refuse(&self, name: &ObjectName, kind: Kind) {
        self.state().refused.insert(name.clone(), kind);
    }

    /// How often reads were refused so far.
    pub fn refusals(&self) -> u64 {
        self.state().refusals
    }

    fn may_read(&self, name: &ObjectName) -> Result<()> {
        let mut state = self.state();
        let Some(kind) = state.refused.get(name).copied() else { return Ok(()) };
        state.refusals += 1;
        Err(Error::new(kind, "read object", name).because("it was told to be refused").of(Whose::Repository))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, operation: Operation, name: &str, bytes: u64) -> Result<()> {
        let mut state = self.state();
        state.calls.push(Call { operation, name: name.to_owned(), bytes });
        let number = state.calls.len();
        let fails_once = state.fail_once.take_if(|n| *n == number).is_some();
        if fails_once || state.fail_from.is_some_and(|from| number >= from) {
            return Err(Error::new(Kind::Io, "use object", name)
                .because(format!("call {number} was told to fail"))
                .of(Whose::Repository));
        }
        Ok(())
    }

    fn flip(&self, name: &ObjectName, start: u64, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = self.state().flips.get(name).and_then(|offset| offset.checked_sub(start));
        if let Some(byte) = at.and_then(|at| bytes.get_mut(usize::try_from(at).ok()?)) {
            *byte ^= 1;
        }
        bytes
    }
}

impl<S: Store> Store for RecordingStore<S> {
    fn put_new(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        self.note(Operation::Put, name.as_str(), bytes.len() as u64)?;
        self.inner.put_new(name, bytes)
    }

    fn get(&self, name: &ObjectName, max_len: u64) -> Result<Vec<u8>> {
        self.note(Operation::Get, name.as_str(), max_len)?;
        self.may_read(name)?;
        Ok(self.flip(name, 0, self.inner.get(name, max_len)?))
    }

    fn get_range(&self, name: &ObjectName, offset: u64, len: u64) -> Result<Vec<u8>> {
        self.note(Operation::GetRange, name.as_str(), len)?;
        self.may_read(name)?;
        Ok(self.flip(name, offset, self.inner.get_range(name, offset, len)?))
    }

    fn list(&self, prefix: &str) -> Result<Listing> {
        self.note(Operation::List, prefix, 0)?;
        self.inner.list(prefix)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.note(Operation::Delete, name.as_str(), 0)?;
        self.inner.delete(name)
    }

    fn stat(&self, name: &ObjectName) -> Result<Option<ObjectInfo>> {
        self.note(Operation::Stat, name.as_str(), 0)?;
        self.inner.stat(name)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn free_space(&self) -> Result<Option<u64>> {
        self.inner.free_space()
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    fn local_path(&self) -> Option<&Path> {
        self.inner.local_path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, suite};

    #[test]
    fn passes_the_suite_while_nothing_is_told_to_fail() {
        suite::run(&|| RecordingStore::new(MemoryStore::new()));
    }

    #[test]
    fn calls_are_written_down_and_chosen_ones_fail_without_effect() {
        let store = RecordingStore::new(MemoryStore::new());
        let name = ObjectName::config();
        store.fail_at(1);
        assert_eq!(store.put_new(&name, b"abc").unwrap_err().kind(), Kind::Io);
        assert_eq!(store.inner().stat(&name).unwrap(), None);
        store.put_new(&name, b"abc").unwrap();
        let put = Call { operation: Operation::Put, name: "config".to_owned(), bytes: 3 };
        assert_eq!(store.calls(), [put.clone(), put]);
        store.clear();
        store.fail_from(Some(2));
        assert!(store.list("").is_ok());
        assert!(store.stat(&name).is_err());
        assert!(store.delete(&name).is_err());
        store.fail_from(None);
        assert_eq!(store.get(&name, 3).unwrap(), b"abc");
    }

    #[test]
    fn a_flipped_bit_is_seen_by_every_read_that_covers_it() {
        let store = RecordingStore::new(MemoryStore::new());
        let name = ObjectName::config();
        store.put_new(&name, b"aaaa").unwrap();
        store.corrupt(&name, 2);
        assert_eq!(store.get(&name, 4).unwrap(), b"aa`a");
        assert_eq!(store.get_range(&name, 1, 2).unwrap(), b"a`");
        assert_eq!(store.get_range(&name, 0, 2).unwrap(), b"aa");
        assert_eq!(store.get_range(&name, 3, 1).unwrap(), b"a");
    }
}
