//! The names of all fields of JSON output are a contract: they are those here, and each is in the documentation.

use crate::kit::World;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

/// All field names of a value, nested ones with their parents: `added.files`.
fn fields(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let name = format!("{prefix}{name}");
                fields(inner, &format!("{name}."), found);
                found.insert(name);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, prefix, found)),
        _ => {}
    }
}

#[track_caller]
fn pinned(what: &str, lines: &[Value], wanted: &[&str]) {
    let mut found = BTreeSet::new();
    lines.iter().for_each(|line| fields(line, "", &mut found));
    let wanted: BTreeSet<String> = wanted.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(found, wanted, "{what}");
    let own = section(what);
    for name in &found {
        let place = if name.starts_with("warnings.") { section("Warnings in a summary") } else { own };
        assert!(place.contains(&format!("`{name}`")), "{what}: {name} is not in its section of the page");
    }
}

/// What docs/json-output.md says of a verb, or of a verb with an option.
#[track_caller]
fn section(what: &str) -> &'static str {
    let page = include_str!("../../docs/json-output.md");
    let title = match what {
        "exit_error" => "On the standard error",
        _ => what.split(" --").next().unwrap(),
    };
    let is_meant = |text: &&str| text.lines().next().unwrap().split(", ").any(|verb| verb == title);
    page.split("\n## ").skip(1).find(is_meant).unwrap_or_else(|| panic!("{what} has no section"))
}

#[test]
fn a_field_that_only_another_section_has_is_missed() {
    assert!(section("cache").contains("`freed`") && !section("tag").contains("`freed`"));
    assert_eq!(section("key add"), section("key passwd"));
}

const STATISTICS: [&str; 16] = [
    "files_new",
    "files_changed",
    "files_unmodified",
    "dirs_new",
    "dirs_changed",
    "dirs_unmodified",
    "symlinks",
    "specials",
    "unreadable",
    "data_blobs",
    "tree_blobs",
    "data_added",
    "data_added_packed",
    "total_files_processed",
    "total_bytes_processed",
    "excluded",
];

/// Of each database that was read.
const GONE: [&str; 13] = [
    "files_removed",
    "bytes_removed",
    "databases_removed",
    "removed_complete",
    "removed",
    "removed.path",
    "removed.size",
    "removed.database",
    "removed.moved_to",
    "databases_shrunk",
    "databases_shrunk.path",
    "databases_shrunk.size_before",
    "databases_shrunk.size",
];

const DATABASES: [&str; 9] = [
    "databases",
    "databases.path",
    "databases.state",
    "databases.wal_frames",
    "databases.rolled_back_pages",
    "databases.held",
    "databases.integrity",
    "databases.newly_damaged",
    "databases.damaged_log",
];

#[test]
fn snapshot_and_list() {
    let world = World::with_repository();
    let database = rusqlite::Connection::open(world.path("live/chats.db")).unwrap();
    database.execute_batch("create table m (t); insert into m values ('old');").unwrap();
    database.execute_batch("insert into m values (zeroblob(100000));").unwrap();
    drop(database);
    symlink("home", world.path("link")).unwrap();
    world.write("home/notes.txt", "x");
    world.repo(&["snapshot", "live", "gone", "link"]).ended_with(3);
    fs::rename(world.path("live/a.txt"), world.path("live/moved.txt")).unwrap();
    let database = rusqlite::Connection::open(world.path("live/chats.db")).unwrap();
    database.execute_batch("delete from m where length(t) > 9; vacuum;").unwrap();
    drop(database);
    let dry =
        world.repo(&["snapshot", "--dry-run", "--json", "live", "gone", "link"]).ended_with(3).json_lines();
    let summary =
        world.repo(&["snapshot", "--json", "live", "gone", "link"]).ended_with(3).json_lines().pop().unwrap();
    let own = [
        "message_type",
        "snapshot_id",
        "parent",
        "time",
        "paths",
        "tree",
        "total_duration",
        "conditions",
        "exit_code",
        "unmatched_excludes",
        "warnings",
        "warnings.kind",
        "warnings.whose",
        "warnings.path",
        "warnings.message",
    ];
    let links = ["links", "links.path", "links.target"];
    pinned("snapshot", &[summary], &[&own[..], &links, &DATABASES, &GONE, &STATISTICS].concat());
    let summary = dry.last().unwrap().clone();
    let own: Vec<&str> = own
        .iter()
        .copied()
        .filter(|name| !["snapshot_id", "time", "tree"].contains(name))
        .chain(["dry_run"])
        .collect();
    pinned("snapshot --dry-run", &[summary], &[&own[..], &GONE, &STATISTICS].concat());
    world.write("live/new", "new");
    let lines = world.repo(&["snapshot", "--dry-run", "--json", "live"]).succeeded().json_lines();
    pinned("snapshot --dry-run", &lines[..1], &["message_type", "action", "item"]);
    listed(&world);
}

