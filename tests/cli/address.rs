//! Where the repository is: a folder, never an address of the network, and `~/` wherever the shell left it alone.

use crate::kit::World;

#[test]
fn an_address_of_the_network_is_refused_and_no_folder_of_its_name_is_made() {
    let world = World::new();
    for address in [
        "s3:bucket/x",
        "sftp:user@host:/x",
        "sftp://host/x",
        "ssh://host/x",
        "rclone:remote:x",
        "rest:https://host/",
        "host:x",
    ] {
        let hint = format!("write ./{address}");
        let told = ["not a folder", hint.as_str()];
        world.run(["-r", address, "--recovery-key-file", "key", "init"]).failed_with(2, &told);
        world
            .run_with(&[("CHATVAULT_REPOSITORY", address)], &["--recovery-key-file", "key", "init"])
            .failed_with(2, &told);
        world.run(["-r", address, "list"]).failed_with(2, &told);
        let profile = format!("[far]\nrepository = \"{address}\"\n");
        world.write("home/.config/chatvault/profiles.toml", profile);
        world.run(["-P", "far", "--recovery-key-file", "key", "init"]).failed_with(2, &["not a folder"]);
        let first = address.split('/').next().unwrap();
        assert!(!world.path(first).exists() && !world.path("key").exists(), "{address}");
    }
    world.run(["-r", "./s3:bucket/x", "--recovery-key-file", "key", "init"]).succeeded();
    assert!(world.path("s3:bucket/x/config").exists());
}

#[test]
fn a_tilde_that_the_shell_left_alone_is_the_home() {
    let world = World::new();
    world.run(["--repo=~/repo", "--recovery-key-file=~/key", "init"]).succeeded();
    assert!(world.path("home/repo/config").exists() && world.path("home/key").exists());
    assert!(!world.path("~").exists());
    let variables = [("CHATVAULT_REPOSITORY", "~/repo"), ("CHATVAULT_RECOVERY_KEY_FILE", "~/key")];
    world.run_with(&variables, &["list"]).succeeded();
    world.run(["-r", "~ben/repo", "--recovery-key-file", "key", "init"]).failed_with(2, &["./~ben/repo"]);
    assert!(!world.path("~ben").exists());
}

#[test]
fn paths_in_advice_are_quoted_for_the_shell() {
    let world = World::new();
    let ran = world.run(["-r", "my chats", "--recovery-key-file", "a key", "list"]);
    ran.failed_with(10, &["chatvault -r 'my chats' --recovery-key-file 'a key' init"]);
    world.run(["-r", "s3:my bucket", "list"]).failed_with(2, &["write './s3:my bucket'"]);
    world.run(["-r", "repo", "--recovery-key-file", "key", "init"]).succeeded();
    world.write("my live/sub/a.txt", "a");
    world.repo(&["snapshot", "my live"]).succeeded();
    let folder = format!("latest:{}", world.text("my live/sub"));
    let quoted = format!(":{}'` shows", world.text("my live/sub"));
    world
        .repo(&["cat", &folder])
        .failed_with(1, &["chatvault -r repo --recovery-key-file key ls '", &quoted]);
}
