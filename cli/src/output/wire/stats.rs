//! `stats`: how much snapshots hold, and how much of the repository they take.

use super::WirePath;
use crate::exit::Outcome;
use crate::output::human::{ratio, rfc3339};
use chatvault_engine::base::StoredPath;
use chatvault_engine::browse::stats::{
    ClassStats, DeltaTotals, FolderStats, KindStats, SnapshotStats, Stats, UseTotals,
};
use chatvault_engine::model::PackClass;
use chatvault_engine::repo::Snapshot;
use serde::Serialize;

/// The only line of `stats --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireStats {
    pub(crate) message_type: &'static str,
    /// The path in the snapshots, if one was named.
    #[serde(flatten)]
    pub(crate) path: Option<WirePath>,
    pub(crate) snapshots_count: u64,
    pub(crate) total_file_count: u64,
    pub(crate) total_size: u64,
    pub(crate) total_unique_size: u64,
    pub(crate) total_stored_size: u64,
    pub(crate) blob_count: u64,
    pub(crate) deduplication_ratio: f64,
    pub(crate) compression_ratio: f64,
    pub(crate) kinds: Vec<WireKind>,
    pub(crate) metadata: WireBlobs,
    pub(crate) snapshots: Vec<WireSnapshotStats>,
    pub(crate) deltas: WireDeltas,
    pub(crate) unneeded_size: Option<u64>,
    pub(crate) pack_classes: Vec<WireClass>,
    pub(crate) repository: Vec<WireFolder>,
    pub(crate) repository_size: u64,
    pub(crate) conditions: Vec<&'static str>,
    pub(crate) exit_code: u8,
}

/// What is stored as differences.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct WireDeltas {
    pub(crate) blob_count: u64,
    pub(crate) size: u64,
    pub(crate) stored_size: u64,
    pub(crate) saved_size: u64,
    pub(crate) max_depth: u8,
}

impl From<DeltaTotals> for WireDeltas {
    fn from(from: DeltaTotals) -> Self {
        Self {
            blob_count: from.deltas,
            size: from.delta_plain,
            stored_size: from.delta_stored,
            saved_size: from.saved(),
            max_depth: from.deepest,
        }
    }
}

/// Blobs, each counted once.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct WireBlobs {
    pub(crate) blob_count: u64,
    pub(crate) unique_size: u64,
    pub(crate) stored_size: u64,
}

/// One kind of content.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireKind {
    pub(crate) kind: &'static str,
    pub(crate) file_count: u64,
    pub(crate) size: u64,
    #[serde(flatten)]
    pub(crate) blobs: WireBlobs,
}

/// One snapshot.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireSnapshotStats {
    pub(crate) snapshot_id: String,
    pub(crate) time: Option<String>,
    pub(crate) file_count: u64,
    pub(crate) size: u64,
    pub(crate) alone: Option<WireBlobs>,
}

/// The packs of one class.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireClass {
    pub(crate) class: &'static str,
    pub(crate) pack_count: u64,
    pub(crate) size: u64,
    pub(crate) blob_count: u64,
}

/// One folder of the repository.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireFolder {
    pub(crate) name: String,
    pub(crate) file_count: u64,
    pub(crate) size: u64,
}

impl From<UseTotals> for WireBlobs {
    fn from(from: UseTotals) -> Self {
        Self { blob_count: from.blobs, unique_size: from.plain_bytes, stored_size: from.stored_bytes }
    }
}

/// The name of a class.
pub(crate) fn class_name(class: PackClass) -> &'static str {
    match class {
        PackClass::Media => "media",
        PackClass::Runs => "runs",
        PackClass::Metadata => "metadata",
    }
}

impl WireStats {
    pub(crate) fn new(
        stats: &Stats,
        snapshots: &[Snapshot],
        path: Option<&StoredPath>,
        outcome: &Outcome,
    ) -> Self {
        let (content, metadata) = (stats.content, stats.metadata);
        Self {
            message_type: "stats",
            path: path.map(Into::into),
            snapshots_count: u64::try_from(stats.snapshots.len()).unwrap_or(u64::MAX),
            total_file_count: stats.restored.files,
            total_size: stats.restored.bytes,
            total_unique_size: content.plain_bytes,
            total_stored_size: content.stored_bytes.saturating_add(metadata.stored_bytes),
            blob_count: content.blobs + metadata.blobs,
            deduplication_ratio: ratio(stats.restored.bytes, content.plain_bytes),
            compression_ratio: ratio(content.plain_bytes, content.stored_bytes),
            kinds: stats.kinds.iter().map(Into::into).collect(),
            metadata: metadata.into(),
            snapshots: stats.snapshots.iter().map(|one| WireSnapshotStats::new(one, snapshots)).collect(),
            deltas: stats.deltas.into(),
            unneeded_size: stats.unneeded_bytes,
            pack_classes: stats.classes.iter().map(Into::into).collect(),
            repository: stats.folders.iter().map(Into::into).collect(),
            repository_size: stats.folders.iter().map(|folder| folder.bytes).fold(0, u64::saturating_add),
            conditions: outcome.names(),
            exit_code: outcome.code(),
        }
    }
}

impl WireSnapshotStats {
    fn new(one: &SnapshotStats, snapshots: &[Snapshot]) -> Self {
        let time =
            |snapshot: &Snapshot| rfc3339(snapshot.manifest.time, snapshot.manifest.utc_offset_minutes);
        Self {
            snapshot_id: one.id.to_string(),
            time: snapshots.iter().find(|snapshot| snapshot.id == one.id).map(time),
            file_count: one.restored.files,
            size: one.restored.bytes,
            alone: one.alone.map(Into::into),
        }
    }
}

impl From<&KindStats> for WireKind {
    fn from(from: &KindStats) -> Self {
        Self {
            kind: from.kind.name(),
            file_count: from.restored.files,
            size: from.restored.bytes,
            blobs: from.blobs.into(),
        }
    }
}

impl From<&ClassStats> for WireClass {
    fn from(from: &ClassStats) -> Self {
        Self {
            class: class_name(from.class),
            pack_count: from.packs,
            size: from.bytes,
            blob_count: from.blobs,
        }
    }
}

impl From<&FolderStats> for WireFolder {
    fn from(from: &FolderStats) -> Self {
        Self { name: from.name.clone(), file_count: from.files, size: from.bytes }
    }
}
