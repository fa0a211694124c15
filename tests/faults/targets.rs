//! Restoring into file systems that are not like the one that was stored: names that they take for one another, names that
//! they cannot have, folders that are closed, and too little room.

use crate::full::Small;
use crate::kit::World;
use crate::restoring::{as_nobody, is_root};
use crate::{Case, Outcome};
use chatvault_tests::bytes::noise;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const CASES: &[Case] = &[
    ("targets::of_two_names_that_the_target_takes_for_one_the_first_is_restored_and_the_other_named", cases),
    ("targets::a_name_that_the_target_cannot_look_up_is_named_and_the_rest_restored", names),
    ("targets::a_closed_folder_in_the_target_is_named_and_the_rest_restored", closed),
    ("targets::files_of_somebody_else_are_replaced_with_a_warning_that_names_owner", foreign),
    ("targets::files_that_root_replaces_stay_those_of_their_owner", root),
    ("targets::what_could_not_be_stored_before_is_not_deleted_in_place", in_place),
    ("targets::unchanged_files_and_blocks_of_zeroes_need_no_room", room),
];

const NOBODY: u32 = 65534;

/// An NTFS in a file, through FUSE, where case makes no difference; gone when dropped.
struct Ntfs(PathBuf);

impl Ntfs {
    fn mount(world: &World, place: &str) -> Result<Self, String> {
        let image = world.path("ntfs");
        File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let (at, quiet) = (world.path(place), |name: &str| {
            let mut command = Command::new(name);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        });
        fs::create_dir_all(&at).unwrap();
        let made = quiet("mkfs.ntfs").args(["-q", "-F", "-f"]).arg(&image).status();
        let mounted = quiet("lowntfs-3g").arg(&image).arg(&at).args(["-o", "ignore_case"]).status();
        match (made, mounted) {
            (Ok(made), Ok(mounted)) if made.success() && mounted.success() => Ok(Self(at)),
            _ => Err("no NTFS can be mounted: ntfs-3g and FUSE are needed".to_owned()),
        }
    }
}

impl Drop for Ntfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn cases() -> Outcome {
    let world = World::with_repository();
    fs::remove_dir_all(world.path("live")).unwrap();
    for (name, content) in
        [("IMG.jpg", "upper"), ("img.jpg", "lower"), ("DIR/f", "upper"), ("dir/f", "lower"), ("other", "x")]
    {
        world.write(&format!("live/{name}"), content);
    }
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let _ntfs = match Ntfs::mount(&world, "out") {
        Ok(mounted) => mounted,
        Err(why) => return Outcome::Ignored(why),
    };
    // This is what the case is about.
    world.write("out/probe.TXT", "probe");
    assert_eq!(world.read("out/PROBE.txt"), "probe");
    fs::remove_file(world.path("out/probe.TXT")).unwrap();
    let place = format!("latest:{}", world.text("live"));
    // Into the empty disk, where the faster one gets the name; over what is there then; and over files that are there in
    // another case.
    let pairs = [["live/IMG.jpg", "live/img.jpg"], ["live/DIR", "live/dir"]];
    for number in 0..3 {
        if number == 2 {
            world.write("out/Img.JPG", "edited!");
            world.write("out/DIR/F", "edited!");
        }
        let options = ["restore", "--verify", &place, "--target", "out", "--overwrite", "always"];
        let ran = world.repo(&options).ended_with(1);
        let is_named = |name: &str| ran.stderr.contains(&format!("{}: Not restored", world.text(name)));
        for [upper, lower] in pairs {
            assert!(is_named(upper) != is_named(lower), "run {number}: {}", ran.stderr);
            assert!(number == 0 || is_named(lower), "run {number}: {}", ran.stderr);
        }
        // What is there is the file that was not named.
        let image = if is_named("live/IMG.jpg") { "lower" } else { "upper" };
        assert_eq!(
            ["out/IMG.jpg", "out/DIR/f"].map(|name| world.read(name)),
            [image, "upper"],
            "{}",
            ran.stderr
        );
        assert_eq!(world.read("out/other"), "x");
    }
    // Nothing else is wrong with a name only because its case is another one there.
    world.write("live2/Photo.JPG", "stored");
    world.repo(&["snapshot", "-q", "live2"]).succeeded();
    world.write("out/photo.jpg", "edited");
    let place = format!("latest:{}", world.text("live2"));
    world.repo(&["restore", &place, "--target", "out", "--overwrite", "always"]).succeeded();
    assert_eq!(world.read("out/photo.jpg"), "stored");
    Outcome::Passed("on NTFS".to_owned())
}

