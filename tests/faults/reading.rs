//! Reading: from a repository that cannot be written to, with a catalog that was altered, and names that would do harm.

use crate::kit::{Ran, World, picture};
use crate::stage::Stage;
use crate::{Case, Outcome};
use chatvault_tests::Truth;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::Command;

pub const CASES: &[Case] = &[
    ("reading::a_repository_is_not_written_to_by_verbs_that_read", untouched),
    ("reading::a_repository_on_a_read_only_file_system_is_read", read_only),
    ("reading::a_catalog_damaged_in_any_page_is_made_anew_with_one_warning", catalog),
    ("reading::hostile_names_are_stored_exactly_shown_safely_and_lossless_in_json", names),
];

/// All verbs that read, for a snapshot of `live`.
fn verbs(world: &World) -> Vec<Vec<String>> {
    let live = world.text("live");
    let texts = [
        vec!["list".to_owned()],
        vec!["list".to_owned(), "--json".to_owned()],
        vec!["ls".to_owned(), "-R".to_owned(), "-l".to_owned()],
        vec!["ls".to_owned(), "-R".to_owned(), "--json".to_owned()],
        vec!["cat".to_owned(), format!("latest:{live}/chat.txt")],
        vec!["diff".to_owned(), "latest~1".to_owned(), "latest".to_owned()],
        vec!["diff".to_owned(), "--json".to_owned(), "latest".to_owned(), "live".to_owned()],
        vec!["restore".to_owned(), "latest".to_owned(), "--target".to_owned(), "out".to_owned()],
        vec!["find".to_owned(), "*.txt".to_owned()],
        vec!["stats".to_owned()],
        vec!["key".to_owned(), "list".to_owned()],
    ];
    let help = world.run(["--help"]).succeeded().stdout;
    let is_there = |verb: &str| help.lines().any(|line| line.split_whitespace().next() == Some(verb));
    texts.into_iter().filter(|verb| is_there(&verb[0])).collect()
}

fn with_two_snapshots() -> Stage {
    let stage = Stage::with_repository();
    stage.snapshot();
    stage.live(2);
    stage.snapshot();
    stage
}

fn run(world: &World, verb: &[String]) -> Ran {
    let _not_there = fs::remove_dir_all(world.path("out"));
    let verb: Vec<&str> = verb.iter().map(String::as_str).collect();
    world.repo(&verb).succeeded()
}

fn untouched() -> Outcome {
    let stage = with_two_snapshots();
    let verbs = verbs(&stage.world);
    let before = picture(&stage.world.path("repo"));
    for with_cache in [true, false] {
        for verb in &verbs {
            if !with_cache {
                fs::remove_dir_all(stage.world.path("home/.cache")).unwrap();
            }
            run(&stage.world, verb);
            assert!(picture(&stage.world.path("repo")) == before, "{verb:?} changed the repository");
        }
    }
    // The picture would show it.
    stage.world.repo(&["snapshot", "live"]).succeeded();
    assert!(picture(&stage.world.path("repo")) != before);
    Outcome::Passed(format!("{} verbs, with a cache and without", verbs.len()))
}

fn read_only() -> Outcome {
    let stage = with_two_snapshots();
    let path = stage.world.path("repo");
    let mount = |options: &[&str]| {
        let ran = Command::new("mount").args(options).arg(&path).output();
        ran.is_ok_and(|output| output.status.success())
    };
    let text = path.to_str().unwrap().to_owned();
    let is_mounted = mount(&["--bind", &text]) && mount(&["-o", "remount,bind,ro"]);
    let verbs = verbs(&stage.world);
    if !is_mounted {
        // One of the two may have worked.
        let _not_mounted = Command::new("umount").arg(&path).output();
        return Outcome::Ignored("nothing can be mounted here".to_owned());
    }
    assert!(fs::write(path.join("x"), "").is_err(), "it can be written to");
    let snapshot = stage.world.repo(&["snapshot", "live"]).failed_with(1, &["Read-only file system"]);
    verbs.iter().for_each(|verb| drop(run(&stage.world, verb)));
    assert!(Command::new("umount").arg(&path).status().unwrap().success());
    stage.goes_on().unwrap();
    Outcome::Passed(format!("{} verbs; a snapshot says {:?}", verbs.len(), snapshot.stderr.lines().nth(1)))
}

