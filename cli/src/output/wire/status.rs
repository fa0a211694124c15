//! Where a long operation stands.

use serde::Serialize;

/// Written at most once a second while an operation runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) message_type: &'static str,
    /// The part of the operation.
    pub(crate) phase: &'static str,
    /// Whole seconds since the operation began.
    pub(crate) seconds_elapsed: u64,
    /// Whole seconds that this part still takes at its rate so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds_remaining: Option<u64>,
    /// 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) percent_done: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total_files: Option<u64>,
    pub(crate) files_done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total_bytes: Option<u64>,
    pub(crate) bytes_done: u64,
    pub(crate) bytes_per_second: f64,
    /// The paths that are being worked on.
    pub(crate) current_files: Vec<String>,
}
