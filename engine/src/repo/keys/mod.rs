//! Key slots: who can open the repository. A slot is made, proved, and only then another one is removed.
//!
//! The order of a change, each step durable before the next:
//!
//! 1. a lease, so that two programs do not change keys at the same time;
//! 2. the new slot and its second copy; both are read back and opened by the new credential;
//! 3. the event that says what was added and removed;
//! 4. a look at what the events say now: a slot that nobody removed must be left, whoever else was at work;
//! 5. both copies of the removed slots are deleted.
//!
//! Killed before 3, old and new key open; after it, what is left of the removed slots opens still, is never copied again
//! (`mirror.rs`), and is deleted by the next change. Step 4 alone makes it impossible that no slot remains: a slot is
//! only deleted after its event, and after a slot was seen that no event removes; whoever removes that one must see yet
//! another. The lease only spares people from meeting that case.

use crate::base::event::Silent;
use crate::base::{Error, KeyId, Kind, Observer, Result, Warning, WarningKind, Whose, WriterId};
use crate::crypto::secret::random_bytes;
use crate::crypto::slot::{Derivations, Description, MAX_SLOT_LEN, describe, unwrap, wrap};
use crate::crypto::{Credential, KdfParams, SlotKind};
use crate::format::KeyNote;
use crate::format::key_note::MAX_LABEL;
use crate::format::lease::LeaseKind;
use crate::model::EventAction;
use crate::repo::Repo;
use crate::repo::create::put_slot;
use crate::repo::lease::{HeldLease, OtherLeases, is_older};
use crate::repo::objects::check_name;
use crate::repo::open::read_slots;
use crate::repo::snapshots::{History, SlotChanges};
use crate::store::ObjectName;
use std::time::Duration;

/// Most slots that are made. Readers take twice as many: a foreign file among them must not lock anybody out.
const MOST_SLOTS: usize = 32;
/// A key change on another machine takes seconds; after this long, by the store's clock, it is over.
const ABANDONED: Duration = Duration::from_secs(3600);

const CHANGE_PASSWORD: &str = "change the password of";

/// A way to open the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySlot {
    /// Its id.
    pub id: KeyId,
    /// What opens it; `None` if no holder of the keys made it as it is, or if it is of a kind that is not known here.
    pub kind: Option<SlotKind>,
    /// What its maker wrote about it; `None` if no holder of the keys made it as it is.
    pub note: Option<KeyNote>,
    /// True if it opened this repository now.
    pub in_use: bool,
    /// True if it was removed and is there all the same: the removal was interrupted, or an old copy was put back.
    pub removed: bool,
}

/// A slot that took the place of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The new slot.
    pub new: KeyId,
    /// The slot that was in use.
    pub old: KeyId,
}

/// A slot as it was found.
struct Found {
    id: KeyId,
    bytes: Vec<u8>,
    /// That it has one proves that a holder of the bundle made it as it is.
    description: Option<Description>,
    note: Option<KeyNote>,
}

impl Found {
    fn replaces(&self, id: &KeyId) -> bool {
        self.note.as_ref().is_some_and(|note| note.replaces.as_ref() == Some(id))
    }
}

impl Repo {
    /// The key slots, oldest first; those that nobody vouches for last. One that was added, was not removed, and is gone
    /// is told to the observer.
    pub fn keys(&self, observer: &dyn Observer) -> Result<Vec<KeySlot>> {
        let changes = self.slot_changes(observer)?;
        let found = self.find_slots()?;
        for id in changes.added.iter().filter(|id| found.iter().all(|slot| slot.id != **id)) {
            observer.warn(&Warning {
                kind: WarningKind::Damaged,
                path: None,
                message: format!(
                    "Key slot {} was added to the repository and nobody removed it, but both of its copies are gone or \
                     damaged: what opened it does not open the repository any more",
                    id.short()
                ),
            });
        }
        let mut slots: Vec<KeySlot> = found
            .into_iter()
            .map(|slot| KeySlot {
                id: slot.id,
                kind: slot.description.and_then(|description| description.kind),
                note: slot.note,
                in_use: slot.id == self.slot,
                removed: changes.removed.contains(&slot.id),
            })
            .collect();
        slots.sort_by_key(|slot| (slot.note.is_none(), slot.note.as_ref().map(|note| note.created), slot.id));
        Ok(slots)
    }

