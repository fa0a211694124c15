//! How snapshots are named on the command line.

use crate::kit::World;
use std::fs;

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

/// Two folders of which snapshots are taken in turns, each changed in between; `chats` has a file that goes.
fn two_lines() -> World {
    let world = World::new();
    world.repo(&["init", "-q"]).succeeded();
    for round in ["1", "2"] {
        world.write("chats/state", round);
        world.write("music/state", round);
        if round == "1" {
            world.write("chats/gone", "the last copy");
        } else {
            fs::remove_file(world.path("chats/gone")).unwrap();
        }
        world.repo(&["snapshot", "-q", "chats"]).succeeded();
        world.repo(&["snapshot", "-q", "music"]).succeeded();
    }
    world
}

#[test]
fn with_a_path_latest_and_a_time_mean_the_last_snapshot_that_holds_it() {
    let world = two_lines();
    let cat = |place: &str, name: &str| {
        let place = format!("{place}:{}", world.text(name));
        world.repo(&["cat", &place])
    };
    for (place, name, content) in [
        ("latest", "chats/state", "2"),
        ("latest~1", "chats/state", "1"),
        ("@today", "chats/state", "2"),
        ("latest", "music/state", "2"),
    ] {
        let ran = cat(place, name).succeeded();
        assert_eq!(ran.stdout, content, "{place} {name}");
        assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    }
    for place in ["latest", "@today"] {
        let ran = cat(place, "chats/gone").succeeded();
        assert_eq!(ran.stdout, "the last copy");
        assert!(ran.stderr.contains("is not in the snapshot after"), "{}", ran.stderr);
    }
    cat("latest", "chats/never").failed_with(1, &["chats/never"]);
    let place = format!("latest:{}", world.text("chats"));
    world.repo(&["restore", &place, "--target", "out"]).succeeded();
    assert_eq!(world.read("out/state"), "2");
    world.repo(&["ls", &place]).succeeded();
    world.repo(&["stats", &place]).succeeded();
}

#[test]
fn latest_with_a_number_stays_in_the_line_of_latest() {
    let world = two_lines();
    let ran = world.repo(&["diff", "latest~1", "latest"]).succeeded();
    assert!(ran.stdout.contains(&format!("M    {}", world.text("music/state"))), "{}", ran.stdout);
    assert!(!ran.stdout.contains("chats"), "{}", ran.stdout);
    world.repo(&["ls", "latest~2"]).failed_with(1, &["only 2 snapshots", "same paths"]);
}

#[test]
fn a_time_without_seconds_means_the_end_of_its_minute_and_the_answer_names_the_state() {
    let world = World::with_repository();
    let take = |time: &str| world.repo(&["snapshot", "-q", "--time", time, "live"]).succeeded();
    take("2026-11-20 21:23:07");
    world.write("live/a.txt", "second\n");
    take("2026-11-20 21:24:00");
    let place = format!("@2026-11-20 21:23:{}", world.text("live/a.txt"));
    let ran = world.repo(&["cat", &place]).succeeded();
    assert_eq!(ran.stdout, "first\n");
    assert!(ran.stderr.contains("2026-11-20 21:23:07"), "{}", ran.stderr);
    let ran = world.repo(&["ls", "@2026-11-20 21:23"]).succeeded();
    assert!(ran.stderr.contains("2026-11-20 21:23:07"), "{}", ran.stderr);
}

#[test]
fn the_time_of_a_state_is_stored_as_it_was_written_in_the_offset_of_that_day() {
    let world = World::with_repository();
    // Summer, whatever the day of the test.
    let zone = [("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")];
    let arguments = ["-r", "repo", "--recovery-key-file", "key", "snapshot", "-q", "live", "--time"];
    for time in ["2025-07-01 12:34:56", "2025-12-01 12:34:56", "2025-12-02T12:34:56-05:30"] {
        world.run_with(&zone, &[&arguments[..], &[time]].concat()).succeeded();
    }
    let list = world.repo(&["list", "--json"]).succeeded().json();
    let times: Vec<&str> =
        list.as_array().unwrap().iter().map(|snapshot| snapshot["time"].as_str().unwrap()).collect();
    assert_eq!(
        times,
        ["2025-07-01T12:34:56+02:00", "2025-12-01T12:34:56+01:00", "2025-12-02T12:34:56-05:30"]
    );
}
