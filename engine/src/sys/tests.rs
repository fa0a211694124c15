//! Owners of what is new. What only root can show is in the tests of the program, which run it as other users.

use super::*;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use tempfile::TempDir;

fn folder() -> (TempDir, File) {
    let dir = tempfile::tempdir().unwrap();
    let opened = open_folder(dir.path()).unwrap();
    (dir, opened)
}

#[test]
fn a_file_has_its_mode_and_content_and_no_temporary_name_stays() {
    let (dir, opened) = folder();
    for (name, mode) in [("own", 0o600), ("group", 0o660), ("all", 0o444)] {
        let owner = Ownership::inherited(&opened, mode).unwrap();
        let temporary = Temporary::write(&opened, b"content", &owner).unwrap();
        assert!(matches!(temporary.publish(name.as_bytes(), &Way::ALL).unwrap(), Published::By(_)));
        let path = dir.path().join(name);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
        assert_eq!(fs::read(&path).unwrap(), b"content");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn missing_folders_are_created_and_existing_ones_stay_as_they_are() {
    let (dir, _) = folder();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
    create_folders(&dir.path().join("a/b"), 0o700).unwrap();
    create_folders(&dir.path().join("a/b/c"), 0o755).unwrap();
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o7777;
    assert_eq!(["", "a", "a/b", "a/b/c"].map(mode), [0o750, 0o700, 0o700, 0o755]);
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(create_folders(&dir.path().join("file/below"), 0o700).is_err());
}

#[test]
fn a_link_is_no_folder_of_ours() {
    let (dir, opened) = folder();
    std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
    let owner = Ownership::inherited(&opened, 0o700).unwrap();
    let refused = create_folder(&opened, b"link", &owner).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::NotADirectory);
}

#[test]
fn who_is_not_in_a_group_gives_it_nothing() {
    let (dir, opened) = folder();
    let own = Ownership::inherited(&opened, 0o660).unwrap();
    if rustix::process::geteuid().is_root() {
        // Root can give everything away.
        let owner = Ownership { uid: 12, gid: 34, mode: 0o660 };
        let temporary = Temporary::write(&opened, b"", &owner).unwrap();
        temporary.publish(b"file", &Way::ALL).unwrap();
        let file = File::open(dir.path().join("file")).unwrap();
        assert_eq!(Ownership::of(&file).unwrap(), owner);
        return;
    }
    let owner = Ownership { gid: own.gid + 54_321, ..own };
    Temporary::write(&opened, b"", &owner).unwrap().publish(b"file", &Way::ALL).unwrap();
    let file = File::open(dir.path().join("file")).unwrap();
    assert_eq!(Ownership::of(&file).unwrap(), Ownership { mode: 0o600, ..own });
}
