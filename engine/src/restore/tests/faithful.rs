//! What was stored comes back as it was.

use super::*;
use crate::base::{Cancel, Timestamp};
use crate::browse::testing::{MTIME, Maker, Part, commit, repository};
use crate::model::{Node, NodeKind};
use crate::source::{Descent, SourceDir};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use tempfile::tempdir;

fn modified(path: &Path) -> Timestamp {
    let found = fs::symlink_metadata(path).unwrap();
    Timestamp::new(found.mtime(), u32::try_from(found.mtime_nsec()).unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn paths_are_the_stored_ones_under_the_target_and_it_is_made() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut above = maker.dir("home", vec![maker.dir("me", vec![maker.file("f", b"content")])]);
        above.mtime = None;
        vec![above]
    });
    let temp = tempdir().unwrap();
    let target = temp.path().join("a/b");
    let planned = plan(&repo, &snapshot, &options(&target, None), &Silent).unwrap();
    assert_eq!((planned.files, planned.dirs, planned.bytes), (1, 2, 7));
    assert_eq!(planned.needed_bytes, 3 * 4096);
    assert!(!temp.path().join("a").exists());
    let summary = apply(&repo, planned, &Silent).unwrap();
    assert_eq!(
        (summary.files, summary.dirs, summary.bytes, summary.damaged, summary.failed),
        (1, 2, 7, 0, 0)
    );
    assert_eq!(names_in(&target), ["home", "home/me", "home/me/f"]);
    assert_eq!(fs::read(target.join("home/me/f")).unwrap(), b"content");
    assert_eq!((mode(&target.join("home/me")), mode(&target.join("home/me/f"))), (0o750, 0o640));
    for path in ["home/me", "home/me/f"] {
        assert_eq!(modified(&target.join(path)), MTIME);
    }
    // A folder above the sources gets no time, and is no more open than it was.
    assert_ne!(modified(&target.join("home")), MTIME);
    assert_eq!(mode(&target.join("home")) & !0o750, 0);
}

#[test]
fn a_path_comes_straight_into_the_target() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut twin = maker.file("twin", b"two");
        twin.hard_link = Some(1);
        let mut other = twin.clone();
        other.name = b"other".to_vec();
        let inner = maker.dir("inner", vec![maker.file("f", b"content"), maker.link("l", "f"), other]);
        vec![maker.dir("home", vec![maker.dir("me", vec![inner, twin])])]
    });
    let temp = tempdir().unwrap();
    let (folder, file, link) =
        (temp.path().join("folder"), temp.path().join("file"), temp.path().join("link"));
    restore(&repo, &snapshot, &folder, Some("/home/me")).unwrap();
    assert_eq!(names_in(&folder), ["inner", "inner/f", "inner/l", "inner/other", "twin"]);
    assert_eq!(fs::metadata(folder.join("twin")).unwrap().nlink(), 2);
    // The target was made, so it is the folder that was asked for.
    assert_eq!((mode(&folder), modified(&folder)), (0o750, MTIME));
    restore(&repo, &snapshot, &file, Some("home/me/inner/f")).unwrap();
    assert_eq!(names_in(&file), ["f"]);
    restore(&repo, &snapshot, &link, Some("/home/me/inner/l")).unwrap();
    assert_eq!(fs::read_link(link.join("l")).unwrap(), Path::new("f"));
    let missing = plan(&repo, &snapshot, &options(&file, Some("/home/you")), &Silent).unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound);
}

#[test]
fn names_of_every_byte_and_kind_come_back() {
    let mut names: Vec<Vec<u8>> =
        (1..=255).filter(|byte| !b"/.".contains(byte)).map(|byte: u8| vec![byte]).collect();
    names.extend((1..=255).filter(|byte| *byte != b'/').map(|byte: u8| vec![byte; 255]));
    let texts =
        ["A", "e\u{301}", "\u{e9}", "x.", "x ", "CON", "NUL.txt", "-rf", "a\nb", "\u{1b}[2J", "\u{202e}gpj"];
    names.extend(texts.iter().map(|text| text.as_bytes().to_vec()));
    names.extend([b"\xff\xfe".to_vec(), b"..\\x".to_vec(), b"C:\\x".to_vec(), b"...".to_vec()]);
    names.sort();
    names.dedup();
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| names.iter().map(|name| maker.file(name, name)).collect());
    let temp = tempdir().unwrap();
    let summary = restore(&repo, &snapshot, temp.path(), None).unwrap();
    assert_eq!(summary.files, names.len() as u64);
    let expected: BTreeMap<_, _> = names.iter().map(|name| (named(name), name.clone())).collect();
    assert_eq!(all_in(temp.path()), expected);
}

