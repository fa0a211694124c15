//! One budget of bytes for everything that is in memory between reading a source and a durable pack.
//!
//! Whoever reads takes bytes before it reads, and waits while none are left. Compression gives back what it saved, a
//! durable pack gives back the rest. The buffers of packs hold less than the budget (`docs/architecture.md`), so a
//! wait always ends.

use crate::base::{Cancel, Result};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often a waiting thread looks whether the run was cancelled.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Shared {
    /// Below zero while something was taken without waiting.
    left: Mutex<isize>,
    freed: Condvar,
    total: isize,
}

/// The budget. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(total: usize) -> Self {
        let total = isize::try_from(total).unwrap_or(isize::MAX);
        Self(Arc::new(Shared { left: Mutex::new(total), freed: Condvar::new(), total }))
    }

    /// Takes bytes, waiting while there are too few. More than the whole budget counts as the whole.
    ///
    /// # Errors
    /// Fails when the run is cancelled.
    pub fn take(&self, bytes: usize, cancel: &Cancel) -> Result<Permit> {
        let bytes = isize::try_from(bytes).unwrap_or(isize::MAX).min(self.0.total);
        let mut left = self.0.left.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            cancel.check()?;
            if *left >= bytes {
                *left -= bytes;
                return Ok(Permit { budget: self.clone(), bytes });
            }
            (left, _) = self.0.freed.wait_timeout(left, LOOK).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes bytes at once, even if there are too few: for small things on whose completion others wait.
    #[must_use]
    pub fn take_now(&self, bytes: usize) -> Permit {
        let bytes = isize::try_from(bytes).unwrap_or(isize::MAX).min(self.0.total);
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) -= bytes;
        Permit { budget: self.clone(), bytes }
    }

    fn give(&self, bytes: isize) {
        let mut left = self.0.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = (*left + bytes).min(self.0.total);
        self.0.freed.notify_all();
    }
}

/// Bytes taken from a budget; dropping it gives them back.
#[derive(Debug)]
pub struct Permit {
    budget: Budget,
    bytes: isize,
}

impl Permit {
    /// Gives back all but so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let bytes = isize::try_from(bytes).unwrap_or(isize::MAX);
        if bytes < self.bytes {
            self.budget.give(self.bytes - bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn never_more_than_the_total_is_out() {
        let (budget, cancel, out) = (Budget::new(100), Cancel::new(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 1..200 {
                        let bytes = 1 + n % 60;
                        let mut permit = budget.take(bytes, &cancel).unwrap();
                        assert!(out.fetch_add(bytes, Ordering::SeqCst) + bytes <= 100);
                        out.fetch_sub(bytes, Ordering::SeqCst);
                        permit.shrink_to(bytes / 2);
                    }
                });
            }
        });
        assert_eq!(*budget.0.left.lock().unwrap(), 100);
    }

    #[test]
    fn a_cancelled_wait_ends() {
        let (budget, cancel) = (Budget::new(10), Cancel::new());
        let _all = budget.take(99, &cancel).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.take(1, &cancel).is_err());
            cancel.cancel();
            assert!(waiting.join().unwrap());
        });
    }
}
