//! Who may use what: an entry that is not replaced is not touched, and one that is passes on its owner and rights.

use super::faults::Told;
use super::overwrite::{OLDER, run, with, write};
use super::*;
use crate::browse::testing::{MTIME, commit, repository};
use crate::restore::{Overwrite, Ownership};
use rustix::fs::{XattrFlags, lgetxattr, setxattr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use tempfile::tempdir;

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A list that lets another user do everything, and nobody else more than the mode says.
fn open_list() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, u32::MAX), (2, 7, 65534), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)];
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn has(path: &Path, attribute: &str) -> bool {
    lgetxattr(path, attribute, &mut [0u8; 256][..]).is_ok()
}

/// All that changes when anything of an entry is set.
fn touched(path: &Path) -> (u32, u32, u32, i64, i64, i64) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.mode(), found.uid(), found.gid(), found.mtime(), found.ctime(), found.ctime_nsec())
}

#[test]
fn what_is_unchanged_is_not_touched_at_all() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let dir = maker.dir("d", vec![maker.file("same", b"same")]);
        vec![dir, maker.link("l", "d/same"), maker.file("suid", b"program")]
    });
    for overwrite in [Overwrite::Always, Overwrite::IfChanged, Overwrite::Refuse] {
        let temp = tempdir().unwrap();
        write(temp.path(), "d/same", b"same", OLDER);
        write(temp.path(), "suid", b"program", OLDER);
        symlink("d/same", temp.path().join("l")).unwrap();
        fs::set_permissions(temp.path().join("suid"), fs::Permissions::from_mode(0o4711)).unwrap();
        let _where_there_are_any = setxattr(temp.path().join("suid"), "user.mine", b"x", XattrFlags::empty());
        let names = ["d/same", "l", "suid"].map(|name| temp.path().join(name));
        let before = names.each_ref().map(|path| touched(path));
        let summary =
            run(&repo, &snapshot, &with(temp.path(), |options| options.overwrite = overwrite)).unwrap();
        assert_eq!((summary.unchanged, summary.files, summary.failed), (3, 0, 0), "{overwrite:?}");
        assert_eq!(names.each_ref().map(|path| touched(path)), before, "{overwrite:?}");
        if has(&names[2], "user.mine") {
            let told = summary.warnings.iter().find(|warning| warning.message.contains("--owner"));
            assert!(told.unwrap().message.starts_with("1 existing entries match"), "{:?}", summary.warnings);
        }
    }
}

#[test]
fn a_folder_that_is_there_keeps_its_set_id_bits_and_its_owner() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut dir = maker.dir("d", vec![maker.file("new", b"new")]);
        dir.mode = 0o750;
        vec![dir]
    });
    let temp = tempdir().unwrap();
    let dir = temp.path().join("d");
    fs::create_dir(&dir).unwrap();
    if is_root() {
        chown(&dir, Some(77), Some(78)).unwrap();
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o2770)).unwrap();
    let owner = |path: &Path| (touched(path).1, touched(path).2);
    let before = owner(&dir);
    run(&repo, &snapshot, &with(temp.path(), |options| options.overwrite = Overwrite::IfChanged)).unwrap();
    assert_eq!((touched(&dir).0 & 0o7777, touched(&dir).3, owner(&dir)), (0o2750, MTIME.secs, before));
}

