//! L2: names of objects in a store. A valid name can leave the repository's folder on no platform.

use crate::base::id::to_hex;
use crate::base::{Error, IndexId, KeyId, Kind, LeaseId, PackId, Result, SnapshotId, WriterId};
use std::fmt;

/// The folder of second copies, with its slash.
const MIRROR: &str = "mirror/";

/// A relative name: segments of `a-z 0-9 . _ -` that do not begin with a dot, joined by `/`.
///
/// At most 160 bytes and 4 segments, of which one segment and its slash are kept for `mirror/`, so that every object
/// can have a second copy. Lower case only, so that file systems that fold case keep names apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// Longest name in bytes.
    pub const MAX_LEN: usize = 160;
    /// Most segments of a name.
    pub const MAX_SEGMENTS: usize = 4;

    /// Takes a name if it is valid.
    pub fn new(name: &str) -> Result<Self> {
        let own = name.strip_prefix(MIRROR).unwrap_or(name);
        let valid = own.len() <= Self::MAX_LEN - MIRROR.len()
            && own.split('/').count() < Self::MAX_SEGMENTS
            && own.split('/').all(is_segment);
        if valid {
            return Ok(Self(name.to_owned()));
        }
        let shown = crate::base::path::clean(name.as_bytes());
        Err(Error::new(Kind::Internal, "use object name", shown).because("it is no valid name of an object"))
    }

    /// The name with one more segment.
    pub fn join(&self, segment: &str) -> Result<Self> {
        Self::new(&format!("{}/{segment}", self.0))
    }

    /// `config`.
    #[must_use]
    pub fn config() -> Self {
        Self("config".to_owned())
    }

    /// `keys/<id>`.
    #[must_use]
    pub fn key(id: &KeyId) -> Self {
        Self(format!("keys/{id}"))
    }

    /// `packs/<first two digits>/<id>`.
    #[must_use]
    pub fn pack(id: &PackId) -> Self {
        let [first, ..] = id.as_bytes();
        Self(format!("packs/{}/{id}", to_hex(&[*first])))
    }

    /// `index/<id>`.
    #[must_use]
    pub fn index(id: &IndexId) -> Self {
        Self(format!("index/{id}"))
    }

    /// `snapshots/<id>`.
    #[must_use]
    pub fn snapshot(id: &SnapshotId) -> Self {
        Self(format!("snapshots/{id}"))
    }

    /// `events/<writer>/<number in its chain, as 16 digits>`.
    #[must_use]
    pub fn event(writer: &WriterId, number: u64) -> Self {
        Self(format!("events/{writer}/{number:016x}"))
    }

    /// `leases/<id>`.
    #[must_use]
    pub fn lease(id: &LeaseId) -> Self {
        Self(format!("leases/{id}"))
    }

    /// The name of this object's second copy: `mirror/<name>`. A second copy has no further one.
    #[must_use]
    pub fn mirror(&self) -> Self {
        if self.0.starts_with(MIRROR) { self.clone() } else { Self(format!("{MIRROR}{}", self.0)) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    #[must_use]
    pub fn last(&self) -> &str {
        self.split_last().1
    }

    /// The segments of the folders joined by `/` (empty if there is none), and the last segment.
    pub(super) fn split_last(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }
}

/// True for what may stand between two slashes.
pub(super) fn is_segment(segment: &str) -> bool {
    !segment.is_empty()
        && !segment.starts_with('.')
        && segment.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectName({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_could_leave_the_folder_or_hide_are_refused() {
        let long = "a".repeat(154);
        for bad in [
            "",
            "/",
            "/config",
            "config/",
            "a//b",
            ".",
            "..",
            "a/..",
            "a/../b",
            ".tmp-1",
            "a/.b",
            "A",
            "a b",
            "a\\b",
            "a\0b",
            "é",
            "a/b/c/d",
            "mirror/a/b/c/d",
            "mirror/",
            "mirror/../a",
            &long,
        ] {
            assert_eq!(ObjectName::new(bad).unwrap_err().kind(), Kind::Internal, "{bad}");
        }
        for good in ["config", "a.b", "a..", "mirror/a/b/c", "a/b/c", &long[1..]] {
            assert_eq!(ObjectName::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn known_places_have_their_names() {
        let hex = |digit: &str, n: usize| digit.repeat(n);
        let names = [
            (ObjectName::config(), "config".to_owned()),
            (ObjectName::key(&KeyId::new([0x11; 32])), format!("keys/{}", hex("1", 64))),
            (ObjectName::pack(&PackId::new([0xab; 32])), format!("packs/ab/{}", hex("ab", 32))),
            (ObjectName::index(&IndexId::new([0x22; 32])), format!("index/{}", hex("2", 64))),
            (ObjectName::snapshot(&SnapshotId::new([0x33; 32])), format!("snapshots/{}", hex("3", 64))),
            (
                ObjectName::event(&WriterId::new([0x44; 16]), 0x1f),
                format!("events/{}/000000000000001f", hex("4", 32)),
            ),
            (ObjectName::lease(&LeaseId::new([0x55; 16])), format!("leases/{}", hex("5", 32))),
        ];
        for (name, text) in names {
            assert_eq!(name.as_str(), text);
            assert_eq!(ObjectName::new(&text).unwrap(), name);
            assert_eq!(name.mirror().as_str(), format!("mirror/{text}"));
            assert_eq!(name.mirror().mirror(), name.mirror());
        }
    }

    proptest! {
        #[test]
        fn the_mirror_of_every_valid_name_is_a_valid_name(text in "[a-c./_-]{0,20}|[a-z/]{150,162}") {
            if let Ok(name) = ObjectName::new(&text) {
                let mirror = name.mirror();
                prop_assert!(mirror.as_str().len() <= ObjectName::MAX_LEN);
                prop_assert!(mirror.as_str().split('/').count() <= ObjectName::MAX_SEGMENTS);
                prop_assert_eq!(ObjectName::new(mirror.as_str()).unwrap(), mirror);
            }
        }
    }
}
