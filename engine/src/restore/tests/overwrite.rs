//! What stands in the way: what gives way, what stays, and that nothing is followed or lost.

use super::*;
use crate::base::Timestamp;
use crate::browse::testing::{MTIME, Maker, commit, damage, repository};
use crate::filter::{Pattern, Patterns};
use crate::model::{BlobKind, Content, Database, DatabaseState, Node};
use crate::restore::{Action, Overwrite, plan_each};
use std::fs::FileTimes;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};
use tempfile::{TempDir, tempdir};

pub(super) fn with(target: &Path, change: impl FnOnce(&mut RestoreOptions)) -> RestoreOptions {
    // Most of these tests are about what happens to what is there, and not about whether it is stored.
    let mut options = RestoreOptions { discard: true, ..options(target, None) };
    change(&mut options);
    options
}

pub(super) fn run(repo: &Repo, snapshot: &Snapshot, options: &RestoreOptions) -> Result<RestoreSummary> {
    apply(repo, plan(repo, snapshot, options, &Silent)?, &Silent)
}

pub(super) fn write(folder: &Path, name: &str, content: &[u8], time: Timestamp) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(u64::try_from(time.secs).unwrap(), time.nanos);
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_times(FileTimes::new().set_modified(time))
        .unwrap();
}

fn number(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

pub(super) const OLDER: Timestamp = Timestamp { secs: MTIME.secs - 9, nanos: 0 };
pub(super) const NEWER: Timestamp = Timestamp { secs: MTIME.secs + 9, nanos: 0 };

/// A snapshot of four files and a target with: the same, another of the same length, one of the stored time, length and
/// other content, and a newer one.
fn four(overwrite: Overwrite) -> (TempDir, [u64; 4], RestoreSummary, [Vec<u8>; 4]) {
    let names = ["same", "other", "disguised", "newer"];
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| names.map(|name| maker.file(name, b"stored")).into_iter().collect());
    let temp = tempdir().unwrap();
    write(temp.path(), "same", b"stored", OLDER);
    write(temp.path(), "other", b"edited", OLDER);
    write(temp.path(), "disguised", b"forged", MTIME);
    write(temp.path(), "newer", b"of today", NEWER);
    let before = names.map(|name| number(&temp.path().join(name)));
    let summary = run(&repo, &snapshot, &with(temp.path(), |options| options.overwrite = overwrite)).unwrap();
    let content = names.map(|name| fs::read(temp.path().join(name)).unwrap());
    (temp, before, summary, content)
}

#[test]
fn what_is_overwritten_follows_the_option() {
    let stored = || b"stored".to_vec();
    for (overwrite, expected, counts) in [
        (Overwrite::Always, [stored(), stored(), stored(), stored()], (3, 1, 0)),
        (Overwrite::IfChanged, [stored(), stored(), b"forged".to_vec(), stored()], (2, 2, 0)),
        (Overwrite::IfNewer, [stored(), stored(), b"forged".to_vec(), b"of today".to_vec()], (1, 1, 2)),
        (
            Overwrite::Never,
            [stored(), b"edited".to_vec(), b"forged".to_vec(), b"of today".to_vec()],
            (0, 0, 4),
        ),
    ] {
        let (temp, before, summary, content) = four(overwrite);
        assert_eq!(content, expected, "{overwrite:?}");
        assert_eq!((summary.overwritten, summary.unchanged, summary.kept), counts, "{overwrite:?}");
        assert_eq!((summary.files, summary.failed), (summary.overwritten, 0), "{overwrite:?}");
        // What had the content is neither written again nor touched in any other way.
        assert_eq!(number(&temp.path().join("same")), before[0], "{overwrite:?}");
        let time = fs::metadata(temp.path().join("same")).unwrap().mtime();
        assert_eq!(time, OLDER.secs, "{overwrite:?}");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 4, "{overwrite:?}");
    }
}

#[test]
fn the_old_file_is_replaced_as_a_whole_and_other_names_of_it_keep_their_content() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.file("f", b"stored")]);
    let temp = tempdir().unwrap();
    let target = temp.path().join("target");
    write(&target, "f", b"edited", OLDER);
    fs::hard_link(target.join("f"), temp.path().join("elsewhere")).unwrap();
    run(&repo, &snapshot, &with(&target, |options| options.overwrite = Overwrite::Always)).unwrap();
    assert_eq!(fs::read(target.join("f")).unwrap(), b"stored");
    assert_eq!(fs::read(temp.path().join("elsewhere")).unwrap(), b"edited");
    assert_eq!(fs::metadata(temp.path().join("elsewhere")).unwrap().mtime(), OLDER.secs);
}

