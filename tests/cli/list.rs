//! `list`: the table and the JSON array.

use crate::kit::World;

#[test]
fn snapshots_are_listed_oldest_first_with_their_figures() {
    let world = World::with_snapshot();
    world.write("live/d.txt", "more");
    world.repo(&["snapshot", "-q", "--tag", "evening", "live"]).succeeded();
    let ran = world.repo(&["list"]).succeeded();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.stdout);
    let headings: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(headings, ["ID", "TIME", "HOST", "FILES", "SIZE", "ADDED", "TAGS", "PATHS"]);
    let ids = world.ids();
    assert!(lines[1].starts_with(&ids[0][..8]) && lines[2].starts_with(&ids[1][..8]), "{}", ran.stdout);
    assert!(lines[2].contains("  evening  ") && lines[2].ends_with(&world.text("live")), "{}", ran.stdout);
    assert!(ran.stderr.contains("2 snapshots"), "{}", ran.stderr);
}

#[test]
fn an_empty_repository_is_no_failure_and_an_empty_array() {
    let world = World::with_repository();
    let ran = world.repo(&["list"]).succeeded();
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("no snapshot yet"), "{}", ran.stderr);
    let next = "`chatvault -r repo --recovery-key-file key snapshot FOLDER`";
    assert!(ran.stderr.contains(next), "{}", ran.stderr);
    world.repo(&["restore", "latest", "--target", "out"]).failed_with(1, &[next]);
    assert_eq!(world.repo(&["snapshots", "--json"]).succeeded().stdout, "[]\n");
}

#[test]
fn times_are_local() {
    let world = World::with_snapshot();
    let key = [("TZ", "XYZ-5:30")];
    let shown =
        world.run_with(&key, &["-r", "repo", "--recovery-key-file", "key", "list"]).succeeded().stdout;
    let utc = world.repo(&["list"]).succeeded().stdout;
    assert_ne!(shown, utc);
}

#[test]
fn an_incomplete_snapshot_is_marked_and_the_mark_explained() {
    let world = World::with_snapshot();
    world.repo(&["snapshot", "-q", "--tag", "evening", "live", "nowhere"]).ended_with(3);
    let ran = world.repo(&["list"]).succeeded();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        !lines[1].contains("incomplete") && lines[2].contains("  incomplete  evening  "),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.contains("incomplete: "), "{}", ran.stderr);
}

#[test]
fn of_many_paths_the_first_is_shown_with_the_number_of_the_others() {
    let world = World::with_repository();
    let paths: Vec<String> = (0..40).map(|number| format!("many/{number:03}")).collect();
    paths.iter().for_each(|path| world.write(path, path));
    world.write("paths", paths.join("\n"));
    world.repo(&["snapshot", "-q", "--files-from", "paths", "--description", "all, of it"]).succeeded();
    world.repo(&["snapshot", "-q", "--tag", "two", "many/001", "many/002"]).succeeded();
    let ran = world.repo(&["list"]).succeeded();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let first = format!("{} and 39 more", world.text("many/000"));
    assert!(lines[1].contains(&first) && lines[1].ends_with("  all, of it"), "{}", ran.stdout);
    let two = format!("  two   {} {}", world.text("many/001"), world.text("many/002"));
    assert!(lines[2].ends_with(&two), "{}", ran.stdout);
    let listed = world.repo(&["list", "--json"]).succeeded().json();
    assert_eq!(listed[0]["paths"].as_array().unwrap().len(), 40);
}
