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
use crate::repo::snapshots::{History, Snapshot};
use crate::store::ObjectName;

/// Most tags that one event adds or takes away.
const MOST_TAGS: usize = 1024;
/// Longest text of an event in bytes.
const LONGEST_TEXT: usize = 64 * 1024;

/// What is to be changed of a snapshot's tags and description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagChange {
    /// These tags and no others, before the next two; none leaves them as they are.
    pub set: Option<Vec<String>>,
    /// Tags that it gets.
    pub add: Vec<String>,
    /// Tags that it loses.
    pub remove: Vec<String>,
    /// Its new description; an empty one takes the old one away.
    pub description: Option<String>,
}

impl TagChange {
    /// The actions that make a snapshot what is wanted; none if it is that already.
    #[must_use]
    pub fn actions(&self, snapshot: &Snapshot) -> Vec<EventAction> {
        let mut wanted = self.set.clone().unwrap_or_else(|| snapshot.tags.clone());
        wanted.extend(self.add.iter().cloned());
        wanted.retain(|tag| !self.remove.contains(tag));
        wanted.sort();
        wanted.dedup();
        let add: Vec<String> = wanted.iter().filter(|tag| !snapshot.tags.contains(tag)).cloned().collect();
        let remove: Vec<String> = snapshot.tags.iter().filter(|tag| !wanted.contains(tag)).cloned().collect();
        let mut actions = Vec::new();
        if !add.is_empty() || !remove.is_empty() {
            actions.push(EventAction::Tag { snapshot: snapshot.id, add, remove });
        }
        if let Some(text) = &self.description
            && *text != snapshot.description.clone().unwrap_or_default()
        {
            actions.push(EventAction::Describe { snapshot: snapshot.id, text: text.clone() });
        }
        actions
    }
}

impl Repo {
    /// Writes events, one for each action. `history` must have been read before, so that they come after all that it
    /// saw. What was written before a failure stays.
    ///
    /// # Errors
    /// [`Kind::Usage`] if an action is too long to be stored; then nothing is written.
    pub fn record(
        &self,
        history: &History,
        actions: Vec<EventAction>,
        observer: &dyn Observer,
    ) -> Result<()> {
        actions.iter().try_for_each(check)?;
        if actions.is_empty() {
            return Ok(());
        }
        let mut identity = self.take_identity(history)?;
        let mut lamport = history.lamport;
        for action in actions {
            self.session.cancel.check()?;
            lamport += 1;
            self.write_event(&mut identity, lamport, action, observer)?;
        }
        self.tell_pending(observer);
        Ok(())
    }

    fn write_event(
        &self,
        identity: &mut Identity,
        lamport: u64,
        action: EventAction,
        observer: &dyn Observer,
    ) -> Result<()> {
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
        self.put_mirror("The change", &name, &object, observer);
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

/// Refuses what no reader would take.
fn check(action: &EventAction) -> Result<()> {
    let refused = |why: String| Err(Error::new(Kind::Usage, "store", "the change").because(why));
    match action {
        EventAction::Tag { add, remove, .. } if add.len().max(remove.len()) > MOST_TAGS => {
            refused(format!("at most {MOST_TAGS} tags can be changed at once"))
        }
        EventAction::Tag { add, remove, .. }
            if add.iter().chain(remove).any(|tag| tag.len() > LONGEST_TEXT / 64) =>
        {
            refused(format!("a tag has at most {} bytes", LONGEST_TEXT / 64))
        }
        EventAction::Describe { text, .. } if text.len() > LONGEST_TEXT => {
            refused(format!("a description has at most {LONGEST_TEXT} bytes"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
