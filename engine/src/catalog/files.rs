//! L3: the folder of a catalog: who may use it, which files stand there, when they may be deleted.
//!
//! Every open catalog holds a shared lock on `catalog.lock`; whoever makes, checks or deletes the database holds it
//! alone. (SQLite removes the log of a database that it closes by name: deleting a database that somebody else still
//! has open would take the log away from its successor.) The last one to close it seals it (`seal.rs`).

use super::check;
use super::schema::{self, Trouble, Unusable};
use super::seal::{SEAL, Seal, Verdict};
use crate::base::RepoId;
use crate::base::path::clean;
use crate::crypto::Secret;
use crate::sys;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DATABASE: &str = "catalog.sqlite";
/// The database and what SQLite may put beside it.
pub(super) const DATABASE_FILES: [&str; 4] =
    [DATABASE, "catalog.sqlite-wal", "catalog.sqlite-shm", "catalog.sqlite-journal"];
pub(super) const LOCK: &str = "catalog.lock";
pub(super) const TAG: &str = "CACHEDIR.TAG";
const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file says that this folder is a cache and need not be backed up.\n\
    # It was made by chatvault; https://bford.info/cachedir/ tells more.\n";
/// How often, and how long apart, another program that is just opening or closing is waited for: ten seconds in all.
const TRIES: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(10);
const BUSY: &str = "another running program is still opening it";

/// The folder of an open catalog, and our share of its lock.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    lock: File,
    seal: Seal,
    /// What came of taking the seal away; none if nobody here has wanted to write yet.
    broken: OnceLock<io::Result<()>>,
    /// True while what is kept here may be sealed.
    is_trusted: AtomicBool,
}

/// Opens or makes the catalog in a folder. The text says why an earlier one was thrown away; an error, why no catalog
/// can be kept there now.
pub(super) fn open(
    dir: &Path,
    repo: &RepoId,
    key: &Secret,
) -> Result<(Connection, Home, Option<String>), Unusable> {
    for _ in 0..TRIES {
        let home = Home::enter(dir, key)?;
        let is_alone = home.lock_alone_or_shared()?;
        // Else the cache was cleared while we waited: its lock is nobody's any more.
        if !home.is_current() {
            continue;
        }
        let (connection, why) = if is_alone {
            let opened = open_alone(&home, repo, key)?;
            home.share()?;
            opened
        } else {
            // Whoever opened it first has checked it.
            match connect(&home, repo, key, Verdict::Fits) {
                Ok(connection) => (connection, None),
                Err(Trouble::Rebuild(why)) => {
                    return Err(format!("{why}, and another running program uses it").into());
                }
                Err(Trouble::Unusable(why)) => return Err(why),
            }
        };
        if home.is_current() {
            // Until the seal is taken away: no call that writes can forget that.
            connection.pragma_update(None, "query_only", true)?;
            home.is_trusted.store(true, Ordering::Relaxed);
            return Ok((connection, home, why));
        }
    }
    Err("it is cleared again and again by another program".to_owned().into())
}

fn open_alone(home: &Home, repo: &RepoId, key: &Secret) -> Result<(Connection, Option<String>), Unusable> {
    let why = match home.state()? {
        State::Missing => None,
        State::Odd(why) => Some(why),
        State::Present { was_closed } => match reuse(home, repo, key, was_closed) {
            Ok(connection) => return Ok((connection, None)),
            Err(Trouble::Rebuild(why)) => Some(why),
            Err(Trouble::Unusable(why)) => return Err(why),
        },
    };
    home.delete()?;
    let made = home.make_database().and_then(|()| {
        let connect = || {
            let connection = connect_only(home)?;
            schema::create(&connection, repo, key)?;
            Ok(connection)
        };
        connect().map_err(|e: rusqlite::Error| e.into())
    });
    match made {
        Ok(connection) => Ok((connection, why)),
        Err(e) => {
            let _ = home.delete();
            Err(e)
        }
    }
}

