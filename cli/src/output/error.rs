//! Failures as a person reads them: what was attempted on what, why it failed, and what to do next.
//!
//! The engine says the first two; the advice is given here, by [`Kind`], or by the command that knows better.

use crate::exit::Condition;
use chatvault_engine::base::path::clean;
use chatvault_engine::base::{Error, Kind, Whose};
use std::error::Error as StdError;
use std::fmt::Display;

/// Stands in advice for the program with the options that this run was given.
const COMMAND: &str = "{chatvault}";
/// Stands in advice for the program alone.
const PROGRAM: &str = "{program}";

/// Why a command ends without its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    condition: Condition,
    whose: Option<Whose>,
    what: String,
    why: Option<String>,
    hint: Option<String>,
}

/// What a command ends with.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure in the words of the command line itself: `what` is a sentence without a period.
    pub(crate) fn new(condition: Condition, what: impl Display) -> Self {
        Self { condition, whose: None, what: one_line(&what.to_string()), why: None, hint: None }
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(what: impl Display) -> Self {
        Self::new(Condition::Usage, what)
    }

    /// A failed call of the operating system: `act` in the infinitive.
    pub(crate) fn io(act: &str, subject: impl Display, cause: std::io::Error) -> Self {
        Error::io(act, subject, cause).into()
    }

    /// The same failure with its cause. Lines after the first stay lines.
    #[must_use]
    pub(crate) fn because(mut self, why: impl Display) -> Self {
        self.why = Some(clean_lines(&why.to_string()));
        self
    }

    /// The same failure with this advice instead of the usual one.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(one_line(&hint.to_string()));
        self
    }

    /// The same failure, whose advice names commands as this run would need them: `program` is how this program is called,
    /// `repeated` are the options that name the repository and its key, each with a space in front.
    #[must_use]
    pub(crate) fn for_this_run(mut self, program: &str, repeated: &str) -> Self {
        let command = format!("{program}{}", one_line(repeated));
        self.hint = self.hint.map(|hint| hint.replace(COMMAND, &command).replace(PROGRAM, program));
        self
    }

    /// What it means for a script.
    pub(crate) fn condition(&self) -> Condition {
        self.condition
    }

    /// Whose files or disk failed.
    pub(crate) fn whose(&self) -> Option<Whose> {
        self.whose
    }

    /// What was attempted, and why it failed.
    pub(crate) fn message(&self) -> String {
        match &self.why {
            Some(why) => format!("{}: {why}", self.what),
            None => self.what.clone(),
        }
    }

    /// What was attempted.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Why it failed.
    pub(crate) fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut causes = Vec::new();
        let mut next = StdError::source(&error);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        let condition = match (error.kind(), error.whose()) {
            (Kind::Denied, whose) if whose != Some(Whose::Repository) => Condition::Failed,
            (kind, _) => Condition::of(kind),
        };
        let mut failure = match headline(&error) {
            // What a person can do something about comes first.
            Some(headline) => {
                causes.insert(0, error.to_string());
                Self::new(condition, headline)
            }
            None => Self::new(condition, &error),
        };
        failure.whose = error.whose();
        let failure = if causes.is_empty() { failure } else { failure.because(causes.join(": ")) };
        let hint = match (error.kind(), error.whose()) {
            (Kind::Denied, Some(Whose::Repository)) => Some(DENIED_HINT),
            (kind, _) => advice(kind),
        };
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

/// How to get files of a repository back that another user (often root, by `sudo`) has written.
pub(crate) const DENIED_HINT: &str =
    "`sudo chown -R \"$(id -un):$(id -gn)\" REPOSITORY` gives the files of the repository to you";

/// What happened to a whole disk, if that is why something failed.
fn headline(error: &Error) -> Option<String> {
    let disk = format!("The disk of the {}", error.whose()?.name());
    match error.kind() {
        Kind::NoSpace => Some(format!("{disk} is full")),
        Kind::ReadOnly => Some(format!("{disk} is write-protected")),
        Kind::Gone => Some(format!("{disk} is not connected any more")),
        _ => None,
    }
}

