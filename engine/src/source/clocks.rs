//! Whose clock stamps the files of a file system, and how far a foreign one had come.

use super::{SourceDir, Stat};
use crate::base::{StampClock, Timestamp};
use rustix::fs::fstatfs;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Stamps that lie further ahead of our clock say nothing of theirs, in seconds: somebody set them.
const FAR_AHEAD_SECS: i64 = 24 * 60 * 60;

/// File systems of this machine, by what `statfs` calls them (linux/magic.h): the kernel stamps their files by our clock.
/// Everything else is a server's, a phone's or a program's (FUSE).
const LOCAL: [u64; 26] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0xf2f5_2010, // F2FS
    0x2fc1_2fc1, // ZFS
    0xca45_1a4e, // bcachefs
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0x794c_7630, // overlayfs
    0x7371_7368, // SquashFS
    0xe0f5_e1e2, // EROFS
    0x3153_464a, // JFS
    0x5265_4973, // ReiserFS
    0x3434,      // NILFS2
    0x7366_746e, // NTFS (ntfs3)
    0x5346_544e, // NTFS (the old driver)
    0x4d44,      // FAT
    0x2011_bab0, // exFAT
    0x4244,      // HFS
    0x482b,      // HFS+
    0x9660,      // ISO 9660
    0x1501_3346, // UDF
    0x2405_1905, // UBIFS
    0x72b6,      // JFFS2
    0xf15f,      // eCryptfs
    0x9fa0,      // proc
];

/// The clocks of all file systems that a run has come by.
#[derive(Debug, Default)]
pub struct StampClocks {
    /// By the number of the file system.
    clocks: Mutex<HashMap<u64, StampClock>>,
    trust_none: bool,
}

impl StampClocks {
    /// With `trust_none`, every file system counts as another machine's.
    #[must_use]
    pub fn new(trust_none: bool) -> Self {
        Self { trust_none, ..Self::default() }
    }

    /// Looks at entries of a folder on this file system; `now` is the time by our clock.
    pub fn see<'s>(
        &self,
        device: u64,
        dir: &SourceDir,
        now: Timestamp,
        entries: impl IntoIterator<Item = &'s Stat>,
    ) {
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = clocks.entry(device).or_insert_with(|| {
            let is_local = || fstatfs(dir).is_ok_and(|stat| is_local(&stat));
            if !self.trust_none && is_local() { StampClock::Ours } else { StampClock::Theirs(None) }
        });
        if let StampClock::Theirs(latest) = clock {
            let most = Timestamp { secs: now.secs.saturating_add(FAR_AHEAD_SECS), nanos: now.nanos };
            let seen = entries.into_iter().map(Stat::stamp).filter(|stamp| *stamp <= most).max();
            *latest = (*latest).max(seen);
        }
    }

    /// The clock of this file system; nothing is known of one that was never looked at.
    #[must_use]
    pub fn of(&self, device: u64) -> StampClock {
        let clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.get(&device).copied().unwrap_or(StampClock::Theirs(None))
    }
}

fn is_local(stat: &rustix::fs::StatFs) -> bool {
    // The width and sign of the field differ between processors; all of these numbers fit into 32 bits.
    #[expect(clippy::cast_sign_loss, reason = "only the bits count")]
    let bits = stat.f_type as u64 & 0xffff_ffff;
    LOCAL.contains(&bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn stat_of(folder: &Path, mtime: i64, ctime: i64) -> Stat {
        let stat = SourceDir::open(folder).unwrap().stat().unwrap();
        Stat { mtime: Timestamp::new(mtime, 0), ctime: Timestamp::new(ctime, 0), ..stat }
    }

    #[test]
    fn a_file_system_of_this_machine_has_our_clock_and_an_unknown_one_has_none() {
        let temp = tempfile::tempdir().unwrap();
        let dir = SourceDir::open(temp.path()).unwrap();
        let clocks = StampClocks::default();
        assert_eq!(clocks.of(7), StampClock::Theirs(None));
        clocks.see(7, &dir, Timestamp::new(0, 0), []);
        assert_eq!(clocks.of(7), StampClock::Ours);
    }

    #[test]
    fn another_clock_is_where_its_latest_status_change_was_unless_that_lies_far_ahead() {
        let temp = tempfile::tempdir().unwrap();
        let dir = SourceDir::open(temp.path()).unwrap();
        let clocks = StampClocks::new(true);
        let see = |mtime, ctime| {
            clocks.see(1, &dir, Timestamp::new(1000, 0), [&stat_of(temp.path(), mtime, ctime)]);
            clocks.of(1)
        };
        let at = |secs| StampClock::Theirs(Some(Timestamp::new(secs, 0)));
        assert_eq!(see(900, 500), at(500), "the time of content can be set to anything");
        assert_eq!(see(900, 400), at(500));
        assert_eq!(see(600, 0), at(600), "a file system without a time of status change");
        assert_eq!(see(5, 1000 + FAR_AHEAD_SECS + 1), at(600));
        assert_eq!(see(5, 1000 + FAR_AHEAD_SECS), at(1000 + FAR_AHEAD_SECS));
        assert_eq!(clocks.of(2), StampClock::Theirs(None));
    }
}
