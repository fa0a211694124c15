//! `restore`: everything comes back as it was, and nothing is overwritten.

use crate::kit::{World, picture};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn a_folder_comes_back_byte_for_byte_with_times_and_permissions() {
    let world = World::with_repository();
    symlink("a.txt", world.path("live/link")).unwrap();
    fs::set_permissions(world.path("live/a.txt"), Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(world.path("live/empty")).unwrap();
    let before = picture(&world.path("live"));
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    world.repo(&["restore", &format!("latest:{}", world.text("live")), "--target", "out"]).succeeded();
    assert_eq!(picture(&world.path("out")), before);
    world.repo(&["restore", "latest", "--target", "whole"]).succeeded();
    assert_eq!(picture(&world.path(&format!("whole{}", world.text("live")))), before);
}

#[test]
fn one_file_comes_straight_into_the_target() {
    let world = World::with_snapshot();
    world.repo(&["restore", &format!("latest:{}", world.text("live/a.txt")), "--target", "out"]).succeeded();
    assert_eq!(world.read("out/a.txt"), "first\n");
}

#[test]
fn an_empty_target_that_is_there_is_used_and_quiet_is_silent() {
    let world = World::with_snapshot();
    fs::create_dir(world.path("out")).unwrap();
    let ran = world.repo(&["restore", "-q", "latest", "--target", "out"]).succeeded();
    assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()));
    assert!(world.path(&format!("out{}", world.text("live/a.txt"))).exists());
}

#[test]
fn what_stands_in_the_way_is_never_overwritten() {
    let world = World::with_snapshot();
    world.write("out/a.txt", "mine");
    let place = format!("latest:{}", world.text("live"));
    world.repo(&["restore", &place, "--target", "out"]).failed_with(1, &["a.txt", "nothing was restored"]);
    assert_eq!(world.read("out/a.txt"), "mine");
    assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 1);
}

#[test]
fn a_target_that_overlaps_with_the_repository_is_wrong_usage() {
    let world = World::with_snapshot();
    let before = world.files("repo");
    for target in ["repo", "repo/inside", "repo/packs/deep/inside", "."] {
        world.repo(&["restore", "latest", "--target", target]).failed_with(2, &["repository"]);
    }
    assert_eq!(world.files("repo"), before);
}

#[test]
fn json_ends_with_a_summary() {
    let world = World::with_snapshot();
    let summary = world
        .repo(&["restore", "--json", "latest", "--target", "out"])
        .succeeded()
        .json_lines()
        .pop()
        .unwrap();
    assert_eq!(summary["message_type"], "summary");
    assert_eq!((&summary["files_restored"], &summary["total_files"]), (&3.into(), &3.into()));
    assert_eq!((&summary["bytes_restored"], &summary["exit_code"]), (&70_006.into(), &0.into()));
    assert_eq!(summary["snapshot_id"], world.ids()[0]);
}

#[test]
fn a_path_that_is_not_there_is_1_and_makes_nothing() {
    let world = World::with_snapshot();
    world.repo(&["restore", "latest:/nowhere", "--target", "out"]).failed_with(1, &["/nowhere"]);
    assert!(!world.path("out").exists());
    world.repo(&["restore", "latest"]).ended_with(2);
}

#[test]
fn further_names_of_files_are_told_apart_from_files() {
    let world = World::with_repository();
    fs::hard_link(world.path("live/a.txt"), world.path("live/again.txt")).unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let ran = world.repo(&["restore", "latest", "--target", "out"]).succeeded();
    assert!(ran.stdout.contains("3 of 3, and 1 further name of one of them, "), "{}", ran.stdout);
}
