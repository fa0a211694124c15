//! Panics in the threads of a run. An observer, or a defect of this program, may panic in any of them; the others would
//! wait for what it was to do, or go on for hours for nothing. So every part of a run works under a guard.

use crate::base::{Error, Kind, Result};
use crate::repo::writer::RunWriter;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl RunWriter<'_> {
    /// Does a part of the run's work. A panic in it ends the whole run with an error, within the time that the others need
    /// to look whether they were cancelled.
    ///
    /// # Errors
    /// What the work failed with, or [`Kind::Internal`] after a panic.
    pub fn guard<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        // Nothing that it left half done is used: the run commits nothing.
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            self.fail(defect(panic.as_ref()));
            Err(defect(panic.as_ref()))
        })
    }

    /// As [`Self::guard`], for work that ends the run by itself if it fails.
    pub fn guard_thread(&self, work: impl FnOnce()) {
        let _told_already = self.guard(|| {
            work();
            Ok(())
        });
    }
}

fn defect(panic: &(dyn Any + Send)) -> Error {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let why = format!("a thread of it panicked: {}", text.unwrap_or("without a text"));
    Error::new(Kind::Internal, "finish", "the run").because(why)
}
