//! The history: all manifests, with the events folded over them.

use crate::base::{Error, KeyId, Kind, Observer, Result, SnapshotId, Warning, WarningKind, WriterId, hash};
use crate::crypto::ObjectType;
use crate::format::{event, manifest};
use crate::model::{Event, EventAction, Head, Manifest};
use crate::repo::Repo;
use crate::repo::objects::{check_name, read_mirrored};
use crate::repo::open::{is_denied, warn_of_unreadable};
use crate::store::ObjectName;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::PoisonError;

/// A snapshot as it is seen now.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// What was written when it was taken.
    pub manifest: Manifest,
    /// Its tags now, sorted.
    pub tags: Vec<String>,
    /// Its description now.
    pub description: Option<String>,
    /// True if a suspect state was accepted.
    pub accepted: bool,
}

/// An event, none if it is of a newer format, and the hash of its object.
pub(crate) type ReadEvent = (Option<Event>, [u8; 32]);

/// All that is known of the past.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The snapshots that are not forgotten, ascending by time, then Lamport number, then id.
    pub snapshots: Vec<Snapshot>,
    /// The last object of each writer.
    pub heads: BTreeMap<WriterId, Head>,
    /// The greatest Lamport number seen.
    pub lamport: u64,
    /// The snapshots that are forgotten; their manifests may be there still.
    pub forgotten: HashSet<SnapshotId>,
    /// What became of key slots.
    pub slots: SlotChanges,
    /// True if this user may not read some of it: what is known is not enough to remove anything.
    pub denied: bool,
}

/// What events say about key slots. The slots of `init` are in none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotChanges {
    /// Those that were added and not removed since.
    pub added: BTreeSet<KeyId>,
    /// Those that were removed. A copy that is still there, or there again, is not to be used or copied.
    pub removed: BTreeSet<KeyId>,
}

impl Repo {
    /// The snapshots, oldest first. Newer formats are hidden and told to the observer, so are damaged manifests.
    pub fn snapshots(&self, observer: &dyn Observer) -> Result<Vec<Snapshot>> {
        Ok(self.history(observer)?.snapshots)
    }

    /// Reads all manifests and events.
    pub fn history(&self, observer: &dyn Observer) -> Result<History> {
        let (names, mut denied) = self.mirrored_names("snapshots", observer)?;
        let ids: HashSet<SnapshotId> =
            names.iter().filter_map(|name| SnapshotId::from_hex(name.last())).collect();
        let mut history = History::default();
        for id in &ids {
            self.session.cancel.check()?;
            match self.read_manifest(id, observer) {
                Ok(manifest) => history.add_manifest(*id, manifest),
                Err(e) => {
                    denied |= e.kind() == Kind::Denied;
                    report(observer, id, e)?;
                }
            }
        }
        history.denied = denied;
        self.with_catalog(|catalog| catalog.forget_manifests_except(&ids))?;
        // After the manifests: whatever a listed snapshot needs was indexed before its manifest was written.
        self.refresh(observer)?;
        let events = self.events(&mut history, observer)?;
        history.forgotten = fold(&mut history.snapshots, &events);
        history.slots = fold_slots(&events);
        self.tell_pending(observer);
        history.snapshots.sort_by_key(|s| (s.manifest.time, s.manifest.lamport, s.id));
        Ok(history)
    }

    fn read_manifest(&self, id: &SnapshotId, observer: &dyn Observer) -> Result<Manifest> {
        if let Some(body) = self.with_catalog(|catalog| catalog.manifest(id))? {
            return manifest::decode(&body, id);
        }
        let subject = id.short();
        let name = ObjectName::snapshot(id);
        let body = read_mirrored(self.store.as_ref(), &name, manifest::MAX_LEN, observer, |object| {
            check_name(object, id.as_bytes(), "read snapshot", &subject)?;
            self.sealer.open(ObjectType::Manifest, object, &subject)
        })?;
        let manifest = manifest::decode(&body, id)?;
        self.with_catalog(|catalog| catalog.put_manifest(id, &body))?;
        Ok(manifest)
    }

    /// What events say about key slots at this moment.
    pub(crate) fn slot_changes(&self, observer: &dyn Observer) -> Result<SlotChanges> {
        Ok(fold_slots(&self.events(&mut History::default(), observer)?))
    }

