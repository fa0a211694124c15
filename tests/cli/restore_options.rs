//! `restore`: options of which each has a test of its own, and folders far deeper than any path may be long.

use crate::kit::{World, picture};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, statat};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Command;

/// Folders one in another, and the length of their names: a path of 30 KB, of which the system takes 4 KB.
const DEPTH: usize = 1500;
const NAME: &str = "a folder of 20 bytes";

fn open(folder: &OwnedFd, name: &str) -> OwnedFd {
    openat(folder, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn top(world: &World, name: &str) -> OwnedFd {
    File::open(world.path(name)).unwrap().into()
}

/// Permissions and times of all folders on the way down, and what the file at the end holds.
fn chain(world: &World, name: &str) -> (Vec<(u32, i64, i64)>, String) {
    let mut at = top(world, name);
    let mut seen = Vec::new();
    for depth in 0..DEPTH {
        let names: Vec<_> = Dir::read_from(&at).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(names.len(), 3, "one entry and two dots, {depth} folders down");
        let stat = statat(&at, NAME, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        seen.push((stat.st_mode, stat.st_mtime as i64, stat.st_mtime_nsec as i64));
        at = open(&at, NAME);
    }
    let mut text = String::new();
    let file = openat(&at, "file", OFlags::RDONLY, Mode::empty()).unwrap();
    File::from(file).read_to_string(&mut text).unwrap();
    (seen, text)
}

/// What cannot be removed by path.
struct Deep<'w>(&'w World);

impl Drop for Deep<'_> {
    fn drop(&mut self) {
        let all = ["live", "out"].map(|name| self.0.path(name));
        let _ = Command::new("rm").arg("-rf").args(all).status();
    }
}

#[test]
fn folders_deeper_than_any_path_are_stored_and_come_back() {
    let world = World::new();
    let _deep = Deep(&world);
    world.repo(&["init"]).succeeded();
    fs::create_dir(world.path("live")).unwrap();
    let mut at = top(&world, "live");
    for depth in 0..DEPTH {
        rustix::fs::mkdirat(&at, NAME, Mode::from_raw_mode(0o700 | (depth % 8) as u32)).unwrap();
        at = open(&at, NAME);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let file = openat(&at, "file", flags, Mode::from_raw_mode(0o600)).unwrap();
    File::from(file).write_all(b"at the bottom").unwrap();
    let before = chain(&world, "live");
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let place = format!("latest:{}", world.text("live"));
    world.repo(&["restore", "--verify", &place, "--target", "out"]).succeeded();
    assert!(chain(&world, "out") == before);
    // What is there is found again, and deleting goes as deep.
    let file = openat(&at, "extra", flags, Mode::from_raw_mode(0o600)).unwrap();
    drop(file);
    let again = [
        "restore",
        "--json",
        &place,
        "--target",
        "live",
        "--overwrite",
        "if-changed",
        "--delete",
        "--discard",
    ];
    let summary = world.repo(&again).succeeded().json_lines().pop().unwrap();
    assert_eq!((&summary["deleted"], &summary["unchanged"]), (&1.into(), &1.into()), "{summary}");
    assert!(chain(&world, "live") == before);
}

#[test]
fn sparse_makes_holes_where_there_were_none() {
    let world = World::with_repository();
    world.write("live/zeroes", vec![0; 1 << 20]);
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let place = format!("latest:{}", world.text("live/zeroes"));
    world.repo(&["restore", &place, "--target", "out"]).succeeded();
    world.repo(&["restore", &place, "--target", "sparse", "--sparse"]).succeeded();
    let blocks = |name: &str| fs::metadata(world.path(name)).unwrap().blocks();
    assert!(blocks("out/zeroes") >= (1 << 20) / 512);
    assert_eq!(blocks("sparse/zeroes"), 0);
    assert!(fs::read(world.path("sparse/zeroes")).unwrap() == vec![0; 1 << 20]);
}

#[test]
fn special_restores_pipes_and_without_it_they_are_counted() {
    let world = World::with_repository();
    assert!(Command::new("mkfifo").arg(world.path("live/pipe")).status().unwrap().success());
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let place = format!("latest:{}", world.text("live"));
    let restore = |target: &str, more: &[&str]| {
        let all = [&["restore", "--json", &place, "--target", target], more].concat();
        let summary = world.repo(&all).succeeded().json_lines().pop().unwrap();
        ["specials_restored", "specials_skipped"].map(|name| summary[name].as_u64().unwrap())
    };
    assert_eq!(restore("out", &[]), [0, 1]);
    assert!(!world.path("out/pipe").exists());
    assert_eq!(restore("with", &["--special"]), [1, 0]);
    assert!(fs::metadata(world.path("with/pipe")).unwrap().file_type().is_fifo());
}

#[test]
fn iinclude_takes_upper_and_lower_case_for_the_same() {
    let world = World::with_snapshot();
    let place = format!("latest:{}", world.text("live"));
    world.repo(&["restore", &place, "--target", "out", "--iinclude", "*.TXT"]).succeeded();
    let names: Vec<_> = picture(&world.path("out")).into_iter().map(|seen| seen.0).collect();
    assert_eq!(names, ["", "a.txt", "sub", "sub/c.txt"].map(std::path::PathBuf::from));
    let exact = ["restore", &place, "--target", "exact", "--include", "*.TXT"];
    world.repo(&exact).failed_with(1, &["fits the patterns"]);
}

#[test]
fn what_a_snapshot_left_out_is_deleted_by_discard_alone() {
    let world = World::with_repository();
    world.write("live/film.mp4", "precious");
    world.repo(&["snapshot", "-q", "--exclude", "*.mp4", "live"]).succeeded();
    let place = format!("latest:{}", world.text("live"));
    let restore = |more: &[&str]| {
        let options = ["restore", &place, "--target", "live", "--overwrite", "if-changed"];
        world.repo(&[&options, more].concat())
    };
    for more in [&["--delete"][..], &["--delete", "--force"]] {
        restore(more).failed_with(20, &["1 were excluded", "live/film.mp4", "--discard"]);
        assert_eq!(world.read("live/film.mp4"), "precious");
    }
    restore(&["--delete", "--dry-run"]).ended_with(20);
    restore(&[]).succeeded();
    restore(&["--delete", "--discard", "--exclude", "*.mp4"]).succeeded();
    assert_eq!(world.read("live/film.mp4"), "precious");
    restore(&["--delete", "--discard"]).succeeded();
    assert!(!world.path("live/film.mp4").exists());
}

#[test]
fn delete_at_the_top_stays_inside_the_sources() {
    let world = World::with_repository();
    world.write("papers/note.txt", "a source of its own");
    world.repo(&["snapshot", "-q", "live", "papers/note.txt"]).succeeded();
    // Where `/` goes, the sources lie some folders down. Beside each of these folders there is something.
    let below = |name: &str| format!("top{}", world.text(name));
    let mut kept: Vec<String> = ["live.old/x", "papers/other.txt", "other"].map(below).to_vec();
    kept.extend(["top/other", "top/other folder/x"].map(str::to_owned));
    let gone = ["live/extra", "live/sub/extra", "live/extra folder/x"].map(below);
    kept.iter().chain(&gone).for_each(|name| world.write(name, "extra"));
    let restore = |more: &[&str]| {
        let options = [
            "restore",
            "--json",
            "latest",
            "--target",
            "top",
            "--overwrite",
            "if-changed",
            "--delete",
            "--discard",
        ];
        world.repo(&[&options, more].concat()).succeeded().json_lines().pop().unwrap()["deleted"].clone()
    };
    // Three files and a folder.
    assert_eq!(restore(&["--dry-run"]), 4);
    assert!(gone.iter().all(|name| world.path(name).exists()));
    assert_eq!(restore(&[]), 4);
    assert!(!gone.iter().any(|name| world.path(name).exists()));
    assert!(kept.iter().all(|name| world.read(name) == "extra"));
    assert_eq!(world.read(&below("papers/note.txt")), "a source of its own");
}
