//! Second copies: a copy that is missing is made again from the other one. What is damaged is left alone: it is read from
//! the other copy, and replacing it is a repair that a person asks for.

use crate::base::error::unless_unreadable;
use crate::base::event::Silent;
use crate::base::{Error, KeyId, Kind, Observer, Result, SnapshotId, Warning, WarningKind};
use crate::crypto::ObjectType;
use crate::crypto::slot::MAX_SLOT_LEN;
use crate::format::{config, event, manifest};
use crate::repo::Repo;
use crate::repo::objects::check_name;
use crate::repo::snapshots::{History, SlotChanges};
use crate::store::{ObjectInfo, ObjectName};
use std::collections::BTreeSet;

impl Repo {
    /// Writes the second copy of an object that is stored. If that fails, the work is done all the same: the observer is
    /// told, and the next run writes the copy.
    pub(super) fn put_mirror(&self, what: &str, name: &ObjectName, object: &[u8], observer: &dyn Observer) {
        if let Err(e) = self.store.put_new(&name.mirror(), object) {
            observer.warn(&not_written(&format!("{what} is stored, but its second copy"), &e));
        }
    }

    /// Makes missing copies of config, key slots, manifests and events. A first copy that had to be made again is told:
    /// somebody removed it. A forgotten manifest is not brought back, nor is a key slot that was removed. Second copies that
    /// cannot be written are told, and keep nobody from working.
    pub(crate) fn heal_mirrors(&self, history: &History, observer: &dyn Observer) -> Result<()> {
        let mut unwritten = None;
        for folder in ["config", "keys", "snapshots", "events"] {
            // Second copies first: one that is written meanwhile has its first copy already.
            let Some(second) = self.names(&format!("mirror/{folder}"))? else { continue };
            let Some(first) = self.names(folder)? else { continue };
            let mut copied = Vec::new();
            for name in first.difference(&second).filter(|name| !is_removed_slot(name, &history.slots)) {
                match self.copy_object(name, name, &name.mirror()) {
                    Ok(true) => copied.push(name.mirror()),
                    Ok(false) => {}
                    Err(e) if e.kind() == Kind::Gone => return Err(e),
                    Err(e) => unwritten = unwritten.or(Some(e)),
                }
            }
            for name in second.difference(&first).filter(|name| !is_removed_slot(name, &history.slots)) {
                let id = SnapshotId::from_hex(name.last());
                if id.is_some_and(|id| history.forgotten.contains(&id)) {
                    continue;
                }
                if self.copy_object(name, &name.mirror(), name)? {
                    copied.push(name.clone());
                    observer.warn(&Warning {
                        kind: WarningKind::MirrorUsed,
                        path: None,
                        message: format!(
                            "The first copy of {name} was gone and was made again from the second"
                        ),
                    });
                }
            }
            if folder == "keys" && !copied.is_empty() {
                self.take_back(&copied)?;
            }
        }
        if let Some(e) = unwritten {
            observer.warn(&not_written("The second copy of an object of the repository", &e));
        }
        Ok(())
    }

    /// Takes away copies of key slots that another program removed while they were copied. It writes its event first and
    /// deletes then: either its deletion came after our copy, or we see its event now.
    fn take_back(&self, copied: &[ObjectName]) -> Result<()> {
        let slots = self.slot_changes(&Silent)?;
        for name in copied.iter().filter(|name| is_removed_slot(name, &slots)) {
            self.remove_slot_copy(name)?;
        }
        Ok(())
    }

    /// The names below a folder, or the object of this name, as first copies are named. None where nobody could look: then
    /// it is not known what is missing.
    fn names(&self, folder: &str) -> Result<Option<BTreeSet<ObjectName>>> {
        if folder.ends_with("config") {
            let there = unless_unreadable(self.store.stat(&ObjectName::new(folder)?))?;
            return Ok(there.map(|there| there.map(|_| ObjectName::config()).into_iter().collect()));
        }
        let listing = self.store.list(folder)?;
        if !listing.unreadable.is_empty() {
            return Ok(None);
        }
        let plain = |info: &ObjectInfo| ObjectName::new(info.name.as_str().trim_start_matches("mirror/"));
        listing.objects.iter().map(plain).collect::<Result<_>>().map(Some)
    }

    /// Copies an object that is what its name says; false if it is not.
    fn copy_object(&self, name: &ObjectName, from: &ObjectName, to: &ObjectName) -> Result<bool> {
        let max_len = config::MAX_LEN.max(MAX_SLOT_LEN).max(manifest::MAX_LEN).max(event::MAX_LEN);
        // Reading it as what it is tells what is wrong with it.
        let Some(bytes) = unless_unreadable(self.store.get(from, max_len))? else { return Ok(false) };
        let sound = match name.as_str().split('/').next() {
            Some("config") => config::Config::open(&self.sealer, &bytes).is_ok(),
            Some("events") => self.sealer.open(ObjectType::Event, &bytes, name.as_str()).is_ok(),
            _ => {
                let id = KeyId::from_hex(name.last());
                id.is_some_and(|id| check_name(&bytes, id.as_bytes(), "copy", name.as_str()).is_ok())
            }
        };
        if sound {
            self.store.put_new(to, &bytes)?;
        }
        Ok(sound)
    }
}

fn not_written(what: &str, why: &Error) -> Warning {
    Warning {
        kind: WarningKind::MirrorNotWritten,
        path: None,
        message: format!("{what} could not be written; the next snapshot tries again: {}", why.full_text()),
    }
}

fn is_removed_slot(name: &ObjectName, slots: &SlotChanges) -> bool {
    let is_slot = ["keys/", "mirror/keys/"].iter().any(|folder| name.as_str().starts_with(folder));
    is_slot && KeyId::from_hex(name.last()).is_some_and(|id| slots.removed.contains(&id))
}