/// `list` has the fields of each snapshot.
fn listed(world: &World) {
    let list = world.repo(&["list", "--json"]).succeeded().json();
    let nested: Vec<String> = STATISTICS.iter().map(|name| format!("summary.{name}")).collect();
    let mut wanted: Vec<&str> = nested.iter().map(String::as_str).collect();
    wanted.extend([
        "id",
        "short_id",
        "time",
        "host",
        "user",
        "paths",
        "tags",
        "description",
        "tree",
        "parent",
        "program",
        "links",
        "links.path",
        "links.target",
        "summary",
    ]);
    pinned("list", &[list], &wanted);
}

#[test]
fn ls() {
    let world = World::with_repository();
    symlink("a.txt", world.path("live/link")).unwrap();
    fs::hard_link(world.path("live/a.txt"), world.path("live/same")).unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let nodes = world.repo(&["ls", "--json"]).succeeded().json_lines();
    let wanted = [
        "message_type",
        "path",
        "name",
        "type",
        "mode",
        "uid",
        "gid",
        "user",
        "group",
        "mtime",
        "size",
        "linktarget",
        "hard_link",
    ];
    pinned("ls", &nodes, &wanted);
}

const RESTORE: [&str; 32] = [
    "message_type",
    "snapshot_id",
    "path",
    "target",
    "total_files",
    "files_restored",
    "dirs_restored",
    "symlinks_restored",
    "hard_links_restored",
    "specials_restored",
    "specials_skipped",
    "total_bytes",
    "bytes_restored",
    "dry_run",
    "overwritten",
    "unchanged",
    "kept",
    "deleted",
    "discarded",
    "verified",
    "differing",
    "sound_databases",
    "unsound_databases",
    "unchecked_databases",
    "damaged",
    "denied",
    "failed",
    "owners_failed",
    "total_duration",
    "conditions",
    "exit_code",
    "warnings",
];

#[test]
fn diff_and_restore() {
    let world = World::with_snapshot();
    world.write("live/new", "");
    let lines = world.repo(&["diff", "--json", "latest"]).succeeded().json_lines();
    let sides = ["files", "dirs", "others", "bytes"];
    let sides: Vec<String> =
        ["added", "removed"].iter().flat_map(|at| sides.map(|name| format!("{at}.{name}"))).collect();
    let mut wanted: Vec<&str> = sides.iter().map(String::as_str).collect();
    wanted.extend([
        "message_type",
        "path",
        "modifier",
        "source_snapshot",
        "source_host",
        "source_time",
        "target_snapshot",
        "target_host",
        "target_time",
        "changed_files",
        "added",
        "removed",
    ]);
    pinned("diff", &lines, &wanted);
    let place = format!("latest:{}", world.text("live"));
    let summary =
        world.repo(&["restore", "--json", "--no-progress", &place, "--target", "out"]).succeeded().json();
    pinned("restore", &[summary], &RESTORE);
    let mut lines = world
        .repo(&["restore", "--json", "--no-progress", "--dry-run", &place, "--target", "new"])
        .succeeded()
        .json_lines();
    lines.pop();
    pinned(
        "restore --dry-run",
        &lines,
        &["message_type", "action", "path", "target_path", "type", "size", "only_here"],
    );
}

#[test]
fn keys() {
    let world = World::with_repository();
    let line = world.repo(&["key", "add", "--json", "--new-recovery-key", "second"]).succeeded().json();
    let wanted = ["message_type", "action", "id", "replaced", "kind", "recovery_key_file", "key_file"];
    pinned("key add", &[line], &wanted);
    let list = world.repo(&["key", "list", "--json"]).succeeded().json();
    let wanted = ["id", "short_id", "kind", "current", "state", "created", "host", "user", "label"];
    pinned("key list", &[list], &wanted);
}

