//! The one public error of the engine: what was attempted, on what, and why it failed.
//!
//! What to do next is the business of the command line, which decides by [`Kind`].

use std::error::Error as StdError;
use std::fmt;

/// The result of everything in the engine that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// The class of a failure. Callers decide by it, never by the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The request itself makes no sense (a target inside the repository, an empty list of paths).
    Usage,
    /// There is no repository at the place that was named.
    NoRepository,
    /// A repository stands where a new one was asked for, or the folder is not empty.
    AlreadyThere,
    /// Another living program holds a lease that forbids this.
    Locked,
    /// Another program seems to be using what was to be written.
    InUse,
    /// Something would be overwritten or deleted that is in no snapshot.
    OnlyHere,
    /// The password or key opens no slot of this repository.
    WrongKey,
    /// The stored object has a format, draft or feature that this program does not know.
    NewerFormat,
    /// What was named (a snapshot, a path) is not there.
    NotFound,
    /// What was named fits several snapshots.
    Ambiguous,
    /// A stored object is missing, truncated or altered.
    Damaged,
    /// A file system is full.
    NoSpace,
    /// The file system failed.
    Io,
    /// The file system does not let this user read or write it (`EACCES`, `EPERM`): whole, but not for us.
    Denied,
    /// The file system is mounted read-only, or the disk is write-protected.
    ReadOnly,
    /// The disk or folder that held the repository is gone: nothing else of it can be read or written.
    Gone,
    /// Something of the source could not be read.
    Source,
    /// The local catalog could not be used.
    Catalog,
    /// The user cancelled.
    Cancelled,
    /// A promise inside the program was broken: a bug.
    Internal,
}

/// Whose file system an input or output failed on. Part of the JSON contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// The place where snapshots are stored.
    Repository,
    /// A folder that is being snapshotted.
    Source,
    /// The folder that gets restored files.
    Target,
    /// The local cache, which can always be rebuilt.
    Cache,
}

impl Whose {
    /// The name in JSON output and in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::Source => "source",
            Self::Target => "target",
            Self::Cache => "cache",
        }
    }
}

/// A failure: kind, act, subject, cause, and whose input or output it was.
pub struct Error {
    kind: Kind,
    whose: Option<Whose>,
    act: String,
    subject: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error: `act` in the infinitive (`read pack`), `subject` as a person would name it.
    pub fn new(kind: Kind, act: impl Into<String>, subject: impl fmt::Display) -> Self {
        Self { kind, whose: None, act: act.into(), subject: subject.to_string(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says whose input or output failed. The innermost layer that knows says it; later layers keep it.
    #[must_use]
    pub fn of(mut self, whose: Whose) -> Self {
        self.whose = self.whose.or(Some(whose));
        self
    }

    /// Makes an error from a failed call of the operating system; a full, write-protected or forbidden file system is
    /// recognised.
    pub fn io(act: impl Into<String>, subject: impl fmt::Display, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => Kind::NoSpace,
            Io::NotFound => Kind::NotFound,
            Io::PermissionDenied => Kind::Denied,
            Io::ReadOnlyFilesystem => Kind::ReadOnly,
            _ => Kind::Io,
        };
        Self::new(kind, act, subject).because(source)
    }

    /// Makes the error of a stored object that cannot be what was written.
    pub fn damaged(act: impl Into<String>, subject: impl fmt::Display, why: impl Into<String>) -> Self {
        Self::new(Kind::Damaged, act, subject).because(why.into())
    }

    /// Makes the error of a cancelled run.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "finish", "the run")
    }

    /// The class of this failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whose input or output failed; none if that is unknown or the failure is no such one.
    #[must_use]
    pub fn whose(&self) -> Option<Whose> {
        self.whose.or(match self.kind {
            Kind::Damaged | Kind::Gone | Kind::NoRepository | Kind::NewerFormat => Some(Whose::Repository),
            Kind::Source => Some(Whose::Source),
            Kind::Catalog => Some(Whose::Cache),
            _ => None,
        })
    }

    /// True if one stored object cannot be used, and others may: it is damaged, or this user may not read it.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self.kind, Kind::Damaged | Kind::Denied)
    }

    /// What was attempted, in the infinitive.
    #[must_use]
    pub fn act(&self) -> &str {
        &self.act
    }

    /// What it was attempted on.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The same error with another kind: for the layer that knows better what a failure means.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The whole chain of causes as one sentence, for logs and JSON.
    #[must_use]
    pub fn full_text(&self) -> String {
        let mut text = self.to_string();
        let mut cause = StdError::source(self);
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        text
    }
}

/// Takes an object that cannot be used for "there is none": where what it holds only helps. Every other failure stays.
///
/// # Errors
/// What `result` failed with, unless [`Error::is_unreadable`] says so.
pub fn unless_unreadable<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.is_unreadable() => Ok(None),
        Err(e) => Err(e),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Cancelled => write!(f, "Cancelled"),
            _ => write!(f, "Failed to {} {}", self.act, self.subject),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.full_text())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_act_subject_and_cause() {
        let e = Error::damaged("read pack", "3fa1", "the tag does not verify");
        assert_eq!(e.full_text(), "Failed to read pack 3fa1: the tag does not verify");
        assert_eq!(e.kind(), Kind::Damaged);
    }

    #[test]
    fn only_what_cannot_be_read_counts_as_none() {
        let failed = |kind| unless_unreadable::<()>(Err(Error::new(kind, "read", "x")));
        assert_eq!(unless_unreadable(Ok(1)).unwrap(), Some(1));
        assert_eq!(failed(Kind::Damaged).unwrap(), None);
        assert_eq!(failed(Kind::Denied).unwrap(), None);
        for kind in [Kind::Io, Kind::Gone, Kind::Catalog, Kind::WrongKey, Kind::NewerFormat, Kind::Cancelled]
        {
            assert_eq!(failed(kind).unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn full_forbidden_and_protected_disks_are_recognised() {
        let kind = |errno| Error::io("write", "x", std::io::Error::from_raw_os_error(errno)).kind();
        assert_eq!(
            [28, 13, 1, 30, 5].map(kind),
            [Kind::NoSpace, Kind::Denied, Kind::Denied, Kind::ReadOnly, Kind::Io]
        );
    }

    #[test]
    fn the_layer_that_knows_first_says_whose_it_was() {
        let error = Error::new(Kind::Io, "read", "x");
        assert_eq!(error.whose(), None);
        assert_eq!(Error::damaged("read", "x", "y").whose(), Some(Whose::Repository));
        let error = error.of(Whose::Source).of(Whose::Target);
        assert_eq!(error.with_kind(Kind::Damaged).whose(), Some(Whose::Source));
    }
}
