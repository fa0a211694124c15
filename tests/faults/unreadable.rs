//! Files and folders that cannot be read: the snapshot is stored without them, says so, ends with 3 and is marked, and
//! what was stored of them before stays.

use crate::kit::{Ran, World};
use crate::stage::{Stage, snapshot_id};
use crate::trace::Fate;
use crate::{Case, Outcome, trace};
use nix::errno::Errno;
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const CASES: &[Case] = &[
    ("unreadable::a_file_without_permission_is_3_and_its_history_stays", file),
    ("unreadable::a_folder_without_permission_is_3_and_its_history_stays", folder),
    ("unreadable::a_file_whose_disk_fails_is_3_and_its_history_stays", broken),
    ("unreadable::what_another_user_wrote_into_a_repository_hides_nothing_else_and_is_never_lost", of_root),
];

/// A user who owns nothing, for tests that run as root.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The program as somebody whom permissions hold.
fn held(mut command: Command) -> Command {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn repo(world: &World, arguments: &[&str]) -> Ran {
    let command = world.command(["-r", "repo", "--recovery-key-file", "key"].iter().chain(arguments));
    Ran::of(&mut held(command))
}

/// True if that user cannot read this.
fn is_closed(path: &Path) -> bool {
    let read = if path.is_dir() { "ls" } else { "cat" };
    let mut command = held(Command::new(read));
    !command.arg(path).output().unwrap().status.success()
}

/// A world that belongs to whom permissions hold, with an acknowledged snapshot.
fn stage() -> (Stage, String) {
    let stage = Stage::new();
    stage.world.write("live/open", "open 1");
    stage.world.write("live/closed/file", "first version");
    stage.world.write("live/closed/other", "other");
    if is_root() {
        give_away(&stage.world.path(""));
    }
    repo(&stage.world, &["init"]).succeeded();
    let first = snapshot_id(&repo(&stage.world, &["snapshot", "--json", "live"]).succeeded());
    stage.world.write("live/open", "open, second version");
    (stage, first)
}

fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

/// Takes the snapshot that misses something, and looks at all that must be told.
fn missed(stage: &Stage, first: &str, path: &str, run: &dyn Fn(&[&str]) -> Ran) {
    let ran = run(&["snapshot", "--json", "live"]).ended_with(3);
    let summary = ran.json_lines().pop().unwrap();
    assert_eq!(summary["conditions"], serde_json::json!(["incomplete"]), "{summary}");
    assert_eq!(summary["exit_code"], 3);
    assert_eq!(summary["files_removed"], 0, "what cannot be read is not gone");
    let warning =
        summary["warnings"].as_array().unwrap().iter().find(|one| one["kind"] == "unreadable").unwrap();
    assert_eq!(warning["path"], stage.world.text(path), "{warning}");
    let second = snapshot_id(&ran);
    // The earlier version is where it was.
    let cat =
        |id: &str, file: &str| repo(&stage.world, &["cat", &format!("{id}:{}", stage.world.text(file))]);
    assert_eq!(cat(first, "live/closed/file").succeeded().stdout, "first version");
    assert_eq!(cat(&second, "live/open").succeeded().stdout, "open, second version");
    assert_ne!(cat(&second, "live/closed/file").code, 0);
    let list = repo(&stage.world, &["list", "--json"]).succeeded().json();
    let marks: Vec<_> = list.as_array().unwrap().iter().map(|one| &one["summary"]["unreadable"]).collect();
    assert_eq!(marks, [0, 1], "{list}");
    let list = repo(&stage.world, &["list"]).succeeded().stdout;
    assert_eq!(list.matches("incomplete").count(), 1, "{list}");
    // A person is told too.
    let text = run(&["snapshot", "live"]).ended_with(3).stderr;
    assert!(text.contains("closed"), "{text}");
    // Nobody knows whether it was there: it does not count as gone.
    assert_eq!(
        states(stage),
        [("first".to_owned(), None), ("unknown".to_owned(), Some("unreadable".to_owned()))]
    );
    let text = repo(&stage.world, &["find", "/**/closed/file"]).succeeded().stdout;
    assert!(text.contains("could not be read") && !text.contains(" gone  "), "{text}");
}

/// What `find` says of the file, and why it does not know.
fn states(stage: &Stage) -> Vec<(String, Option<String>)> {
    let lines = repo(&stage.world, &["find", "--json", "/**/closed/file"]).succeeded().json_lines();
    let versions = lines.iter().filter(|line| line["message_type"] == "path_version");
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    versions.map(|line| (text(&line["state"]).unwrap(), text(&line["reason"]))).collect()
}

/// What comes after it can be read again is whole.
fn healed(stage: &Stage) {
    let ran = repo(&stage.world, &["snapshot", "--json", "live"]).succeeded();
    let cat = format!("{}:{}", snapshot_id(&ran), stage.world.text("live/closed/file"));
    assert_eq!(repo(&stage.world, &["cat", &cat]).succeeded().stdout, "first version");
    assert_eq!(states(stage).pop(), Some(("back".to_owned(), None)));
}

fn without_permission(path: &str) -> Outcome {
    let (stage, first) = stage();
    let closed = stage.world.path(path);
    let before = fs::metadata(&closed).unwrap().permissions();
    assert!(!is_closed(&closed));
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    assert!(is_closed(&closed), "{path} can be read");
    missed(&stage, &first, path, &|arguments| repo(&stage.world, arguments));
    fs::set_permissions(&closed, before).unwrap();
    healed(&stage);
    Outcome::Passed(if is_root() { "as another user" } else { "as this user" }.to_owned())
}

fn file() -> Outcome {
    without_permission("live/closed/file")
}

fn folder() -> Outcome {
    without_permission("live/closed")
}

/// Every read of the file gives EIO.
fn broken() -> Outcome {
    let (stage, first) = stage();
    let closed = stage.world.path("live/closed/file");
    // Else it is not read again.
    stage.world.write("live/closed/file", "second version");
    let refused = Cell::new(0);
    let run = |arguments: &[&str]| {
        let command =
            stage.world.command(["-r", "repo", "--recovery-key-file", "key"].iter().chain(arguments));
        let ran = trace::run_with_reads(&command, &mut |call| {
            let fails = call.path == closed && matches!(call.name, "read" | "pread64");
            if fails { Fate::Fail(Errno::EIO) } else { Fate::Pass }
        })
        .unwrap();
        let reads: Vec<_> = ran.calls.iter().filter(|call| call.path == closed).collect();
        assert!(!reads.is_empty() && reads.iter().all(|call| call.answer == Some(-5)), "it was read");
        refused.set(refused.get() + reads.len());
        if is_root() {
            give_away(&stage.world.path(""));
        }
        Ran { code: ran.code.unwrap_or(-1), stdout: ran.stdout, stderr: ran.stderr }
    };
    if let Err(why) = trace::run(&Command::new("true"), &mut |_| Fate::Pass) {
        return Outcome::Ignored(why);
    }
    missed(&stage, &first, "live/closed/file", &run);
    stage.world.write("live/closed/file", "first version");
    healed(&stage);
    Outcome::Passed(format!("{} reads gave EIO", refused.get()))
}

/// Gives what is new in the repository to root, as a `sudo chatvault snapshot` of an old version left it; says how much.
fn give_to_root(stage: &Stage, before: &[PathBuf]) -> usize {
    let new: Vec<PathBuf> =
        stage.world.files("repo").into_iter().filter(|path| !before.contains(path)).collect();
    for path in &new {
        chown(path, Some(0), Some(0)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        // Folders of packs that were there before hold what is not root's.
        let folder = path.parent().unwrap();
        if before.iter().all(|old| old.parent() != Some(folder)) {
            chown(folder, Some(0), Some(0)).unwrap();
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
    new.len()
}

fn of_root() -> Outcome {
    if !is_root() {
        return Outcome::Ignored("only root can give files away".to_owned());
    }
    let (stage, first) = stage();
    let before = stage.world.files("repo");
    let second = snapshot_id(&repo(&stage.world, &["snapshot", "--json", "live"]).succeeded());
    let given = give_to_root(&stage, &before);
    assert!(given >= 4, "only {given} files are new");
    // The cache of this machine knows both snapshots.
    let list = repo(&stage.world, &["list", "--json"]).succeeded();
    assert_eq!(list.json().as_array().unwrap().len(), 2);
    fs::remove_dir_all(stage.world.path("home/.cache")).unwrap();
    let list = repo(&stage.world, &["list", "--json"]).ended_with(1);
    assert!(list.stderr.contains("belongs to root"), "{}", list.stderr);
    assert_eq!(list.json()[0]["id"], first, "what is not root's is shown");
    assert!(repo(&stage.world, &["list"]).ended_with(1).stderr.contains("sudo chown"));
    let open = |id: &str| format!("{id}:{}", stage.world.text("live/open"));
    assert_eq!(repo(&stage.world, &["cat", &open(&first)]).ended_with(1).stdout, "open 1");
    // Who sees only half of what there is changes no keys.
    let refused = repo(&stage.world, &["key", "add", "--new-recovery-key", "other"]).ended_with(1);
    assert!(refused.stderr.contains("nothing was changed"), "{}", refused.stderr);
    let third = repo(&stage.world, &["snapshot", "--json", "live"]).ended_with(1);
    let summary = third.json_lines().pop().unwrap();
    assert_eq!(summary["conditions"], serde_json::json!(["denied"]), "{summary}");
    let cat = open(&snapshot_id(&third));
    assert_eq!(repo(&stage.world, &["cat", &cat]).ended_with(1).stdout, "open, second version");
    // Given back, all of it is there.
    give_away(&stage.world.path(""));
    assert_eq!(repo(&stage.world, &["cat", &open(&second)]).succeeded().stdout, "open, second version");
    Outcome::Passed(format!("{given} files of root"))
}
