//! The default repository: made by the first snapshot, found again, never made anew by itself.

use crate::kit::World;
use chatvault_engine::crypto::HEADER_LEN;
use std::fs;

const REPOSITORY: &str = "home/.local/share/chatvault/repository";

fn first_snapshot() -> World {
    let world = World::new();
    world.write("live/a", "a");
    world.run(["snapshot", "live"]).succeeded();
    world
}

#[test]
fn the_very_first_command_can_be_a_snapshot() {
    let world = World::new();
    world.write("live/a", "a");
    let ran = world.run(["snapshot", "live"]).succeeded();
    for words in
        ["home/.local/share/chatvault/repository", "recovery-keys/", "chatvault recovery-kit", "on this disk"]
    {
        assert!(ran.stderr.contains(words), "{words} is not in {}", ran.stderr);
    }
    let again = world.run(["snapshot", "live"]).succeeded();
    assert!(!again.stderr.contains("recovery"), "{}", again.stderr);
    assert_eq!(world.run(["list", "--json"]).succeeded().json().as_array().unwrap().len(), 2);
}

#[test]
fn its_folders_follow_the_environment() {
    let world = World::new();
    world.write("live/a", "a");
    let data = world.text("data");
    world.run_with(&[("XDG_DATA_HOME", &data)], &["snapshot", "live"]).succeeded();
    assert!(world.path("data/chatvault/repository/config").exists());
    assert!(!world.path(REPOSITORY).exists());
}

#[test]
fn a_known_repository_that_is_missing_is_explained_and_never_made_anew() {
    let world = first_snapshot();
    fs::rename(world.path(REPOSITORY), world.path("unmounted")).unwrap();
    for arguments in [&["snapshot", "live"][..], &["list"]] {
        world.run(arguments).failed_with(10, &["was here before", "disk"]);
    }
    fs::create_dir(world.path(REPOSITORY)).unwrap();
    world.run(["snapshot", "live"]).failed_with(10, &["empty", "was here before"]);
    fs::remove_dir(world.path(REPOSITORY)).unwrap();
    fs::rename(world.path("unmounted"), world.path(REPOSITORY)).unwrap();
    world.run(["list"]).succeeded();
}

#[test]
fn reading_makes_no_repository() {
    let world = World::new();
    world.run(["list"]).failed_with(10, &["chatvault snapshot FOLDER"]);
    assert!(!world.path("home/.local").exists());
}

#[test]
fn a_missing_source_makes_no_repository() {
    let world = World::new();
    world.run(["snapshot", "nowhere"]).failed_with(1, &["nowhere"]);
    assert!(!world.path("home/.local").exists() && !world.path("home/.config").exists());
}

#[test]
fn a_kept_key_opens_its_repository_wherever_that_is() {
    let world = first_snapshot();
    fs::rename(world.path(REPOSITORY), world.path("moved")).unwrap();
    world.run(["-r", "moved", "list"]).succeeded();
}

/// Alters the repository's id in the first copy of the config.
fn alter_id(world: &World) {
    let path = world.path(&format!("{REPOSITORY}/config"));
    let mut bytes = fs::read(&path).unwrap();
    // Behind the header of the object.
    bytes[HEADER_LEN + 3] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_kept_key_is_found_by_the_second_config_when_the_first_one_has_another_id() {
    let world = first_snapshot();
    alter_id(&world);
    let ran = world.run(["list"]).succeeded();
    assert_eq!(ran.stdout.lines().count(), 2, "{}", ran.stdout);
    assert!(ran.stderr.contains("warning: ") && ran.stderr.contains("second copy"), "{}", ran.stderr);
    fs::remove_file(world.path(&format!("{REPOSITORY}/mirror/config"))).unwrap();
    world.run(["list"]).ended_with(2);
}

#[test]
fn a_key_that_a_killed_run_left_behind_is_found_by_the_second_config_too() {
    let world = first_snapshot();
    let keys = world.path("home/.config/chatvault/recovery-keys");
    let key = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    fs::rename(&key, keys.join("new-0011223344556677")).unwrap();
    alter_id(&world);
    world.run(["list"]).succeeded();
    assert!(key.exists());
}

#[test]
fn a_key_that_a_killed_run_left_behind_is_taken() {
    let world = first_snapshot();
    let keys = world.path("home/.config/chatvault/recovery-keys");
    let key = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    fs::rename(&key, keys.join("new-0011223344556677")).unwrap();
    world.run(["list"]).succeeded();
    assert!(key.exists());
    assert_eq!(fs::read_dir(&keys).unwrap().count(), 1);
}

#[test]
fn a_key_of_which_no_repository_was_made_is_used_again() {
    let world = first_snapshot();
    let keys = world.path("home/.config/chatvault/recovery-keys");
    let key = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&key).unwrap();
    // As if the run had been killed before it remembered the repository, which is moved away before the next run.
    fs::rename(&key, keys.join("new-0011223344556677")).unwrap();
    fs::remove_file(world.path("home/.config/chatvault/known-repositories")).unwrap();
    fs::rename(world.path(REPOSITORY), world.path("moved")).unwrap();
    let ran = world.run(["snapshot", "live"]).succeeded();
    assert!(ran.stderr.contains("Created repository"), "{}", ran.stderr);
    let kept = fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let [again] = kept.as_slice() else { panic!("{kept:?}") };
    assert_eq!(fs::read_to_string(again).unwrap(), text);
    // Both are opened by it, and the key has got the names of both.
    world.run(["-r", "moved", "list"]).succeeded();
    world.run(["list"]).succeeded();
    assert!(key.exists() && again.exists());
}

#[test]
fn an_altered_kept_key_is_named() {
    let world = first_snapshot();
    let keys = world.path("home/.config/chatvault/recovery-keys");
    let key = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    fs::write(&key, "cv1-0000\n").unwrap();
    world.run(["list"]).failed_with(12, &["recovery-keys"]);
}

#[test]
fn without_a_home_a_repository_must_be_named() {
    let world = World::new();
    world.write("live/a", "a");
    let mut command = world.command(["snapshot", "live"]);
    command.env_remove("HOME");
    crate::kit::Ran::of(&mut command).failed_with(1, &["HOME", "-r"]);
}
