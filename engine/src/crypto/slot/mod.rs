//! Key slots: the key bundle wrapped under a password, a password and a key file, or a recovery key.
//!
//! ```text
//! header (52) | kind (1) | memory KiB (4) | passes (4) | lanes (4) | KDF salt (16) | bytes of the next (4) |
//! sealed key bundle | epoch (4) | sealed note
//! ```
//! A recovery-key slot has zeros for the four KDF fields. Everything before a ciphertext is additional data of its seal,
//! so that the note, which any holder of the bundle can open, vouches for the whole slot.

use crate::base::hash;
use crate::base::{Error, Kind, RepoId, Result};
use crate::crypto::aead::{Algorithm, TAG_LEN};
use crate::crypto::bundle::KeyBundle;
use crate::crypto::envelope::{HEADER_LEN, Header, KeySource, ObjectType};
use crate::crypto::kdf::KdfParams;
use crate::crypto::key_file::KeyFile;
use crate::crypto::recovery::RecoveryKey;
use crate::crypto::secret::Secret;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use zeroize::Zeroizing;

const CLEAR_LEN: usize = HEADER_LEN + 33;
/// Longest note, sealed.
const MAX_NOTE_LEN: usize = 4096;
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
    /// The words for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Recovery => "recovery key",
            Self::PasswordAndFile => "password and key file",
        }
    }

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
    /// A password and a key file, which open together only.
    PasswordAndFile(Zeroizing<Vec<u8>>, KeyFile),
}

impl Credential {
    /// A password from text.
    #[must_use]
    pub fn password(text: &str) -> Self {
        Self::Password(Zeroizing::new(text.as_bytes().to_vec()))
    }

    /// The kind of the slots that it may open.
    #[must_use]
    pub fn kind(&self) -> SlotKind {
        match self {
            Self::Password(_) => SlotKind::Password,
            Self::Recovery(_) => SlotKind::Recovery,
            Self::PasswordAndFile(..) => SlotKind::PasswordAndFile,
        }
    }

    fn password_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Password(password) | Self::PasswordAndFile(password, _) => Some(password),
            Self::Recovery(_) => None,
        }
    }
}

/// Remembers the derivations from one password, so that slots with the same salt and cost share one.
#[derive(Debug, Default)]
pub struct Derivations(HashMap<KdfParams, Secret>);

impl Derivations {
    /// The slot key of a credential; always the same one for the same `Derivations`.
    fn key(&mut self, credential: &Credential, params: KdfParams, subject: &str) -> Result<Secret> {
        let key = match credential {
            Credential::Recovery(key) => {
                hash::derive_key("chatvault 1 slot key: recovery", &[key.secret().expose()])
            }
            Credential::Password(password) => {
                let derived = self.derive(password, params, subject)?;
                hash::derive_key("chatvault 1 slot key: password", &[derived.expose()])
            }
            Credential::PasswordAndFile(password, file) => {
                let derived = self.derive(password, params, subject)?;
                hash::derive_key(
                    "chatvault 1 slot key: password and file",
                    &[derived.expose(), file.hash().expose()],
                )
            }
        };
        Ok(Secret::new(key))
    }

    fn derive(&mut self, password: &[u8], params: KdfParams, subject: &str) -> Result<&Secret> {
        Ok(match self.0.entry(params) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(params.derive(password, subject)?),
        })
    }
}

/// Makes the bytes of a new slot, which says `note` to every holder of the bundle. `kdf` is used with a password only.
pub fn wrap(
    repo: &RepoId,
    credential: &Credential,
    derivations: &mut Derivations,
    kdf: KdfParams,
    bundle: &KeyBundle,
    note: &[u8],
) -> Result<Vec<u8>> {
    let failed = |e| Error::new(Kind::Internal, "seal", "the new key slot").because(e);
    let header = Header::draw(ObjectType::KeySlot, Algorithm::preferred(), KeySource::Slot, 0)?;
    let kdf = if credential.password_bytes().is_some() { kdf } else { KdfParams::NONE };
    let secret = derivations.key(credential, kdf, "the new slot")?;
    let mut body = bundle.encode();
    let mut slot = header.encode().to_vec();
    slot.push(credential.kind() as u8);
    let sealed_len = u32::try_from(body.len() + TAG_LEN).unwrap_or(u32::MAX);
    for field in [kdf.memory_kib, kdf.passes, kdf.lanes] {
        slot.extend_from_slice(&field.to_le_bytes());
    }
    slot.extend_from_slice(&kdf.salt);
    slot.extend_from_slice(&sealed_len.to_le_bytes());
    // Sealed in place: the plaintext is overwritten.
    header.object_key(&secret, repo)?.seal(0, &slot, &mut body).map_err(failed)?;
    slot.extend_from_slice(&body);
    let (epoch, secret) = bundle.current()?;
    slot.extend_from_slice(&epoch.to_le_bytes());
    let mut note = note.to_vec();
    header.note_key(secret, repo)?.seal(0, &slot, &mut note).map_err(failed)?;
    slot.extend_from_slice(&note);
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
    let (header, clear) = Clear::parse(slot, subject)?;
    if clear.kind != Some(credential.kind()) {
        return Ok(None);
    }
    let secret = derivations.key(credential, clear.kdf, subject)?;
    let mut body = Zeroizing::new(clear.bundle.to_vec());
    let bundle = match header.object_key(&secret, repo)?.open(0, clear.before_bundle, &mut body) {
        Ok(plain) => KeyBundle::decode(plain)?,
        Err(_) => return Ok(None),
    };
    // Nothing of the slot remains that nobody vouched for.
    describe(repo, &bundle, slot, subject)?;
    Ok(Some(bundle))
}

