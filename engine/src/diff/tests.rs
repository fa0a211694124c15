//! What comparisons promise: each rule of the module's page, and the order.

use super::*;
use crate::backup::{BackupOptions, snapshot as backup};
use crate::base::WarningKind;
use crate::base::event::Silent;
use crate::base::{BlobId, Timestamp};
use crate::browse::testing::{Maker, Part, Told, commit, commit_root, damage, repository};
use crate::format::tree::{encode_inner, encode_leaf, encode_node};
use crate::model::{BlobKind, Database, DatabaseState, Modifier, NodeKind};
use crate::source::Owners;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::tempdir;

/// Lines such as `M /path`, which must ascend by path.
#[derive(Default)]
struct Lines(Vec<(StoredPath, String)>);

impl Lines {
    fn add(&mut self, change: &Change) {
        let sides = (change.before.is_some(), change.after.is_some());
        match change.modifier {
            Modifier::Added => assert_eq!(sides, (false, true)),
            Modifier::Removed => assert_eq!(sides, (true, false)),
            _ => assert_eq!(sides, (true, true)),
        }
        let node = change.after.as_ref().or(change.before.as_ref()).unwrap();
        assert_eq!(node.name, change.path.name());
        self.0.push((change.path.clone(), format!("{} {}", change.modifier.letter(), change.path)));
    }

    fn finish(self) -> Vec<String> {
        assert!(self.0.is_sorted_by(|a, b| a.0 < b.0), "{:?}", self.0);
        self.0.into_iter().map(|(_, line)| line).collect()
    }
}

fn path(text: &str) -> StoredPath {
    StoredPath::parse(text.as_bytes()).unwrap()
}

fn compared(repo: &Repo, before: &Snapshot, after: &Snapshot, at: &str) -> (Vec<String>, DiffStatistics) {
    let mut lines = Lines::default();
    let mut visit = |change: &Change| {
        lines.add(change);
        Ok(())
    };
    let statistics = snapshots(repo, before, after, &path(at), &Silent, &mut visit).unwrap();
    (lines.finish(), statistics)
}

/// What is said when a node becomes another one.
fn between(before: impl FnOnce(&Maker<'_>) -> Node, after: impl FnOnce(&Maker<'_>) -> Node) -> Vec<String> {
    let (_, repo) = repository();
    let before = commit(&repo, |maker| vec![before(maker)]);
    let after = commit(&repo, |maker| vec![after(maker)]);
    compared(&repo, &before, &after, "/").0
}

fn changed(mut node: Node, change: impl FnOnce(&mut Node)) -> Node {
    change(&mut node);
    node
}

#[test]
fn equal_trees_have_no_differences() {
    let file = |maker: &Maker<'_>| maker.dir("d", vec![maker.file("f", b"x"), maker.link("l", "f")]);
    assert!(between(file, file).is_empty());
}

#[test]
fn content_size_target_and_numbers_of_devices_are_modifications() {
    assert_eq!(between(|m| m.file("a", b"one"), |m| m.file("a", b"two")), ["M /a"]);
    assert_eq!(between(|m| m.file("a", b""), |m| m.file("a", b"two")), ["M /a"]);
    assert_eq!(between(|m| m.link("a", "one"), |m| m.link("a", "two")), ["M /a"]);
    let device = |numbers| {
        move |m: &Maker<'_>| changed(m.node("a", NodeKind::CharDevice, 0), |node| node.device = Some(numbers))
    };
    assert_eq!(between(device((1, 3)), device((1, 5))), ["M /a"]);
    let list = |second: &'static [u8]| {
        move |m: &Maker<'_>| m.parts("a", &[Part::Bytes(b"one"), Part::Bytes(second)])
    };
    assert_eq!(between(list(b"two"), list(b"six")), ["M /a"]);
}

#[test]
fn the_same_content_in_other_pieces_is_no_modification() {
    let cut = |m: &Maker<'_>| m.parts("a", &[Part::Bytes(b"one"), Part::Bytes(&[0; 5])]);
    assert!(between(|m| m.file("a", b"one\0\0\0\0\0"), cut).is_empty());
    assert!(between(|m| m.parts("a", &[Part::Bytes(b"one"), Part::Hole(5)]), cut).is_empty());
}