/// Damages each page of the catalog in turn: one byte of it, and the whole of it. Whatever runs first notices.
fn catalog() -> Outcome {
    let stage = with_two_snapshots();
    stage.keep("good");
    let find = |stage: &Stage| -> PathBuf {
        let is_database = |path: &PathBuf| path.ends_with("catalog.sqlite");
        stage.world.files("home/.cache").into_iter().find(is_database).unwrap()
    };
    let good = fs::read(find(&stage)).unwrap();
    let pages = good.len() / 4096;
    let mut verbs = [&["snapshot", "live"][..], &["restore", "latest", "--target", "out"], &["list"]];
    for page in 0..pages {
        for is_whole in [false, true] {
            stage.put_back("good");
            let mut bytes = good.clone();
            match is_whole {
                false => bytes[page * 4096 + page * 997 % 4096] ^= 1 << (page % 8),
                true => bytes[page * 4096..(page + 1) * 4096].fill(0xa5),
            }
            fs::write(find(&stage), bytes).unwrap();
            verbs.rotate_left(1);
            for (number, verb) in verbs.iter().enumerate() {
                let _not_there = fs::remove_dir_all(stage.world.path("out"));
                let ran = stage.world.repo(verb).succeeded();
                let warnings: Vec<&str> =
                    ran.stderr.lines().filter(|line| line.contains("warning:")).collect();
                assert_eq!(warnings.len(), usize::from(number == 0), "page {page}, {verb:?}: {warnings:?}");
                let is_told = |line: &&str| line.contains("catalog was made anew: it is damaged");
                assert!(warnings.iter().all(is_told), "page {page}, {verb:?}: {warnings:?}");
            }
            let live = format!("latest:{}", stage.world.text("live"));
            let _not_there = fs::remove_dir_all(stage.world.path("out"));
            stage.world.repo(&["restore", &live, "--target", "out"]).succeeded();
            stage.truth().assert_same(&Truth::read(&stage.world.path("out")), "the restored folder");
        }
    }
    assert!(pages > 10, "only {pages} pages");
    Outcome::Passed(format!("one byte and all bytes of each of {pages} pages"))
}

/// Names that a file system takes and a terminal should not.
fn evil_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        &b"new\nline"[..],
        b"\x1b[2J\x1b]0;title\x07",
        b"\x1b]52;c;ZXZpbA==\x07",
        "right\u{202e}gpj.exe".as_bytes(),
        "zero\u{200b}width".as_bytes(),
        "c1\u{9b}31m".as_bytes(),
        b"\xff\xfe invalid",
        b"\xc3\x28",
        b"back\rspace\x08",
        b"-rf",
        b" ",
        b"tab\there",
        b"error: nothing was stored",
        b"{\"message_type\":\"summary\"}",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    names.extend((1..=255u8).filter(|byte| *byte != b'/').map(|byte| vec![b'x', byte]));
    names.push(vec![0xe2; 255]);
    names
}

fn names() -> Outcome {
    let stage = Stage::new();
    let world = &stage.world;
    world.repo(&["init"]).succeeded();
    let folder = world.path("live");
    fs::create_dir(&folder).unwrap();
    let names = evil_names();
    for name in &names {
        fs::write(folder.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let truth = Truth::read(&folder);
    world.repo(&["snapshot", "live"]).succeeded();
    stage.restores_as("latest", &truth).unwrap();
    // Their content changes too, so that `diff` names all of them.
    for name in &names {
        fs::write(folder.join(OsStr::from_bytes(name)), b"changed").unwrap();
    }
    let mut shown = 0;
    let list = vec!["snapshot".to_owned(), "live".to_owned()];
    for verb in std::iter::once(list).chain(verbs(world).into_iter().filter(|verb| verb[0] != "cat")) {
        let _not_there = fs::remove_dir_all(world.path("out"));
        let verb: Vec<&str> = verb.iter().map(String::as_str).collect();
        let output =
            world.command(["-r", "repo", "--recovery-key-file", "key"].iter().chain(&verb)).output().unwrap();
        assert!(output.status.success(), "{verb:?}: {}", String::from_utf8_lossy(&output.stderr));
        for stream in [&output.stdout, &output.stderr] {
            let bad = harmful(stream);
            assert!(bad.is_none(), "{verb:?} shows {bad:?}: {}", stream.escape_ascii());
            shown += stream.len();
        }
    }
    assert!(shown > 50_000, "only {shown} bytes were shown");
    assert_eq!(harmful(b"a\x1bb"), Some('\u{1b}'));
    assert_eq!(harmful("a\u{202e}b".as_bytes()), Some('\u{202e}'));
    lossless(world, &names);
    Outcome::Passed(format!("{} names, {shown} bytes of output", names.len()))
}

/// The first character that a terminal or a reader must not see.
fn harmful(text: &[u8]) -> Option<char> {
    let Ok(text) = std::str::from_utf8(text) else { return Some(char::REPLACEMENT_CHARACTER) };
    let is_bad = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().find(is_bad)
}

/// From the JSON alone every name comes back, byte for byte.
fn lossless(world: &World, names: &[Vec<u8>]) {
    let lines = world.repo(&["ls", "-R", "--json"]).succeeded().json_lines();
    let mut found: Vec<Vec<u8>> = lines
        .iter()
        .filter(|line| line["type"] == "file")
        .map(|line| path_of(line).file_name().unwrap().as_bytes().to_vec())
        .collect();
    let mut names = names.to_vec();
    found.sort();
    names.sort();
    assert!(found == names, "{} of {} names", found.len(), names.len());
}

fn path_of(line: &Value) -> PathBuf {
    let bytes = match line["path_bytes"].as_str() {
        Some(hex) => chatvault_engine::base::id::from_hex(hex).unwrap(),
        None => line["path"].as_str().unwrap().as_bytes().to_vec(),
    };
    std::ffi::OsString::from_vec(bytes).into()
}