#[test]
fn a_replaced_file_keeps_owner_set_id_bits_and_access_list() {
    if !is_root() {
        return;
    }
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut file = maker.file("f", b"stored");
        (file.uid, file.gid, file.mode) = (11, 12, 0o6640);
        vec![file, maker.link("l", "stored")]
    });
    for (ownership, owner, mode) in
        [(Ownership::Own, (77, 78), 0o2640), (Ownership::Numbers, (11, 12), 0o6640)]
    {
        let temp = tempdir().unwrap();
        write(temp.path(), "f", b"edited and longer", OLDER);
        symlink("edited", temp.path().join("l")).unwrap();
        let (file, link) = (temp.path().join("f"), temp.path().join("l"));
        chown(&file, Some(77), Some(78)).unwrap();
        std::os::unix::fs::lchown(&link, Some(77), Some(78)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o2600)).unwrap();
        let has_lists = setxattr(&file, ACCESS, &open_list(), XattrFlags::empty()).is_ok();
        let is_own = matches!(ownership, Ownership::Own);
        let options = with(temp.path(), |options| {
            options.overwrite = Overwrite::Always;
            options.ownership = ownership;
        });
        let summary = run(&repo, &snapshot, &options).unwrap();
        assert_eq!((summary.overwritten, summary.owners_failed, summary.failed), (2, 0, 0));
        assert_eq!(fs::read(&file).unwrap(), b"stored");
        let (found, uid, gid, time, ..) = touched(&file);
        assert_eq!(((uid, gid), found & 0o7777, time), (owner, mode, MTIME.secs));
        assert_eq!(has(&file, ACCESS), has_lists && is_own);
        if is_own {
            assert_eq!((touched(&link).1, touched(&link).2), owner);
        }
    }
}

#[test]
fn nothing_is_inherited_from_a_target_that_is_open_to_others() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut file = maker.file("f", b"secret");
        file.mode = 0o640;
        let mut dir = maker.dir("d", vec![file.clone()]);
        dir.mode = 0o750;
        vec![dir, file]
    });
    let temp = tempdir().unwrap();
    if setxattr(temp.path(), DEFAULT, &open_list(), XattrFlags::empty()).is_err() {
        return;
    }
    // This is what a file would inherit.
    fs::write(temp.path().join("probe"), b"").unwrap();
    assert!(has(&temp.path().join("probe"), ACCESS));
    let summary = run(&repo, &snapshot, &options(temp.path(), None)).unwrap();
    assert_eq!((summary.files, summary.warnings.len()), (2, 0), "{:?}", summary.warnings);
    for (name, mode) in [("f", 0o640), ("d", 0o750), ("d/f", 0o640)] {
        let path = temp.path().join(name);
        assert_eq!(touched(&path).0 & 0o7777, mode, "{name}");
        assert!(!has(&path, ACCESS) && !has(&path, DEFAULT), "{name}");
    }
}

#[test]
fn hard_links_that_are_as_stored_stay_when_owners_are_given() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let linked = |name: &str| {
            let mut node = maker.file(name, b"same");
            node.hard_link = Some(1);
            (node.uid, node.gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            node
        };
        vec![linked("a"), linked("b")]
    });
    let temp = tempdir().unwrap();
    let options = with(temp.path(), |options| {
        options.overwrite = Overwrite::IfChanged;
        options.ownership = Ownership::Numbers;
    });
    run(&repo, &snapshot, &options).unwrap();
    let number = || fs::metadata(temp.path().join("a")).unwrap().ino();
    let before = number();
    let summary = run(&repo, &snapshot, &options).unwrap();
    assert_eq!((summary.files, summary.overwritten, summary.unchanged), (0, 0, 1));
    assert_eq!(number(), before);
}

#[test]
fn the_second_of_two_restores_finds_what_the_first_one_brought() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut linked = maker.file("x1", b"linked");
        linked.hard_link = Some(1);
        let mut again = linked.clone();
        again.name = b"x2".to_vec();
        vec![
            maker.dir("d", vec![maker.file("f", b"f"), maker.link("l", "f")]),
            maker.file("g", b"g"),
            linked,
            again,
        ]
    });
    // Both have planned before either writes.
    let temp = tempdir().unwrap();
    let planned = || plan(&repo, &snapshot, &options(temp.path(), None), &Silent).unwrap();
    let (first, second) = (planned(), planned());
    assert_eq!(apply(&repo, first, &Silent).unwrap().files, 3);
    let before = all_in(temp.path());
    let summary = apply(&repo, second, &Silent).unwrap();
    assert_eq!((summary.files, summary.failed, summary.warnings.len()), (0, 0, 0), "{:?}", summary.warnings);
    assert_eq!(all_in(temp.path()), before);
    // One after the other, and then with something that is really in the way.
    let summary = restore(&repo, &snapshot, temp.path(), None).unwrap();
    assert_eq!((summary.files, summary.failed), (0, 0));
    fs::write(temp.path().join("g"), b"G").unwrap();
    assert_eq!(restore(&repo, &snapshot, temp.path(), None).unwrap_err().kind(), Kind::AlreadyThere);
}

