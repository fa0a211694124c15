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
    /// The file system refused or failed.
    Io,
    /// Something of the source could not be read.
    Source,
    /// The local catalog could not be used.
    Catalog,
    /// The user cancelled.
    Cancelled,
    /// A promise inside the program was broken: a bug.
    Internal,
}

/// A failure: kind, act, subject and cause.
pub struct Error {
    kind: Kind,
    act: String,
    subject: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error: `act` in the infinitive (`read pack`), `subject` as a person would name it.
    pub fn new(kind: Kind, act: impl Into<String>, subject: impl fmt::Display) -> Self {
        Self { kind, act: act.into(), subject: subject.to_string(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Makes an error from a failed call of the operating system; a full disk is recognised.
    pub fn io(act: impl Into<String>, subject: impl fmt::Display, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => Kind::NoSpace,
            Io::NotFound => Kind::NotFound,
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

/// Takes damage for "there is none": where what is damaged only helps. Every other failure stays one.
///
/// # Errors
/// What `result` failed with, unless that is [`Kind::Damaged`].
pub fn unless_damaged<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == Kind::Damaged => Ok(None),
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
    fn only_damage_counts_as_none() {
        let failed = |kind| unless_damaged::<()>(Err(Error::new(kind, "read", "x")));
        assert_eq!(unless_damaged(Ok(1)).unwrap(), Some(1));
        assert_eq!(failed(Kind::Damaged).unwrap(), None);
        for kind in [Kind::Io, Kind::Catalog, Kind::WrongKey, Kind::NewerFormat, Kind::Cancelled] {
            assert_eq!(failed(kind).unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn a_full_disk_is_recognised() {
        let full = std::io::Error::from_raw_os_error(28);
        assert_eq!(Error::io("write", "x", full).kind(), Kind::NoSpace);
    }
}