#[test]
fn a_damaged_file_does_not_cost_the_one_that_is_there() {
    let (store, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut database = maker.file("m.db", b"lost");
        database.database = Some(quiescent());
        vec![database]
    });
    let node = crate::browse::lookup(&repo, &snapshot, &StoredPath::parse(b"/m.db").unwrap()).unwrap();
    let Content::Chunk(lost) = node.content else { panic!("no chunk") };
    damage(&store, &repo, BlobKind::Data, &lost);
    let temp = tempdir().unwrap();
    write(temp.path(), "m.db", b"there", OLDER);
    write(temp.path(), "m.db-wal", b"its newest messages", OLDER);
    let options = with(temp.path(), |options| {
        options.overwrite = Overwrite::Always;
        options.force = true;
    });
    let summary = run(&repo, &snapshot, &options).unwrap();
    assert_eq!((summary.damaged, summary.overwritten), (1, 0));
    assert_eq!(names_in(temp.path()), ["m.db", "m.db-wal"]);
    assert_eq!(fs::read(temp.path().join("m.db")).unwrap(), b"there");
}

#[test]
fn links_in_the_way_are_replaced_and_never_followed() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        vec![maker.dir("d", vec![maker.file("f", b"new")]), maker.file("file", b"new"), maker.link("l", "x")]
    });
    for overwrite in [Overwrite::Always, Overwrite::IfChanged] {
        let temp = tempdir().unwrap();
        let (outside, target) = (temp.path().join("outside"), temp.path().join("target"));
        write(&outside, "f", b"canary", OLDER);
        write(&outside, "file", b"canary", OLDER);
        fs::create_dir(&target).unwrap();
        symlink(&outside, target.join("d")).unwrap();
        symlink(outside.join("file"), target.join("file")).unwrap();
        symlink("elsewhere", target.join("l")).unwrap();
        let options = with(&target, |options| {
            options.overwrite = overwrite;
            options.delete = true;
        });
        let summary = run(&repo, &snapshot, &options).unwrap();
        assert_eq!((summary.overwritten, summary.failed), (3, 0));
        assert_eq!(names_in(&target), ["d", "d/f", "file", "l"]);
        assert_eq!(fs::read_link(target.join("l")).unwrap(), Path::new("x"));
        for name in ["f", "file"] {
            assert_eq!(fs::read(outside.join(name)).unwrap(), b"canary");
        }
    }
    // A link that comes after the plan is replaced, too: the file behind it stays.
    let temp = tempdir().unwrap();
    let (outside, target) = (temp.path().join("canary"), temp.path().join("target"));
    write(temp.path(), "canary", b"canary", OLDER);
    write(&target, "file", b"old", OLDER);
    let options = with(&target, |options| options.overwrite = Overwrite::Always);
    let planned = plan(&repo, &snapshot, &options, &Silent).unwrap();
    fs::remove_file(target.join("file")).unwrap();
    symlink(&outside, target.join("file")).unwrap();
    apply(&repo, planned, &Silent).unwrap();
    assert_eq!(fs::read(&outside).unwrap(), b"canary");
    assert!(fs::symlink_metadata(target.join("file")).unwrap().is_file());
}

#[test]
fn a_folder_in_the_way_of_a_file_goes_only_if_it_is_empty_or_deleting_is_allowed() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.file("x", b"new"), maker.link("y", "t")]);
    let temp = tempdir().unwrap();
    for name in ["x", "y"] {
        fs::create_dir(temp.path().join(name)).unwrap();
    }
    let overwrite = |options: &mut RestoreOptions| options.overwrite = Overwrite::IfChanged;
    let summary = run(&repo, &snapshot, &with(temp.path(), overwrite)).unwrap();
    assert_eq!((summary.overwritten, summary.failed), (2, 0));

    let temp = tempdir().unwrap();
    write(temp.path(), "x/inner/deep", b"old", OLDER);
    let error = plan(&repo, &snapshot, &with(temp.path(), overwrite), &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyThere);
    assert!(error.full_text().contains("--delete"), "{}", error.full_text());
    assert_eq!(fs::read(temp.path().join("x/inner/deep")).unwrap(), b"old");
    // It may be filled after the plan was made.
    let (late, empty) = (with(temp.path(), overwrite), temp.path().join("x"));
    fs::remove_dir_all(&empty).unwrap();
    fs::create_dir(&empty).unwrap();
    let planned = plan(&repo, &snapshot, &late, &Silent).unwrap();
    write(temp.path(), "x/inner/deep", b"old", OLDER);
    let summary = apply(&repo, planned, &Silent).unwrap();
    assert_eq!((summary.failed, summary.files), (1, 0));
    assert_eq!(names_in(temp.path()), ["x", "x/inner", "x/inner/deep", "y"]);

    let options = with(temp.path(), |options| {
        overwrite(options);
        options.delete = true;
    });
    assert_eq!(plan(&repo, &snapshot, &options, &Silent).unwrap().deleted, 3);
    let summary = run(&repo, &snapshot, &options).unwrap();
    assert_eq!((summary.failed, summary.deleted), (0, 3));
    assert_eq!(fs::read(temp.path().join("x")).unwrap(), b"new");
}

