//! `restore --in-place`, and a target that lies in a source.

use crate::kit::{World, picture};
use std::fs;

#[test]
fn a_target_in_its_own_source_is_refused_with_the_command_that_puts_it_back() {
    let world = World::with_snapshot();
    world.write("live/a.txt", "spoiled\n");
    let id = &world.ids()[0][..8];
    let back =
        format!("restore {id}:{live} --target {live} --overwrite if-changed", live = world.text("live"));
    for target in ["live", "live/sub", "live/new/deep"] {
        world.repo(&["restore", "latest", "--target", target]).failed_with(2, &[&back, "--in-place"]);
    }
    assert!(!world.path("live/new").exists() && !world.path("live/sub/tmp").exists());
    // The command that was named does it.
    let arguments: Vec<&str> = back.split(' ').collect();
    world.repo(&arguments).succeeded();
    assert_eq!(world.read("live/a.txt"), "first\n");
}

#[test]
fn in_place_puts_every_source_back_and_stores_what_is_there_before() {
    let world = World::with_repository();
    world.write("other/note.txt", "note\n");
    world.repo(&["snapshot", "-q", "live", "other"]).succeeded();
    let first = world.ids()[0].clone();
    let before = [picture(&world.path("live")), picture(&world.path("other"))];
    world.write("live/a.txt", "spoiled\n");
    world.write("live/sub/new.jpg", "the only photo");
    fs::remove_dir_all(world.path("other")).unwrap();
    let ran = world.repo(&["restore", &first, "--in-place", "--delete"]).succeeded();
    let last = ran.stdout.lines().last().unwrap();
    assert_eq!(last, format!("Your files are in {}, {}", world.text("live"), world.text("other")));
    assert!([picture(&world.path("live")), picture(&world.path("other"))] == before);
    // Nothing is lost, and `latest` is what it was.
    let [_, saved] = &world.ids()[..] else { panic!("{:?}", world.ids()) };
    let cat = |id: &str| world.repo(&["cat", &format!("{id}:{}", world.text("live/sub/new.jpg"))]);
    assert_eq!(cat(saved).succeeded().stdout, "the only photo");
    cat("latest").failed_with(1, &["new.jpg"]);
    let list = world.repo(&["list", "--json", "--tag", "before-restore"]).succeeded().json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["id"], **saved);
    // Who asks for the tag gets it, and undoes the restore with it.
    let ran =
        world.repo(&["restore", "--json", "latest", "--tag", "before-restore", "--in-place"]).succeeded();
    let summary = ran.json_lines().pop().unwrap();
    assert_eq!(
        (&summary["snapshot_id"], &summary["before_restore"]),
        (&list[0]["id"], &world.ids()[2].as_str().into())
    );
    assert_eq!(world.read("live/a.txt"), "spoiled\n");
    assert_eq!(world.read("live/sub/new.jpg"), "the only photo");
}

#[test]
fn a_dry_run_in_place_stores_and_changes_nothing_and_with_discard_nothing_is_stored_before() {
    let world = World::with_snapshot();
    let first = world.ids()[0].clone();
    world.write("live/a.txt", "spoiled\n");
    world.write("live/extra.txt", "extra\n");
    // A dry run takes no snapshot and says what would go.
    let ran = world.repo(&["restore", &first, "--in-place", "--delete", "--dry-run"]).succeeded();
    assert!(ran.stdout.contains(&format!("delete     {}", world.text("live/extra.txt"))), "{}", ran.stdout);
    assert_eq!((world.ids().len(), world.read("live/a.txt")), (1, "spoiled\n".to_owned()));
    // With --discard none is taken either.
    let ran =
        world.repo(&["restore", "--json", "--no-progress", &first, "--in-place", "--delete", "--discard"]);
    let summary = ran.succeeded().json_lines().pop().unwrap();
    assert_eq!((&summary["deleted"], &summary["discarded"]), (&1.into(), &2.into()), "{summary}");
    assert_eq!((world.ids().len(), world.read("live/a.txt")), (1, "first\n".to_owned()));
}

#[test]
fn in_place_wants_a_whole_snapshot_of_this_computer() {
    let world = World::with_snapshot();
    let place = format!("latest:{}", world.text("live"));
    world.repo(&["restore", &place, "--in-place"]).failed_with(2, &["--target DIR"]);
    world.repo(&["restore", "latest", "--in-place", "--target", "out"]).ended_with(2);
    world.repo(&["snapshot", "-q", "--host", "another", "live"]).succeeded();
    world.repo(&["restore", "latest", "--in-place"]).failed_with(2, &["another", "--target DIR"]);
    assert_eq!(world.ids().len(), 2);
}
