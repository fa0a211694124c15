//! L2: the questions that a check asks SQLite, and what its answers mean.

use super::schema::Schema;
use super::{CheckLimits, Verdict, modules, pages};
use crate::base::Timestamp;
use crate::base::path::clean;
use crate::sqlite::SqliteHeader;
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::limits::Limit;
use rusqlite::types::{Null, ValueRef};
use rusqlite::{Connection, Error, ErrorCode, ffi};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Findings that are told, and characters of each.
const MAX_FINDINGS: usize = 8;
/// Findings after which SQLite ends a question. More than are told: odd values are no damage, and must not hide any.
const MAX_ANSWERS: usize = 100;
const MAX_CHARS: usize = 200;
/// Orders and functions of an app's own that one question may need.
const MAX_STAND_INS: usize = 64;
/// Steps of SQLite's machine, or pages, between two looks at the clock: one step may copy a whole value.
const STEPS: i32 = 100;
/// Memory for pages, in KiB. More makes no check faster: each page is read once or twice, in order.
const CACHE_KIB: i32 = 8 * 1024;
/// What a database may ask of SQLite. All but the first two are far above what apps do and far below what hurts.
const LIMITS: [(Limit, i32); 9] = [
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
    (Limit::SQLITE_LIMIT_LENGTH, 64 << 20),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 4 << 20),
    (Limit::SQLITE_LIMIT_COLUMN, 2000),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 1000),
    (Limit::SQLITE_LIMIT_VDBE_OP, 4_000_000),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
    (Limit::SQLITE_LIMIT_SCHEMA, 200_000),
];

/// Checks the image in `file`, which both connections have opened and not read; with the number of questions that SQLite
/// was asked.
pub(super) fn check(
    [mut connection, mut second]: [Connection; 2],
    file: &File,
    full: bool,
    limits: &CheckLimits,
) -> (Verdict, u32) {
    let mut first = [0; SqliteHeader::LEN];
    if file.read_exact_at(&mut first, 0).is_err() || !first.starts_with(b"SQLite format 3\0") {
        return (Verdict::NotChecked("it does not begin as a plain SQLite database does".to_owned()), 0);
    }
    let Some(header) = SqliteHeader::parse(&first) else {
        return (Verdict::Failed(vec!["its header is damaged".to_owned()]), 0);
    };
    let stop = Stop::new(limits);
    let mut prepare = || -> rusqlite::Result<()> {
        stop.install(&mut connection, limits)?;
        stop.install(&mut second, limits)?;
        configure(&connection)?;
        if has_modules(&connection)? && modules::mask(&connection, file, &header)? {
            // The first one knows the schema as it was.
            configure(&second)?;
            std::mem::swap(&mut connection, &mut second);
        }
        Ok(())
    };
    let prepared = prepare();
    drop(second);
    let checker = Checker { connection: &connection, header: &header, full, asked: Cell::new(0) };
    let mut found = Found::default();
    let ran = prepared.and_then(|()| checker.run(&mut found));
    let verdict = match ran {
        Err(e) if found.damage.is_empty() => checker.told(&e, &stop),
        // Damage is certain, however the check ended.
        _ if !found.damage.is_empty() => Verdict::Failed(found.damage),
        _ => Verdict::Sound { left_out: found.left_out, odd_values: found.odd_values },
    };
    (verdict, checker.asked.get())
}

fn has_modules(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(Schema::read(connection)?.has_modules)
}

/// True for the message about a description that is whole, and in words that a newer SQLite may have: its own words name
/// nothing else that is wrong.
fn is_about_words(text: &str) -> bool {
    let Some((_, why)) =
        text.strip_prefix("malformed database schema (").and_then(|text| text.split_once(") - "))
    else {
        return false;
    };
    (why.starts_with("near \"") && why.ends_with("\": syntax error"))
        || [
            "unrecognized token: ",
            "unknown table option: ",
            "unknown datatype for ",
            "no such function: ",
            "unknown function: ",
        ]
        .iter()
        .any(|words| why.starts_with(words))
}

/// The message of SQLite without what rusqlite adds.
fn message(e: &Error) -> String {
    match e {
        Error::SqliteFailure(_, Some(text)) | Error::SqlInputError { msg: text, .. } => text.clone(),
        _ => e.to_string(),
    }
}

fn clean_line(bytes: &[u8]) -> String {
    clean(bytes).chars().take(MAX_CHARS).collect()
}

