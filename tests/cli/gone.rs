//! What was in the snapshot before and is no more: counted, named, and told also when quiet if it is a database.

use crate::kit::World;
use serde_json::Value;
use std::fs;

/// A database of some 200 KiB.
fn database(world: &World, name: &str) {
    fs::create_dir_all(world.path(name).parent().unwrap()).unwrap();
    let database = rusqlite::Connection::open(world.path(name)).unwrap();
    database
        .execute_batch(
            "create table m (t); insert into m values (randomblob(200000)); insert into m values ('x');",
        )
        .unwrap();
}

/// A world with chats, of which one snapshot was taken.
fn world() -> World {
    let world = World::with_repository();
    database(&world, "live/Databases/msgstore.db");
    world.write("live/Media/big.jpg", [1; 90_000]);
    world.write("live/Media/small.jpg", [2; 10_000]);
    world.repo(&["snapshot", "live"]).succeeded();
    world
}

fn summary(world: &World, arguments: &[&str]) -> Value {
    let all: Vec<&str> = ["snapshot", "--json"].iter().chain(arguments).copied().collect();
    world.repo(&all).json_lines().pop().unwrap()
}

#[test]
fn files_and_databases_that_are_gone_are_counted_and_named_and_told_once() {
    let world = world();
    let size = fs::metadata(world.path("live/Databases/msgstore.db")).unwrap().len();
    fs::remove_file(world.path("live/Databases/msgstore.db")).unwrap();
    fs::remove_dir_all(world.path("live/Media")).unwrap();
    let dry = world.repo(&["snapshot", "--dry-run", "live"]).succeeded();
    assert!(
        dry.stdout.contains(&format!("gone      {}", world.text("live/Media/small.jpg"))),
        "{}",
        dry.stdout
    );
    assert!(dry.stdout.contains("Gone:   3 files"), "{}", dry.stdout);
    let ran = world.repo(&["snapshot", "live"]).succeeded();
    let line = ran.stdout.lines().find(|line| line.starts_with("Gone:")).unwrap();
    let names = ["live/Databases/msgstore.db", "live/Media/big.jpg", "live/Media/small.jpg"];
    let names = names.map(|name| world.text(name)).join(", ");
    assert!(line.starts_with("Gone:   3 files (") && line.ends_with(&names), "{line}");
    assert!(ran.stderr.contains("msgstore.db: This database ("), "{}", ran.stderr);
    let again = world.repo(&["snapshot", "live"]).succeeded();
    assert!(!again.stdout.contains("Gone:") && again.stderr.is_empty(), "{}{}", again.stdout, again.stderr);
    assert!(size > 200_000);
}

#[test]
fn a_cold_cache_finds_the_same_gone_and_json_has_the_numbers() {
    let world = world();
    let size = fs::metadata(world.path("live/Databases/msgstore.db")).unwrap().len();
    fs::remove_dir_all(world.path("live/Databases")).unwrap();
    fs::remove_file(world.path("live/Media/small.jpg")).unwrap();
    for arguments in [&["--dry-run", "live"][..], &["--no-cache", "live"]] {
        let line = summary(&world, arguments);
        assert_eq!((&line["files_removed"], &line["bytes_removed"]), (&2.into(), &(size + 10_000).into()));
        assert_eq!((&line["databases_removed"], &line["removed_complete"]), (&1.into(), &true.into()));
        let first = &line["removed"][0];
        assert_eq!(first["path"], world.text("live/Databases/msgstore.db"));
        assert_eq!((&first["database"], &first["size"]), (&true.into(), &size.into()));
        assert_eq!(line["warnings"][0]["kind"], "database_gone");
        assert_eq!(line["exit_code"], 0);
    }
}

#[test]
fn quiet_tells_of_a_database_that_is_gone_or_shrank_and_of_no_other_file() {
    let world = world();
    fs::remove_file(world.path("live/Media/big.jpg")).unwrap();
    let ran = world.repo(&["-q", "snapshot", "live"]).succeeded();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let open = rusqlite::Connection::open(world.path("live/Databases/msgstore.db")).unwrap();
    open.execute_batch("delete from m where length(t) > 9; vacuum;").unwrap();
    drop(open);
    let ran = world.repo(&["-q", "snapshot", "live"]).succeeded();
    assert!(ran.stderr.contains("msgstore.db: This database shrank from "), "{}", ran.stderr);
    fs::write(world.path("live/Databases/msgstore.db"), "").unwrap();
    let ran = world.repo(&["-q", "snapshot", "live"]).succeeded();
    assert!(ran.stderr.contains("msgstore.db: This database shrank from "), "{}", ran.stderr);
    let ran = world.repo(&["-q", "snapshot", "live"]).succeeded();
    assert_eq!(ran.stderr, "");
}

#[test]
fn what_moved_is_gone_at_its_path_and_its_new_path_is_named() {
    let world = world();
    fs::rename(world.path("live/Databases"), world.path("live/Backup")).unwrap();
    let ran = world.repo(&["snapshot", "live"]).succeeded();
    let (from, to) = (world.text("live/Databases/msgstore.db"), world.text("live/Backup/msgstore.db"));
    assert!(ran.stdout.contains("1 file ("), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("{from} (now {to})")), "{}", ran.stdout);
    assert_eq!(ran.stderr, "", "the database is not lost");
}

#[test]
fn what_is_excluded_is_not_gone() {
    let world = world();
    world.write("live/Media/.nobackup", "");
    for arguments in [
        &["--dry-run", "--exclude", "Media", "--exclude", "*.db", "live"][..],
        &["--dry-run", "--exclude-larger-than", "1K", "live"],
        &["--dry-run", "--exclude-if-present", ".nobackup", "--exclude", "msgstore.db", "live"],
    ] {
        let line = summary(&world, arguments);
        assert_eq!((&line["files_removed"], &line["exit_code"]), (&0.into(), &0.into()), "{arguments:?}");
    }
    // What lies beside a database comes and goes with its use.
    world.write("live/Databases/msgstore.db-journal", "no journal");
    world.repo(&["snapshot", "-q", "--raw-databases", "live"]).succeeded();
    fs::remove_file(world.path("live/Databases/msgstore.db-journal")).unwrap();
    assert_eq!(summary(&world, &["live"])["files_removed"], 0);
}

#[test]
fn a_source_that_is_no_longer_there_is_gone_with_all_its_files() {
    let world = world();
    world.repo(&["snapshot", "-q", "live/sub", "live/Databases"]).succeeded();
    fs::remove_dir_all(world.path("live/Databases")).unwrap();
    let line = summary(&world, &["live/sub", "live/Databases"]);
    assert_eq!((&line["files_removed"], &line["databases_removed"]), (&1.into(), &1.into()));
    assert_eq!(line["exit_code"], 3);
}

#[test]
fn a_file_that_became_a_folder_or_a_link_is_gone() {
    let world = world();
    fs::remove_file(world.path("live/Media/big.jpg")).unwrap();
    fs::create_dir(world.path("live/Media/big.jpg")).unwrap();
    fs::remove_file(world.path("live/Media/small.jpg")).unwrap();
    std::os::unix::fs::symlink("big.jpg", world.path("live/Media/small.jpg")).unwrap();
    assert_eq!(summary(&world, &["live"])["files_removed"], 2);
}
