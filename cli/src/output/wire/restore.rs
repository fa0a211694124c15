//! `restore`: what was brought back.

use super::{WirePath, WireWarning};
use serde::Serialize;

/// The last line of `restore --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireRestore {
    pub(crate) message_type: &'static str,
    pub(crate) snapshot_id: String,
    /// The path in the snapshot, if one was named.
    #[serde(flatten)]
    pub(crate) path: Option<WirePath>,
    pub(crate) target: String,
    pub(crate) total_files: u64,
    pub(crate) files_restored: u64,
    pub(crate) dirs_restored: u64,
    pub(crate) symlinks_restored: u64,
    pub(crate) hard_links_restored: u64,
    pub(crate) specials_skipped: u64,
    pub(crate) total_bytes: u64,
    pub(crate) bytes_restored: u64,
    pub(crate) damaged: u64,
    pub(crate) failed: u64,
    pub(crate) total_duration: f64,
    pub(crate) conditions: Vec<&'static str>,
    pub(crate) exit_code: u8,
    pub(crate) warnings: Vec<WireWarning>,
}
