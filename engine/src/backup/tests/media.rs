//! Media are stored as they are: their first bytes decide, not what zstd would make of them.

use super::*;
use crate::base::BlobId;
use crate::model::{BlobKind, CodecTag};
use std::collections::BTreeSet;

/// How the blobs of a stored file are packed, all copies of them.
fn codecs(bench: &Bench, summary: &BackupSummary, name: &str) -> BTreeSet<String> {
    let mut blobs: Vec<BlobId> = Vec::new();
    match bench.node(summary, &bench.path(name)).unwrap().content {
        Content::None => {}
        Content::Chunk(id) => blobs.push(id),
        Content::List(root) => bench
            .repo
            .each_list_item(&root, &mut |item| {
                if let ListItem::Chunk { id, .. } = item {
                    blobs.push(id);
                }
                Ok(())
            })
            .unwrap(),
    }
    assert!(!blobs.is_empty(), "{name}");
    let copies = blobs.iter().flat_map(|id| bench.repo.catalog().copies(BlobKind::Data, id).unwrap());
    copies.map(|copy| format!("{:?}", copy.entry.codec)).collect()
}

#[test]
fn media_are_stored_as_they_are_though_they_would_shrink() {
    let heads: [(&str, &[u8]); 8] = [
        ("jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF"),
        ("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        ("webp", b"RIFF\x10\0\0\0WEBPVP8 "),
        ("ogg", b"OggS\0\x02\0\0\0\0"),
        ("mp4", b"\0\0\0\x20ftypisom\0\0\x02\0"),
        ("mp3", b"\xff\xfb\x90\x64"),
        ("mp3 with tags", b"ID3\x04\0"),
        ("zip", b"PK\x03\x04\x14\0"),
    ];
    // One content is one chunk, the other one has many.
    for lines in [500, 100_000] {
        let bench = Bench::new();
        // Each file has lines of its own: an equal chunk would be stored once, as the first file wanted it.
        let text = |name: &str| -> Vec<u8> {
            (0..lines).flat_map(|line| format!("{name}, line {line}\n").into_bytes()).collect()
        };
        for (name, head) in heads {
            bench.write(name, &[head, &text(name)].concat());
            bench.write(&format!("{name}, no head"), &text(&format!("{name}, no head")));
        }
        let summary = bench.take();
        for (name, _) in heads {
            let wanted = |codec: CodecTag| BTreeSet::from([format!("{codec:?}")]);
            assert_eq!(codecs(&bench, &summary, name), wanted(CodecTag::Raw), "{name}, {lines} lines");
            let control = format!("{name}, no head");
            assert_eq!(codecs(&bench, &summary, &control), wanted(CodecTag::Zstd), "{control}");
        }
    }
}