#[test]
fn paths_beyond_the_systems_limit_come_back_with_their_metadata() {
    let (_, repo) = repository();
    let name = "n".repeat(200);
    let snapshot = commit(&repo, |maker| {
        let mut node = maker.file("end", b"end");
        for _ in 0..60 {
            // The links lie too deep for a path, too.
            let mut twin = maker.file("twin", b"twin");
            twin.hard_link = Some(7);
            node = maker.dir(&name, vec![node, maker.file("z", b""), twin]);
        }
        vec![node]
    });
    let temp = tempdir().unwrap();
    let summary = restore(&repo, &snapshot, temp.path(), None).unwrap();
    let counts = (summary.files, summary.dirs, summary.hard_links, summary.failed, summary.warnings.len());
    assert_eq!(counts, (62, 60, 59, 0, 0));
    let mut descent = Descent::new(SourceDir::open(temp.path()).unwrap()).unwrap();
    for depth in 0..60 {
        let stat = descent.here().unwrap().stat_of(name.as_bytes()).unwrap();
        assert_eq!((stat.mode, stat.mtime), (0o750, MTIME), "{depth}");
        descent.enter(name.as_bytes()).unwrap();
        assert_eq!(descent.here().unwrap().stat_of(b"twin").unwrap().nlink, 60);
    }
    let mut content = Vec::new();
    descent.here().unwrap().open_file(b"end").unwrap().reader(0, 9).read_to_end(&mut content).unwrap();
    assert_eq!(content, b"end");
}

#[test]
fn permissions_come_back_without_those_that_lend_rights() {
    let (_, repo) = repository();
    let modes: Vec<u32> =
        (0..0o1000).step_by(3).chain([0o777, 0o555, 0o111, 0o4755, 0o2755, 0o1777, 0o7777]).collect();
    let set = |mut node: Node, mode| {
        node.mode = mode;
        node
    };
    let snapshot = commit(&repo, |maker| {
        let mut nodes = Vec::new();
        for mode in &modes {
            nodes.push(set(maker.file(format!("f{mode:o}"), b"x"), *mode));
            let inner = set(maker.dir("i", vec![maker.file("f", b"y")]), 0);
            nodes.push(set(maker.dir(format!("d{mode:o}"), vec![inner, maker.file("g", b"")]), *mode));
        }
        nodes
    });
    let temp = tempdir().unwrap();
    let summary = restore(&repo, &snapshot, temp.path(), None).unwrap();
    assert_eq!((summary.failed, summary.warnings), (0, vec![]));
    for stored in &modes {
        let (file, folder) =
            (temp.path().join(format!("f{stored:o}")), temp.path().join(format!("d{stored:o}")));
        assert_eq!((mode(&file), modified(&file)), (stored & 0o777, MTIME), "{stored:o}");
        assert_eq!((mode(&folder), modified(&folder)), (stored & 0o1777, MTIME), "{stored:o}");
        for open in [&folder, &folder.join("i"), &file] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o700)).unwrap();
        }
        assert_eq!(
            (fs::read(&file).unwrap(), fs::read(folder.join("i/f")).unwrap()),
            (b"x".to_vec(), b"y".to_vec())
        );
        assert_eq!((modified(&folder.join("i")), modified(&folder.join("i/f"))), (MTIME, MTIME));
    }
}

