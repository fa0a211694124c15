//! `key`.

use serde::Serialize;

/// One way to open the repository, in the array of `key list`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireKey {
    pub(crate) id: String,
    pub(crate) short_id: String,
    pub(crate) kind: &'static str,
    /// True for the one that opened the repository now.
    pub(crate) current: bool,
    pub(crate) state: &'static str,
    pub(crate) created: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) label: Option<String>,
}

/// What `key add`, `key remove` or `key passwd` did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeyChanged {
    pub(crate) message_type: &'static str,
    pub(crate) action: &'static str,
    /// The key that was added or removed.
    pub(crate) id: String,
    /// The key in whose place it is now.
    pub(crate) replaced: Option<String>,
    pub(crate) kind: &'static str,
    /// The file with the new recovery key.
    pub(crate) recovery_key_file: Option<String>,
    /// The file that the new password needs.
    pub(crate) key_file: Option<String>,
}