/// Why a check was ended from outside.
struct Stop {
    started: Timestamp,
    cancelled: Arc<AtomicBool>,
}

impl Stop {
    fn new(limits: &CheckLimits) -> Self {
        Self { started: (limits.clock)(), cancelled: Arc::new(AtomicBool::new(false)) }
    }

    /// Lets SQLite look at the clock and at the wish to stop, again and again.
    fn install(&self, connection: &mut Connection, limits: &CheckLimits) -> rusqlite::Result<()> {
        let (limits, seen, started) = (limits.clone(), Arc::clone(&self.cancelled), self.started);
        connection.progress_handler(
            STEPS,
            Some(move || {
                seen.store(limits.cancel.is_cancelled(), Ordering::Relaxed);
                seen.load(Ordering::Relaxed) || is_over(started, (limits.clock)(), &limits)
            }),
        )
    }

    fn why(&self) -> &'static str {
        if self.cancelled.load(Ordering::Relaxed) { "it was cancelled" } else { "it took too long" }
    }
}

fn is_over(started: Timestamp, now: Timestamp, limits: &CheckLimits) -> bool {
    let allowed = i128::try_from(limits.at_most.as_nanos()).unwrap_or(i128::MAX);
    now.as_nanos().saturating_sub(started.as_nanos()) > allowed
}

/// What was found so far.
#[derive(Default)]
struct Found {
    damage: Vec<String>,
    left_out: Vec<String>,
    odd_values: Vec<String>,
}

impl Found {
    fn damage(&mut self, text: &[u8]) {
        // One answer may hold several findings, below a line that says which database it is about.
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"*** in database")) {
            if self.damage.len() < MAX_FINDINGS {
                self.damage.push(clean_line(line));
            }
        }
    }

    fn left_out(&mut self, what: String) {
        if self.left_out.len() < MAX_FINDINGS {
            self.left_out.push(what);
        }
    }

    /// What a check says of one thing, as text that SQLite begins with its own words.
    fn finding(&mut self, text: &[u8]) {
        if !is_of_values(text) {
            self.damage(text);
            return;
        }
        // The same words come for each row.
        let line = clean_line(text);
        if self.odd_values.len() < MAX_FINDINGS && !self.odd_values.contains(&line) {
            self.odd_values.push(line);
        }
    }
}

/// True for a finding about what an app has put into a sound file: a value that its column does not allow, a key that is
/// there twice, a number that another version of SQLite rounds in another way.
fn is_of_values(finding: &[u8]) -> bool {
    let text = String::from_utf8_lossy(finding);
    let begins = |words: &str| text.starts_with(words);
    begins("NULL value in ")
        || begins("NUMERIC value in ")
        || begins("TEXT value in ")
        || ["ANY", "BLOB", "INT", "INTEGER", "REAL", "TEXT"]
            .iter()
            .any(|kind| begins(&format!("non-{kind} value in ")))
        || begins("CHECK constraint failed in ")
        || begins("non-unique entry in index ")
        || (begins("index ") && text.contains(" stores an imprecise floating-point value for row "))
}

struct Checker<'c> {
    connection: &'c Connection,
    header: &'c SqliteHeader,
    full: bool,
    /// Questions so far.
    asked: Cell<u32>,
}

