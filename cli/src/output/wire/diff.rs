//! `diff`: changes, then their statistics.

use super::WirePath;
use crate::output::human::rfc3339;
use chatvault_engine::diff::DiffStatistics;
use chatvault_engine::model::Change;
use chatvault_engine::repo::Snapshot;
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
    source_host: String,
    source_time: String,
    target_snapshot: String,
    /// Null for the folders as they are now, as the time.
    target_host: Option<String>,
    target_time: Option<String>,
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
    /// Of a snapshot and another one, or the folders as they are now.
    pub(crate) fn new(source: &Snapshot, target: Option<&Snapshot>, counts: &DiffStatistics) -> Self {
        let time =
            |snapshot: &Snapshot| rfc3339(snapshot.manifest.time, snapshot.manifest.utc_offset_minutes);
        Self {
            message_type: "statistics",
            source_snapshot: source.id.to_string(),
            source_host: source.manifest.host.clone(),
            source_time: time(source),
            target_snapshot: target.map_or_else(|| "live".to_owned(), |snapshot| snapshot.id.to_string()),
            target_host: target.map(|snapshot| snapshot.manifest.host.clone()),
            target_time: target.map(time),
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
