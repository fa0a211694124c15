//! What entries have besides their content, special files, holes, and reading again.

use super::overwrite::{run, with, write};
use super::*;
use crate::base::{Observer, Phase, WarningKind};
use crate::browse::testing::{MTIME, Maker, Part, commit, repository};
use crate::model::{Node, NodeKind};
use crate::restore::{Overwrite, Ownership};
use crate::source::Owners;
use rustix::fs::{lgetxattr, llistxattr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use tempfile::tempdir;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn owned(mut node: Node, uid: u32, gid: u32, mode: u32) -> Node {
    (node.uid, node.gid, node.mode) = (uid, gid, mode);
    node
}

fn seen(path: &Path) -> (u32, u32, u32, i64) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777, found.mtime())
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut room = vec![0; 256];
    let len = lgetxattr(path, name, room.as_mut_slice()).ok()?;
    room.truncate(len);
    Some(room)
}

fn pair(name: &str, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (name.as_bytes().to_vec(), value.to_vec())
}

#[test]
fn owners_come_back_by_name_where_the_name_is_known_and_with_them_all_bits() {
    if !is_root() {
        return;
    }
    let (_, repo) = repository();
    let all = |maker: &Maker<'_>| {
        let mut named = owned(maker.file("named", b"x"), 11, 12, 0o6755);
        (named.user, named.group) = (Some("ann".into()), Some("chats".into()));
        let mut unknown = owned(maker.file("unknown", b"x"), 21, 22, 0o644);
        (unknown.user, unknown.group) = (Some("nobody here".into()), None);
        let nobody = owned(maker.file("no change", b"x"), u32::MAX, 1, 0o4755);
        vec![
            owned(maker.dir("d", vec![]), 31, 32, 0o2770),
            owned(maker.link("l", "x"), 41, 42, 0o777),
            named,
            nobody,
            owned(maker.node("pipe", NodeKind::Fifo, 0), 51, 52, 0o4620),
            unknown,
        ]
    };
    let snapshot = commit(&repo, |maker| all(maker));
    let owners = Owners::parse("ann:x:1011:1:::\n", "chats:x:1012:\n");
    for (ownership, named) in [(Ownership::Names(owners), (1011, 1012)), (Ownership::Numbers, (11, 12))] {
        let temp = tempdir().unwrap();
        let options = with(temp.path(), |options| {
            options.ownership = ownership;
            options.special = true;
        });
        let summary = run(&repo, &snapshot, &options).unwrap();
        assert_eq!((summary.failed, summary.owners_failed, summary.warnings.len()), (0, 0, 0));
        let at = |name: &str| seen(&temp.path().join(name));
        assert_eq!(at("d"), (31, 32, 0o2770, MTIME.secs));
        assert_eq!(at("l"), (41, 42, 0o777, MTIME.secs));
        assert_eq!(at("named"), (named.0, named.1, 0o6755, MTIME.secs));
        assert_eq!(at("pipe"), (51, 52, 0o4620, MTIME.secs));
        assert_eq!(at("unknown"), (21, 22, 0o644, MTIME.secs));
        // A number that means "no change" gives no owner, and no bits that would lend one's rights.
        assert_eq!(at("no change"), (0, 0, 0o755, MTIME.secs));
    }
    let temp = tempdir().unwrap();
    run(&repo, &snapshot, &with(temp.path(), |options| options.special = true)).unwrap();
    assert_eq!(seen(&temp.path().join("named")), (0, 0, 0o755, MTIME.secs));
    assert_eq!(seen(&temp.path().join("pipe")), (0, 0, 0o620, MTIME.secs));
}

#[test]
fn an_owner_is_not_given_to_a_file_that_has_names_elsewhere() {
    if !is_root() {
        return;
    }
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![owned(maker.file("f", b"same"), 77, 77, 0o666)]);
    let temp = tempdir().unwrap();
    write(temp.path(), "secret", b"same", MTIME);
    fs::set_permissions(temp.path().join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let target = temp.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::hard_link(temp.path().join("secret"), target.join("f")).unwrap();
    let options = with(&target, |options| {
        options.overwrite = Overwrite::IfChanged;
        options.ownership = Ownership::Numbers;
    });
    run(&repo, &snapshot, &options).unwrap();
    assert_eq!(seen(&target.join("f")), (77, 77, 0o666, MTIME.secs));
    assert_eq!(seen(&temp.path().join("secret")), (0, 0, 0o600, MTIME.secs));
}

