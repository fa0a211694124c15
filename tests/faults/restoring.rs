//! Restoring where only the superuser can set the scene: with a disk mounted in the target, and as somebody else.

use crate::kit::{Ran, World, picture};
use crate::{Case, Outcome};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const CASES: &[Case] = &[
    ("restoring::delete_does_not_empty_a_disk_that_is_mounted_in_the_target", mounted),
    ("restoring::owners_come_back_by_name_or_by_number", owners),
    ("restoring::owners_that_may_not_be_given_are_1_and_lend_no_rights", refused_owners),
    ("restoring::folders_that_are_closed_to_us_are_opened_or_told", closed_folders),
];

const NOBODY: u32 = 65534;
const NO_MOUNT: &str = "nothing can be mounted";

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Something mounted; gone when dropped, and with this program.
struct Mounted(PathBuf);

impl Mounted {
    /// None if this machine or user may not mount, or if it would be seen by others.
    fn at(place: &Path, arguments: &[&str]) -> Option<Self> {
        std::env::var_os("CHATVAULT_FAULTS_INSIDE")?;
        let mut command = Command::new("mount");
        command.args(arguments).arg(place).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success()).then(|| Self(place.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn deleted(world: &World, arguments: &[&str]) -> u64 {
    let ran = world.repo(&[arguments, &["--json", "--no-progress"]].concat()).succeeded();
    ran.json_lines().pop().unwrap()["deleted"].as_u64().unwrap()
}

fn mounted() -> Outcome {
    let world = World::with_repository();
    let disk = world.path("live/disk");
    fs::create_dir(&disk).unwrap();
    let Some(_disk) = Mounted::at(&disk, &["-t", "tmpfs", "-o", "size=1m", "none"]) else {
        return Outcome::Ignored(NO_MOUNT.to_owned());
    };
    assert_ne!(fs::metadata(&disk).unwrap().dev(), fs::metadata(world.path("live")).unwrap().dev());
    world.write("live/disk/precious", "precious");
    world.write("live/disk/stored/precious", "precious");
    fs::create_dir(world.path("live/disk/again")).unwrap();
    fs::create_dir(world.path("elsewhere")).unwrap();
    world.write("elsewhere/precious", "precious");
    let elsewhere = world.text("elsewhere");
    let Some(_again) = Mounted::at(&world.path("live/disk/again"), &["--bind", &elsewhere]) else {
        return Outcome::Ignored(NO_MOUNT.to_owned());
    };
    let place = format!("latest:{}", world.text("live"));
    let restore =
        ["restore", &place, "--target", "live", "--overwrite", "if-changed", "--delete", "--discard"];
    let names = ["precious", "stored/precious", "again/precious"].map(|name| format!("live/disk/{name}"));
    // The mount point alone is stored; then it is stored with what is on the disk, and the disk has got more.
    for options in [&["-x"][..], &[]] {
        world.repo(&[&["snapshot", "-q", "live"], options].concat()).succeeded();
        world.write("live/extra", "extra");
        let more = ["more", "stored/more", "again/more"].map(|name| format!("live/disk/{name}"));
        more.iter().for_each(|name| world.write(name, "more"));
        assert_eq!(deleted(&world, &[&restore[..], &["--dry-run"]].concat()), 1, "{options:?}");
        assert_eq!(deleted(&world, &restore), 1, "{options:?}");
        assert!(!world.path("live/extra").exists());
        for name in names.iter().chain(&more) {
            assert!(world.path(name).exists(), "{name} after a snapshot with {options:?}");
        }
        more.iter().for_each(|name| fs::remove_file(world.path(name)).unwrap());
    }
    // A folder there gives way to no file.
    fs::remove_dir_all(world.path("live/disk/stored")).unwrap();
    world.write("live/disk/stored", "a file now");
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    fs::remove_file(world.path("live/disk/stored")).unwrap();
    world.write("live/disk/stored/precious", "precious");
    world.repo(&restore).failed_with(1, &["live/disk/stored", "mounted there"]);
    assert_eq!(world.read("live/disk/stored/precious"), "precious");
    // Whoever names a folder on the disk means it: this is what proves that something was to be deleted there.
    let place = format!("latest:{}", world.text("live/disk"));
    let own =
        ["restore", &place, "--target", "live/disk", "--overwrite", "if-changed", "--delete", "--discard"];
    world.write("live/disk/extra", "extra");
    // The folder in the way, what is in it, and `extra`.
    assert_eq!(deleted(&world, &own), 3);
    assert_eq!(world.read("live/disk/stored"), "a file now");
    Outcome::Passed("with two mounts".to_owned())
}

/// A name that has another number at the restore than at the snapshot.
fn owners() -> Outcome {
    const BEFORE: u32 = 4242;
    const AFTER: u32 = 4343;
    if !is_root() {
        return Outcome::Ignored("only root can give files away".to_owned());
    }
    let world = World::with_repository();
    let file = world.path("live/a.txt");
    let table = |number: u32| format!("root:x:0:0::/root:/bin/sh\nsomebody:x:{number}:{number}::/:/bin/sh\n");
    world.write("passwd", table(BEFORE));
    world.write("group", format!("root:x:0:\nsomebody:x:{BEFORE}:\n"));
    let tables = ["passwd", "group"]
        .map(|name| Mounted::at(&Path::new("/etc").join(name), &["--bind", &world.text(name)]));
    if tables.iter().any(Option::is_none) {
        return Outcome::Ignored(NO_MOUNT.to_owned());
    }
    chown(&file, Some(BEFORE), Some(BEFORE)).unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    world.write("passwd", table(AFTER));
    world.write("group", format!("root:x:0:\nsomebody:x:{AFTER}:\n"));
    let place = format!("latest:{}", world.text("live"));
    let options: [(&[&str], u32); 3] =
        [(&[], 0), (&["--owner"], AFTER), (&["--owner", "--numeric-owner"], BEFORE)];
    for (number, (options, expected)) in options.iter().enumerate() {
        let target = format!("out{number}");
        world.repo(&[&["restore", &place, "--target", &target], *options].concat()).succeeded();
        let found = fs::metadata(world.path(&target).join("a.txt")).unwrap();
        assert_eq!((found.uid(), found.gid()), (*expected, *expected), "{options:?}");
    }
    Outcome::Passed("a name with another number".to_owned())
}

/// Runs the program as a user who owns nothing here but the folder `out`.
pub fn as_nobody(world: &World, arguments: &[&str]) -> Ran {
    for name in ["", "home", "tmp"] {
        fs::set_permissions(world.path(name), Permissions::from_mode(0o777)).unwrap();
    }
    let all = ["repo", "key", "out"].map(|name| world.path(name));
    // Folders in `out` keep theirs.
    assert!(Command::new("chown").args(["-R", "65534:65534"]).args(&all[..2]).status().unwrap().success());
    chown(&all[2], Some(NOBODY), Some(NOBODY)).unwrap();
    let program = ["-r", "repo", "--recovery-key-file", "key", "--no-cache"];
    Ran::of(world.command(program.iter().chain(arguments)).uid(NOBODY).gid(NOBODY))
}

fn refused_owners() -> Outcome {
    if !is_root() {
        return Outcome::Ignored("only root can become another user".to_owned());
    }
    let world = World::with_repository();
    fs::set_permissions(world.path("live/a.txt"), Permissions::from_mode(0o4755)).unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let place = format!("latest:{}", world.text("live"));
    fs::create_dir(world.path("out")).unwrap();
    let ran = as_nobody(&world, &["restore", &place, "--target", "out", "--owner"]).ended_with(1);
    assert!(ran.stdout.contains("Owners: 4 entries"), "{}", ran.stdout);
    assert!(ran.stderr.contains("Owners of 4 entries could not be set"), "{}", ran.stderr);
    let found = fs::metadata(world.path("out/a.txt")).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o7777), (NOBODY, 0o755));
    assert_eq!(world.read("out/a.txt"), "first\n");
    Outcome::Passed("as another user".to_owned())
}

fn closed_folders() -> Outcome {
    if !is_root() {
        return Outcome::Ignored("only root can become another user".to_owned());
    }
    let world = World::with_snapshot();
    let place = format!("latest:{}", world.text("live"));
    fs::create_dir_all(world.path("out/sub")).unwrap();
    let ours = Permissions::from_mode(0o555);
    chown(world.path("out/sub"), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(world.path("out/sub"), ours.clone()).unwrap();
    let restore = ["restore", &place, "--target", "out", "--overwrite", "if-changed"];
    as_nobody(&world, &restore).succeeded();
    let inside = |name: &str| picture(&world.path(name)).split_off(1);
    assert!(inside("out") == inside("live"));
    // A folder of somebody else stays closed, and what was to come into it is told.
    fs::remove_dir_all(world.path("out/sub")).unwrap();
    fs::create_dir(world.path("out/sub")).unwrap();
    fs::set_permissions(world.path("out/sub"), ours).unwrap();
    let ran = as_nobody(&world, &restore).ended_with(1);
    assert!(ran.stderr.contains("sub/b.bin: Not restored"), "{}", ran.stderr);
    assert_eq!(fs::read_dir(world.path("out/sub")).unwrap().count(), 0);
    Outcome::Passed("as another user".to_owned())
}
