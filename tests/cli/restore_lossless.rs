//! `restore` and what is only here: nothing that is in no snapshot goes unless somebody says so.

use crate::kit::{Ran, World, picture};
use std::fs;

/// A snapshot of `live`, and since then a photo that nothing else holds.
fn with_a_new_photo() -> World {
    let world = World::with_snapshot();
    world.write("live/sub/new.jpg", "the only photo");
    world
}

fn back(world: &World, more: &[&str]) -> Ran {
    let place = format!("latest:{}", world.text("live"));
    world
        .repo(&[&["restore", &place, "--target", "live", "--overwrite", "always", "--delete"], more].concat())
}

#[test]
fn deleting_what_is_in_no_snapshot_is_refused_as_a_whole_and_each_is_named() {
    let world = with_a_new_photo();
    world.write("live/sub/second.jpg", "another one");
    world.write("live/a.txt", "changed\n");
    let before = picture(&world.path("live"));
    let names = ["live/sub/new.jpg", "live/sub/second.jpg"].map(|name| world.text(name));
    let hint = "key snapshot live`";
    back(&world, &[]).failed_with(20, &[&names[0], &names[1], hint, "--discard"]);
    assert!(picture(&world.path("live")) == before);
    let ran = back(&world, &["--json", "--dry-run", "--no-progress"]).ended_with(20);
    let lines = ran.json_lines();
    let (summary, actions) = lines.split_last().unwrap();
    assert_eq!(summary["conditions"], serde_json::json!(["only_here"]), "{summary}");
    let gone: Vec<_> = actions.iter().filter(|line| line["action"] == "delete").collect();
    assert_eq!(gone.len(), 2);
    for (line, name) in gone.iter().zip(&names) {
        assert_eq!((&line["target_path"], &line["only_here"]), (&name.as_str().into(), &true.into()));
    }
    // Who says so loses them, and is told which.
    let summary =
        back(&world, &["--json", "--no-progress", "--discard"]).succeeded().json_lines().pop().unwrap();
    assert_eq!((&summary["deleted"], &summary["discarded"]), (&2.into(), &3.into()), "{summary}");
    let told = summary["warnings"].as_array().unwrap();
    assert!(told.iter().all(|warning| warning["kind"] == "only_here"), "{summary}");
    assert_eq!(told.len(), 3);
    assert!(!world.path("live/sub/new.jpg").exists());
}

#[test]
fn after_a_snapshot_the_same_files_are_kept_elsewhere_and_may_go() {
    let world = with_a_new_photo();
    let first = world.ids()[0].clone();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let place = format!("{first}:{}", world.text("live"));
    let restore = ["restore", "--json", &place, "--target", "live", "--overwrite", "if-changed", "--delete"];
    let summary = world.repo(&restore).succeeded().json_lines().pop().unwrap();
    assert_eq!((&summary["deleted"], &summary["discarded"]), (&1.into(), &0.into()), "{summary}");
    assert!(!world.path("live/sub/new.jpg").exists());
    // A file that was edited since, of the same length, is not what was stored.
    world
        .repo(&[
            "restore",
            &format!("latest:{}", world.text("live")),
            "--target",
            "live",
            "--overwrite",
            "always",
        ])
        .succeeded();
    world.write("live/sub/new.jpg", "the 0nly photo");
    let ran = world.repo(&restore).ended_with(20);
    assert!(ran.stderr.contains("live/sub/new.jpg"), "{}", ran.stderr);
}

