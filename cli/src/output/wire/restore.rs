//! `restore`: what would be done, and what was brought back.

use super::{WirePath, WireWarning};
use chatvault_engine::base::SnapshotId;
use chatvault_engine::restore::{Action, Planned};
use serde::Serialize;

/// One line of `restore --dry-run --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WirePlanned {
    message_type: &'static str,
    action: &'static str,
    #[serde(flatten)]
    path: WirePath,
    /// Where it is, or will be, in the target.
    target_path: String,
    r#type: &'static str,
    size: u64,
    /// True if what is there and goes is in no snapshot.
    only_here: bool,
}

impl From<&Planned<'_>> for WirePlanned {
    fn from(entry: &Planned<'_>) -> Self {
        let action = match entry.action {
            Action::Make => "make",
            Action::Overwrite | Action::Compare => "overwrite",
            Action::Leave => "leave",
            Action::Keep => "keep",
            Action::Merge => "merge",
            Action::Delete => "delete",
        };
        Self {
            message_type: "action",
            action,
            path: entry.path.into(),
            target_path: entry.target.to_string_lossy().into_owned(),
            r#type: entry.kind.name(),
            size: entry.size,
            only_here: entry.is_only_here,
        }
    }
}

/// The last line of `restore --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireRestore {
    pub(crate) message_type: &'static str,
    pub(crate) snapshot_id: String,
    /// The path in the snapshot, if one was named.
    #[serde(flatten)]
    pub(crate) path: Option<WirePath>,
    pub(crate) target: String,
    /// The snapshot of what was there before, if one was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before_restore: Option<String>,
    /// True if nothing was done.
    pub(crate) dry_run: bool,
    pub(crate) total_files: u64,
    pub(crate) files_restored: u64,
    pub(crate) dirs_restored: u64,
    pub(crate) symlinks_restored: u64,
    pub(crate) hard_links_restored: u64,
    pub(crate) specials_restored: u64,
    pub(crate) specials_skipped: u64,
    pub(crate) total_bytes: u64,
    pub(crate) bytes_restored: u64,
    pub(crate) overwritten: u64,
    pub(crate) unchanged: u64,
    pub(crate) kept: u64,
    pub(crate) deleted: u64,
    /// Of what was overwritten or deleted: what was in no snapshot.
    pub(crate) discarded: u64,
    pub(crate) verified: u64,
    pub(crate) differing: u64,
    pub(crate) sound_databases: u64,
    pub(crate) unsound_databases: u64,
    pub(crate) unchecked_databases: u64,
    pub(crate) damaged: u64,
    /// What could not be read in the repository by this user.
    pub(crate) denied: u64,
    pub(crate) failed: u64,
    pub(crate) owners_failed: u64,
    pub(crate) total_duration: f64,
    pub(crate) conditions: Vec<&'static str>,
    pub(crate) exit_code: u8,
    pub(crate) warnings: Vec<WireWarning>,
}

impl WireRestore {
    /// The same, where the existing files were stored before.
    pub(crate) fn after(self, before: Option<SnapshotId>) -> Self {
        Self { before_restore: before.map(|id| id.to_string()), ..self }
    }
}