    /// Adds a slot.
    ///
    /// # Errors
    /// [`Kind::AlreadyThere`] if the credential opens the repository already, [`Kind::Locked`] while another program
    /// changes keys, [`Kind::Usage`] if there are too many slots or the label is too long.
    pub fn add_key(
        &self,
        credential: &Credential,
        label: Option<&str>,
        observer: &dyn Observer,
    ) -> Result<KeyId> {
        check_label(label)?;
        self.change_keys(observer, |history| {
            let slots = self.find_slots()?;
            if slots.len() >= MOST_SLOTS {
                return Err(Error::new(Kind::Usage, "add a key to", self.location())
                    .because(format!("it has {} keys already; remove one before", slots.len())));
            }
            let mut derivations = Derivations::default();
            if self.opened_by(&slots, credential, &mut derivations)?.is_some() {
                return Err(already("add a key to", &self.location()));
            }
            let note = KeyNote { label: label.map(str::to_owned), ..self.session.key_note() };
            let id = self.write_slot(credential, &mut derivations, &slots, &note)?;
            let removed = self.unfinished(&slots);
            self.announce(history, Some(id), &removed, observer).inspect_err(|e| {
                // Whether another failure came before or after the event was durable is not known: then it stays.
                if e.kind() == Kind::Cancelled {
                    self.discard(&id);
                }
            })?;
            self.clear(&removed, observer)?;
            Ok(id)
        })
    }

    /// Removes a slot. `even_in_use`: also the one that opened the repository now.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such slot, [`Kind::Usage`] if no other one would be left that a holder of the
    /// keys made, or if it is in use, [`Kind::Locked`] while another program changes keys.
    pub fn remove_key(&self, id: &KeyId, even_in_use: bool, observer: &dyn Observer) -> Result<()> {
        self.change_keys(observer, |history| {
            let act = "remove key";
            let slots = self.find_slots()?;
            if slots.iter().all(|slot| slot.id != *id) {
                return Err(Error::new(Kind::NotFound, act, id.short()).because("there is no such key"));
            }
            let is_current = *id == self.slot;
            // Whoever removes the new slot of an interrupted replacement wants to keep the old one.
            let mut removed = if is_current { Vec::new() } else { self.unfinished(&slots) };
            removed.push(*id);
            if !slots.iter().any(|slot| counts(slot, &history.slots) && !removed.contains(&slot.id)) {
                return Err(Error::new(Kind::Usage, act, id.short())
                    .because("it is the last one: without it nobody could open the repository any more"));
            }
            if is_current && !even_in_use {
                return Err(Error::new(Kind::Usage, act, id.short())
                    .because("it is the one that opens the repository at this moment"));
            }
            self.announce(history, None, &removed, observer)?;
            self.clear(&removed, observer)
        })
    }

    /// Puts a slot for another password in the place of the slot in use. What an interrupted replacement left is tidied.
    ///
    /// # Errors
    /// [`Kind::Usage`] if a recovery key opened the repository: whoever holds it on paper would be locked out.
    /// [`Kind::AlreadyThere`] if the new credential opens the repository already, [`Kind::Locked`] while another program
    /// changes keys.
    pub fn replace_key(&self, credential: &Credential, observer: &dyn Observer) -> Result<Replaced> {
        let is_recovery = |slot: &Found| {
            slot.id == self.slot
                && slot.description.as_ref().and_then(|told| told.kind) == Some(SlotKind::Recovery)
        };
        if self.find_slots()?.iter().any(is_recovery) {
            return Err(Error::new(Kind::Usage, CHANGE_PASSWORD, self.location())
                .because("a recovery key opened it, which is not replaced by a password"));
        }
        self.replace_slot(credential, observer)
    }

    fn replace_slot(&self, credential: &Credential, observer: &dyn Observer) -> Result<Replaced> {
        self.change_keys(observer, |history| {
            let slots = self.find_slots()?;
            let Some(current) = slots.iter().find(|slot| slot.id == self.slot) else {
                return Err(Error::new(Kind::NotFound, CHANGE_PASSWORD, self.location())
                    .because("the key that opened it was removed meanwhile"));
            };
            // Slots of replacements that were killed before the event: they were to take this one's place.
            let leftovers = slots.iter().filter(|slot| slot.replaces(&self.slot)).map(|slot| slot.id);
            let mut removed: Vec<KeyId> = leftovers.collect();
            let mut derivations = Derivations::default();
            let opened = self.opened_by(&slots, credential, &mut derivations)?;
            if opened.is_some_and(|id| !removed.contains(&id)) {
                return Err(already(CHANGE_PASSWORD, &self.location()));
            }
            let label = current.note.as_ref().and_then(|note| note.label.clone());
            let note = KeyNote { label, replaces: Some(self.slot), ..self.session.key_note() };
            let new = self.write_slot(credential, &mut derivations, &slots, &note)?;
            removed.push(self.slot);
            removed.extend(self.unfinished(&slots));
            self.announce(history, Some(new), &removed, observer).inspect_err(|e| {
                // Whether another failure came before or after the event was durable is not known: then both stay.
                if e.kind() == Kind::Cancelled {
                    self.discard(&new);
                }
            })?;
            self.clear(&removed, observer)?;
            Ok(Replaced { new, old: self.slot })
        })
    }

