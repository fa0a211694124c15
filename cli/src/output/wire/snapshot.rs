//! `snapshot` and what every listing says of a snapshot.

use super::{WireWarning, text_and_bytes};
use crate::output::human::rfc3339;
use chatvault_engine::backup::{DatabaseReport, Gone, NotChecked};
use chatvault_engine::base::StoredPath;
use chatvault_engine::model::{Checked, DatabaseState, Statistics};
use chatvault_engine::repo::Snapshot;
use serde::Serialize;
use std::time::Duration;

/// What the run did that took a snapshot.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireStatistics {
    pub(crate) files_new: u64,
    pub(crate) files_changed: u64,
    pub(crate) files_unmodified: u64,
    pub(crate) dirs_new: u64,
    pub(crate) dirs_changed: u64,
    pub(crate) dirs_unmodified: u64,
    pub(crate) symlinks: u64,
    pub(crate) specials: u64,
    pub(crate) unreadable: u64,
    pub(crate) data_blobs: u64,
    pub(crate) tree_blobs: u64,
    pub(crate) data_added: u64,
    pub(crate) data_added_packed: u64,
    pub(crate) total_files_processed: u64,
    pub(crate) total_bytes_processed: u64,
    pub(crate) excluded: u64,
}

impl From<&Statistics> for WireStatistics {
    fn from(from: &Statistics) -> Self {
        Self {
            files_new: from.files_new,
            files_changed: from.files_changed,
            files_unmodified: from.files_unmodified,
            dirs_new: from.dirs_new,
            dirs_changed: from.dirs_changed,
            dirs_unmodified: from.dirs_unmodified,
            symlinks: from.symlinks,
            specials: from.specials,
            unreadable: from.unreadable,
            data_blobs: from.data_blobs,
            tree_blobs: from.tree_blobs,
            data_added: from.data_added,
            data_added_packed: from.data_added_packed,
            total_files_processed: from.total_files,
            total_bytes_processed: from.total_bytes,
            excluded: from.excluded,
        }
    }
}

/// A source that was a symbolic link.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireLink {
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_bytes: Option<String>,
    pub(crate) target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_bytes: Option<String>,
}

impl From<&(StoredPath, Vec<u8>)> for WireLink {
    fn from((path, target): &(StoredPath, Vec<u8>)) -> Self {
        let (path, path_bytes) = text_and_bytes(path.as_bytes());
        let (target, target_bytes) = text_and_bytes(target);
        Self { path, path_bytes, target, target_bytes }
    }
}

/// What is gone since the snapshot before.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireGone {
    pub(crate) files_removed: u64,
    pub(crate) bytes_removed: u64,
    pub(crate) databases_removed: u64,
    pub(crate) removed_complete: bool,
    pub(crate) removed: Vec<WireGoneFile>,
    pub(crate) databases_shrunk: Vec<WireShrunk>,
}

/// A file that is gone.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireGoneFile {
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_bytes: Option<String>,
    pub(crate) size: u64,
    pub(crate) database: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moved_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moved_to_bytes: Option<String>,
}

/// A database that lost more than half of its bytes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireShrunk {
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_bytes: Option<String>,
    pub(crate) size_before: u64,
    pub(crate) size: u64,
}

impl From<&Gone> for WireGone {
    fn from(from: &Gone) -> Self {
        let removed = from.named.iter().map(|file| {
            let (path, path_bytes) = text_and_bytes(file.path.as_bytes());
            let moved = file.moved_to.as_ref().map(|path| text_and_bytes(path.as_bytes()));
            let (moved_to, moved_to_bytes) = moved.map_or((None, None), |(text, bytes)| (Some(text), bytes));
            let (size, database) = (file.size, file.is_database);
            WireGoneFile { path, path_bytes, size, database, moved_to, moved_to_bytes }
        });
        let shrunk = from.shrunk.iter().map(|database| {
            let (path, path_bytes) = text_and_bytes(database.path.as_bytes());
            WireShrunk { path, path_bytes, size_before: database.before, size: database.now }
        });
        Self {
            files_removed: from.files,
            bytes_removed: from.bytes,
            databases_removed: from.databases,
            removed_complete: !from.is_incomplete,
            removed: removed.collect(),
            databases_shrunk: shrunk.collect(),
        }
    }
}

/// The last line of `snapshot --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SnapshotSummary {
    pub(crate) message_type: &'static str,
    pub(crate) snapshot_id: String,
    pub(crate) parent: Option<String>,
    pub(crate) time: String,
    #[serde(flatten)]
    pub(crate) paths: WirePaths,
    pub(crate) tree: String,
    #[serde(flatten)]
    pub(crate) statistics: WireStatistics,
    #[serde(flatten)]
    pub(crate) gone: WireGone,
    pub(crate) links: Vec<WireLink>,
    pub(crate) databases: Vec<WireDatabase>,
    pub(crate) total_duration: f64,
    pub(crate) conditions: Vec<&'static str>,
    pub(crate) exit_code: u8,
    pub(crate) warnings: Vec<WireWarning>,
    /// Patterns that excluded nothing.
    pub(crate) unmatched_excludes: Vec<String>,
}

