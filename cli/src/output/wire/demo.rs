//! `demo`: what it did.

use serde::Serialize;

/// The only line of `demo --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DemoSummary {
    pub(crate) message_type: &'static str,
    /// Where everything lies, if it is kept.
    pub(crate) folder: Option<String>,
    pub(crate) snapshots: Vec<DemoDay>,
    pub(crate) entries_compared: u64,
    pub(crate) bytes_compared: u64,
    /// One sentence for each entry that is not as it was.
    pub(crate) differences: Vec<String>,
    pub(crate) conditions: Vec<&'static str>,
    pub(crate) exit_code: u8,
}

/// A day of the demo.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DemoDay {
    pub(crate) snapshot_id: String,
    pub(crate) happened: String,
    pub(crate) total_bytes_processed: u64,
    pub(crate) data_added_packed: u64,
}
