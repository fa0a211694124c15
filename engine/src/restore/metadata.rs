//! What is set on an entry besides its content: owner, extended attributes, times, permissions. In this order, because
//! a new owner takes away bits and attributes that lend rights, and permissions may forbid everything else.

use super::{Metadata, Ownership};
use crate::model::{Node, NodeKind};
use crate::source::{SourceDir, Stat, Xattrs, xattrs_of, xattrs_of_entry};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat,
    fchmod, fchown, fgetxattr, fremovexattr, fsetxattr, fstat, futimens, lremovexattr, lsetxattr, openat,
    utimensat,
};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Permission bits that are set without an owner: of a folder, and of everything else.
const DIR_MODE: u32 = 0o1777;
const FILE_MODE: u32 = 0o777;
/// Permission bits that are set with the owner.
const ALL_MODE: u32 = 0o7777;

/// The attributes that hold access lists: of an entry, and of what is made in a folder.
const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";
/// The attribute that lends single rights of the superuser.
const CAPABILITY: &[u8] = b"security.capability";

/// What could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unset {
    Owner,
    /// The owner of the file that was replaced.
    KeptOwner,
    /// The stored owner of a new entry, which now is the superuser's: nobody asked for owners.
    NewOwner,
    TimesOrPermissions,
    /// Attributes of an entry that was there as it was stored, and is not touched.
    LeftAttributes,
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

impl Unset {
    /// What a person is told; the path of the first entry goes with it.
    pub(super) fn sentence(self, entries: u64, error: &io::Error) -> String {
        let thing = match self {
            Self::LeftAttributes => {
                return format!(
                    "{entries} existing entries match the snapshot but have other extended attributes or access lists, \
                     here first. They were left as they are; --owner sets them"
                );
            }
            Self::KeptOwner => {
                return format!(
                    "{entries} replaced files have another owner or group than before, here first: {error}. --owner gives \
                     them the stored ones"
                );
            }
            Self::NewOwner => {
                return format!(
                    "{entries} new entries belong to root and belonged to others when they were stored, here first. --owner \
                     gives them their owners"
                );
            }
            Self::Owner => "Owners".to_owned(),
            Self::TimesOrPermissions => "Times or permissions".to_owned(),
            Self::Attribute(family) => format!("Extended attributes ({})", family.name()),
        };
        format!("{thing} of {entries} entries could not be set, here first: {error}")
    }
}

/// What failed, each with its cause.
pub(super) type Failures = Vec<(Unset, io::Error)>;

/// What an entry takes over from the one that it replaces: all that says who may use it.
#[derive(Debug)]
pub(super) struct Replaced {
    uid: u32,
    gid: u32,
    /// Bits that lend rights; none of another kind of entry.
    set_id: u32,
    /// Access list and capabilities.
    attributes: Xattrs,
}

