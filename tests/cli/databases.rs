//! Databases: captured while an app has them open, checked by SQLite, restored alone, compared by what they hold.

use crate::kit::{Ran, World, picture};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// An app that has a database open in WAL mode; all its messages are in the log only.
fn app(world: &World, messages: u32) -> Connection {
    fs::create_dir_all(world.path("live")).unwrap();
    let app = Connection::open(world.path("live/chat.db")).unwrap();
    app.execute_batch("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE m(key, words)")
        .unwrap();
    chat(&app, messages);
    app
}

fn chat(app: &Connection, messages: u32) {
    for _ in 0..messages {
        app.execute("INSERT INTO m VALUES(random(), hex(randomblob(200)))", ()).unwrap();
    }
}

fn messages(path: &Path) -> u32 {
    Connection::open(path).unwrap().query_row("SELECT count(*) FROM m", (), |row| row.get(0)).unwrap()
}

/// A closed database of a few hundred pages.
fn closed(world: &World, name: &str) {
    fs::create_dir_all(world.path("live")).unwrap();
    let db = Connection::open(world.path(name)).unwrap();
    db.execute_batch("CREATE TABLE m(key, words); CREATE INDEX by_key ON m(key); BEGIN").unwrap();
    chat(&db, 2000);
    db.execute_batch("COMMIT").unwrap();
}

/// Spoils a page that holds rows, so that SQLite notices; `seed` makes it another state.
fn spoil(world: &World, name: &str, seed: u8) {
    const PAGE: usize = 4096;
    let mut bytes = fs::read(world.path(name)).unwrap();
    let leaf = (10..).find(|page| bytes[page * PAGE] == 0x0d).unwrap() * PAGE;
    bytes[leaf + 8..leaf + 40].fill(0xff);
    bytes[leaf + 40] = seed;
    world.write(name, bytes);
}

fn snapshot(world: &World, more: &[&str]) -> Ran {
    world.repo(&[&["snapshot", "live"], more].concat())
}

/// The summary, and what it says of its only database.
fn summary(ran: &Ran) -> (Value, Value) {
    let summary = ran.json_lines().pop().unwrap();
    let databases = summary["databases"].as_array().unwrap();
    assert_eq!(databases.len(), 1, "{summary}");
    (summary.clone(), databases[0].clone())
}

/// Names in the last snapshot below `live`.
fn names(world: &World) -> Vec<String> {
    let place = format!("latest:{}", world.text("live"));
    let lines = world.repo(&["ls", "--json", &place]).succeeded().json_lines();
    let name = |line: &Value| Some(line["path"].as_str()?.rsplit_once('/')?.1.to_owned());
    lines.iter().filter_map(name).filter(|name| name != "live").collect()
}

fn restore(world: &World, more: &[&str]) -> Ran {
    let place = format!("latest:{}", world.text("live"));
    world.repo(&[&["restore", &place, "--target", "out"], more].concat())
}

#[test]
fn a_database_that_is_open_is_one_file_in_one_state_and_that_is_told() {
    let world = World::new();
    world.repo(&["init"]).succeeded();
    let app = app(&world, 20);
    let before = picture(&world.path("live"));
    let ran = snapshot(&world, &[]).succeeded();
    assert_eq!(picture(&world.path("live")), before, "no trace is left");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines.contains(&"Databases: 1 read, 1 sound by SQLite's check"), "{}", ran.stdout);
    let captured = format!("  {}: captured, ", world.text("live/chat.db"));
    let line = lines.iter().find(|line| line.starts_with(&captured)).unwrap();
    assert!(line.ends_with(" WAL frames merged"), "{line}");
    assert_eq!(names(&world), ["chat.db"]);
    chat(&app, 1);
    let ran = snapshot(&world, &["--json"]).succeeded();
    let (summary, database) = summary(&ran);
    assert_eq!((&summary["conditions"], &summary["exit_code"]), (&json!([]), &json!(0)));
    assert_eq!(summary["warnings"], json!([]));
    assert_eq!(database["path"], world.text("live/chat.db"));
    for (field, wanted) in [
        ("state", json!("captured")),
        ("integrity", json!("quick")),
        ("newly_damaged", json!(false)),
        ("rolled_back_pages", json!(0)),
    ] {
        assert_eq!(database[field], wanted, "{field}");
    }
    assert!(database["wal_frames"].as_u64().unwrap() > 20, "{database}");
    assert!(database["held"].as_f64().unwrap() < 60.0, "{database}");
    restore(&world, &[]).succeeded();
    assert_eq!(messages(&world.path("out/chat.db")), 21);
}

