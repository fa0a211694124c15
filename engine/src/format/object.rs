//! Objects of one sealed body: index, manifest, event, lease. Header, then the body's ciphertext with ordinal 0; the
//! header is its additional data.

use crate::base::{Error, Kind, RepoId, Result};
use crate::crypto::bundle::unknown_epoch;
use crate::crypto::{Algorithm, HEADER_LEN, Header, KeyBundle, KeySource, ObjectType};

/// What is needed to seal and open objects.
#[derive(Clone, Debug)]
pub struct Sealer {
    /// The repository.
    pub repo: RepoId,
    /// Its secrets.
    pub bundle: KeyBundle,
    /// The cipher for new objects.
    pub algorithm: Algorithm,
}

impl Sealer {
    /// A sealer with the cipher that is fastest here.
    #[must_use]
    pub fn new(repo: RepoId, bundle: KeyBundle) -> Self {
        Self { repo, bundle, algorithm: Algorithm::preferred() }
    }

    /// A header with a new salt under the current epoch.
    pub fn new_header(&self, kind: ObjectType) -> Result<Header> {
        Header::draw(kind, self.algorithm, KeySource::Epoch, self.bundle.current()?.0)
    }

    /// The key of the object with this header.
    pub fn key(&self, header: &Header, subject: &str) -> Result<crate::crypto::ObjectKey> {
        let secret = self
            .bundle
            .epoch(header.epoch)
            .ok_or_else(|| unknown_epoch(&format!("read {}", header.kind.name()), subject, header.epoch))?;
        header.object_key(secret, &self.repo)
    }

    /// Seals a body.
    pub fn seal(&self, kind: ObjectType, body: Vec<u8>) -> Result<Vec<u8>> {
        self.seal_with(&self.new_header(kind)?, &[], body)
    }

    /// Seals a body behind a header and clear bytes, all of them additional data.
    pub fn seal_with(&self, header: &Header, clear: &[u8], mut body: Vec<u8>) -> Result<Vec<u8>> {
        let name = header.kind.name();
        let mut object = header.encode().to_vec();
        object.extend_from_slice(clear);
        self.key(header, "the new object")?
            .seal(0, &object, &mut body)
            .map_err(|e| Error::new(Kind::Internal, "seal", name).because(e))?;
        object.extend_from_slice(&body);
        Ok(object)
    }

    /// Opens an object of one body. `subject` names it in errors.
    pub fn open(&self, kind: ObjectType, object: &[u8], subject: &str) -> Result<Vec<u8>> {
        self.open_with(kind, object, 0, subject)
    }

    /// Opens an object with `clear` bytes between header and body.
    pub fn open_with(&self, kind: ObjectType, object: &[u8], clear: usize, subject: &str) -> Result<Vec<u8>> {
        let act = || format!("read {}", kind.name());
        let header = Header::decode(object, kind, subject)?;
        let (additional, body) = object
            .split_at_checked(HEADER_LEN + clear)
            .ok_or_else(|| Error::damaged(act(), subject, "it is too short"))?;
        let mut body = body.to_vec();
        let plain = self
            .key(&header, subject)?
            .open(0, additional, &mut body)
            .map_err(|e| Error::damaged(act(), subject, e.to_string()))?
            .len();
        body.truncate(plain);
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_an_object_is_noticed() {
        let sealer = Sealer::new(RepoId::new([1; 32]), KeyBundle::random().unwrap());
        let object = sealer.seal(ObjectType::Lease, b"body".to_vec()).unwrap();
        assert_eq!(sealer.open(ObjectType::Lease, &object, "x").unwrap(), b"body");
        for bit in 0..object.len() * 8 {
            let mut bad = object.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.open(ObjectType::Lease, &bad, "x").is_err(), "bit {bit}");
        }
        for len in 0..object.len() {
            assert!(sealer.open(ObjectType::Lease, &object[..len], "x").is_err());
        }
    }

    #[test]
    fn an_object_of_another_type_or_repository_is_refused() {
        let bundle = KeyBundle::random().unwrap();
        let sealer = Sealer::new(RepoId::new([1; 32]), bundle.clone());
        let mut object = sealer.seal(ObjectType::Index, b"body".to_vec()).unwrap();
        assert!(Sealer::new(RepoId::new([2; 32]), bundle).open(ObjectType::Index, &object, "x").is_err());
        object[8] = ObjectType::Manifest as u8;
        assert!(sealer.open(ObjectType::Manifest, &object, "x").is_err());
    }
}
