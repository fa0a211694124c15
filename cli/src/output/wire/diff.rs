//! `diff`: changes, then their statistics.

use super::WirePath;
use chatvault_engine::diff::DiffStatistics;
use chatvault_engine::model::Change;
use serde::Serialize;

/// One difference.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireChange {
    message_type: &'static str,
    #[serde(flatten)]
    path: WirePath,
    modifier: char,
}

impl From<&Change> for WireChange {
    fn from(change: &Change) -> Self {
        Self { message_type: "change", path: (&change.path).into(), modifier: change.modifier.letter() }
    }
}

/// All differences in numbers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireDiffStatistics {
    message_type: &'static str,
    source_snapshot: String,
    target_snapshot: String,
    changed_files: u64,
    added: WireSide,
    removed: WireSide,
}

/// What only one side has.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireSide {
    files: u64,
    dirs: u64,
    others: u64,
    bytes: u64,
}

impl WireDiffStatistics {
    pub(crate) fn new(source: String, target: String, counts: &DiffStatistics) -> Self {
        Self {
            message_type: "statistics",
            source_snapshot: source,
            target_snapshot: target,
            changed_files: counts.changed_files,
            added: WireSide {
                files: counts.files_added,
                dirs: counts.dirs_added,
                others: counts.others_added,
                bytes: counts.bytes_added,
            },
            removed: WireSide {
                files: counts.files_removed,
                dirs: counts.dirs_removed,
                others: counts.others_removed,
                bytes: counts.bytes_removed,
            },
        }
    }
}
