//! Whether an image is a sound database: opened by SQLite, as a copy of ours.

use rusqlite::Connection;
use std::path::Path;

/// What a sound image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The number of the commit that made it.
    pub commit: u64,
    /// Rows.
    pub rows: u64,
}

/// Opens a copy: integrity, and the app's invariant that its counter says how many rows there are.
pub fn judge(image: &[u8]) -> Result<State, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.db");
    std::fs::write(&path, image).unwrap();
    state_of(&path)
}

pub fn state_of(path: &Path) -> Result<State, String> {
    let failed = |e: rusqlite::Error| e.to_string();
    let db = Connection::open(path).map_err(failed)?;
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(failed)?;
    if check != "ok" {
        return Err(check);
    }
    let counted = "SELECT n, seq, (SELECT count(*) FROM message) FROM s";
    let (said, commit, rows): (i64, i64, i64) =
        db.query_row(counted, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(failed)?;
    let [commit, rows] = [commit, rows].map(i64::unsigned_abs);
    if said.unsigned_abs() == rows {
        Ok(State { commit, rows })
    } else {
        Err(format!("{rows} rows, {said} counted"))
    }
}
