//! L3: tables of one operation that may grow larger than memory: in memory at first, then in a file without a name that
//! is gone with the operation. Nothing here outlives it, and nobody else sees it.

mod history;
mod uses;

pub use history::{History, Pending, Row, What};
pub use uses::{Meeting, Sums, UseTotals, Uses};

use crate::base::{Error, Kind, Result, Whose};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};

/// Most memory that the pages of the tables take, in KiB; beyond that they go to the file.
const CACHE_KIB: i32 = 24 * 1024;

/// Opens an empty database and makes its tables.
fn open(tables: &str) -> Result<Connection> {
    let make = || {
        let connection = Connection::open("")?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        // What is lost with the operation needs neither journal nor flush.
        connection.pragma_update(None, "journal_mode", "OFF")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "temp_store", "FILE")?;
        connection.set_prepared_statement_cache_capacity(32);
        connection.execute_batch(tables)?;
        // One transaction that never ends: nothing is to be kept.
        connection.execute_batch("BEGIN")?;
        Ok(connection)
    };
    make().map_err(failed)
}

/// The error of a failed call.
fn failed(e: rusqlite::Error) -> Error {
    let full = e.sqlite_error_code() == Some(ErrorCode::DiskFull);
    let kind = if full { Kind::NoSpace } else { Kind::Io };
    Error::new(kind, "use", "the folder of temporary files (TMPDIR)").because(e).of(Whose::Cache)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
