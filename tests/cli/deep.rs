//! Folders in folders, many more of them than descriptors.

use crate::kit::{Ran, World, picture};
use std::fs;

const LEVELS: usize = 1300;

/// Runs the program on `repo` where it may open only so many descriptors, and cannot lift that limit.
fn limited(world: &World, descriptors: u32, arguments: &[&str]) -> Ran {
    let mut shell = std::process::Command::new("/bin/sh");
    let program = world.command(["-r", "repo", "--recovery-key-file", "key"].iter().chain(arguments));
    shell
        .arg("-c")
        .arg(format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""))
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(world.path(""))
        .env_clear()
        .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::of(&mut shell)
}

#[test]
fn all_of_1300_nested_folders_are_stored_compared_and_restored_with_256_descriptors() {
    let world = World::new();
    world.repo(&["init"]).succeeded();
    let mut folder = world.path("live");
    for level in 0..LEVELS {
        folder.push("d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.txt"), format!("level {level}")).unwrap();
        fs::write(folder.join("z.txt"), format!("{level} behind the folder")).unwrap();
    }
    let files = 2 * LEVELS as u64;
    let line = limited(&world, 256, &["snapshot", "--json", "live"]).succeeded().json_lines().pop().unwrap();
    assert_eq!((&line["files_new"], &line["unreadable"]), (&files.into(), &0.into()));
    // Everything is compared once more, and what was read is read again.
    let forced = limited(&world, 256, &["snapshot", "--json", "--force", "live"]).succeeded();
    assert_eq!(forced.json_lines().pop().unwrap()["files_unmodified"], files);
    limited(&world, 256, &["diff", "latest"]).succeeded();
    limited(&world, 256, &["restore", "latest", "--target", "out", "--verify"]).succeeded();
    let restored = world.path("out").join(world.text("live").trim_start_matches('/'));
    assert_eq!(picture(&restored), picture(&world.path("live")));
}