#[test]
fn as_much_is_checked_as_is_asked_for() {
    let world = World::new();
    world.repo(&["init"]).succeeded();
    closed(&world, "live/chat.db");
    for (how, said) in [("none", "not_checked"), ("quick", "quick"), ("full", "full"), ("quick", "full")] {
        let ran = snapshot(&world, &["--json", "--force", "--integrity", how]).succeeded();
        assert_eq!(summary(&ran).1["integrity"], said, "{how}");
    }
    snapshot(&world, &["--integrity", "some"]).ended_with(2);
    // An index that holds the values of another column: only a full check compares the two.
    let db = Connection::open(world.path("live/chat.db")).unwrap();
    db.execute_batch(
        "PRAGMA writable_schema=ON;
         UPDATE sqlite_schema SET sql = 'CREATE INDEX by_key ON m(words)' WHERE name = 'by_key'",
    )
    .unwrap();
    drop(db);
    for (how, code, said) in
        [("none", 0, "not_checked"), ("quick", 0, "quick"), ("full", 21, "failed"), ("full", 0, "failed")]
    {
        let ran = snapshot(&world, &["--json", "--force", "--integrity", how]).ended_with(code);
        assert_eq!(summary(&ran).1["integrity"], said, "{how}");
    }
}

#[test]
fn a_damaged_database_is_stored_and_ends_with_21_once_for_each_state() {
    let world = World::new();
    world.repo(&["init"]).succeeded();
    closed(&world, "live/chat.db");
    let sound = fs::read(world.path("live/chat.db")).unwrap();
    snapshot(&world, &["-q"]).succeeded();
    spoil(&world, "live/chat.db", 1);
    let ran = snapshot(&world, &["--json"]).ended_with(21);
    let (summary_of_first, database) = summary(&ran);
    assert_eq!(summary_of_first["conditions"], json!(["integrity_failed"]));
    assert_eq!(summary_of_first["exit_code"], 21);
    assert_eq!(summary_of_first["warnings"][0]["kind"], "integrity_failed");
    assert_eq!((&database["integrity"], &database["newly_damaged"]), (&json!("failed"), &json!(true)));
    let image = fs::read(world.path("live/chat.db")).unwrap();
    restore(&world, &[]).succeeded();
    assert!(fs::read(world.path("out/chat.db")).unwrap() == image, "it is stored as it is");
    // The same state: unread, and read again.
    snapshot(&world, &[]).succeeded();
    let ran = snapshot(&world, &["--json", "--force"]).succeeded();
    let (summary_of_same, database) = summary(&ran);
    assert_eq!(summary_of_same["conditions"], json!([]));
    assert_eq!((&database["integrity"], &database["newly_damaged"]), (&json!("failed"), &json!(false)));
    // Another state that is damaged, in words for people.
    spoil(&world, "live/chat.db", 2);
    let ran = snapshot(&world, &[]).ended_with(21);
    assert!(ran.stdout.contains("Databases: 1 read, 1 damaged by SQLite's check"), "{}", ran.stdout);
    let warning = format!("warning: {}: SQLite finds this database damaged", world.text("live/chat.db"));
    assert!(ran.stderr.contains(&warning), "{}", ran.stderr);
    world.write("live/chat.db", sound);
    snapshot(&world, &[]).succeeded();
}

#[test]
fn a_database_that_nobody_captured_is_as_it_lay_whatever_lies_beside_it() {
    let world = World::new();
    world.repo(&["init"]).succeeded();
    closed(&world, "live/chat.db");
    let (_, database) = summary(&snapshot(&world, &["--raw-databases", "--json"]).succeeded());
    assert_eq!(database["state"], "as_it_lay");
    let none = ["--integrity", "none", "--force", "--json"];
    let (_, database) = summary(&snapshot(&world, &none).succeeded());
    assert_eq!(
        (&database["state"], &database["not_checked_because"]),
        (&json!("quiescent"), &json!("not_wanted"))
    );
}