#[test]
fn a_file_in_the_way_of_a_folder_gives_way_or_keeps_its_place() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.dir("d", vec![maker.file("f", b"new")])]);
    for (overwrite, expected) in [
        (Overwrite::Always, &["d", "d/f"][..]),
        (Overwrite::IfNewer, &["d", "d/f"]),
        (Overwrite::Never, &["d"]),
    ] {
        let temp = tempdir().unwrap();
        write(temp.path(), "d", b"old", OLDER);
        let options = with(temp.path(), |options| options.overwrite = overwrite);
        let summary = run(&repo, &snapshot, &options).unwrap();
        assert_eq!(names_in(temp.path()), expected, "{overwrite:?}");
        assert_eq!((summary.failed, summary.kept), (0, u64::from(overwrite == Overwrite::Never)));
    }
}

fn quiescent() -> Database {
    Database { state: DatabaseState::Quiescent, page_size: 4096, sidecars: vec![] }
}

pub(super) fn database(maker: &Maker<'_>, name: &str, content: &[u8]) -> Node {
    let mut node = maker.file(name, content);
    node.database = Some(quiescent());
    node
}

#[test]
fn sidecars_are_moved_out_of_the_way_of_a_restored_database_and_kept() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        // This one's sidecar was stored, and is restored after what is there was moved.
        vec![
            database(maker, "a.db", b"a"),
            maker.file("a.db-wal", b"stored wal"),
            database(maker, "m.db", b"m"),
        ]
    });
    let temp = tempdir().unwrap();
    for name in ["a.db-wal", "m.db-wal", "m.db-shm", "m.db-journal"] {
        write(temp.path(), name, b"stale", OLDER);
    }
    write(temp.path(), "m.db-wal.before-restore", b"older still", OLDER);
    let options = with(temp.path(), |options| {
        options.overwrite = Overwrite::IfChanged;
        options.delete = true;
        options.exclude = Patterns::new(&[Pattern::new("*.before-restore")]).unwrap();
        options.force = true;
    });
    let summary = run(&repo, &snapshot, &options).unwrap();
    assert_eq!(
        (summary.failed, summary.deleted, summary.warnings.len()),
        (0, 0, 4),
        "{:?}",
        summary.warnings
    );
    let expected = [
        "a.db",
        "a.db-wal",
        "a.db-wal.before-restore",
        "m.db",
        "m.db-journal.before-restore",
        "m.db-shm.before-restore",
        "m.db-wal.before-restore",
        "m.db-wal.before-restore-2",
    ];
    assert_eq!(names_in(temp.path()), expected);
    assert_eq!(fs::read(temp.path().join("a.db-wal")).unwrap(), b"stored wal");
    assert_eq!(fs::read(temp.path().join("m.db-wal.before-restore")).unwrap(), b"older still");
    assert_eq!(fs::read(temp.path().join("m.db-wal.before-restore-2")).unwrap(), b"stale");
    // Once more, and nothing moves: what is there now is what was stored.
    let summary =
        run(&repo, &snapshot, &with(temp.path(), |options| options.overwrite = Overwrite::IfChanged));
    assert_eq!(summary.unwrap().unchanged, 3);
    assert_eq!(names_in(temp.path()), expected);
}

#[test]
fn a_database_in_use_is_not_written_to_unless_forced() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.dir("app", vec![maker.file("f", b"new")])]);
    for (name, content, refused) in [
        ("other.db-wal", &b"pending"[..], true),
        ("other.db-journal", b"pending", true),
        ("other.db-wal", b"", false),
        ("without its database-wal", b"pending", false),
    ] {
        let temp = tempdir().unwrap();
        write(temp.path(), "app/other.db", b"SQLite format 3\0", OLDER);
        write(temp.path(), &format!("app/{name}"), content, OLDER);
        let result = plan(&repo, &snapshot, &options(temp.path(), None), &Silent);
        assert_eq!(result.err().map(|e| e.kind()), refused.then_some(Kind::InUse), "{name}");
        plan(&repo, &snapshot, &with(temp.path(), |options| options.force = true), &Silent).unwrap();
    }
}

