//! L2: what a failed call of the file system means for a repository.
//!
//! One object that the disk cannot read is damage of that object, as an altered one is. One that this user may not read
//! is whole, and stays so. A repository that is not there any more is neither: nothing that is asked of it can succeed.

use super::files;
use crate::base::path::clean;
use crate::base::{Error, Kind, Whose};
use rustix::io::Errno;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the folder of the store is needed for, to find out why a call failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'s> {
    pub(super) path: &'s Path,
    pub(super) root: &'s File,
}

impl Place<'_> {
    /// The error of a failed read, listing or look.
    pub(super) fn read(self, act: &str, subject: impl Display, e: io::Error) -> Error {
        if self.is_gone(&e) {
            return self.gone(act, subject, &e);
        }
        let error = match (e.kind(), Errno::from_io_error(&e)) {
            (io::ErrorKind::UnexpectedEof, _) => {
                Error::damaged(act, subject, "it became shorter while it was read")
            }
            (io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory, _) => {
                let why = "it is no plain file in plain folders (links in a repository are not followed)";
                Error::damaged(act, subject, why)
            }
            (_, Some(Errno::IO | Errno::BADMSG | Errno::UCLEAN | Errno::NODATA)) => {
                Error::damaged(act, subject, format!("the disk cannot read it ({e})"))
            }
            (io::ErrorKind::PermissionDenied, _) => {
                let owner = self.owner_of(&subject.to_string());
                Error::new(Kind::Denied, act, subject).because(format!("this user may not read it{owner}"))
            }
            _ => Error::io(act, subject, e),
        };
        error.of(Whose::Repository)
    }

    /// The error of a failed write: what is full, write-protected or closed is said to be the repository's, so that no
    /// source is suspected.
    pub(super) fn write(self, act: &str, subject: impl Display, e: io::Error) -> Error {
        if self.is_gone(&e) {
            return self.gone(act, subject, &e);
        }
        write_error(act, subject, e)
    }

    fn gone(self, act: &str, subject: impl Display, e: &io::Error) -> Error {
        let place = clean(self.path.as_os_str().as_bytes()).into_owned();
        Error::new(Kind::Gone, act, subject)
            .because(format!("the disk of the repository is gone: {place} cannot be reached any more ({e})"))
            .of(Whose::Repository)
    }

    /// True if not this object failed, but the whole repository. An unplugged disk answers each read with the same error as
    /// a bad sector does: it is asked for the config then, which no repository can do without.
    fn is_gone(self, e: &io::Error) -> bool {
        match Errno::from_io_error(e) {
            Some(
                Errno::NODEV
                | Errno::NXIO
                | Errno::STALE
                | Errno::NOTCONN
                | Errno::SHUTDOWN
                | Errno::NOMEDIUM,
            ) => true,
            Some(Errno::NOENT) => !self.is_in_place(),
            Some(Errno::IO) => {
                !self.is_in_place() || ["config", "mirror/config"].iter().all(|name| self.fails_to_read(name))
            }
            _ => false,
        }
    }

    /// True if the path still leads to the folder that was opened.
    pub(super) fn is_in_place(self) -> bool {
        let opened = self.root.metadata();
        let named = std::fs::metadata(self.path);
        matches!((opened, named), (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()))
    }

    /// True if the disk itself cannot read an object. The kernel may have it in memory still.
    fn fails_to_read(self, name: &str) -> bool {
        let read = || {
            let (folder, last) = files::folder_of(self.root, name)?;
            let (file, size) = files::open_file(&folder, last)?;
            files::forget_cached(&file);
            files::read_range(&file, 0, size.min(1))
        };
        matches!(read(), Err(e) if Errno::from_io_error(&e) == Some(Errno::IO))
    }

    /// Whose an object is, in words.
    fn owner_of(self, name: &str) -> String {
        let owner = files::folder_of(self.root, name).and_then(|(folder, last)| files::owner(&folder, last));
        match owner {
            Ok(0) => ": it belongs to root".to_owned(),
            Ok(uid) => format!(": it belongs to user {uid}"),
            Err(_) => String::new(),
        }
    }
}

/// As [`Place::write`], where there is no open repository yet.
pub(super) fn write_error(act: &str, subject: impl Display, e: io::Error) -> Error {
    let error = Error::io(act, subject, e).of(Whose::Repository);
    let why = match error.kind() {
        Kind::NoSpace => {
            "the repository's file system is full, or the quota or greatest file size there is reached"
        }
        Kind::ReadOnly => "the repository's file system is mounted read-only",
        Kind::Denied => "this user may not write into the repository",
        Kind::NotFound => "the repository's folder vanished",
        _ => return error,
    };
    let kind = if error.kind() == Kind::NotFound { Kind::Gone } else { error.kind() };
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    Error::new(kind, error.act(), error.subject()).because(format!("{why} ({cause})")).of(Whose::Repository)
}
