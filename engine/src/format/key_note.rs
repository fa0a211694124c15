//! The note in a key slot: who made it, when, and what for. Sealed for everybody who can open the repository.

use crate::base::{KeyId, Result, Timestamp};
use crate::format::cbor::{MapWriter, Reader};

/// Longest label, in bytes.
pub const MAX_LABEL: usize = 256;
/// Longest name of a machine or user that is written, in bytes.
const MAX_NAME: usize = 256;

/// What a key slot says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyNote {
    /// The clock of its maker.
    pub created: Timestamp,
    /// The machine where it was made.
    pub host: String,
    /// Who made it.
    pub user: String,
    /// What people call it.
    pub label: Option<String>,
    /// The slot that it is to take the place of. If that one is still there, its replacement was interrupted.
    pub replaces: Option<KeyId>,
}

impl KeyNote {
    /// The bytes; names that are too long are cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.time(0, self.created)
            .text(1, cut(&self.host, MAX_NAME))
            .text(2, cut(&self.user, MAX_NAME))
            .text_if(3, self.label.as_deref().map(|label| cut(label, MAX_LABEL)))
            .bytes_if(4, self.replaces.as_ref().map(|id| &id.as_bytes()[..]));
        map.finish()
    }

    /// Reads the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes, "the note of a key slot");
        let (mut created, mut host, mut user, mut label, mut replaces) = (None, None, None, None, None);
        r.map(|key, r| {
            match key {
                0 => created = Some(r.time()?),
                1 => host = Some(r.text(MAX_NAME)?),
                2 => user = Some(r.text(MAX_NAME)?),
                3 => label = Some(r.text(MAX_LABEL)?),
                4 => replaces = Some(KeyId::new(r.fixed()?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        r.end()?;
        Ok(Self {
            created: r.need(created, "time")?,
            host: r.need(host, "host")?,
            user: r.need(user, "user")?,
            label,
            replaces,
        })
    }
}

/// As much of a text as fits.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_written_and_a_cut_one_is_refused() {
        let note = KeyNote {
            created: Timestamp::new(9, 1),
            host: "laptop".into(),
            user: "ann".into(),
            label: Some("on paper".into()),
            replaces: Some(KeyId::new([5; 32])),
        };
        let bytes = note.encode();
        assert_eq!(KeyNote::decode(&bytes).unwrap(), note);
        assert!((0..bytes.len()).all(|len| KeyNote::decode(&bytes[..len]).is_err()));
        let plain = KeyNote { label: None, replaces: None, ..note };
        assert_eq!(KeyNote::decode(&plain.encode()).unwrap(), plain);
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_between_characters_and_read_back() {
        let long = KeyNote { host: "ä".repeat(400), user: "x".repeat(4000), ..KeyNote::default() };
        let read = KeyNote::decode(&long.encode()).unwrap();
        assert_eq!((read.host.len(), read.user.len()), (256, 256));
        let odd = KeyNote { host: format!("x{}", "ä".repeat(400)), ..KeyNote::default() };
        assert_eq!(KeyNote::decode(&odd.encode()).unwrap().host.len(), 255);
    }
}