#[test]
fn an_interrupted_restore_goes_on_and_clears_away_what_was_left() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let files = (0..20).map(|n| maker.file(format!("f{n:02}"), b"content")).collect();
        vec![maker.dir("d", files)]
    });
    let temp = tempdir().unwrap();
    run(&repo, &snapshot, &options(temp.path(), None)).unwrap();
    let folder = temp.path().join("d");
    for n in 10..20 {
        fs::remove_file(folder.join(format!("f{n}"))).unwrap();
    }
    // As a killed restore leaves it.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let left = ".chatvault-999999-5-0123456789abcdef-3.tmp";
    let foreign = [".chatvault-x.tmp", "my.tmp", ".chatvault-1-1-0123456789abcdef-3.tmp.txt"];
    for name in [left].iter().chain(&foreign) {
        fs::write(folder.join(name), b"half").unwrap();
    }
    let kept: Vec<u64> = (0..10).map(|n| number(&folder.join(format!("f{n:02}")))).collect();
    let options = with(temp.path(), |options| options.overwrite = Overwrite::IfChanged);
    let summary = run(&repo, &snapshot, &options).unwrap();
    assert_eq!((summary.files, summary.unchanged, summary.overwritten), (10, 10, 0));
    assert_eq!(kept, (0..10).map(|n| number(&folder.join(format!("f{n:02}")))).collect::<Vec<_>>());
    assert!(!folder.join(left).exists());
    assert!(foreign.iter().all(|name| folder.join(name).exists()));
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o750);
}

#[test]
fn further_names_are_one_file_again_whatever_stands_there() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let linked = |name: &str| {
            let mut node = maker.file(name, b"same");
            node.hard_link = Some(1);
            node
        };
        vec![linked("a"), linked("b"), linked("c")]
    });
    let temp = tempdir().unwrap();
    write(temp.path(), "a", b"same", MTIME);
    write(temp.path(), "b", b"same", MTIME);
    write(temp.path(), "c", b"other", OLDER);
    let options = with(temp.path(), |options| options.overwrite = Overwrite::IfChanged);
    for _ in 0..2 {
        let summary = run(&repo, &snapshot, &options).unwrap();
        assert_eq!((summary.hard_links, summary.failed), (2, 0));
        let numbers = ["a", "b", "c"].map(|name| number(&temp.path().join(name)));
        assert!(numbers.iter().all(|other| *other == numbers[0]), "{numbers:?}");
        assert_eq!(fs::read(temp.path().join("c")).unwrap(), b"same");
        assert_eq!(names_in(temp.path()), ["a", "b", "c"]);
    }
}

#[test]
fn a_plan_tells_what_is_done_with_each_entry() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        vec![
            maker.dir("d", vec![maker.file("same", b"same"), maker.file("other", b"new")]),
            maker.file("missing", b"new"),
        ]
    });
    let temp = tempdir().unwrap();
    write(temp.path(), "d/same", b"same", MTIME);
    write(temp.path(), "d/other", b"older", OLDER);
    write(temp.path(), "d/extra", b"12345", OLDER);
    let before = all_in(temp.path());
    let mut told = Vec::new();
    let options = with(temp.path(), |options| {
        options.overwrite = Overwrite::IfChanged;
        options.delete = true;
    });
    let planned = plan_each(&repo, &snapshot, &options, &Silent, &mut |entry| {
        told.push((entry.path.to_string(), entry.action, entry.size));
    });
    let planned = planned.unwrap();
    let told: Vec<_> = told.iter().map(|(path, action, size)| (path.as_str(), *action, *size)).collect();
    assert_eq!(
        told,
        [
            ("/d", Action::Merge, 0),
            ("/d/other", Action::Overwrite, 3),
            ("/d/same", Action::Leave, 4),
            ("/d/extra", Action::Delete, 5),
            ("/missing", Action::Make, 3),
        ]
    );
    assert_eq!(
        (planned.overwritten, planned.unchanged, planned.deleted, planned.deleted_bytes),
        (1, 1, 1, 5)
    );
    assert_eq!(all_in(temp.path()), before);
}
