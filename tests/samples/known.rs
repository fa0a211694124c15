//! The samples that this test knows.

/// Folder, number of files, and BLAKE3 over the sorted paths and contents (`Truth::content_hash`).
pub const KNOWN: [(&str, usize, &str); 17] = [
    ("bagoup", 9, ""),
    ("chat-history-manager", 21, ""),
    ("chat-miner", 4, ""),
    ("exif-samples", 9, ""),
    ("iLEAPP-whatsapp-ios", 3, ""),
    ("imessage-exporter", 16, ""),
    ("libsignal-message-backup", 30, ""),
    ("media-mp4parse", 6, ""),
    ("media-mutagen", 5, ""),
    ("memacs", 3, ""),
    ("mvt-ios-backup", 14, ""),
    ("plaso", 4, ""),
    ("rwhatsapp", 3, ""),
    ("wa-crypt-tools", 10, ""),
    ("wechat-enmicromsg", 2, ""),
    ("whatsapp-viewer", 3, ""),
    ("whatstk", 4, ""),
];