#[test]
fn permissions_owner_time_and_attributes_are_metadata() {
    let changes: [fn(&mut Node); 5] = [
        |node| node.mode = 0o600,
        |node| node.uid = 7,
        |node| node.gid = 7,
        |node| node.mtime = Some(Timestamp::new(1_600_000_000, 123_456_788)),
        |node| node.xattrs = vec![(b"user.x".to_vec(), b"y".to_vec())],
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(between(|m| m.file("a", b"x"), |m| changed(m.file("a", b"x"), change)), ["U /a"]);
        let folder = between(|m| m.dir("a", vec![]), |m| changed(m.dir("a", vec![]), change));
        // The time of a folder is not looked at.
        assert_eq!(folder.len(), usize::from(number != 3), "{folder:?}");
    }
}

#[test]
fn names_of_owners_hard_links_and_facts_on_databases_are_no_difference() {
    let database =
        Database { state: DatabaseState::Quiescent, page_size: 512, sidecars: vec![], damaged_log: None };
    let changes: [fn(&mut Node, Database); 4] = [
        |node, _| node.user = Some("other".into()),
        |node, _| node.hard_link = Some(1),
        |node, database| node.database = Some(database),
        |node, _| node.changed_while_read = true,
    ];
    for change in changes {
        let after = |m: &Maker<'_>| changed(m.file("a", b"x"), |node| change(node, database.clone()));
        assert!(between(|m| m.file("a", b"x"), after).is_empty());
    }
}

#[test]
fn another_kind_is_said_and_so_is_what_was_in_the_folder() {
    let folder = |m: &Maker<'_>| m.dir("a", vec![m.dir("b", vec![m.file("c", b"x")])]);
    let file = |m: &Maker<'_>| m.file("a", b"x");
    assert_eq!(between(folder, file), ["T /a", "- /a/b", "- /a/b/c"]);
    assert_eq!(between(file, folder), ["T /a", "+ /a/b", "+ /a/b/c"]);
    assert_eq!(between(file, |m| m.link("a", "x")), ["T /a"]);
}

#[test]
fn added_and_removed_folders_say_all_their_entries_and_all_is_counted() {
    let (_, repo) = repository();
    let before = commit(&repo, |m| {
        let old = m.dir("old", vec![m.file("f", b"12345"), m.link("l", "x"), m.dir("e", vec![])]);
        vec![old, m.file("same", b"x"), m.file("changed", b"123"), m.file("kind", b"12")]
    });
    let after = commit(&repo, |m| {
        let new = m.dir("new", vec![m.file("f", b"1234567"), m.node("p", NodeKind::Fifo, 0)]);
        vec![new, m.file("same", b"x"), m.file("changed", b"4567"), m.link("kind", "x")]
    });
    let (lines, statistics) = compared(&repo, &before, &after, "/");
    let expected = [
        "M /changed",
        "T /kind",
        "+ /new",
        "+ /new/f",
        "+ /new/p",
        "- /old",
        "- /old/e",
        "- /old/f",
        "- /old/l",
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        statistics,
        DiffStatistics {
            changed_files: 1,
            files_added: 1,
            files_removed: 2,
            dirs_added: 1,
            dirs_removed: 2,
            others_added: 2,
            others_removed: 1,
            bytes_added: 7 + 4,
            bytes_removed: 5 + 2 + 3,
        }
    );
}

#[test]
fn of_a_changed_file_the_new_pieces_are_counted() {
    let (_, repo) = repository();
    let cut = |m: &Maker<'_>, parts: &[&[u8]]| {
        m.parts("f", &parts.iter().map(|part| Part::Bytes(part)).collect::<Vec<_>>())
    };
    let before = commit(&repo, |m| vec![cut(m, &[b"same", b"gone!!", b"same"])]);
    let after = commit(&repo, |m| vec![cut(m, &[b"new", b"same", b"new"])]);
    let statistics = compared(&repo, &before, &after, "/").1;
    assert_eq!((statistics.changed_files, statistics.bytes_added, statistics.bytes_removed), (1, 6, 6));
}

#[test]
fn changes_come_in_the_order_of_paths() {
    let (_, repo) = repository();
    let names = ["a", "a b", "a.b", "B", "\u{e9}"];
    let tree = |m: &Maker<'_>, content: &[u8]| {
        names.map(|name| m.dir(name, names.map(|name| m.file(name, content)).to_vec())).to_vec()
    };
    let before = commit(&repo, |m| tree(m, b"1"));
    let after = commit(&repo, |m| tree(m, b"2"));
    let (lines, statistics) = compared(&repo, &before, &after, "/");
    assert_eq!((lines.len(), statistics.changed_files), (25, 25));
    assert_eq!(lines[..6], ["M /B/B", "M /B/a", "M /B/a b", "M /B/a.b", "M /B/\u{e9}", "M /a/B"]);
}

