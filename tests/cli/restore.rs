//! `restore`: everything comes back as it was, and nothing is overwritten unless that is asked for.

use crate::kit::{Seen, World, picture};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn a_folder_comes_back_byte_for_byte_with_times_and_permissions() {
    let world = World::with_repository();
    symlink("a.txt", world.path("live/link")).unwrap();
    fs::set_permissions(world.path("live/a.txt"), Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(world.path("live/empty")).unwrap();
    let before = picture(&world.path("live"));
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    world.repo(&["restore", &format!("latest:{}", world.text("live")), "--target", "out"]).succeeded();
    assert_eq!(picture(&world.path("out")), before);
    world.repo(&["restore", "latest", "--target", "whole"]).succeeded();
    assert_eq!(picture(&world.path(&format!("whole{}", world.text("live")))), before);
}

#[test]
fn one_file_comes_straight_into_the_target() {
    let world = World::with_snapshot();
    world.repo(&["restore", &format!("latest:{}", world.text("live/a.txt")), "--target", "out"]).succeeded();
    assert_eq!(world.read("out/a.txt"), "first\n");
}

#[test]
fn an_empty_target_that_is_there_is_used_and_quiet_is_silent() {
    let world = World::with_snapshot();
    fs::create_dir(world.path("out")).unwrap();
    let ran = world.repo(&["restore", "-q", "latest", "--target", "out"]).succeeded();
    assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()));
    assert!(world.path(&format!("out{}", world.text("live/a.txt"))).exists());
}

#[test]
fn what_stands_in_the_way_is_never_overwritten() {
    let world = World::with_snapshot();
    world.write("out/a.txt", "mine");
    let place = format!("latest:{}", world.text("live"));
    world.repo(&["restore", &place, "--target", "out"]).failed_with(1, &["a.txt", "nothing was restored"]);
    assert_eq!(world.read("out/a.txt"), "mine");
    assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 1);
}

#[test]
fn a_target_that_is_a_file_is_refused_with_what_to_name_instead() {
    let world = World::with_snapshot();
    world.write("out.txt", "mine");
    let place = format!("latest:{}", world.text("live/a.txt"));
    let ran = world.repo(&["restore", &place, "--target", "out.txt", "--overwrite", "always"]);
    let ran = ran.failed_with(1, &["a file is there, and no folder", "name a folder: --target DIR"]);
    assert!(!ran.stderr.contains("--overwrite"), "{}", ran.stderr);
    assert_eq!(world.read("out.txt"), "mine");
}

#[test]
fn a_target_in_the_repository_is_wrong_usage() {
    let world = World::with_snapshot();
    let before = world.files("repo");
    for target in ["repo", "repo/inside", "repo/packs/deep/inside"] {
        world.repo(&["restore", "latest", "--target", target]).failed_with(2, &["repository"]);
    }
    assert_eq!(world.files("repo"), before);
}

#[test]
fn a_folder_that_holds_the_repository_is_put_back_in_place() {
    let world = World::with_snapshot();
    world.write("repo.txt", "beside it");
    world.repo(&["snapshot", "-q", "."]).succeeded();
    let before = world.files("repo");
    fs::remove_file(world.path("live/a.txt")).unwrap();
    world.write("live/too-much", "");
    let place = format!("latest:{}", world.text("live").strip_suffix("/live").unwrap());
    // What chatvault itself wrote since is a part of the same folder here.
    let keep = ["--exclude", "home", "--exclude", "tmp", "--discard"];
    let restore = ["restore", &place, "--target", ".", "--overwrite", "if-changed", "--delete"];
    world.repo(&[&restore[..], &keep].concat()).succeeded();
    assert_eq!(world.read("live/a.txt"), "first\n");
    assert!(!world.path("live/too-much").exists());
    assert_eq!(world.files("repo"), before);
    world.repo(&["list"]).succeeded();
}

#[test]
fn json_ends_with_a_summary() {
    let world = World::with_snapshot();
    let summary = world
        .repo(&["restore", "--json", "latest", "--target", "out"])
        .succeeded()
        .json_lines()
        .pop()
        .unwrap();
    assert_eq!(summary["message_type"], "summary");
    assert_eq!((&summary["files_restored"], &summary["total_files"]), (&3.into(), &3.into()));
    assert_eq!((&summary["bytes_restored"], &summary["exit_code"]), (&70_006.into(), &0.into()));
    assert_eq!(summary["snapshot_id"], world.ids()[0]);
}

#[test]
fn a_path_that_is_not_there_is_1_and_makes_nothing() {
    let world = World::with_snapshot();
    world.repo(&["restore", "latest:/nowhere", "--target", "out"]).failed_with(1, &["/nowhere"]);
    assert!(!world.path("out").exists());
    world.repo(&["restore", "latest"]).ended_with(2);
}

#[test]
fn further_names_of_files_are_told_apart_from_files() {
    let world = World::with_repository();
    fs::hard_link(world.path("live/a.txt"), world.path("live/again.txt")).unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let ran = world.repo(&["restore", "latest", "--target", "out"]).succeeded();
    assert!(ran.stdout.contains("3 of 3, and 1 further name of one of them, "), "{}", ran.stdout);
}

/// Everything in a folder, without the folder itself: a target that is there keeps its own time.
fn inside(world: &World, folder: &str) -> Vec<Seen> {
    picture(&world.path(folder)).split_off(1)
}

