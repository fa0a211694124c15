//! `cat`: the bytes of a file.

use crate::kit::World;

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