/// What to do next after a failure of this kind.
fn advice(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Usage => "`{program} --help` shows the verbs, `{program} VERB --help` how to use one",
        Kind::NoRepository => {
            "connect the disk that it is on, and check the path: `-r PATH` names the folder of a repository"
        }
        Kind::AlreadyThere => "name another place, or use what is there",
        Kind::Locked => "wait until the other program has ended, then run this again",
        Kind::OnlyHere => "take a snapshot of it first",
        Kind::InUse => "end the program that uses it, then run this again",
        Kind::WrongKey => {
            "check what was given: the password, and the key file (`--key-file FILE`) if the repository needs one; the \
             recovery key of a printed recovery kit opens it alone (`--recovery-key-file FILE`)"
        }
        Kind::NewerFormat => {
            "a newer chatvault wrote this: update this one (an older draft needs the one that wrote it), and leave the \
             repository as it is"
        }
        Kind::NotFound => "`{chatvault} list` shows the snapshots, `{chatvault} ls SNAPSHOT` what is in one",
        Kind::Ambiguous => "give more digits of the id",
        Kind::Damaged => {
            "change nothing in the repository; check the disk's health, and restore from an older snapshot or from a \
             copy of the repository"
        }
        Kind::NoSpace => {
            "make room on that disk and run this again; what is stored already is not stored again"
        }
        Kind::Io => "check that the disk is connected and works, then run this again",
        Kind::Denied => "check who owns it; `ls -ln` shows owners and permissions",
        Kind::ReadOnly => "mount that disk writable, or remove its write protection, then run this again",
        Kind::Gone => {
            "connect the disk again, then run this again; what is stored already is not stored again"
        }
        Kind::Source => "check that you may read it, and run this again",
        Kind::Catalog => {
            "run this again with `--no-cache`; the cache holds nothing that cannot be made again"
        }
        Kind::Internal => "this is a bug in chatvault: please report it with this message",
        Kind::Cancelled => "run the same command again",
        _ => return None,
    })
}

/// Text for one line of a terminal.
pub(crate) fn one_line(text: &str) -> String {
    clean(text.as_bytes()).into_owned()
}

/// Text whose lines stay lines; those after the first are indented, so that none can pass for one of ours.
fn clean_lines(text: &str) -> String {
    let lines: Vec<String> = text.trim_end().split('\n').map(|line| one_line(line.trim_end())).collect();
    lines.join("\n       ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_error_keeps_its_chain_and_gets_advice() {
        let cause = std::io::Error::other("the cable is out");
        let failure = Failure::from(Error::io("read", "pack 3fa1", cause));
        assert_eq!(failure.message(), "Failed to read pack 3fa1: the cable is out");
        assert_eq!(failure.condition(), Condition::Failed);
        assert!(failure.hint().unwrap().contains("disk is connected"));
    }

    #[test]
    fn every_kind_that_needs_advice_has_some_and_it_names_no_missing_verb() {
        let kinds = [
            Kind::Usage,
            Kind::NoRepository,
            Kind::AlreadyThere,
            Kind::Locked,
            Kind::InUse,
            Kind::WrongKey,
            Kind::NewerFormat,
            Kind::NotFound,
            Kind::Ambiguous,
            Kind::Damaged,
            Kind::NoSpace,
            Kind::Io,
            Kind::Denied,
            Kind::ReadOnly,
            Kind::Gone,
            Kind::Source,
            Kind::Catalog,
            Kind::Cancelled,
            Kind::Internal,
        ];
        for kind in kinds {
            let hint = advice(kind).unwrap_or_else(|| panic!("{kind:?}"));
            assert!(!hint.contains("`chatvault"), "{hint}");
            let shown =
                Failure::from(Error::new(kind, "do", "it")).for_this_run("chatvault", " -r '/my chats'");
            assert!(!shown.hint().unwrap().contains(['{', '}']), "{kind:?}");
            for verb in ["check`", "repair", "unlock", "forget", "prune"] {
                assert!(!hint.contains(verb), "{kind:?} advises a verb that does not exist: {hint}");
            }
        }
    }

    #[test]
    fn advice_repeats_the_options_of_this_run() {
        let failure = Failure::from(Error::new(Kind::NotFound, "find", "x"))
            .for_this_run("target/chatvault", " -r '/my chats'");
        assert!(
            failure.hint().unwrap().starts_with("`target/chatvault -r '/my chats' list` shows the snapshots")
        );
    }

    #[test]
    fn names_from_outside_can_neither_move_the_cursor_nor_fake_a_line() {
        let failure = Failure::new(Condition::Failed, "Failed to read a\x1b[2J\nhint: run rm")
            .because("x\nerror: y\x07");
        assert!(!failure.message().contains('\x1b'));
        assert_eq!(failure.message().lines().count(), 2);
        assert!(
            failure.message().lines().all(|line| !line.starts_with("hint") && !line.starts_with("error"))
        );
    }
}
