//! The key bundle: all secrets of a repository, wrapped in each key slot.

use crate::base::hash::{self, IdKey};
use crate::base::{Error, Kind, Result};
use crate::crypto::secret::Secret;
use crate::model::BlobKind;
use minicbor::{Decoder, Encoder};

/// Most epochs that a bundle may hold.
const MAX_EPOCHS: u64 = 4096;

/// All secrets of a repository.
#[derive(Clone, Debug)]
pub struct KeyBundle {
    /// Names of content and the chunker's table follow from it. Never rotated.
    pub dedup: Secret,
    /// Epoch numbers and keys, ascending; the last one seals.
    pub epochs: Vec<(u32, Secret)>,
    /// Authenticates what this program keeps outside the repository (the catalog's memory of files).
    pub mac: Secret,
}

impl KeyBundle {
    /// Draws all secrets of a new repository.
    pub fn random() -> Result<Self> {
        Ok(Self { dedup: Secret::random()?, epochs: vec![(1, Secret::random()?)], mac: Secret::random()? })
    }

    /// The key under which blobs of this kind are named.
    #[must_use]
    pub fn id_key(&self, kind: BlobKind) -> IdKey {
        let context = match kind {
            BlobKind::Data => "chatvault 1 blob id: data",
            BlobKind::TreePage => "chatvault 1 blob id: tree page",
            BlobKind::ListPage => "chatvault 1 blob id: list page",
            BlobKind::Secret => "chatvault 1 blob id: secret",
        };
        IdKey::new(hash::derive_key(context, &[self.dedup.expose()]))
    }

    /// The chunker's gear table: 256 words of 64 bits, little-endian.
    #[must_use]
    pub fn gear_table(&self) -> Box<[u64; 256]> {
        let mut bytes = [0; 2048];
        hash::derive_bytes("chatvault 1 gear table", &[self.dedup.expose()], &mut bytes);
        let mut table = Box::new([0; 256]);
        for (word, raw) in table.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*raw);
        }
        table
    }

    /// A key for one purpose of the local cache.
    #[must_use]
    pub fn mac_key(&self) -> Secret {
        Secret::new(hash::derive_key("chatvault 1 catalog memory", &[self.mac.expose()]))
    }

    /// The key of an epoch.
    #[must_use]
    pub fn epoch(&self, number: u32) -> Option<&Secret> {
        self.epochs.iter().find(|(n, _)| *n == number).map(|(_, key)| key)
    }

    /// The epoch that new objects are sealed under.
    pub fn current(&self) -> Result<(u32, &Secret)> {
        let (number, key) = self
            .epochs
            .last()
            .ok_or_else(|| Error::damaged("use", "the key bundle", "it holds no epoch key"))?;
        Ok((*number, key))
    }

    /// The bytes that are wrapped.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        // Writing into a vector cannot fail.
        let _ = self.encode_into(&mut Encoder::new(&mut out));
        out
    }

    fn encode_into(
        &self,
        e: &mut Encoder<&mut Vec<u8>>,
    ) -> std::result::Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        e.map(3)?.u8(0)?.bytes(self.dedup.expose())?.u8(1)?.array(self.epochs.len() as u64)?;
        for (number, key) in &self.epochs {
            e.array(2)?.u32(*number)?.bytes(key.expose())?;
        }
        e.u8(2)?.bytes(self.mac.expose())?;
        Ok(())
    }

    /// Reads what [`Self::encode`] wrote; keys it does not know are skipped.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).map_err(|why| Error::damaged("read", "the key bundle", why))
    }

    fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let text = |e: minicbor::decode::Error| e.to_string();
        let mut d = Decoder::new(bytes);
        let fields = d.map().map_err(text)?.ok_or("it has no length")?;
        let (mut dedup, mut epochs, mut mac) = (None, Vec::new(), None);
        for _ in 0..fields {
            match d.u64().map_err(text)? {
                0 => dedup = Some(secret(&mut d)?),
                1 => {
                    let count = d.array().map_err(text)?.ok_or("it has no length")?;
                    if count > MAX_EPOCHS {
                        return Err("it has too many epochs".to_owned());
                    }
                    for _ in 0..count {
                        if d.array().map_err(text)? != Some(2) {
                            return Err("an epoch is no pair".to_owned());
                        }
                        epochs.push((d.u32().map_err(text)?, secret(&mut d)?));
                    }
                }
                2 => mac = Some(secret(&mut d)?),
                _ => d.skip().map_err(text)?,
            }
        }
        match (dedup, mac, epochs.is_sorted_by_key(|(n, _)| *n), epochs.is_empty()) {
            (Some(dedup), Some(mac), true, false) => Ok(Self { dedup, epochs, mac }),
            _ => Err("a secret is missing".to_owned()),
        }
    }
}

fn secret(d: &mut Decoder<'_>) -> std::result::Result<Secret, String> {
    let bytes = d.bytes().map_err(|e| e.to_string())?;
    Ok(Secret::new(bytes.try_into().map_err(|_| "a secret is not 32 bytes".to_owned())?))
}

/// Fails with [`Kind::NewerFormat`] for an epoch that the bundle does not hold.
pub fn unknown_epoch(act: &str, subject: &str, epoch: u32) -> Error {
    Error::new(Kind::Damaged, act, subject).because(format!(
        "it is sealed under key epoch {epoch}, which this repository's key bundle does not hold"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let bundle = KeyBundle::random().unwrap();
        let read = KeyBundle::decode(&bundle.encode()).unwrap();
        assert_eq!(read.dedup.expose(), bundle.dedup.expose());
        assert_eq!(read.mac.expose(), bundle.mac.expose());
        assert_eq!(read.current().unwrap().1.expose(), bundle.current().unwrap().1.expose());
        assert_eq!(read.gear_table(), bundle.gear_table());
    }

    #[test]
    fn cut_short_it_is_refused_at_every_length() {
        let bytes = KeyBundle::random().unwrap().encode();
        assert!((0..bytes.len()).all(|len| KeyBundle::decode(&bytes[..len]).is_err()));
    }

    #[test]
    fn kinds_name_the_same_bytes_differently() {
        let bundle = KeyBundle::random().unwrap();
        let names: std::collections::HashSet<_> =
            BlobKind::ALL.iter().map(|kind| bundle.id_key(*kind).name(b"x")).collect();
        assert_eq!(names.len(), BlobKind::ALL.len());
    }
}