#[test]
fn attributes_come_back_on_files_folders_and_links() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let attributes = vec![pair("user.mime", b"text\0plain"), pair("user.empty", b"")];
        let mut file = owned(maker.file("f", b"x"), 0, 0, 0o400);
        file.xattrs.clone_from(&attributes);
        let mut dir = owned(maker.dir("d", vec![]), 0, 0, 0o500);
        dir.xattrs = attributes;
        let mut link = maker.link("l", "f");
        link.xattrs = vec![pair("trusted.l", b"link")];
        vec![dir, file, link]
    });
    let temp = tempdir().unwrap();
    // Where the file system has no such attributes, there is nothing to be seen.
    let probe = rustix::fs::setxattr(temp.path(), "user.probe", b"x", rustix::fs::XattrFlags::empty());
    let summary = run(&repo, &snapshot, &options(temp.path(), None)).unwrap();
    assert_eq!(summary.failed, 0);
    if probe.is_ok() {
        assert_eq!(summary.warnings, []);
        for name in ["f", "d"] {
            let path = temp.path().join(name);
            assert_eq!(attribute(&path, "user.mime").unwrap(), b"text\0plain");
            assert_eq!(attribute(&path, "user.empty").unwrap(), b"");
            assert_eq!(seen(&path).3, MTIME.secs);
        }
    } else {
        assert_eq!(summary.warnings.len(), 1);
    }
    // Those that lend rights need the owner.
    assert_eq!(attribute(&temp.path().join("l"), "trusted.l"), None);
    if is_root() {
        let temp = tempdir().unwrap();
        let probe = rustix::fs::setxattr(temp.path(), "trusted.probe", b"x", rustix::fs::XattrFlags::empty());
        run(&repo, &snapshot, &with(temp.path(), |options| options.ownership = Ownership::Numbers)).unwrap();
        let found = attribute(&temp.path().join("l"), "trusted.l");
        assert_eq!(found, probe.is_ok().then(|| b"link".to_vec()));
        assert_eq!(attribute(&temp.path().join("f"), "trusted.l"), None);
    }
}

#[test]
fn attributes_that_are_refused_are_told_once_for_each_family() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let file = |n: usize| {
            let mut file = maker.file(format!("f{n}"), b"x");
            file.xattrs = vec![pair("no.such.family", b"x"), pair("system.no such", b"x"), pair("", b"")];
            file
        };
        (0..5).map(file).collect()
    });
    let temp = tempdir().unwrap();
    let summary = run(&repo, &snapshot, &options(temp.path(), None)).unwrap();
    assert_eq!((summary.files, summary.failed), (5, 0));
    let told: Vec<_> = summary.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("(system.*) of 5 entries"), "{told:?}");
    assert!(told[1].contains("(other) of 10 entries"), "{told:?}");
    assert!(summary.warnings.iter().all(|warning| warning.kind == WarningKind::NotRestored));
    let mut room = [0; 64];
    assert_eq!(llistxattr(temp.path().join("f0"), &mut room[..]).unwrap_or(0), 0);
}

