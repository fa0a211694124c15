//! `snapshot`: what is counted, what is missing, what is left out, and what is never touched.

use crate::kit::{World, picture};

#[test]
fn new_changed_and_unchanged_files_are_counted() {
    let world = World::with_repository();
    let first = world.repo(&["snapshot", "--json", "live"]).succeeded().json_lines().pop().unwrap();
    assert_eq!(
        (&first["files_new"], &first["files_unmodified"], &first["total_bytes_processed"]),
        (&3.into(), &0.into(), &70_006.into())
    );
    world.write("live/a.txt", "second and longer\n");
    world.write("live/d.txt", "new");
    let second = world.repo(&["snapshot", "--json", "live"]).succeeded().json_lines().pop().unwrap();
    assert_eq!(second["parent"], first["snapshot_id"]);
    for (field, wanted) in [("files_new", 1), ("files_changed", 1), ("files_unmodified", 2), ("exit_code", 0)]
    {
        assert_eq!(second[field], wanted, "{field}");
    }
    assert_eq!(second["conditions"].as_array().unwrap().len(), 0);
}

#[test]
fn a_person_reads_four_lines_and_quiet_is_silent() {
    let world = World::with_repository();
    let ran = world.repo(&["snapshot", "live"]).succeeded();
    assert_eq!(ran.stdout.lines().count(), 4, "{}", ran.stdout);
    for words in ["Snapshot ", "3 new, 0 changed, 0 unchanged", "Added:", "Time:"] {
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
    }
    let next = "`chatvault -r repo --recovery-key-file key restore latest --target DIR`";
    assert!(ran.stderr.contains(next), "{}", ran.stderr);
    let ran = world.repo(&["snapshot", "live/sub"]).succeeded();
    assert!(!ran.stderr.contains("Next:"), "{}", ran.stderr);
    let ran = world.repo(&["snapshot", "-q", "live"]).succeeded();
    assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()));
}

#[test]
fn quiet_is_silent_about_this_programs_own_folders_unless_one_was_named() {
    let world = World::with_repository();
    world.write("home/notes.txt", "x");
    world.repo(&["list"]).succeeded();
    let words = "belongs to chatvault itself";
    let ran = world.repo(&["snapshot", "home"]).succeeded();
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    let ran = world.repo(&["-q", "snapshot", "home"]).succeeded();
    assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()));
    let ran = world.repo(&["-q", "snapshot", "--dry-run", "home"]).succeeded();
    assert_eq!(ran.stderr, "");
    let line = world.repo(&["-q", "snapshot", "home", "--json"]).succeeded().json_lines().pop().unwrap();
    assert_eq!(line["warnings"][0]["kind"], "own_folder_left_out");
    let cache = world.text("home/.cache/chatvault");
    let ran = world.repo(&["-q", "snapshot", "live", &cache]).ended_with(0);
    assert!(ran.stderr.contains(words) && ran.stderr.contains(&cache), "{}", ran.stderr);
}

#[test]
fn the_source_is_not_touched() {
    let world = World::with_repository();
    let before = picture(&world.path("live"));
    world.repo(&["snapshot", "live"]).succeeded();
    assert_eq!(picture(&world.path("live")), before);
}

#[test]
fn a_missing_path_is_1_and_names_it_and_nothing_is_written() {
    let world = World::with_repository();
    let before = world.files("repo");
    world.repo(&["snapshot", "nowhere"]).failed_with(1, &["nowhere", "No such file"]);
    world.repo(&["snapshot", "nowhere", "gone/too"]).failed_with(1, &["nowhere", "gone/too"]);
    assert_eq!(world.files("repo"), before);
}

#[test]
fn one_missing_of_several_is_3_and_the_rest_is_stored() {
    let world = World::with_repository();
    let ran = world.repo(&["snapshot", "live", "nowhere"]).ended_with(3);
    assert!(ran.stderr.contains(&format!("warning: {}", world.text("nowhere"))), "{}", ran.stderr);
    let summary =
        world.repo(&["snapshot", "--json", "live", "nowhere"]).ended_with(3).json_lines().pop().unwrap();
    assert_eq!(summary["conditions"], serde_json::json!(["incomplete"]));
    assert_eq!(summary["exit_code"], 3);
    assert_eq!(summary["warnings"][0]["kind"], "unreadable");
    assert_eq!(summary["warnings"][0]["path"], world.text("nowhere"));
    world.repo(&["cat", &format!("latest:{}", world.text("live/a.txt"))]).succeeded();
}

#[test]
fn paths_are_absolute_however_they_were_given() {
    let world = World::with_repository();
    for path in ["live", "./live", "live/", "live/sub/..", &world.text("live")] {
        world.repo(&["snapshot", "-q", path]).succeeded();
    }
    let list = world.repo(&["list", "--json"]).succeeded().json();
    for snapshot in list.as_array().unwrap() {
        assert_eq!(snapshot["paths"], serde_json::json!([world.text("live")]));
    }
}

#[test]
fn tags_description_and_host_are_kept() {
    let world = World::with_repository();
    let arguments =
        ["snapshot", "--tag", "one", "--tag", "two", "--description", "a text", "--host", "phone", "live"];
    world.repo(&arguments).succeeded();
    let snapshot = &world.repo(&["list", "--json"]).succeeded().json()[0];
    assert_eq!(snapshot["tags"], serde_json::json!(["one", "two"]));
    assert_eq!((&snapshot["description"], &snapshot["host"]), (&"a text".into(), &"phone".into()));
    world.repo(&["snapshot", "--tag", "", "live"]).ended_with(2);
}

#[test]
fn force_reads_what_looks_unchanged() {
    let world = World::with_snapshot();
    let (path, old) = (world.path("live/a.txt"), std::fs::metadata(world.path("live/a.txt")).unwrap());
    std::fs::write(&path, "FIRST\n").unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(old.modified().unwrap()).unwrap();
    world.repo(&["snapshot", "-q", "--force", "live"]).succeeded();
    let content = world.repo(&["cat", &format!("latest:{}", path.to_str().unwrap())]).succeeded().stdout;
    assert_eq!(content, "FIRST\n");
}

#[test]
fn own_folders_are_left_out_with_a_note() {
    let world = World::with_snapshot();
    let root = world.text("");
    let ran = world.repo(&["snapshot", root.trim_end_matches('/')]).succeeded();
    assert!(ran.stderr.contains(&world.text("repo")), "{}", ran.stderr);
    let listed = world.repo(&["ls", "-R"]).succeeded().stdout;
    assert!(listed.contains("live/a.txt") && !listed.contains("packs"), "{listed}");
    assert!(!listed.contains(".cache/chatvault/"), "{listed}");
}

#[test]
fn no_path_at_all_is_wrong_usage() {
    World::with_repository().repo(&["snapshot"]).ended_with(2);
}
