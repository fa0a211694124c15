//! The test kit: bytes, trees, comparisons and sessions for tests of the engine and of the program. `docs/testing.md`
//! says how the tests are run.
//!
//! Whatever fails in here fails the test that uses it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "used by tests only: a failure of the kit is a failure of the test"
)]

pub mod bytes;
mod hand_on;
pub mod harness;
pub mod lab;
pub mod meeting;
pub mod sample;
pub mod sqlite;
pub mod truth;

pub use lab::{Clock, Lab, Restored};
pub use truth::{Entry, Truth};
