//! `cat`: the bytes of a file.

use crate::kit::World;
use crate::terminal::Terminal;

#[test]
fn the_bytes_are_those_of_the_file() {
    let world = World::with_snapshot();
    let at = |name: &str| format!("latest:{}", world.text(name));
    let output = world
        .command(["-r", "repo", "--recovery-key-file", "key", "cat", &at("live/sub/b.bin")])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, vec![7; 70_000]);
    assert_eq!(world.repo(&["dump", &at("live/sub/c.txt")]).succeeded().stdout, "");
}

#[test]
fn folders_and_missing_files_are_refused() {
    let world = World::with_snapshot();
    world.repo(&["cat", &format!("latest:{}", world.text("live"))]).failed_with(1, &["folder", "key ls"]);
    world.repo(&["cat", "latest:/nowhere"]).failed_with(1, &["/nowhere"]);
    world.repo(&["cat", "latest"]).failed_with(2, &["SNAPSHOT:PATH"]);
    world.repo(&["cat"]).ended_with(2);
}

#[test]
fn a_terminal_is_shown_text_alone_and_everything_else_is_refused_with_the_commands_that_help() {
    let world = World::with_repository();
    world.write("live/my photo.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\x1b]0;owned\x07");
    world.write("live/late.txt", [vec![b'a'; 3_000_000], b"\x1b[31m".to_vec()].concat());
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let cat = |name: &str| {
        let place = format!("'latest:{}'", world.text(name));
        Terminal::new(&world, &format!("-r repo --recovery-key-file key cat {place}")).ends()
    };
    assert!(cat("live/a.txt").succeeded().stdout.contains("first"));
    for name in ["live/my photo.jpg", "live/late.txt"] {
        let ran = cat(name).ended_with(1);
        assert!(!ran.stdout.contains(['\x1b', '\x07']), "{name}");
        let place = format!("{}:{}", &world.ids()[0][..8], world.text(name));
        let place = if name.contains(' ') { format!("'{place}'") } else { place };
        let command = format!("restore {place} --target DIR");
        assert!(ran.stdout.contains("not plain text") && ran.stdout.contains(&command), "{command}");
    }
}
