//! `diff`: two snapshots, or a snapshot and the folders as they are.

use crate::kit::World;
use std::fs;

/// Two snapshots between which one file was added, one removed, and one changed.
fn changed() -> World {
    let world = World::with_snapshot();
    world.write("live/a.txt", "changed\n");
    world.write("live/new.txt", "12345");
    fs::remove_file(world.path("live/sub/c.txt")).unwrap();
    world
}

fn letter_of<'o>(world: &World, output: &'o str, name: &str) -> Option<&'o str> {
    let path = world.text(name);
    output.lines().find(|line| line.ends_with(&format!("    {path}"))).map(|line| &line[..1])
}

#[test]
fn letters_tell_what_happened_between_two_snapshots() {
    let world = changed();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let ran = world.repo(&["diff", "latest~1", "latest"]).succeeded();
    for (name, letter) in [("live/a.txt", "M"), ("live/new.txt", "+"), ("live/sub/c.txt", "-")] {
        assert_eq!(letter_of(&world, &ran.stdout, name), Some(letter), "{name} in {}", ran.stdout);
    }
    assert_eq!(letter_of(&world, &ran.stdout, "live/sub/b.bin"), None);
    assert!(ran.stdout.contains("1 added, 1 removed, 1 changed"), "{}", ran.stdout);
}

#[test]
fn one_snapshot_is_compared_with_the_folders_as_they_are() {
    let world = changed();
    for arguments in [&["diff", "latest"][..], &["diff", "latest", "live"]] {
        let ran = world.repo(arguments).succeeded();
        assert_eq!(letter_of(&world, &ran.stdout, "live/a.txt"), Some("M"), "{}", ran.stdout);
        assert_eq!(letter_of(&world, &ran.stdout, "live/new.txt"), Some("+"), "{}", ran.stdout);
    }
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let ran = world.repo(&["diff", "latest"]).succeeded();
    assert!(ran.stdout.ends_with("\n\nNo differences.\n"), "{}", ran.stdout);
}

#[test]
fn json_has_changes_and_ends_with_statistics() {
    let world = changed();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let mut lines = world.repo(&["diff", "--json", "latest~1", "latest"]).succeeded().json_lines();
    let statistics = lines.pop().unwrap();
    assert_eq!(statistics["message_type"], "statistics");
    assert_eq!(statistics["changed_files"], 1);
    assert_eq!((&statistics["added"]["files"], &statistics["removed"]["files"]), (&1.into(), &1.into()));
    assert_eq!(statistics["target_snapshot"], world.ids()[1]);
    assert!(lines.iter().all(|line| line["message_type"] == "change"));
    let added = lines.iter().find(|line| line["path"] == world.text("live/new.txt")).unwrap();
    assert_eq!(added["modifier"], "+");
}

#[test]
fn a_path_behind_the_snapshot_is_refused() {
    World::with_snapshot().repo(&["diff", "latest:/x"]).failed_with(2, &["whole snapshot"]);
}

#[test]
fn no_differences_are_said_in_one_line() {
    let world = World::with_snapshot();
    let ran = world.repo(&["diff", "latest"]).succeeded();
    assert!(ran.stdout.ends_with("\n\nNo differences.\n"), "{}", ran.stdout);
}

#[test]
fn the_two_states_are_named_first_and_other_machines_and_sources_are_warned_of() {
    let world = changed();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    world.repo(&["snapshot", "-q", "--host", "phone", "live/sub"]).succeeded();
    let ids = world.ids();
    let ran = world.repo(&["diff", &ids[0], &ids[1]]).succeeded();
    let mut lines = ran.stdout.lines();
    for (word, id) in [("From:", &ids[0]), ("To:", &ids[1])] {
        let line = lines.next().unwrap();
        assert!(line.starts_with(word) && line.contains(&id[..8]), "{}", ran.stdout);
    }
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let ran = world.repo(&["diff", &ids[1], &ids[2]]).succeeded();
    assert!(ran.stderr.contains("different machines") && ran.stderr.contains("phone"), "{}", ran.stderr);
    assert!(ran.stderr.contains("different sources"), "{}", ran.stderr);
}

#[test]
fn a_snapshot_of_another_machine_is_never_compared_with_the_folders_of_this_one() {
    let world = World::with_snapshot();
    world.repo(&["snapshot", "-q", "--host", "phone", "live"]).succeeded();
    let of_phone = world.ids().pop().unwrap();
    for arguments in [&["diff", "latest", "--host", "phone"][..], &["diff", &of_phone]] {
        let ran = world.repo(arguments).failed_with(2, &["phone", "this machine"]);
        assert_eq!(ran.stdout, "");
    }
    // `latest` means that of this machine.
    world.write("live/new.txt", "12345");
    let ran = world.repo(&["diff", "latest"]).succeeded();
    assert!(ran.stdout.contains(&world.ids()[0][..8]), "{}", ran.stdout);
    assert_eq!(letter_of(&world, &ran.stdout, "live/new.txt"), Some("+"));
    world.write(
        "home/.config/chatvault/profiles.toml",
        format!("[p]\nrepository = '{}'\n[p.snapshot]\nhost = 'phone'\n", world.text("repo")),
    );
    let ran = world.repo(&["-P", "p", "diff", &of_phone]).succeeded();
    assert_eq!(letter_of(&world, &ran.stdout, "live/new.txt"), Some("+"));
}
