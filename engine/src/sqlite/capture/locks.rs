//! The locks by which SQLite's connections keep out of each other's way, taken shared and through descriptors that only
//! read.
//!
//! Locks of an open file description (OFD locks) meet SQLite's own (POSIX) locks, but belong to our descriptor: they are
//! not lost when this process closes another descriptor of the same file.

use super::super::PENDING_BYTE;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

/// A stretch of bytes that stands for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    pub(super) start: i64,
    pub(super) len: i64,
}

/// Of the main file: taken by whoever waits for readers to go, so that no new ones come.
pub const PENDING: Bytes = Bytes { start: PENDING_BYTE.cast_signed(), len: 1 };
/// Of the main file: the one connection that prepares a change.
pub const RESERVED: Bytes = Bytes { start: PENDING.start + 1, len: 1 };
/// Of the main file: shared by readers (and by every connection in WAL mode), exclusive while it is written.
pub const SHARED: Bytes = Bytes { start: PENDING.start + 2, len: 510 };
/// Of the main file: the three together.
const MAIN: Bytes = Bytes { start: PENDING.start, len: SHARED.start + SHARED.len - PENDING.start };
/// Of the `-shm`: exclusive during a checkpoint, and while the index is rebuilt from the log.
pub const CHECKPOINT: Bytes = Bytes { start: 121, len: 1 };
/// Of the `-shm`: exclusive while the index is rebuilt from the log.
pub const RECOVERY: Bytes = Bytes { start: 122, len: 1 };
/// Of the `-shm`: shared by readers that need no log; exclusive while a checkpoint writes into the main file.
pub const READ_MAIN: Bytes = Bytes { start: 123, len: 1 };
/// Of the `-shm`: the last of the four slots of readers that need the log; all four exclusive while the log is begun anew.
pub const READ_LAST: Bytes = Bytes { start: 127, len: 1 };
/// Of the `-shm`: shared by every connection ("dead man's switch").
pub const ALIVE: Bytes = Bytes { start: 128, len: 1 };

