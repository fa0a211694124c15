//! What the caller brings along: who it is, its clock, its folders, its wish to stop.

use crate::base::{Cancel, Timestamp};
use crate::format::KeyNote;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Who is working: the caller finds this out, the engine writes it into manifests and leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Name of the machine.
    pub host: String,
    /// Name of the user.
    pub user: String,
    /// Program and version.
    pub program: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Process number.
    pub pid: u32,
    /// The namespace that the process number belongs to; 0 where there are none.
    pub pid_namespace: u64,
    /// Start time of the process in clock ticks since boot.
    pub process_started: u64,
}

/// One run of the program on one repository.
#[derive(Clone)]
pub struct Session {
    /// Who is working.
    pub client: Client,
    /// The clock.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Time since the machine was started, including the time that it slept.
    pub since_boot: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// A random number of this machine, kept for all its runs. Asked only by runs that write.
    pub machine: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
    /// Lets time pass, while an app is waited for.
    pub pause: Arc<dyn Fn(Duration) + Send + Sync>,
    /// Tells whether the process of this number and start time (clock ticks since boot) lives on this machine, in this
    /// process's own namespace.
    pub is_alive: Arc<dyn Fn(u32, u64) -> bool + Send + Sync>,
    /// Minutes east of UTC.
    pub utc_offset_minutes: i32,
    /// The folder that holds the catalogs of all repositories; `None` keeps this one's in memory.
    pub cache_dir: Option<PathBuf>,
    /// A folder of this user's own for files without a name: copies of databases that are being checked. `None` leaves
    /// them unchecked.
    pub scratch_dir: Option<PathBuf>,
    /// zstd level, 1 to 19.
    pub compression: i32,
    /// Threads for hashing, compressing and sealing; at least 1.
    pub threads: usize,
    /// The wish to stop.
    pub cancel: Cancel,
}

impl Session {
    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// What a key slot that is made now says about itself.
    pub(crate) fn key_note(&self) -> KeyNote {
        KeyNote {
            created: self.now(),
            host: self.client.host.clone(),
            user: self.client.user.clone(),
            ..KeyNote::default()
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("client", &self.client).finish_non_exhaustive()
    }
}