    /// Holds the lease of a key change while `change` works, with what was known after it was taken.
    fn change_keys<T>(
        &self,
        observer: &dyn Observer,
        change: impl FnOnce(&History) -> Result<T>,
    ) -> Result<T> {
        // Who writes the event is known only then; nobody looks for a lease by its writer.
        let lease = self.take_lease(LeaseKind::KeyChange, WriterId::new(random_bytes()?))?;
        let changed = self.refuse_others(&lease).and_then(|()| self.history(observer)).and_then(|history| {
            self.session.cancel.check()?;
            self.refuse_denied(&history)?;
            change(&history)
        });
        if let Err(e) = self.remove_lease(&lease.name)
            && changed.is_ok()
        {
            observer.warn(&Warning {
                kind: WarningKind::NotCleanedUp,
                path: None,
                message: format!(
                    "The key change is done, but its lease could not be removed: {}",
                    e.full_text()
                ),
            });
        }
        changed
    }

    /// Fails if this user may not read all that says which keys there are: what is decided on half of it could lock
    /// somebody out.
    fn refuse_denied(&self, history: &History) -> Result<()> {
        if !history.denied {
            return Ok(());
        }
        let why = "this user may not read all snapshots and events of it; nothing was changed";
        Err(Error::new(Kind::Denied, "change the keys of", self.location())
            .because(why)
            .of(Whose::Repository))
    }

    /// Fails while another living program changes keys or works alone. Snapshots go on: they have all keys in memory,
    /// and none of them changes.
    fn refuse_others(&self, own: &HeldLease) -> Result<()> {
        let OtherLeases { found, now } = self.other_leases(&own.name)?;
        for found in found {
            let excludes = |kind| !matches!(kind, LeaseKind::Snapshot | LeaseKind::Init);
            let Some(other) = found.lease.as_ref().filter(|lease| excludes(lease.kind)) else {
                continue;
            };
            let is_old = |now| is_older(found.written, now, ABANDONED);
            let is_abandoned = other.kind == LeaseKind::KeyChange
                && (found.dead || (!self.is_visible(other) && now.is_some_and(is_old)));
            if is_abandoned {
                self.remove_lease(&found.name)?;
            } else if !found.dead {
                return Err(Error::new(Kind::Locked, "change the keys of", self.location()).because(
                    format!("another program is at work on it: process {} on {}", other.pid, other.host),
                ));
            }
        }
        Ok(())
    }

    fn find_slots(&self) -> Result<Vec<Found>> {
        let (repo, bundle) = (&self.sealer.repo, &self.sealer.bundle);
        let slots = read_slots(self.store.as_ref())?.readable.into_iter().map(|(id, bytes)| {
            let description = describe(repo, bundle, &bytes, &id.short()).ok();
            let note = description.as_ref().and_then(|told| KeyNote::decode(&told.note).ok());
            Found { id, bytes, description, note }
        });
        Ok(slots.collect())
    }

    /// The slot that a credential opens. Only those are tried that a holder of the keys made: the others could make
    /// each attempt as long as their maker likes.
    fn opened_by(
        &self,
        slots: &[Found],
        credential: &Credential,
        derivations: &mut Derivations,
    ) -> Result<Option<KeyId>> {
        for slot in slots.iter().filter(|slot| slot.description.is_some()) {
            let opened = unwrap(&self.sealer.repo, credential, derivations, &slot.bytes, &slot.id.short())?;
            if opened.is_some() {
                return Ok(Some(slot.id));
            }
        }
        Ok(None)
    }

    /// The slot that the one in use was to take the place of, if it is still there: somebody was interrupted, and that
    /// the new one opens is proved by now.
    fn unfinished(&self, slots: &[Found]) -> Vec<KeyId> {
        let current = slots.iter().find(|slot| slot.id == self.slot);
        slots
            .iter()
            .filter(|slot| current.is_some_and(|it| it.replaces(&slot.id)))
            .map(|slot| slot.id)
            .collect()
    }

