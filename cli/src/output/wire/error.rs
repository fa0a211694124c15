//! What goes to standard error in JSON mode.

use crate::output::error::Failure;
use serde::Serialize;

/// The last line of a command that ends without its result.
#[derive(Debug, Serialize)]
pub(crate) struct ExitError<'f> {
    message_type: &'static str,
    code: u8,
    condition: &'static str,
    message: String,
    hint: Option<&'f str>,
}

impl<'f> ExitError<'f> {
    pub(crate) fn new(failure: &'f Failure) -> Self {
        Self {
            message_type: "exit_error",
            code: failure.condition().code(),
            condition: failure.condition().name(),
            message: failure.message(),
            hint: failure.hint(),
        }
    }
}

/// Something that a person should know, though the work went on.
#[derive(Debug, Serialize)]
pub(crate) struct Warning<'t> {
    message_type: &'static str,
    message: &'t str,
}

impl<'t> Warning<'t> {
    pub(crate) fn new(message: &'t str) -> Self {
        Self { message_type: "warning", message }
    }
}
