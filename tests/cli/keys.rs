//! `key`: who can open the repository, and what is said to those who cannot. A password costs a quarter of a second each
//! time: most of this is done with recovery keys.

use crate::kit::World;
use crate::terminal::Terminal;
use chatvault_engine::base::event::Silent;
use chatvault_engine::base::{Cancel, Timestamp, WriterId};
use chatvault_engine::crypto::{Credential, RecoveryKey};
use chatvault_engine::format::lease::LeaseKind;
use chatvault_engine::repo::{Client, Repo, Session};
use chatvault_engine::store::LocalStore;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

/// The keys of `repo`, by the recovery key in this file.
fn keys(world: &World, key: &str) -> Vec<Value> {
    let list = world.run(["-r", "repo", "--recovery-key-file", key, "key", "list", "--json"]);
    list.succeeded().json().as_array().unwrap().clone()
}

fn id_of(keys: &[Value], label: &str) -> String {
    let key = keys.iter().find(|key| key["label"] == label).unwrap();
    key["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_key_is_added_listed_and_removed() {
    let world = World::with_repository();
    let add = ["key", "add", "--new-recovery-key", "second", "--label", "a \x1b[31mpaper"];
    let line = world.repo(&[&add[..], &["--json"]].concat()).succeeded().json();
    assert_eq!((&line["message_type"], &line["action"]), (&"key_changed".into(), &"added".into()));
    assert_eq!((&line["kind"], &line["recovery_key_file"]), (&"recovery_key".into(), &"second".into()));
    assert_eq!(fs::metadata(world.path("second")).unwrap().permissions().mode() & 0o777, 0o600);

    let listed = keys(&world, "second");
    assert_eq!(listed.len(), 2);
    let id = id_of(&listed, "a \x1b[31mpaper");
    assert_eq!(line["id"], id.as_str());
    for key in &listed {
        assert_eq!(key["current"], key["id"] == id.as_str());
        assert_eq!((&key["user"], &key["state"]), (&"ann".into(), &"active".into()));
        assert!(key["created"].is_string() && key["host"].is_string());
    }
    let table = world.repo(&["key", "list"]).succeeded().stdout;
    assert!(table.lines().count() == 3 && table.contains("a \\u{1b}[31mpaper"), "{table}");
    assert!(table.contains("*  recovery key"), "{table}");

    world.repo(&["key", "remove", &id[..6].to_uppercase()]).succeeded();
    world.run(["-r", "repo", "--recovery-key-file", "second", "list"]).failed_with(12, &["does not open"]);
    assert_eq!(keys(&world, "key").len(), 1);
    assert!(world.files("repo/leases").is_empty());
}

#[test]
fn what_would_lock_people_out_is_refused_with_what_to_do() {
    let world = World::with_repository();
    let own = keys(&world, "key")[0]["id"].as_str().unwrap().to_owned();
    world.repo(&["key", "remove", &own, "--force"]).failed_with(2, &["the last one", "-r repo"]);
    world.repo(&["key", "add", "--new-recovery-key", "second", "-q"]).succeeded();
    world.repo(&["key", "remove", &own]).failed_with(2, &["at this moment", "--force"]);
    world
        .repo(&["key", "remove", "zz"])
        .failed_with(1, &["no key begins so", "chatvault -r repo --recovery-key-file key key list"]);
    world.repo(&["key", "remove", ""]).failed_with(1, &["no key"]);
    world.repo(&["key", "add", "--new-recovery-key", "second"]).failed_with(1, &["opens it already"]);
    world
        .repo(&["key", "add", "--label", &"x".repeat(300), "--new-recovery-key", "third"])
        .failed_with(2, &["256"]);
    assert!(!world.path("third").exists(), "a key that opens nothing is left behind");
    world.repo(&["key", "passwd"]).failed_with(2, &["recovery key", "key add"]);
    world.repo(&["key", "add"]).failed_with(2, &["--new-password-file"]);
    world.repo(&["key", "add", "--new-recovery-key", "x", "--new-key-file", "y"]).ended_with(2);
    world.repo(&["key", "remove", &own, "--force"]).succeeded();
    world.repo(&["list"]).ended_with(12);
    world.run(["-r", "repo", "--recovery-key-file", "second", "list"]).succeeded();
}

#[test]
fn a_changed_password_opens_and_the_old_one_no_longer_does() {
    let world = World::new();
    world.write("old", "old horse\n");
    world.write("new", "new horse\nsecond line\n");
    world.run(["-r", "repo", "-p", "old", "init", "-q"]).succeeded();
    let passwd = ["-r", "repo", "-p", "old", "key", "passwd", "--json", "--new-password-command", "cat new"];
    let line = world.run(passwd).succeeded().json();
    assert_eq!((&line["action"], &line["kind"]), (&"replaced".into(), &"password".into()));
    assert_ne!(line["id"], line["replaced"]);
    assert_eq!(world.files("repo/keys").len(), 1);
    assert_eq!(world.files("repo/mirror/keys").len(), 1);
    let refused = world.run(["-r", "repo", "-p", "old", "list"]).failed_with(12, &["does not open"]);
    assert!(!refused.stderr.contains("slot") && !refused.stderr.contains("horse"), "{}", refused.stderr);
    world.run(["-r", "repo", "-p", "new", "list"]).succeeded();
}

#[test]
fn password_and_key_file_open_together_and_every_wrong_or_missing_factor_is_told_in_the_same_words() {
    let world = World::new();
    world.write("pw", "horse\n");
    world.write("wrong", "cow\n");
    let init = world.run(["-r", "repo", "-p", "pw", "--key-file", "second", "init", "--json"]);
    let line = init.succeeded().json();
    assert_eq!((&line["opened_by"], &line["key_file"]), (&"password_and_key_file".into(), &"second".into()));
    assert_eq!(fs::metadata(world.path("second")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(world.read("second").len(), 64);
    let file = world.text("second");
    world.run_with(&[("CHATVAULT_KEY_FILE", &file)], &["-r", "repo", "-p", "pw", "list"]).succeeded();

    let mut said = Vec::new();
    for given in [
        &["-p", "wrong", "--key-file", "second"][..],
        &["-p", "pw", "--key-file", "wrong"],
        &["-p", "pw"],
        &["-p", "wrong"],
    ] {
        let ran = world.run([&["-r", "repo"], given, &["list"]].concat()).failed_with(12, &["does not open"]);
        said.push((ran.stdout, ran.stderr));
    }
    // A recovery key that is one, but not of this repository.
    world.write("other", RecoveryKey::random().unwrap().print());
    let ran = world.run(["-r", "repo", "--recovery-key-file", "other", "list"]).ended_with(12);
    said.push((ran.stdout, ran.stderr));
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(!said[0].1.contains("slot"));
}

#[test]
fn key_files_that_are_none_are_refused_and_one_that_is_missing_is_only_made_for_a_new_key() {
    let world = World::with_repository();
    world.write("pw", "horse\n");
    world.write("empty", "");
    let with = |file: &str| world.run(["-r", "repo", "-p", "pw", "--key-file", file, "list"]);
    with("missing").failed_with(1, &["read key file missing"]);
    assert!(!world.path("missing").exists());
    with("empty").failed_with(2, &["empty"]);
    with("live").failed_with(1, &["key file live"]);
    let both = ["-r", "repo", "--recovery-key-file", "key", "--key-file", "pw", "list"];
    world.run(both).failed_with(2, &["Both"]);
    let refused = ["key", "add", "--new-password-file", "pw", "--new-key-file", "empty"];
    world.repo(&refused).failed_with(2, &["empty"]);
    // The key file of the old password goes on with the new one.
    world.repo(&["key", "add", "-q", "--new-password-file", "pw", "--new-key-file", "file"]).succeeded();
    world.write("next", "cow\n");
    let opened =
        ["-r", "repo", "-p", "pw", "--key-file", "file", "key", "passwd", "--new-password-file", "next"];
    world.run(opened).succeeded();
    world.run(["-r", "repo", "-p", "next", "--key-file", "file", "list"]).succeeded();
    assert_eq!(keys(&world, "key").len(), 2);
}

/// A lease of this test's own process, which lives.
fn lease_of_a_living_program(world: &World) -> Repo {
    let read = |path: &str| fs::read_to_string(path).unwrap().trim().to_owned();
    let stat = read("/proc/self/stat");
    let client = Client {
        host: read("/proc/sys/kernel/hostname"),
        user: "ann".into(),
        program: "test".into(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        pid: std::process::id(),
        pid_namespace: 1,
        process_started: stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .nth(19)
            .unwrap()
            .parse()
            .unwrap(),
    };
    let session = Session {
        client,
        clock: Arc::new(Timestamp::default),
        since_boot: Arc::new(|| Duration::from_secs(1)),
        machine: Arc::new(|| [1; 16]),
        pause: Arc::new(|_| {}),
        is_alive: Arc::new(|_, _| true),
        utc_offset_minutes: 0,
        cache_dir: None,
        scratch_dir: None,
        compression: 3,
        threads: 1,
        cancel: Cancel::new(),
    };
    let key = Credential::Recovery(RecoveryKey::parse(&world.read("key")).unwrap());
    let store = LocalStore::open(&world.path("repo")).unwrap();
    Repo::open(Arc::new(store), &key, session, &Silent).unwrap()
}

#[test]
fn while_another_program_changes_keys_it_is_11_and_a_running_snapshot_forbids_nothing() {
    let world = World::with_repository();
    let other = lease_of_a_living_program(&world);
    let writer = WriterId::new([1; 16]);
    let lease = other.take_lease(LeaseKind::KeyChange, writer).unwrap();
    let add = |file: &str| world.repo(&["key", "add", "-q", "--new-recovery-key", file]);
    add("second").failed_with(11, &["another program is at work", &std::process::id().to_string()]);
    assert!(!world.path("second").exists());
    assert_eq!(world.files("repo/keys").len(), 1);
    world.repo(&["key", "list"]).succeeded();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    other.remove_lease(&lease.name).unwrap();
    other.take_lease(LeaseKind::Snapshot, writer).unwrap();
    add("second").succeeded();
    assert_eq!(world.files("repo/keys").len(), 2);
}

#[test]
fn a_key_that_was_removed_and_put_back_is_shown_and_goes_with_the_next_change() {
    let world = World::with_repository();
    world.repo(&["key", "add", "-q", "--new-recovery-key", "second", "--label", "second"]).succeeded();
    let id = id_of(&keys(&world, "key"), "second");
    let slot = fs::read(world.path(&format!("repo/keys/{id}"))).unwrap();
    world.repo(&["key", "remove", "-q", &id]).succeeded();
    world.write(&format!("repo/keys/{id}"), &slot);
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    assert_eq!(world.files("repo/mirror/keys").len(), 1, "a snapshot brought it back");
    let listed = keys(&world, "key");
    assert_eq!(listed.iter().find(|key| key["id"] == id.as_str()).unwrap()["state"], "removed");
    assert!(world.repo(&["key", "list"]).succeeded().stdout.contains("removed, second"));
    world.repo(&["key", "add", "-q", "--new-recovery-key", "third"]).succeeded();
    assert!(!world.path(&format!("repo/keys/{id}")).exists());
}

#[test]
fn a_key_that_is_gone_though_nobody_removed_it_is_22() {
    let world = World::with_repository();
    world.repo(&["key", "add", "-q", "--new-recovery-key", "second", "--label", "second"]).succeeded();
    let id = id_of(&keys(&world, "key"), "second");
    for folder in ["keys", "mirror/keys"] {
        fs::remove_file(world.path(&format!("repo/{folder}/{id}"))).unwrap();
    }
    let ran = world.repo(&["key", "list"]).ended_with(22);
    assert!(ran.stderr.contains(&id[..8]), "{}", ran.stderr);
}

const QUESTION: &str = "Password of the repository";

#[test]
fn at_a_terminal_a_password_may_be_typed_three_times_and_is_not_shown() {
    let world = World::new();
    world.write("pw", "right-horse\n");
    world.run(["-r", "repo", "-p", "pw", "init", "-q"]).succeeded();
    let list = || Terminal::new(&world, "-r repo list");
    let ran = list().answers(QUESTION, &["wrong-horse-1", "wrong-horse-2", "right-horse"]).succeeded();
    assert_eq!(ran.stdout.matches(QUESTION).count(), 3, "{}", ran.stdout);
    let ran = list().answers(QUESTION, &["wrong-horse-1", "wrong-horse-2", "wrong-horse-3"]);
    assert_eq!(ran.code, 12, "{}", ran.stdout);
    assert_eq!(ran.stdout.matches(QUESTION).count(), 3, "{}", ran.stdout);
}

#[test]
fn at_a_terminal_a_new_password_is_asked_for_until_it_was_typed_twice() {
    let world = World::with_repository();
    // Ends each of the questions.
    let add = || Terminal::new(&world, "-r repo --recovery-key-file key key add");
    let right = "first-horse-of-nine";
    let ran = add().answers(": ", &[right, "other-horse-of-nine", right, right]).succeeded();
    assert!(ran.stdout.contains("differ. Try again"), "{}", ran.stdout);
    world.write("pw", format!("{right}\n"));
    world.run(["-r", "repo", "-p", "pw", "list"]).succeeded();
    let ran = add().answers(": ", &["", "", "", "", ""]).ended_with(1);
    assert!(ran.stdout.contains("empty password"), "{}", ran.stdout);
}

#[test]
fn a_weak_password_is_said_to_be_weak_and_kept_only_if_it_is_typed_again() {
    let world = World::new();
    let init = |name: &str| Terminal::new(&world, &format!("-r {name} init"));
    let right = "nine horses in the rain";
    let ran = init("one").answers(": ", &["aaaa", right, right]).succeeded();
    assert!(ran.stdout.contains("This password is weak"), "{}", ran.stdout);
    init("two").answers(": ", &["aaaa", "aaaa"]).succeeded();
    for (repository, password) in [("one", right), ("two", "aaaa")] {
        world.write("pw", format!("{password}\n"));
        world.run(["-r", repository, "-p", "pw", "list"]).succeeded();
    }
    world.write("pw", "aaaa\n");
    let ran = world.run(["-r", "three", "-p", "pw", "init"]).succeeded();
    assert!(ran.stderr.contains("warning: This password is weak"), "{}", ran.stderr);
}

#[test]
fn a_recovery_key_is_taken_at_every_prompt_which_says_what_opens_the_repository() {
    let world = World::new();
    world.write("pw", "right-horse\n");
    world.run(["-r", "repo", "-p", "pw", "init", "-q"]).succeeded();
    world.run(["-r", "repo", "-p", "pw", "key", "add", "-q", "--new-recovery-key", "key"]).succeeded();
    let key = world.read("key").trim().to_owned();
    let list = |name: &str| Terminal::new(&world, &format!("-r {name} list"));
    list("repo").answers("Password or recovery key of the repository", &["wrong", &key]).succeeded();
    list("repo").answers("Password or recovery key of the repository", &["right-horse"]).succeeded();
    let changed = if key.ends_with('0') { "1" } else { "0" };
    let mistyped = format!("{}{changed}", &key[..key.len() - 1]);
    let ran = list("repo").answers("Password or recovery key", &[&mistyped, &key]).succeeded();
    assert!(ran.stdout.contains("check group"), "{}", ran.stdout);
    Terminal::new(&world, "-r repo recovery-kit")
        .answers("Password or recovery key", &["wrong", &key])
        .succeeded();

    world.run(["-r", "other", "--recovery-key-file", "key", "init", "-q"]).succeeded();
    let ran = list("other").answers("Recovery key of the repository", &["horse", &key]).succeeded();
    assert!(!ran.stdout.contains("assword"), "{}", ran.stdout);
}

#[test]
fn a_printed_key_that_is_somebodys_password_opens_as_a_password() {
    let world = World::new();
    let text = RecoveryKey::random().unwrap().print();
    world.write("pw", format!("{text}\n"));
    world.run(["-r", "repo", "-p", "pw", "init", "-q"]).succeeded();
    Terminal::new(&world, "-r repo list").answers(QUESTION, &[&text]).succeeded();
    world.run(["-r", "other", "--recovery-key-file", "key", "init", "-q"]).succeeded();
    world.run(["-r", "other", "-p", "key", "list"]).failed_with(12, &["--recovery-key-file"]);
}

#[test]
fn a_password_is_asked_for_on_the_terminal_while_standard_input_is_the_content() {
    let world = World::new();
    world.write("pw", "right-horse\n");
    world.run(["-r", "repo", "-p", "pw", "init", "-q"]).succeeded();
    let line = "printf content | chatvault -r repo snapshot --stdin --stdin-filename chats.sql";
    Terminal::of(&world, "dumb", line).answers(QUESTION, &["right-horse"]).succeeded();
    let ran = world.run(["-r", "repo", "-p", "pw", "cat", "latest:/chats.sql"]).succeeded();
    assert_eq!(ran.stdout, "content");
}

#[test]
fn key_keep_saves_the_printed_key_again() {
    let world = World::new();
    world.write("live/a", "a");
    world.run(["snapshot", "-q", "live"]).succeeded();
    world.run(["recovery-kit", "--output", "kit"]).succeeded();
    let kept = world.files("home/.config/chatvault/recovery-keys").remove(0);
    let key = fs::read_to_string(&kept).unwrap();
    fs::remove_file(&kept).unwrap();
    world.run(["list"]).failed_with(2, &["key keep"]);
    let ran = Terminal::new(&world, "key keep").answers("Recovery key of the repository", &[key.trim()]);
    assert!(ran.succeeded().stdout.contains(kept.to_str().unwrap()));
    world.run(["list"]).succeeded();
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    // A repository elsewhere, and a saved key that is damaged.
    fs::rename(world.path("home/.local/share/chatvault/repository"), world.path("moved")).unwrap();
    fs::write(&kept, "cv1-00").unwrap();
    world.run(["-r", "moved", "list"]).ended_with(12);
    let line = world.run(["-r", "moved", "--recovery-key-file", "kit", "key", "keep", "--json"]);
    assert_eq!(line.succeeded().json()["action"], "kept");
    world.run(["-r", "moved", "list"]).succeeded();
    world.write("pw", "nine horses in the rain\n");
    let new = ["key", "add", "-q", "--new-password-file", "pw"];
    world.run(["-r", "moved"].iter().chain(&new)).succeeded();
    world.run(["-r", "moved", "-p", "pw", "key", "keep"]).failed_with(2, &["never saved"]);
}

#[test]
fn a_kept_key_that_is_lost_is_named_and_the_printed_one_may_be_typed() {
    let world = World::new();
    world.write("live/a", "a");
    world.run(["snapshot", "-q", "live"]).succeeded();
    world.run(["recovery-kit", "--output", "kit"]).succeeded();
    let keys = world.path("home/.config/chatvault/recovery-keys");
    let kept = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    let key = fs::read_to_string(&kept).unwrap();
    fs::rename(world.path("home/.config/chatvault"), world.path("elsewhere")).unwrap();
    let file = kept.to_str().unwrap();
    world
        .run(["list"])
        .failed_with(2, &[file, "printed recovery kit", "--recovery-key-file FILE", "key keep"]);
    let list = || Terminal::new(&world, "list");
    let ran = list().answers("Recovery key of the repository", &["wrong-horse", key.trim()]).succeeded();
    assert!(ran.stdout.contains(file) && ran.stdout.contains("printed recovery kit"), "{}", ran.stdout);
    world.run(["--recovery-key-file", "kit", "list"]).succeeded();
}

#[test]
fn an_interrupt_at_the_question_ends_it_at_once() {
    let world = World::new();
    world.write("pw", "right\n");
    world.run(["-r", "repo", "-p", "pw", "init", "-q"]).succeeded();
    let mut terminal = Terminal::new(&world, "-r repo list");
    terminal.asked(QUESTION, 1);
    terminal.types("\x03");
    let ran = terminal.ends();
    assert_eq!(ran.code, 130, "{}", ran.stdout);
    assert!(!ran.stdout.contains("Try again"), "{}", ran.stdout);
}