/// Opens what is there, which nobody uses.
fn reuse(home: &Home, repo: &RepoId, key: &Secret, was_closed: bool) -> Result<Connection, Trouble> {
    let verdict = if was_closed { home.seal.check() } else { Verdict::Unknown };
    match verdict {
        Verdict::Fits => {}
        Verdict::Differs => {
            return Err(Trouble::Rebuild(
                "it is damaged (its bytes are not those that were left)".to_owned(),
            ));
        }
        // What is left of a seal goes before the log is written into the database.
        Verdict::Unknown => home.seal.take_away().map_err(|e| Unusable {
            why: format!("{SEAL} cannot be deleted ({e})"),
            disk_failed: is_of_disk(&e),
        })?,
    }
    connect(home, repo, key, verdict)
}

fn connect(home: &Home, repo: &RepoId, key: &Secret, verdict: Verdict) -> Result<Connection, Trouble> {
    let connection = connect_only(home)?;
    schema::verify(&connection, repo, key)?;
    if verdict != Verdict::Fits {
        check::everything(&connection, key)?;
    }
    Ok(connection)
}

fn connect_only(home: &Home) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(home.dir.join(DATABASE), flags)?;
    schema::prepare(&connection)?;
    Ok(connection)
}

/// What stands in the folder.
enum State {
    Missing,
    Present { was_closed: bool },
    Odd(String),
}

