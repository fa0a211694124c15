//! What is set on an entry besides its content: owner, extended attributes, times, permissions. In this order, because
//! a new owner takes away bits and attributes that lend rights, and permissions may forbid everything else.

use super::{Metadata, Ownership};
use crate::model::{Node, NodeKind};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat,
    fchmod, fchown, fsetxattr, fstat, futimens, lsetxattr, openat, utimensat,
};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Permission bits that are set without an owner: of a folder, and of everything else.
const DIR_MODE: u32 = 0o1777;
const FILE_MODE: u32 = 0o777;
/// Permission bits that are set with the owner.
const ALL_MODE: u32 = 0o7777;

/// What could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unset {
    Owner,
    TimesOrPermissions,
    /// An attribute of this family.
    Attribute(Family),
}

/// Extended attributes by the first part of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    User,
    AccessList,
    System,
    Security,
    Trusted,
    Other,
}

impl Family {
    fn of(name: &[u8]) -> Self {
        let families: [(&[u8], Self); 5] = [
            (b"system.posix_acl_", Self::AccessList),
            (b"system.", Self::System),
            (b"user.", Self::User),
            (b"security.", Self::Security),
            (b"trusted.", Self::Trusted),
        ];
        families
            .into_iter()
            .find(|(prefix, _)| name.starts_with(prefix))
            .map_or(Self::Other, |(_, family)| family)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::User => "user.*",
            Self::AccessList => "system.posix_acl_*",
            Self::System => "system.*",
            Self::Security => "security.*",
            Self::Trusted => "trusted.*",
            Self::Other => "other",
        }
    }
}

/// What failed, each with its cause.
pub(super) type Failures = Vec<(Unset, io::Error)>;

/// How entries get their metadata.
#[derive(Debug)]
pub(super) struct Setter {
    ownership: Ownership,
    superuser: bool,
}

impl Setter {
    pub(super) fn new(ownership: Ownership) -> Self {
        Self { ownership, superuser: rustix::process::geteuid().is_root() }
    }

    /// Owner and group of an entry, if they are to be set.
    fn owner_of(&self, node: &Node) -> Option<(Uid, Gid)> {
        let (user, group) = match &self.ownership {
            Ownership::Own => return None,
            Ownership::Numbers => (None, None),
            Ownership::Names(owners) => (
                node.user.as_deref().and_then(|name| owners.user_number(name)),
                node.group.as_deref().and_then(|name| owners.group_number(name)),
            ),
        };
        // The greatest number stands for "no change".
        let number =
            |named: Option<u32>, stored| Some(named.unwrap_or(stored)).filter(|number| *number != u32::MAX);
        Some((Uid::from_raw(number(user, node.uid)?), Gid::from_raw(number(group, node.gid)?)))
    }

    /// True for attributes that are set at all: those that lend rights only together with the owner.
    fn wants(&self, name: &[u8]) -> bool {
        match Family::of(name) {
            Family::Security | Family::Trusted => self.superuser && !matches!(self.ownership, Ownership::Own),
            _ => true,
        }
    }

    /// True if entries get owners.
    pub(super) fn gives_owners(&self) -> bool {
        !matches!(self.ownership, Ownership::Own)
    }

    /// True if times and permissions are all that is ever set on this entry.
    pub(super) fn is_plain(&self, node: &Node) -> bool {
        node.xattrs.is_empty() && !self.gives_owners()
    }

    /// Permission bits of an entry that has its stored owner or has not.
    fn mode(node: &Node, owned: bool) -> Mode {
        let mask = match node.kind {
            _ if owned => ALL_MODE,
            NodeKind::Dir => DIR_MODE,
            _ => FILE_MODE,
        };
        Mode::from_raw_mode(node.mode & mask)
    }

    /// The permission bits that [`Setter::set`] gives, if it may set the owner.
    pub(super) fn mode_of(&self, node: &Node) -> u32 {
        Self::mode(node, self.owner_of(node).is_some()).as_raw_mode()
    }

