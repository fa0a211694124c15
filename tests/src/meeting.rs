//! A store that brings two runs together: proof that they were under way at the same time.

use crate::hand_on;
use chatvault_engine::base::Result;
use chatvault_engine::store::{ObjectName, Store};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Longest wait for the others, after which the test goes on and finds that they did not meet.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Where runs meet.
#[derive(Debug)]
pub struct Meeting {
    arrived: Mutex<usize>,
    changed: Condvar,
    expected: usize,
}

impl Meeting {
    /// A meeting of so many.
    #[must_use]
    pub fn of(expected: usize) -> Arc<Self> {
        Arc::new(Self { arrived: Mutex::new(0), changed: Condvar::new(), expected })
    }

    /// True if all came.
    ///
    /// # Panics
    /// Panics if another thread panicked at the meeting.
    #[must_use]
    pub fn took_place(&self) -> bool {
        *self.arrived.lock().unwrap() >= self.expected
    }

    fn arrive(&self) {
        let mut arrived = self.arrived.lock().unwrap();
        *arrived += 1;
        self.changed.notify_all();
        let waited =
            self.changed.wait_timeout_while(arrived, LONGEST_WAIT, |arrived| *arrived < self.expected);
        drop(waited.unwrap());
    }
}

/// Hands everything on to a store, and waits at the meeting before its first pack: by then its lease is written.
#[derive(Debug)]
pub struct MeetingStore<S> {
    inner: S,
    meeting: Arc<Meeting>,
    met: Mutex<bool>,
}

impl<S: Store> MeetingStore<S> {
    /// Wraps a store.
    pub fn new(inner: S, meeting: &Arc<Meeting>) -> Self {
        Self { inner, meeting: Arc::clone(meeting), met: Mutex::new(false) }
    }
}

impl<S: Store> Store for MeetingStore<S> {
    hand_on!(list rest);

    fn put_new(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        if name.as_str().starts_with("packs/") && !std::mem::replace(&mut *self.met.lock().unwrap(), true) {
            self.meeting.arrive();
        }
        self.inner.put_new(name, bytes)
    }
}
