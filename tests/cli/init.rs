//! `init`: what is made, what is refused, and that a refusal leaves nothing.

use crate::kit::World;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_missing_key_file_is_made_for_its_owner_only_and_opens_the_repository() {
    let world = World::new();
    let ran = world.run(["-r", "repo", "--recovery-key-file", "key", "init"]).succeeded();
    let next = "chatvault -r repo --recovery-key-file key recovery-kit";
    assert!(ran.stdout.contains(next), "{}", ran.stdout);
    assert!(world.read("key").starts_with("cv1-"));
    assert_eq!(fs::metadata(world.path("key")).unwrap().permissions().mode() & 0o777, 0o600);
    world.repo(&["list"]).succeeded();
}

#[test]
fn an_existing_key_file_is_used_as_it_is() {
    let world = World::new();
    world.run(["-r", "one", "--recovery-key-file", "key", "init", "-q"]).succeeded();
    let before = world.read("key");
    world.run(["-r", "two", "--recovery-key-file", "key", "init", "-q"]).succeeded();
    assert_eq!(world.read("key"), before);
    world.run(["-r", "two", "--recovery-key-file", "key", "list"]).succeeded();
}

#[test]
fn quiet_prints_nothing_at_all() {
    let world = World::new();
    world.write("pw", "nine horses in the rain\n");
    let ran = world.run(["-r", "repo", "--password-file", "pw", "init", "-q"]).succeeded();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn a_repository_or_a_folder_that_is_not_empty_is_refused_and_no_key_is_left_behind() {
    let world = World::with_repository();
    world
        .run(["-r", "repo", "--recovery-key-file", "other", "init"])
        .failed_with(1, &["create repository", "a repository is there"]);
    world.run(["-r", "live", "--recovery-key-file", "other", "init"]).failed_with(1, &["not empty", "a.txt"]);
    assert!(!world.path("other").exists());
    world.repo(&["list"]).succeeded();
}

#[test]
fn without_any_secret_and_without_a_terminal_the_ways_are_named() {
    let world = World::new();
    let ran = world.run(["-r", "repo", "init"]).failed_with(2, &["no terminal"]);
    for option in ["--password-file", "--password-command", "--recovery-key-file", "CHATVAULT_PASSWORD_FILE"]
    {
        assert!(ran.stderr.contains(option), "{}", ran.stderr);
    }
    assert!(!world.path("repo").exists());
}

#[test]
fn what_stands_in_the_way_is_told_before_a_secret_is_asked_for() {
    let world = World::with_repository();
    // Without a terminal a question would be the failure.
    world.run(["-r", "repo", "init"]).failed_with(1, &["a repository is there"]);
    world.run(["-r", "live", "init"]).failed_with(1, &["not empty"]);
}

#[test]
fn an_empty_password_is_refused() {
    let world = World::new();
    world.write("pw", "\n");
    world.run(["-r", "repo", "--password-file", "pw", "init"]).failed_with(2, &["empty"]);
    assert!(!world.path("repo").exists());
}

#[test]
fn json_names_the_repository_and_what_opens_it() {
    let world = World::new();
    let line = world.repo(&["init", "--json"]).succeeded().json();
    assert_eq!(line["message_type"], "initialized");
    assert_eq!(line["repository"], world.text("repo"));
    assert_eq!(line["opened_by"], "recovery_key");
    assert_eq!(line["id"].as_str().unwrap().len(), 64);
}

#[test]
fn the_default_repository_keeps_its_key_and_a_second_one_is_refused() {
    let world = World::new();
    let id = world.run(["init", "--json"]).succeeded().json()["id"].as_str().unwrap().to_owned();
    let key = world.path(&format!("home/.config/chatvault/recovery-keys/{id}"));
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(key.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    world.run(["list"]).succeeded();
    world.run(["init"]).failed_with(1, &["a repository is there"]);
    assert_eq!(fs::read_dir(key.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_new_repository_is_only_suggested_where_one_can_be_made() {
    let world = World::with_repository();
    let list = |path: &str| world.run(["-r", path, "--recovery-key-file", "key", "list"]);
    list("gone").failed_with(
        10,
        &["check that its disk is connected", "`chatvault -r gone --recovery-key-file key init`"],
    );
    for path in ["live", "live/a.txt"] {
        assert!(!list(path).failed_with(10, &["check the path"]).stderr.contains("init"), "{path}");
    }
}

#[test]
fn nothing_is_suggested_in_the_place_of_a_repository_whose_disk_is_not_connected() {
    let world = World::with_repository();
    let id = world.repo(&["init", "--json"]).stdout;
    assert_eq!(id, "");
    // As on a machine that never created it.
    fs::remove_file(world.path("home/.config/chatvault/known-repositories")).unwrap();
    world.repo(&["list"]).succeeded();
    fs::rename(world.path("repo"), world.path("unplugged")).unwrap();
    for is_mount_point in [false, true] {
        if is_mount_point {
            fs::create_dir(world.path("repo")).unwrap();
        }
        for verb in [&["list"][..], &["snapshot", "live"], &["recovery-kit"], &["key", "list"]] {
            let ran = world.repo(verb).failed_with(10, &["was here before", "connect its disk"]);
            assert!(!ran.stderr.contains("init"), "{verb:?}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_run_without_cache_leaves_nothing_behind() {
    let world = World::with_repository();
    fs::remove_dir_all(world.path("home/.config")).unwrap();
    world.repo(&["list", "--no-cache"]).succeeded();
    assert!(!world.path("home/.config").exists());
}

#[test]
fn commands_name_the_program_as_the_shell_would_find_it() {
    let world = World::with_repository();
    let program = env!("CARGO_BIN_EXE_chatvault");
    let list = ["-r", "repo", "--recovery-key-file", "key", "list"];
    let ran = world.run(list).succeeded();
    assert!(ran.stderr.contains("`chatvault -r repo"), "{}", ran.stderr);
    for path in ["/usr/bin:/bin", ""] {
        let ran = world.run_with(&[("PATH", path)], &list).succeeded();
        assert!(ran.stderr.contains(&format!("`{program} -r repo")), "{}", ran.stderr);
        world.run_with(&[("PATH", path)], &["ls", "newest", "-r", "gone"]).ended_with(2);
        let ran = world.run_with(&[("PATH", path)], &["list"]);
        ran.failed_with(10, &[&format!("`{program} snapshot FOLDER`")]);
    }
}
