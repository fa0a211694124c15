//! What of the sources is left out because somebody said so.

use super::video::is_video;
use crate::base::StoredPath;
use crate::filter::Patterns;
use crate::model::NodeKind;
use crate::source::{Entry, SourceDir, Stat};
use std::io::Read;

/// The file that marks a cache (the Cache Directory Tagging Specification), and how it must begin.
const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What is left out. A source that was named itself is always taken.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Entries of these paths, and what is below them.
    pub exclude: Patterns,
    /// What lies beside these files.
    pub markers: Vec<Marker>,
    /// What lies in folders that are marked as caches.
    pub caches: bool,
    /// Files with more bytes.
    pub larger_than: Option<u64>,
    /// What lies on other file systems than the source itself: the folder at which one begins is kept, empty.
    pub one_file_system: bool,
    /// Files whose content is a video.
    pub no_videos: bool,
}

/// A file whose presence says that the rest of its folder is to be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Its name.
    pub name: Vec<u8>,
    /// How its content must begin; nothing for any content.
    pub header: Vec<u8>,
}

impl Selection {
    /// True if nothing is left out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.exclude.is_empty()
            && self.markers.is_empty()
            && !(self.caches || self.one_file_system || self.no_videos)
            && self.larger_than.is_none()
    }

    /// True if an entry below a source is left out for its name or size.
    #[must_use]
    pub fn leaves_out(&self, path: impl FnOnce() -> StoredPath, kind: NodeKind, size: u64) -> bool {
        (kind == NodeKind::File && self.larger_than.is_some_and(|most| size > most))
            || (!self.exclude.is_empty() && self.exclude.matches(&path()))
    }

    /// The marker that says that only itself is taken of this folder.
    pub(super) fn marker_in<'e>(&self, dir: &SourceDir, entries: &'e [Entry]) -> Option<&'e [u8]> {
        let found = |name: &[u8], header: &[u8]| {
            let at = entries.binary_search_by(|entry| entry.name.as_slice().cmp(name)).ok()?;
            let entry = entries.get(at)?;
            let fits = header.is_empty() || begins_with(dir, entry, header);
            fits.then_some(entry.name.as_slice())
        };
        let of_cache = || if self.caches { found(CACHE_TAG, CACHE_SIGNATURE) } else { None };
        of_cache().or_else(|| self.markers.iter().find_map(|marker| found(&marker.name, &marker.header)))
    }

    /// True for a video that is to be left out. One that cannot be read is not: reading it says why.
    pub(super) fn leaves_out_content(&self, dir: &SourceDir, name: &[u8], stat: &Stat) -> bool {
        if !self.no_videos || stat.kind != NodeKind::File {
            return false;
        }
        dir.open_file(name).and_then(|file| is_video(&file, stat.size)).unwrap_or(false)
    }
}

fn begins_with(dir: &SourceDir, entry: &Entry, header: &[u8]) -> bool {
    let is_file = entry.stat.as_ref().is_ok_and(|stat| stat.kind == NodeKind::File);
    is_file && head_of(dir, &entry.name, header.len()).is_some_and(|head| head == header)
}

/// The first bytes of a file.
fn head_of(dir: &SourceDir, name: &[u8], len: usize) -> Option<Vec<u8>> {
    let file = dir.open_file(name).ok()?;
    let mut head = Vec::with_capacity(len);
    file.reader(0, len as u64).read_to_end(&mut head).ok()?;
    Some(head)
}
