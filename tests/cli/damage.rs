//! Repositories that are damaged, or of a newer format.

use crate::kit::World;
use std::fs;

/// Flips a bit in the middle of every file of a folder of the repository.
fn damage(world: &World, folder: &str) {
    for path in world.files(folder) {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn a_newer_format_is_named() {
    let world = World::with_snapshot();
    for name in ["repo/config", "repo/mirror/config"] {
        let mut bytes = fs::read(world.path(name)).unwrap();
        bytes[9] += 1;
        fs::write(world.path(name), bytes).unwrap();
    }
    world.repo(&["list"]).failed_with(1, &["format", "this program reads format", "newer chatvault"]);
}

#[test]
fn damaged_content_is_22() {
    let world = World::with_snapshot();
    damage(&world, "repo/packs");
    let path = format!("latest:{}", world.text("live/sub/b.bin"));
    world.repo(&["cat", &path]).failed_with(22, &["Failed to"]);
}

#[test]
fn a_damaged_first_copy_is_replaced_by_its_mirror_with_a_warning() {
    let world = World::with_snapshot();
    damage(&world, "repo/snapshots");
    let ran = world.repo(&["list", "--no-cache"]).succeeded();
    assert_eq!(ran.stdout.lines().count(), 2);
    assert!(ran.stderr.contains("warning: "), "{}", ran.stderr);
    let ran = world.repo(&["list", "--no-cache", "--json"]).succeeded();
    assert_eq!(ran.json().as_array().unwrap().len(), 1);
    let line: serde_json::Value = serde_json::from_str(ran.stderr.lines().next().unwrap()).unwrap();
    assert_eq!(line["message_type"], "warning");
}

#[test]
fn a_restore_with_lost_files_is_22_names_them_and_brings_the_rest() {
    let world = World::with_repository();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let before = world.files("repo/packs");
    let noise: Vec<u8> = (0..400_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    world.write("live/lost.bin", noise);
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    // The largest of the new packs holds the new file's content.
    let new = world.files("repo/packs").into_iter().filter(|path| !before.contains(path));
    let largest = new.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    fs::write(&largest, "").unwrap();
    let ran = world.repo(&["restore", "latest", "--target", "out"]).ended_with(22);
    assert!(ran.stderr.contains("lost.bin"), "{}", ran.stderr);
    let restored = format!("out{}", world.text("live/a.txt"));
    assert_eq!(world.read(&restored), "first\n");
}

#[test]
fn what_a_lost_base_takes_with_it_is_named_by_cat_and_restore() {
    let world = World::with_repository();
    let path = world.path("live/chat.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TABLE m(t); WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) \
         INSERT INTO m SELECT hex(randomblob(500)) FROM n",
    )
    .unwrap();
    drop(db);
    world.repo(&["snapshot", "-q", "--time", "2026-03-01T12:00:00Z", "live"]).succeeded();
    let packs = world.files("repo/packs");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("UPDATE m SET t = 'other' WHERE rowid % 100 = 0").unwrap();
    drop(db);
    world.repo(&["snapshot", "-q", "--time", "2026-03-02T12:00:00Z", "live"]).succeeded();
    // The largest of the first day holds the runs that those of the second day rest on.
    let largest = packs.into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    fs::remove_file(largest).unwrap();
    let words = format!("also needed for other states: {}", world.text("live/chat.db"));
    let place = format!("latest:{}", world.text("live/chat.db"));
    let cat = world.repo(&["cat", &place]).failed_with(22, &[&words, "Failed to"]);
    let restore = world.repo(&["restore", &place, "--target", "out"]).ended_with(22);
    for told in [cat.stderr, restore.stderr] {
        let line = told.lines().find(|line| line.contains(&words)).unwrap();
        assert!(line.contains("2026-03-01, 2026-03-02"), "{line}");
    }
}

#[test]
fn a_repository_without_its_config_is_damaged_and_not_missing() {
    let world = World::with_snapshot();
    let config = fs::read(world.path("repo/config")).unwrap();
    fs::remove_file(world.path("repo/config")).unwrap();
    fs::remove_file(world.path("repo/mirror/config")).unwrap();
    world
        .repo(&["list"])
        .failed_with(22, &["both copies of its `config` are gone", "copy `config` from a copy"]);
    world.write("repo/config", config);
    world.repo(&["list"]).succeeded();
}

#[test]
fn an_index_object_that_is_none_is_told_once() {
    let world = World::with_snapshot();
    world.write(&format!("repo/index/{}", "ab".repeat(32)), "nonsense");
    for verb in [&["list"][..], &["snapshot", "live"], &["snapshot", "--dry-run", "live"]] {
        let ran = world.repo(verb).ended_with(22);
        assert_eq!(ran.stderr.matches("An index object cannot be used").count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn a_snapshot_lost_to_damage_is_told_and_the_others_are_listed() {
    let world = World::with_snapshot();
    let first = world.ids().remove(0);
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    for folder in ["repo/snapshots", "repo/mirror/snapshots"] {
        fs::write(world.path(&format!("{folder}/{first}")), "nonsense").unwrap();
    }
    let ran = world.repo(&["list", "--no-cache"]).ended_with(22);
    assert_eq!(ran.stdout.lines().count(), 2);
    assert!(ran.stderr.contains(&first[..8]), "{}", ran.stderr);
}

#[test]
fn a_repository_whose_snapshots_are_all_damaged_is_22_and_not_empty() {
    let world = World::with_snapshot();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    damage(&world, "repo/snapshots");
    damage(&world, "repo/mirror/snapshots");
    let words = "No snapshot can be read; 2 are damaged";
    world.repo(&["list", "--no-cache"]).failed_with(22, &[words]);
    world.repo(&["restore", "latest", "--target", "out", "--no-cache"]).failed_with(22, &[words]);
    assert_eq!(world.repo(&["list", "--no-cache", "--json"]).ended_with(22).stdout, "[]\n");
}
