//! `ls`: one entry of a snapshot.

use super::{WirePath, text_and_bytes};
use crate::output::human::rfc3339;
use chatvault_engine::base::StoredPath;
use chatvault_engine::base::id::to_hex;
use chatvault_engine::model::{DatabaseState, Node, NodeKind};
use serde::Serialize;

/// An entry of a snapshot.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireNode {
    pub(crate) message_type: &'static str,
    #[serde(flatten)]
    pub(crate) path: WirePath,
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Permission bits as a number.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) linktarget: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) linktarget_bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hard_link: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) extended_attributes: Vec<WireAttribute>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) changed_while_read: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<WireDatabase>,
}

/// An extended attribute.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireAttribute {
    pub(crate) name: String,
    pub(crate) value_bytes: String,
}

/// What is known of a file as a database.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WireDatabase {
    pub(crate) state: &'static str,
    pub(crate) page_size: u32,
    pub(crate) sidecars: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) damaged_log: Option<u64>,
}

impl WireNode {
    pub(crate) fn new(path: &StoredPath, node: &Node) -> Self {
        let target = node.target.as_deref().map(text_and_bytes);
        let (linktarget, linktarget_bytes) = target.map_or((None, None), |(text, bytes)| (Some(text), bytes));
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            message_type: "node",
            path: path.into(),
            name: lossy(path.name()),
            kind: node.kind.name(),
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            user: node.user.clone(),
            group: node.group.clone(),
            mtime: node.mtime.map(|time| rfc3339(time, 0)),
            size: (node.kind == NodeKind::File).then_some(node.size),
            linktarget,
            linktarget_bytes,
            hard_link: node.hard_link,
            device: node.device.map(|(major, minor)| [major, minor]),
            extended_attributes: node
                .xattrs
                .iter()
                .map(|(name, value)| WireAttribute { name: lossy(name), value_bytes: to_hex(value) })
                .collect(),
            changed_while_read: node.changed_while_read,
            database: node.database.as_ref().map(|database| WireDatabase {
                state: state_name(database.state),
                page_size: database.page_size,
                sidecars: database.sidecars.iter().map(|name| lossy(name)).collect(),
                damaged_log: database.damaged_log.map(|log| log.size),
            }),
        }
    }
}

fn state_name(state: DatabaseState) -> &'static str {
    match state {
        DatabaseState::Quiescent => "quiescent",
        DatabaseState::AsItLay => "as_it_lay",
        DatabaseState::Captured => "captured",
        DatabaseState::Pair => "pair",
    }
}