/// The means to lock. There is one for use, [`Ofd`]; tests have others, to show what happens without.
pub trait Locks: fmt::Debug {
    /// Takes a shared lock without waiting; false if somebody has it exclusively.
    fn share(&self, file: BorrowedFd<'_>, bytes: Bytes) -> io::Result<bool>;
    /// Gives a lock back.
    fn release(&self, file: BorrowedFd<'_>, bytes: Bytes);
    /// True if somebody else has a lock there, shared or not.
    fn is_held(&self, file: BorrowedFd<'_>, bytes: Bytes) -> io::Result<bool>;
    /// True if somebody else has an exclusive lock there.
    fn is_exclusive(&self, file: BorrowedFd<'_>, bytes: Bytes) -> io::Result<bool>;
}

/// Locks of the open file description.
#[derive(Clone, Copy, Debug)]
pub struct Ofd;

impl Locks for Ofd {
    fn share(&self, file: BorrowedFd<'_>, bytes: Bytes) -> io::Result<bool> {
        match set(file, libc::F_RDLCK, bytes) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn release(&self, file: BorrowedFd<'_>, bytes: Bytes) {
        // Closing the descriptor would do the same.
        let _ = set(file, libc::F_UNLCK, bytes);
    }

    fn is_held(&self, file: BorrowedFd<'_>, bytes: Bytes) -> io::Result<bool> {
        would_meet(file, libc::F_WRLCK, bytes)
    }

    fn is_exclusive(&self, file: BorrowedFd<'_>, bytes: Bytes) -> io::Result<bool> {
        would_meet(file, libc::F_RDLCK, bytes)
    }
}

/// Asks whether a lock of this kind would meet another one. Nothing is locked by asking.
fn would_meet(file: BorrowedFd<'_>, kind: libc::c_int, bytes: Bytes) -> io::Result<bool> {
    Ok(met(file, kind, bytes)?.is_some())
}

/// The lock that one of this kind would meet.
fn met(file: BorrowedFd<'_>, kind: libc::c_int, bytes: Bytes) -> io::Result<Option<libc::flock>> {
    let mut found = flock(kind, bytes);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    retried(|| fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)))?;
    // What other processes hold, then.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    retried(|| fcntl(file, FcntlArg::F_GETLK(&mut found)))?;
    Ok((i32::from(found.l_type) != libc::F_UNLCK).then_some(found))
}

/// True if somebody has one of SQLite's locks on the main file `file`: a writer in any journal mode, a mere reader with a
/// write-ahead log. False where the file system has no locks.
#[must_use]
pub fn is_locked(file: BorrowedFd<'_>) -> bool {
    Ofd.is_held(file, MAIN).unwrap_or(false)
}

/// The width of these fields differs between systems.
fn widen(number: impl Into<i64>) -> i64 {
    number.into()
}

/// True if somebody has a lock on the file that only SQLite takes: on some of its bytes for locks, and on no others.
#[must_use]
pub fn is_locked_as_database(file: BorrowedFd<'_>) -> bool {
    let is_of_sqlite = |found: libc::flock| {
        let (start, len) = (widen(found.l_start), widen(found.l_len));
        start >= MAIN.start && (1..=MAIN.len).contains(&len) && start + len <= MAIN.start + MAIN.len
    };
    met(file, libc::F_WRLCK, MAIN).is_ok_and(|found| found.is_some_and(is_of_sqlite))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn set(file: BorrowedFd<'_>, kind: libc::c_int, bytes: Bytes) -> io::Result<()> {
    let wanted = flock(kind, bytes);
    retried(|| fcntl(file, FcntlArg::F_OFD_SETLK(&wanted)))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn set(_: BorrowedFd<'_>, _: libc::c_int, _: Bytes) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOTSUP))
}

fn retried(mut call: impl FnMut() -> nix::Result<libc::c_int>) -> io::Result<()> {
    loop {
        match call() {
            Err(nix::Error::EINTR) => {}
            result => return result.map(|_| ()).map_err(io::Error::from),
        }
    }
}

fn flock(kind: libc::c_int, bytes: Bytes) -> libc::flock {
    let small = |number: libc::c_int| libc::c_short::try_from(number).unwrap_or_default();
    libc::flock {
        l_type: small(kind),
        l_whence: small(libc::SEEK_SET),
        l_start: bytes.start,
        l_len: bytes.len,
        l_pid: 0,
    }
}

/// A shared lock, given back when it is dropped.
#[derive(Debug)]
pub struct Shared<'a> {
    locks: &'a dyn Locks,
    file: BorrowedFd<'a>,
    bytes: Bytes,
}

impl<'a> Shared<'a> {
    /// Takes it without waiting; `None` if somebody has it exclusively.
    pub fn take(locks: &'a dyn Locks, file: BorrowedFd<'a>, bytes: Bytes) -> io::Result<Option<Self>> {
        Ok(locks.share(file, bytes)?.then_some(Self { locks, file, bytes }))
    }

    /// The lock on the main file that SQLite's readers take, in the way they take it.
    pub fn of_reader(locks: &'a dyn Locks, main: BorrowedFd<'a>) -> io::Result<Option<Self>> {
        // Somebody who waits for readers to go has this one: then no new reader may come.
        let Some(_pending) = Self::take(locks, main, PENDING)? else { return Ok(None) };
        Self::take(locks, main, SHARED)
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        self.locks.release(self.file, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsFd;

    /// A file, opened by an app that writes, and by us.
    fn opened() -> (tempfile::TempDir, File, File) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let app = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        (folder, app, File::open(&path).unwrap())
    }

    fn lock(file: &File, kind: libc::c_int, bytes: Bytes) {
        set(file.as_fd(), kind, bytes).unwrap();
    }

    #[test]
    fn shared_locks_stand_beside_each_other_and_keep_out_exclusive_ones() {
        let (_folder, app, ours) = opened();
        lock(&app, libc::F_RDLCK, SHARED);
        let shared = Shared::of_reader(&Ofd, ours.as_fd()).unwrap();
        assert!(shared.is_some());
        assert!(Ofd.is_held(ours.as_fd(), SHARED).unwrap() && !Ofd.is_held(ours.as_fd(), PENDING).unwrap());
        assert!(set(app.as_fd(), libc::F_WRLCK, SHARED).is_err());
        assert!(set(app.as_fd(), libc::F_WRLCK, PENDING).is_ok(), "only the readers' bytes stay locked");
        drop(shared);
        assert!(set(app.as_fd(), libc::F_WRLCK, SHARED).is_ok());
        assert!(Shared::of_reader(&Ofd, ours.as_fd()).unwrap().is_none());
    }

    #[test]
    fn a_connection_that_waits_for_readers_to_go_lets_no_new_one_in() {
        let (_folder, app, ours) = opened();
        lock(&app, libc::F_WRLCK, PENDING);
        assert!(Shared::of_reader(&Ofd, ours.as_fd()).unwrap().is_none());
        assert!(set(app.as_fd(), libc::F_WRLCK, SHARED).is_ok(), "nothing was left behind");
    }

    #[test]
    fn any_lock_on_the_main_file_is_seen_and_none_beside_it() {
        let (_folder, app, ours) = opened();
        let (before, behind) = (PENDING.start - 1, SHARED.start + SHARED.len);
        for (start, expected) in [
            (before, false),
            (PENDING.start, true),
            (RESERVED.start, true),
            (behind - 1, true),
            (behind, false),
        ] {
            for kind in [libc::F_RDLCK, libc::F_WRLCK] {
                let bytes = Bytes { start, len: 1 };
                lock(&app, kind, bytes);
                assert_eq!(is_locked(ours.as_fd()), expected, "{start}");
                lock(&app, libc::F_UNLCK, bytes);
            }
        }
        let _own = Shared::of_reader(&Ofd, ours.as_fd()).unwrap().unwrap();
        assert!(!is_locked(ours.as_fd()), "our own count for nothing");
        assert_eq!((MAIN.start, MAIN.len), (1 << 30, 512));
    }

    #[test]
    fn only_locks_that_sqlite_takes_make_a_database() {
        let (_folder, app, ours) = opened();
        for (start, len, expected) in [
            (MAIN.start, 1, true),
            (SHARED.start, SHARED.len, true),
            (MAIN.start, MAIN.len, true),
            (0, 0, false),
            (MAIN.start, 0, false),
            (MAIN.start - 1, 2, false),
            (MAIN.start, MAIN.len + 1, false),
            (0, 10, false),
        ] {
            lock(&app, libc::F_RDLCK, Bytes { start, len });
            assert_eq!(is_locked_as_database(ours.as_fd()), expected, "{start} {len}");
            lock(&app, libc::F_UNLCK, Bytes { start, len });
        }
    }

    #[test]
    fn another_descriptor_that_is_closed_takes_no_lock_away() {
        let (folder, app, ours) = opened();
        let _shared = Shared::of_reader(&Ofd, ours.as_fd()).unwrap().unwrap();
        drop(File::open(folder.path().join("chat.db")).unwrap());
        assert!(set(app.as_fd(), libc::F_WRLCK, SHARED).is_err());
    }
}