#[test]
fn a_folder_that_shuts_its_owner_out_comes_straight_into_the_target() {
    use std::os::unix::fs::PermissionsExt;
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut inner = maker.dir("inner", vec![maker.file("g", b"below")]);
        inner.mode = 0;
        let mut shut = maker.dir("shut", vec![inner, maker.file("f", b"there")]);
        shut.mode = 0;
        vec![shut]
    });
    let temp = tempdir().unwrap();
    let target = temp.path().join("target");
    let summary = restore(&repo, &snapshot, &target, Some("/shut")).unwrap();
    assert_eq!((summary.files, summary.failed, summary.warnings.len()), (2, 0, 0));
    assert_eq!((mode(&target), modified(&target)), (0, MTIME));
    // Opened again to look into it, and so that it can be removed.
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    open(&target);
    assert_eq!(mode(&target.join("inner")), 0);
    open(&target.join("inner"));
    assert_eq!(names_in(&target), ["f", "inner", "inner/g"]);
}

#[test]
fn times_of_any_age_come_back_to_the_nanosecond() {
    let times = [(0, 0), (-2, 750_000_000), (2_147_483_648, 1), (4_000_000_000, 999_999_999)];
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let set = |mut node: Node, (secs, nanos)| {
            node.mtime = Some(Timestamp::new(secs, nanos));
            node
        };
        let each = |n: usize, time| {
            [
                set(maker.file(format!("f{n}"), b"x"), time),
                set(maker.dir(format!("d{n}"), vec![maker.file("x", b"")]), time),
                set(maker.link(format!("l{n}"), "x"), time),
            ]
        };
        times.iter().enumerate().flat_map(|(n, time)| each(n, *time)).collect()
    });
    let temp = tempdir().unwrap();
    restore(&repo, &snapshot, temp.path(), None).unwrap();
    for (n, (secs, nanos)) in times.into_iter().enumerate() {
        for kind in ["f", "d", "l"] {
            assert_eq!(
                modified(&temp.path().join(format!("{kind}{n}"))),
                Timestamp::new(secs, nanos),
                "{kind}{n}"
            );
        }
    }
}

#[test]
fn links_come_back_wherever_they_point() {
    let long = "t/".repeat(2000);
    let targets = ["nowhere", "loop", "/etc/passwd", "../..", "a\nb", long.as_str()];
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let name = |n: usize| if n == 1 { "loop".to_owned() } else { format!("l{n}") };
        targets.iter().enumerate().map(|(n, target)| maker.link(name(n), target)).collect()
    });
    let temp = tempdir().unwrap();
    let summary = restore(&repo, &snapshot, temp.path(), None).unwrap();
    assert_eq!((summary.symlinks, summary.failed), (6, 0));
    let found: Vec<_> = all_in(temp.path()).into_values().collect();
    let mut expected: Vec<_> = targets.iter().map(|target| target.as_bytes().to_vec()).collect();
    // Sorted by the names of the links.
    let loop_target = expected.remove(1);
    expected.push(loop_target);
    assert_eq!(found, expected);
}

#[test]
fn names_of_one_file_are_one_file_again() {
    let (_, repo) = repository();
    let linked = |maker: &Maker<'_>, name: &str, content: &[u8], group| {
        let mut node = maker.file(name, content);
        node.hard_link = Some(group);
        node
    };
    let snapshot = commit(&repo, |maker| {
        // The first name lies in a folder that nobody may enter afterwards.
        let mut closed =
            maker.dir("a", vec![linked(maker, "one", b"same", 1), linked(maker, "alone", b"alone", 2)]);
        closed.mode = 0;
        vec![
            closed,
            maker.dir("b", vec![linked(maker, "two", b"same", 1), linked(maker, "liar", b"other", 1)]),
            linked(maker, "three", b"same", 1),
        ]
    });
    let temp = tempdir().unwrap();
    let planned = plan(&repo, &snapshot, &options(temp.path(), None), &Silent).unwrap();
    assert_eq!((planned.files, planned.hard_links, planned.bytes), (3, 2, 14));
    let summary = apply(&repo, planned, &Silent).unwrap();
    assert_eq!((summary.files, summary.hard_links, summary.bytes, summary.failed), (3, 2, 14, 0));
    let folder = temp.path().join("a");
    assert_eq!((mode(&folder), modified(&folder), modified(&temp.path().join("b"))), (0, MTIME, MTIME));
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let number = |path: &str| fs::metadata(temp.path().join(path)).unwrap().ino();
    assert_eq!((number("a/one"), number("a/one")), (number("b/two"), number("three")));
    assert_ne!(number("a/one"), number("b/liar"));
    assert_eq!(fs::read(temp.path().join("b/liar")).unwrap(), b"other");
    assert_eq!(fs::metadata(temp.path().join("three")).unwrap().nlink(), 3);
    assert_eq!(fs::metadata(temp.path().join("a/alone")).unwrap().nlink(), 1);
}

