//! `cache`: which caches there are, or what was cleared.

use crate::exit::Outcome;
use crate::output::human::rfc3339;
use chatvault_engine::catalog::CacheFolder;
use serde::Serialize;

/// The cache of one repository.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireCache {
    pub(crate) message_type: &'static str,
    pub(crate) repository_id: String,
    pub(crate) repository: Option<String>,
    pub(crate) folder: String,
    pub(crate) size: u64,
    pub(crate) last_use: Option<String>,
    pub(crate) in_use: bool,
    pub(crate) cleared: bool,
}

/// The last line of `cache --json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireCacheSummary {
    pub(crate) message_type: &'static str,
    pub(crate) folder: String,
    pub(crate) caches: u64,
    pub(crate) size: u64,
    pub(crate) freed: u64,
    pub(crate) conditions: Vec<&'static str>,
    pub(crate) exit_code: u8,
}

impl WireCache {
    pub(crate) fn new(cache: &CacheFolder, cleared: bool) -> Self {
        Self {
            message_type: "cache",
            repository_id: cache.repository.to_string(),
            repository: cache.location.clone(),
            folder: cache.path.to_string_lossy().into_owned(),
            size: cache.bytes,
            last_use: cache.last_use.map(|time| rfc3339(time, 0)),
            in_use: cache.in_use,
            cleared,
        }
    }
}

impl WireCacheSummary {
    /// After so many bytes of these caches were freed.
    pub(crate) fn new(folder: String, caches: &[CacheFolder], freed: u64, outcome: &Outcome) -> Self {
        Self {
            message_type: "summary",
            folder,
            caches: u64::try_from(caches.len()).unwrap_or(u64::MAX),
            size: caches.iter().map(|cache| cache.bytes).fold(0, u64::saturating_add),
            freed,
            conditions: outcome.names(),
            exit_code: outcome.code(),
        }
    }
}
