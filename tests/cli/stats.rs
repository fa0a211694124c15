//! `stats`: figures for people and scripts.

use crate::kit::World;

fn world() -> World {
    let world = World::with_repository();
    world.write("live/IMG.jpg", [1; 40_000]);
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    world.write("live/VID.mp4", [2; 30_000]);
    world.write("live/new.txt", "only here\n");
    world.repo(&["snapshot", "-q", "--tag", "second", "live"]).succeeded();
    world
}

#[test]
fn sizes_are_told_before_and_after_by_kind_and_by_snapshot() {
    let world = world();
    let text = world.repo(&["stats"]).succeeded().stdout;
    for words in ["photos", "videos", "documents", "all files", "folders, lists", "2 snapshots", "ONLY HERE"]
    {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    for absent in ["databases", "audio"] {
        assert!(!text.contains(absent), "{absent} is in {text}");
    }
    let stats = world.repo(&["stats", "--json"]).succeeded().json();
    assert_eq!(stats["snapshots_count"], 2);
    assert_eq!(stats["total_size"], 2 * (6 + 70_000 + 40_000) + 30_000 + 10);
    assert_eq!(stats["total_unique_size"], 6 + 70_000 + 40_000 + 30_000 + 10);
    let kind = |name: &str| {
        let all = stats["kinds"].as_array().unwrap();
        all.iter().find(|kind| kind["kind"] == name).unwrap().clone()
    };
    assert_eq!((&kind("photo")["file_count"], &kind("photo")["unique_size"]), (&2.into(), &40_000.into()));
    assert_eq!((&kind("video")["file_count"], &kind("video")["unique_size"]), (&1.into(), &30_000.into()));
    assert!(stats["deduplication_ratio"].as_f64().unwrap() > 1.5);
    assert!(stats["snapshots"][1]["alone"]["unique_size"].as_u64().unwrap() >= 30_010);
    assert_eq!(stats["unneeded_size"], 0);
    let on_disk: u64 = world.files("repo").iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(stats["repository_size"], on_disk);
}

#[test]
fn one_snapshot_one_path_and_a_filter_are_counted_alone() {
    let world = world();
    let last = world.repo(&["stats", "latest", "--json"]).succeeded().json();
    assert_eq!((&last["snapshots_count"], &last["total_file_count"]), (&1.into(), &6.into()));
    assert!(last["snapshots"][0]["alone"]["blob_count"].as_u64().unwrap() > 1);
    let place = format!("latest:{}", world.text("live/sub"));
    let folder = world.repo(&["stats", &place, "--json"]).succeeded().json();
    assert_eq!((&folder["total_size"], &folder["path"]), (&70_000.into(), &world.text("live/sub").into()));
    assert!(folder["snapshots"][0]["alone"].is_null() && folder["unneeded_size"].is_null());
    let tagged = world.repo(&["stats", "--tag", "second", "--json"]).succeeded().json();
    assert_eq!((&tagged["snapshots_count"], &tagged["snapshots"]), (&1.into(), &last["snapshots"]));
    world.repo(&["stats", "latest:/nowhere"]).failed_with(1, &["/nowhere"]);
    let none = world.repo(&["stats", "--host", "nobody"]).succeeded();
    assert!(none.stderr.contains("machine nobody"), "{}", none.stderr);
    World::with_repository().repo(&["stats"]).succeeded();
}
