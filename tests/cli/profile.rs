//! Profiles: what is not said on the command line or in the environment.

use crate::kit::World;

/// A world with a repository and a profile `phone` for it.
fn world() -> World {
    let world = World::with_repository();
    let text = format!(
        "[other]\n\n[phone]\nrepository = \"{}\"\nrecovery-key-file = \"~/key\"\n\n[phone.snapshot]\n\
         paths = [\"{}\"]\ntag = [\"nightly\"]\nhost = \"pixel\"\ndescription = \"by itself\"\n",
        world.text("repo"),
        world.text("live")
    );
    world.write("home/.config/chatvault/profiles.toml", text);
    std::fs::copy(world.path("key"), world.path("home/key")).unwrap();
    world
}

#[test]
fn a_snapshot_needs_nothing_but_the_name_of_its_profile() {
    let world = world();
    world.run(["-P", "phone", "snapshot"]).succeeded();
    let list = world.run(["list", "--json", "--profile", "phone"]).succeeded().json();
    assert_eq!(
        (&list[0]["host"], &list[0]["tags"], &list[0]["description"]),
        (&"pixel".into(), &serde_json::json!(["nightly"]), &"by itself".into())
    );
    assert_eq!(list[0]["paths"], serde_json::json!([world.text("live")]));
    world.run_with(&[("CHATVAULT_PROFILE", "phone")], &["ls"]).succeeded();
}

#[test]
fn command_line_and_environment_are_stronger() {
    let world = world();
    world.write("elsewhere/x", "x");
    world.run(["-P", "phone", "snapshot", "--tag", "own", "--host", "me", "elsewhere"]).succeeded();
    let list = world.run(["list", "--json", "-P", "phone"]).succeeded().json();
    assert_eq!((&list[0]["host"], &list[0]["tags"]), (&"me".into(), &serde_json::json!(["own"])));
    assert_eq!(list[0]["paths"], serde_json::json!([world.text("elsewhere")]));
    let nowhere = world.text("nowhere");
    world.run(["-P", "phone", "-r", "nowhere", "list"]).failed_with(10, &["nowhere"]);
    world
        .run_with(&[("CHATVAULT_REPOSITORY", &nowhere)], &["-P", "phone", "list"])
        .failed_with(10, &[&nowhere]);
    world.run_with(&[("CHATVAULT_PROFILE", "gone")], &["-P", "phone", "list"]).succeeded();
}

#[test]
fn mistakes_are_told_with_their_line_and_secrets_never_shown() {
    let world = world();
    world.run(["-P", "gone", "list"]).failed_with(2, &["`gone`", "`other`", "`phone`"]);
    world.run(["-P", "other", "snapshot"]).failed_with(2, &["PATH"]);
    world.run(["snapshot"]).failed_with(2, &["PATH"]);
    world.write("home/.config/chatvault/profiles.toml", "[phone]\nrepo = \"/x\"\n");
    world.run(["-P", "phone", "list"]).failed_with(2, &["line 2", "`repo`", "repository"]);
    world.write("home/.config/chatvault/profiles.toml", "[phone]\npassword = \"hunter2\"\n");
    let ran = world.run(["-P", "phone", "list"]).failed_with(2, &["line 2", "password-file"]);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    std::fs::remove_file(world.path("home/.config/chatvault/profiles.toml")).unwrap();
    world.run(["-P", "phone", "list"]).failed_with(2, &["profiles.toml", "[phone]"]);
}
