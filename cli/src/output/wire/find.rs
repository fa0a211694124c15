//! `find`: the versions of each path that was found.

use super::WirePath;
use super::text_and_bytes;
use crate::exit::Outcome;
use crate::output::human::rfc3339;
use chatvault_engine::browse::find::{FindStatistics, Found, Version};
use chatvault_engine::model::NodeKind;
use chatvault_engine::repo::Snapshot;
use serde::Serialize;

/// What a path was in some snapshots that follow each other.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireVersion {
    pub(crate) message_type: &'static str,
    #[serde(flatten)]
    pub(crate) path: WirePath,
    pub(crate) host: String,
    pub(crate) source: String,
    pub(crate) state: &'static str,
    /// Why it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    pub(crate) mtime: Option<String>,
    pub(crate) content_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) linktarget: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) linktarget_bytes: Option<String>,
    pub(crate) first_snapshot: String,
    pub(crate) first_time: String,
    pub(crate) last_snapshot: String,
    pub(crate) last_time: String,
    pub(crate) snapshots: u64,
}

/// The last line of `find --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireFindSummary {
    pub(crate) message_type: &'static str,
    pub(crate) snapshots: u64,
    pub(crate) paths: u64,
    pub(crate) versions: u64,
    pub(crate) conditions: Vec<&'static str>,
    pub(crate) exit_code: u8,
}

impl WireVersion {
    pub(crate) fn new(found: &Found<'_>, version: &Version<'_>) -> Self {
        let target = version.target.as_deref().map(text_and_bytes);
        let (linktarget, linktarget_bytes) = target.map_or((None, None), |(text, bytes)| (Some(text), bytes));
        let time =
            |snapshot: &Snapshot| rfc3339(snapshot.manifest.time, snapshot.manifest.utc_offset_minutes);
        Self {
            message_type: "path_version",
            path: (&found.path).into(),
            host: found.host.to_owned(),
            source: String::from_utf8_lossy(found.source.as_bytes()).into_owned(),
            state: version.state.name(),
            reason: version.state.reason(),
            kind: version.kind.name(),
            size: (version.kind == NodeKind::File).then_some(version.size),
            mtime: version.mtime.map(|time| rfc3339(time, 0)),
            content_id: version.content.map(|id| id.to_string()),
            linktarget,
            linktarget_bytes,
            first_snapshot: version.first.id.to_string(),
            first_time: time(version.first),
            last_snapshot: version.last.id.to_string(),
            last_time: time(version.last),
            snapshots: version.snapshots,
        }
    }
}

impl WireFindSummary {
    pub(crate) fn new(statistics: &FindStatistics, outcome: &Outcome) -> Self {
        Self {
            message_type: "summary",
            snapshots: statistics.snapshots,
            paths: statistics.paths,
            versions: statistics.versions,
            conditions: outcome.names(),
            exit_code: outcome.code(),
        }
    }
}