#[test]
fn a_damaged_log_is_listed_read_and_restored_beside_its_database_under_another_name() {
    let world = World::new();
    world.repo(&["init"]).succeeded();
    drop(app(&world, 3));
    fs::create_dir(world.path("aside")).unwrap();
    closed(&world, "aside/chat.db");
    let db = Connection::open(world.path("aside/chat.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode=WAL").unwrap();
    (0..40).for_each(|_| chat(&db, 5));
    fs::remove_dir_all(world.path("live")).unwrap();
    fs::create_dir(world.path("live")).unwrap();
    for name in ["chat.db", "chat.db-wal"] {
        fs::copy(world.path(&format!("aside/{name}")), world.path(&format!("live/{name}"))).unwrap();
    }
    let mut log = fs::read(world.path("live/chat.db-wal")).unwrap();
    let middle = log.len() / 2;
    log[middle] ^= 8;
    world.write("live/chat.db-wal", log.clone());
    for _ in 0..2 {
        let ran = snapshot(&world, &["--json"]).ended_with(21);
        let (summary, database) = summary(&ran);
        assert_eq!(summary["warnings"][0]["kind"], "log_damaged");
        assert_eq!(
            (&database["damaged_log"], &summary["conditions"]),
            (&json!(true), &json!(["integrity_failed"]))
        );
    }
    assert_eq!(names(&world), ["chat.db", "chat.db-wal.damaged"]);
    let text = world.repo(&["ls", "-l", &format!("latest:{}", world.text("live"))]).succeeded().stdout;
    assert!(text.contains("(a database whose write-ahead log is damaged)"), "{text}");
    restore(&world, &[]).succeeded();
    assert!(fs::read(world.path("out/chat.db-wal.damaged")).unwrap() == log);
    assert!(!world.path("out/chat.db-wal").exists(), "SQLite would take it for a log");
    let kept = messages(&world.path("out/chat.db"));
    assert!(kept > 2000 && kept < 2200, "{kept}");
    let place = format!("latest:{}", world.text("live/chat.db-wal.damaged"));
    let cat = ["-r", "repo", "--recovery-key-file", "key", "cat", &place];
    assert!(world.command(cat).output().unwrap().stdout == log);
    // A file that really has this name keeps it.
    world.write("live/chat.db-wal.damaged", "of before");
    snapshot(&world, &[]).ended_with(21);
    assert_eq!(names(&world), ["chat.db", "chat.db-wal.damaged", "chat.db-wal.damaged.damaged"]);
    assert_eq!(world.command(cat).output().unwrap().stdout, b"of before");
    // What it was is asked of nobody else: the snapshot and the live folder are compared without it.
    world.repo(&["diff", "latest"]).succeeded();
}

#[test]
fn raw_databases_are_stored_file_by_file() {
    let world = World::new();
    world.repo(&["init"]).succeeded();
    let _app = app(&world, 20);
    let (_, database) = summary(&snapshot(&world, &["--raw-databases", "--json"]).succeeded());
    assert_eq!(database["path"], world.text("live/chat.db"));
    assert_eq!((&database["state"], &database["integrity"]), (&json!("as_it_lay"), &json!("not_checked")));
    assert_eq!(database["not_checked_because"], "not_captured");
    assert_eq!(names(&world), ["chat.db", "chat.db-shm", "chat.db-wal"]);
    restore(&world, &[]).succeeded();
    for name in ["chat.db", "chat.db-wal"] {
        let files = ["live", "out"].map(|folder| fs::read(world.path(&format!("{folder}/{name}"))).unwrap());
        assert!(files[0] == files[1], "{name}");
    }
    assert_eq!(messages(&world.path("out/chat.db")), 20, "the two fit together, as nobody wrote");
    // Without the option it is captured, though nothing has changed since.
    let (_, database) = summary(&snapshot(&world, &["--json"]).succeeded());
    assert_eq!(database["state"], "captured");
    assert_eq!(names(&world), ["chat.db"]);
}

#[test]
fn a_restored_database_has_its_own_state_whatever_logs_lie_there() {
    let world = World::new();
    world.repo(&["init"]).succeeded();
    let app = app(&world, 20);
    snapshot(&world, &["-q"]).succeeded();
    // Later messages, in a log beside nothing and beside the database.
    chat(&app, 30);
    for (with_main, folder) in [(false, "out"), (true, "other")] {
        fs::create_dir(world.path(folder)).unwrap();
        for suffix in ["", "-wal", "-shm"].iter().filter(|suffix| with_main || !suffix.is_empty()) {
            let name = format!("chat.db{suffix}");
            fs::copy(world.path(&format!("live/{name}")), world.path(&format!("{folder}/{name}"))).unwrap();
        }
    }
    let to = |target: &str, more: &[&str]| {
        let place = format!("latest:{}", world.text("live"));
        world.repo(&[&["restore", &place, "--target", target], more].concat())
    };
    // Left there, the log would bring its own messages into the restored database.
    to("mixed", &[]).succeeded();
    fs::copy(world.path("live/chat.db-wal"), world.path("mixed/chat.db-wal")).unwrap();
    assert_eq!(messages(&world.path("mixed/chat.db")), 50);
    let stale = fs::read(world.path("live/chat.db-wal")).unwrap();
    let is_aside = |target: &str, ran: &Ran| {
        let wal = world.path(&format!("{target}/chat.db-wal.before-restore"));
        assert!(fs::read(wal).unwrap() == stale, "the log is kept");
        assert!(ran.stderr.contains("chat.db-wal.before-restore"), "{}", ran.stderr);
        let beside = ["-wal", "-shm"].map(|suffix| world.path(&format!("{target}/chat.db{suffix}")).exists());
        assert_eq!(beside, [false; 2]);
        assert_eq!(messages(&world.path(&format!("{target}/chat.db"))), 20);
    };
    to("out", &[]).failed_with(1, &["chat.db-wal", "would be taken for part of the restored database"]);
    is_aside("out", &to("out", &["--overwrite", "if-changed"]).succeeded());
    // A database that an app may still need is another matter.
    to("other", &["--overwrite", "if-changed"]).failed_with(1, &["chat.db-wal", "--force"]);
    assert!(world.path("other/chat.db-wal").exists());
    is_aside("other", &to("other", &["--overwrite", "if-changed", "--force"]).succeeded());
}

#[test]
fn verify_asks_sqlite_and_tells_what_is_sound_and_what_is_not() {
    let world = World::new();
    world.repo(&["init"]).succeeded();
    closed(&world, "live/bad.db");
    closed(&world, "live/good.db");
    spoil(&world, "live/bad.db", 1);
    snapshot(&world, &["-q"]).ended_with(21);
    // As nobody asks, all is well: it is as it was stored.
    restore(&world, &[]).succeeded();
    let more = ["--verify", "--overwrite", "if-changed"];
    let ran = restore(&world, &[&more[..], &["--json"]].concat()).ended_with(21);
    let summary = ran.json_lines().pop().unwrap();
    assert_eq!((&summary["unsound_databases"], &summary["sound_databases"]), (&json!(1), &json!(1)));
    assert_eq!((&summary["differing"], &summary["conditions"]), (&json!(0), &json!(["integrity_failed"])));
    let ran = restore(&world, &more).ended_with(21);
    for words in ["1 database passed the integrity check", "Unsound: 1 entry"] {
        assert!(ran.stdout.contains(words), "`{words}` is not in:\n{}", ran.stdout);
    }
    assert!(ran.stderr.contains("bad.db"), "{}", ran.stderr);
}

#[test]
fn a_database_that_cannot_be_checked_is_verified_with_a_warning() {
    let world = World::new();
    world.repo(&["init"]).succeeded();
    closed(&world, "live/chat.db");
    snapshot(&world, &["-q"]).succeeded();
    let place = format!("latest:{}", world.text("live"));
    // The folder for the copy, if there is no cache.
    let nowhere = world.text("nowhere");
    let restore = |more: &[&str]| {
        let opened = ["-r", "repo", "--recovery-key-file", "key", "--no-cache", "restore", &place];
        let wanted = ["--target", "out", "--verify", "--overwrite", "if-changed"];
        world.run_with(&[("TMPDIR", &nowhere)], &[&opened[..], &wanted, more].concat())
    };
    let ran = restore(&[]).succeeded();
    assert!(ran.stdout.contains("Unchecked: 1 entry"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Verified: 1 file matches the snapshot"), "{}", ran.stdout);
    let summary = restore(&["--json"]).succeeded().json_lines().pop().unwrap();
    let counts =
        ["unchecked_databases", "verified", "differing", "sound_databases"].map(|name| &summary[name]);
    assert_eq!(counts, [1, 1, 0, 0]);
    assert_eq!(summary["conditions"], json!([]));
    assert_eq!(summary["warnings"][0]["kind"], "integrity_not_checked");
}

#[test]
fn odd_values_and_what_a_check_left_out_are_told_and_end_well() {
    let world = World::new();
    world.repo(&["init"]).succeeded();
    closed(&world, "live/chat.db");
    let db = Connection::open(world.path("live/chat.db")).unwrap();
    db.execute_batch(
        "CREATE TABLE odd(t TEXT); INSERT INTO odd VALUES(NULL);
         CREATE TABLE sum(a, b INT NOT NULL AS (abs(a))); INSERT INTO sum VALUES(1); PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(replace(sql, 't TEXT', 't TEXT NOT NULL'), 'abs', 'their_own')",
    )
    .unwrap();
    drop(db);
    let kinds = |summary: &Value| {
        let warnings = summary["warnings"].as_array().unwrap().clone();
        warnings.iter().map(|warning| warning["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (taken, database) = summary(&snapshot(&world, &["--json"]).succeeded());
    assert_eq!(kinds(&taken), ["integrity_incomplete", "odd_values"]);
    assert_eq!((&database["integrity"], &database["newly_damaged"]), (&json!("quick"), &json!(false)));
    let ran = restore(&world, &["--verify", "--json"]).succeeded();
    let restored = ran.json_lines().pop().unwrap();
    assert_eq!(kinds(&restored), ["integrity_incomplete", "odd_values"]);
    assert_eq!(restored["sound_databases"], 1);
}

#[test]
fn a_live_database_differs_when_its_committed_state_does() {
    let world = World::new();
    world.repo(&["init"]).succeeded();
    let app = app(&world, 20);
    snapshot(&world, &["-q"]).succeeded();
    let size = |name: &str| fs::metadata(world.path(name)).unwrap().len();
    let main = size("live/chat.db");
    assert!(size("live/chat.db-wal") > 0);
    let diff = || world.repo(&["diff", "latest"]).succeeded().stdout;
    assert!(diff().ends_with("\n\nNo differences.\n"), "{}", diff());
    // A change that its app has not committed is none.
    app.execute_batch("BEGIN").unwrap();
    chat(&app, 1);
    assert!(diff().ends_with("\n\nNo differences.\n"), "{}", diff());
    app.execute_batch("COMMIT").unwrap();
    assert_eq!(size("live/chat.db"), main, "the main file is as it was");
    let changes = world.repo(&["diff", "--json", "latest"]).succeeded().json_lines();
    let changes: Vec<_> = changes.iter().filter(|line| line["message_type"] == "change").collect();
    assert!(
        changes
            .iter()
            .all(|line| line["path"] == world.text("live/chat.db") || line["path"] == world.text("live")),
        "what lies beside it is no entry of its own: {changes:?}"
    );
    let of_database = changes.iter().find(|line| line["path"] == world.text("live/chat.db")).unwrap();
    assert_eq!(of_database["modifier"], "M");
    // The log goes into the main file: the bytes on the disk change, the state does not.
    snapshot(&world, &["-q"]).succeeded();
    app.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).unwrap();
    assert!(size("live/chat.db") > main && size("live/chat.db-wal") == 0);
    assert!(diff().ends_with("\n\nNo differences.\n"), "{}", diff());
}
