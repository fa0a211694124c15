//! `init`, also as the first line of a `snapshot` that makes the default repository; `recovery-kit`; `version`.

use serde::Serialize;

/// A new repository.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Initialized {
    pub(crate) message_type: &'static str,
    pub(crate) id: String,
    pub(crate) repository: String,
    pub(crate) opened_by: &'static str,
    /// The file with the recovery key, if it has one.
    pub(crate) recovery_key_file: Option<String>,
    /// The key file that is needed with the password.
    pub(crate) key_file: Option<String>,
}

/// A recovery kit, made or verified.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RecoveryKit {
    pub(crate) message_type: &'static str,
    pub(crate) id: String,
    pub(crate) repository: String,
    pub(crate) action: &'static str,
    /// True if a new recovery key was made for it.
    pub(crate) new_key: bool,
    /// The file that was written or verified.
    pub(crate) file: Option<String>,
    /// The page with the key, if it was not written to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<String>,
}

/// This program.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Version {
    pub(crate) message_type: &'static str,
    pub(crate) version: &'static str,
    pub(crate) repository_format: String,
    pub(crate) os: &'static str,
    pub(crate) arch: &'static str,
}