    /// Sets the metadata of an open file or folder. Without a time nothing is set.
    pub(super) fn set(&self, fd: impl AsFd, node: &Node) -> Failures {
        let mut failures = Vec::new();
        let Some(metadata) = Metadata::of(node) else { return failures };
        let fd = fd.as_fd();
        let owner = self.owner_of(node).map(|(user, group)| fchown(fd, Some(user), Some(group)));
        note(&mut failures, Unset::Owner, owner.unwrap_or(Ok(())));
        for (name, value) in node.xattrs.iter().filter(|(name, _)| self.wants(name)) {
            let set = fsetxattr(fd, name.as_slice(), value, XattrFlags::empty());
            note(&mut failures, Unset::Attribute(Family::of(name)), set);
        }
        note(&mut failures, Unset::TimesOrPermissions, futimens(fd, &times(metadata)));
        let mode = Self::mode(node, matches!(owner, Some(Ok(()))));
        note(&mut failures, Unset::TimesOrPermissions, fchmod(fd, mode));
        failures
    }

    /// Sets the metadata of a link or a special file that has just been made. It is held while that is done, so that
    /// what takes its place gets no owner and no permissions.
    pub(super) fn set_by_name(&self, folder: BorrowedFd<'_>, name: &[u8], node: &Node) -> Failures {
        let mut failures = Vec::new();
        let Some(metadata) = Metadata::of(node) else { return failures };
        let mut owned = false;
        let held = if self.is_plain(node) && node.kind == NodeKind::Symlink {
            None
        } else {
            match hold(folder, name, node.kind) {
                Ok(held) => Some(held),
                Err(e) => {
                    failures.push((Unset::TimesOrPermissions, e.into()));
                    return failures;
                }
            }
        };
        if let Some(held) = &held {
            if let Some((user, group)) = self.owner_of(node) {
                let set = chownat(held, "", Some(user), Some(group), AtFlags::EMPTY_PATH);
                owned = set.is_ok();
                note(&mut failures, Unset::Owner, set);
            }
            for (attribute, value) in node.xattrs.iter().filter(|(name, _)| self.wants(name)) {
                // Calls that take a link itself know only paths: through the folder that is open, so of any depth.
                let path = [proc_path(folder).as_bytes(), b"/", name].concat();
                let set = lsetxattr(path, attribute.as_slice(), value, XattrFlags::empty());
                note(&mut failures, Unset::Attribute(Family::of(attribute)), set);
            }
        }
        let set = utimensat(folder, name, &times(metadata), AtFlags::SYMLINK_NOFOLLOW);
        note(&mut failures, Unset::TimesOrPermissions, set);
        if let Some(held) = held.filter(|_| node.kind != NodeKind::Symlink) {
            // The path stands for what is held, which is no link.
            let set = chmodat(CWD, proc_path(held.as_fd()), Self::mode(node, owned), AtFlags::empty());
            note(&mut failures, Unset::TimesOrPermissions, set);
        }
        failures
    }
}

fn note(failures: &mut Failures, what: Unset, result: rustix::io::Result<()>) {
    if let Err(e) = result {
        failures.push((what, e.into()));
    }
}

/// A path that stands for an open descriptor.
fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Holds an entry without opening it, if it is what was just made: of this kind, and with no other name.
fn hold(folder: BorrowedFd<'_>, name: &[u8], kind: NodeKind) -> rustix::io::Result<OwnedFd> {
    let held = openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&held)?;
    let found = crate::source::Stat::try_from(&stat).map_err(|_| Errno::STALE)?;
    if found.kind == kind && found.nlink == 1 { Ok(held) } else { Err(Errno::STALE) }
}

/// The time of modification; the time of last access stays.
fn times(metadata: Metadata) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let Metadata { mtime, .. } = metadata;
    Timestamps {
        last_access: omit,
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.min(999_999_999).into() },
    }
}
