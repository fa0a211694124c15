//! Which content is packed by its own format already, told by its first bytes: zstd is never asked about it.
//!
//! Sources: the signatures of the formats' own specifications (ISO/IEC 14496-12 for the `ftyp` box, RFC 3533 for Ogg,
//! RFC 8794 for EBML, ISO/IEC 11172-3 for MPEG audio, RFC 1952 for gzip).

/// First bytes of a content that are looked at.
pub const HEAD_LEN: usize = 64;

/// What a content is, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// Photos, stickers, drawings.
    Image,
    /// Voice notes, music.
    Audio,
    /// Moving pictures.
    Video,
    /// Archives and single files packed by another program.
    Packed,
}

/// Signatures at the very beginning.
const AT_START: [(&[u8], Media); 16] = [
    (b"\xff\xd8\xff", Media::Image),
    (b"\x89PNG\r\n\x1a\n", Media::Image),
    (b"GIF87a", Media::Image),
    (b"GIF89a", Media::Image),
    (b"OggS\0", Media::Audio),
    (b"fLaC", Media::Audio),
    (b"#!AMR", Media::Audio),
    (b"\x1a\x45\xdf\xa3", Media::Video),
    (b"FLV\x01", Media::Video),
    (b"PK\x03\x04", Media::Packed),
    (b"\x1f\x8b\x08", Media::Packed),
    (b"\xfd7zXZ\0", Media::Packed),
    (b"\x28\xb5\x2f\xfd", Media::Packed),
    (b"7z\xbc\xaf\x27\x1c", Media::Packed),
    (b"Rar!\x1a\x07", Media::Packed),
    (b"\x04\x22\x4d\x18", Media::Packed),
];

/// Brands of the `ftyp` box that are pictures or sound; every other one is a video.
const IMAGE_BRANDS: [&[u8; 4]; 9] =
    [b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis"];
const AUDIO_BRANDS: [&[u8; 4]; 4] = [b"M4A ", b"M4B ", b"M4P ", b"F4A "];

/// The kind of packed media that begins with these bytes; none for everything else, and for content that is too short to
/// tell.
#[must_use]
pub fn recognise(head: &[u8]) -> Option<Media> {
    by_signature(head).or_else(|| by_frame(head))
}

/// As [`recognise`], for those that begin with a signature: hardly anything else begins so by chance.
#[must_use]
pub fn by_signature(head: &[u8]) -> Option<Media> {
    if let Some((_, media)) = AT_START.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(*media);
    }
    match head {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Media::Image),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => Some(Media::Video),
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => Some(of_brand(brand)),
        [_, _, _, _, b'm', b'o', b'o', b'v', ..] | [_, _, _, _, b'm', b'd', b'a', b't', ..] => {
            Some(Media::Video)
        }
        [b'I', b'D', b'3', 2..=4, ..] => Some(Media::Audio),
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', ..] => Some(Media::Packed),
        _ => None,
    }
}

/// A frame of MPEG audio (layer III) or of ADTS (AAC), with a bit rate and a sample rate that there are.
fn by_frame(head: &[u8]) -> Option<Media> {
    match head {
        [0xff, 0xe2 | 0xe3 | 0xf2 | 0xf3 | 0xfa | 0xfb, rates, ..]
            if !matches!(rates >> 4, 0 | 15) && (rates >> 2) & 3 != 3 =>
        {
            Some(Media::Audio)
        }
        [0xff, 0xf0 | 0xf1 | 0xf8 | 0xf9, rates, ..] if (rates >> 2) & 15 < 13 => Some(Media::Audio),
        _ => None,
    }
}

fn of_brand(brand: &[u8]) -> Media {
    match brand.first_chunk::<4>() {
        Some(brand) if IMAGE_BRANDS.contains(&brand) => Media::Image,
        Some(brand) if AUDIO_BRANDS.contains(&brand) => Media::Audio,
        _ => Media::Video,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_are_known_by_their_first_bytes() {
        for (head, media) in [
            (&b"\xff\xd8\xff\xe0\0\x10JFIF"[..], Media::Image),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Media::Image),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Media::Image),
            (b"\0\0\0\x18ftypheic\0\0\0\0", Media::Image),
            (b"OggS\0\x02\0\0\0\0", Media::Audio),
            (b"\0\0\0\x1cftypM4A \0\0\0\0", Media::Audio),
            (b"\xff\xfb\x90\x64", Media::Audio),
            (b"\xff\xf1\x50\x80", Media::Audio),
            (b"ID3\x04\0", Media::Audio),
            (b"#!AMR\n", Media::Audio),
            (b"\0\0\0\x20ftypisom\0\0\x02\0", Media::Video),
            (b"\0\0\0\x14ftypqt  \0\0\0\0", Media::Video),
            (b"\x1a\x45\xdf\xa3\x9f\x42\x86", Media::Video),
            (b"PK\x03\x04\x14\0", Media::Packed),
            (b"\x1f\x8b\x08\0", Media::Packed),
        ] {
            assert_eq!(recognise(head), Some(media), "{head:?}");
            let has_signature = !matches!(head, [0xff, 0xfb | 0xf1, ..]);
            assert_eq!(by_signature(head).is_some(), has_signature, "{head:?}");
        }
    }

    #[test]
    fn what_may_shrink_is_none() {
        for head in [
            &b""[..],
            b"SQLite format 3\0",
            b"RIFF\x10\0\0\0WAVEfmt ",
            b"\xff\xfeh\0e\0l\0l\0o\0",
            b"\xff\xff\xff\xff",
            b"%PDF-1.7",
            b"\0\0\0\x18fty",
            b"PK",
            b"BM",
            b"ID3 is a tag",
            b"BZh is a signature",
            b"hello, world",
            &[0; 64],
        ] {
            assert_eq!(recognise(head), None, "{head:?}");
        }
    }
}
