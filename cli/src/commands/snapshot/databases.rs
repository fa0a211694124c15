//! What `snapshot` says of the databases that it read.

use crate::output::human;
use chatvault_engine::backup::DatabaseReport;
use chatvault_engine::model::{Checked, DatabaseState};
use std::time::Duration;

/// Databases that are told one by one.
const MOST_LINES: usize = 5;

/// One line for all of them, and one for each that was captured while something was pending beside it.
pub(super) fn words(databases: &[DatabaseReport]) -> Vec<String> {
    if databases.is_empty() {
        return Vec::new();
    }
    let captured: Vec<&DatabaseReport> =
        databases.iter().filter(|database| database.state == DatabaseState::Captured).collect();
    let count = |found: &[Checked]| {
        let count = databases.iter().filter(|database| found.contains(&database.checked)).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    };
    let mut all = format!("Databases: {} read", human::thousands(databases.len() as u64));
    for (found, what) in [
        (&[Checked::Quick, Checked::Full][..], "sound by SQLite's check"),
        (&[Checked::Failed], "damaged by SQLite's check"),
    ] {
        match count(found) {
            0 => {}
            number => all.push_str(&format!(", {} {what}", human::thousands(number))),
        }
    }
    let mut lines = vec![all];
    lines.extend(captured.iter().take(MOST_LINES).map(|database| line(database)));
    if captured.len() > MOST_LINES {
        lines.push(format!("  and {} more", human::thousands((captured.len() - MOST_LINES) as u64)));
    }
    lines
}

fn line(database: &DatabaseReport) -> String {
    let name = &database.path;
    let held = human::duration(Duration::from_millis(database.held_ms));
    if database.rolled_back > 0 {
        let pages = human::count(database.rolled_back.into(), "page");
        format!("  {name}: an unfinished change was taken back ({pages})")
    } else {
        format!("  {name}: captured in {held}, {} merged", human::count(database.frames.into(), "WAL frame"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chatvault_engine::base::StoredPath;

    fn report(state: DatabaseState, frames: u32, rolled_back: u32, checked: Checked) -> DatabaseReport {
        let path = StoredPath::root().join(b"chat.db");
        DatabaseReport { path, state, frames, rolled_back, held_ms: 400, checked, newly_damaged: false }
    }

    #[test]
    fn what_was_merged_and_how_long_it_took_is_told() {
        assert_eq!(words(&[]), Vec::<String>::new());
        let all = [
            report(DatabaseState::Captured, 1898, 0, Checked::Quick),
            report(DatabaseState::Quiescent, 0, 0, Checked::No),
            report(DatabaseState::Captured, 0, 1, Checked::Full),
        ];
        assert_eq!(
            words(&all),
            [
                "Databases: 3 read, 2 sound by SQLite's check",
                "  /chat.db: captured in 0.4 s, 1,898 WAL frames merged",
                "  /chat.db: an unfinished change was taken back (1 page)",
            ]
        );
        let many = vec![report(DatabaseState::Captured, 1, 0, Checked::Quick); 9];
        assert_eq!(words(&many).len(), 1 + MOST_LINES + 1);
        assert_eq!(words(&many)[MOST_LINES + 1], "  and 4 more");
    }
}