fn names() -> Outcome {
    let world = World::with_repository();
    let strange = |folder: &str| world.path(folder).join(OsStr::from_bytes(b"caf\xe9"));
    fs::write(strange("live"), "strange").unwrap();
    let folder = world.path("live").join(OsStr::from_bytes(b"caf\xe8"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("below"), "below").unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let _ntfs = match Ntfs::mount(&world, "out") {
        Ok(mounted) => mounted,
        Err(why) => return Outcome::Ignored(why),
    };
    let why = fs::symlink_metadata(strange("out")).unwrap_err();
    assert_eq!(why.raw_os_error(), Some(nix::libc::EILSEQ));
    let place = format!("latest:{}", world.text("live"));
    let dry = world.repo(&["restore", &place, "--target", "out", "--dry-run"]).ended_with(1);
    let ran = world.repo(&["restore", &place, "--target", "out"]).ended_with(1);
    for stderr in [&dry.stderr, &ran.stderr] {
        let told =
            stderr.lines().filter(|line| line.contains("caf") && line.contains("estored: Failed to")).count();
        assert_eq!(told, 2, "{stderr}");
    }
    assert_eq!((world.read("out/a.txt"), world.read("out/sub/c.txt")), ("first\n".to_owned(), String::new()));
    assert_eq!(fs::read(world.path("out/sub/b.bin")).unwrap(), [7; 70_000]);
    Outcome::Passed("on NTFS".to_owned())
}

fn closed() -> Outcome {
    if !is_root() {
        return Outcome::Ignored("only root can become another user".to_owned());
    }
    let world = World::with_snapshot();
    let place = format!("latest:{}", world.text("live"));
    fs::create_dir_all(world.path("out/sub")).unwrap();
    fs::set_permissions(world.path("out/sub"), Permissions::from_mode(0o000)).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let restore = ["restore", &place, "--target", "out", "--overwrite", "if-changed"];
        let ran = as_nobody(&world, &[&restore[..], more].concat()).ended_with(1);
        let line = format!("{}: ", world.text("live/sub"));
        assert!(ran.stderr.contains(&line) && ran.stderr.contains("Permission denied"), "{}", ran.stderr);
        assert_eq!(world.path("out/a.txt").exists(), more.is_empty());
    }
    assert_eq!(fs::read_dir(world.path("out/sub")).unwrap().count(), 0);
    Outcome::Passed("as another user".to_owned())
}

/// A target whose `a.txt` belongs to this user, differs from what is stored, and has these bits.
fn with_a_file_of(world: &World, user: u32, mode: u32) -> PathBuf {
    world.write("out/a.txt", "edited, and longer\n");
    let file = world.path("out/a.txt");
    chown(&file, Some(user), Some(user)).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    file
}