    /// Writes a slot, and proves that both copies open. Shares the salt of another password slot, so that opening still
    /// costs one derivation.
    fn write_slot(
        &self,
        credential: &Credential,
        derivations: &mut Derivations,
        slots: &[Found],
        note: &KeyNote,
    ) -> Result<KeyId> {
        let shared = slots.iter().find_map(|slot| slot.description.as_ref()?.kdf);
        let kdf = match shared {
            Some(kdf) => kdf,
            None => KdfParams::standard(random_bytes()?),
        };
        let (repo, bundle) = (&self.sealer.repo, &self.sealer.bundle);
        let slot = wrap(repo, credential, derivations, kdf, bundle, &note.encode())?;
        self.session.cancel.check()?;
        let id = KeyId::new(crate::base::hash::digest(&slot));
        let written = put_slot(self.store.as_ref(), &slot).and_then(|_| self.prove(&id, credential));
        written.inspect_err(|_| self.discard(&id))?;
        Ok(id)
    }

    /// Opens both copies of a slot as the next run would.
    fn prove(&self, id: &KeyId, credential: &Credential) -> Result<()> {
        let (repo, subject) = (&self.sealer.repo, id.short());
        let mut derivations = Derivations::default();
        let name = ObjectName::key(id);
        for copy in [&name, &name.mirror()] {
            let bytes = self.store.get(copy, MAX_SLOT_LEN)?;
            check_name(&bytes, id.as_bytes(), "verify key slot", &subject)?;
            let opened = unwrap(repo, credential, &mut derivations, &bytes, &subject)?;
            if opened.is_none_or(|bundle| bundle.encode() != self.sealer.bundle.encode()) {
                return Err(Error::damaged("verify key slot", &subject, "it does not open"));
            }
        }
        Ok(())
    }

    /// Writes down what was added and what is removed from now on.
    fn announce(
        &self,
        history: &History,
        added: Option<KeyId>,
        removed: &[KeyId],
        observer: &dyn Observer,
    ) -> Result<()> {
        self.record(history, vec![EventAction::KeyChange { added, removed: removed.to_vec() }], observer)
    }

    /// Deletes what is removed now, and what is left of earlier removals.
    fn clear(&self, removed: &[KeyId], observer: &dyn Observer) -> Result<()> {
        let changes = self.slot_changes(&Silent)?;
        if !self.find_slots()?.iter().any(|slot| counts(slot, &changes)) {
            // Two programs removed each other's keys at the same time. Whoever sees it takes his part back.
            let kept =
                removed.iter().map(|id| EventAction::KeyChange { added: Some(*id), removed: Vec::new() });
            self.record(&self.history(&Silent)?, kept.collect(), observer)?;
            return Err(Error::new(Kind::Locked, "remove keys from", self.location())
                .because("another program removed the others at the same time, and none would be left"));
        }
        for folder in ["mirror/keys", "keys"] {
            for info in self.store.list(folder)?.complete()? {
                let id = KeyId::from_hex(info.name.last()).filter(|id| changes.removed.contains(id));
                // A slot that was removed earlier may be in use because an old copy was put back: its user would be
                // locked out.
                if id.is_some_and(|id| id != self.slot || removed.contains(&id)) {
                    self.remove_slot_copy(&info.name)?;
                }
            }
        }
        Ok(())
    }

    /// Takes a slot away that was made a moment ago. If that fails too, `keys` shows it.
    fn discard(&self, id: &KeyId) {
        let name = ObjectName::key(id);
        for copy in [name.mirror(), name] {
            let _already_failing = self.remove_slot_copy(&copy);
        }
    }

    /// Deletes a copy of a slot, if it is there.
    pub(super) fn remove_slot_copy(&self, name: &ObjectName) -> Result<()> {
        match self.store.delete(name) {
            Err(e) if e.kind() != Kind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// True for a slot that surely was made by a holder of the keys and that nobody removed.
fn counts(slot: &Found, changes: &SlotChanges) -> bool {
    slot.description.is_some() && !changes.removed.contains(&slot.id)
}

fn check_label(label: Option<&str>) -> Result<()> {
    match label {
        Some(label) if label.len() > MAX_LABEL => Err(Error::new(Kind::Usage, "use", "this label")
            .because(format!("it has {} bytes, and {MAX_LABEL} are the most", label.len()))),
        _ => Ok(()),
    }
}

fn already(act: &str, location: &str) -> Error {
    Error::new(Kind::AlreadyThere, act, location).because("what is given as the new key opens it already")
}

#[cfg(test)]
mod tests;