#[test]
fn a_dry_run_names_what_really_changes() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.file("other", b"stored"), maker.file("same", b"same")]);
    let temp = tempdir().unwrap();
    write(temp.path(), "same", b"same", OLDER);
    write(temp.path(), "other", b"forged", OLDER);
    let options = with(temp.path(), |options| {
        (options.overwrite, options.compare) = (Overwrite::Always, true);
    });
    let mut told = Vec::new();
    let planned = crate::restore::plan_each(&repo, &snapshot, &options, &Silent, &mut |entry| {
        told.push((entry.path.to_string(), entry.action, entry.is_only_here));
    });
    let planned = planned.unwrap();
    let expected = [("/other", Action::Overwrite, true), ("/same", Action::Leave, false)];
    assert_eq!(told, expected.map(|(path, action, is_only_here)| (path.to_owned(), action, is_only_here)));
    assert_eq!((planned.overwritten, planned.unchanged, planned.discarded), (1, 1, 1));
}

#[test]
fn what_came_or_changed_since_the_plan_is_not_deleted() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.dir("d", vec![maker.file("f", b"f")])]);
    let temp = tempdir().unwrap();
    write(temp.path(), "d/f", b"f", MTIME);
    write(temp.path(), "d/planned", b"planned", OLDER);
    write(temp.path(), "d/edited", b"edited", OLDER);
    let options = with(temp.path(), |options| {
        (options.overwrite, options.delete) = (Overwrite::IfChanged, true);
    });
    let told = Told::default();
    let planned = plan(&repo, &snapshot, &options, &told).unwrap();
    fs::write(temp.path().join("d/came"), b"a new message").unwrap();
    fs::write(temp.path().join("d/edited"), b"edited since").unwrap();
    let summary = apply(&repo, planned, &told).unwrap();
    assert_eq!((summary.deleted, summary.failed), (1, 2));
    assert_eq!(names_in(temp.path()), ["d", "d/came", "d/edited", "d/f"]);
}

#[test]
fn a_failure_of_the_repository_is_never_told_as_one_of_the_target() {
    use crate::base::{Error, Whose};
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.file("f", b"f")]);
    let temp = tempdir().unwrap();
    let planned = || plan(&repo, &snapshot, &options(temp.path(), None), &Silent).unwrap();
    let counts = |kind, whose| {
        let work = crate::restore::work::Work::new(&repo, planned(), &Silent).unwrap();
        work.lost(&StoredPath::root(), Error::new(kind, "read", "x").of(whose));
        let ended = work.check().err().map(|e| e.kind());
        let summary = work.summary();
        (summary.damaged, summary.denied, summary.failed, ended)
    };
    assert_eq!(counts(Kind::Io, Whose::Repository), (1, 0, 0, None));
    assert_eq!(counts(Kind::NotFound, Whose::Repository), (1, 0, 0, None));
    assert_eq!(counts(Kind::Denied, Whose::Repository), (0, 1, 0, None));
    assert_eq!(counts(Kind::Io, Whose::Target), (0, 0, 1, None));
    assert_eq!(counts(Kind::Denied, Whose::Target), (0, 0, 1, None));
    assert_eq!(counts(Kind::Gone, Whose::Repository), (0, 0, 0, Some(Kind::Gone)));
}

#[test]
fn what_root_restores_of_others_is_told_with_the_option_that_gives_it_to_them() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut file = maker.file("f", b"f");
        file.uid = 11;
        vec![file, maker.file("mine", b"x")]
    });
    let temp = tempdir().unwrap();
    let summary = run(&repo, &snapshot, &with(temp.path(), |_| {})).unwrap();
    let told = |word: &str| summary.warnings.iter().filter(|warning| warning.message.contains(word)).count();
    assert_eq!(
        (told("1 new entries belong to root"), told("--owner")),
        match is_root() {
            true => (1, 1),
            false => (0, 0),
        }
    );
    assert_eq!(summary.failed + summary.owners_failed, 0);
}
