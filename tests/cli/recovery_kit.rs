//! `recovery-kit`: the page, the new key for a password, and the proof.

use crate::kit::World;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn the_page_holds_the_key_in_use_and_adds_no_slot() {
    let world = World::with_repository();
    let slots = world.files("repo/keys").len();
    let page = world.repo(&["recovery-kit"]).succeeded().stdout;
    let squeezed = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    assert!(squeezed(&page).contains(&squeezed(&world.read("key"))));
    assert!(page.contains(&world.text("repo")) && page.contains("restore latest"));
    assert_eq!(world.files("repo/keys").len(), slots);
}

#[test]
fn with_a_password_a_new_key_is_added_that_opens_the_repository() {
    let world = World::new();
    world.write("pw", "secret\n");
    world.run(["-r", "repo", "-p", "pw", "init", "-q"]).succeeded();
    world.run(["-r", "repo", "-p", "pw", "recovery-kit", "--output", "kit"]).succeeded();
    assert_eq!(fs::metadata(world.path("kit")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(world.files("repo/keys").len(), 2);
    world.run(["-r", "repo", "--recovery-key-file", "kit", "list"]).succeeded();
    world.run(["-r", "repo", "-p", "pw", "list"]).succeeded();
}

#[test]
fn an_existing_file_is_never_overwritten_and_no_key_is_added_then() {
    let world = World::new();
    world.write("pw", "secret\n");
    world.write("kit", "mine");
    world.run(["-r", "repo", "-p", "pw", "init", "-q"]).succeeded();
    world
        .run(["-r", "repo", "-p", "pw", "recovery-kit", "--output", "kit"])
        .failed_with(1, &["never overwritten"]);
    assert_eq!(world.read("kit"), "mine");
    assert_eq!(world.files("repo/keys").len(), 1);
}

#[test]
fn a_file_in_a_folder_that_is_not_there_is_refused_in_words_that_help() {
    let world = World::with_repository();
    for (arguments, file) in [
        (&["recovery-kit", "--output", "gone/kit.txt"][..], "gone/kit.txt"),
        (&["-r", "new", "--recovery-key-file", "gone/n.key", "init"], "gone/n.key"),
        (&["-r", "new", "-p", "key", "--key-file", "gone/n.key", "init"], "gone/n.key"),
    ] {
        let ran = if arguments[0] == "-r" { world.run(arguments) } else { world.repo(arguments) };
        let ran = ran.failed_with(1, &[&format!("Failed to make {file}"), "the folder gone is not there"]);
        assert!(!ran.stderr.contains(".chatvault-") && ran.stderr.contains("make that folder"), "{ran:?}");
    }
    assert!(!world.path("new").exists());
}

#[test]
fn verify_proves_a_typed_page_and_writes_nothing() {
    let world = World::with_repository();
    let page = world.repo(&["recovery-kit"]).succeeded().stdout;
    world.write("typed", page.to_uppercase().replace("    ", "\t"));
    let before = (world.files("repo"), world.files("home"));
    let ran = world.run(["-r", "repo", "recovery-kit", "--verify", "typed"]).succeeded();
    assert!(ran.stdout.contains("opens the repository"), "{}", ran.stdout);
    assert_eq!((world.files("repo"), world.files("home")), before);
}

#[test]
fn verify_refuses_a_mistyped_page_and_the_page_of_another_repository() {
    let world = World::with_repository();
    world.run(["-r", "other", "--recovery-key-file", "other.key", "init", "-q"]).succeeded();
    world.run(["-r", "repo", "recovery-kit", "--verify", "other.key"]).failed_with(
        12,
        &[
            "typed correctly, but it does not open the repository at",
            &world.text("repo"),
            "compare the repository id",
        ],
    );
    let key = world.read("key");
    let wrong = if key.as_bytes()[10] == b'0' { "1" } else { "0" };
    world.write("typo", format!("{}{wrong}{}", &key[..10], &key[11..]));
    world.run(["-r", "repo", "recovery-kit", "--verify", "typo"]).failed_with(12, &["mistyped"]);
    world.write("empty", "");
    world
        .run(["-r", "repo", "recovery-kit", "--verify", "empty"])
        .failed_with(12, &["no recovery key was found in empty"]);
}

#[test]
fn a_key_that_opens_nothing_is_not_printed_as_a_kit() {
    let world = World::with_repository();
    world.run(["-r", "other", "--recovery-key-file", "other.key", "init", "-q"]).succeeded();
    let ran = world.run(["-r", "repo", "--recovery-key-file", "other.key", "recovery-kit"]);
    assert_eq!(ran.failed_with(12, &["recovery key", &world.text("repo")]).stdout, "");
}

#[test]
fn json_has_the_page_only_where_no_file_has_it() {
    let world = World::with_repository();
    let line = world.repo(&["recovery-kit", "--json"]).succeeded().json();
    assert_eq!(line["message_type"], "recovery_kit");
    assert!(line["page"].as_str().unwrap().contains("cv1-"));
    let line = world.repo(&["recovery-kit", "--json", "--output", "kit"]).succeeded().json();
    assert_eq!(line["page"], serde_json::Value::Null);
    assert_eq!(line["action"], "made");
    let line = world.repo(&["recovery-kit", "--json", "--verify", "kit"]).succeeded().json();
    assert_eq!(line["action"], "verified");
}

#[test]
fn one_kit_key_for_each_label_and_a_lost_page_is_replaced_on_request() {
    let world = World::new();
    world.write("pw", "nine horses in the rain\n");
    let run = |arguments: &[&str]| world.run(["-r", "repo", "-p", "pw"].iter().chain(arguments));
    run(&["init", "-q"]).succeeded();
    run(&["recovery-kit", "--output", "kit"]).succeeded();
    let ran =
        run(&["recovery-kit", "--output", "again"]).failed_with(1, &["recovery kit", "--replace", "--label"]);
    assert_eq!(ran.stdout, "");
    assert!(!world.path("again").exists());
    assert_eq!(world.files("repo/keys").len(), 2);
    run(&["recovery-kit", "--label", "for Ben", "--output", "ben"]).succeeded();
    run(&["recovery-kit", "--replace", "--output", "new"]).succeeded();
    assert_eq!(world.files("repo/keys").len(), 3);
    let opens = |kit: &str| world.run(["-r", "repo", "--recovery-key-file", kit, "list"]).code;
    assert_eq!([opens("kit"), opens("ben"), opens("new")], [12, 0, 0]);
}
