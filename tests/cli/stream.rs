//! `--stdin`, and what is told every night.

use crate::kit::{Ran, World};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

fn piped(world: &World, content: &[u8], arguments: &[&str]) -> Ran {
    let repository = ["-r", "repo", "--recovery-key-file", "key", "snapshot", "--stdin"];
    let mut command = world.command(repository.iter().chain(arguments));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn empty_standard_input_is_refused_unless_it_is_allowed() {
    let world = World::with_snapshot();
    piped(&world, b"", &[]).failed_with(1, &["standard input", "it is empty", "--allow-empty"]);
    assert_eq!(world.ids().len(), 1);
    piped(&world, b"", &["--allow-empty"]).succeeded();
    piped(&world, b"dump", &[]).succeeded();
    assert_eq!(world.ids().len(), 3);
    assert_eq!(world.repo(&["cat", "latest:/stdin"]).succeeded().stdout, "dump");
}

#[test]
fn a_snapshot_of_standard_input_has_nothing_to_be_compared_with_but_another_one() {
    let world = World::with_repository();
    piped(&world, b"one", &[]).succeeded();
    let refused = ["standard input", "no source"];
    world.repo(&["diff", "latest"]).failed_with(2, &refused);
    piped(&world, b"two", &[]).succeeded();
    let ran = world.repo(&["diff", "latest~1", "latest"]).succeeded();
    assert!(ran.stdout.contains("/stdin"), "{}", ran.stdout);
}

#[test]
fn sockets_and_pipes_are_counted_and_not_told_of_when_quiet() {
    let world = World::with_repository();
    let _socket = UnixListener::bind(world.path("live/socket")).unwrap();
    let ran = world.repo(&["-q", "snapshot", "live"]).succeeded();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let line = world.repo(&["-q", "snapshot", "--json", "live"]).succeeded().json_lines().pop().unwrap();
    assert_eq!((&line["specials"], &line["warnings"][0]["kind"]), (&1.into(), &"special_file".into()));
    assert!(world.repo(&["snapshot", "live"]).succeeded().stderr.contains("live/socket"));
}
