//! Whether a file is a video, proved by what it holds: voice notes and photos share their containers with videos, and
//! nothing that is no video may be left out as one.
//!
//! Sources: ISO/IEC 14496-12 (boxes, `hdlr`), RFC 9559 (Matroska, `CodecID`).

use crate::codec::media::{self, Media};
use crate::source::SourceFile;
use std::io::{self, Read};

/// Most boxes of a file that are looked at.
const MOST_BOXES: usize = 64;
/// Most bytes of a box, or of the beginning of a Matroska file, in which a video track is looked for.
const MOST_BYTES: u64 = 1 << 20;

/// True if the file has a track of moving pictures.
pub(super) fn is_video(file: &SourceFile, size: u64) -> io::Result<bool> {
    let head = read(file, 0, media::HEAD_LEN as u64)?;
    if media::recognise(&head) != Some(Media::Video) {
        return Ok(false);
    }
    match head.get(..4) {
        Some(b"\x1a\x45\xdf\xa3") => Ok(has_matroska_video(&read(file, 0, MOST_BYTES)?)),
        Some(b"RIFF" | b"FLV\x01") => Ok(true),
        _ => has_video_track(file, size),
    }
}

fn read(file: &SourceFile, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.reader(offset, len.min(MOST_BYTES)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Goes from box to box until `moov`, and looks for the handler of a video track in it.
fn has_video_track(file: &SourceFile, size: u64) -> io::Result<bool> {
    let mut at = 0u64;
    for _ in 0..MOST_BOXES {
        let header = read(file, at, 16)?;
        let Some((len, kind)) = box_header(&header, size.saturating_sub(at)) else { return Ok(false) };
        if kind == *b"moov" {
            return Ok(has_handler(&read(file, at, len)?, b"vide"));
        }
        match at.checked_add(len).filter(|next| *next < size) {
            Some(next) => at = next,
            None => return Ok(false),
        }
    }
    Ok(false)
}

/// Bytes and kind of a box; the length 0 means up to the end, 1 that 64 bits follow.
fn box_header(header: &[u8], left: u64) -> Option<(u64, [u8; 4])> {
    let short = u32::from_be_bytes(*header.first_chunk::<4>()?);
    let kind: [u8; 4] = header.get(4..8)?.try_into().ok()?;
    let len = match short {
        0 => left,
        1 => u64::from_be_bytes(header.get(8..16)?.try_into().ok()?),
        _ => short.into(),
    };
    (len >= 8).then_some((len, kind))
}

/// `hdlr`, version and flags, four bytes, then the kind of handler.
fn has_handler(bytes: &[u8], wanted: &[u8; 4]) -> bool {
    bytes.windows(16).any(|window| window.starts_with(b"hdlr") && window.ends_with(wanted))
}

/// A `CodecID` (0x86, its length) that begins with `V_`.
fn has_matroska_video(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|window| matches!(window, [0x86, len, b'V', b'_'] if *len >= 0x80))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceDir;

    fn judged(content: &[u8]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), content).unwrap();
        let file = SourceDir::open(dir.path()).unwrap().open_file(b"f").unwrap();
        is_video(&file, content.len() as u64).unwrap()
    }

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let len = u32::try_from(content.len() + 8).unwrap();
        [&len.to_be_bytes()[..], kind, content].concat()
    }

    fn movie(handlers: &[&[u8; 4]], moov_is_last: bool) -> Vec<u8> {
        let handlers =
            handlers.iter().flat_map(|kind| boxed(b"hdlr", &[&[0; 8][..], *kind, &[0; 13]].concat()));
        let moov = boxed(b"moov", &boxed(b"trak", &handlers.collect::<Vec<u8>>()));
        let data = boxed(b"mdat", &[7; 5000]);
        let rest = if moov_is_last { [data, moov] } else { [moov, data] }.concat();
        [boxed(b"ftyp", b"isom\0\0\x02\0isommp42"), rest].concat()
    }

    #[test]
    fn a_video_is_what_has_a_video_track() {
        for moov_is_last in [false, true] {
            assert!(judged(&movie(&[b"soun", b"vide"], moov_is_last)));
            // A voice note in the same container.
            assert!(!judged(&movie(&[b"soun"], moov_is_last)));
        }
        let matroska = |codec: &[u8]| [&b"\x1a\x45\xdf\xa3"[..], &[0; 100], b"\x86\x85", codec].concat();
        assert!(judged(&matroska(b"V_VP8")) && !judged(&matroska(b"A_OPUS")));
        assert!(judged(b"RIFF\x10\0\0\0AVI LIST"));
    }

    #[test]
    fn what_proves_nothing_is_no_video() {
        for content in [
            &b"\xff\xd8\xff\xe0photo"[..],
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            b"\0\0\0\x20ftypisom",
            b"\0\0\0\x01ftypisom\xff\xff\xff\xff\xff\xff\xff\xff",
            b"",
        ] {
            assert!(!judged(content), "{content:?}");
        }
    }
}
