//! Where a new password comes from. A secret is never an argument.

use crate::args::secret::SecretSource;
use clap::Args;
use std::path::PathBuf;

/// A new password, perhaps with a key file.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct NewPasswordArgs {
    /// File whose first line is the new password, instead of asking for it
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_command")]
    new_password_file: Option<PathBuf>,

    /// Command, run by `sh -c`, whose first line of output is the new password
    #[arg(long, value_name = "COMMAND")]
    new_password_command: Option<String>,

    /// File that must be given together with the new password; made with random content if it is missing
    #[arg(long, value_name = "FILE")]
    pub(crate) new_key_file: Option<PathBuf>,
}

impl NewPasswordArgs {
    /// Where the password comes from, if not from a question.
    pub(crate) fn source(&self) -> Option<SecretSource> {
        let file = self.new_password_file.clone().map(SecretSource::PasswordFile);
        file.or_else(|| self.new_password_command.clone().map(SecretSource::PasswordCommand))
    }
}
