//! The one place with the order of writing: lease, packs, index, manifest, mirror, end of the lease. Each is durable
//! before the next begins. Invariants, with what breaking them would cost:
//!
//! - No index names a pack that is not durable (data loss: a later run would deduplicate against nothing).
//! - No manifest is written before every index it needs is durable (data loss: an acknowledged snapshot without data).
//! - The manifest is read back from the store and opened before the snapshot is acknowledged.
//! - The lease goes last (repair: without it the packs of a killed run would not be looked for).

use crate::base::{
    Error, IndexId, Kind, Observer, PackId, Result, SnapshotId, Timestamp, Warning, WarningKind, WriterId,
    hash,
};
use crate::catalog::{Catalog, WriterLock};
use crate::crypto::ObjectType;
use crate::crypto::secret::random_bytes;
use crate::format::index::{Index, TARGET_LEN, index_len};
use crate::format::lease::LeaseKind;
use crate::format::manifest;
use crate::model::{Head, Manifest, PackRecord};
use crate::repo::Repo;
use crate::repo::lease::{OtherLeases, RunLease};
use crate::repo::open::{ids, warn_of_unreadable};
use crate::repo::snapshots::History;
use crate::store::{Listing, ObjectName};
use std::collections::HashMap;

/// Bytes that sealing adds to a manifest, and more.
const SEALED_EXTRA: u64 = 4096;

/// Temporary files that are older than this belong to no living run, in seconds.
const STALE_TEMPORARY_SECS: i64 = 3600;

/// A run that may commit one snapshot. Dropped before that, it gives its lease up.
#[derive(Debug)]
pub struct Run<'r> {
    identity: Identity,
    pub(super) lease: RunLease<'r>,
    dead: Vec<ObjectName>,
    /// What was known when the run began.
    pub history: History,
}

impl Run<'_> {
    /// Does the work of this run, and keeps its lease alive meanwhile.
    pub fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        self.lease.hold_during(work)
    }
}

/// A place in a writer's chain.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) writer: WriterId,
    /// The number of the next object.
    pub(super) sequence: u64,
    /// The hash of the last one.
    pub(super) previous: Option<[u8; 32]>,
    /// Held while the chain is the catalog's own.
    pub(super) lock: Option<WriterLock>,
}

impl Run<'_> {
    /// Who writes this run's snapshot.
    #[must_use]
    pub fn writer(&self) -> WriterId {
        self.identity.writer
    }
}

