//! What `snapshot` says of what is gone since the snapshot before.

use crate::output::human;
use chatvault_engine::backup::{Gone, GoneFile};
use chatvault_engine::base::{SnapshotId, Warning, WarningKind};

/// Most files that the line names.
const MOST_NAMED: usize = 3;

/// One line for all files that are gone; none if there are none.
pub(super) fn words(gone: &Gone) -> Option<String> {
    if gone.files == 0 && !gone.is_incomplete {
        return None;
    }
    let least = if gone.is_incomplete { "at least " } else { "" };
    let mut line =
        format!("Gone:   {least}{} ({})", human::count(gone.files, "file"), human::bytes(gone.bytes));
    // Databases come first, all of those that there is room for.
    let databases = gone.named.iter().take_while(|file| file.is_database).count();
    let named = gone.named.iter().take(MOST_NAMED.max(databases.min(2 * MOST_NAMED)));
    let names: Vec<String> = named.map(name).collect();
    if names.is_empty() {
        return Some(line);
    }
    let is_all = u64::try_from(names.len()).is_ok_and(|named| named == gone.files);
    line.push_str(if is_all { ": " } else { ", among them " });
    line.push_str(&names.join(", "));
    Some(line)
}

fn name(file: &GoneFile) -> String {
    match &file.moved_to {
        Some(path) => format!("{} (now {path})", file.path),
        None => file.path.to_string(),
    }
}

/// A warning for each database that is gone for good, or lost more than half of its bytes.
pub(super) fn warnings(gone: &Gone, parent: Option<SnapshotId>) -> Vec<Warning> {
    let Some(parent) = parent.map(|id| id.short()) else { return Vec::new() };
    let lost = gone.named.iter().filter(|file| file.is_database && file.moved_to.is_none());
    let mut warnings: Vec<Warning> = lost
        .map(|file| Warning {
            kind: WarningKind::DatabaseGone,
            path: Some(file.path.clone()),
            message: format!(
                "This database ({}) is gone. Snapshot {parent} still has it",
                human::bytes(file.size)
            ),
        })
        .collect();
    let named = gone.named.iter().filter(|file| file.is_database).count();
    let more = gone.databases.saturating_sub(u64::try_from(named).unwrap_or(u64::MAX));
    if more > 0 {
        warnings.push(Warning {
            kind: WarningKind::DatabaseGone,
            path: None,
            message: format!(
                "{} more are gone. Snapshot {parent} still has them",
                human::count(more, "database")
            ),
        });
    }
    warnings.extend(gone.shrunk.iter().map(|database| Warning {
        kind: WarningKind::DatabaseShrunk,
        path: Some(database.path.clone()),
        message: format!(
            "This database shrank from {} to {}. Snapshot {parent} still has the larger one",
            human::bytes(database.before),
            human::bytes(database.now)
        ),
    }));
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use chatvault_engine::base::StoredPath;

    #[test]
    fn nothing_is_said_of_nothing_and_a_part_is_said_to_be_one() {
        assert_eq!(words(&Gone::default()), None);
        assert!(warnings(&Gone::default(), Some(SnapshotId::new([1; 32]))).is_empty());
        let part = Gone { files: 1200, bytes: 4 << 20, is_incomplete: true, ..Gone::default() };
        assert_eq!(words(&part).unwrap(), "Gone:   at least 1,200 files (4.0 MiB)");
    }

    #[test]
    fn databases_beyond_those_that_are_named_are_counted_in_a_warning() {
        let gone = Gone { files: 30, databases: 30, ..Gone::default() };
        let told = warnings(&gone, Some(SnapshotId::new([0xab; 32])));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].message, "30 databases more are gone. Snapshot abababab still has them");
        let path = StoredPath::root().join(b"chat.db");
        let shrunk = vec![chatvault_engine::backup::ShrunkDatabase { path, before: 3 << 20, now: 8192 }];
        let told = warnings(&Gone { shrunk, ..Gone::default() }, Some(SnapshotId::new([0xab; 32])));
        assert_eq!(
            told[0].message,
            "This database shrank from 3.0 MiB to 8.0 KiB. Snapshot abababab still has the larger one"
        );
    }
}
