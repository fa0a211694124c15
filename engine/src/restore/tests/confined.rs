//! Nothing is written outside the target or over what is there, whatever the tree says.

use super::*;
use crate::browse::testing::{Maker, commit, commit_root, repository};
use crate::crypto::{Credential, RecoveryKey};
use crate::format::tree::{encode_inner, encode_leaf, encode_node};
use crate::model::{Database, DatabaseState, Node, NodeKind};
use crate::repo::testing::session;
use crate::restore::Overwrite;
use crate::store::LocalStore;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use tempfile::{TempDir, tempdir};

/// A target beside a folder that must stay as it is.
struct Yard {
    temp: TempDir,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Yard {
    fn new() -> Self {
        let temp = tempdir().unwrap();
        for folder in ["outside/inner", "target"] {
            fs::create_dir_all(temp.path().join(folder)).unwrap();
        }
        fs::write(temp.path().join("outside/canary"), b"alive").unwrap();
        let before = all_in(&temp.path().join("outside"));
        Self { temp, before }
    }

    fn target(&self) -> PathBuf {
        self.temp.path().join("target")
    }

    fn outside(&self) -> PathBuf {
        self.temp.path().join("outside")
    }

    fn check(&self) {
        assert_eq!(all_in(&self.outside()), self.before);
        assert_eq!(fs::read_dir(self.temp.path()).unwrap().count(), 2);
    }
}

/// The page of a folder whose nodes no writer would put there.
fn raw_tree(maker: &Maker<'_>, pages: &[Vec<Node>]) -> crate::base::BlobId {
    let pages: Vec<_> = pages
        .iter()
        .zip(b'a'..)
        .map(|(nodes, name)| {
            let leaf: Vec<_> = nodes.iter().map(encode_node).collect();
            (vec![name], maker.page(encode_leaf(&leaf)))
        })
        .collect();
    match pages.as_slice() {
        [(_, page)] => *page,
        several => maker.page(encode_inner(1, several)),
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let long = [b'n'; 5000];
    let hostile: [&[u8]; 9] =
        [b"..", b".", b"", b"/etc", b"a/b", b"../outside/canary", b"a\0b", b"x/../..", &long];
    for name in hostile {
        let (_, repo) = repository();
        let yard = Yard::new();
        let snapshot = commit_root(&repo, |maker| {
            let inner = maker.dir("d", vec![maker.file("canary", b"dead")]);
            let mut dir = inner.clone();
            dir.name = name.to_vec();
            let broken = raw_tree(maker, &[vec![dir]]);
            let mut holder = maker.node("holder", NodeKind::Dir, 0o700);
            holder.subtree = Some(broken);
            let mut file = maker.file("f", b"dead");
            file.name = name.to_vec();
            let mut other = holder.clone();
            other.name = b"other".to_vec();
            other.subtree = Some(raw_tree(maker, &[vec![file]]));
            maker.tree(vec![holder, other, maker.file("good", b"good")])
        });
        let summary = restore(&repo, &snapshot, &yard.target(), None).unwrap();
        assert_eq!((summary.damaged, summary.files), (2, 1), "{name:?}");
        assert_eq!(names_in(&yard.target()), ["good", "holder", "other"], "{name:?}");
        yard.check();
    }
}

#[test]
fn no_entry_goes_through_a_link_of_the_tree() {
    let (_, repo) = repository();
    let yard = Yard::new();
    let snapshot = commit_root(&repo, |maker| {
        let link = maker.link("a", yard.outside().as_os_str().as_bytes());
        let dir = maker.dir("a", vec![maker.file("canary", b"dead"), maker.file("new", b"dead")]);
        // One name twice in one page, and in two pages.
        let mut first = maker.node("first", NodeKind::Dir, 0o700);
        first.subtree = Some(raw_tree(maker, &[vec![link.clone(), dir.clone()]]));
        let mut second = maker.node("second", NodeKind::Dir, 0o700);
        second.subtree = Some(raw_tree(maker, &[vec![link], vec![dir]]));
        maker.tree(vec![first, second])
    });
    let summary = restore(&repo, &snapshot, &yard.target(), None).unwrap();
    assert_eq!(summary.damaged, 2);
    assert_eq!(names_in(&yard.target()), ["first", "second", "second/a"]);
    yard.check();
}

#[test]
fn a_link_that_stands_in_the_target_is_not_followed() {
    let (_, repo) = repository();
    let snapshot =
        commit(&repo, |maker| vec![maker.dir("a", vec![maker.dir("inner", vec![maker.file("f", b"x")])])]);
    for at in ["a", "a/inner"] {
        let yard = Yard::new();
        let link = yard.target().join(at);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(yard.outside(), &link).unwrap();
        let (kind, text) = refused(&repo, &snapshot, &yard.target());
        assert_eq!(kind, Kind::AlreadyThere);
        assert!(text.contains(&format!("/{at} (symlink)")), "{text}");
        yard.check();
    }
    // It may also come after the plan was made.
    let yard = Yard::new();
    let planned = plan(&repo, &snapshot, &options(&yard.target(), None), &Silent).unwrap();
    symlink(yard.outside(), yard.target().join("a")).unwrap();
    let summary = apply(&repo, planned, &Silent).unwrap();
    assert_eq!((summary.failed, summary.files), (1, 0));
    yard.check();
}

#[test]
fn what_is_there_is_named_and_nothing_is_written() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut nodes: Vec<_> = (0..7).map(|n| maker.file(format!("f{n}"), b"new")).collect();
        nodes.push(maker.dir("d", vec![maker.link("l", "x"), maker.dir("e", vec![])]));
        nodes.push(maker.file("z", b"new"));
        nodes
    });
    let temp = tempdir().unwrap();
    fs::create_dir(temp.path().join("d")).unwrap();
    for file in ["f0", "f1", "f2", "f3", "f4", "f5", "d/l", "d/e"] {
        fs::write(temp.path().join(file), b"old").unwrap();
    }
    let before = all_in(temp.path());
    let (kind, text) = refused(&repo, &snapshot, temp.path());
    assert_eq!(kind, Kind::AlreadyThere);
    let at = |name: &str| format!("{} (file)", temp.path().join(name).display());
    let first = [at("d/e"), at("d/l"), at("f0")].join(", ");
    assert!(text.contains(&first) && text.contains("and 3 more"), "{text}");
    assert_eq!(all_in(temp.path()), before);
}

