//! What `snapshot` says of the databases that it read.

use crate::output::human;
use chatvault_engine::backup::{DatabaseCounts, DatabaseReport};
use chatvault_engine::model::DatabaseState;
use std::time::Duration;

/// Databases that are told one by one.
const MOST_LINES: usize = 5;

/// One line for all of them, as `counts` says, and one for each that was captured while something was pending beside it.
pub(super) fn words(databases: &[DatabaseReport], counts: &DatabaseCounts) -> Vec<String> {
    if counts.read == 0 {
        return Vec::new();
    }
    let mut all = format!("Databases: {} read", human::thousands(counts.read));
    // Encrypted ones, those that were stored as their files lay, and those about which a warning says why.
    let unchecked = counts.read.saturating_sub(counts.sound + counts.damaged);
    for (number, what) in [
        (counts.sound, "sound by SQLite's check"),
        (counts.damaged, "damaged by SQLite's check"),
        (unchecked, "not checked"),
    ] {
        if number > 0 {
            all.push_str(&format!(", {} {what}", human::thousands(number)));
        }
    }
    let mut lines = vec![all];
    let captured = databases
        .iter()
        .filter(|database| matches!(database.state, DatabaseState::Captured | DatabaseState::Pair));
    lines.extend(captured.take(MOST_LINES).map(line));
    let left = counts.captured.saturating_sub(lines.len() as u64 - 1);
    if left > 0 {
        lines.push(format!("  and {} more", human::thousands(left)));
    }
    lines
}

/// The time is how long locks were held, which is what the app may have waited for, and not what the database took.
fn line(database: &DatabaseReport) -> String {
    let name = &database.path;
    let held = human::duration(Duration::from_millis(database.held_ms));
    if database.state == DatabaseState::Pair {
        format!("  {name}: captured together with the log beside it")
    } else if database.rolled_back > 0 {
        let pages = human::count(database.rolled_back.into(), "page");
        format!("  {name}: an unfinished change was taken back ({pages})")
    } else {
        let frames = human::count(database.frames.into(), "WAL frame");
        // Nearly always nothing had to be locked.
        let locked = if database.held_ms == 0 { String::new() } else { format!(", locked for {held}") };
        format!("  {name}: captured, {frames} merged{locked}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chatvault_engine::base::StoredPath;
    use chatvault_engine::model::Checked;

    fn report(state: DatabaseState, frames: u32, rolled_back: u32, checked: Checked) -> DatabaseReport {
        let path = StoredPath::root().join(b"chat.db");
        DatabaseReport {
            path,
            state,
            frames,
            rolled_back,
            held_ms: 400,
            checked,
            newly_damaged: false,
            has_damaged_log: false,
            not_checked: None,
        }
    }

    fn all_words(databases: &[DatabaseReport]) -> Vec<String> {
        let mut counts = DatabaseCounts::default();
        databases.iter().for_each(|report| counts.add(report));
        words(databases, &counts)
    }

    #[test]
    fn what_was_merged_and_how_long_locks_were_held_is_told() {
        assert_eq!(all_words(&[]), Vec::<String>::new());
        let all = [
            report(DatabaseState::Captured, 1898, 0, Checked::Quick),
            report(DatabaseState::Quiescent, 0, 0, Checked::No),
            report(DatabaseState::Captured, 0, 1, Checked::Full),
        ];
        assert_eq!(
            all_words(&all),
            [
                "Databases: 3 read, 2 sound by SQLite's check, 1 not checked",
                "  /chat.db: captured, 1,898 WAL frames merged, locked for 0.4 s",
                "  /chat.db: an unfinished change was taken back (1 page)",
            ]
        );
        let many = vec![report(DatabaseState::Captured, 1, 0, Checked::Quick); 9];
        assert_eq!(all_words(&many).len(), 1 + MOST_LINES + 1);
        assert_eq!(all_words(&many)[MOST_LINES + 1], "  and 4 more");
        let counts = DatabaseCounts { read: 12_000, captured: 11_000, damaged: 2, ..Default::default() };
        let told = words(&many, &counts);
        assert_eq!(told[0], "Databases: 12,000 read, 2 damaged by SQLite's check, 11,998 not checked");
        assert_eq!(told[MOST_LINES + 1], "  and 10,995 more");
    }
}