impl Checker<'_> {
    fn run(&self, found: &mut Found) -> rusqlite::Result<()> {
        let pages: u32 = self.connection.query_row("PRAGMA main.page_count", [], |row| row.get(0))?;
        if pages == 0 {
            let why = Some("SQLite sees no page of it".to_owned());
            return Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CANTOPEN), why));
        }
        let schema = Schema::read(self.connection)?;
        if schema.may_be_asked_whole() {
            match self.ask(self.full, None, found) {
                Err(trouble) if trouble.is_final() => return Err(trouble.error),
                Ok(Answer::Whole) => return if schema.has_no_root { self.rest(found) } else { Ok(()) },
                // Something needs what only the app has, or one table has very many odd values: see what is with the others.
                _ if found.damage.is_empty() => {}
                _ => return Ok(()),
            }
        }
        self.one_by_one(schema, found)
    }

    /// What SQLite leaves out if it comes upon a view or virtual table first: the free pages, and those that are lost.
    fn rest(&self, found: &mut Found) -> rusqlite::Result<()> {
        let is_walkable = found.damage.is_empty() && self.table(b"sqlite_schema", found)?;
        if is_walkable { self.walk(found) } else { Ok(()) }
    }

    fn walk(&self, found: &mut Found) -> rusqlite::Result<()> {
        // A walk trusts what is in the pages more than a check does.
        if found.damage.is_empty() {
            let wrong = pages::walk(self.connection, self.header)?;
            wrong.into_iter().for_each(|finding| found.damage(finding.as_bytes()));
        }
        Ok(())
    }

    /// What an error of SQLite says about the image.
    fn told(&self, e: &Error, stop: &Stop) -> Verdict {
        let text = clean_line(message(e).as_bytes());
        match e.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Verdict::NotChecked(stop.why().to_owned()),
            Some(ErrorCode::DatabaseCorrupt) if self.is_newer() && is_about_words(&text) => {
                self.told_of_newer(&text)
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Verdict::Failed(vec![text]),
            _ => Verdict::NotChecked(text),
        }
    }

    fn is_newer(&self) -> bool {
        i64::from(self.header.sqlite_version) > i64::from(rusqlite::version_number())
    }

    /// Looks at all that is described in words that this SQLite knows. The words that it does not know explain why it cannot
    /// read the rest, and nothing else that is wrong.
    fn told_of_newer(&self, text: &str) -> Verdict {
        let mut found = Found::default();
        let known = || -> rusqlite::Result<Schema> {
            // Only so does SQLite go on behind a description that it cannot read. Nothing can be written all the same.
            self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
            Schema::read(self.connection)
        };
        match known() {
            Ok(schema)
                if schema.odd_texts.iter().any(|name| text.contains(&format!("({})", clean_line(name)))) =>
            {
                found.damage(text.as_bytes());
            }
            Ok(schema) => {
                for name in std::iter::once(b"sqlite_schema".to_vec()).chain(schema.tables) {
                    if found.damage.len() >= MAX_FINDINGS || self.table(&name, &mut found).is_err() {
                        break;
                    }
                }
            }
            Err(_) => {}
        }
        if found.damage.is_empty() {
            // Its tables may be described in words that this SQLite has yet to learn.
            let why = format!("it was written by a newer SQLite than this program has: {text}");
            return Verdict::NotChecked(why);
        }
        Verdict::Failed(found.damage)
    }

    /// Each table with its indexes, then whether the pages of all together are those of the file.
    fn one_by_one(&self, schema: Schema, found: &mut Found) -> rusqlite::Result<()> {
        let mut is_walkable = schema.odd.is_empty();
        schema
            .odd
            .iter()
            .for_each(|name| found.left_out(format!("{}: its description is odd", clean_line(name))));
        for name in std::iter::once(b"sqlite_schema".to_vec()).chain(schema.tables) {
            is_walkable &= self.table(&name, found)?;
            if found.damage.len() >= MAX_FINDINGS {
                return Ok(());
            }
        }
        if is_walkable { self.walk(found) } else { Ok(()) }
    }

    /// Checks one table. False if its b-trees could not be looked at.
    fn table(&self, name: &[u8], found: &mut Found) -> rusqlite::Result<bool> {
        let shown = clean_line(name);
        let Ok(name) = std::str::from_utf8(name) else {
            found.left_out(format!("the table {shown}: its name is not UTF-8"));
            return Ok(false);
        };
        let mut answer = self.ask(self.full, Some(name), found);
        if let (true, Err(trouble)) = (self.full, &answer)
            && !trouble.is_final()
        {
            found.left_out(format!("the indexes of the table {shown}: {}", trouble.told()));
            answer = self.ask(false, Some(name), found);
        }
        match answer {
            Ok(Answer::Whole) => Ok(true),
            Ok(Answer::Broken) => {
                if found.damage.is_empty() {
                    found.left_out(format!(
                        "the table {shown} behind its first {MAX_ANSWERS} values that are odd"
                    ));
                }
                Ok(true)
            }
            Err(trouble) if trouble.is_final() => Err(trouble.error),
            Err(trouble) => {
                let part = if trouble.began { "values" } else { "pages" };
                found.left_out(format!("the {part} of the table {shown}: {}", trouble.told()));
                Ok(trouble.began)
            }
        }
    }

    /// Asks for a check of everything, or of one table.
    fn ask(&self, full: bool, table: Option<&str>, found: &mut Found) -> Result<Answer, Trouble> {
        let pragma = if full { "integrity_check" } else { "quick_check" };
        let what = table.map_or(MAX_ANSWERS.to_string(), |name| format!("\"{}\"", name.replace('"', "\"\"")));
        let sql = format!("PRAGMA main.{pragma}({what})");
        let mut stand_ins = BTreeSet::new();
        let answer = loop {
            let trouble = match self.answers(&sql, found) {
                Ok(answer) => break Ok(answer),
                Err(trouble) => trouble,
            };
            // An order decides whether an index is right, but a quick check compares no texts.
            let missing =
                trouble.missing().filter(|missing| !(full && matches!(missing, Missing::Collation(_))));
            let Some(missing) = missing.filter(|_| stand_ins.len() < MAX_STAND_INS) else {
                break Err(trouble);
            };
            match &missing {
                Missing::Collation(name) => {
                    self.connection.create_collation(name.as_str(), |a: &str, b: &str| a.cmp(b))
                }
                Missing::Function(name) => disarm(self.connection, name),
            }
            .map_err(Trouble::before)?;
            if !stand_ins.insert(missing) {
                break Err(trouble);
            }
        };
        for missing in &stand_ins {
            if let Missing::Collation(name) = missing {
                self.connection.remove_collation(name.as_str()).map_err(Trouble::before)?;
            }
        }
        answer
    }

    fn answers(&self, sql: &str, found: &mut Found) -> Result<Answer, Trouble> {
        self.asked.set(self.asked.get() + 1);
        let mut statement = self.connection.prepare(sql).map_err(Trouble::before)?;
        let mut rows = statement.query([]).map_err(Trouble::before)?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(|error| Trouble { error, began: true })? {
            match row.get_ref(0) {
                Ok(ValueRef::Text(b"ok")) => {}
                Ok(ValueRef::Text(text)) => found.finding(text),
                _ => found.damage(b"an answer that is no text"),
            }
            count += 1;
            if count == MAX_ANSWERS || found.damage.len() >= MAX_FINDINGS {
                return Ok(Answer::Broken);
            }
        }
        Ok(Answer::Whole)
    }
}

