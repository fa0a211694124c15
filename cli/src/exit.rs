//! Exit codes: the only place that maps a condition, or an engine's [`Kind`], to a number.
//!
//! The numbers are a contract (`docs/json-output.md`): they are added to, never changed.

use chatvault_engine::base::Kind;
use std::process::ExitCode;

/// Something that a run ended with and that a script wants to know. A run without any is done: 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The user stopped it.
    Cancelled,
    /// The command line makes no sense.
    Usage,
    /// The password or key does not open the repository.
    WrongKey,
    /// There is no repository where one was looked for.
    NoRepository,
    /// Another living program forbids this.
    Locked,
    /// It failed.
    Failed,
    /// This user may not read something of the repository, and it was done without.
    Denied,
    /// Something in the repository is damaged.
    Damaged,
    /// The snapshot is stored, but a database failed its integrity check.
    IntegrityFailed,
    /// Something would be overwritten or deleted that is in no snapshot: nothing was done.
    OnlyHere,
    /// The snapshot is stored, but some of the source could not be read.
    Incomplete,
}

impl Condition {
    /// All conditions; the first one that is met gives the exit code.
    pub(crate) const BY_PRECEDENCE: [Self; 11] = [
        Self::Cancelled,
        Self::Usage,
        Self::WrongKey,
        Self::NoRepository,
        Self::Locked,
        Self::Failed,
        Self::Denied,
        Self::Damaged,
        Self::IntegrityFailed,
        Self::OnlyHere,
        Self::Incomplete,
    ];

    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Failed | Self::Denied => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::NoRepository => 10,
            Self::Locked => 11,
            Self::WrongKey => 12,
            Self::OnlyHere => 20,
            Self::IntegrityFailed => 21,
            Self::Damaged => 22,
            Self::Cancelled => 130,
        }
    }

    /// The name in JSON output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Usage => "usage",
            Self::Incomplete => "incomplete",
            Self::NoRepository => "no_repository",
            Self::Locked => "locked",
            Self::WrongKey => "wrong_key",
            Self::OnlyHere => "only_here",
            Self::IntegrityFailed => "integrity_failed",
            Self::Damaged => "damaged",
            Self::Cancelled => "cancelled",
        }
    }

    /// What a failure of this kind means for a script.
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Usage => Self::Usage,
            Kind::NoRepository => Self::NoRepository,
            Kind::Locked => Self::Locked,
            Kind::WrongKey => Self::WrongKey,
            Kind::Damaged => Self::Damaged,
            Kind::Denied => Self::Denied,
            Kind::OnlyHere => Self::OnlyHere,
            Kind::Cancelled => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}

/// The conditions that a run ended with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome(Vec<Condition>);

impl Outcome {
    /// Nothing to tell.
    pub(crate) fn done() -> Self {
        Self::default()
    }

    /// The same with one more condition, if it is met.
    #[must_use]
    pub(crate) fn with(mut self, condition: Condition, met: bool) -> Self {
        if met && !self.0.contains(&condition) {
            self.0.push(condition);
        }
        self
    }

    /// Both together.
    #[must_use]
    pub(crate) fn and(self, other: &Self) -> Self {
        other.0.iter().fold(self, |all, condition| all.with(*condition, true))
    }

    /// The exit code: that of the condition that comes first by precedence.
    pub(crate) fn code(&self) -> u8 {
        Condition::BY_PRECEDENCE.into_iter().find(|c| self.0.contains(c)).map_or(0, Condition::code)
    }

    /// The names of all conditions, the most important one first.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        Condition::BY_PRECEDENCE.into_iter().filter(|c| self.0.contains(c)).map(Condition::name).collect()
    }
}

impl From<Condition> for Outcome {
    fn from(condition: Condition) -> Self {
        Self(vec![condition])
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        let codes: Vec<(u8, &str)> = Condition::BY_PRECEDENCE.iter().map(|c| (c.code(), c.name())).collect();
        assert_eq!(
            codes,
            [
                (130, "cancelled"),
                (2, "usage"),
                (12, "wrong_key"),
                (10, "no_repository"),
                (11, "locked"),
                (1, "failed"),
                (1, "denied"),
                (22, "damaged"),
                (21, "integrity_failed"),
                (20, "only_here"),
                (3, "incomplete"),
            ]
        );
    }

    #[test]
    fn the_gravest_condition_gives_the_code_and_all_are_named() {
        let outcome = Outcome::done()
            .with(Condition::Incomplete, true)
            .with(Condition::Damaged, true)
            .with(Condition::Locked, false)
            .with(Condition::Incomplete, true);
        assert_eq!(outcome.code(), 22);
        assert_eq!(outcome.names(), ["damaged", "incomplete"]);
        assert_eq!(Outcome::done().code(), 0);
    }

    #[test]
    fn kinds_without_a_code_of_their_own_are_plain_failures() {
        for kind in [Kind::AlreadyThere, Kind::NewerFormat, Kind::NotFound, Kind::Ambiguous, Kind::NoSpace] {
            assert_eq!(Condition::of(kind), Condition::Failed);
        }
        assert_eq!(Condition::of(Kind::WrongKey).code(), 12);
    }
}
