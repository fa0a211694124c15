//! The demonstration must succeed, and must notice what is wrong.

use super::play::Play;
use crate::process;
use chatvault_engine::base::{Cancel, Timestamp};
use chatvault_engine::repo::Session;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn session() -> Session {
    Session {
        client: process::client(None),
        clock: Arc::new(|| Timestamp::new(1_795_000_000, 0)),
        since_boot: Arc::new(process::since_boot),
        machine: Arc::new(|| [1; 16]),
        pause: Arc::new(std::thread::sleep),
        is_alive: Arc::new(process::is_alive),
        utc_offset_minutes: 0,
        cache_dir: None,
        scratch_dir: None,
        compression: 3,
        threads: 2,
        cancel: Cancel::new(),
    }
}

/// A demonstration up to the restore, and the restored folder.
fn restored(stage: &Path) -> (Play, PathBuf) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    let mut play = Play::begin(stage, session(), now).unwrap();
    for _ in 0..3 {
        play.live_a_day().unwrap();
    }
    let restored = play.restore_first_day().unwrap();
    (play, restored)
}

#[test]
fn the_first_day_comes_back_and_later_days_cost_little() {
    let stage = tempfile::tempdir().unwrap();
    let (play, restored) = restored(stage.path());
    assert_eq!(play.compare(&restored).unwrap(), Vec::<String>::new());
    let packed: Vec<u64> = play.days().iter().map(|day| day.summary.statistics.data_added_packed).collect();
    assert!(packed[2] < packed[0] / 10, "{packed:?}");
    let first = &play.days()[0].summary.statistics;
    assert!(first.data_added < first.total_bytes, "the photo in two chats is stored once");
    let changes = play.changes().unwrap();
    for wanted in [
        "M    Databases/messages.db",
        "+    Media/Photos/Beach.jpg",
        "-    Media/Photos/IMG-001.jpg",
        "-    Media/Photos/IMG-002.jpg",
        "+    Media/Photos/IMG-004.jpg",
    ] {
        assert!(changes.iter().any(|line| line == wanted), "{wanted} is not in {changes:?}");
    }
}

#[test]
fn one_damaged_byte_one_changed_time_and_one_changed_permission_are_noticed() {
    let stage = tempfile::tempdir().unwrap();
    let (play, restored) = restored(stage.path());
    let voice = restored.join("Media/Voice notes/VOICE-001.ogg");
    let time = fs::metadata(&voice).unwrap().modified().unwrap();
    let mut bytes = fs::read(&voice).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&voice, bytes).unwrap();
    File::options().write(true).open(&voice).unwrap().set_modified(time).unwrap();
    assert_eq!(play.compare(&restored).unwrap(), ["Media/Voice notes/VOICE-001.ogg: has other bytes"]);

    let photo = restored.join("Media/Sent/IMG-000.jpg");
    let time = fs::metadata(&photo).unwrap().modified().unwrap();
    File::options().write(true).open(&photo).unwrap().set_modified(time + Duration::from_nanos(1)).unwrap();
    fs::set_permissions(restored.join("Databases/messages.db"), Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        play.compare(&restored).unwrap(),
        [
            "Databases/messages.db: has other permissions",
            "Media/Sent/IMG-000.jpg: has another time",
            "Media/Voice notes/VOICE-001.ogg: has other bytes",
        ]
    );
}
