//! Events: small records that change how earlier snapshots are seen.

use crate::base::{KeyId, Result, SnapshotId, WriterId};
use crate::format::cbor::{MapWriter, Reader};
use crate::model::{Event, EventAction};

/// Longest event that is read.
pub const MAX_LEN: u64 = 1 << 20;
const MAX_TAGS: usize = 4096;
const MAX_TEXT: usize = 64 * 1024;
const MAX_SLOTS: usize = 64;

/// The body's bytes.
#[must_use]
pub fn encode(event: &Event) -> Vec<u8> {
    let mut map = MapWriter::new();
    map.bytes(0, event.writer.as_bytes())
        .uint(1, event.sequence)
        .bytes_if(2, event.previous.as_ref().map(|hash| &hash[..]))
        .uint(3, event.lamport)
        .time(4, event.created);
    match &event.action {
        EventAction::Tag { snapshot, add, remove } => {
            map.uint(5, 1)
                .bytes(6, snapshot.as_bytes())
                .array(7, add, |e, tag| e.str(tag).map(|_| ()))
                .array(8, remove, |e, tag| e.str(tag).map(|_| ()));
        }
        EventAction::Describe { snapshot, text } => {
            map.uint(5, 2).bytes(6, snapshot.as_bytes()).text(9, text);
        }
        EventAction::Accept { snapshot } => {
            map.uint(5, 3).bytes(6, snapshot.as_bytes());
        }
        EventAction::Forget { snapshot, writer, sequence, previous } => {
            map.uint(5, 4)
                .bytes(6, snapshot.as_bytes())
                .bytes(10, writer.as_bytes())
                .uint(11, *sequence)
                .bytes_if(12, previous.as_ref().map(|hash| &hash[..]));
        }
        EventAction::Undo { snapshot } => {
            map.uint(5, 5).bytes(6, snapshot.as_bytes());
        }
        EventAction::KeyChange { added, removed } => {
            map.uint(5, 6).bytes_if(13, added.as_ref().map(|slot| &slot.as_bytes()[..])).array(
                14,
                removed,
                |e, slot| e.bytes(slot.as_bytes()).map(|_| ()),
            );
        }
    }
    map.finish()
}

/// Reads a body; `None` for an action that this program does not know, which changes nothing for it.
pub fn decode(body: &[u8]) -> Result<Option<Event>> {
    let mut r = Reader::new(body, "an event");
    let mut parts = Parts::default();
    r.map(|key, r| parts.take(key, r))?;
    r.end()?;
    let action = match r.need(parts.action, "action")? {
        action @ 1..=5 => {
            let snapshot = r.need(parts.snapshot, "snapshot")?;
            match action {
                1 => EventAction::Tag { snapshot, add: parts.add, remove: parts.remove },
                2 => EventAction::Describe { snapshot, text: r.need(parts.text, "text")? },
                3 => EventAction::Accept { snapshot },
                4 => EventAction::Forget {
                    snapshot,
                    writer: r.need(parts.target_writer, "writer")?,
                    sequence: parts.target_sequence,
                    previous: parts.target_previous,
                },
                _ => EventAction::Undo { snapshot },
            }
        }
        6 => EventAction::KeyChange { added: parts.added, removed: parts.removed },
        _ => return Ok(None),
    };
    Ok(Some(Event {
        writer: r.need(parts.writer, "writer")?,
        sequence: parts.sequence,
        previous: parts.previous,
        lamport: parts.lamport,
        created: r.need(parts.created, "time")?,
        action,
    }))
}

#[derive(Default)]
struct Parts {
    writer: Option<WriterId>,
    sequence: u64,
    previous: Option<[u8; 32]>,
    lamport: u64,
    created: Option<crate::base::Timestamp>,
    action: Option<u64>,
    snapshot: Option<SnapshotId>,
    add: Vec<String>,
    remove: Vec<String>,
    text: Option<String>,
    target_writer: Option<WriterId>,
    target_sequence: u64,
    target_previous: Option<[u8; 32]>,
    added: Option<KeyId>,
    removed: Vec<KeyId>,
}

impl Parts {
    fn take(&mut self, key: u64, r: &mut Reader<'_>) -> Result<bool> {
        match key {
            0 => self.writer = Some(WriterId::new(r.fixed()?)),
            1 => self.sequence = r.uint()?,
            2 => self.previous = Some(r.fixed()?),
            3 => self.lamport = r.uint()?,
            4 => self.created = Some(r.time()?),
            5 => self.action = Some(r.uint()?),
            6 => self.snapshot = Some(SnapshotId::new(r.fixed()?)),
            7 => self.add = r.array(MAX_TAGS, |r| r.text(MAX_TEXT))?,
            8 => self.remove = r.array(MAX_TAGS, |r| r.text(MAX_TEXT))?,
            9 => self.text = Some(r.text(MAX_TEXT)?),
            10 => self.target_writer = Some(WriterId::new(r.fixed()?)),
            11 => self.target_sequence = r.uint()?,
            12 => self.target_previous = Some(r.fixed()?),
            13 => self.added = Some(KeyId::new(r.fixed()?)),
            14 => self.removed = r.array(MAX_SLOTS, |r| Ok(KeyId::new(r.fixed()?)))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    #[test]
    fn every_action_reads_as_written_and_a_cut_one_is_refused() {
        let snapshot = SnapshotId::new([1; 32]);
        let writer = WriterId::new([2; 16]);
        let actions = [
            EventAction::Tag { snapshot, add: vec!["a".into()], remove: vec!["b".into(), "c".into()] },
            EventAction::Describe { snapshot, text: "before the new phone".into() },
            EventAction::Accept { snapshot },
            EventAction::Forget { snapshot, writer, sequence: 4, previous: Some([3; 32]) },
            EventAction::Undo { snapshot },
            EventAction::KeyChange { added: Some(KeyId::new([5; 32])), removed: vec![KeyId::new([6; 32])] },
            EventAction::KeyChange { added: None, removed: vec![KeyId::new([6; 32]); 2] },
        ];
        for action in actions {
            let created = Timestamp::new(9, 9);
            let event = Event { writer, sequence: 7, previous: None, lamport: 8, created, action };
            let body = encode(&event);
            assert_eq!(decode(&body).unwrap(), Some(event));
            assert!((0..body.len()).all(|len| decode(&body[..len]).is_err()));
        }
    }

    #[test]
    fn an_unknown_action_changes_nothing() {
        let mut map = MapWriter::new();
        map.uint(5, 99).text(40, "from the future");
        assert_eq!(decode(&map.finish()).unwrap(), None);
    }
}
