//! L3: a look at every page and every row, for a catalog that was not closed in order. It takes time, but not much: a
//! catalog is only so large, and mostly it has a seal.

use super::schema::Trouble;
use super::{blobs, is_value_ours, manifests, memory};
use crate::crypto::Secret;
use rusqlite::Connection;

/// Finds out whether a catalog is what this program wrote, as far as its rows can tell.
pub(super) fn everything(connection: &Connection, key: &Secret) -> Result<(), Trouble> {
    let damaged = |what: &str| Err(Trouble::Rebuild(format!("it is damaged ({what})")));
    let found: String = connection.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))?;
    if found != "ok" {
        return damaged(&found);
    }
    let tables = [
        ("values", all(connection, "SELECT key, value, mac FROM meta", |row| is_value_ours(row, key))?),
        ("packs and blobs", blobs::are_sound(connection, key)?),
        ("manifests", manifests::are_sound(connection, key)?),
        ("files", memory::is_sound(connection, key)?),
    ];
    match tables.iter().find(|(_, is_sound)| !is_sound) {
        Some((table, _)) => damaged(&format!("a row of its table of {table} is not what was written")),
        None => Ok(()),
    }
}

/// True if all rows of a query are sound.
pub(super) fn all(
    connection: &Connection,
    query: &str,
    mut is_sound: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<bool>,
) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        if !is_sound(row)? {
            return Ok(false);
        }
    }
    Ok(true)
}