    fn events(&self, history: &mut History, observer: &dyn Observer) -> Result<Vec<Event>> {
        let (names, denied) = self.mirrored_names("events", observer)?;
        history.denied |= denied;
        let mut events = Vec::new();
        for name in names {
            match self.read_event(&name, observer) {
                Ok((Some(event), hash)) => {
                    history.saw(event.writer, event.sequence, hash, event.lamport);
                    events.push(event);
                }
                Ok((None, _)) => {}
                Err(e) if e.is_unreadable() || e.kind() == Kind::NewerFormat => {
                    history.denied |= e.kind() == Kind::Denied;
                    observer.warn(&Warning::of_unreadable(None, "An event cannot be read", &e));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(events)
    }

    /// Reads an event, once in a run.
    fn read_event(&self, name: &ObjectName, observer: &dyn Observer) -> Result<ReadEvent> {
        let known = || self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = known().get(name) {
            return Ok(read.clone());
        }
        let read = read_mirrored(self.store.as_ref(), name, event::MAX_LEN, observer, |object| {
            let body = self.sealer.open(ObjectType::Event, object, name.as_str())?;
            let event = event::decode(&body)?;
            // Else the storage could show one event twice, and hide another behind it.
            if event.as_ref().is_some_and(|event| ObjectName::event(&event.writer, event.sequence) != *name) {
                return Err(Error::damaged("read event", name, "it stands under another's name"));
            }
            Ok((event, hash::digest(object)))
        })?;
        known().insert(name.clone(), read.clone());
        Ok(read)
    }

    /// The names of objects that have two copies, as first copies are named; and whether this user may not look at one of
    /// the two folders. What only one of the two shows is enough.
    fn mirrored_names(&self, folder: &str, observer: &dyn Observer) -> Result<(BTreeSet<ObjectName>, bool)> {
        let (mut names, mut denied) = (BTreeSet::new(), false);
        for prefix in [folder.to_owned(), format!("mirror/{folder}")] {
            let listing = self.store.list(&prefix)?;
            warn_of_unreadable(&listing, observer);
            denied |= is_denied(&listing);
            for info in listing.objects {
                let plain = info.name.as_str().strip_prefix("mirror/").map(ObjectName::new);
                names.insert(plain.unwrap_or(Ok(info.name.clone()))?);
            }
        }
        Ok((names, denied))
    }
}

/// A manifest that cannot be used does not hide the others.
fn report(observer: &dyn Observer, id: &SnapshotId, error: Error) -> Result<()> {
    let (kind, what) = match error.kind() {
        Kind::NewerFormat => (WarningKind::NewerSnapshot, "was written by a newer version and is not shown"),
        Kind::Denied => (WarningKind::Denied, "cannot be shown"),
        Kind::Damaged | Kind::NotFound => (WarningKind::Damaged, "is damaged and not shown"),
        _ => return Err(error),
    };
    let message = format!("Snapshot {} {what}: {}", id.short(), error.full_text());
    observer.warn(&Warning { kind, path: None, message });
    Ok(())
}

impl History {
    fn add_manifest(&mut self, id: SnapshotId, manifest: Manifest) {
        self.saw(manifest.writer, manifest.sequence, *id.as_bytes(), manifest.lamport);
        let mut tags = manifest.tags.clone();
        tags.sort();
        tags.dedup();
        let description = manifest.description.clone();
        self.snapshots.push(Snapshot { id, manifest, tags, description, accepted: false });
    }

    fn saw(&mut self, writer: WriterId, sequence: u64, hash: [u8; 32], lamport: u64) {
        self.lamport = self.lamport.max(lamport);
        let head = self.heads.entry(writer).or_insert(Head { writer, sequence, hash });
        if sequence > head.sequence {
            *head = Head { writer, sequence, hash };
        }
    }
}

/// Folds events in the order of their Lamport numbers, then writers: tags add up, the last description wins, accept
/// stays, and an undo beats a tombstone of an equal or lower number. Returns what is forgotten.
fn fold(snapshots: &mut Vec<Snapshot>, events: &[Event]) -> HashSet<SnapshotId> {
    let mut order: Vec<&Event> = events.iter().collect();
    order.sort_by_key(|event| (event.lamport, event.writer));
    let places: HashMap<SnapshotId, usize> =
        snapshots.iter().enumerate().map(|(place, snapshot)| (snapshot.id, place)).collect();
    let (mut forgotten, mut undone): (HashMap<SnapshotId, u64>, HashMap<SnapshotId, u64>) =
        Default::default();
    for event in order {
        match &event.action {
            EventAction::Forget { snapshot, .. } => {
                forgotten.insert(*snapshot, event.lamport);
            }
            EventAction::Undo { snapshot } => {
                undone.insert(*snapshot, event.lamport);
            }
            EventAction::Tag { snapshot, .. }
            | EventAction::Describe { snapshot, .. }
            | EventAction::Accept { snapshot } => {
                if let Some(seen) = places.get(snapshot).and_then(|place| snapshots.get_mut(*place)) {
                    apply(seen, &event.action);
                }
            }
            EventAction::KeyChange { .. } => {}
        }
    }
    let is_undone = |id: &SnapshotId, forget: u64| undone.get(id).is_some_and(|undo| *undo >= forget);
    let forgotten: HashSet<SnapshotId> =
        forgotten.into_iter().filter(|(id, forget)| !is_undone(id, *forget)).map(|(id, _)| id).collect();
    snapshots.retain(|snapshot| !forgotten.contains(&snapshot.id));
    forgotten
}

/// What was last said of each slot, in the same order.
fn fold_slots(events: &[Event]) -> SlotChanges {
    let mut order: Vec<&Event> = events.iter().collect();
    order.sort_by_key(|event| (event.lamport, event.writer));
    let mut slots = SlotChanges::default();
    for event in order {
        if let EventAction::KeyChange { added, removed } = &event.action {
            if let Some(id) = added {
                slots.added.insert(*id);
                slots.removed.remove(id);
            }
            for id in removed {
                slots.added.remove(id);
                slots.removed.insert(*id);
            }
        }
    }
    slots
}

fn apply(snapshot: &mut Snapshot, action: &EventAction) {
    match action {
        EventAction::Tag { add, remove, .. } => {
            snapshot.tags.retain(|tag| !remove.contains(tag));
            snapshot.tags.extend(add.iter().cloned());
            snapshot.tags.sort();
            snapshot.tags.dedup();
        }
        EventAction::Describe { text, .. } => {
            snapshot.description = Some(text.clone()).filter(|text| !text.is_empty());
        }
        EventAction::Accept { .. } => snapshot.accepted = true,
        EventAction::Forget { .. } | EventAction::Undo { .. } | EventAction::KeyChange { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::repo::testing::sample_manifest;

    fn event(lamport: u64, writer: u8, action: EventAction) -> Event {
        let writer = WriterId::new([writer; 16]);
        Event { writer, sequence: lamport, previous: None, lamport, created: Timestamp::default(), action }
    }

    #[test]
    fn events_fold_by_lamport_number_then_writer() {
        let id = |n: u8| SnapshotId::new([n; 32]);
        let mut history = History::default();
        for n in 1..=4 {
            history.add_manifest(id(n), sample_manifest(n));
        }
        let forget = |n: u8| EventAction::Forget {
            snapshot: id(n),
            writer: WriterId::new([0; 16]),
            sequence: 1,
            previous: None,
        };
        let tag = |add: &[&str], remove: &[&str]| EventAction::Tag {
            snapshot: id(1),
            add: add.iter().map(|t| (*t).to_owned()).collect(),
            remove: remove.iter().map(|t| (*t).to_owned()).collect(),
        };
        let events = [
            event(5, 2, EventAction::Describe { snapshot: id(1), text: "later".into() }),
            event(5, 1, EventAction::Describe { snapshot: id(1), text: "earlier".into() }),
            event(3, 1, tag(&["a", "b"], &[])),
            event(4, 1, tag(&["c"], &["a"])),
            event(2, 1, EventAction::Accept { snapshot: id(1) }),
            event(6, 1, forget(2)),
            event(6, 2, forget(3)),
            event(6, 1, EventAction::Undo { snapshot: id(3) }),
            event(5, 1, EventAction::Undo { snapshot: id(4) }),
            event(6, 3, forget(4)),
        ];
        history.forgotten = fold(&mut history.snapshots, &events);
        history.slots = fold_slots(&events);
        let left: Vec<_> = history.snapshots.iter().map(|s| s.id).collect();
        assert_eq!(left, [id(1), id(3)]);
        let first = &history.snapshots[0];
        assert_eq!(first.tags, ["b", "c"]);
        assert_eq!(first.description.as_deref(), Some("later"));
        assert!(first.accepted);
    }

    #[test]
    fn what_was_last_said_of_a_key_slot_counts() {
        let id = |n: u8| KeyId::new([n; 32]);
        let change = |added: &[u8], removed: &[u8]| EventAction::KeyChange {
            added: added.first().map(|n| id(*n)),
            removed: removed.iter().map(|n| id(*n)).collect(),
        };
        let events = [
            event(4, 1, change(&[2], &[3, 1])),
            event(3, 2, change(&[3], &[])),
            event(2, 9, change(&[], &[2, 4])),
            event(5, 1, change(&[4], &[])),
        ];
        let slots = fold_slots(&events);
        assert_eq!(slots.added, [id(2), id(4)].into());
        assert_eq!(slots.removed, [id(1), id(3)].into());
    }
}