/// What a slot says to those who have the bundle. That it can be told proves that a holder of the bundle made the slot,
/// and that no bit of it was altered since.
#[derive(Clone, Debug)]
pub struct Description {
    /// What opens it; `None` for a kind that this program does not know.
    pub kind: Option<SlotKind>,
    /// How the key of a password is derived, so that a further slot can share it; `None` for a slot without.
    pub kdf: Option<KdfParams>,
    /// What its maker wrote about it.
    pub note: Vec<u8>,
}

/// Opens what a slot says.
///
/// # Errors
/// [`Kind::Damaged`] if the slot was not made by a holder of the bundle, or was altered.
pub fn describe(repo: &RepoId, bundle: &KeyBundle, slot: &[u8], subject: &str) -> Result<Description> {
    let (header, clear) = Clear::parse(slot, subject)?;
    let secret = bundle
        .epoch(clear.epoch)
        .ok_or_else(|| crate::crypto::bundle::unknown_epoch("read key slot", subject, clear.epoch))?;
    let mut note = clear.note.to_vec();
    let plain = header
        .note_key(secret, repo)?
        .open(0, clear.before_note, &mut note)
        .map_err(|e| Error::damaged("read key slot", subject, e.to_string()))?
        .len();
    note.truncate(plain);
    let has_password = matches!(clear.kind, Some(SlotKind::Password | SlotKind::PasswordAndFile));
    Ok(Description { kind: clear.kind, kdf: has_password.then_some(clear.kdf), note })
}

/// What a slot says opens it, for a question to a person: nobody vouches for that before it is opened.
#[must_use]
pub fn claimed_kind(slot: &[u8]) -> Option<SlotKind> {
    Clear::split(slot)?.kind
}

/// The parts of a slot, before anything of it is known to be true.
struct Clear<'s> {
    kind: Option<SlotKind>,
    kdf: KdfParams,
    before_bundle: &'s [u8],
    bundle: &'s [u8],
    before_note: &'s [u8],
    epoch: u32,
    note: &'s [u8],
}

impl<'s> Clear<'s> {
    fn parse(slot: &'s [u8], subject: &str) -> Result<(Header, Self)> {
        let header = Header::decode(slot, ObjectType::KeySlot, subject)?;
        let clear = Self::split(slot)
            .ok_or_else(|| Error::damaged("read key slot", subject, "its lengths do not fit"))?;
        Ok((header, clear))
    }

    fn split(slot: &'s [u8]) -> Option<Self> {
        let (before_bundle, rest) = slot.split_at_checked(CLEAR_LEN)?;
        let fields: &[u8; 33] = before_bundle.last_chunk()?;
        let [kind, m0, m1, m2, m3, p0, p1, p2, p3, l0, l1, l2, l3, salt @ .., b0, b1, b2, b3] = fields;
        let kdf = KdfParams {
            memory_kib: u32::from_le_bytes([*m0, *m1, *m2, *m3]),
            passes: u32::from_le_bytes([*p0, *p1, *p2, *p3]),
            lanes: u32::from_le_bytes([*l0, *l1, *l2, *l3]),
            salt: *salt,
        };
        let bundle_len = usize::try_from(u32::from_le_bytes([*b0, *b1, *b2, *b3])).ok()?;
        let (bundle, rest) = rest.split_at_checked(bundle_len)?;
        let (epoch, note) = rest.split_first_chunk::<4>()?;
        let before_note = slot.get(..slot.len().checked_sub(note.len())?)?;
        if bundle.len() < TAG_LEN || !(TAG_LEN..=MAX_NOTE_LEN).contains(&note.len()) {
            return None;
        }
        let kind = SlotKind::from_number(*kind);
        Some(Self { kind, kdf, before_bundle, bundle, before_note, epoch: u32::from_le_bytes(*epoch), note })
    }
}

#[cfg(test)]
mod tests;
