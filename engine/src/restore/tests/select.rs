//! Patterns, and deleting what the snapshot does not have.

use super::faults::Told;
use super::overwrite::{run, with, write};
use super::*;
use crate::base::Timestamp;
use crate::browse::testing::{MTIME, commit, damage, repository};
use crate::filter::{Pattern, Patterns};
use crate::model::{BlobKind, Node, NodeKind};
use crate::restore::Overwrite;
use std::os::unix::fs::{MetadataExt, symlink};
use tempfile::tempdir;

const OLDER: Timestamp = Timestamp { secs: MTIME.secs - 9, nanos: 0 };

pub(super) fn patterns(texts: &[&str]) -> Patterns {
    Patterns::new(&texts.iter().copied().map(Pattern::new).collect::<Vec<_>>()).unwrap()
}

#[test]
fn only_what_patterns_mean_is_restored_with_the_folders_on_the_way() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let deep = maker.dir("deep", vec![maker.dir("deeper", vec![maker.file("x.jpg", b"x")])]);
        vec![
            maker.dir("a", vec![deep, maker.file("a.txt", b"a")]),
            maker.dir("b", vec![maker.file("b.txt", b"b"), maker.dir("e", vec![])]),
            maker.dir("c", vec![maker.file("c.jpg", b"c"), maker.file("keep.jpg", b"k")]),
        ]
    });
    for (include, exclude, expected) in [
        (
            &["*.jpg"][..],
            &[][..],
            &["a", "a/deep", "a/deep/deeper", "a/deep/deeper/x.jpg", "c", "c/c.jpg", "c/keep.jpg"][..],
        ),
        (&["*.jpg"], &["deeper"], &["c", "c/c.jpg", "c/keep.jpg"]),
        (&["*.jpg", "!keep.jpg"], &["/a"], &["c", "c/c.jpg"]),
        (&["/b"], &[], &["b", "b/b.txt", "b/e"]),
        (&["e"], &[], &["b", "b/e"]),
        (&[], &["*.txt", "a"], &["b", "b/e", "c", "c/c.jpg", "c/keep.jpg"]),
        (&["/a", "!deep"], &[], &["a", "a/a.txt"]),
        (&["/a", "!deep", "x.jpg"], &[], &["a", "a/a.txt", "a/deep", "a/deep/deeper", "a/deep/deeper/x.jpg"]),
    ] {
        let temp = tempdir().unwrap();
        let options = with(temp.path(), |options| {
            options.include = patterns(include);
            options.exclude = patterns(exclude);
        });
        let planned = plan(&repo, &snapshot, &options, &Silent).unwrap();
        assert_eq!(planned.files + planned.dirs, expected.len() as u64, "{include:?} {exclude:?}");
        let summary = apply(&repo, planned, &Silent).unwrap();
        assert_eq!(names_in(temp.path()), expected, "{include:?} {exclude:?}");
        assert_eq!((summary.failed, summary.warnings.len()), (0, 0));
        for name in expected {
            assert_eq!(fs::metadata(temp.path().join(name)).unwrap().mtime(), MTIME.secs, "{name}");
        }
    }
    let temp = tempdir().unwrap();
    let nothing = with(temp.path(), |options| options.include = patterns(&["*.png"]));
    assert_eq!(plan(&repo, &snapshot, &nothing, &Silent).unwrap_err().kind(), Kind::NotFound);
    let nothing = with(temp.path(), |options| options.exclude = patterns(&["*"]));
    assert_eq!(plan(&repo, &snapshot, &nothing, &Silent).unwrap_err().kind(), Kind::NotFound);
    // Where there is nothing, nothing is excluded.
    let empty = with(temp.path(), |options| {
        options.path = StoredPath::parse(b"/b/e");
        options.exclude = patterns(&["*"]);
    });
    plan(&repo, &snapshot, &empty, &Silent).unwrap();
}

#[test]
fn a_folder_that_is_there_and_only_passed_through_keeps_its_time() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.dir("d", vec![maker.file("x.jpg", b"x")])]);
    let temp = tempdir().unwrap();
    write(temp.path(), "d/mine", b"mine", OLDER);
    run(&repo, &snapshot, &with(temp.path(), |options| options.include = patterns(&["*.jpg"]))).unwrap();
    assert_eq!(names_in(temp.path()), ["d", "d/mine", "d/x.jpg"]);
    assert_ne!(fs::metadata(temp.path().join("d")).unwrap().mtime(), MTIME.secs);
}

