//! L2: which tables a database says that it has, and whether SQLite may be asked about all of them at once.

use super::modules::is_masked;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

/// What stands in the schema, as far as a check needs it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Schema {
    /// Names of the tables that have pages.
    pub(super) tables: Vec<Vec<u8>>,
    /// Names of what SQLite would never have described so.
    pub(super) odd: Vec<Vec<u8>>,
    /// Names of what is described with bytes that no words have.
    pub(super) odd_texts: Vec<Vec<u8>>,
    /// True if there are virtual tables whose modules SQLite may have.
    pub(super) has_modules: bool,
    /// True if there are views or virtual tables: if SQLite comes upon one first, it looks neither at the list of free pages
    /// nor for pages that are lost.
    pub(super) has_no_root: bool,
}

impl Schema {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut schema = Self::default();
        let mut statement = connection.prepare("SELECT name, sql FROM main.sqlite_schema")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            schema.add(bytes_of(row.get_ref(0)?), bytes_of(row.get_ref(1)?));
        }
        Ok(schema)
    }

    /// True if SQLite may be asked about all of them at once: it runs the code of no module.
    pub(super) fn may_be_asked_whole(&self) -> bool {
        !self.has_modules && self.odd.is_empty()
    }

    /// Only the description counts: type and page are what a hostile database likes to call them.
    fn add(&mut self, name: &[u8], sql: &[u8]) {
        let is_of_words = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
        if std::str::from_utf8(sql).is_err() || !sql.iter().all(is_of_words) {
            self.odd_texts.push(name.to_vec());
        }
        let is = |words: &str| {
            sql.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words.as_bytes()))
        };
        if is("CREATE TABLE ") {
            self.tables.push(name.to_vec());
        } else if is("CREATE VIRTUAL ") {
            self.has_no_root = true;
            self.has_modules |= !is_masked(sql);
        } else if is("CREATE VIEW ") {
            self.has_no_root = true;
        } else if !(sql.is_empty()
            || ["INDEX ", "UNIQUE ", "TRIGGER "].iter().any(|kind| is(&format!("CREATE {kind}"))))
        {
            self.odd.push(name.to_vec());
        }
    }
}

fn bytes_of(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_description_is_of_is_told_by_its_first_words() {
        let of = |sql: &str| {
            let mut schema = Schema::default();
            schema.add(b"x", sql.as_bytes());
            let may_be_asked_whole = schema.may_be_asked_whole();
            (schema.tables.len(), schema.odd.len(), may_be_asked_whole, schema.has_no_root)
        };
        for sql in ["CREATE TABLE x (a)", "create table \"x\" (a)"] {
            assert_eq!(of(sql), (1, 0, true, false), "{sql}");
        }
        for sql in
            ["", "CREATE INDEX i ON x (a)", "CREATE UNIQUE INDEX i ON x (a)", "CREATE TRIGGER t BEFORE"]
        {
            assert_eq!(of(sql), (0, 0, true, false), "{sql}");
        }
        for sql in ["CREATE VIRTUAL TABLE x USING zzzz(a)", "CREATE VIEW x AS SELECT 1"] {
            assert_eq!(of(sql), (0, 0, true, true), "{sql}");
        }
        assert_eq!(of("CREATE VIRTUAL TABLE x USING fts5(a)"), (0, 0, false, true));
        for sql in ["CREATE/**/VIRTUAL TABLE x USING fts5(a)", "CREATE/**/TABLE x (a)", "crumbs"] {
            assert_eq!(of(sql), (0, 1, false, false), "{sql}");
        }
    }
}
