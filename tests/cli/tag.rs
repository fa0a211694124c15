//! `tag`: tags and descriptions of snapshots, and the filters that use them.

use crate::kit::World;
use serde_json::Value;

fn tags(world: &World, place: usize) -> (Vec<String>, Value) {
    let list = world.repo(&["list", "--json"]).succeeded().json();
    let tags = list[place]["tags"].as_array().unwrap();
    (tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect(), list[place]["description"].clone())
}

#[test]
fn tags_and_descriptions_change_and_ids_stay() {
    let world = World::with_snapshot();
    let ids = world.ids();
    let ran = world.repo(&["tag", "--add", "a,b", "--add", "c", "latest"]).succeeded();
    assert!(ran.stdout.contains("tags: a, b, c") && ran.stdout.contains(&ids[0][..8]), "{}", ran.stdout);
    world.repo(&["tag", "--remove", "b", "--description", "the good one", &ids[0][..8]]).succeeded();
    assert_eq!(tags(&world, 0), (vec!["a".to_owned(), "c".to_owned()], "the good one".into()));
    let again = world.repo(&["tag", "--remove", "b", "latest"]).succeeded();
    assert!(again.stdout.contains("(as before)"), "{}", again.stdout);
    world.repo(&["tag", "--set", "", "--description", "", "latest"]).succeeded();
    assert_eq!(tags(&world, 0), (vec![], Value::Null));
    assert_eq!(world.ids(), ids);
    let listed = world.repo(&["list"]).succeeded().stdout;
    assert!(listed.lines().nth(1).unwrap().ends_with("live"), "{listed}");
}

#[test]
fn several_snapshots_get_a_tag_at_once_and_json_tells_each() {
    let world = World::with_snapshot();
    world.repo(&["snapshot", "-q", "--tag", "x", "live"]).succeeded();
    let ran = world.repo(&["tag", "--json", "--add", "x", "latest", "latest~1", "latest"]).succeeded();
    let lines = ran.json_lines();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["changed"], &lines[1]["changed"]), (&false.into(), &true.into()));
    assert_eq!(lines[1]["tags"], serde_json::json!(["x"]));
    assert_eq!(lines[2]["changed_snapshots"], 1);
}

#[test]
fn what_changes_nothing_contradicts_itself_or_names_none_is_wrong_usage() {
    let world = World::with_snapshot();
    world.repo(&["tag", "latest"]).failed_with(2, &["--add"]);
    world.repo(&["tag", "--add", "x", "--remove", "x", "latest"]).failed_with(2, &["both added and removed"]);
    world.repo(&["tag", "--add", "a,,b", "latest"]).failed_with(2, &["a,,b"]);
    world.repo(&["tag", "--add", "x"]).ended_with(2);
    world.repo(&["tag", "--set", "x", "--add", "y", "latest"]).ended_with(2);
    world.repo(&["tag", "--add", "x", "latest~7"]).failed_with(1, &["only 1"]);
    assert_eq!(tags(&world, 0).0, [""; 0]);
}

/// Snapshots of two machines and two folders.
fn several() -> World {
    let world = World::with_repository();
    world.write("other/o.txt", "o");
    for (host, tag, folder) in [("phone", "a", "live"), ("phone", "b", "live"), ("tablet", "a", "other")] {
        world.repo(&["snapshot", "-q", "--host", host, "--tag", tag, folder]).succeeded();
    }
    world
}

#[test]
fn lists_are_narrowed_by_machine_path_tag_and_number() {
    let world = several();
    let all = world.ids();
    let listed = |arguments: &[&str]| -> Vec<usize> {
        let list = world.repo(&[&["list", "--json"], arguments].concat()).succeeded().json();
        let place = |one: &Value| all.iter().position(|id| one["id"] == id.as_str()).unwrap();
        list.as_array().unwrap().iter().map(place).collect()
    };
    assert_eq!(listed(&["--host", "phone"]), [0, 1]);
    assert_eq!(listed(&["--host", "phone", "--host", "tablet"]), [0, 1, 2]);
    assert_eq!(listed(&["--tag", "a"]), [0, 2]);
    assert_eq!(listed(&["--tag", "a,b"]), [0; 0]);
    assert_eq!(listed(&["--path", "live"]), [0, 1]);
    assert_eq!(listed(&["--path", &world.text("live/sub/b.bin")]), [0, 1]);
    assert_eq!(listed(&["--latest", "1"]), [1, 2]);
    assert_eq!(listed(&["--latest", "1", "--tag", "a"]), [0, 2]);
    let none = world.repo(&["list", "--host", "nobody"]).succeeded();
    assert!(none.stdout.is_empty() && none.stderr.contains("as asked for"), "{}", none.stderr);
}

#[test]
fn latest_is_the_last_one_that_the_filter_admits_for_every_verb() {
    let world = several();
    let file = |name: &str| format!("latest:{}", world.text(name));
    // With a path it is the last one that holds the path.
    assert_eq!(world.repo(&["cat", &file("live/a.txt")]).succeeded().stdout, "first\n");
    world.repo(&["cat", "--host", "tablet", &file("live/a.txt")]).ended_with(1);
    assert_eq!(world.repo(&["cat", "--host", "phone", &file("live/a.txt")]).succeeded().stdout, "first\n");
    assert!(world.repo(&["ls", "--tag", "b"]).succeeded().stdout.contains("a.txt"));
    assert!(world.repo(&["ls"]).succeeded().stdout.contains("o.txt"));
    world.repo(&["restore", "latest", "--path", "live", "--target", "out"]).succeeded();
    assert!(world.path("out").join(world.text("live/a.txt").trim_start_matches('/')).exists());
    let same = world.repo(&["diff", "--host", "phone", "latest~1", "latest"]).succeeded();
    assert!(same.stdout.contains("No differences"), "{}", same.stdout);
    world.repo(&["ls", "--host", "nobody"]).failed_with(1, &["none of the 3", "machine nobody"]);
    world.repo(&["tag", "--host", "phone", "--add", "last-of-phone", "latest"]).succeeded();
    assert_eq!(tags(&world, 1).0, ["b", "last-of-phone"]);
}