fn stored(path: &str) -> StoredPath {
    StoredPath::parse(path.as_bytes()).unwrap()
}

#[test]
fn only_what_the_snapshot_does_not_have_in_stored_folders_is_deleted() {
    let (_, repo) = repository();
    let mut snapshot = commit(&repo, |maker| {
        let source = maker.dir("source", vec![maker.file("f", b"f"), maker.dir("d", vec![])]);
        // The folder above the sources was not stored as a whole.
        let mut above = maker.dir("home", vec![source]);
        above.mtime = None;
        vec![above]
    });
    snapshot.manifest.paths = vec![stored("/home/source")];
    let temp = tempdir().unwrap();
    let (outside, target) = (temp.path().join("outside"), temp.path().join("target"));
    write(&outside, "canary", b"alive", OLDER);
    for name in ["other", "home/other", "home/source/g", "home/source/d/new/deep/x", "home/source/k/keep.me"]
    {
        write(&target, name, b"extra", OLDER);
    }
    symlink(&outside, target.join("home/source/link")).unwrap();
    fs::create_dir(target.join("home/source/empty")).unwrap();
    let options = with(&target, |options| {
        options.overwrite = Overwrite::IfChanged;
        options.delete = true;
        options.exclude = patterns(&["keep.me"]);
        options.protected = vec![target.join("home/source/d/new/deep")];
    });
    let planned = plan(&repo, &snapshot, &options, &Silent).unwrap();
    assert_eq!((planned.deleted, planned.deleted_bytes), (3, 5));
    let summary = apply(&repo, planned, &Silent).unwrap();
    assert_eq!((summary.deleted, summary.failed), (3, 0));
    let expected = [
        "home",
        "home/other",
        "home/source",
        "home/source/d",
        "home/source/d/new",
        "home/source/d/new/deep",
        "home/source/d/new/deep/x",
        "home/source/f",
        "home/source/k",
        "home/source/k/keep.me",
        "other",
    ];
    assert_eq!(names_in(&target), expected);
    assert_eq!(names_in(&outside), ["canary"]);
    assert_eq!(fs::metadata(target.join("home/source/d")).unwrap().mtime(), MTIME.secs);
}

#[test]
fn a_target_for_the_top_or_for_a_folder_above_sources_loses_only_what_lies_in_a_source() {
    let (_, repo) = repository();
    let mut snapshot = commit(&repo, |maker| {
        let above = |name, nodes| Node { mtime: None, ..maker.dir(name, nodes) };
        let chats = maker.dir("chats", vec![maker.file("f", b"f")]);
        let ann = above("ann", vec![chats, maker.file("note", b"a source of its own")]);
        vec![above("home", vec![ann]), maker.dir("media", vec![maker.file("p", b"p")])]
    });
    snapshot.manifest.paths = ["/home/ann/chats", "/home/ann/note", "/media"].map(stored).to_vec();
    let kept = ["srv/x", "home/bob/x", "home/ann/chats.old", "home/ann/notes/x", "mediathek"];
    let gone = ["home/ann/chats/g", "home/ann/chats/new/g", "media/g"];
    // From the top, and from a folder above the sources: what is kept and gone then, as far as it lies below.
    for from in ["/", "/home", "/home/ann"] {
        let temp = tempdir().unwrap();
        let below = |name: &&str| {
            let name = format!("/{name}");
            name.strip_prefix(from).map(|name| name.trim_start_matches('/').to_owned())
        };
        let (kept, gone): (Vec<_>, Vec<_>) =
            (kept.iter().filter_map(below).collect(), gone.iter().filter_map(below).collect());
        kept.iter().chain(&gone).for_each(|name| write(temp.path(), name, b"extra", OLDER));
        let options = with(temp.path(), |options| {
            options.path = Some(stored(from));
            options.overwrite = Overwrite::Always;
            options.delete = true;
        });
        run(&repo, &snapshot, &options).unwrap();
        let names = names_in(temp.path());
        assert!(kept.iter().all(|name| names.contains(name)), "{from}: {names:?}");
        assert!(!gone.is_empty() && !gone.iter().any(|name| names.contains(name)), "{from}: {names:?}");
    }
}