#[test]
fn holes_are_holes_again_and_empty_files_are_there() {
    const HOLE: u64 = 24 << 20;
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let middle = [Part::Hole(HOLE), Part::Bytes(&[7; 5000]), Part::Hole(HOLE)];
        vec![
            maker.parts("middle", &middle),
            maker.parts("front", &[Part::Bytes(b"front"), Part::Hole(HOLE)]),
            maker.parts("end", &[Part::Hole(HOLE), Part::Bytes(b"end")]),
            maker.parts("only", &[Part::Hole(HOLE)]),
            maker.file("empty", b""),
        ]
    });
    let temp = tempdir().unwrap();
    let summary = restore(&repo, &snapshot, temp.path(), None).unwrap();
    assert_eq!((summary.files, summary.failed, summary.damaged), (5, 0, 0));
    for (name, size, at, bytes) in [
        ("middle", 2 * HOLE + 5000, HOLE, &[7; 5000][..]),
        ("front", HOLE + 5, 0, b"front"),
        ("end", HOLE + 3, HOLE, b"end"),
        ("only", HOLE, 0, b""),
        ("empty", 0, 0, b""),
    ] {
        let file = fs::File::open(temp.path().join(name)).unwrap();
        let found = file.metadata().unwrap();
        assert_eq!((found.len(), modified(&temp.path().join(name))), (size, MTIME), "{name}");
        assert!(found.blocks() * 512 <= 64 << 10, "{name} takes {} blocks", found.blocks());
        let mut part = vec![0; bytes.len()];
        file.read_exact_at(&mut part, at).unwrap();
        assert_eq!(part, bytes, "{name}");
    }
}

#[test]
fn long_files_come_back_and_are_counted() {
    let blobs: Vec<Vec<u8>> = (0..30u8).map(|n| vec![n; (1 << 20) + usize::from(n)]).collect();
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let parts: Vec<_> = blobs.iter().map(|blob| Part::Bytes(blob)).collect();
        (0..4).map(|n| maker.parts(format!("f{n}"), &parts[n..])).collect()
    });
    let temp = tempdir().unwrap();
    let summary = restore(&repo, &snapshot, temp.path(), None).unwrap();
    for n in 0..4 {
        assert!(fs::read(temp.path().join(format!("f{n}"))).unwrap() == blobs[n..].concat());
    }
    let bytes: usize = (0..4).map(|n| blobs[n..].concat().len()).sum();
    assert_eq!((summary.files, summary.bytes), (4, bytes as u64));
}

#[test]
fn special_files_are_counted_and_said_once() {
    let (_, repo) = repository();
    let kinds = [NodeKind::Fifo, NodeKind::Socket, NodeKind::CharDevice, NodeKind::BlockDevice];
    let snapshot =
        commit(&repo, |maker| kinds.map(|kind| maker.node(kind.name(), kind, 0o600)).into_iter().collect());
    let temp = tempdir().unwrap();
    let summary = restore(&repo, &snapshot, temp.path(), None).unwrap();
    assert_eq!((summary.specials, summary.warnings.len()), (4, 1));
    assert!(summary.warnings[0].message.contains("4 pipes"), "{:?}", summary.warnings);
    assert!(names_in(temp.path()).is_empty());
}

#[test]
fn a_file_restored_is_the_file_that_cat_gives() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.parts("f", &[Part::Bytes(b"ab"), Part::Hole(70_000)])]);
    let temp = tempdir().unwrap();
    restore(&repo, &snapshot, temp.path(), None).unwrap();
    let node = crate::browse::lookup(&repo, &snapshot, &StoredPath::parse(b"/f").unwrap()).unwrap();
    let mut content = Vec::new();
    crate::browse::write_content(&repo, &node, &mut content, &Cancel::new()).unwrap();
    assert_eq!(fs::read(temp.path().join("f")).unwrap(), content);
}
