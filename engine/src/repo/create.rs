//! A new repository: secrets, config, key slots.

use crate::base::{KeyId, RepoId, Result, hash};
use crate::crypto::secret::random_bytes;
use crate::crypto::slot::{kdf_of, wrap};
use crate::crypto::{Credential, KdfParams, KeyBundle};
use crate::format::Config;
use crate::format::object::Sealer;
use crate::repo::open::{Opened, read_slots};
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
            for info in store.list(prefix)? {
                store.delete(&info.name)?;
            }
        }
        for credential in credentials {
            put_slot(store.as_ref(), &wrap(&sealer.repo, credential, kdf, &sealer.bundle)?)?;
        }
        let config = Config::standard(session.now());
        let object = config.seal(&sealer)?;
        store.put_new(&ObjectName::config().mirror(), &object)?;
        store.put_new(&ObjectName::config(), &object)?;
        Opened { sealer, config }.into_repo(store, session, &crate::base::event::Silent)
    }

    /// Adds a key slot. Shares the salt of an existing password slot, so that opening still costs one derivation.
    pub fn add_slot(&self, credential: &Credential) -> Result<KeyId> {
        let shared = read_slots(self.store.as_ref())?.iter().find_map(|(_, slot)| kdf_of(slot));
        let kdf = match shared {
            Some(kdf) => kdf,
            None => KdfParams::standard(random_bytes()?),
        };
        put_slot(self.store.as_ref(), &wrap(&self.sealer.repo, credential, kdf, &self.sealer.bundle)?)
    }
}

fn put_slot(store: &dyn Store, slot: &[u8]) -> Result<KeyId> {
    let id = KeyId::new(hash::digest(slot));
    let name = ObjectName::key(&id);
    store.put_new(&name, slot)?;
    store.put_new(&name.mirror(), slot)?;
    Ok(id)
}