fn seen(path: &Path) -> (u32, u32, u32) {
    let found = fs::metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

fn foreign() -> Outcome {
    if !is_root() {
        return Outcome::Ignored("only root can become another user".to_owned());
    }
    let world = World::with_snapshot();
    let file = with_a_file_of(&world, 4242, 0o4755);
    let place = format!("latest:{}", world.text("live"));
    let restore = ["restore", &place, "--target", "out", "--overwrite", "always"];
    let ran = as_nobody(&world, &restore).succeeded();
    assert!(ran.stderr.contains("1 replaced files have another owner"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--owner"), "{}", ran.stderr);
    // The bit lent the rights of somebody else.
    assert_eq!(seen(&file), (NOBODY, NOBODY, 0o644));
    Outcome::Passed("as another user".to_owned())
}

fn root() -> Outcome {
    if !is_root() {
        return Outcome::Ignored("only root can give files away".to_owned());
    }
    let world = World::with_repository();
    fs::set_permissions(world.path("live/a.txt"), Permissions::from_mode(0o600)).unwrap();
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let file = with_a_file_of(&world, 4242, 0o2644);
    let place = format!("latest:{}", world.text("live"));
    let restore = ["restore", &place, "--target", "out", "--overwrite", "if-changed"];
    world.repo(&restore).succeeded();
    assert_eq!((world.read("out/a.txt"), seen(&file)), ("first\n".to_owned(), (4242, 4242, 0o2600)));
    // What is as stored already is not touched the next time.
    let touched =
        || fs::metadata(&file).map(|found| (found.ctime(), found.ctime_nsec(), found.mode())).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o4755)).unwrap();
    let before = touched();
    world.repo(&restore).succeeded();
    assert_eq!(touched(), before);
    Outcome::Passed("with another owner".to_owned())
}

fn in_place() -> Outcome {
    if !is_root() {
        return Outcome::Ignored("only root can become another user".to_owned());
    }
    let world = World::with_snapshot();
    let first = world.ids()[0].clone();
    fs::create_dir(world.path("out")).unwrap();
    world.write("live/a.txt", "spoiled\n");
    world.write("live/sub/closed.txt", "nobody can read this");
    assert!(
        Command::new("chown").args(["-R", "65534:65534"]).arg(world.path("live")).status().unwrap().success()
    );
    fs::set_permissions(world.path("live/sub/closed.txt"), Permissions::from_mode(0o000)).unwrap();
    let restore = ["restore", &first, "--in-place", "--delete"];
    let closed = world.text("live/sub/closed.txt");
    as_nobody(&world, &restore).failed_with(20, &[&closed, "--discard"]);
    assert_eq!(world.read("live/a.txt"), "spoiled\n");
    assert!(world.path("live/sub/closed.txt").exists());
    // What could be read is stored, and what is not deleted is no obstacle.
    let list = as_nobody(&world, &["list", "--json", "--tag", "before-restore"]).succeeded().json();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["summary"]["unreadable"]), (1, &1.into()));
    as_nobody(&world, &[&restore[..], &["--exclude", "closed.txt"]].concat()).succeeded();
    assert_eq!(world.read("live/a.txt"), "first\n");
    assert!(world.path("live/sub/closed.txt").exists());
    Outcome::Passed("as another user".to_owned())
}

fn room() -> Outcome {
    const MIB: usize = 1 << 20;
    let world = World::with_repository();
    fs::remove_dir_all(world.path("live")).unwrap();
    world.write("live/large.bin", noise("large", 24 * MIB));
    for number in 0..6 {
        world.write(&format!("live/{number}.txt"), "stored");
    }
    world.write("zeroes/film.mp4", [&noise("film", MIB)[..], &vec![0; 40 * MIB], b"end"].concat());
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    world.repo(&["snapshot", "-q", "zeroes"]).succeeded();
    let Some(_small) = Small::mount(&world.path("out"), "32m") else {
        return Outcome::Ignored("nothing can be mounted here".to_owned());
    };
    let live = format!("latest:{}", world.text("live"));
    let paths = ["--path", &world.text("live")];
    world.repo(&[&["restore", &live, "--target", "out"], &paths[..]].concat()).succeeded();
    for number in 0..6 {
        world.write(&format!("out/{number}.txt"), "edited");
    }
    // The large file is the same, the small ones are not; all of it twice would need far more than is there.
    let restore = ["restore", &live, "--target", "out", "--overwrite", "always"];
    world.repo(&[&restore, &paths[..]].concat()).succeeded();
    assert_eq!(world.read("out/3.txt"), "stored");
    fs::remove_file(world.path("out/large.bin")).unwrap();
    let zeroes = format!("latest:{}", world.text("zeroes"));
    let restore = ["restore", &zeroes, "--target", "out/zeroes"];
    world.repo(&restore).failed_with(1, &["are free"]);
    world.repo(&[&restore[..], &["--sparse"]].concat()).succeeded();
    assert!(
        fs::read(world.path("out/zeroes/film.mp4")).unwrap()
            == fs::read(world.path("zeroes/film.mp4")).unwrap()
    );
    Outcome::Passed("in 32 MiB".to_owned())
}
