//! `find`: where a file is, in which states it was there, and when it was gone.

use crate::kit::{Ran, World};
use crate::terminal::Terminal;
use std::fs;

/// A photo that came, was emptied, and went; beside it what stays.
fn world() -> World {
    let world = World::with_repository();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    world.write("live/photos/IMG-2024.jpg", [9; 5000]);
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    world.write("live/photos/IMG-2024.jpg", "");
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    fs::remove_file(world.path("live/photos/IMG-2024.jpg")).unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    world
}

/// The states of each line below a path.
fn states(stdout: &str) -> Vec<&str> {
    stdout
        .lines()
        .filter(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[test]
fn a_lost_photo_is_shown_with_all_that_became_of_it() {
    let world = world();
    let ids = world.ids();
    let ran = world.repo(&["find", "IMG-2024.jpg"]).succeeded();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(states(&ran.stdout), ["new", "changed", "gone"], "{}", ran.stdout);
    assert!(lines[0].starts_with(&world.text("live/photos/IMG-2024.jpg")), "{}", ran.stdout);
    assert!(lines[1].contains("4.9 KiB") && lines[1].contains(&ids[1][..8]), "{}", ran.stdout);
    assert!(lines[2].contains(" 0 B ") && lines[2].contains(&ids[2][..8]), "{}", ran.stdout);
    assert!(lines[3].contains("not in ") && lines[3].contains(&ids[3][..8]), "{}", ran.stdout);
    assert!(ran.stderr.contains("1 path in 4 snapshots") && ran.stderr.contains("restore"), "{}", ran.stderr);
    for same in ["*2024*", "photos/*.jpg", "/**/IMG-2024.jpg"] {
        assert_eq!(world.repo(&["find", same]).succeeded().stdout, ran.stdout, "{same}");
    }
    assert_eq!(world.repo(&["find", "-i", "img*.JPG"]).succeeded().stdout, ran.stdout);
    let nothing = world.repo(&["find", "img*.JPG"]).succeeded();
    assert_eq!(nothing.stdout, "");
    assert!(nothing.stderr.contains("Nothing was found in 4 snapshots"), "{}", nothing.stderr);
}

#[test]
fn json_has_a_line_for_each_version_and_a_summary() {
    let world = world();
    let ids = world.ids();
    let mut lines = world.repo(&["find", "--json", "IMG*"]).succeeded().json_lines();
    let summary = lines.pop().unwrap();
    assert_eq!(
        (&summary["message_type"], &summary["paths"], &summary["versions"], &summary["snapshots"]),
        (&"summary".into(), &1.into(), &3.into(), &4.into())
    );
    let seen: Vec<_> = lines
        .iter()
        .map(|line| (line["state"].as_str().unwrap(), line["first_snapshot"].as_str().unwrap().to_owned()))
        .collect();
    let own = |n: usize| ids[n].clone();
    assert_eq!(seen, [("new", own(1)), ("changed", own(2)), ("gone", own(3))]);
    assert_eq!((&lines[0]["size"], &lines[0]["type"]), (&5000.into(), &"file".into()));
    // The same content under another name is found by its id.
    world.write("live/copy.bin", [9; 5000]);
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let content = lines[0]["content_id"].as_str().unwrap();
    let found = world.repo(&["find", "--path-only", "--content", &content[..12]]).succeeded().stdout;
    assert_eq!(
        found,
        format!("{}\n{}\n", world.text("live/copy.bin"), world.text("live/photos/IMG-2024.jpg"))
    );
}

#[test]
fn types_times_and_snapshots_narrow_the_search() {
    let world = world();
    let paths = |arguments: &[&str]| -> Vec<String> {
        let all = [&["find", "--path-only"], arguments].concat();
        let root = world.text("live");
        let text = world.repo(&all).succeeded().stdout;
        text.lines().map(|line| line.strip_prefix(&root).unwrap().to_owned()).collect()
    };
    assert_eq!(paths(&["--type", "dir", "*"]), ["", "/photos", "/sub"]);
    assert_eq!(paths(&["--type", "f", "*.txt", "*.bin"]), ["/a.txt", "/sub/b.bin", "/sub/c.txt"]);
    assert_eq!(paths(&["--snapshot", "latest", "IMG*"]), [""; 0]);
    assert_eq!(paths(&["--snapshot", "latest~1", "--snapshot", "latest", "IMG*"]), ["/photos/IMG-2024.jpg"]);
    assert_eq!(paths(&["--oldest", "2000-01-01", "a.txt"]), ["/a.txt"]);
    assert_eq!(paths(&["--newest", "2000-01-01", "a.txt"]), [""; 0]);
    assert_eq!(paths(&["--host", "nobody", "a.txt"]), [""; 0]);
    world.repo(&["find", "--oldest", "someday", "x"]).failed_with(2, &["someday"]);
    world.repo(&["find", "[a"]).failed_with(2, &["[a"]);
    world.repo(&["find", "--content", "xyz"]).ended_with(2);
    world.repo(&["find"]).ended_with(2);
}

#[test]
fn names_are_shown_safely_and_a_reader_who_leaves_is_no_failure() {
    let world = World::with_repository();
    world.write("live/evil\x1b[2J\n.jpg", "x");
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let ran = world.repo(&["find", "*.jpg"]).succeeded();
    assert!(
        ran.stdout.contains("evil\\u{1b}[2J\\u{a}.jpg") && !ran.stdout.contains('\x1b'),
        "{}",
        ran.stdout
    );
    let line = &world.repo(&["find", "--json", "*.jpg"]).succeeded().json_lines()[0];
    assert!(line["path"].as_str().unwrap().ends_with("evil\x1b[2J\n.jpg"));
    for form in [&["find", "*"][..], &["find", "--json", "*"], &["find", "--path-only", "*"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = world.command(["-r", "repo", "--recovery-key-file", "key"].iter().chain(form));
        let ran = Ran::of(command.stdout(writer)).succeeded();
        assert!(!ran.stderr.contains("error") && !ran.stderr.contains("panic"), "{form:?}: {}", ran.stderr);
    }
}

#[test]
fn on_a_terminal_the_moving_line_is_gone_before_an_answer_is_shown() {
    let world = World::with_snapshot();
    world.write("live/new.txt", "new");
    for verb in ["find '*.txt'", "diff latest"] {
        let line = format!("exec chatvault -r repo --recovery-key-file key {verb}");
        let shown = Terminal::of(&world, "xterm", &line).ends().succeeded().stdout;
        assert!(shown.contains("Searching") || shown.contains("Comparing"), "no moving line: {shown:?}");
        let answers: Vec<&str> =
            shown.lines().filter(|line| line.contains(".txt") && !line.contains("hint")).collect();
        assert!(!answers.is_empty(), "{shown:?}");
        for answer in answers {
            let before = answer.split(&world.text("live")).next().unwrap();
            let left = before.rsplit(['\r', 'K']).next().unwrap();
            assert!(!left.contains("ing"), "{verb}: {answer:?}");
        }
    }
}
