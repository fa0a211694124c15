//! From a password to a key: Argon2id (RFC 9106), with parameters that are capped in both directions before use.

use crate::base::{Error, Kind, Result};
use crate::crypto::secret::Secret;
use argon2::{Algorithm, Argon2, Params, Version};

/// The cost of a derivation, as a key slot tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KdfParams {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Salt; slots of one repository may share it, so that one derivation serves them all.
    pub salt: [u8; 16],
}

impl KdfParams {
    /// RFC 9106's second recommended setting, which is also the floor.
    pub const MEMORY_KIB: u32 = 64 * 1024;
    /// See [`Self::MEMORY_KIB`].
    pub const PASSES: u32 = 3;
    /// See [`Self::MEMORY_KIB`].
    pub const LANES: u32 = 4;
    /// The ceiling of the memory: 2 GiB.
    pub const MAX_MEMORY_KIB: u32 = 2 * 1024 * 1024;
    /// The ceiling of the passes.
    pub const MAX_PASSES: u32 = 16;
    /// The ceiling of the lanes.
    pub const MAX_LANES: u32 = 16;

    /// What stands in a slot that no password opens.
    pub(crate) const NONE: Self = Self { memory_kib: 0, passes: 0, lanes: 0, salt: [0; 16] };

    /// The default cost with this salt.
    #[must_use]
    pub fn standard(salt: [u8; 16]) -> Self {
        Self { memory_kib: Self::MEMORY_KIB, passes: Self::PASSES, lanes: Self::LANES, salt }
    }

    /// Refuses costs below the floor (somebody weakened the slot) and above the ceiling (somebody wants to stall us).
    pub fn check(&self, subject: &str) -> Result<()> {
        let fits = (Self::MEMORY_KIB..=Self::MAX_MEMORY_KIB).contains(&self.memory_kib)
            && (Self::PASSES..=Self::MAX_PASSES).contains(&self.passes)
            && (1..=Self::MAX_LANES).contains(&self.lanes);
        if fits {
            return Ok(());
        }
        Err(Error::damaged("use key slot", subject, "the cost of its key derivation is out of range"))
    }

    /// Derives the key. Takes about a quarter of a second with the default cost.
    pub fn derive(&self, password: &[u8], subject: &str) -> Result<Secret> {
        self.check(subject)?;
        let failed = |e: argon2::Error| {
            Error::new(Kind::Io, "derive the key of", subject).because(format!("Argon2id: {e}"))
        };
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(failed)?;
        let mut out = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password, &self.salt, &mut out)
            .map_err(failed)?;
        Ok(Secret::new(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_out_of_range_are_refused_before_any_work() {
        let good = KdfParams::standard([0; 16]);
        assert!(good.check("x").is_ok());
        for bad in [
            KdfParams { memory_kib: 8, ..good },
            KdfParams { memory_kib: u32::MAX, ..good },
            KdfParams { passes: 1, ..good },
            KdfParams { passes: u32::MAX, ..good },
            KdfParams { lanes: 0, ..good },
            KdfParams { lanes: 255, ..good },
        ] {
            assert_eq!(bad.derive(b"password", "x").unwrap_err().kind(), Kind::Damaged);
        }
    }
}