#[test]
fn what_stands_in_the_way_is_overwritten_as_asked() {
    let world = World::with_snapshot();
    let place = format!("latest:{}", world.text("live"));
    world.write("out/a.txt", "mine, and newer\n");
    let restore = |more: &[&str]| world.repo(&[&["restore", &place, "--target", "out"], more].concat());
    let refused = restore(&[]).failed_with(1, &["a.txt", "--overwrite"]);
    assert!(refused.stderr.contains("--dry-run"), "{}", refused.stderr);
    let ran = restore(&["--overwrite", "if-newer"]).succeeded();
    assert!(ran.stdout.contains("Existing: 1 kept"), "{}", ran.stdout);
    assert_eq!(world.read("out/a.txt"), "mine, and newer\n");
    let ran = restore(&["--overwrite", "if-changed", "--verify"]).succeeded();
    assert!(ran.stdout.contains("Existing: 1 overwritten, 2 already up to date"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Verified: 3 files match the snapshot"), "{}", ran.stdout);
    assert!(inside(&world, "out") == inside(&world, "live"));
    restore(&["--overwrite", "sometimes"]).ended_with(2);
}

#[test]
fn a_dry_run_shows_the_plan_and_touches_nothing() {
    let world = World::with_snapshot();
    let place = format!("latest:{}", world.text("live"));
    world.write("out/a.txt", "mine\n");
    world.write("out/sub/extra", "extra");
    let before = picture(&world.path("out"));
    let options =
        ["restore", &place, "--target", "out", "--overwrite", "always", "--delete", "--discard", "--dry-run"];
    let ran = world.repo(&options).succeeded();
    let (live, out) = (world.text("live"), world.text("out"));
    for line in [
        format!("overwrite  {live}/a.txt (in no snapshot)"),
        format!("make       {live}/sub/b.bin"),
        format!("delete     {out}/sub/extra (in no snapshot)"),
        "Delete: 1 entry, 5 B".to_owned(),
    ] {
        assert!(ran.stdout.lines().any(|shown| shown == line), "`{line}` is not in:\n{}", ran.stdout);
    }
    let lines = world.repo(&[&options[..], &["--json", "--no-progress"]].concat()).succeeded().json_lines();
    let (summary, actions) = lines.split_last().unwrap();
    assert_eq!((&summary["dry_run"], &summary["deleted"]), (&true.into(), &1.into()));
    assert_eq!(summary["files_restored"], 0);
    assert!(actions.iter().any(|line| line["action"] == "merge" && line["type"] == "dir"));
    assert!(picture(&world.path("out")) == before);
    world.repo(&["restore", &place, "--target", "new", "--dry-run"]).succeeded();
    assert!(!world.path("new").exists());
    world.repo(&options[..options.len() - 1]).succeeded();
    assert!(inside(&world, "out") == inside(&world, "live"));
}

#[test]
fn patterns_choose_and_wrong_ones_are_told() {
    let world = World::with_snapshot();
    world.write("patterns", "# what is wanted\n*.txt\n");
    let place = format!("latest:{}", world.text("live"));
    let restore = |more: &[&str]| world.repo(&[&["restore", &place, "--target", "out"], more].concat());
    restore(&["--include-file", "patterns", "--iexclude", "C.TXT"]).succeeded();
    let names: Vec<_> = picture(&world.path("out")).into_iter().map(|seen| seen.0).collect();
    assert_eq!(names, ["", "a.txt"].map(std::path::PathBuf::from));
    restore(&["--exclude", "[a"]).failed_with(2, &["[a"]);
    restore(&["--include", "*.nothing"]).failed_with(1, &["fits the patterns"]);
    restore(&["--exclude", "*"]).failed_with(1, &["leave nothing of it"]);
}

#[test]
fn a_live_app_is_left_in_peace_unless_forced() {
    let world = World::with_repository();
    let database = rusqlite::Connection::open(world.path("live/chats.db")).unwrap();
    database.pragma_update(None, "journal_mode", "delete").unwrap();
    database.execute_batch("create table m (t); insert into m values ('old');").unwrap();
    drop(database);
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let place = format!("latest:{}", world.text("live"));
    let live = |more: &[&str]| {
        world.repo(&[&["restore", &place, "--target", "live", "--overwrite", "if-changed"], more].concat())
    };
    // The app has it open, and its newest message is in the sidecar alone.
    let app = rusqlite::Connection::open(world.path("live/chats.db")).unwrap();
    app.pragma_update(None, "journal_mode", "wal").unwrap();
    app.execute_batch("insert into m values ('new');").unwrap();
    live(&[]).failed_with(1, &["live/chats.db (another program has it open)", "--force"]);
    assert!(world.path("live/chats.db-wal").exists());
    // As if the app had been killed: what it left is moved out of the way, and kept.
    let ran = live(&["--force"]).succeeded();
    assert!(ran.stderr.contains("chats.db-wal.before-restore"), "{}", ran.stderr);
    assert!(world.path("live/chats.db-wal.before-restore").exists());
    let restored = rusqlite::Connection::open(world.path("live/chats.db")).unwrap();
    let count: i64 = restored.query_row("select count(*) from m", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
    drop(app);
}

#[test]
fn what_this_program_keeps_is_never_deleted() {
    let world = World::with_repository();
    world.write("home/chats/a", "a");
    world.repo(&["snapshot", "-q", "home"]).succeeded();
    world.write("home/.config/chatvault/recovery-keys/kept", "a key");
    world.write("home/.config/other", "extra");
    fs::rename(world.path("key"), world.path("home/key")).unwrap();
    let place = format!("latest:{}", world.text("home"));
    let home = world.text("home");
    let key = world.text("home/key");
    let arguments = ["-r", "repo", "--recovery-key-file", &key, "restore", &place, "--target", &home];
    world.run([&arguments[..], &["--overwrite", "if-changed", "--delete", "--discard"]].concat()).succeeded();
    assert!(world.path("home/key").exists());
    assert_eq!(world.read("home/.config/chatvault/recovery-keys/kept"), "a key");
    assert!(!world.path("home/.config/other").exists());
}
