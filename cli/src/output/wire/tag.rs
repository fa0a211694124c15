//! `tag`: what a snapshot is called from now on.

use crate::exit::Outcome;
use chatvault_engine::repo::Snapshot;
use serde::Serialize;

/// One snapshot that was named.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireTagged {
    pub(crate) message_type: &'static str,
    pub(crate) snapshot_id: String,
    /// False if it was so before.
    pub(crate) changed: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) description: Option<String>,
}

/// The last line of `tag --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireTagSummary {
    pub(crate) message_type: &'static str,
    pub(crate) changed_snapshots: u64,
    pub(crate) conditions: Vec<&'static str>,
    pub(crate) exit_code: u8,
}

impl WireTagged {
    pub(crate) fn new(snapshot: &Snapshot, changed: bool) -> Self {
        Self {
            message_type: "tagged",
            snapshot_id: snapshot.id.to_string(),
            changed,
            tags: snapshot.tags.clone(),
            description: snapshot.description.clone(),
        }
    }
}

impl WireTagSummary {
    pub(crate) fn new(changed: usize, outcome: &Outcome) -> Self {
        Self {
            message_type: "summary",
            changed_snapshots: u64::try_from(changed).unwrap_or(u64::MAX),
            conditions: outcome.names(),
            exit_code: outcome.code(),
        }
    }
}