#[test]
fn folders_that_are_there_are_merged_into() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.dir("d", vec![maker.file("new", b"new")])]);
    let temp = tempdir().unwrap();
    fs::create_dir(temp.path().join("d")).unwrap();
    fs::write(temp.path().join("d/old"), b"old").unwrap();
    restore(&repo, &snapshot, temp.path(), None).unwrap();
    assert_eq!(names_in(temp.path()), ["d", "d/new", "d/old"]);
}

#[test]
fn a_file_that_came_after_the_plan_is_left_alone() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut one = maker.file("one", b"new");
        one.hard_link = Some(1);
        let mut two = one.clone();
        two.name = b"two".to_vec();
        vec![one, two, maker.link("l", "x")]
    });
    let temp = tempdir().unwrap();
    let planned = plan(&repo, &snapshot, &options(temp.path(), None), &Silent).unwrap();
    for name in ["one", "l"] {
        fs::write(temp.path().join(name), b"old").unwrap();
    }
    let summary = apply(&repo, planned, &Silent).unwrap();
    assert_eq!((summary.failed, summary.files, summary.hard_links), (2, 1, 0));
    let found = all_in(temp.path());
    let content = |name: &str| found[Path::new(name)].as_slice();
    // The second name must not become a name of the foreign file.
    assert_eq!(
        (found.len(), content("one"), content("l"), content("two")),
        (3, &b"old"[..], &b"old"[..], &b"new"[..])
    );
}

#[test]
fn sidecars_that_would_join_a_restored_database_are_in_the_way() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut database = maker.file("m.db", b"database");
        database.database =
            Some(Database { state: DatabaseState::Quiescent, page_size: 4096, sidecars: vec![] });
        vec![maker.dir("d", vec![database, maker.file("plain", b"")])]
    });
    for (name, is_in_the_way) in [
        ("m.db-wal", true),
        ("m.db-shm", true),
        ("m.db-journal", true),
        ("m.db-x", false),
        ("plain-wal", false),
    ] {
        let temp = tempdir().unwrap();
        fs::create_dir(temp.path().join("d")).unwrap();
        fs::write(temp.path().join("d").join(name), b"stale").unwrap();
        let result = plan(&repo, &snapshot, &options(temp.path(), None), &Silent);
        assert_eq!(result.err().map(|e| e.kind()), is_in_the_way.then_some(Kind::AlreadyThere), "{name}");
    }
}