/// Limits first: what is read afterwards is hostile.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    for (limit, value) in LIMITS {
        connection.set_limit(limit, value)?;
    }
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    ] {
        connection.set_db_config(setting, on)?;
    }
    // Checks of values are the app's expressions, and say nothing of the file.
    let pragmas = "PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY; \
                   PRAGMA ignore_check_constraints = ON; PRAGMA query_only = ON; PRAGMA locking_mode = EXCLUSIVE;";
    connection.execute_batch(pragmas)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    disarm_functions(connection)
}

/// Some functions can be made to run for hours without a look at the clock, and columns may be computed by them.
fn disarm_functions(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT DISTINCT name FROM pragma_function_list")?;
    let names =
        statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    drop(statement);
    names.iter().try_for_each(|name| disarm(connection, name))
}

/// Lets a function fail, whatever its arguments, also one that is not there.
fn disarm(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    let why = format!("it needs the function {}", clean_line(name.as_bytes()));
    connection.create_scalar_function(name, -1, flags, move |_| -> rusqlite::Result<Null> {
        Err(Error::UserFunctionError(why.as_str().into()))
    })
}

/// How far an answer went.
enum Answer {
    /// All that was asked about was looked at.
    Whole,
    /// It ended early, with as many findings as SQLite tells, or as are told here.
    Broken,
}

/// A question that was not answered to its end.
struct Trouble {
    error: Error,
    /// True if it happened after the pages were looked at: they come first.
    began: bool,
}

/// What only the app has.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Missing {
    Collation(String),
    Function(String),
}

impl Trouble {
    fn before(error: Error) -> Self {
        Self { error, began: false }
    }

    /// True if no other question would be answered either.
    fn is_final(&self) -> bool {
        match self.error.sqlite_error_code() {
            Some(ErrorCode::Unknown | ErrorCode::TooBig) => false,
            // Said of a question that is too long, too.
            Some(ErrorCode::OutOfMemory) => self.began,
            _ => true,
        }
    }

    fn told(&self) -> String {
        clean_line(message(&self.error).as_bytes())
    }

    fn missing(&self) -> Option<Missing> {
        let text = message(&self.error);
        let collation = text.strip_prefix("no such collation sequence: ");
        let function = text.strip_prefix("unknown function: ").and_then(|rest| rest.strip_suffix("()"));
        let collation = collation.map(|name| Missing::Collation(name.to_owned()));
        collation.or(function.map(|name| Missing::Function(name.to_owned())))
    }
}
