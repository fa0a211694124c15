//! `ls`: what is in a snapshot.

use crate::kit::World;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[test]
fn without_a_path_the_sources_and_their_entries_are_listed() {
    let world = World::with_snapshot();
    let wanted: Vec<String> =
        ["live", "live/a.txt", "live/sub"].iter().map(|name| world.text(name)).collect();
    let listed = world.repo(&["ls"]).succeeded().stdout;
    assert_eq!(listed.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn a_folder_lists_its_entries_and_recursive_everything_below() {
    let world = World::with_snapshot();
    let live = world.text("live");
    let lines = |arguments: &[&str]| {
        world.repo(arguments).succeeded().stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let at = |names: &[&str]| names.iter().map(|name| world.text(name)).collect::<Vec<_>>();
    assert_eq!(lines(&["ls", &format!("latest:{live}")]), at(&["live/a.txt", "live/sub"]));
    let all = at(&["live/a.txt", "live/sub", "live/sub/b.bin", "live/sub/c.txt"]);
    assert_eq!(lines(&["ls", "-R", &format!("latest:{live}")]), all);
    assert_eq!(lines(&["ls", &format!("latest:{live}/a.txt")]), at(&["live/a.txt"]));
    let top = format!("/{}", live.split('/').nth(1).unwrap());
    assert_eq!(lines(&["ls", "latest:/"]), [top]);
}

#[test]
fn the_long_form_shows_permissions_owner_size_and_time() {
    let world = World::with_snapshot();
    let listed = world.repo(&["ls", "-l", &format!("latest:{}", world.text("live/sub"))]).succeeded().stdout;
    let line = listed.lines().next().unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert!(words[0].starts_with("-rw") && words[3] == "70000", "{line}");
    assert!(line.ends_with(&world.text("live/sub/b.bin")), "{line}");
}

#[test]
fn who_writes_no_whole_path_hears_which_ones_there_are() {
    let world = World::with_snapshot();
    let sources = format!("this snapshot is of {}", world.text("live"));
    for place in ["latest:~/live", "latest:live"] {
        for verb in
            [&["ls", place][..], &["cat", place], &["stats", place], &["restore", place, "--target", "o"]]
        {
            world
                .repo(verb)
                .failed_with(1, &["write the whole path", &sources, "--recovery-key-file key ls "]);
        }
    }
}

#[test]
fn a_name_that_is_no_text_comes_back_as_the_hint_says() {
    let world = World::with_repository();
    let odd = world.path("live").join(OsStr::from_bytes(b"caf\xe9.jpg"));
    std::fs::write(&odd, "x").unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let shown = format!("latest:{}", world.text("live/caf\\xe9.jpg"));
    world.repo(&["cat", &shown]).failed_with(1, &["--include 'caf?.jpg'"]);
    world.repo(&["restore", "latest", "--include", "caf?.jpg", "--target", "out"]).succeeded();
    assert!(world.path("out").join(odd.strip_prefix("/").unwrap()).exists());
}

#[test]
fn a_path_that_is_not_there_is_1() {
    World::with_snapshot().repo(&["ls", "latest:/nowhere/at/all"]).failed_with(1, &["/nowhere/at/all"]);
}

#[test]
fn json_gives_every_name_without_loss() {
    let world = World::with_repository();
    let odd = world.path("live").join(OsStr::from_bytes(b"odd \xff\x1b[31m"));
    std::fs::write(&odd, "x").unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let nodes = world.repo(&["ls", "--json"]).succeeded().json_lines();
    let node = nodes.iter().find(|node| node["path_bytes"].is_string()).unwrap();
    let hex: String = odd.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(node["path_bytes"], hex);
    assert_eq!(
        (&node["message_type"], &node["type"], &node["size"]),
        (&"node".into(), &"file".into(), &1.into())
    );
    let shown = world.repo(&["ls"]).succeeded().stdout;
    assert!(shown.contains("odd \\xff\\u{1b}[31m") && !shown.contains('\x1b'), "{shown}");
}