/// A database that `snapshot` read.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireDatabase {
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_bytes: Option<String>,
    pub(crate) state: &'static str,
    pub(crate) wal_frames: u32,
    pub(crate) rolled_back_pages: u32,
    pub(crate) held: f64,
    pub(crate) integrity: &'static str,
    pub(crate) newly_damaged: bool,
    pub(crate) damaged_log: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_checked_because: Option<&'static str>,
}

impl From<&DatabaseReport> for WireDatabase {
    fn from(from: &DatabaseReport) -> Self {
        let (path, path_bytes) = text_and_bytes(from.path.as_bytes());
        Self {
            path,
            path_bytes,
            state: match from.state {
                DatabaseState::Quiescent => "quiescent",
                DatabaseState::AsItLay => "as_it_lay",
                DatabaseState::Captured => "captured",
                DatabaseState::Pair => "pair",
            },
            wal_frames: from.frames,
            rolled_back_pages: from.rolled_back,
            held: Duration::from_millis(from.held_ms).as_secs_f64(),
            integrity: match from.checked {
                Checked::No => "not_checked",
                Checked::Quick => "quick",
                Checked::Full => "full",
                Checked::Failed => "failed",
            },
            newly_damaged: from.newly_damaged,
            damaged_log: from.has_damaged_log,
            not_checked_because: from.not_checked.map(NotChecked::name),
        }
    }
}

/// The last line of `snapshot --dry-run --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DryRunSummary {
    pub(crate) message_type: &'static str,
    pub(crate) dry_run: bool,
    pub(crate) parent: Option<String>,
    #[serde(flatten)]
    pub(crate) paths: WirePaths,
    #[serde(flatten)]
    pub(crate) statistics: WireStatistics,
    #[serde(flatten)]
    pub(crate) gone: WireGone,
    pub(crate) total_duration: f64,
    pub(crate) conditions: Vec<&'static str>,
    pub(crate) exit_code: u8,
    pub(crate) warnings: Vec<WireWarning>,
    /// Patterns that excluded nothing.
    pub(crate) unmatched_excludes: Vec<String>,
}

/// An entry that `snapshot --dry-run --json` would store or leave out.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireItem {
    pub(crate) message_type: &'static str,
    pub(crate) action: &'static str,
    pub(crate) item: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) item_bytes: Option<String>,
}

impl WireItem {
    pub(crate) fn new(path: &StoredPath, action: &'static str) -> Self {
        let (item, item_bytes) = text_and_bytes(path.as_bytes());
        Self { message_type: "verbose_status", action, item, item_bytes }
    }
}

/// Several paths in JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WirePaths {
    pub(crate) paths: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paths_bytes: Option<Vec<String>>,
}

impl From<&[StoredPath]> for WirePaths {
    fn from(from: &[StoredPath]) -> Self {
        let all: Vec<(String, Option<String>)> =
            from.iter().map(|path| text_and_bytes(path.as_bytes())).collect();
        let is_exact = all.iter().all(|(_, bytes)| bytes.is_none());
        let hex = |path: &StoredPath| chatvault_engine::base::id::to_hex(path.as_bytes());
        Self {
            paths: all.into_iter().map(|(text, _)| text).collect(),
            paths_bytes: (!is_exact).then(|| from.iter().map(hex).collect()),
        }
    }
}

/// A snapshot in a listing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireSnapshot {
    pub(crate) id: String,
    pub(crate) short_id: String,
    pub(crate) time: String,
    pub(crate) host: String,
    pub(crate) user: String,
    #[serde(flatten)]
    pub(crate) paths: WirePaths,
    pub(crate) tags: Vec<String>,
    pub(crate) description: Option<String>,
    pub(crate) tree: String,
    pub(crate) parent: Option<String>,
    pub(crate) program: String,
    pub(crate) links: Vec<WireLink>,
    pub(crate) summary: WireStatistics,
}

impl From<&Snapshot> for WireSnapshot {
    fn from(from: &Snapshot) -> Self {
        let manifest = &from.manifest;
        Self {
            id: from.id.to_string(),
            short_id: from.id.short(),
            time: rfc3339(manifest.time, manifest.utc_offset_minutes),
            host: manifest.host.clone(),
            user: manifest.user.clone(),
            paths: manifest.paths.as_slice().into(),
            tags: from.tags.clone(),
            description: from.description.clone(),
            tree: manifest.root.to_string(),
            parent: manifest.parent.map(|id| id.to_string()),
            program: manifest.program.clone(),
            links: manifest.links.iter().map(WireLink::from).collect(),
            summary: (&manifest.statistics).into(),
        }
    }
}