#[test]
fn special_files_come_back_where_that_is_asked_for_and_allowed() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut device = owned(maker.node("null", NodeKind::CharDevice, 0), 0, 0, 0o640);
        device.device = Some((1, 3));
        vec![device, maker.node("pipe", NodeKind::Fifo, 0o622), maker.node("socket", NodeKind::Socket, 0o755)]
    });
    let temp = tempdir().unwrap();
    let options = with(temp.path(), |options| {
        options.special = true;
        options.overwrite = Overwrite::IfChanged;
    });
    let summary = run(&repo, &snapshot, &options).unwrap();
    let kind = |name: &str| fs::symlink_metadata(temp.path().join(name)).unwrap().file_type();
    assert!(kind("pipe").is_fifo() && kind("socket").is_socket());
    assert_eq!((seen(&temp.path().join("pipe")).2, seen(&temp.path().join("socket")).3), (0o622, MTIME.secs));
    // Devices need rights that not even every superuser has.
    let devices = u64::from(temp.path().join("null").exists());
    assert_eq!((summary.specials_restored, summary.failed, summary.specials), (2 + devices, 1 - devices, 0));
    if devices == 1 {
        assert!(kind("null").is_char_device());
        assert_eq!(fs::metadata(temp.path().join("null")).unwrap().rdev(), rustix::fs::makedev(1, 3));
    } else {
        assert!(summary.warnings.iter().any(|warning| warning.message.contains("/null")));
    }
    // Once more: what is there is as it was stored; what is another thing gives way.
    fs::remove_file(temp.path().join("pipe")).unwrap();
    write(temp.path(), "pipe", b"no pipe", crate::base::Timestamp::new(1, 0));
    let summary = run(&repo, &snapshot, &options).unwrap();
    assert_eq!((summary.overwritten, summary.unchanged), (1, 1 + devices));
    assert!(kind("pipe").is_fifo());
}

#[test]
fn zeroes_become_holes_only_where_that_is_asked_for() {
    let mut content = vec![0; 1 << 20];
    content[600_000] = 1;
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        vec![maker.parts("f", &[Part::Bytes(&content), Part::Bytes(&vec![0; 1 << 20])])]
    });
    for (sparse, least, most) in [(false, 2 << 20, 4 << 20), (true, 1, 256 << 10)] {
        let temp = tempdir().unwrap();
        run(&repo, &snapshot, &with(temp.path(), |options| options.sparse = sparse)).unwrap();
        let path = temp.path().join("f");
        assert!(fs::read(&path).unwrap() == [&content[..], &vec![0; 1 << 20]].concat());
        let room = fs::metadata(&path).unwrap().blocks() * 512;
        assert!((least..=most).contains(&room), "{sparse}: {room}");
    }
}

/// Changes a file between writing and reading again.
struct Meddler<'a>(&'a Path);

impl Observer for Meddler<'_> {
    fn phase(&self, phase: Phase) {
        if phase == Phase::Verifying {
            fs::write(self.0.join("d/changed"), b"other!").unwrap();
            fs::write(self.0.join("d/longer"), b"stored and more").unwrap();
            fs::remove_file(self.0.join("gone")).unwrap();
        }
    }
}

#[test]
fn reading_again_notices_what_is_not_as_it_was_stored() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let files = ["changed", "good", "longer"].map(|name| maker.file(name, b"stored"));
        let mut linked = maker.file("one", b"linked");
        linked.hard_link = Some(1);
        let mut again = linked.clone();
        again.name = b"two".to_vec();
        let long = maker.parts("long", &[Part::Bytes(&[7; 70_000]), Part::Hole(1 << 20)]);
        vec![maker.dir("d", files.into_iter().collect()), maker.file("gone", b"stored"), long, linked, again]
    });
    let temp = tempdir().unwrap();
    let options = with(temp.path(), |options| {
        options.verify = true;
        options.overwrite = Overwrite::IfChanged;
    });
    let summary = run(&repo, &snapshot, &options).unwrap();
    assert_eq!((summary.verified, summary.differing, summary.warnings.len()), (7, 0, 0));
    // Also what was there already.
    let meddler = Meddler(temp.path());
    let planned = plan(&repo, &snapshot, &options, &meddler).unwrap();
    let summary = apply(&repo, planned, &meddler).unwrap();
    assert_eq!((summary.files, summary.verified, summary.differing), (0, 4, 3));
    let mut told: Vec<_> =
        summary.warnings.iter().map(|warning| warning.path.as_ref().unwrap().to_string()).collect();
    told.sort();
    assert_eq!(told, ["/d/changed", "/d/longer", "/gone"]);
}

#[test]
fn what_was_kept_is_not_read_again() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.file("kept", b"stored"), maker.file("new", b"stored")]);
    let temp = tempdir().unwrap();
    write(temp.path(), "kept", b"edited", MTIME);
    let options = with(temp.path(), |options| {
        options.verify = true;
        options.overwrite = Overwrite::Never;
    });
    let summary = run(&repo, &snapshot, &options).unwrap();
    assert_eq!((summary.kept, summary.verified, summary.differing), (1, 1, 0));
}