#[test]
fn a_database_counts_with_what_is_in_its_log() {
    let world = World::with_repository();
    let open = || rusqlite::Connection::open(world.path("live/new.db")).unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let first = world.ids()[0].clone();
    let app = open();
    app.pragma_update(None, "journal_mode", "wal").unwrap();
    app.execute_batch("create table m (t); insert into m values ('old');").unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let place = format!("{first}:{}", world.text("live"));
    let restore = [
        "restore",
        &place,
        "--target",
        "live",
        "--overwrite",
        "if-changed",
        "--delete",
        "--force",
        "--dry-run",
    ];
    // All that is in the log is stored: neither the database nor what lies beside it is only here.
    let ran = world.repo(&restore).succeeded();
    for name in ["new.db", "new.db-wal", "new.db-shm"] {
        assert!(
            ran.stdout.contains(&format!("delete     {}\n", world.text(&format!("live/{name}")))),
            "{}",
            ran.stdout
        );
    }
    // A message more, which is in the log alone.
    app.execute_batch("insert into m values ('new');").unwrap();
    let ran = world.repo(&restore).ended_with(20);
    for name in ["new.db", "new.db-wal"] {
        let line = format!("{} (in no snapshot)\n", world.text(&format!("live/{name}")));
        assert!(ran.stdout.contains(&line), "{}", ran.stdout);
    }
    drop(app);
}

#[test]
fn delete_wants_a_rule_and_a_folder_that_holds_something_of_the_snapshot() {
    let world = World::with_snapshot();
    world.write("wrong/precious.txt", "precious");
    let place = format!("latest:{}", world.text("live"));
    let restore =
        |more: &[&str]| world.repo(&[&["restore", &place, "--target", "wrong", "--delete"], more].concat());
    restore(&[]).failed_with(2, &["--overwrite"]);
    restore(&["--overwrite", "never"]).failed_with(2, &["--overwrite"]);
    restore(&["--overwrite", "always"]).failed_with(2, &["holds nothing of the snapshot"]);
    restore(&["--overwrite", "always", "--discard"]).failed_with(2, &["holds nothing of the snapshot"]);
    let ran = restore(&["--overwrite", "always", "--discard", "--dry-run"]).ended_with(2);
    assert!(
        ran.stdout.contains(&format!("delete     {}", world.text("wrong/precious.txt"))),
        "{}",
        ran.stdout
    );
    assert_eq!(world.read("wrong/precious.txt"), "precious");
    assert_eq!(fs::read_dir(world.path("wrong")).unwrap().count(), 1);
    // An empty folder, or one that holds something of it.
    fs::create_dir(world.path("empty")).unwrap();
    world.repo(&["restore", &place, "--target", "empty", "--overwrite", "always", "--delete"]).succeeded();
    world.write("wrong/a.txt", "an older one");
    restore(&["--overwrite", "always", "--discard"]).succeeded();
    assert!(!world.path("wrong/precious.txt").exists());
}

#[test]
fn the_log_of_a_database_that_stays_is_not_deleted() {
    let world = World::with_repository();
    let app = rusqlite::Connection::open(world.path("live/chats.db")).unwrap();
    app.execute_batch("create table m (t); insert into m values ('old');").unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    app.pragma_update(None, "journal_mode", "wal").unwrap();
    app.execute_batch("insert into m values ('newer');").unwrap();
    let place = format!("latest:{}", world.text("live"));
    let restore = ["restore", &place, "--target", "live", "--overwrite", "if-newer", "--delete", "--force"];
    world.repo(&restore).succeeded();
    assert!(world.path("live/chats.db-wal").exists());
    drop(app);
    let count: i64 = rusqlite::Connection::open(world.path("live/chats.db"))
        .unwrap()
        .query_row("select count(*) from m", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 2);
}

#[test]
fn what_is_only_in_another_folder_may_go_once_that_folder_is_stored() {
    let world = World::with_snapshot();
    let place = format!("latest:{}", world.text("live"));
    let first = world.ids()[0].clone();
    world.repo(&["restore", &place, "--target", "out"]).succeeded();
    world.write("out/note.txt", "mine\n");
    let place = format!("{first}:{}", world.text("live"));
    let restore = ["restore", &place, "--target", "out", "--overwrite", "if-changed", "--delete"];
    let ran = world.repo(&restore).failed_with(20, &["out/note.txt", " snapshot out`"]);
    // The command of the hint.
    assert!(ran.stderr.contains("chatvault -r repo"), "{}", ran.stderr);
    world.repo(&["snapshot", "-q", "out"]).succeeded();
    world.repo(&restore).succeeded();
    assert!(!world.path("out/note.txt").exists());
}