#[test]
fn where_the_root_itself_is_the_source_what_is_too_much_at_the_top_is_deleted() {
    let (_, repo) = repository();
    let mut snapshot = commit(&repo, |maker| vec![maker.dir("d", vec![maker.file("f", b"f")])]);
    for (source, expected) in [("/", &["d", "d/f"][..]), ("/d", &["d", "d/f", "extra"])] {
        snapshot.manifest.paths = vec![stored(source)];
        let temp = tempdir().unwrap();
        write(temp.path(), "extra", b"extra", OLDER);
        write(temp.path(), "d/f", b"f", OLDER);
        let options = with(temp.path(), |options| {
            (options.delete, options.overwrite) = (true, Overwrite::Always);
        });
        let planned = plan(&repo, &snapshot, &options, &Silent).unwrap();
        assert_eq!(planned.deleted, u64::from(source == "/"), "{source}");
        apply(&repo, planned, &Silent).unwrap();
        assert_eq!(names_in(temp.path()), expected, "{source}");
    }
}

#[test]
fn a_single_file_deletes_nothing_and_a_folder_named_deletes_in_the_target_itself() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.dir("d", vec![maker.file("f", b"f")])]);
    for (path, expected) in [("/d/f", &["extra", "f"][..]), ("/d", &["f"])] {
        let temp = tempdir().unwrap();
        write(temp.path(), "extra", b"extra", OLDER);
        write(temp.path(), "f", b"f", OLDER);
        let options = with(temp.path(), |options| {
            options.path = StoredPath::parse(path.as_bytes());
            (options.delete, options.overwrite) = (true, Overwrite::Always);
        });
        run(&repo, &snapshot, &options).unwrap();
        assert_eq!(names_in(temp.path()), expected, "{path}");
    }
}

#[test]
fn nothing_is_deleted_where_the_snapshot_is_not_known_as_a_whole() {
    let (store, repo) = repository();
    let mut lost = None;
    let mut snapshot = commit(&repo, |maker| {
        let bad = maker.dir("bad", vec![maker.file("f", b"x")]);
        lost = bad.subtree;
        vec![maker.dir("s", vec![bad, maker.dir("good", vec![maker.file("f", b"good")])])]
    });
    damage(&store, &repo, BlobKind::TreePage, &lost.unwrap());
    let temp = tempdir().unwrap();
    for name in ["s/bad/f", "s/bad/extra", "s/good/extra"] {
        write(temp.path(), name, b"there", OLDER);
    }
    let options = with(temp.path(), |options| {
        options.delete = true;
        options.overwrite = Overwrite::IfChanged;
    });
    let planned = plan(&repo, &snapshot, &options, &Silent).unwrap();
    assert_eq!(planned.deleted, 1);
    apply(&repo, planned, &Silent).unwrap();
    assert_eq!(names_in(temp.path()), ["s", "s/bad", "s/bad/extra", "s/bad/f", "s/good", "s/good/f"]);
    // What could not be read when it was taken, or was excluded, goes too: that is told before.
    for (unreadable, excluded, what) in [
        (2, 0, "(2 could not be read)"),
        (0, 1, "(1 were excluded)"),
        (1, 3, "(1 could not be read, 3 were excluded)"),
    ] {
        snapshot.manifest.statistics.unreadable = unreadable;
        snapshot.manifest.statistics.excluded = excluded;
        let told = Told::default();
        plan(&repo, &snapshot, &options, &told).unwrap();
        let told = told.0.into_inner().unwrap();
        assert!(told.iter().any(|warning| warning.message.contains(what)), "{told:?}");
    }
}

#[test]
fn specials_that_are_not_restored_are_not_deleted_either() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        vec![maker.dir("d", vec![maker.node("fifo", NodeKind::Fifo, 0o600), maker.file("f", b"f")])]
    });
    let temp = tempdir().unwrap();
    write(temp.path(), "d/fifo", b"stands for a pipe", OLDER);
    let options = with(temp.path(), |options| {
        (options.delete, options.overwrite) = (true, Overwrite::Always);
    });
    let summary = run(&repo, &snapshot, &options).unwrap();
    assert_eq!((summary.deleted, summary.specials), (0, 1));
    assert_eq!(names_in(temp.path()), ["d", "d/f", "d/fifo"]);
    let told = "1 pipe, socket or device was not restored";
    assert!(summary.warnings.iter().any(|warning| warning.message == told), "{:?}", summary.warnings);
}
