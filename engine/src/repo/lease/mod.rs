//! Leases: a run says that it is under way, and other runs see whether it still is.
//!
//! A run is dead if its process is surely gone: on the same machine, in the same namespace of process numbers, or before
//! the machine was restarted. Of other machines nothing is known; a run renews its lease every half an hour, and one whose
//! lease has not been renewed for 48 hours by the store's clock is dead, too. So a run that was suspended for long must not
//! believe that nobody has called it dead: [`RunLease::has_lapsed`].

use crate::base::{Kind, LeaseId, Result, Timestamp, WriterId};
use crate::crypto::ObjectType;
use crate::crypto::secret::random_bytes;
use crate::format::Lease;
use crate::format::lease::{LeaseKind, MAX_LEN};
use crate::repo::{Repo, Session};
use crate::store::ObjectName;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// After this long a lease is renewed.
const RENEW_AFTER: Duration = Duration::from_secs(30 * 60);
/// A run whose last renewal is older may have been called dead since, with a wide margin.
const LAPSED_AFTER: Duration = Duration::from_secs(12 * 3600);
/// A lease that is older, by the store's clock, is that of a dead run.
const DEAD_AFTER: Duration = Duration::from_secs(48 * 3600);
/// How often a run looks whether its lease is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A lease for a change that takes seconds: it is not renewed, and whoever took it removes it.
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

/// The leases of others, and the time by the store's clock at which they were listed.
#[derive(Debug)]
pub struct OtherLeases {
    /// The leases.
    pub found: Vec<FoundLease>,
    /// When the own lease was written; `None` if it is gone.
    pub now: Option<Timestamp>,
}

/// The lease of a run: renewed while the run is under way, and given up when it is dropped.
#[derive(Debug)]
pub(super) struct RunLease<'r> {
    repo: &'r Repo,
    lease: Lease,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The object that stands now.
    name: ObjectName,
    /// Time since boot at which it was written.
    renewed: Duration,
    has_lapsed: bool,
    is_over: bool,
}

impl<'r> RunLease<'r> {
    /// Writes the lease of a run.
    pub(super) fn take(repo: &'r Repo, kind: LeaseKind, writer: WriterId) -> Result<Self> {
        let lease = repo.session.lease(kind, writer);
        let renewed = repo.session.now_since_boot();
        let name = repo.put_lease(&lease)?;
        let state = State { name, renewed, has_lapsed: false, is_over: false };
        Ok(Self { repo, lease, state: Mutex::new(state) })
    }

    /// The object that stands now.
    pub(super) fn name(&self) -> ObjectName {
        self.state().name.clone()
    }

    /// True if others may have called this run dead: what it wrote may have been taken over, and what it rests on may be
    /// gone.
    pub(super) fn has_lapsed(&self) -> bool {
        self.state().has_lapsed
    }

    /// Writes a new lease if this one is due, then removes the old one.
    pub(super) fn renew_if_due(&self) -> Result<()> {
        let mut state = self.state();
        let now = self.repo.session.now_since_boot();
        let age = now.saturating_sub(state.renewed);
        if state.is_over || age < RENEW_AFTER {
            return Ok(());
        }
        // Known before anything can fail.
        state.has_lapsed |= age >= LAPSED_AFTER;
        let name = self.repo.put_lease(&self.lease)?;
        let old = std::mem::replace(&mut state.name, name);
        let (before, after) = (self.repo.store.stat(&old)?, self.repo.store.stat(&state.name)?);
        state.has_lapsed |= match (before, after) {
            (Some(before), Some(after)) => is_older(before.modified, after.modified, LAPSED_AFTER),
            // Somebody removed it.
            _ => true,
        };
        state.renewed = now;
        self.repo.remove_lease(&old)
    }

