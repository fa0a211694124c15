//! Every SQLite database among the samples: as it lies, and rewritten in WAL mode while the last changes are in its log
//! only. What comes back is the same by SQLite's own reading.

use crate::known::{DATABASES, ENCRYPTED, KNOWN};
use crate::{Outcome, absent};
use chatvault_engine::model::DatabaseState;
use chatvault_tests::{Lab, Restored, Truth};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"SQLite format 3\0";

/// The databases below a folder, told by their first bytes; only where all samples are there.
fn databases(folder: &Path) -> Result<Vec<PathBuf>, Outcome> {
    if !KNOWN.iter().all(|(name, ..)| folder.join(name).is_dir()) {
        return Err(absent(folder));
    }
    let is_database = |path: &[u8]| {
        let mut head = Vec::new();
        let file = fs::File::open(folder.join(OsStr::from_bytes(path))).unwrap();
        file.take(MAGIC.len() as u64).read_to_end(&mut head).unwrap();
        head == MAGIC
    };
    let mut truth = Truth::read(folder);
    let is_known =
        |path: &[u8]| KNOWN.iter().any(|(name, ..)| Path::new(OsStr::from_bytes(path)).starts_with(name));
    truth.0.retain(|path, entry| entry.content.is_some() && is_known(path) && is_database(path));
    let found = (truth.files(), truth.content_hash().to_hex().to_string());
    assert_eq!(
        found,
        (DATABASES.0, DATABASES.1.to_owned()),
        "these are not the databases that the test knows"
    );
    Ok(truth.0.into_keys().map(|path| folder.join(OsStr::from_bytes(&path))).collect())
}

/// The bytes of each, encrypted ones too, come back; no two of them are one file, so that each is captured.
pub fn as_they_lie(folder: &Path) -> Outcome {
    let paths = match databases(folder) {
        Ok(paths) => paths,
        Err(outcome) => return outcome,
    };
    let lab = Lab::new();
    for (number, path) in paths.iter().enumerate() {
        fs::copy(path, lab.source().join(format!("{number:02}.db"))).unwrap();
    }
    for name in ENCRYPTED {
        fs::copy(folder.join(name), lab.source().join(Path::new(name).file_name().unwrap())).unwrap();
    }
    let truth = Truth::read(&lab.source());
    let summary = lab.snapshot(&lab.create());
    let is_plain = |path: &&chatvault_engine::base::StoredPath| {
        !ENCRYPTED.iter().any(|name| Path::new(name).file_name().unwrap().as_bytes() == path.name())
    };
    assert!(summary.databases.iter().all(|report| report.state == DatabaseState::Quiescent));
    let captured = summary.databases.iter().map(|report| &report.path).filter(is_plain).count();
    assert_eq!(captured, paths.len(), "each was met as a database: {:?}", summary.warnings);
    truth.assert_same(&Truth::read(&lab.source()), "the databases after the snapshot");
    truth.assert_same(&restored(&lab, &summary).truth(), "the restored databases");
    Outcome::Passed(format!("{captured} databases and {} encrypted ones", ENCRYPTED.len()))
}

fn restored(lab: &Lab, summary: &chatvault_engine::backup::BackupSummary) -> Restored {
    lab.delete_cache();
    lab.restore(&lab.open(), &summary.id)
}

