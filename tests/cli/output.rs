//! Streams that are closed or full, JSON on them, and a program that is told twice to stop.

use crate::kit::{Ran, World};
use std::fs::File;
use std::io::Read;
use std::process::Stdio;

#[test]
fn a_reader_that_goes_away_ends_a_listing_quietly() {
    let world = World::with_repository();
    for number in 0..3000 {
        world.write(&format!("live/many/a rather long name of a file, number {number}"), "");
    }
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let mut command = world.command(["-r", "repo", "--recovery-key-file", "key", "-q", "ls", "-R"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_snapshot_commits_though_nobody_can_read_what_it_says() {
    let world = World::with_repository();
    for (json, number) in [("--no-progress", 1), ("--json", 2)] {
        let mut command =
            world.command(["-r", "repo", "--recovery-key-file", "key", "snapshot", json, "live"]);
        let full = || File::options().write(true).open("/dev/full").unwrap();
        let ran = Ran::of(command.stdout(full()).stderr(full()));
        assert_eq!(ran.code, 1);
        assert_eq!(world.ids().len(), number);
    }
    let mut command = world.command(["-r", "repo", "--recovery-key-file", "key", "snapshot", "live"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(world.ids().len(), 3);
}

#[test]
fn a_full_output_is_told() {
    let world = World::with_snapshot();
    let mut command = world.command(["-r", "repo", "--recovery-key-file", "key", "ls"]);
    let ran = Ran::of(command.stdout(File::options().write(true).open("/dev/full").unwrap()));
    ran.failed_with(1, &["standard output", "No space"]);
}

#[test]
fn in_json_a_failure_is_one_object_on_standard_error() {
    let world = World::with_snapshot();
    let ran = world.repo(&["--json", "ls", "latest:/nowhere"]).ended_with(1);
    assert_eq!(ran.stdout, "");
    let line: serde_json::Value = serde_json::from_str(ran.stderr.trim_end()).unwrap();
    assert_eq!((&line["message_type"], &line["code"]), (&"exit_error".into(), &1.into()));
    assert!(line["message"].as_str().unwrap().contains("/nowhere") && line["hint"].is_string());
    let ran = world.run(["--json", "nonsense"]).ended_with(2);
    let line: serde_json::Value = serde_json::from_str(ran.stderr.trim_end()).unwrap();
    assert_eq!((&line["message_type"], &line["code"]), (&"exit_error".into(), &2.into()));
}

#[test]
fn a_pipe_gets_no_progress_and_no_colour() {
    let world = World::with_repository();
    let ran = world.repo(&["snapshot", "live"]).succeeded();
    assert!(!ran.stderr.contains('\x1b') && !ran.stderr.contains('\r'), "{}", ran.stderr);
    assert!(!ran.stdout.contains('\x1b'));
}

#[test]
fn the_second_signal_ends_the_program_at_once() {
    let world = World::new();
    let pipe = world.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    world.write("pw", "secret\n");
    world.run(["-r", "repo", "-p", "pw", "init", "-q"]).succeeded();
    let mut command = world.command(["-r", "repo", "--password-command", "cat pipe", "list"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Held open, so that the password never comes.
    let _writer = File::options().write(true).open(&pipe).unwrap();
    // Signals that are sent before the first one was seen count as one.
    let ended = (0..10_000).find_map(|_| {
        let _ = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        child.try_wait().unwrap()
    });
    assert_eq!(ended.unwrap().code(), Some(130));
}
