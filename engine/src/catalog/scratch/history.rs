//! L3: what became of paths, met snapshot by snapshot, given back path by path; and the folders that are still to be
//! compared.

use super::{failed, open, signed, unsigned};
use crate::base::{BlobId, Result, Timestamp};
use crate::model::NodeKind;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow};

const TABLES: &str = "
    CREATE TABLE pending (number INTEGER PRIMARY KEY, path BLOB NOT NULL, before BLOB, after BLOB, unknown INTEGER NOT NULL);
    CREATE TABLE found (path BLOB NOT NULL, line INTEGER NOT NULL, at INTEGER NOT NULL, what INTEGER NOT NULL,
        kind INTEGER NOT NULL, size INTEGER NOT NULL, secs INTEGER, nanos INTEGER, content BLOB, target BLOB);
";

/// What is met at a path from some snapshot on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// An entry.
    Present = 0,
    /// None any more.
    Gone = 1,
    /// It cannot be told, because its folder cannot be read.
    Unknown = 2,
}

/// What is met at a path from a snapshot on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The path: its components, each with a NUL in front, so that bytes sort as trees do.
    pub path: Vec<u8>,
    /// Which line of snapshots.
    pub line: usize,
    /// The place of the snapshot in the line.
    pub at: usize,
    /// What is met; for all but [`What::Present`] the fields below say nothing.
    pub what: What,
    /// The kind of entry.
    pub kind: NodeKind,
    /// Bytes of a file.
    pub size: u64,
    /// The last change of its content.
    pub mtime: Option<Timestamp>,
    /// The name of its content.
    pub content: Option<BlobId>,
    /// Where a symbolic link points.
    pub target: Option<Vec<u8>>,
}

/// Two folders of one path that are still to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The path.
    pub path: Vec<u8>,
    /// Root page in the earlier snapshot.
    pub before: Option<BlobId>,
    /// Root page in the later one.
    pub after: Option<BlobId>,
    /// True if nothing can be told of what is missing in the later one.
    pub unknown: bool,
}

/// The tables of one search.
#[derive(Debug)]
pub struct History {
    connection: Connection,
}

impl History {
    /// Empty tables.
    pub fn new() -> Result<Self> {
        Ok(Self { connection: open(TABLES)? })
    }

    /// Puts a pair of folders on the stack.
    pub fn push(&self, pending: &Pending) -> Result<()> {
        let id = |id: &Option<BlobId>| id.as_ref().map(|id| id.as_bytes().to_vec());
        let push = || {
            self.connection
                .prepare_cached("INSERT INTO pending (path, before, after, unknown) VALUES (?, ?, ?, ?)")?
                .execute((&pending.path, id(&pending.before), id(&pending.after), pending.unknown))
        };
        push().map(|_| ()).map_err(failed)
    }

    /// Takes the pair that was put last.
    pub fn pop(&self) -> Result<Option<Pending>> {
        let pop = || {
            let last = self
                .connection
                .prepare_cached(
                    "SELECT number, path, before, after, unknown FROM pending ORDER BY number DESC LIMIT 1",
                )?
                .query_row((), |row| {
                    let pending = Pending {
                        path: row.get(1)?,
                        before: id(row, 2)?,
                        after: id(row, 3)?,
                        unknown: row.get(4)?,
                    };
                    Ok((row.get::<_, i64>(0)?, pending))
                })
                .optional()?;
            let Some((number, pending)) = last else { return Ok(None) };
            self.connection.prepare_cached("DELETE FROM pending WHERE number = ?")?.execute([number])?;
            Ok(Some(pending))
        };
        pop().map_err(failed)
    }

    /// Notes what is met at a path.
    pub fn note(&self, row: &Row) -> Result<()> {
        let note = || {
            self.connection
                .prepare_cached(
                    "INSERT INTO found (path, line, at, what, kind, size, secs, nanos, content, target) \
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )?
                .execute((
                    &row.path,
                    signed(row.line as u64),
                    signed(row.at as u64),
                    row.what as u8,
                    row.kind as u8,
                    signed(row.size),
                    row.mtime.map(|time| time.secs),
                    row.mtime.map(|time| time.nanos),
                    row.content.map(|id| id.as_bytes().to_vec()),
                    row.target.as_ref(),
                ))
        };
        note().map(|_| ()).map_err(failed)
    }

    /// Hands over all rows, by path, line and place, until `visit` fails.
    pub fn each(&self, visit: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        let mut statement = self
            .connection
            .prepare(
                "SELECT path, line, at, what, kind, size, secs, nanos, content, target FROM found \
                 ORDER BY path, line, at",
            )
            .map_err(failed)?;
        let mut rows = statement.query(()).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            visit(read(row).map_err(failed)?)?;
        }
        Ok(())
    }
}

fn read(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let number = |column| row.get::<_, i64>(column).map(unsigned);
    let place = |column| number(column).map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let mtime = match row.get::<_, Option<i64>>(6)? {
        Some(secs) => Some(Timestamp::new(secs, row.get(7)?)),
        None => None,
    };
    let what = match row.get::<_, u8>(3)? {
        0 => What::Present,
        1 => What::Gone,
        _ => What::Unknown,
    };
    Ok(Row {
        path: row.get(0)?,
        line: place(1)?,
        at: place(2)?,
        what,
        kind: NodeKind::from_number(number(4)?).unwrap_or(NodeKind::File),
        size: number(5)?,
        mtime,
        content: id(row, 8)?,
        target: row.get(9)?,
    })
}

fn id(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<BlobId>> {
    Ok(row.get::<_, Option<Vec<u8>>>(column)?.and_then(|bytes| BlobId::from_slice(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_by_path_line_and_place_and_folders_last_in_first_out() {
        let history = History::new().unwrap();
        let row = |path: &[u8], line, at| Row {
            path: path.to_vec(),
            line,
            at,
            what: What::Present,
            kind: NodeKind::Symlink,
            size: 7,
            mtime: Some(Timestamp::new(-5, 9)),
            content: Some(BlobId::new([3; 32])),
            target: Some(b"\xff".to_vec()),
        };
        let rows = [row(b"\0a b", 0, 1), row(b"\0a", 1, 0), row(b"\0a\0z", 0, 0), row(b"\0a", 0, 9)];
        rows.iter().for_each(|row| history.note(row).unwrap());
        let mut seen = Vec::new();
        history
            .each(&mut |row| {
                seen.push(row);
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, [&rows[3], &rows[1], &rows[2], &rows[0]].map(Clone::clone));
        let pending = |path: &[u8]| Pending {
            path: path.to_vec(),
            before: None,
            after: Some(BlobId::new([4; 32])),
            unknown: true,
        };
        history.push(&pending(b"a")).unwrap();
        history.push(&pending(b"b")).unwrap();
        assert_eq!(history.pop().unwrap(), Some(pending(b"b")));
        assert_eq!(history.pop().unwrap(), Some(pending(b"a")));
        assert_eq!(history.pop().unwrap(), None);
    }
}
