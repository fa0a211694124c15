//! Writing events. The order: the event, its second copy, then the catalog; each durable before the next.
//!
//! An event needs no lease: it adds nothing that could be swept away, and changes only how snapshots are seen. A run that
//! is killed between two events leaves whole events; one that is killed before the second copy leaves that to the next
//! snapshot, which makes missing second copies; one that is killed before the catalog learns of the event begins a
//! new chain, as after a lost catalog.

use crate::base::{Error, Kind, Observer, Result, hash};
use crate::crypto::ObjectType;
use crate::format::event;
use crate::model::{Event, EventAction};
use crate::repo::Repo;
use crate::repo::commit::Identity;
use crate::repo::snapshots::History;
use crate::store::ObjectName;

impl Repo {
    /// Writes events, one for each action. `history` must have been read before, so that they come after all that it
    /// saw. What was written before a failure stays.
    pub fn record(
        &self,
        history: &History,
        actions: Vec<EventAction>,
        observer: &dyn Observer,
    ) -> Result<()> {
        if actions.is_empty() {
            return Ok(());
        }
        let mut identity = self.take_identity(history)?;
        let mut lamport = history.lamport;
        for action in actions {
            self.session.cancel.check()?;
            lamport += 1;
            self.write_event(&mut identity, lamport, action)?;
        }
        self.tell_of_catalog(observer);
        Ok(())
    }

    fn write_event(&self, identity: &mut Identity, lamport: u64, action: EventAction) -> Result<()> {
        let event = Event {
            writer: identity.writer,
            sequence: identity.sequence,
            previous: identity.previous,
            lamport,
            created: self.session.now(),
            action,
        };
        let object = self.sealer.seal(ObjectType::Event, event::encode(&event))?;
        let name = ObjectName::event(&event.writer, event.sequence);
        self.store.put_new(&name, &object)?;
        let read = self.store.get(&name, event::MAX_LEN)?;
        let body = self.sealer.open(ObjectType::Event, &read, name.as_str())?;
        if event::decode(&body)?.as_ref() != Some(&event) {
            return Err(Error::new(Kind::Internal, "verify", "the new event"));
        }
        self.store.put_new(&name.mirror(), &object)?;
        let digest = hash::digest(&object);
        if identity.lock.is_some() {
            // A catalog that missed this begins a new chain next time.
            let _only_saves_a_chain = self.catalog().set_writer(&event.writer, event.sequence, Some(digest));
        }
        identity.sequence += 1;
        identity.previous = Some(digest);
        Ok(())
    }
}
