//! Databases with several names, of which only the one that the app uses has the log beside it.

use super::*;
use rusqlite::Connection;

fn live(path: &Path) -> Connection {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE m(t); INSERT INTO m VALUES('x');",
    )
    .unwrap();
    db
}

fn say(db: &Connection) {
    db.execute_batch("INSERT INTO m VALUES('y')").unwrap();
}

impl Bench {
    /// The messages in the stored image of a database.
    fn said(&self, summary: &BackupSummary, name: &str) -> i64 {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        let node = self.node(summary, &self.path(name)).expect(name);
        fs::write(&copy, self.content(&node)).unwrap();
        let count = "SELECT count(*) FROM m";
        Connection::open(copy).unwrap().query_row(count, (), |row| row.get(0)).expect(name)
    }
}

#[test]
fn each_name_of_a_live_database_is_stored_with_what_is_in_the_log_beside_one_of_them() {
    for others in [&["a/other"][..], &["z/other"], &["a/other", "app/chat.db.old", "z/other"]] {
        let bench = Bench::new();
        let app = live(&bench.path("app/chat.db"));
        for other in others {
            fs::create_dir_all(bench.path(other).parent().unwrap()).unwrap();
            fs::hard_link(bench.path("app/chat.db"), bench.path(other)).unwrap();
        }
        let main = || fs::read(bench.path("app/chat.db")).unwrap();
        let before = main();
        for messages in 1..=3 {
            let summary = bench.take();
            assert!(main() == before, "it is all in the log, or this shows nothing");
            assert_eq!(summary.warnings, []);
            for name in others.iter().chain(&["app/chat.db"]) {
                assert_eq!(bench.said(&summary, name), messages, "{name} of {others:?}");
                let node = bench.node(&summary, &bench.path(name)).unwrap();
                assert_eq!(node.database.unwrap().state, DatabaseState::Captured);
            }
            let node = |name| bench.node(&summary, &bench.path(name)).unwrap();
            let (first, other) = (node("app/chat.db"), node(others[0]));
            assert_eq!((first.hard_link, first.content), (other.hard_link, other.content));
            assert_eq!(other.database.unwrap().sidecars, Vec::<Vec<u8>>::new());
            say(&app);
        }
        app.close().unwrap();
        let summary = bench.take();
        others.iter().for_each(|name| assert_eq!(bench.said(&summary, name), 4, "{name} of {others:?}"));
        let quiet = bench.take();
        assert_eq!(quiet.databases, [], "all names were taken over");
        assert_eq!(quiet.statistics.files_unmodified, others.len() as u64 + 1);
    }
}

#[test]
fn a_name_that_was_stored_while_the_app_was_closed_is_not_taken_over_when_it_has_a_log_again() {
    let bench = Bench::new();
    live(&bench.path("app/chat.db")).close().unwrap();
    fs::create_dir_all(bench.path("a")).unwrap();
    fs::hard_link(bench.path("app/chat.db"), bench.path("a/other")).unwrap();
    bench.write("notes", b"x");
    bench.take();
    let before = fs::metadata(bench.path("a/other")).unwrap().modified().unwrap();
    let app = Connection::open(bench.path("app/chat.db")).unwrap();
    say(&app);
    assert_eq!(fs::metadata(bench.path("a/other")).unwrap().modified().unwrap(), before);
    let summary = bench.take();
    assert_eq!((bench.said(&summary, "a/other"), bench.said(&summary, "app/chat.db")), (2, 2));
    drop(app);
}

#[test]
fn a_cut_off_transaction_is_rolled_back_under_each_name() {
    let bench = Bench::new();
    let path = bench.path("app/chat.db");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE m(t); INSERT INTO m VALUES('x'); PRAGMA cache_size=1;").unwrap();
    db.execute_batch(
        "BEGIN; WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 900)
         INSERT INTO m SELECT hex(randomblob(60)) FROM r;",
    )
    .unwrap();
    // As the app leaves it that is killed now.
    let (main, journal) = (fs::read(&path).unwrap(), fs::read(bench.path("app/chat.db-journal")).unwrap());
    drop(db);
    fs::write(&path, main).unwrap();
    fs::write(bench.path("app/chat.db-journal"), journal).unwrap();
    fs::hard_link(&path, bench.path("other.db")).unwrap();
    let summary = bench.take();
    assert!(summary.databases.iter().all(|report| report.rolled_back > 0), "{:?}", summary.databases);
    assert_eq!((bench.said(&summary, "other.db"), bench.said(&summary, "app/chat.db")), (1, 1));
}

#[test]
fn files_with_several_names_that_are_no_databases_or_have_no_log_are_taken_over() {
    let bench = Bench::new();
    bench.write("a/photo", b"x");
    Connection::open(bench.path("a/chat.db")).unwrap().execute_batch("CREATE TABLE m(t)").unwrap();
    for name in ["photo", "chat.db"] {
        fs::hard_link(bench.path("a").join(name), bench.path(name)).unwrap();
    }
    let first = bench.take();
    assert_eq!((first.statistics.files_new, first.databases.len()), (4, 2));
    let second = bench.take();
    assert_eq!((second.statistics.files_unmodified, second.databases.len()), (4, 0));
    assert_eq!(second.tree, first.tree);
    let forced = snapshot(&bench.repo, &BackupOptions { force: true, ..bench.options() }, &Silent).unwrap();
    assert_eq!((forced.databases.len(), forced.tree), (2, first.tree));
}
