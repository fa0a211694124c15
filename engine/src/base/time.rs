//! Points in time as they are stored: seconds since 1970 and nanoseconds, so that any file system's stamp fits.

/// Seconds since 1970-01-01T00:00:00Z (negative before) plus nanoseconds below 1,000,000,000 that always count forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds, rounded down.
    pub secs: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanos: u32,
}

impl Timestamp {
    /// Makes a time; nanoseconds out of range are cut to the range.
    #[must_use]
    pub fn new(secs: i64, nanos: u32) -> Self {
        Self { secs, nanos: nanos.min(999_999_999) }
    }

    /// Nanoseconds since 1970, exact for every time (the sum of both fields fits).
    #[must_use]
    pub fn as_nanos(self) -> i128 {
        i128::from(self.secs) * 1_000_000_000 + i128::from(self.nanos)
    }
}
