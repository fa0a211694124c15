//! L3: reading the folders of a source: listing, metadata, content. Everything goes by descriptor, one name at a time, so
//! that paths of any length work and nothing is followed out of the source; nothing here ever writes.
//!
//! Errors are those of the operating system: the layer above knows the path and what the failure means.

mod clocks;
mod file;
mod named;
mod neighbours;
mod owner;
mod stat;
mod walk;
mod xattr;

pub use clocks::StampClocks;
pub use file::{Reader, Segment, SourceFile};
pub use named::Named;
pub use neighbours::Neighbours;
pub use owner::Owners;
pub use stat::Stat;
pub use walk::{Descent, Entry, Skip, SourceDir, estimate};
pub use xattr::{MOST_XATTR_BYTES, Xattrs, xattrs_of, xattrs_of_entry};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Most descriptors that [`raise_descriptor_limit`] asks for: more than this program can use, fewer than what makes other
/// code walk through long tables.
const MOST_DESCRIPTORS: u64 = 65536;

/// Lifts this process's limit of open descriptors as far as the system lets it, at most to 65,536, and returns the limit
/// that is then in force. Never lowers it, never fails.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let now = limit.current.unwrap_or(u64::MAX);
    let aim = limit.maximum.unwrap_or(u64::MAX).min(MOST_DESCRIPTORS);
    if now >= aim {
        return now;
    }
    limit.current = Some(aim);
    if setrlimit(Resource::Nofile, limit).is_ok() { aim } else { now }
}

/// Descriptors that this process may have open.
#[must_use]
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Refuses what is no single name: nothing, `.`, `..`, and anything with a slash or NUL.
fn check_name(name: &[u8]) -> io::Result<()> {
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no name of a folder's entry"));
    }
    Ok(())
}

/// Opens for reading, and leaves the time of last access alone where the system lets us (owner or superuser only).
fn open_quietly(at: impl AsFd, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | flags;
    let open = |flags| retry_on_intr(|| openat(at.as_fd(), name, flags, Mode::empty()));
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => Ok(open(flags)?),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests;
