//! Leases: a run says that it is under way, and later runs see whether it still is.

use crate::base::{Kind, LeaseId, Result, Timestamp, WriterId};
use crate::crypto::ObjectType;
use crate::crypto::secret::random_bytes;
use crate::format::Lease;
use crate::format::lease::{LeaseKind, MAX_LEN};
use crate::repo::{Repo, Session};
use crate::store::ObjectName;

/// A lease that this run holds.
#[derive(Debug)]
pub struct HeldLease {
    /// Its object.
    pub name: ObjectName,
}

/// A lease found in the repository, and whether its run is known to be dead.
#[derive(Debug)]
pub struct FoundLease {
    /// Its object.
    pub name: ObjectName,
    /// What it says; `None` if it cannot be read.
    pub lease: Option<Lease>,
    /// When it was written, by the store's clock.
    pub written: Timestamp,
    /// True if its run cannot come back.
    pub dead: bool,
}

impl FoundLease {
    /// False only for what is known to write no packs.
    pub(crate) fn may_write_packs(&self) -> bool {
        let writes_none = |kind| matches!(kind, LeaseKind::KeyChange | LeaseKind::Init);
        self.lease.as_ref().is_none_or(|lease| !writes_none(lease.kind))
    }
}

impl Session {
    /// A lease of this process that begins now.
    pub(super) fn lease(&self, kind: LeaseKind, writer: WriterId) -> Lease {
        let client = &self.client;
        Lease {
            writer,
            kind,
            host: client.host.clone(),
            boot_id: client.boot_id.clone(),
            pid: client.pid,
            started: client.process_started,
            begun: self.now(),
        }
    }
}

impl Repo {
    /// Writes a lease.
    pub fn take_lease(&self, kind: LeaseKind, writer: WriterId) -> Result<HeldLease> {
        let lease = self.session.lease(kind, writer);
        let name = ObjectName::lease(&LeaseId::new(random_bytes()?));
        self.store.put_new(&name, &self.sealer.seal(ObjectType::Lease, lease.encode())?)?;
        Ok(HeldLease { name })
    }

    /// Removes a lease: this run's at its end, or a dead one's.
    pub fn remove_lease(&self, name: &ObjectName) -> Result<()> {
        match self.store.delete(name) {
            Err(e) if e.kind() != Kind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// All leases but this run's.
    pub fn other_leases(&self, own: &HeldLease) -> Result<Vec<FoundLease>> {
        let mut found = Vec::new();
        let listing = self.store.list("leases")?;
        for info in listing.objects {
            if info.name == own.name {
                continue;
            }
            let object = match self.store.get(&info.name, MAX_LEN) {
                Ok(object) => object,
                Err(e) if e.kind() == Kind::NotFound => continue,
                Err(e) if e.is_unreadable() => Vec::new(),
                Err(e) => return Err(e),
            };
            let subject = info.name.as_str();
            let lease = self
                .sealer
                .open(ObjectType::Lease, &object, subject)
                .and_then(|body| Lease::decode(&body))
                .ok();
            let dead = lease.as_ref().is_some_and(|lease| self.is_dead(lease));
            found.push(FoundLease { name: info.name, lease, written: info.modified, dead });
        }
        Ok(found)
    }

    /// A run of this machine is dead when the machine was restarted since, or its process is gone. Of other machines
    /// nothing is known.
    fn is_dead(&self, lease: &Lease) -> bool {
        let client = &self.session.client;
        lease.host == client.host
            && (lease.boot_id != client.boot_id || !(self.session.is_alive)(lease.pid, lease.started))
    }
}