#[test]
fn the_others() {
    let world = World::new();
    let line = world.repo(&["init", "--json"]).succeeded().json();
    pinned(
        "init",
        &[line],
        &["message_type", "id", "repository", "opened_by", "recovery_key_file", "key_file"],
    );
    let line = world.repo(&["recovery-kit", "--json"]).succeeded().json();
    let wanted = ["message_type", "id", "repository", "action", "new_key", "file", "page"];
    pinned("recovery-kit", &[line], &wanted);
    let line = world.run(["version", "--json"]).succeeded().json();
    pinned("version", &[line], &["message_type", "version", "repository_format", "os", "arch"]);
    let line = world.run(["demo", "--json"]).succeeded().json();
    let wanted = [
        "message_type",
        "folder",
        "snapshots",
        "snapshots.snapshot_id",
        "snapshots.happened",
        "snapshots.total_bytes_processed",
        "snapshots.data_added_packed",
        "entries_compared",
        "bytes_compared",
        "differences",
        "conditions",
        "exit_code",
    ];
    pinned("demo", &[line], &wanted);
    let ran = world.run(["list", "--json", "-r", "nowhere"]).ended_with(10);
    let line = serde_json::from_str(&ran.stderr).unwrap();
    pinned("exit_error", &[line], &["message_type", "code", "condition", "whose", "message", "hint"]);
}

#[test]
fn find_and_tag() {
    let world = World::with_repository();
    symlink("a.txt", world.path("live/link")).unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let lines = world.repo(&["find", "--json", "*"]).succeeded().json_lines();
    let wanted = [
        "message_type",
        "path",
        "host",
        "source",
        "state",
        "type",
        "size",
        "mtime",
        "content_id",
        "linktarget",
        "first_snapshot",
        "first_time",
        "last_snapshot",
        "last_time",
        "snapshots",
        "paths",
        "versions",
        "conditions",
        "exit_code",
    ];
    pinned("find", &lines, &wanted);
    let lines = world.repo(&["tag", "--json", "--add", "x", "latest"]).succeeded().json_lines();
    let wanted = [
        "message_type",
        "snapshot_id",
        "changed",
        "tags",
        "description",
        "changed_snapshots",
        "conditions",
        "exit_code",
    ];
    pinned("tag", &lines, &wanted);
}

#[test]
fn stats_and_cache() {
    let world = World::with_snapshot();
    let place = format!("latest:{}", world.text("live"));
    let lines = [&["stats", "--json"][..], &["stats", "--json", &place]]
        .map(|arguments| world.repo(arguments).succeeded().json());
    let own = [
        "message_type",
        "path",
        "snapshots_count",
        "total_file_count",
        "total_size",
        "total_unique_size",
        "total_stored_size",
        "blob_count",
        "deduplication_ratio",
        "compression_ratio",
        "kinds",
        "metadata",
        "snapshots",
        "deltas",
        "unneeded_size",
        "pack_classes",
        "repository",
        "repository_size",
        "conditions",
        "exit_code",
    ];
    let nested: Vec<String> = [
        ("kinds", &["kind", "file_count", "size", "blob_count", "unique_size", "stored_size"][..]),
        ("metadata", &["blob_count", "unique_size", "stored_size"]),
        ("snapshots", &["snapshot_id", "time", "file_count", "size", "alone"]),
        ("snapshots.alone", &["blob_count", "unique_size", "stored_size"]),
        ("deltas", &["blob_count", "size", "stored_size", "saved_size", "max_depth"]),
        ("pack_classes", &["class", "pack_count", "size", "blob_count"]),
        ("repository", &["name", "file_count", "size"]),
    ]
    .into_iter()
    .flat_map(|(above, names)| names.iter().map(move |name| format!("{above}.{name}")))
    .collect();
    let wanted: Vec<&str> = own.into_iter().chain(nested.iter().map(String::as_str)).collect();
    pinned("stats", &lines, &wanted);
    let lines = world.run(["cache", "--json"]).succeeded().json_lines();
    let wanted = [
        "message_type",
        "repository_id",
        "repository",
        "folder",
        "size",
        "last_use",
        "in_use",
        "cleared",
        "caches",
        "freed",
        "conditions",
        "exit_code",
    ];
    pinned("cache", &lines, &wanted);
}
