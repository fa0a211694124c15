//! An observer that panics, in whichever thread, ends the run with an error. None of these tests ends if it does not.

use super::*;
use crate::base::{Counter, Found, StoredPath, Warning};
use crate::filter::{Pattern, Patterns};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an observer is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// By the readers.
    WorkingOn,
    /// By the walk, for what is left out.
    Excluded,
    /// By whoever stores the last piece of a file.
    New,
    /// By the workers, for each piece.
    Bytes,
}

/// Panics each time that it is called so, from the second time on.
struct Panicking {
    call: Call,
    count: AtomicUsize,
}

impl Panicking {
    fn called(&self, call: Call) {
        if call == self.call && self.count.fetch_add(1, Ordering::SeqCst) > 0 {
            panic!("an observer that panics");
        }
    }
}

impl Observer for Panicking {
    fn working_on(&self, _: &StoredPath) {
        self.called(Call::WorkingOn);
    }

    fn found(&self, _: &StoredPath, found: Found) {
        self.called(if found == Found::Excluded { Call::Excluded } else { Call::New });
    }

    fn add(&self, counter: Counter, _: u64) {
        if counter == Counter::Bytes {
            self.called(Call::Bytes);
        }
    }

    fn warn(&self, _: &Warning) {}
}

#[test]
fn an_observer_that_panics_in_any_thread_ends_the_run_with_an_error() {
    for call in [Call::WorkingOn, Call::Excluded, Call::New, Call::Bytes] {
        let bench = Bench::new();
        // More than wait between the walk and the readers.
        let files = 5 * MOST_OPEN as usize;
        for number in 0..files {
            bench.write(&format!("{number:04}.jpg"), format!("content {number}").as_bytes());
            bench.write(&format!("{number:04}.out"), b"left out");
        }
        let mut options = bench.options();
        let patterns = [Pattern::new("*.out")];
        options.select = Selection { exclude: Patterns::new(&patterns).unwrap(), ..Selection::default() };
        let observer = Panicking { call, count: AtomicUsize::new(0) };
        let error = snapshot(&bench.repo, &options, &observer).unwrap_err();
        assert_eq!(error.kind(), Kind::Internal, "{call:?}: {error:?}");
        assert!(error.full_text().contains("an observer that panics"), "{error:?}");
        let count = observer.count.into_inner();
        assert!(count > 1 && count < files, "{call:?}: {count} calls");
        assert_eq!(bench.written("snapshots"), 0);
        // The repository is as usable as before, in the same process.
        bench.take();
    }
}
