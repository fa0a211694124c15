//! A new repository: secrets, key slots, config.
//!
//! The config decides whose repository it is. The order, each step durable before the next:
//!
//! 1. a look at both copies of the config: nothing is written where there is one;
//! 2. this program's own key slots and their second copies;
//! 3. in a store without conditional puts: an init lease. Any other lease, and any config that has appeared, ends this
//!    program's attempt. Of two programs at least one sees the other: each lists after it wrote its own lease, and a lease
//!    is removed only after the config is stored;
//! 4. the config. It is read back, and only the program that finds its own goes on;
//! 5. the second copy of the config; then the lease goes.
//!
//! A program that loses removes the slots that it wrote, and nothing else: the others may be the winner's. Slots of killed
//! programs open nothing and stay.

use crate::base::event::Silent;
use crate::base::{Error, KeyId, Kind, LeaseId, RepoId, Result, Timestamp, WriterId, hash};
use crate::crypto::secret::random_bytes;
use crate::crypto::slot::{Derivations, wrap};
use crate::crypto::{Credential, KdfParams, KeyBundle, ObjectType};
use crate::format::lease::LeaseKind;
use crate::format::object::Sealer;
use crate::format::{Config, config};
use crate::repo::open::Opened;
use crate::repo::{Repo, Session};
use crate::store::{ObjectName, Store};
use std::sync::Arc;

const ACT: &str = "create the repository at";
const BY_ANOTHER: &str = "another program is creating a repository there";
/// An init lease that is older, by the store's clock, belongs to a program that was killed: creating takes seconds.
const ABANDONED_SECS: i64 = 3600;
/// A program that needs longer, by its own clock, gives up: another one may soon call its lease abandoned.
const SLOW_SECS: i64 = ABANDONED_SECS / 4;

/// What was written so far.
struct Attempt<'s> {
    store: &'s dyn Store,
    sealer: &'s Sealer,
    slots: Vec<KeyId>,
    lease: Option<ObjectName>,
}

impl Repo {
    /// Creates a repository in a store that holds none, with one key slot for each credential.
    ///
    /// # Errors
    /// [`Kind::AlreadyThere`] if the store holds a repository, or if another program is creating one there; then nothing
    /// that this call wrote is left, and nothing else was touched.
    pub fn create(store: Arc<dyn Store>, credentials: &[Credential], session: Session) -> Result<Self> {
        let at = store.location();
        if credentials.is_empty() {
            return Err(Error::new(Kind::Usage, ACT, at).because("no password or key was given for it"));
        }
        refuse_config(store.as_ref(), "a repository already exists there")?;
        let sealer = Sealer::new(RepoId::new(random_bytes()?), KeyBundle::random()?);
        let config = Config::standard(session.now());
        let object = config.seal(&sealer)?;
        let mut attempt = Attempt { store: store.as_ref(), sealer: &sealer, slots: Vec::new(), lease: None };
        let claimed = attempt
            .write_slots(credentials, &session)
            .and_then(|()| attempt.take_init_lease(&session))
            .inspect_err(|_| attempt.take_back())
            .and_then(|()| attempt.claim(&object));
        let slot = claimed.and_then(|()| attempt.finish(&object))?;
        Opened { sealer, config, slot }.into_repo(store, session, &Silent)
    }
}

impl Attempt<'_> {
    fn write_slots(&mut self, credentials: &[Credential], session: &Session) -> Result<()> {
        let kdf = KdfParams::standard(random_bytes()?);
        let note = session.key_note().encode();
        for credential in credentials {
            // Each has what is derived of one password.
            let mut derivations = Derivations::default();
            let Sealer { repo, bundle, .. } = self.sealer;
            let slot = wrap(repo, credential, &mut derivations, kdf, bundle, &note)?;
            self.slots.push(KeyId::new(hash::digest(&slot)));
            put_slot(self.store, &slot)?;
        }
        Ok(())
    }

    /// Excludes other programs where the config alone cannot. By now the store has shown with the slots what it can do.
    fn take_init_lease(&mut self, session: &Session) -> Result<()> {
        if self.store.capabilities().conditional_puts {
            return Ok(());
        }
        let begun = session.now();
        let name = ObjectName::lease(&LeaseId::new(random_bytes()?));
        let lease = session.lease(LeaseKind::Init, WriterId::new(random_bytes()?));
        self.lease = Some(name.clone());
        self.store.put_new(&name, &self.sealer.seal(ObjectType::Lease, lease.encode())?)?;
        let leases = self.store.list("leases")?.complete()?;
        let now = leases.iter().find(|info| info.name == name).map(|info| info.modified);
        let is_living = |modified: Timestamp| {
            now.is_none_or(|now| now.secs.saturating_sub(modified.secs) < ABANDONED_SECS)
        };
        if leases.iter().any(|info| info.name != name && is_living(info.modified)) {
            return Err(Error::new(Kind::Locked, ACT, self.store.location()).because(BY_ANOTHER));
        }
        // After the leases: whoever removed one stored a config before.
        refuse_config(self.store, BY_ANOTHER)?;
        if session.now().secs.saturating_sub(begun.secs) >= SLOW_SECS {
            return Err(Error::new(Kind::Io, ACT, self.store.location()).because("the store is too slow"));
        }
        Ok(())
    }

    /// Stores the config, unless another program did.
    fn claim(&self, object: &[u8]) -> Result<()> {
        let name = ObjectName::config();
        let is_ours = match self.store.put_new(&name, object) {
            Ok(()) => self.store.get(&name, config::MAX_LEN)? == object,
            Err(e) if e.kind() == Kind::AlreadyThere => false,
            // Whether the config is there is not known: then the slots that open it must stay.
            Err(e) => return Err(e),
        };
        if is_ours {
            return Ok(());
        }
        self.take_back();
        Err(Error::new(Kind::AlreadyThere, ACT, self.store.location()).because(BY_ANOTHER))
    }

    /// Completes what the config has made a repository: gives the slot of the first credential.
    fn finish(&self, object: &[u8]) -> Result<KeyId> {
        self.store.put_new(&ObjectName::config().mirror(), object)?;
        if let Some(lease) = &self.lease {
            // One that stays is called dead by its age.
            let _tried = self.store.delete(lease);
        }
        let first = self.slots.first().copied();
        first.ok_or_else(|| Error::new(Kind::Internal, ACT, self.store.location()))
    }

    /// Removes what this attempt wrote. What cannot be removed opens nothing.
    fn take_back(&self) {
        let slots = self.slots.iter().map(ObjectName::key);
        let copies = slots.flat_map(|name| [name.mirror(), name]);
        for name in copies.chain(self.lease.clone()) {
            let _already_failing = self.store.delete(&name);
        }
    }
}

/// Refuses a store that holds a config, or what is left of one.
fn refuse_config(store: &dyn Store, why: &str) -> Result<()> {
    let name = ObjectName::config();
    for copy in [&name, &name.mirror()] {
        if store.stat(copy)?.is_some() {
            return Err(Error::new(Kind::AlreadyThere, ACT, store.location()).because(why));
        }
    }
    Ok(())
}

/// Writes a slot and its second copy.
pub(super) fn put_slot(store: &dyn Store, slot: &[u8]) -> Result<KeyId> {
    let id = KeyId::new(hash::digest(slot));
    let name = ObjectName::key(&id);
    store.put_new(&name, slot)?;
    store.put_new(&name.mirror(), slot)?;
    Ok(id)
}

#[cfg(test)]
mod tests;