    /// Does something that may take hours, while a thread of its own renews the lease.
    pub(super) fn hold_during<T>(&self, work: impl FnOnce() -> T) -> T {
        let ended = (Mutex::new(false), Condvar::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut has_ended = ended.0.lock().unwrap_or_else(PoisonError::into_inner);
                while !*has_ended {
                    // What fails now is tried again, at the latest by the commit.
                    let _tried = self.renew_if_due();
                    let waited = ended.1.wait_timeout(has_ended, LOOK_EVERY);
                    has_ended = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            });
            let _ends_also_after_a_panic = Ended(&ended);
            work()
        })
    }

    /// Removes the lease of a run that is done.
    pub(super) fn end(&self) -> Result<()> {
        let mut state = self.state();
        state.is_over = true;
        self.repo.remove_lease(&state.name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunLease<'_> {
    /// Gives the lease of a run up that ends without a snapshot. If the run left packs that no index names, a lease stays
    /// that says so: the process may live on for long.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.is_over {
            return;
        }
        let ended = Lease { ended: true, ..self.lease.clone() };
        if self.repo.has_no_new_packs() || self.repo.put_lease(&ended).is_ok() {
            // The run has failed already; a lease that stays is found dead by a later one.
            let _already_failing = self.repo.remove_lease(&state.name);
        }
    }
}

/// Has the thread end that renews a lease.
struct Ended<'e>(&'e (Mutex<bool>, Condvar));

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
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
            machine: (self.machine)(),
            pid_namespace: client.pid_namespace,
            ended: false,
        }
    }

    fn now_since_boot(&self) -> Duration {
        (self.since_boot)()
    }
}

impl Repo {
    /// Writes a lease for a change that takes seconds.
    pub fn take_lease(&self, kind: LeaseKind, writer: WriterId) -> Result<HeldLease> {
        Ok(HeldLease { name: self.put_lease(&self.session.lease(kind, writer))? })
    }

    fn put_lease(&self, lease: &Lease) -> Result<ObjectName> {
        let name = ObjectName::lease(&LeaseId::new(random_bytes()?));
        self.store.put_new(&name, &self.sealer.seal(ObjectType::Lease, lease.encode())?)?;
        Ok(name)
    }

    /// Removes a lease: this run's at its end, or a dead one's.
    pub fn remove_lease(&self, name: &ObjectName) -> Result<()> {
        match self.store.delete(name) {
            Err(e) if e.kind() != Kind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// All leases but the own one of this name.
    pub fn other_leases(&self, own: &ObjectName) -> Result<OtherLeases> {
        let mut found = Vec::new();
        let listing = self.store.list("leases")?;
        let now = listing.objects.iter().find(|info| info.name == *own).map(|info| info.modified);
        for info in listing.objects {
            if info.name == *own {
                continue;
            }
            let lease = match self.store.get(&info.name, MAX_LEN) {
                Ok(object) => self
                    .sealer
                    .open(ObjectType::Lease, &object, info.name.as_str())
                    .and_then(|body| Lease::decode(&body))
                    .ok(),
                Err(e) if e.kind() == Kind::NotFound => continue,
                Err(e) if e.is_unreadable() => None,
                Err(e) => return Err(e),
            };
            let is_old = now.is_some_and(|now| is_older(info.modified, now, DEAD_AFTER));
            let dead = is_old || lease.as_ref().is_some_and(|lease| self.is_dead(lease));
            found.push(FoundLease { name: info.name, lease, written: info.modified, dead });
        }
        Ok(OtherLeases { found, now })
    }

    /// True if a run has said that it ended, or is one of this machine whose process is surely gone.
    fn is_dead(&self, lease: &Lease) -> bool {
        let client = &self.session.client;
        let is_restarted = lease.boot_id != client.boot_id;
        let is_gone = || self.is_visible(lease) && !(self.session.is_alive)(lease.pid, lease.started);
        lease.ended || (self.is_of_this_machine(lease) && (is_restarted || is_gone()))
    }

    fn is_of_this_machine(&self, lease: &Lease) -> bool {
        lease.machine == (self.session.machine)()
    }

    /// True if the process of a lease would be seen from here, if it lived.
    pub(super) fn is_visible(&self, lease: &Lease) -> bool {
        let client = &self.session.client;
        self.is_of_this_machine(lease)
            && (lease.boot_id != client.boot_id || lease.pid_namespace == client.pid_namespace)
    }
}

/// True if something that was written then is at least so old now.
pub(super) fn is_older(written: Timestamp, now: Timestamp, age: Duration) -> bool {
    now.as_nanos().saturating_sub(written.as_nanos()) >= i128::try_from(age.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests;
