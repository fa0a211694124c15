//! How snapshots are named on the command line.

use crate::kit::World;

#[test]
fn latest_and_ids_name_snapshots() {
    let world = World::with_snapshot();
    world.write("live/a.txt", "second\n");
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let path = world.text("live/a.txt");
    let content = |snapshot: &str| world.repo(&["cat", &format!("{snapshot}:{path}")]).succeeded().stdout;
    let ids = world.ids();
    assert_eq!(content("latest"), "second\n");
    assert_eq!(content("latest~1"), "first\n");
    assert_eq!(content(&ids[0]), "first\n");
    assert_eq!(content(&ids[1][..12].to_uppercase()), "second\n");
    assert_eq!(content("@today"), "second\n");
    world.repo(&["ls", "latest~2"]).failed_with(1, &["2"]);
}

#[test]
fn times_find_the_last_snapshot_before_them() {
    let world = World::with_snapshot();
    let time = world.repo(&["list", "--json"]).succeeded().json()[0]["time"].as_str().unwrap().to_owned();
    world.write("live/a.txt", "second\n");
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let path = world.text("live/a.txt");
    assert_eq!(world.repo(&["cat", &format!("@{time}:{path}")]).succeeded().stdout, "first\n");
    world.repo(&["ls", "@2001-01-01"]).failed_with(1, &["first"]);
    world.repo(&["ls", "@2999-01-01"]).failed_with(2, &["future", "now it is"]);
    world.repo(&["ls", "@someday"]).failed_with(2, &["someday"]);
    world.repo(&["ls", "newest"]).failed_with(2, &["newest"]);
}

#[test]
fn an_id_that_fits_several_lists_them() {
    let world = World::with_repository();
    let digit = loop {
        world.write("live/a.txt", world.ids().len().to_string());
        world.repo(&["snapshot", "-q", "live"]).succeeded();
        let ids = world.ids();
        let last = &ids[ids.len() - 1][..1];
        if ids[..ids.len() - 1].iter().any(|id| id.starts_with(last)) {
            break last.to_owned();
        }
    };
    let ran = world.repo(&["ls", &digit]).failed_with(1, &["more digits"]);
    let fitting: Vec<String> = world.ids().into_iter().filter(|id| id.starts_with(&digit)).collect();
    assert!(fitting.len() > 1);
    for id in fitting {
        assert!(ran.stderr.contains(&id[..8]), "{id} is not in {}", ran.stderr);
    }
}

#[test]
fn an_id_that_fits_none_and_an_empty_repository_are_told() {
    let world = World::with_repository();
    world.repo(&["ls"]).failed_with(1, &["none in this repository"]);
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let unused = ["0000000000", "ffffffffff"].into_iter().find(|id| !world.ids()[0].starts_with(id)).unwrap();
    world.repo(&["ls", unused]).failed_with(1, &[unused]);
}
