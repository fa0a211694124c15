//! Databases whose own names end as those of sidecars do, and what lies beside them.

use super::*;
use rusqlite::Connection;

/// A database with a write-ahead log that an app keeps open, with something in its log that is not in the main file.
fn live(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE m(t); INSERT INTO m VALUES('x');",
    )
    .unwrap();
    db
}

/// A database that nobody has open.
fn closed(path: &Path) {
    Connection::open(path).unwrap().execute_batch("CREATE TABLE m(t); INSERT INTO m VALUES('x');").unwrap();
}

impl Bench {
    /// The names in the source folder of a snapshot.
    fn names(&self, summary: &BackupSummary) -> Vec<String> {
        let tree = self.node(summary, &self.path("")).unwrap().subtree.unwrap();
        let nodes = self.repo.read_tree(&tree, &Cancel::default()).unwrap();
        nodes.into_iter().map(|node| String::from_utf8(node.name).unwrap()).collect()
    }

    /// The messages in the stored image of a database, opened where nothing lies beside it.
    fn messages(&self, summary: &BackupSummary, name: &str) -> i64 {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        let node = self.node(summary, &self.path(name)).expect(name);
        fs::write(&copy, self.content(&node)).unwrap();
        let count = "SELECT count(*) FROM m";
        Connection::open(copy).unwrap().query_row(count, (), |row| row.get(0)).expect(name)
    }
}

/// What may lie under the shorter name.
enum Shorter {
    Nothing,
    Text,
    Closed,
    Live,
}

#[test]
fn a_live_database_with_the_name_of_a_sidecar_is_one_entry_whatever_the_shorter_name_is() {
    let cases = [
        (Shorter::Nothing, "x", "x-wal"),
        (Shorter::Text, "x", "x-wal"),
        (Shorter::Text, "x", "x-shm"),
        (Shorter::Text, "x", "x-journal"),
        (Shorter::Closed, "x", "x-wal"),
        (Shorter::Closed, "x", "x-shm"),
        (Shorter::Closed, "x", "x-journal"),
        (Shorter::Live, "x", "x-journal"),
        (Shorter::Text, "x-wal", "x-wal-wal"),
        (Shorter::Closed, "x-wal", "x-wal-shm"),
    ];
    for (shorter, first, second) in cases {
        let bench = Bench::new();
        let mut expected = vec![first, second];
        let mut open = None;
        match shorter {
            Shorter::Nothing => expected.truncate(0),
            Shorter::Text => bench.write(first, b"text"),
            Shorter::Closed => closed(&bench.path(first)),
            Shorter::Live => open = Some(live(&bench.path(first))),
        }
        if expected.is_empty() {
            expected.push(second);
        }
        let app = live(&bench.path(second));
        for sidecar in ["-wal", "-shm"] {
            assert!(bench.path(&format!("{second}{sidecar}")).metadata().unwrap().len() > 0, "{second}");
        }
        for messages in [1, 1, 2] {
            if messages == 2 {
                app.execute_batch("INSERT INTO m VALUES('y')").unwrap();
            }
            let summary = bench.take();
            assert_eq!(bench.names(&summary), expected, "{first} {second}");
            assert_eq!(bench.messages(&summary, second), messages, "{first} {second}");
            assert_eq!(summary.warnings, [], "{first} {second}");
        }
        let quiet = bench.take();
        let unmodified = quiet.statistics.files_unmodified;
        assert_eq!((unmodified, quiet.databases.len()), (expected.len() as u64, 0), "{first} {second}");
        drop(open);
    }
}

#[test]
fn a_chain_of_live_databases_each_named_as_a_sidecar_of_the_one_before_is_stored_link_by_link() {
    let bench = Bench::new();
    let names = ["x", "x-journal", "x-journal-journal", "x-journal-journal-journal"];
    let apps = names.map(|name| live(&bench.path(name)));
    for _ in 0..2 {
        let summary = bench.take();
        assert_eq!(bench.names(&summary), names);
        names.iter().for_each(|name| assert_eq!(bench.messages(&summary, name), 1, "{name}"));
    }
    drop(apps);
}

#[test]
fn what_lies_beside_the_sidecar_of_a_captured_database_is_an_entry() {
    let bench = Bench::new();
    let app = live(&bench.path("x"));
    bench.write("x-wal-journal", b"notes on the log");
    bench.write("x-shm-wal", b"more notes");
    for _ in 0..2 {
        let summary = bench.take();
        assert_eq!(bench.names(&summary), ["x", "x-shm-wal", "x-wal-journal"]);
    }
    drop(app);
}

#[test]
fn a_file_that_takes_the_name_of_a_sidecar_while_its_database_stays_as_it_was_is_not_lost() {
    let bench = Bench::new();
    closed(&bench.path("x"));
    // As an app leaves it that was killed.
    bench.write("x-shm", &[0; 32768]);
    assert_eq!(bench.names(&bench.take()), ["x"]);
    bench.write("x-shm", b"Dear diary, today");
    let summary = bench.take();
    assert_eq!(summary.databases, [], "the database itself was taken over");
    assert_eq!(bench.names(&summary), ["x", "x-shm"]);
    // And the other way round.
    bench.write("x-shm", &[0; 32768]);
    assert_eq!(bench.names(&bench.take()), ["x"]);
}

#[test]
fn a_sidecar_that_is_named_as_a_source_with_its_database_is_no_entry() {
    let bench = Bench::new();
    let app = live(&bench.path("x"));
    let other = live(&bench.path("x-journal"));
    bench.write("y", b"text");
    bench.write("y-wal", b"more text");
    // As a shell does with `*`.
    let all = fs::read_dir(bench.path("")).unwrap();
    let paths: Vec<_> = all.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(paths.len(), 8);
    let options = BackupOptions { paths, ..bench.options() };
    for _ in 0..2 {
        let summary = snapshot(&bench.repo, &options, &Silent).unwrap();
        assert_eq!(bench.names(&summary), ["x", "x-journal", "y", "y-wal"]);
        assert_eq!((bench.messages(&summary, "x"), bench.messages(&summary, "x-journal")), (1, 1));
    }
    drop((app, other));
}

#[test]
fn what_only_has_the_name_of_a_sidecar_of_a_source_is_not_stored_with_it() {
    let bench = Bench::new();
    closed(&bench.path("x"));
    let app = live(&bench.path("x-wal"));
    for raw_databases in [false, true] {
        let paths = vec![bench.path("x")];
        let options = BackupOptions { paths, raw_databases, ..bench.options() };
        let summary = snapshot(&bench.repo, &options, &Silent).unwrap();
        assert_eq!(bench.names(&summary), ["x"]);
        let database = bench.node(&summary, &bench.path("x")).unwrap().database.unwrap();
        assert_eq!((database.state, database.sidecars), (DatabaseState::Quiescent, Vec::new()));
    }
    drop(app);
}