/// The main file alone would lack what is in the log; the restored database, which has no log, does not.
pub fn with_frames_pending(folder: &Path) -> Outcome {
    let paths = match databases(folder) {
        Ok(paths) => paths,
        Err(outcome) => return outcome,
    };
    let lab = Lab::new();
    let work = lab.path().join("work");
    fs::create_dir(&work).unwrap();
    let mut wanted = Vec::new();
    let mut rewritten = 0;
    for (number, path) in paths.iter().enumerate() {
        let name = format!("{number:02}.db");
        let live = work.join(&name);
        fs::copy(path, &live).unwrap();
        let before = dump(&live);
        let app = Connection::open(&live).unwrap();
        rewritten += usize::from(rewrite(&app));
        // As it lies while the app has it open, but where no connection of this process has its locks.
        for suffix in ["", "-wal"] {
            let (from, to) = (format!("{name}{suffix}"), format!("{name}{suffix}"));
            fs::copy(work.join(from), lab.source().join(to)).unwrap();
        }
        let after = dump_of(&app);
        assert_eq!(
            after.len(),
            before.len() + 4,
            "{name}: an entry of the schema, a table and two rows are new"
        );
        let alone = lab.path().join("alone.db");
        fs::copy(lab.source().join(&name), &alone).unwrap();
        assert!(dump(&alone) != after, "{name}: the main file alone has everything");
        wanted.push((name, after));
    }
    let truth = Truth::read(&lab.source());
    let summary = lab.snapshot(&lab.create());
    truth.assert_same(&Truth::read(&lab.source()), "the databases after the snapshot");
    let frames: Vec<u32> = summary.databases.iter().map(|report| report.frames).collect();
    assert!(
        frames.len() == paths.len() && frames.iter().all(|frames| *frames > 0),
        "{:?}",
        summary.databases
    );
    let restored = restored(&lab, &summary);
    assert_eq!(restored.truth().files(), paths.len(), "a captured database is one file");
    let mut rows = 0;
    for (name, wanted) in wanted {
        let found = dump(&restored.folder.join(&name));
        assert!(found == wanted, "{name} has other content");
        rows += found.len();
    }
    let frames = frames.iter().sum::<u32>();
    assert!(rewritten * 2 > paths.len(), "only {rewritten} were rewritten whole");
    Outcome::Passed(format!(
        "{} databases, {rewritten} rewritten whole, {frames} frames, {rows} rows",
        paths.len()
    ))
}

/// Turns a database to WAL mode, writes it anew as a whole if that can be done without its app's functions, and adds a
/// table. All of that stays in the log. True if it was written anew.
fn rewrite(app: &Connection) -> bool {
    let mode: String = app.query_row("PRAGMA journal_mode=WAL", (), |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    app.query_row("PRAGMA wal_autocheckpoint=0", (), |_| Ok(())).unwrap();
    let is_rewritten = app.execute_batch("VACUUM").is_ok();
    app.execute_batch(
        "CREATE TABLE \"only in the log\"(a, b); INSERT INTO \"only in the log\" VALUES(1, 'x'), (NULL, 0.5)",
    )
    .unwrap();
    is_rewritten
}

/// Everything in a database, in SQLite's reading: a line for each entry of the schema and each row of each table, those
/// of virtual tables by the tables that hold their content.
fn dump(path: &Path) -> Vec<String> {
    dump_of(&Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap())
}

fn dump_of(db: &Connection) -> Vec<String> {
    let mut lines = rows(db, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name");
    let mut tables = db
        .prepare(
            "SELECT name, wr FROM pragma_table_list WHERE type IN ('table', 'shadow') AND schema = 'main'",
        )
        .unwrap();
    let tables = tables.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let mut tables: Vec<(String, bool)> = tables.map(Result::unwrap).collect();
    tables.sort();
    // The schema stands above; where its tables begin is no content.
    for (name, is_without_rowid) in tables.into_iter().filter(|(name, _)| name != "sqlite_schema") {
        let quoted = name.replace('"', "\"\"");
        lines.push(format!("table {name}"));
        lines.extend(if is_without_rowid {
            rows(db, &format!("SELECT * FROM \"{quoted}\""))
        } else {
            rows(db, &format!("SELECT _rowid_, * FROM \"{quoted}\" ORDER BY _rowid_"))
        });
    }
    lines
}

fn rows(db: &Connection, sql: &str) -> Vec<String> {
    let mut statement = db.prepare(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let columns = statement.column_count();
    let mut rows = statement.query(()).unwrap();
    let mut lines = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let values = (0..columns).map(|column| quoted(row.get_ref(column).unwrap()));
        lines.push(values.collect::<Vec<_>>().join(", "));
    }
    lines
}

/// A value as it stands in SQL; numbers with a point to the last bit.
fn quoted(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("real {:016x}", number.to_bits()),
        ValueRef::Text(text) => format!("'{}'", text.escape_ascii()),
        ValueRef::Blob(bytes) => format!("x'{}'", bytes.escape_ascii()),
    }
}
