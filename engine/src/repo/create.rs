//! A new repository: secrets, config, key slots.

use crate::base::{Error, KeyId, Kind, RepoId, Result, hash};
use crate::crypto::secret::random_bytes;
use crate::crypto::slot::{Derivations, wrap};
use crate::crypto::{Credential, KdfParams, KeyBundle};
use crate::format::Config;
use crate::format::object::Sealer;
use crate::repo::open::Opened;
use crate::repo::{Repo, Session};
use crate::store::{ObjectName, Store};
use std::sync::Arc;

impl Repo {
    /// Makes a repository in an empty store, with one key slot for each credential. The config is written last, so
    /// that a killed `init` leaves no repository that nobody can open.
    pub fn create(store: Arc<dyn Store>, credentials: &[Credential], session: Session) -> Result<Self> {
        let bundle = KeyBundle::random()?;
        let sealer = Sealer::new(RepoId::new(random_bytes()?), bundle);
        let kdf = KdfParams::standard(random_bytes()?);
        // Slots of an `init` that was killed before its config open nothing.
        for prefix in ["keys", "mirror/keys"] {
            for info in store.list(prefix)?.complete()? {
                store.delete(&info.name)?;
            }
        }
        let note = session.key_note().encode();
        let (mut first, mut slots) = (None, Vec::new());
        for credential in credentials {
            let mut derivations = Derivations::default();
            let slot = wrap(&sealer.repo, credential, &mut derivations, kdf, &sealer.bundle, &note)?;
            let id = put_slot(store.as_ref(), &slot)?;
            first = first.or(Some(id));
            slots.push((id, slot));
        }
        let slot = first.ok_or_else(|| {
            Error::new(Kind::Usage, "make the repository at", store.location())
                .because("nothing is given that could open it")
        })?;
        let config = Config::standard(session.now());
        let object = config.seal(&sealer)?;
        store.put_new(&ObjectName::config().mirror(), &object)?;
        store.put_new(&ObjectName::config(), &object)?;
        // An `init` that began at the same time may have taken our slots for those of a killed one; it cannot any more.
        for (id, slot) in &slots {
            if store.stat(&ObjectName::key(id))?.is_none()
                || store.stat(&ObjectName::key(id).mirror())?.is_none()
            {
                put_slot(store.as_ref(), slot)?;
            }
        }
        Opened { sealer, config, slot }.into_repo(store, session, &crate::base::event::Silent)
    }
}

/// Writes a slot and its second copy.
pub(super) fn put_slot(store: &dyn Store, slot: &[u8]) -> Result<KeyId> {
    let id = KeyId::new(hash::digest(slot));
    let name = ObjectName::key(&id);
    store.put_new(&name, slot)?;
    store.put_new(&name.mirror(), slot)?;
    Ok(id)
}
