//! `cache`: which caches there are, and clearing them.

use crate::kit::World;
use std::fs::{self, File};

const CACHES: &str = "home/.cache/chatvault";

/// The folders of the caches.
fn folders(world: &World) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(world.path(CACHES)) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn caches_are_shown_with_their_repositories_and_cleared_without_a_key() {
    let world = World::with_snapshot();
    let tag = folders(&world)[0].join("CACHEDIR.TAG");
    assert!(fs::read_to_string(tag).unwrap().starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
    let shown = world.run(["cache"]).succeeded().stdout;
    assert!(shown.contains("1 cache,") && shown.contains(&world.text("repo")), "{shown}");
    assert_eq!(world.run(["cache", "list"]).succeeded().stdout, shown);
    let ran = world.run(["-r", "repo", "cache", "clear"]).succeeded();
    assert!(ran.stdout.contains("1 cache cleared") && ran.stdout.contains("KiB freed"), "{}", ran.stdout);
    assert!(folders(&world).is_empty());
    let again = world.run(["-r", "repo", "cache", "clear"]).succeeded();
    assert!(again.stdout.contains("nothing to clear"), "{}", again.stdout);
    assert_eq!(world.ids().len(), 1);
    assert_eq!(folders(&world).len(), 1);
}

#[test]
fn all_caches_are_cleared_also_of_repositories_that_are_gone() {
    let world = World::with_snapshot();
    world.run(["-r", "second", "--recovery-key-file", "key2", "init", "-q"]).succeeded();
    world.run(["-r", "second", "--recovery-key-file", "key2", "list"]).succeeded();
    fs::remove_dir_all(world.path("second")).unwrap();
    assert_eq!(folders(&world).len(), 2);
    world
        .run(["-r", "second", "cache", "clear"])
        .failed_with(10, &["second", "`chatvault cache clear --all`"]);
    let lines = world.run(["cache", "clear", "--all", "--json"]).succeeded().json_lines();
    assert_eq!(lines.len(), 3);
    assert!(lines[..2].iter().all(|line| line["cleared"] == true));
    assert!(lines[2]["freed"].as_u64().unwrap() > 8192);
    assert!(folders(&world).is_empty());
}

#[test]
fn a_cache_in_use_stays() {
    let world = World::with_snapshot();
    let held = File::open(folders(&world)[0].join("catalog.lock")).unwrap();
    held.lock_shared().unwrap();
    assert!(world.run(["cache"]).succeeded().stdout.contains("(in use)"));
    world.run(["-r", "repo", "cache", "clear"]).failed_with(11, &["another running program"]);
    let ran = world.run(["cache", "clear", "--all"]).succeeded();
    assert!(ran.stderr.contains("stays") && ran.stdout.contains("nothing to clear"), "{ran:?}");
    assert!(folders(&world)[0].join("catalog.sqlite").exists());
    drop(held);
    world.run(["cache", "clear", "--all"]).succeeded();
    assert!(folders(&world).is_empty());
}

#[test]
fn without_a_cache_there_is_nothing_to_show() {
    let world = World::with_snapshot();
    world.run(["--no-cache", "cache"]).failed_with(2, &["--no-cache"]);
    world.run(["cache", "--all"]).ended_with(2);
    world.run(["cache", "list", "--all"]).ended_with(2);
    world.run(["cache", "melt"]).ended_with(2);
}
