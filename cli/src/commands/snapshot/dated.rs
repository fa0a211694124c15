//! What `snapshot` says of a time that does not fit those of other snapshots.

use crate::output::human;
use chatvault_engine::backup::BackupSummary;
use chatvault_engine::base::{Warning, WarningKind};
use jiff::tz::TimeZone;

/// A warning for each thing that is odd.
pub(super) fn warnings(summary: &BackupSummary, zone: &TimeZone) -> Vec<Warning> {
    let day = |time| human::local_time(time, zone);
    let mut told = Vec::new();
    if let Some((id, time)) = summary.misdated.clock_went_back {
        told.push(format!(
            "This snapshot is dated {}, but snapshot {} before it is dated {}. Check the clock of this computer",
            day(summary.time),
            id.short(),
            day(time)
        ));
    }
    if let Some((id, time)) = summary.misdated.latest {
        told.push(format!(
            "This snapshot is dated {}, before snapshot {} of {}: `latest` is not this one. Check the clocks of both \
             computers",
            day(summary.time),
            id.short(),
            day(time)
        ));
    }
    let kind = WarningKind::Misdated;
    told.into_iter().map(|message| Warning { kind, path: None, message }).collect()
}
