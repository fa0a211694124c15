//! Leases: who is writing at the moment. A run writes one first and removes it last.

use crate::base::{Result, Timestamp, WriterId};
use crate::format::cbor::{MapWriter, Reader};

/// Longest lease that is read.
pub const MAX_LEN: u64 = 16 * 1024;
const MAX_TEXT: usize = 4096;

/// What a run is about to do. The number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LeaseKind {
    /// It adds packs, an index and a manifest.
    Snapshot = 0,
    /// It changes what is there (repair).
    Exclusive = 1,
    /// It adds or removes key slots.
    KeyChange = 2,
    /// It creates the repository.
    Init = 3,
}

impl LeaseKind {
    /// The kind of a stored number; one that is unknown counts as exclusive.
    fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Snapshot,
            2 => Self::KeyChange,
            3 => Self::Init,
            _ => Self::Exclusive,
        }
    }
}

/// A run that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The run's writer.
    pub writer: WriterId,
    /// What it does.
    pub kind: LeaseKind,
    /// Name of the machine.
    pub host: String,
    /// The kernel's boot id: it tells whether the machine was restarted since.
    pub boot_id: String,
    /// Process number.
    pub pid: u32,
    /// Start time of the process in clock ticks since boot: tells it from a later process of the same number.
    pub started: u64,
    /// The writer's clock when the run began.
    pub begun: Timestamp,
    /// A random number of the machine: host names are not unique.
    pub machine: [u8; 16],
    /// The namespace that the process number belongs to: containers on one machine have their own.
    pub pid_namespace: u64,
    /// True if the run has ended and left packs that no index names.
    pub ended: bool,
}

impl Lease {
    /// The body's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new();
        map.bytes(0, self.writer.as_bytes())
            .uint(1, self.kind as u64)
            .text(2, &self.host)
            .text(3, &self.boot_id)
            .uint(4, self.pid.into())
            .uint(5, self.started)
            .time(6, self.begun)
            .bytes(7, &self.machine)
            .uint(8, self.pid_namespace);
        if self.ended {
            map.uint(9, 1);
        }
        map.finish()
    }

    /// Reads a body. A kind that is unknown counts as exclusive.
    pub fn decode(body: &[u8]) -> Result<Self> {
        let mut r = Reader::new(body, "a lease");
        let (mut writer, mut kind, mut host, mut boot_id) = (None, LeaseKind::Exclusive, None, None);
        let (mut pid, mut started, mut begun) = (None, None, None);
        let (mut machine, mut pid_namespace, mut ended) = (None, None, false);
        r.map(|key, r| {
            match key {
                0 => writer = Some(WriterId::new(r.fixed()?)),
                1 => kind = LeaseKind::from_number(r.uint()?),
                2 => host = Some(r.text(MAX_TEXT)?),
                3 => boot_id = Some(r.text(MAX_TEXT)?),
                4 => pid = Some(r.uint32()?),
                5 => started = Some(r.uint()?),
                6 => begun = Some(r.time()?),
                7 => machine = Some(r.fixed()?),
                8 => pid_namespace = Some(r.uint()?),
                9 => ended = r.uint()? != 0,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        r.end()?;
        Ok(Self {
            writer: r.need(writer, "writer")?,
            kind,
            host: r.need(host, "host")?,
            boot_id: r.need(boot_id, "boot id")?,
            pid: r.need(pid, "process number")?,
            started: r.need(started, "start time")?,
            begun: r.need(begun, "time")?,
            machine: r.need(machine, "machine")?,
            pid_namespace: r.need(pid_namespace, "process namespace")?,
            ended,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(kind: LeaseKind) -> Lease {
        Lease {
            writer: WriterId::new([1; 16]),
            kind,
            host: "laptop".into(),
            boot_id: "b".into(),
            pid: 7,
            started: 8,
            begun: Timestamp::new(9, 1),
            machine: [2; 16],
            pid_namespace: 4_026_531_836,
            ended: kind == LeaseKind::KeyChange,
        }
    }

    #[test]
    fn reads_as_written_and_a_cut_one_is_refused() {
        for kind in [LeaseKind::Snapshot, LeaseKind::KeyChange, LeaseKind::Init] {
            assert_eq!(Lease::decode(&sample(kind).encode()).unwrap(), sample(kind));
        }
        let lease = sample(LeaseKind::Exclusive);
        let body = lease.encode();
        assert_eq!(Lease::decode(&body).unwrap(), lease);
        assert!((0..body.len()).all(|len| Lease::decode(&body[..len]).is_err()));
    }

    #[test]
    fn an_unknown_kind_counts_as_exclusive() {
        assert_eq!(LeaseKind::from_number(4), LeaseKind::Exclusive);
    }
}