#[test]
fn deep_trees_of_wide_folders_are_compared_whole() {
    let (_, repo) = repository();
    let tree = |m: &Maker<'_>, content: &[u8]| {
        let mut nodes = vec![m.file("end", content)];
        for level in 0..80 {
            let mut entries = vec![m.dir("m", nodes), m.file("z", content)];
            if level % 20 == 0 {
                entries
                    .extend((0..300).map(|n| m.file(format!("a{n:03}"), if n == 7 { content } else { b"" })));
                entries
                    .extend((0..300).map(|n| m.file(format!("p{n:03}"), if n == 7 { content } else { b"" })));
            }
            nodes = entries;
        }
        nodes
    };
    let before = commit(&repo, |m| tree(m, b"1"));
    let after = commit(&repo, |m| tree(m, b"2"));
    let (lines, statistics) = compared(&repo, &before, &after, "/");
    assert_eq!((lines.len(), statistics.changed_files), (1 + 80 + 4 * 2, 89));
}

#[test]
fn only_what_lies_at_or_below_a_path_is_compared() {
    let (_, repo) = repository();
    let before =
        commit(&repo, |m| vec![m.dir("a", vec![m.file("f", b"1")]), m.dir("b", vec![m.file("f", b"1")])]);
    let after = commit(&repo, |m| {
        let inner = changed(m.dir("a", vec![m.file("f", b"2"), m.file("g", b"")]), |node| node.mode = 0);
        vec![inner, m.dir("b", vec![m.file("f", b"2")]), m.file("c", b"")]
    });
    let at = |at: &str| compared(&repo, &before, &after, at).0;
    assert_eq!(at("/a"), ["U /a", "M /a/f", "+ /a/g"]);
    assert_eq!((at("/a/f"), at("/a/g")), (vec!["M /a/f".to_owned()], vec!["+ /a/g".to_owned()]));
    assert_eq!(compared(&repo, &after, &before, "/c").0, ["- /c"]);
    let missing = snapshots(&repo, &before, &after, &path("/x"), &Silent, &mut |_| Ok(()));
    assert_eq!(missing.unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn folders_that_are_the_same_page_are_not_read_and_others_must_be() {
    let (store, repo) = repository();
    let mut same = None;
    let mut tree = |m: &Maker<'_>, content: &[u8]| {
        let folder = m.dir("same", vec![m.file("f", b"x")]);
        same = folder.subtree;
        vec![folder, m.dir("other", vec![m.file("f", content)])]
    };
    let before = commit(&repo, |m| tree(m, b"1"));
    let after = commit(&repo, |m| tree(m, b"2"));
    let gone = commit(&repo, |_| vec![]);
    damage(&store, &repo, BlobKind::TreePage, &same.unwrap());
    assert_eq!(compared(&repo, &before, &after, "/").0, ["M /other/f"]);
    let (told, mut changes) = (Told::default(), Vec::new());
    snapshots(&repo, &before, &gone, &path("/"), &told, &mut |change| {
        changes.push(format!("{} {}", change.modifier.letter(), change.path));
        Ok(())
    })
    .unwrap();
    assert_eq!(told.kinds(), [(WarningKind::Damaged, Some("/same".to_owned()))]);
    assert_eq!(changes, ["- /other", "- /other/f", "- /same"], "what can be read is compared");
}

#[test]
fn what_a_page_that_cannot_be_read_may_hold_is_neither_added_nor_removed() {
    let (store, repo) = repository();
    let mut lost = None;
    let wide = commit_root(&repo, |maker| {
        let pages: Vec<_> = ["a", "d", "g"]
            .into_iter()
            .map(|name| {
                let page = maker.page(encode_leaf(&[encode_node(&maker.file(name, b"1"))]));
                lost = if name == "d" { Some(page) } else { lost };
                (name.as_bytes().to_vec(), page)
            })
            .collect();
        maker.page(encode_inner(1, &pages))
    });
    let other =
        commit(&repo, |m| ["a", "b", "c", "d", "e", "g", "h"].map(|name| m.file(name, b"2")).to_vec());
    damage(&store, &repo, BlobKind::TreePage, &lost.unwrap());
    // Between `a` and `g` nobody knows what was there.
    assert_eq!(compared(&repo, &wide, &other, "/").0, ["M /a", "M /g", "+ /h"]);
    assert_eq!(compared(&repo, &other, &wide, "/").0, ["M /a", "M /g", "- /h"]);
}

#[test]
fn a_visitor_ends_the_comparison() {
    let (_, repo) = repository();
    let before = commit(&repo, |_| vec![]);
    let after = commit(&repo, |m| vec![m.file("a", b""), m.file("b", b"")]);
    let mut seen = 0;
    let mut visit = |_: &Change| {
        seen += 1;
        Err(Error::new(Kind::Usage, "go", "on"))
    };
    assert_eq!(
        snapshots(&repo, &before, &after, &path("/"), &Silent, &mut visit).unwrap_err().kind(),
        Kind::Usage
    );
    assert_eq!(seen, 1);
}

/// A source and its snapshot.
struct Source {
    temp: tempfile::TempDir,
    repo: Repo,
    snapshot: Snapshot,
}

impl Source {
    fn new(make: impl FnOnce(&Path), paths: &[&str]) -> Self {
        let temp = tempdir().unwrap();
        let (_, repo) = repository();
        make(temp.path());
        let paths = paths.iter().map(|path| temp.path().join(path)).collect();
        let summary = backup(&repo, &BackupOptions { paths, ..BackupOptions::default() }, &Silent).unwrap();
        let all = repo.snapshots(&Silent).unwrap();
        let snapshot = all.into_iter().find(|snapshot| snapshot.id == summary.id).unwrap();
        Self { temp, repo, snapshot }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Lines with paths below the folder of the test, warnings as lines that begin with `!`.
    fn compare(&self, own: &[&str], check_content: bool) -> (Vec<String>, DiffStatistics) {
        let (mut lines, told) = (Lines::default(), Told::default());
        let own_folders: Vec<_> = own.iter().map(|name| self.at(name)).collect();
        let options = LiveOptions { own_folders: &own_folders, owners: &Owners::default(), check_content };
        let mut visit = |change: &Change| {
            lines.add(change);
            Ok(())
        };
        let statistics = live(&self.repo, &self.snapshot, &options, &told, &mut visit).unwrap();
        let base = format!("{}/", self.temp.path().display());
        let mut lines: Vec<_> = lines.finish().iter().map(|line| line.replace(&base, "")).collect();
        let told = told.0.into_inner().unwrap();
        lines.extend(told.iter().map(|told| format!("! {}", told.path.as_ref().unwrap()).replace(&base, "")));
        (lines, statistics)
    }
}

/// Sets the time of modification, which the test of a change must not leave to the clock.
fn touch(path: &Path, secs: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(secs);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_source_that_stayed_as_it_was_has_no_differences() {
    let make = |at: &Path| {
        fs::create_dir_all(at.join("s/d")).unwrap();
        fs::write(at.join("s/d/f"), b"content").unwrap();
        fs::write(at.join("s/empty"), b"").unwrap();
        fs::write(at.join("s/large"), vec![7; 3 << 20]).unwrap();
        fs::hard_link(at.join("s/large"), at.join("s/twin")).unwrap();
        symlink("nowhere", at.join("s/l")).unwrap();
        fs::write(at.join("single"), b"1").unwrap();
    };
    let source = Source::new(make, &["s", "single"]);
    for check_content in [false, true] {
        assert_eq!(source.compare(&[], check_content), (vec![], DiffStatistics::default()));
    }
}

#[test]
fn what_changed_in_a_source_since_is_said() {
    let make = |at: &Path| {
        fs::create_dir_all(at.join("s/gone/deep")).unwrap();
        for name in ["content", "gone/deep/f", "kind", "longer", "mode", "time"] {
            fs::write(at.join("s").join(name), b"content").unwrap();
            touch(&at.join("s").join(name), 1000);
        }
        symlink("one", at.join("s/link")).unwrap();
    };
    let source = Source::new(make, &["s"]);
    let at = |name: &str| source.at("s").join(name);
    fs::write(at("content"), b"CONTENT").unwrap();
    touch(&at("content"), 1001);
    fs::write(at("longer"), b"content!").unwrap();
    touch(&at("longer"), 1000);
    fs::remove_dir_all(at("gone")).unwrap();
    fs::remove_file(at("kind")).unwrap();
    fs::create_dir(at("kind")).unwrap();
    fs::write(at("kind/new"), b"12").unwrap();
    fs::remove_file(at("link")).unwrap();
    symlink("two", at("link")).unwrap();
    fs::set_permissions(at("mode"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(source.at("s"), fs::Permissions::from_mode(0o711)).unwrap();
    touch(&at("time"), 1001);
    let (lines, statistics) = source.compare(&[], false);
    let expected = [
        "U s",
        "M s/content",
        "- s/gone",
        "- s/gone/deep",
        "- s/gone/deep/f",
        "T s/kind",
        "+ s/kind/new",
        "M s/link",
        "M s/longer",
        "U s/mode",
        "U s/time",
    ];
    assert_eq!(lines, expected);
    assert_eq!((statistics.changed_files, statistics.bytes_added, statistics.bytes_removed), (2, 17, 28));
    assert_eq!((statistics.dirs_added, statistics.dirs_removed, statistics.files_removed), (1, 2, 2));
}

#[test]
fn content_behind_an_unchanged_time_is_found_when_asked_for() {
    let make = |at: &Path| {
        fs::write(at.join("f"), b"one").unwrap();
        touch(&at.join("f"), 1000);
    };
    let source = Source::new(make, &["f"]);
    fs::write(source.at("f"), b"two").unwrap();
    touch(&source.at("f"), 1000);
    assert!(source.compare(&[], false).0.is_empty());
    assert_eq!(source.compare(&[], true).0, ["M f"]);
}

#[test]
fn own_folders_are_left_out_and_missing_sources_are_removed() {
    let make = |at: &Path| {
        for name in ["a", "b/c"] {
            fs::create_dir_all(at.join(name)).unwrap();
        }
        fs::write(at.join("b/c/f"), b"x").unwrap();
    };
    let source = Source::new(make, &["a", "b/c"]);
    fs::create_dir(source.at("a/repository")).unwrap();
    fs::write(source.at("a/repository/config"), b"").unwrap();
    assert_eq!(source.compare(&["a/repository"], false).0, Vec::<String>::new());
    assert_eq!(source.compare(&[], false).0, ["+ a/repository", "+ a/repository/config"]);
    fs::remove_dir_all(source.at("b")).unwrap();
    assert_eq!(source.compare(&["a/repository"], false).0, ["- b/c", "- b/c/f"]);
}

#[test]
fn of_what_cannot_be_read_nothing_is_said_but_that() {
    let make = |at: &Path| {
        fs::create_dir_all(at.join("s/closed/d")).unwrap();
        fs::write(at.join("s/closed/f"), b"x").unwrap();
        fs::write(at.join("s/f"), b"one").unwrap();
        fs::write(at.join("s/z"), b"z").unwrap();
    };
    let source = Source::new(make, &["s"]);
    fs::write(source.at("s/f"), b"two").unwrap();
    touch(&source.at("s/f"), 1000);
    fs::remove_file(source.at("s/z")).unwrap();
    for (name, mode) in [("s/f", 0), ("s/closed", 0)] {
        fs::set_permissions(source.at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let is_superuser = fs::read(source.at("s/f")).is_ok();
    let lines = source.compare(&[], false).0;
    fs::set_permissions(source.at("s/closed"), fs::Permissions::from_mode(0o700)).unwrap();
    let expected: &[&str] = if is_superuser {
        &["U s/closed", "M s/f", "- s/z"]
    } else {
        &["U s/closed", "- s/z", "! s/closed", "! s/f"]
    };
    assert_eq!(lines, expected);
}

#[test]
fn the_root_itself_can_be_compared_with_the_file_system() {
    let (_, repo) = repository();
    // A snapshot of `/` that holds nothing: everything there is added, and the visitor stops at once.
    let snapshot = commit(&repo, |_| vec![]);
    let options = LiveOptions { own_folders: &[], owners: &Owners::default(), check_content: false };
    let mut first = None;
    let mut visit = |change: &Change| {
        if change.modifier == Modifier::Metadata {
            assert!(change.path.is_root());
            return Ok(());
        }
        first = Some((change.modifier, change.path.components().count()));
        Err(Error::cancelled())
    };
    assert_eq!(live(&repo, &snapshot, &options, &Silent, &mut visit).unwrap_err().kind(), Kind::Cancelled);
    assert_eq!(first, Some((Modifier::Added, 1)));
    assert_ne!(snapshot.manifest.root, BlobId::new([0; 32]));
}