impl Repo {
    /// Begins a run: reads the history, takes a writer's identity, writes the lease, mends missing second copies, and
    /// adopts what killed runs left.
    pub fn begin(&self, observer: &dyn Observer) -> Result<Run<'_>> {
        let history = self.history(observer)?;
        let identity = self.take_identity(&history)?;
        let lease = RunLease::take(self, LeaseKind::Snapshot, identity.writer)?;
        let mut run = Run { identity, lease, dead: Vec::new(), history };
        self.heal_mirrors(&run.history, observer)?;
        self.find_remains(&mut run, observer)?;
        Ok(run)
    }

    /// Looks at what earlier runs left: packs that no index names are adopted, packs that are gone are missed.
    fn find_remains(&self, run: &mut Run<'_>, observer: &dyn Observer) -> Result<()> {
        let OtherLeases { found: leases, now } = self.other_leases(&run.lease.name())?;
        let somebody_writes = leases.iter().any(|found| !found.dead && found.may_write_packs());
        run.dead = leases.into_iter().filter(|found| found.dead).map(|found| found.name).collect();
        // What was written since the repository was opened is known before anything is called unknown.
        self.refresh(observer)?;
        // What is known is asked before the packs are listed: another program may add to both in between.
        let known = self.with_catalog(Catalog::pack_sizes)?;
        let packs = self.store.list("packs")?;
        warn_of_unreadable(&packs, observer);
        self.miss_packs(&known, &packs, observer)?;
        // Packs of a run that is alive are its own to index.
        if !run.dead.is_empty() || !somebody_writes {
            // Indexed at once: the catalog outlives this run, and must not know packs that no index names.
            self.write_indexes(self.adopt_packs(&packs.objects, observer)?, Rest::OnAnything)?;
        }
        // By the clock that dated them: ours may be ahead by hours.
        if let Some(now) = now.filter(|_| !run.dead.is_empty()) {
            self.store.remove_stale_temporaries(Timestamp::new(now.secs - STALE_TEMPORARY_SECS, 0))?;
        }
        Ok(())
    }

    /// Compares the packs that the catalog knows with those that are there. What was in a missing or shortened pack is no
    /// longer present: the catalog forgets it, and this run stores it again if the sources still have it.
    fn miss_packs(
        &self,
        known: &HashMap<PackId, u64>,
        packs: &Listing,
        observer: &dyn Observer,
    ) -> Result<()> {
        let sizes =
            packs.objects.iter().filter_map(|info| Some((PackId::from_hex(info.name.last())?, info.size)));
        let there: HashMap<PackId, u64> = sizes.collect();
        // What lies in a folder that nobody could look into is not known to be missing.
        let is_missing = |id: &PackId, size: &u64| match there.get(id) {
            Some(there) => there != size,
            None => !packs.hides(&ObjectName::pack(id)),
        };
        let missing: Vec<PackId> =
            known.iter().filter(|(id, size)| is_missing(id, size)).map(|(id, _)| *id).collect();
        let Some(first) = missing.first() else { return Ok(()) };
        observer.warn(&Warning {
            kind: WarningKind::Damaged,
            path: None,
            message: format!(
                "The repository lacks {}, or {} another size ({first}{}): snapshots that need what was there cannot be \
                 restored whole. What the sources still have is stored again now",
                if missing.len() == 1 { "a pack".to_owned() } else { format!("{} packs", missing.len()) },
                if missing.len() == 1 { "it has" } else { "they have" },
                if missing.len() == 1 { "" } else { " and others" },
            ),
        });
        self.miss(missing)
    }

    /// The catalog's writer goes on with its chain, if no other run has it and the repository does not hold its next
    /// number already (then the catalog is a copy or was put back). Otherwise a new writer begins.
    pub(super) fn take_identity(&self, history: &History) -> Result<Identity> {
        let lock = self.with_catalog(Catalog::lock_writer)?;
        let known = if lock.is_some() { self.with_catalog(Catalog::writer)? } else { None };
        let goes_on = known
            .filter(|(writer, last, _)| history.heads.get(writer).is_none_or(|head| head.sequence <= *last));
        Ok(match goes_on {
            Some((writer, last, previous)) => Identity { writer, sequence: last + 1, previous, lock },
            None => Identity { writer: WriterId::new(random_bytes()?), sequence: 1, previous: None, lock },
        })
    }

    /// Commits a snapshot whose packs are durable, and ends the run. `manifest` gets its chain filled in.
    pub fn commit(
        &self,
        run: Run<'_>,
        packs: Vec<PackRecord>,
        mut manifest: Manifest,
        observer: &dyn Observer,
    ) -> Result<SnapshotId> {
        let Identity { writer, sequence, previous, .. } = run.identity;
        self.check_again(&run, &packs)?;
        self.write_indexes(packs, Rest::OnStored)?;
        self.session.cancel.check()?;
        manifest.writer = writer;
        manifest.sequence = sequence;
        manifest.previous = previous;
        manifest.lamport = run.history.lamport + 1;
        manifest.heads = other_heads(&run.history, writer);
        let id = self.write_manifest(&manifest, observer)?;
        self.end(&run, &id, observer);
        // Whatever is left of its lease goes now.
        drop(run);
        Ok(id)
    }

    /// Looks again at what a snapshot rests on, if its run was suspended for so long that others may have called it dead
    /// and tidied up after it.
    fn check_again(&self, run: &Run<'_>, own: &[PackRecord]) -> Result<()> {
        run.lease.renew_if_due()?;
        if !run.lease.has_lapsed() {
            return Ok(());
        }
        // As they were known when blobs were not stored again because of them.
        let mut packs = self.with_catalog(Catalog::pack_sizes)?;
        packs.extend(own.iter().map(|pack| (pack.pack, pack.size)));
        let indexes = self.with_catalog(Catalog::known_indexes)?;
        let listed_packs = self.store.list("packs")?;
        let listed_indexes = self.store.list("index")?;
        let is_missing = |id: &PackId, size: &u64| {
            let name = ObjectName::pack(id);
            !listed_packs.hides(&name)
                && listed_packs
                    .objects
                    .binary_search_by(|info| info.name.cmp(&name))
                    .ok()
                    .is_none_or(|at| listed_packs.objects.get(at).is_none_or(|info| info.size != *size))
        };
        if packs.iter().any(|(id, size)| is_missing(id, size))
            || indexes.iter().any(|id| !listed_indexes.may_hold(&ObjectName::index(id)))
        {
            let why = "this computer slept, or did not reach the repository, for hours, and something that the snapshot rests \
                       on was removed meanwhile; take the snapshot again";
            return Err(Error::damaged("store", "a snapshot", why));
        }
        Ok(())
    }

    /// Tidies up after a commit. The snapshot is durable: nothing here can make it fail.
    fn end(&self, run: &Run<'_>, id: &SnapshotId, observer: &dyn Observer) {
        if run.identity.lock.is_some() {
            // A catalog that missed this begins a new chain next time.
            self.only_costs_time(self.catalog().set_writer(
                &run.identity.writer,
                run.identity.sequence,
                Some(*id.as_bytes()),
            ));
        }
        let mut leftover = run.lease.end();
        for name in &run.dead {
            leftover = leftover.and(self.remove_lease(name));
        }
        if let Err(e) = leftover {
            observer.warn(&Warning {
                kind: WarningKind::NotCleanedUp,
                path: None,
                message: format!(
                    "The snapshot is stored, but a lease could not be removed: {}",
                    e.full_text()
                ),
            });
        }
    }

    /// True if an index names every pack that is stored, as far as this run knows.
    pub(super) fn has_no_new_packs(&self) -> bool {
        let known = self.with_catalog(Catalog::known_packs);
        let stored = self.store.list("packs").map(|packs| ids(&packs, PackId::from_hex));
        known.is_ok_and(|known| stored.is_ok_and(|stored| stored.is_subset(&known)))
    }

    /// Writes index objects for durable packs, and has the catalog learn of them. A long run does so before it is done:
    /// an index that no manifest needs does no harm, and what it names is used by the next run.
    ///
    /// # Errors
    /// Among others [`Kind::Damaged`] if something rests on what another program has found lost since, and `rest` does not
    /// allow that.
    pub(crate) fn write_indexes(&self, packs: Vec<PackRecord>, rest: Rest) -> Result<()> {
        let mut index = Index::default();
        let mut bytes = 0;
        for pack in packs {
            bytes += index_len(&pack);
            index.packs.push(pack);
            if bytes >= TARGET_LEN {
                self.write_index(&std::mem::take(&mut index), rest)?;
                bytes = 0;
            }
        }
        if index.packs.is_empty() { Ok(()) } else { self.write_index(&index, rest) }
    }

    fn write_index(&self, index: &Index, rest: Rest) -> Result<()> {
        let object = self.sealer.seal(ObjectType::Index, index.encode())?;
        let body = self.sealer.open(ObjectType::Index, &object, "the new index")?;
        if Index::decode(&body)? != *index {
            return Err(Error::new(Kind::Internal, "verify", "the new index"));
        }
        let id = IndexId::new(hash::digest(&object));
        self.store.put_new(&ObjectName::index(&id), &object)?;
        let dropped = self.with_catalog(|catalog| match catalog.add_index(&id, &index.packs)? {
            0 => Ok(0),
            _ => catalog.drop_orphans(),
        })?;
        if dropped > 0 && rest == Rest::OnStored {
            let lost = "what new blobs rest on is not known any more: a pack was lost meanwhile, or another program used \
                        another copy of this repository; take the snapshot again";
            return Err(Error::damaged("store", "a snapshot", lost));
        }
        Ok(())
    }

    fn write_manifest(&self, manifest: &Manifest, observer: &dyn Observer) -> Result<SnapshotId> {
        // A manifest that no reader would take must never stand there.
        let body = manifest::encode(manifest);
        let unnamed = SnapshotId::new([0; 32]);
        if body.len() as u64 + SEALED_EXTRA > manifest::MAX_LEN
            || manifest::decode(&body, &unnamed)? != *manifest
        {
            return Err(Error::new(Kind::Usage, "store", "the snapshot")
                .because("its paths, tags or description are more than a snapshot can hold"));
        }
        let object = self.sealer.seal(ObjectType::Manifest, body)?;
        let id = SnapshotId::new(hash::digest(&object));
        let name = ObjectName::snapshot(&id);
        self.store.put_new(&name, &object)?;
        let read = self.store.get(&name, manifest::MAX_LEN)?;
        let body = self.sealer.open(ObjectType::Manifest, &read, &id.short())?;
        if manifest::decode(&body, &id)? != *manifest {
            return Err(Error::new(Kind::Internal, "verify", "the new manifest"));
        }
        self.put_mirror("The snapshot", &name, &object, observer);
        // Committed: a catalog that cannot take it reads it from the repository.
        self.only_costs_time(self.catalog().put_manifest(&id, &body));
        Ok(id)
    }
}

/// What the blobs of new index objects may rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Only on what is stored: a snapshot is going to need them.
    OnStored,
    /// Also on what is lost: then nobody deduplicates against them.
    OnAnything,
}

/// The heads of the other writers; of more than a manifest can hold, those that wrote most.
fn other_heads(history: &History, writer: WriterId) -> Vec<Head> {
    let mut heads: Vec<Head> = history.heads.values().filter(|head| head.writer != writer).copied().collect();
    if heads.len() > manifest::MAX_WRITERS {
        heads.sort_by_key(|head| (std::cmp::Reverse(head.sequence), head.writer));
        heads.truncate(manifest::MAX_WRITERS);
        heads.sort_by_key(|head| head.writer);
    }
    heads
}
