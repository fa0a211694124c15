//! `snapshot`: what is left out, where paths come from, what a dry run says, and content from standard input.

use crate::kit::{Ran, World};
use std::io::Write;
use std::process::Stdio;

/// Names below `live` in the last snapshot, sorted.
fn held(world: &World) -> Vec<String> {
    let place = format!("latest:{}", world.text("live"));
    let lines = world.repo(&["ls", "--json", "--recursive", &place]).succeeded().json_lines();
    let prefix = format!("{}/", world.text("live"));
    let path = |line: &serde_json::Value| Some(line["path"].as_str()?.strip_prefix(&prefix)?.to_owned());
    let mut names: Vec<String> = lines.iter().filter_map(path).collect();
    names.sort();
    names
}

/// Runs with this on standard input.
fn fed(world: &World, arguments: &[&str], input: &[u8]) -> Ran {
    let all = ["-r", "repo", "--recovery-key-file", "key"].iter().chain(arguments);
    let mut child = world
        .command(all)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn each_way_to_leave_something_out_leaves_out_that_and_nothing_else() {
    let world = World::with_repository();
    std::fs::remove_dir_all(world.path("live")).unwrap();
    let moov = b"\0\0\0\x1cmoov\0\0\0\x14hdlr\0\0\0\0\0\0\0\0vide";
    let video = [&b"\0\0\0\x10ftypisom\0\0\x02\0"[..], moov, &[0; 600]].concat();
    for (name, content) in [
        ("a.txt", &b"a"[..]),
        ("B.TMP", b"b"),
        ("large", &[1; 3000]),
        ("v", &video),
        ("cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55"),
        ("cache/x", b"x"),
        ("sub/.skip", b"skip me"),
        ("sub/y", b"y"),
    ] {
        world.write(&format!("live/{name}"), content);
    }
    world.write("patterns", "# notes\n*.txt\n");
    let all: Vec<&str> = vec![
        "B.TMP",
        "a.txt",
        "cache",
        "cache/CACHEDIR.TAG",
        "cache/x",
        "large",
        "sub",
        "sub/.skip",
        "sub/y",
        "v",
    ];
    let cases: [(&[&str], &[&str]); 10] = [
        (&[], &[]),
        (&["--exclude", "sub"], &["sub", "sub/.skip", "sub/y"]),
        (&["-e", "*.tmp"], &[]),
        (&["--iexclude", "*.tmp"], &["B.TMP"]),
        (&["--exclude-file", "patterns"], &["a.txt"]),
        (
            &["-e", "*", "-e", "!a.txt"],
            &["B.TMP", "cache", "cache/CACHEDIR.TAG", "cache/x", "large", "sub", "sub/.skip", "sub/y", "v"],
        ),
        (&["--exclude-caches"], &["cache/x"]),
        (&["--exclude-if-present", ".skip:skip"], &["sub/y"]),
        (&["--exclude-larger-than", "2K"], &["large"]),
        (&["--no-videos"], &["v"]),
    ];
    for (options, gone) in cases {
        world.repo(&[&["snapshot", "-q", "live"][..], options].concat()).succeeded();
        let wanted: Vec<&str> = all.iter().copied().filter(|name| !gone.contains(name)).collect();
        assert_eq!(held(&world), wanted, "{options:?}");
    }
    let summary =
        world.repo(&["snapshot", "--json", "-e", "sub", "-e", "large", "live"]).succeeded().json_lines();
    assert_eq!(summary.last().unwrap()["excluded"], 2);
    let told = world.repo(&["snapshot", "-e", "sub", "live"]).succeeded().stdout;
    assert!(told.contains("1 excluded"), "{told}");
}

#[test]
fn what_is_no_pattern_size_or_marker_is_wrong_usage() {
    let world = World::with_repository();
    for (option, value) in [
        ("--exclude", "[a"),
        ("--exclude-larger-than", "much"),
        ("--exclude-if-present", "a/b"),
        ("--time", "soon"),
    ] {
        let ran = world.repo(&["snapshot", "live", option, value]).ended_with(2);
        assert!(ran.stderr.contains(value) || ran.stderr.contains(option), "{}", ran.stderr);
    }
    world.repo(&["snapshot", "live", "--exclude-file", "not there"]).failed_with(1, &["not there"]);
    world.repo(&["snapshot", "live", "--parent", "latest"]).failed_with(1, &["Failed to find a snapshot"]);
}

#[test]
fn paths_come_from_lists_too() {
    let world = World::with_repository();
    world.write("list", format!("{}\r\n\nlive/sub\n", world.text("live/a.txt")));
    world.repo(&["snapshot", "-q", "--files-from", "list"]).succeeded();
    let paths = |world: &World| world.repo(&["list", "--json"]).succeeded().json()[0]["paths"].clone();
    let wanted = serde_json::json!([world.text("live/a.txt"), world.text("live/sub")]);
    assert_eq!(paths(&world), wanted);
    let odd = World::with_repository();
    odd.write("live/new\nline", "x");
    let list = format!("{}\0live/a.txt\0", odd.text("live/new\nline"));
    let ran = fed(&odd, &["snapshot", "-q", "--files-from-raw", "-"], list.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(paths(&odd), serde_json::json!([odd.text("live/a.txt"), odd.text("live/new\nline")]));
    odd.write("empty", "\n");
    odd.repo(&["snapshot", "--files-from", "empty"]).failed_with(2, &["name nothing"]);
}

#[test]
fn a_dry_run_names_what_is_new_and_writes_nothing() {
    let world = World::with_snapshot();
    world.write("live/a.txt", "changed");
    world.write("live/new", "new");
    world.write("live/x.tmp", "x");
    let before = (world.files("repo"), world.ids());
    let ran = world.repo(&["snapshot", "--dry-run", "-e", "*.tmp", "live"]).succeeded();
    for words in [
        format!("changed   {}", world.text("live/a.txt")),
        format!("new       {}", world.text("live/new")),
        format!("excluded  {}", world.text("live/x.tmp")),
        "Nothing was stored".to_owned(),
        "1 new, 1 changed".to_owned(),
    ] {
        assert!(ran.stdout.contains(&words), "{words}: {}", ran.stdout);
    }
    assert_eq!((world.files("repo"), world.ids()), before);
    let mut lines = world.repo(&["snapshot", "--dry-run", "--json", "live"]).succeeded().json_lines();
    let summary = lines.pop().unwrap();
    assert_eq!((&summary["dry_run"], &summary["files_new"]), (&true.into(), &2.into()));
    assert!(lines.iter().all(|line| line["message_type"] == "verbose_status"));
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_dry_run_makes_no_default_repository() {
    let world = World::new();
    world.write("live/a", "a");
    world.run(["snapshot", "--dry-run", "live"]).ended_with(10);
}

#[test]
fn standard_input_is_one_file_and_an_empty_one_too_if_that_is_allowed() {
    let world = World::with_repository();
    let content = "some lines\n".repeat(200_000);
    let ran = fed(&world, &["snapshot", "--stdin", "--stdin-filename", "/dumps/db.sql"], content.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("1 new"), "{}", ran.stdout);
    assert_eq!(world.repo(&["cat", "latest:/dumps/db.sql"]).succeeded().stdout, content);
    assert_eq!(fed(&world, &["snapshot", "-q", "--stdin", "--allow-empty"], b"").code, 0);
    assert_eq!(world.repo(&["cat", "latest:/stdin"]).succeeded().stdout, "");
    assert_eq!(fed(&world, &["snapshot", "--stdin", "--stdin-filename", "/"], b"x").code, 2);
    world.repo(&["snapshot", "--stdin", "live"]).ended_with(2);
    world.repo(&["snapshot", "--stdin", "--exclude", "x"]).ended_with(2);
}

#[test]
fn options_that_would_do_nothing_are_wrong_usage() {
    let world = World::with_repository();
    for options in [
        &["--stdin", "--integrity", "full"][..],
        &["--stdin", "--integrity", "none"],
        &["--stdin", "--raw-databases"],
        &["--raw-databases", "--integrity", "quick", "live"],
    ] {
        let ran = world.repo(&[&["snapshot"][..], options].concat()).ended_with(2);
        assert!(ran.stderr.contains("cannot be used with"), "{}", ran.stderr);
    }
    assert_eq!(world.ids(), Vec::<String>::new());
    // What is only the default contradicts nothing.
    world.repo(&["snapshot", "-q", "--raw-databases", "live"]).succeeded();
    assert_eq!(fed(&world, &["snapshot", "-q", "--stdin"], b"x").code, 0);
}

#[test]
fn the_time_of_the_state_and_the_parent_are_what_was_said() {
    let world = World::with_snapshot();
    let first = world.ids().remove(0);
    world.repo(&["snapshot", "-q", "--time", "2020-05-01T10:00:00Z", "live"]).succeeded();
    let oldest = world.repo(&["list", "--json"]).succeeded().json()[0].clone();
    assert!(oldest["time"].as_str().unwrap().starts_with("2020-05-01T"), "{oldest}");
    world.write("live/more", "more");
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let summary = world
        .repo(&["snapshot", "--json", "--parent", &first, "live"])
        .succeeded()
        .json_lines()
        .pop()
        .unwrap();
    assert_eq!((summary["parent"].as_str(), &summary["files_new"]), (Some(first.as_str()), &1.into()));
}

#[test]
fn excludes_that_match_nothing_are_named_and_the_home_is_expanded() {
    let world = World::with_repository();
    world.write("home/chats/Cache/x", "x");
    world.write("home/chats/a.txt", "a");
    let exclude = ["--exclude=~/chats/Cache", "--exclude", "/Cache", "--exclude", "*.tmp"];
    for verb in [&["snapshot"][..], &["snapshot", "--dry-run"]] {
        let ran = world.repo(&[verb, &exclude, &["home/chats"]].concat()).succeeded();
        let told =
            "Excludes that matched nothing: /Cache and 1 more (a pattern that begins with / is a whole path)";
        assert!(ran.stdout.contains(told) && ran.stdout.contains("1 excluded"), "{}", ran.stdout);
        let line = world.repo(&[verb, &["--json"], &exclude, &["home/chats"]].concat()).succeeded();
        let summary = line.json_lines().pop().unwrap();
        assert_eq!(summary["unmatched_excludes"], serde_json::json!(["/Cache", "*.tmp"]));
    }
    let ran = world.repo(&["snapshot", "--exclude", "*.txt", "home/chats"]).succeeded();
    assert!(!ran.stdout.contains("matched nothing"), "{}", ran.stdout);
}

#[test]
fn tags_with_commas_and_lists_with_wildcards_and_notes_are_those_of_restic() {
    let world = World::with_repository();
    world.write("list", "# notes\nlive/*.txt\n  live/sub\n");
    world.repo(&["snapshot", "-q", "--tag", "a,b", "--tag", "c", "--files-from", "list"]).succeeded();
    let listed = world.repo(&["list", "--json"]).succeeded().json();
    assert_eq!(listed[0]["tags"], serde_json::json!(["a", "b", "c"]));
    assert_eq!(listed[0]["paths"], serde_json::json!([world.text("live/a.txt"), world.text("live/sub")]));
    world.repo(&["snapshot", "--files-from-verbatim", "list"]).failed_with(1, &["live/*.txt"]);
}
