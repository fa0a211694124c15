//! What goes to standard error in JSON mode.

use crate::output::error::Failure;
use chatvault_engine::base::{WarningKind, Whose};
use serde::Serialize;

/// The last line of a command that ends without its result.
#[derive(Debug, Serialize)]
pub(crate) struct ExitError<'f> {
    message_type: &'static str,
    code: u8,
    condition: &'static str,
    /// Whose files or disk failed: `repository`, `source`, `target` or `cache`.
    whose: Option<&'static str>,
    message: String,
    hint: Option<&'f str>,
}

impl<'f> ExitError<'f> {
    pub(crate) fn new(failure: &'f Failure) -> Self {
        Self {
            message_type: "exit_error",
            code: failure.condition().code(),
            condition: failure.condition().name(),
            whose: failure.whose().map(Whose::name),
            message: failure.message(),
            hint: failure.hint(),
        }
    }
}

/// Something that a person should know, though the work went on.
#[derive(Debug, Serialize)]
pub(crate) struct Warning<'t> {
    message_type: &'static str,
    /// Why it is given; none if it is not about the work itself.
    kind: Option<&'static str>,
    /// Whose files it is about: `repository`, `source`, `target` or `cache`.
    whose: Option<&'static str>,
    message: &'t str,
}

impl<'t> Warning<'t> {
    pub(crate) fn new(kind: Option<WarningKind>, message: &'t str) -> Self {
        let whose = kind.map(|kind| kind.whose().name());
        Self { message_type: "warning", kind: kind.map(WarningKind::name), whose, message }
    }
}
