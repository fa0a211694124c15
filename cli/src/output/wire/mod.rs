//! The types of JSON output, one file for each command; `docs/json-output.md` describes them and a test pins their names.
//!
//! Fields are only added. The engine's types are not serialised: they are converted here.

pub(crate) mod cache;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod error;
pub(crate) mod find;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod node;
pub(crate) mod restore;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod tag;

use chatvault_engine::base::StoredPath;
use chatvault_engine::base::id::to_hex;
use serde::Serialize;

/// A path in JSON: text, and the exact bytes where they are no UTF-8.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WirePath {
    /// The path; bytes that are no UTF-8 are replaced.
    pub(crate) path: String,
    /// The path's bytes as hexadecimal digits, only where `path` is not exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_bytes: Option<String>,
}

impl From<&StoredPath> for WirePath {
    fn from(path: &StoredPath) -> Self {
        let (path, path_bytes) = text_and_bytes(path.as_bytes());
        Self { path, path_bytes }
    }
}

/// Bytes as text, and as hexadecimal digits where the text is not exact.
pub(crate) fn text_and_bytes(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(to_hex(bytes))),
    }
}

/// A warning in the summary of a command.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireWarning {
    /// Why it is given; the names are in the documentation.
    pub(crate) kind: &'static str,
    /// Whose files it is about: `repository`, `source`, `target` or `cache`.
    pub(crate) whose: &'static str,
    /// The path it is about.
    #[serde(flatten)]
    pub(crate) path: Option<WirePath>,
    /// One sentence, without the path.
    pub(crate) message: String,
}

impl From<&chatvault_engine::base::Warning> for WireWarning {
    fn from(warning: &chatvault_engine::base::Warning) -> Self {
        Self {
            kind: warning.kind.name(),
            whose: warning.kind.whose().name(),
            path: warning.path.as_ref().map(WirePath::from),
            message: warning.message.clone(),
        }
    }
}
