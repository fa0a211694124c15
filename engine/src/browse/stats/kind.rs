//! What kind of content a file has, by what the snapshot recorded of it: a database by its layout, else the name.
//! No content is read.

use crate::model::{Layout, Node};
use crate::sqlite::capture::Sidecar;

/// What kind of content a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContentKind {
    /// Photos and other pictures.
    Photo,
    /// Videos.
    Video,
    /// Voice messages, music and other sound.
    Audio,
    /// Databases, also the encrypted ones that apps export.
    Database,
    /// Texts, tables, contacts, archives and the like.
    Document,
    /// Everything else.
    Other,
}

/// Endings of names, in lower case, of all kinds but the last.
const ENDINGS: [(ContentKind, &[&str]); 5] = [
    (
        ContentKind::Photo,
        &[
            "jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", "heic", "heif", "avif", "bmp", "tif", "tiff",
            "dng", "svg",
        ],
    ),
    (
        ContentKind::Video,
        &[
            "mp4", "m4v", "mov", "3gp", "3gpp", "3g2", "mkv", "webm", "avi", "mpg", "mpeg", "wmv", "flv",
            "ts", "mts",
        ],
    ),
    (
        ContentKind::Audio,
        &[
            "opus", "ogg", "oga", "m4a", "mp3", "aac", "amr", "wav", "flac", "wma", "caf", "silk", "slk",
            "aud", "mid",
        ],
    ),
    (
        ContentKind::Database,
        &[
            "db",
            "sqlite",
            "sqlite3",
            "sqlitedb",
            "db3",
            "storedata",
            "crypt",
            "crypt12",
            "crypt14",
            "crypt15",
        ],
    ),
    (
        ContentKind::Document,
        &[
            "pdf", "txt", "md", "rtf", "doc", "docx", "odt", "xls", "xlsx", "ods", "csv", "ppt", "pptx",
            "odp", "htm", "html", "xml", "json", "vcf", "ics", "eml", "epub", "zip", "7z", "rar", "tar",
            "gz", "apk",
        ],
    ),
];

impl ContentKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Photo, Self::Video, Self::Audio, Self::Database, Self::Document, Self::Other];

    /// The kind of a file.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        if node.database.is_some() || node.layout == Layout::PageRuns {
            return Self::Database;
        }
        let name = String::from_utf8_lossy(&node.name).to_ascii_lowercase();
        // What lies beside a database is of its kind.
        let main = Sidecar::main_of(name.as_bytes()).and_then(|(main, _)| name.get(..main.len()));
        let Some((_, ending)) = main.unwrap_or(&name).rsplit_once('.') else { return Self::Other };
        ENDINGS.iter().find(|(_, endings)| endings.contains(&ending)).map_or(Self::Other, |(kind, _)| *kind)
    }

    /// The name in JSON output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Database => "database",
            Self::Document => "document",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeKind;

    #[test]
    fn kinds_go_by_layout_then_by_name() {
        let of = |name: &[u8]| ContentKind::of(&Node::new(name.to_vec(), NodeKind::File));
        for (name, kind) in [
            (&b"IMG-1.JPG"[..], ContentKind::Photo),
            (b"VID.3gp", ContentKind::Video),
            (b"PTT-20240101-WA0000.opus", ContentKind::Audio),
            (b"msgstore.db", ContentKind::Database),
            (b"msgstore.db-wal", ContentKind::Database),
            (b"msgstore-2024-01-01.1.db.crypt15", ContentKind::Database),
            (b"_chat.txt", ContentKind::Document),
            (b"jpg", ContentKind::Other),
            (b".nomedia", ContentKind::Other),
            (b"\xff.\xfe", ContentKind::Other),
        ] {
            assert_eq!(of(name), kind, "{}", String::from_utf8_lossy(name));
        }
        let mut paged = Node::new(b"picture.jpg".to_vec(), NodeKind::File);
        paged.layout = Layout::PageRuns;
        assert_eq!(ContentKind::of(&paged), ContentKind::Database);
    }
}
