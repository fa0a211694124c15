//! What the unit tests of this layer and the ones above share.

use crate::base::{BlobId, Cancel, StoredPath, Timestamp, WriterId};
use crate::crypto::{Credential, RecoveryKey};
use crate::model::{Manifest, Statistics};
use crate::repo::{Client, Repo, Session};
use crate::store::Store;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A session with a fixed clock, whose processes are all dead.
pub(crate) fn session(cache_dir: Option<&Path>) -> Session {
    Session {
        client: Client {
            host: "host".into(),
            user: "me".into(),
            program: "test".into(),
            boot_id: "boot".into(),
            pid: 1,
            pid_namespace: 1,
            process_started: 1,
        },
        clock: Arc::new(|| Timestamp::new(1_800_000_000, 0)),
        since_boot: Arc::new(|| Duration::from_secs(1)),
        machine: Arc::new(|| [1; 16]),
        pause: Arc::new(|_| {}),
        is_alive: Arc::new(|_, _| false),
        utc_offset_minutes: 0,
        cache_dir: cache_dir.map(Path::to_path_buf),
        scratch_dir: Some(std::env::temp_dir()),
        compression: 3,
        threads: 2,
        cancel: Cancel::new(),
    }
}

/// A new repository and the key that opens it.
pub(crate) fn create(store: Arc<dyn Store>, session: Session) -> (Repo, Credential) {
    let key = Credential::Recovery(RecoveryKey::random().unwrap());
    (Repo::create(store, std::slice::from_ref(&key), session).unwrap(), key)
}

/// A manifest that differs by its number.
pub(crate) fn sample_manifest(n: u8) -> Manifest {
    Manifest {
        time: Timestamp::new(n.into(), 0),
        created: Timestamp::new(n.into(), 0),
        utc_offset_minutes: 0,
        writer: WriterId::new([n; 16]),
        sequence: 1,
        previous: None,
        lamport: 1,
        heads: Vec::new(),
        imported: false,
        host: "host".into(),
        user: "me".into(),
        paths: vec![StoredPath::root()],
        parent: None,
        root: BlobId::new([n; 32]),
        statistics: Statistics::default(),
        program: "test".into(),
        tags: Vec::new(),
        description: None,
        verdict: None,
        incomplete: false,
        summaries: None,
        lineage: None,
        links: Vec::new(),
        is_stream: false,
    }
}