impl Home {
    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the folder if it is missing and refuses one that others can write to.
    fn enter(dir: &Path, key: &Secret) -> Result<Self, Unusable> {
        let shown = clean(dir.as_os_str().as_bytes());
        let failed = |act: &str, e: io::Error| Unusable {
            why: format!("the cache folder {shown} cannot be {act} ({e})"),
            disk_failed: is_of_disk(&e),
        };
        sys::create_folders(dir, 0o700).map_err(|e| failed("made", e))?;
        // From here on no link of the path is followed: SQLite would refuse them all.
        let dir = dir.canonicalize().map_err(|e| failed("found", e))?;
        let metadata = fs::metadata(&dir).map_err(|e| failed("looked at", e))?;
        if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
            return Err(format!("other users could write to the cache folder {shown}").into());
        }
        let lock = open_private(&dir.join(LOCK), OFlags::empty()).map_err(|e| failed("locked", e))?;
        let tag = open_private(&dir.join(TAG), OFlags::EXCL);
        match tag.and_then(|mut tag| tag.write_all(TAG_TEXT.as_bytes())) {
            Err(e) if is_of_disk(&e) => return Err(failed("marked as one", e)),
            // It is there already; else only other backup programs miss it.
            _ => {}
        }
        let seal = Seal::new(&dir, DATABASE, key);
        Ok(Self { dir, lock, seal, broken: OnceLock::new(), is_trusted: AtomicBool::new(false) })
    }

    /// True if the lock that we have is still the one that stands in the folder.
    fn is_current(&self) -> bool {
        let (ours, there) = (self.lock.metadata(), fs::symlink_metadata(self.dir.join(LOCK)));
        matches!((ours, there), (Ok(ours), Ok(there)) if (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
    }

    /// Takes the lock alone (true), or shares it with those who have it.
    fn lock_alone_or_shared(&self) -> Result<bool, String> {
        for _ in 0..TRIES {
            match self.lock.try_lock() {
                Ok(()) => return Ok(true),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(lock_failed(&e)),
            }
            if self.try_share()? {
                return Ok(false);
            }
            std::thread::sleep(PAUSE);
        }
        Err(BUSY.to_owned())
    }

    /// From holding the lock alone to sharing it.
    fn share(&self) -> Result<(), String> {
        self.lock.unlock().map_err(|e| lock_failed(&e))?;
        for _ in 0..TRIES {
            if self.try_share()? {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        Err(BUSY.to_owned())
    }

    fn try_share(&self) -> Result<bool, String> {
        match self.lock.try_lock_shared() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(e)) => Err(lock_failed(&e)),
        }
    }

    /// Looks at the files by name only: opening and closing a database's file drops SQLite's locks on it.
    fn state(&self) -> Result<State, String> {
        let mut are_there = Vec::new();
        for name in DATABASE_FILES {
            let path = self.dir.join(name);
            match fs::symlink_metadata(&path) {
                Ok(metadata) if !metadata.is_file() => {
                    return Ok(State::Odd(format!("{name} was no plain file")));
                }
                Ok(metadata) => {
                    if metadata.mode() & 0o777 != 0o600 {
                        let private = fs::Permissions::from_mode(0o600);
                        fs::set_permissions(&path, private)
                            .map_err(|e| format!("{name} is not ours ({e})"))?;
                    }
                    are_there.push(true);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => are_there.push(false),
                Err(e) => return Err(format!("{name} cannot be looked at ({e})")),
            }
        }
        Ok(match are_there.as_slice() {
            // Whoever closes it last leaves nothing beside it. Somebody who is about to share the lock does.
            [true, others @ ..] => State::Present { was_closed: !others.contains(&true) },
            _ => State::Missing,
        })
    }

    /// Makes the empty file, because SQLite would give it the rights of the umask.
    fn make_database(&self) -> Result<(), Unusable> {
        let made = open_private(&self.dir.join(DATABASE), OFlags::EXCL);
        let failed =
            |e| Unusable { why: format!("{DATABASE} cannot be made ({e})"), disk_failed: is_of_disk(&e) };
        made.map(|_| ()).map_err(failed)
    }

    /// The folder, for people.
    pub(super) fn shown(&self) -> String {
        clean(self.dir.as_os_str().as_bytes()).into_owned()
    }

    /// Takes the seal away before the first write; true if that was done just now. It is tried once only: a flush that
    /// failed proves nothing when it is repeated.
    pub(super) fn break_seal(&self) -> io::Result<bool> {
        let is_first = self.broken.get().is_none();
        match self.broken.get_or_init(|| self.seal.replace_by_mark()) {
            Ok(()) => Ok(is_first),
            Err(e) => Err(e.raw_os_error().map_or_else(|| e.kind().into(), io::Error::from_raw_os_error)),
        }
    }

    /// What is kept here is not sealed by this program.
    pub(super) fn distrust(&self) {
        self.is_trusted.store(false, Ordering::Relaxed);
    }

    /// Seals the database if nobody uses it any more. A seal that is there fits: who writes takes it away.
    fn seal_if_last(&self) {
        if !self.is_trusted.load(Ordering::Relaxed) || self.seal.is_there() || self.lock.unlock().is_err() {
            return;
        }
        // Else the last one does it.
        if self.lock.try_lock().is_ok()
            && self.is_current()
            && matches!(self.state(), Ok(State::Present { was_closed: true }))
        {
            self.seal.set();
        }
    }

    /// Deletes the database; the lock must be held alone.
    fn delete(&self) -> Result<(), Unusable> {
        // It must never stand beside another database.
        self.seal.take_away().map_err(|e| Unusable {
            why: format!("{SEAL} cannot be deleted ({e})"),
            disk_failed: is_of_disk(&e),
        })?;
        for name in DATABASE_FILES {
            let path = self.dir.join(name);
            let deleted = match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir(&path),
                _ => fs::remove_file(&path),
            };
            match deleted {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(Unusable {
                        why: format!("{name} cannot be deleted ({e})"),
                        disk_failed: is_of_disk(&e),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes the database unless somebody else has it open.
    pub(super) fn delete_if_alone(&self) -> Result<(), String> {
        self.lock.unlock().map_err(|e| lock_failed(&e))?;
        match self.lock.try_lock() {
            Ok(()) => self.delete().map_err(|e| e.why),
            Err(TryLockError::WouldBlock) => Err("another running program uses it".to_owned()),
            Err(TryLockError::Error(e)) => Err(lock_failed(&e)),
        }
    }

    /// Writes a small file that nothing rests on; what it held is replaced.
    pub(super) fn write_file(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut file = open_private(&self.dir.join(name), OFlags::TRUNC)?;
        file.write_all(content)
    }

    /// Opens another file of the folder for locking; it is made if missing.
    pub(super) fn open_lock_file(&self, name: &str) -> io::Result<File> {
        open_private(&self.dir.join(name), OFlags::empty())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.seal_if_last();
    }
}

/// As [`schema::is_of_disk`].
pub(super) fn is_of_disk(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

pub(super) fn lock_failed(e: &io::Error) -> String {
    format!("the cache folder cannot be locked ({e})")
}

/// Opens a file of our own folder for writing, made for the owner alone if missing; links are refused.
pub(super) fn open_private(path: &Path, more: OFlags) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
    Ok(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?.into())
}