#[test]
fn a_target_in_the_repository_is_refused() {
    let temp = tempdir().unwrap();
    let folder = temp.path().join("x/repository");
    fs::create_dir(temp.path().join("x")).unwrap();
    let store = Arc::new(LocalStore::create(&folder).unwrap());
    let key = Credential::Recovery(RecoveryKey::random().unwrap());
    let repo = Repo::create(store, &[key], session(None)).unwrap();
    let snapshot = commit(&repo, |maker| vec![maker.file("f", b"x")]);
    symlink(&folder, temp.path().join("link")).unwrap();
    for at in ["x/repository", "x/repository/new", "x/repository/packs", "link", "link/a/b", "x/./repository"]
    {
        let (kind, text) = refused(&repo, &snapshot, &temp.path().join(at));
        assert_eq!(kind, Kind::Usage, "{at}: {text}");
        assert!(text.contains("lies in the repository"), "{at}: {text}");
    }
    for at in ["y", "x/other", "x/repository2", "x", ""] {
        assert!(plan(&repo, &snapshot, &options(&temp.path().join(at), None), &Silent).is_ok(), "{at}");
    }
    // Named by the caller, where the store does not know its place.
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.file("f", b"x")]);
    let mut options = options(&folder.join("new"), None);
    options.repository = Some(folder.clone());
    assert_eq!(plan(&repo, &snapshot, &options, &Silent).unwrap_err().kind(), Kind::Usage);
}

#[test]
fn a_target_may_hold_the_repository_and_nothing_of_that_is_touched() {
    let temp = tempdir().unwrap();
    let folder = temp.path().join("x/repository");
    fs::create_dir(temp.path().join("x")).unwrap();
    let store = Arc::new(LocalStore::create(&folder).unwrap());
    let key = Credential::Recovery(RecoveryKey::random().unwrap());
    let repo = Repo::create(store, &[key], session(None)).unwrap();
    let into = |name: &str| commit(&repo, |m| vec![m.dir("x", vec![m.dir(name, vec![m.file("f", b"x")])])]);
    let (in_it, beside) = (into("repository"), into("new"));
    let above = commit(&repo, |maker| vec![maker.file("x", b"x")]);
    fs::write(temp.path().join("x/too-much"), b"").unwrap();
    let before = all_in(&folder);
    let options = RestoreOptions {
        overwrite: Overwrite::Always,
        delete: true,
        discard: true,
        ..options(temp.path(), None)
    };
    let error = |snapshot| plan(&repo, snapshot, &options, &Silent).unwrap_err();
    assert_eq!(error(&in_it).kind(), Kind::Usage);
    assert!(error(&in_it).full_text().contains("would come into the folder of the repository"));
    assert_eq!(error(&above).kind(), Kind::AlreadyThere);
    let planned = plan(&repo, &beside, &options, &Silent).unwrap();
    apply(&repo, planned, &Silent).unwrap();
    assert_eq!(all_in(&folder), before);
    assert!(temp.path().join("x/new/f").exists() && !temp.path().join("x/too-much").exists());
}

#[test]
fn a_target_that_is_no_folder_is_refused() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.file("f", b"x")]);
    let temp = tempdir().unwrap();
    fs::write(temp.path().join("file"), b"").unwrap();
    symlink("nowhere", temp.path().join("dangling")).unwrap();
    for (at, kind) in [
        ("file", Kind::AlreadyThere),
        ("file/x", Kind::Io),
        ("dangling", Kind::AlreadyThere),
        ("dangling/x", Kind::AlreadyThere),
        ("new/../x", Kind::Usage),
    ] {
        assert_eq!(refused(&repo, &snapshot, &temp.path().join(at)).0, kind, "{at}");
    }
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2);
}

#[test]
fn a_target_that_was_exchanged_since_the_plan_is_refused() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.file("f", b"x")]);
    let yard = Yard::new();
    let planned = plan(&repo, &snapshot, &options(&yard.target(), None), &Silent).unwrap();
    fs::remove_dir(yard.target()).unwrap();
    symlink(yard.outside(), yard.target()).unwrap();
    assert_eq!(apply(&repo, planned, &Silent).unwrap_err().kind(), Kind::Usage);
    assert_eq!(all_in(&yard.outside()), yard.before);
}
