//! The one place with the order of writing: lease, packs, index, manifest, mirror, end of the lease. Each is durable
//! before the next begins. Invariants, with what breaking them would cost:
//!
//! - No index names a pack that is not durable (data loss: a later run would deduplicate against nothing).
//! - No manifest is written before every index it needs is durable (data loss: an acknowledged snapshot without data).
//! - The manifest is read back from the store and opened before the snapshot is acknowledged.
//! - The lease goes last (repair: without it the packs of a killed run would not be looked for).

use crate::base::{Error, IndexId, Kind, Observer, Result, SnapshotId, WriterId, hash};
use crate::catalog::WriterLock;
use crate::crypto::ObjectType;
use crate::crypto::secret::random_bytes;
use crate::format::index::{Index, TARGET_LEN};
use crate::format::lease::LeaseKind;
use crate::format::manifest;
use crate::model::{Manifest, PackRecord};
use crate::repo::Repo;
use crate::repo::lease::HeldLease;
use crate::repo::snapshots::History;
use crate::store::ObjectName;

/// A run that may commit one snapshot.
#[derive(Debug)]
pub struct Run {
    writer: WriterId,
    sequence: u64,
    previous: Option<[u8; 32]>,
    lock: Option<WriterLock>,
    lease: HeldLease,
    adopted: Vec<PackRecord>,
    dead: Vec<ObjectName>,
    /// What was known when the run began.
    pub history: History,
}

impl Repo {
    /// Begins a run: reads the history, takes a writer's identity, writes the lease, and adopts what killed runs left.
    pub fn begin(&self, observer: &dyn Observer) -> Result<Run> {
        let history = self.history(observer)?;
        let (writer, sequence, previous, lock) = self.take_identity(&history)?;
        let lease = self.take_lease(LeaseKind::Snapshot, writer)?;
        let mut run =
            Run { writer, sequence, previous, lock, lease, adopted: Vec::new(), dead: Vec::new(), history };
        match self.find_remains(&mut run, observer) {
            Ok(()) => Ok(run),
            Err(e) => {
                self.abandon(run);
                Err(e)
            }
        }
    }

    fn find_remains(&self, run: &mut Run, observer: &dyn Observer) -> Result<()> {
        let leases = self.other_leases(&run.lease)?;
        run.dead = leases.into_iter().filter(|found| found.dead).map(|found| found.name).collect();
        if !run.dead.is_empty() {
            // The dead run may have written its index: only what none names is adopted.
            self.refresh(observer)?;
            run.adopted = self.adopt_packs(observer)?;
        }
        Ok(())
    }

    /// The catalog's writer goes on with its chain, if no other run has it and the repository does not hold its next
    /// number already (then the catalog is a copy or was put back). Otherwise a new writer begins.
    fn take_identity(
        &self,
        history: &History,
    ) -> Result<(WriterId, u64, Option<[u8; 32]>, Option<WriterLock>)> {
        if let Some(lock) = self.catalog.lock_writer()? {
            if let Some((writer, last, hash)) = self.catalog.writer()?
                && history.heads.get(&writer).is_none_or(|head| head.sequence <= last)
            {
                return Ok((writer, last + 1, hash, Some(lock)));
            }
            return Ok((WriterId::new(random_bytes()?), 1, None, Some(lock)));
        }
        Ok((WriterId::new(random_bytes()?), 1, None, None))
    }

    /// Commits a snapshot whose packs are durable, and ends the run. `manifest` gets its chain filled in.
    pub fn commit(&self, run: Run, mut packs: Vec<PackRecord>, mut manifest: Manifest) -> Result<SnapshotId> {
        packs.extend(run.adopted.iter().cloned());
        let written = self.write_indexes(packs).and_then(|()| {
            self.session.cancel.check()?;
            manifest.writer = run.writer;
            manifest.sequence = run.sequence;
            manifest.previous = run.previous;
            manifest.lamport = run.history.lamport + 1;
            manifest.heads = run.history.heads.values().filter(|head| head.writer != run.writer).copied().collect();
            self.write_manifest(&manifest)
        });
        let id = match written {
            Ok(id) => id,
            Err(e) => {
                self.abandon(run);
                return Err(e);
            }
        };
        for dead in &run.dead {
            self.remove_lease(dead)?;
        }
        if run.lock.is_some() {
            self.catalog.set_writer(&run.writer, run.sequence, Some(*id.as_bytes()))?;
        }
        self.release_lease(run.lease)?;
        Ok(id)
    }

    /// Ends a run without a snapshot. If the run wrote packs, its lease stays, so that the next run finds them.
    pub fn abandon(&self, run: Run) {
        let wrote_nothing = self.catalog.known_packs().is_ok_and(|known| {
            self.store.list("packs").is_ok_and(|packs| {
                packs.iter().all(|info| {
                    let id = info.name.as_str().rsplit('/').next().and_then(crate::base::PackId::from_hex);
                    id.is_none_or(|id| known.contains(&id))
                })
            })
        });
        if wrote_nothing {
            // The run has failed already; a lease that stays is found dead by the next one.
            let _already_failing = self.release_lease(run.lease);
        }
    }

    fn write_indexes(&self, packs: Vec<PackRecord>) -> Result<()> {
        let mut index = Index::default();
        let mut bytes = 0;
        for pack in packs {
            bytes += pack.entries.len() * 90 + 128;
            index.packs.push(pack);
            if bytes >= TARGET_LEN {
                self.write_index(&std::mem::take(&mut index))?;
                bytes = 0;
            }
        }
        if index.packs.is_empty() { Ok(()) } else { self.write_index(&index) }
    }

    fn write_index(&self, index: &Index) -> Result<()> {
        let object = self.sealer.seal(ObjectType::Index, index.encode())?;
        let body = self.sealer.open(ObjectType::Index, &object, "the new index")?;
        if Index::decode(&body)? != *index {
            return Err(Error::new(Kind::Internal, "verify", "the new index"));
        }
        let id = IndexId::new(hash::digest(&object));
        self.store.put_new(&ObjectName::index(&id), &object)?;
        self.catalog.add_index(&id, &index.packs)
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<SnapshotId> {
        let object = self.sealer.seal(ObjectType::Manifest, manifest::encode(manifest))?;
        let id = SnapshotId::new(hash::digest(&object));
        let name = ObjectName::snapshot(&id);
        self.store.put_new(&name, &object)?;
        let read = self.store.get(&name, manifest::MAX_LEN)?;
        let body = self.sealer.open(ObjectType::Manifest, &read, &id.short())?;
        if manifest::decode(&body, &id)? != *manifest {
            return Err(Error::new(Kind::Internal, "verify", "the new manifest"));
        }
        self.store.put_new(&name.mirror(), &object)?;
        self.catalog.put_manifest(&id, &body)?;
        Ok(id)
    }
}
