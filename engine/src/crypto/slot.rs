//! Key slots: the key bundle wrapped under a password or a recovery key.
//!
//! ```text
//! header (52) | kind (1) | memory KiB (4) | passes (4) | lanes (4) | KDF salt (16) | sealed key bundle
//! ```
//! A recovery-key slot has zeros for the four KDF fields. Everything before the bundle is additional data of its seal.

use crate::base::hash;
use crate::base::{Error, Kind, RepoId, Result};
use crate::crypto::aead::{Algorithm, TAG_LEN};
use crate::crypto::bundle::KeyBundle;
use crate::crypto::envelope::{HEADER_LEN, Header, KeySource, ObjectType};
use crate::crypto::kdf::KdfParams;
use crate::crypto::recovery::RecoveryKey;
use crate::crypto::secret::Secret;
use std::collections::HashMap;
use zeroize::Zeroizing;

const CLEAR_LEN: usize = HEADER_LEN + 29;
/// Longest key slot that is read.
pub const MAX_SLOT_LEN: u64 = 256 * 1024;

/// What opens a slot. The number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SlotKind {
    /// A password.
    Password = 1,
    /// A recovery key.
    Recovery = 2,
    /// A password and a key file.
    PasswordAndFile = 3,
}

impl SlotKind {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Password, Self::Recovery, Self::PasswordAndFile].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// What a user has to open a repository with.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A password.
    Password(Zeroizing<Vec<u8>>),
    /// A recovery key.
    Recovery(RecoveryKey),
}

impl Credential {
    /// A password from text.
    #[must_use]
    pub fn password(text: &str) -> Self {
        Self::Password(Zeroizing::new(text.as_bytes().to_vec()))
    }

    fn kind(&self) -> SlotKind {
        match self {
            Self::Password(_) => SlotKind::Password,
            Self::Recovery(_) => SlotKind::Recovery,
        }
    }
}

/// Remembers derivations during one attempt to open, so that slots with the same salt and cost share one.
#[derive(Debug, Default)]
pub struct Derivations(HashMap<KdfParams, Secret>);

impl Derivations {
    fn key(&mut self, credential: &Credential, params: Option<KdfParams>, subject: &str) -> Result<Secret> {
        match (credential, params) {
            (Credential::Recovery(key), _) => {
                Ok(Secret::new(hash::derive_key("chatvault 1 slot key: recovery", &[key.secret().expose()])))
            }
            (Credential::Password(password), Some(params)) => {
                if let Some(known) = self.0.get(&params) {
                    return Ok(known.clone());
                }
                let derived = params.derive(password, subject)?;
                let key =
                    Secret::new(hash::derive_key("chatvault 1 slot key: password", &[derived.expose()]));
                self.0.insert(params, key.clone());
                Ok(key)
            }
            (Credential::Password(_), None) => Err(Error::new(Kind::Internal, "derive the key of", subject)),
        }
    }
}

/// Makes the bytes of a new slot. `kdf` is used for passwords only.
pub fn wrap(repo: &RepoId, credential: &Credential, kdf: KdfParams, bundle: &KeyBundle) -> Result<Vec<u8>> {
    let header = Header::draw(ObjectType::KeySlot, Algorithm::preferred(), KeySource::Slot, 0)?;
    let params = matches!(credential, Credential::Password(_)).then_some(kdf);
    let mut slot = header.encode().to_vec();
    slot.push(credential.kind() as u8);
    let (memory, passes, lanes, salt) =
        params.map_or((0, 0, 0, [0; 16]), |p| (p.memory_kib, p.passes, p.lanes, p.salt));
    for field in [memory, passes, lanes] {
        slot.extend_from_slice(&field.to_le_bytes());
    }
    slot.extend_from_slice(&salt);
    let secret = Derivations::default().key(credential, params, "the new slot")?;
    let mut body = bundle.encode();
    header
        .object_key(&secret, repo)?
        .seal(0, &slot, &mut body)
        .map_err(|e| Error::new(Kind::Internal, "seal", "the new key slot").because(e))?;
    slot.extend_from_slice(&body);
    Ok(slot)
}