impl Replaced {
    /// Of what stands under the name of an entry now.
    pub(super) fn of(folder: &SourceDir, node: &Node) -> Option<Self> {
        let found = folder.stat_of(&node.name).ok()?;
        let is_same_kind = found.kind == node.kind && node.kind != NodeKind::Symlink;
        let attributes = if is_same_kind { xattrs_of_entry(folder, &node.name).ok() } else { None };
        let taken = |name: &[u8]| name == ACCESS || name == CAPABILITY;
        let attributes = attributes.into_iter().flatten().filter(|(name, _)| taken(name)).collect();
        let set_id = if is_same_kind { found.mode & !FILE_MODE } else { 0 };
        Some(Self { uid: found.uid, gid: found.gid, set_id, attributes })
    }
}

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
            Family::Security | Family::Trusted => self.superuser && self.gives_owners(),
            _ => true,
        }
    }

    pub(super) fn gives_owners(&self) -> bool {
        !matches!(self.ownership, Ownership::Own)
    }

    /// True if an entry with the stored content is to be touched all the same: owners are to be given, and it has others.
    pub(super) fn differs(&self, found: &Stat, node: &Node) -> bool {
        let Some((user, group)) = self.owner_of(node) else { return false };
        let has_other_mode = node.kind != NodeKind::Symlink && found.mode != node.mode & ALL_MODE;
        node.mtime.is_some() && ((found.uid, found.gid) != (user.as_raw(), group.as_raw()) || has_other_mode)
    }

    /// True if an entry that is there has other attributes than were stored, of those that anybody may set.
    pub(super) fn has_other_attributes(folder: &SourceDir, node: &Node) -> bool {
        let is_meant = |name: &[u8]| matches!(Family::of(name), Family::User | Family::AccessList);
        let there = xattrs_of_entry(folder, &node.name).unwrap_or_default();
        let there = there.iter().filter(|(name, _)| is_meant(name));
        !there.eq(node.xattrs.iter().filter(|(name, _)| is_meant(name)))
    }

    /// Permission bits of an entry that has its stored owner or has not.
    fn mode(node: &Node, owned: bool) -> u32 {
        let mask = match node.kind {
            _ if owned => ALL_MODE,
            NodeKind::Dir => DIR_MODE,
            _ => FILE_MODE,
        };
        node.mode & mask
    }

    /// The attributes that an entry is to have, and no others.
    fn attributes<'n>(&self, node: &'n Node, replaced: Option<&'n Replaced>) -> Vec<(&'n [u8], &'n [u8])> {
        let kept = replaced.filter(|_| !self.gives_owners());
        let stored = node.xattrs.iter().filter(|(name, _)| self.wants(name));
        let stored = stored.filter(|(name, _)| kept.is_none() || name != ACCESS);
        let kept = kept.into_iter().flat_map(|replaced| &replaced.attributes);
        stored.chain(kept).map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
    }

    /// Takes away what a new folder inherited from the one above, before anything comes into it.
    pub(super) fn disinherit(&self, folder: &SourceDir) {
        for name in [DEFAULT, ACCESS] {
            // Most have none. What cannot be taken away is told when the folder gets its permissions.
            let _ = fremovexattr(folder, name);
        }
    }

    /// Sets the metadata of an open file or folder: attributes are exactly those that were stored. What it replaces gives
    /// it owner, group, access list and the bits that lend rights, unless owners are to be given. Without a time nothing
    /// is set.
    pub(super) fn set(&self, fd: impl AsFd, node: &Node, replaced: Option<&Replaced>) -> Failures {
        let mut failures = Vec::new();
        let Some(metadata) = Metadata::of(node) else { return failures };
        let fd = fd.as_fd();
        let give = |user, group| fchown(fd, Some(user), Some(group));
        let own = fstat(fd).map(|stat| (stat.st_uid, stat.st_gid)).ok();
        let mode = self.give_owner(node, replaced, own, &give, &mut failures);
        let is_closed = set_exactly(fd, &self.attributes(node, replaced), &mut failures);
        note(&mut failures, Unset::TimesOrPermissions, futimens(fd, &times(metadata)));
        // With an access list that cannot be taken away, the bits of the group would open the file to others.
        let mode = if is_closed { mode } else { mode & !0o070 };
        note(&mut failures, Unset::TimesOrPermissions, fchmod(fd, Mode::from_raw_mode(mode)));
        failures
    }

    /// Sets what differs of a folder that was there: its time, and the nine permission bits, which a restore that was
    /// killed may have left closed. Owner, attributes and bits that lend rights stay, unless owners are to be given.
    pub(super) fn set_merged(&self, folder: &SourceDir, node: &Node) -> Failures {
        let mut failures = Vec::new();
        let (Some(metadata), Ok(found)) = (Metadata::of(node), folder.stat()) else { return failures };
        if self.differs(&found, node) {
            return self.set(folder, node, None);
        }
        if node.mtime != Some(found.mtime) {
            note(&mut failures, Unset::TimesOrPermissions, futimens(folder, &times(metadata)));
        }
        let mode = (node.mode & FILE_MODE) | (found.mode & !FILE_MODE);
        // With an access list these bits are a mask of that.
        let has_list = fgetxattr(folder, ACCESS, &mut [0u8; 0][..]).is_ok();
        if mode != found.mode && !has_list {
            note(&mut failures, Unset::TimesOrPermissions, fchmod(folder, Mode::from_raw_mode(mode)));
        }
        failures
    }

    /// Gives an entry its owner: the stored one, or that of what it replaces. The permission bits that go with that.
    fn give_owner(
        &self,
        node: &Node,
        replaced: Option<&Replaced>,
        own: Option<(u32, u32)>,
        give: &dyn Fn(Uid, Gid) -> rustix::io::Result<()>,
        failures: &mut Failures,
    ) -> u32 {
        if let Some((user, group)) = self.owner_of(node) {
            let given = give(user, group);
            note(failures, Unset::Owner, given);
            return Self::mode(node, given.is_ok());
        }
        let (Some(replaced), false) = (replaced, self.gives_owners()) else {
            if self.superuser && !self.gives_owners() && node.uid != 0 {
                failures.push((Unset::NewOwner, io::Error::other("no owners are given")));
            }
            return Self::mode(node, false);
        };
        let kept = match own == Some((replaced.uid, replaced.gid)) {
            true => Ok(()),
            false => give(Uid::from_raw(replaced.uid), Gid::from_raw(replaced.gid)).inspect_err(|_| {
                // The group alone may be one of ours.
                let own = own.map_or(replaced.uid, |(uid, _)| uid);
                let _ = give(Uid::from_raw(own), Gid::from_raw(replaced.gid));
            }),
        };
        note(failures, Unset::KeptOwner, kept);
        let set_id = if kept.is_ok() { replaced.set_id } else { 0 };
        (node.mode & FILE_MODE) | set_id
    }

    /// Sets the metadata of a link or a special file that has just been made. It is held while that is done, so that
    /// what takes its place gets no owner and no permissions.
    pub(super) fn set_by_name(
        &self,
        folder: BorrowedFd<'_>,
        name: &[u8],
        node: &Node,
        replaced: Option<&Replaced>,
    ) -> Failures {
        let mut failures = Vec::new();
        let Some(metadata) = Metadata::of(node) else { return failures };
        let is_plain = node.xattrs.is_empty() && !self.gives_owners() && replaced.is_none();
        let mut mode = Self::mode(node, false);
        let held = if is_plain && node.kind == NodeKind::Symlink {
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
            let give = |user, group| chownat(held, "", Some(user), Some(group), AtFlags::EMPTY_PATH);
            let own = fstat(held).map(|stat| (stat.st_uid, stat.st_gid)).ok();
            mode = self.give_owner(node, replaced, own, &give, &mut failures);
            // Calls that take a link itself know only paths: through the folder that is open, so of any depth.
            let path = [proc_path(folder).as_bytes(), b"/", name].concat();
            if node.kind != NodeKind::Symlink {
                // Only an access list is inherited, and most have none.
                let _ = lremovexattr(path.as_slice(), ACCESS);
            }
            for (attribute, value) in self.attributes(node, replaced) {
                let set = lsetxattr(path.as_slice(), attribute, value, XattrFlags::empty());
                note(&mut failures, Unset::Attribute(Family::of(attribute)), set);
            }
        }
        let set = utimensat(folder, name, &times(metadata), AtFlags::SYMLINK_NOFOLLOW);
        note(&mut failures, Unset::TimesOrPermissions, set);
        if let Some(held) = held.filter(|_| node.kind != NodeKind::Symlink) {
            // The path stands for what is held, which is no link.
            let set = chmodat(CWD, proc_path(held.as_fd()), Mode::from_raw_mode(mode), AtFlags::empty());
            note(&mut failures, Unset::TimesOrPermissions, set);
        }
        failures
    }
}

/// Gives an open entry these attributes, and takes away others that programs note or that lend rights. False if it has an
/// access list that stays, although none was stored.
fn set_exactly(fd: BorrowedFd<'_>, wanted: &[(&[u8], &[u8])], failures: &mut Failures) -> bool {
    let is_wanted = |name: &[u8]| wanted.iter().any(|(wanted, _)| *wanted == name);
    let mut is_closed = true;
    let there = xattrs_of(fd).unwrap_or_default();
    for (name, _) in there.iter().filter(|(name, _)| !is_wanted(name)) {
        let family = Family::of(name);
        if matches!(family, Family::User | Family::AccessList) {
            let removed = fremovexattr(fd, name.as_slice());
            is_closed &= removed.is_ok() || family != Family::AccessList;
            note(failures, Unset::Attribute(family), removed);
        }
    }
    for (name, value) in wanted {
        let is_there = there.iter().any(|(there, set)| there == name && set == value);
        if !is_there {
            let set = fsetxattr(fd, *name, value, XattrFlags::empty());
            note(failures, Unset::Attribute(Family::of(name)), set);
        }
    }
    is_closed
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
    let found = Stat::try_from(&stat).map_err(|_| Errno::STALE)?;
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
