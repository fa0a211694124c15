//! `demo`: it works from nothing, says so, and leaves nothing behind unless asked to.

use crate::kit::World;

#[test]
fn the_demonstration_succeeds_and_leaves_nothing_behind() {
    let world = World::new();
    let ran = world.run(["demo"]).succeeded();
    for words in ["Day 1:", "Day 3:", "Beach.jpg", "have the same bytes"] {
        assert!(ran.stdout.contains(words), "{words} is not in {}", ran.stdout);
    }
    assert_eq!(world.files(""), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_is_kept_can_be_looked_at() {
    let world = World::new();
    world.run(["demo", "--keep", "kept"]).succeeded();
    let repo = ["-r", "kept/repository", "--recovery-key-file", "kept/recovery.key"];
    let list = world.run(repo.iter().chain(&["list", "--json"])).succeeded().json();
    assert_eq!(list.as_array().unwrap().len(), 3);
    world.run(["demo", "--keep", "kept"]).failed_with(1, &["not empty"]);
}

#[test]
fn json_is_one_summary() {
    let summary = World::new().run(["demo", "--json"]).succeeded().json();
    assert_eq!(summary["message_type"], "summary");
    assert_eq!(summary["differences"], serde_json::json!([]));
    assert_eq!(summary["snapshots"].as_array().unwrap().len(), 3);
}
