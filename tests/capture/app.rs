//! An app that does what it is told: one line, one answer.

use rusqlite::{Connection, Row};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

pub const ROLE: &str = "--play-app";

/// A line that makes the app close its connection, and one that makes it open one.
const CLOSE: &str = ".close";
const OPEN: &str = ".open";
/// A line that lets no file of the app grow, or be written, beyond so many bytes.
const LIMIT: &str = ".limit ";

/// The app's side.
pub fn play(path: &str) -> ExitCode {
    let mut db = Some(Connection::open(path).unwrap());
    let mut out = std::io::stdout();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let answer = match line.as_str() {
            CLOSE => db.take().map_or(Ok(()), Connection::close).map(|()| String::new()).map_err(|(_, e)| e),
            OPEN => Connection::open(path).map(|opened| {
                db = Some(opened);
                String::new()
            }),
            line if line.starts_with(LIMIT) => {
                let mut limit = getrlimit(Resource::Fsize);
                limit.current = line[LIMIT.len()..].parse().ok();
                setrlimit(Resource::Fsize, limit).unwrap();
                Ok(String::new())
            }
            sql => ask(db.as_ref().unwrap(), sql),
        };
        let answer = answer.map_or_else(|e| format!("error: {e}"), |text| format!("ok {text}"));
        writeln!(out, "{}", answer.trim_end().replace('\n', " ")).unwrap();
        out.flush().unwrap();
    }
    ExitCode::SUCCESS
}

/// Runs statements; the first row of the last one, its fields with bars between.
fn ask(db: &Connection, sql: &str) -> rusqlite::Result<String> {
    let (before, last) = sql.rsplit_once(';').unwrap_or(("", sql));
    db.execute_batch(before)?;
    let mut statement = db.prepare(last)?;
    let columns = statement.column_count();
    let text = |row: &Row<'_>| -> rusqlite::Result<String> {
        let field = |at| {
            row.get::<_, rusqlite::types::Value>(at).map(|value| match value {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                other => format!("{other:?}"),
            })
        };
        Ok((0..columns).map(field).collect::<rusqlite::Result<Vec<_>>>()?.join("|"))
    };
    let mut rows = statement.query([])?;
    let first = rows.next()?.map(text).transpose()?;
    while rows.next()?.is_some() {}
    Ok(first.unwrap_or_default())
}

/// The tests' side: a process that has a database open.
#[derive(Debug)]
pub struct App {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// The main file.
    pub path: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl App {
    /// In a folder of its own, with this said first.
    pub fn with(pragmas: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut app = Self::made(&folder.path().join("chat.db"), pragmas);
        app._folder = Some(folder);
        app
    }

    /// Of a new database, with this said first.
    pub fn made(path: &Path, pragmas: &str) -> Self {
        let mut app = Self::on(path);
        app.say(pragmas);
        app.say(
            "CREATE TABLE message(id INTEGER PRIMARY KEY, text); CREATE INDEX by_text ON message(text);
             CREATE TABLE s(n, seq); INSERT INTO s VALUES(0, 0)",
        );
        app
    }

    pub fn on(path: &Path) -> Self {
        // What exceeds a limit is then an error, and not the end.
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .arg(ROLE)
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { input: child.stdin.take(), output, child, path: path.to_owned(), _folder: None }
    }

    /// Sends a line and does not wait for the answer.
    pub fn begin(&mut self, sql: &str) {
        writeln!(self.input.as_mut().unwrap(), "{}", sql.replace('\n', " ")).unwrap();
    }

    /// Waits for the answer.
    pub fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        match line.trim_end().strip_prefix("ok") {
            Some(text) => Ok(text.trim_start().to_owned()),
            None => Err(line.trim_end().to_owned()),
        }
    }

    pub fn try_say(&mut self, sql: &str) -> Result<String, String> {
        self.begin(sql);
        self.answer()
    }

    pub fn say(&mut self, sql: &str) -> String {
        self.try_say(sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// Adds twenty rows in one transaction.
    pub fn commit(&mut self) {
        self.say(COMMIT);
    }

    /// Lets no file grow, or be written, beyond so many bytes; or takes the limit away.
    pub fn limit(&mut self, bytes: Option<u64>) {
        self.say(&format!("{LIMIT}{}", bytes.map_or("none".to_owned(), |bytes| bytes.to_string())));
    }

    pub fn close(&mut self) {
        self.say(CLOSE);
    }

    pub fn open(&mut self) -> Result<String, String> {
        self.try_say(OPEN)
    }

    /// The next process, in the place of one that has ended.
    pub fn again(mut self) -> Self {
        let folder = self._folder.take();
        let mut next = Self::on(&self.path);
        next._folder = folder;
        next
    }

    /// Ends the process in the middle of what it does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Twenty rows and the counters, as one transaction.
pub const COMMIT: &str = "BEGIN IMMEDIATE;
    WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 20)
    INSERT INTO message(text) SELECT hex(randomblob(60)) FROM r;
    UPDATE s SET n = n + 20, seq = seq + 1; COMMIT";
