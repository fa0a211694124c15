//! The samples that this test knows.

/// Folder, number of files, and BLAKE3 over the sorted paths and contents (`Truth::content_hash`).
pub const KNOWN: [(&str, usize, &str); 17] = [
    ("bagoup", 9, "57a3f6335931df42da8b19df1880872d6f4698abcb36a7d4ace942531304dfaf"),
    ("chat-history-manager", 21, "86915daf4f6faa0814386365d89ba4d8cf890507fdffc22435c08afd6ade9390"),
    ("chat-miner", 4, "b1701833c7933587aa4b9d18cc17d481416b503814b7970a7b90c2598a2e9a80"),
    ("exif-samples", 9, "3db548e4f48dae6d60d8f8737f1567cf08dfb1dc92cb7b76016d228d8ec6edb5"),
    ("iLEAPP-whatsapp-ios", 3, "13fe25d0562b7bad90f13e2ac4641bc6dcb00956e5291daf142aff6079b0d397"),
    ("imessage-exporter", 16, "9cabafbf413c91a7df5fc62e1921bf5b6e0350b9bfca8b73b5ad65399473ebcc"),
    ("libsignal-message-backup", 30, "ea54f56f5233c13aaa47ca08f100571f2d14c3a240ad10883d649b31f7d5639d"),
    ("media-mp4parse", 6, "407f7521ff04a2062770f623439d240a2bebbed5d885298c1962dca6c3ebbd02"),
    ("media-mutagen", 5, "d9afc730e1fdaa1d42a1511231afcd560a5b1adf65267188b220b7b71f811a36"),
    ("memacs", 3, "b52e5cfcc18f2942a90d90c011164a7ed4fb345c88b09e8353773957cf30fb00"),
    ("mvt-ios-backup", 14, "7ca3fa4f50b799dd241a3bf843ff20baef412cc19969b203f12a5afaab8fdac9"),
    ("plaso", 4, "88d7b1f363d3d1f9ea13c2184ec05bafb6059c3e0dd6d66f3fd63974906ec8e4"),
    ("rwhatsapp", 3, "77be8dc8fae6383205150b8dd577eaffc2637c6e8a3eb5c8e5eeb71bc324493a"),
    ("wa-crypt-tools", 10, "5d444f3181736aeafe4fbb62b599ac0f57a173cf2ef25f38046834c8d68efb7c"),
    ("wechat-enmicromsg", 2, "453a5d3c84024bcc8dcb613f558f6d02e292c8f2ad1be4681c293549821a0d14"),
    ("whatsapp-viewer", 3, "23d01316f6ade94540f926e0220d3e2dcbea75fe11cede072780e36ca5a21b44"),
    ("whatstk", 4, "5a1781b71a71702269e850f53c10f763795f6ef90ae3249e932f2be9f929115a"),
];

/// Number of the SQLite databases among them, and the same hash over these alone.
pub const DATABASES: (usize, &str) = (18, "525f5cf0759de7222b7415b802baca6f99a350a2b463d6a2c9882b2a3c08a156");

/// Databases whose pages are encrypted, header and all.
pub const ENCRYPTED: [&str; 1] = ["wechat-enmicromsg/EnMicroMsg.db"];