/// Tries a credential on a slot: `None` if it does not open it. `subject` names the slot in errors.
///
/// # Errors
/// Fails for a slot that cannot be a slot of this format; a slot of another kind is just not opened.
pub fn unwrap(
    repo: &RepoId,
    credential: &Credential,
    derivations: &mut Derivations,
    slot: &[u8],
    subject: &str,
) -> Result<Option<KeyBundle>> {
    let header = Header::decode(slot, ObjectType::KeySlot, subject)?;
    let clear =
        Clear::parse(slot).ok_or_else(|| Error::damaged("read key slot", subject, "it is too short"))?;
    if clear.kind != Some(credential.kind()) {
        return Ok(None);
    }
    let secret = derivations.key(credential, Some(clear.kdf), subject)?;
    let mut body = Zeroizing::new(clear.body.to_vec());
    match header.object_key(&secret, repo)?.open(0, clear.additional, &mut body) {
        Ok(plain) => KeyBundle::decode(plain).map(Some),
        Err(_) => Ok(None),
    }
}

/// The KDF parameters of a slot, so that a further slot can share them; `None` for a slot without.
#[must_use]
pub fn kdf_of(slot: &[u8]) -> Option<KdfParams> {
    let clear = Clear::parse(slot)?;
    matches!(clear.kind, Some(SlotKind::Password | SlotKind::PasswordAndFile)).then_some(clear.kdf)
}

struct Clear<'s> {
    kind: Option<SlotKind>,
    kdf: KdfParams,
    additional: &'s [u8],
    body: &'s [u8],
}

impl<'s> Clear<'s> {
    fn parse(slot: &'s [u8]) -> Option<Self> {
        let (additional, body) = slot.split_at_checked(CLEAR_LEN)?;
        let fields: &[u8; 29] = additional.last_chunk()?;
        let [kind, m0, m1, m2, m3, p0, p1, p2, p3, l0, l1, l2, l3, salt @ ..] = fields;
        if body.len() < TAG_LEN {
            return None;
        }
        let kdf = KdfParams {
            memory_kib: u32::from_le_bytes([*m0, *m1, *m2, *m3]),
            passes: u32::from_le_bytes([*p0, *p1, *p2, *p3]),
            lanes: u32::from_le_bytes([*l0, *l1, *l2, *l3]),
            salt: *salt,
        };
        Some(Self { kind: SlotKind::from_number(*kind), kdf, additional, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo() -> RepoId {
        RepoId::new([9; 32])
    }

    #[test]
    fn the_right_credential_opens_and_no_other() {
        let bundle = KeyBundle::random().unwrap();
        let right = Credential::Recovery(RecoveryKey::random().unwrap());
        let slot = wrap(&repo(), &right, KdfParams::standard([0; 16]), &bundle).unwrap();
        let open = |credential: &Credential, repo: &RepoId| {
            unwrap(repo, credential, &mut Derivations::default(), &slot, "slot").unwrap()
        };
        assert_eq!(open(&right, &repo()).unwrap().dedup.expose(), bundle.dedup.expose());
        assert!(open(&Credential::Recovery(RecoveryKey::random().unwrap()), &repo()).is_none());
        assert!(open(&right, &RepoId::new([8; 32])).is_none());
        assert!(open(&Credential::password("x"), &repo()).is_none());
    }

    #[test]
    fn slots_with_one_salt_cost_one_derivation() {
        let bundle = KeyBundle::random().unwrap();
        let kdf = KdfParams::standard([3; 16]);
        let slot = wrap(&repo(), &Credential::password("a"), kdf, &bundle).unwrap();
        assert_eq!(kdf_of(&slot), Some(kdf));
        let mut derivations = Derivations::default();
        for _ in 0..2 {
            assert!(
                unwrap(&repo(), &Credential::password("a"), &mut derivations, &slot, "s").unwrap().is_some()
            );
        }
        assert_eq!(derivations.0.len(), 1);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let right = Credential::Recovery(RecoveryKey::random().unwrap());
        let slot =
            wrap(&repo(), &right, KdfParams::standard([0; 16]), &KeyBundle::random().unwrap()).unwrap();
        for bit in 0..slot.len() * 8 {
            let mut bad = slot.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let opened = unwrap(&repo(), &right, &mut Derivations::default(), &bad, "slot");
            assert!(!matches!(opened, Ok(Some(_))), "bit {bit}");
        }
    }
}
