//! Who owns what the program creates. Several users work in one world: ann and ben, and root for them.

use crate::kit::{Ran, World};
use crate::stage::snapshot_id;
use crate::{Case, Outcome};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

pub const CASES: &[Case] = &[
    ("owners::a_snapshot_by_root_leaves_a_repository_to_its_owner", by_root),
    ("owners::what_root_creates_first_in_the_folders_of_a_user_belongs_to_that_user", root_first),
    ("owners::root_that_cannot_give_files_away_ends_before_it_writes_anything", no_owners_to_give),
    ("owners::all_members_of_a_group_use_its_repository", group),
];

const ANN: u32 = 61_001;
const BEN: u32 = 61_002;
const FAMILY: u32 = 61_100;
const MODE: u32 = 0o7777;

/// A world that belongs to ann; everybody may enter it.
fn world_of_ann() -> Option<World> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let world = World::within(folder);
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    world.write("live/a.txt", "first");
    world.write("live/b.jpg", [7; 70_000]);
    for name in ["home", "tmp", "live", "live/a.txt", "live/b.jpg"] {
        chown(world.path(name), Some(ANN), Some(ANN)).unwrap();
    }
    fs::create_dir(world.path("disk")).unwrap();
    chown(world.path("disk"), Some(ANN), Some(ANN)).unwrap();
    Some(world)
}

fn run_as(uid: u32, groups: &str, world: &World, arguments: &[&str]) -> Ran {
    // `setpriv` sets the other groups too.
    let mut command = Command::new("setpriv");
    let id = uid.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--groups", groups, "--"]);
    of_program(command, world, arguments)
}

fn ann(world: &World, arguments: &[&str]) -> Ran {
    run_as(ANN, &ANN.to_string(), world, arguments)
}

fn root(world: &World, arguments: &[&str]) -> Ran {
    Ran::of(&mut world.command(arguments))
}

/// Puts the program of a world behind another command, with the same environment.
fn of_program(mut command: Command, world: &World, arguments: &[&str]) -> Ran {
    let program = world.command(arguments);
    command.arg(program.get_program()).args(program.get_args()).current_dir(world.path("")).env_clear();
    for (name, value) in program.get_envs() {
        command.env(name, value.unwrap());
    }
    Ran::of(command.stdin(Stdio::null()))
}

/// Everything below a folder that does not belong to this user and group, or has another mode.
fn foreign(folder: &Path, uid: u32, gid: u32, modes: [u32; 2]) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = open.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let [file, dir] = modes;
        let mode = if metadata.is_dir() { dir } else { file };
        if (metadata.uid(), metadata.gid(), metadata.mode() & MODE) != (uid, gid, mode) {
            let (uid, gid, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & MODE);
            found.push(format!("{}: {uid}:{gid} {mode:o}", path.display()));
        }
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

const REPO: [&str; 4] = ["-r", "disk/repo", "--recovery-key-file", "disk/key"];

fn with(arguments: &[&'static str]) -> Vec<&'static str> {
    REPO.iter().chain(arguments).copied().collect()
}

const NOT_ROOT: &str = "only root can work as several users";

fn by_root() -> Outcome {
    let Some(world) = world_of_ann() else { return Outcome::Ignored(NOT_ROOT.to_owned()) };
    ann(&world, &with(&["init"])).succeeded();
    ann(&world, &with(&["snapshot", "live"])).succeeded();
    let before = world.files("disk/repo").len();
    world.write("live/c.jpg", [9; 90_000]);
    root(&world, &with(&["snapshot", "--cache-dir", "rootcache", "live"])).succeeded();
    root(&world, &with(&["tag", "--cache-dir", "rootcache", "latest", "--add", "x"])).succeeded();
    assert!(world.files("disk/repo").len() > before);
    assert_eq!(foreign(&world.path("disk/repo"), ANN, ANN, [0o600, 0o700]), Vec::<String>::new());
    let list = ann(&world, &with(&["list", "--json"])).succeeded().json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    ann(&world, &with(&["restore", "latest", "--target", "disk/out"])).succeeded();
    ann(&world, &with(&["snapshot", "live"])).succeeded();
    Outcome::Passed("ann reads and goes on".to_owned())
}

fn root_first() -> Outcome {
    let Some(world) = world_of_ann() else { return Outcome::Ignored(NOT_ROOT.to_owned()) };
    // As `sudo` does it that keeps the home folder.
    let id = snapshot_id(&root(&world, &["snapshot", "--json", "live"]).succeeded());
    root(&world, &with(&["init"])).succeeded();
    assert_eq!(foreign(&world.path("home"), ANN, ANN, [0o600, 0o700]), vec![mode_of(&world, "home")]);
    assert_eq!(foreign(&world.path("disk"), ANN, ANN, [0o600, 0o700]), vec![mode_of(&world, "disk")]);
    let list = ann(&world, &["list", "--json"]).succeeded();
    assert!(list.stdout.contains(&id));
    ann(&world, &["snapshot", "live"]).succeeded();
    ann(&world, &with(&["snapshot", "live"])).succeeded();
    Outcome::Passed("configuration, cache, keys and two repositories".to_owned())
}

/// The folder itself is none of the program's: it keeps the mode that it had.
fn mode_of(world: &World, name: &str) -> String {
    let path = world.path(name);
    let mode = fs::metadata(&path).unwrap().mode() & MODE;
    format!("{}: {ANN}:{ANN} {mode:o}", path.display())
}

fn no_owners_to_give() -> Outcome {
    let Some(world) = world_of_ann() else { return Outcome::Ignored(NOT_ROOT.to_owned()) };
    ann(&world, &with(&["init"])).succeeded();
    ann(&world, &with(&["snapshot", "live"])).succeeded();
    let picture = || crate::kit::picture(&world.path("disk/repo")).into_iter().map(|(path, ..)| path);
    let before: Vec<_> = picture().collect();
    world.write("live/c.jpg", [9; 90_000]);
    // Root without the right to give files away: what a network file system makes of root.
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-chown", "--inh-caps", "-chown", "--"]);
    let ran = of_program(command, &world, &with(&["snapshot", "--cache-dir", "rootcache", "live"]));
    ran.failed_with(1, &["root cannot give files there to their owner"]);
    assert_eq!(picture().collect::<Vec<_>>(), before);
    ann(&world, &with(&["snapshot", "live"])).succeeded();
    Outcome::Passed("nothing was written".to_owned())
}

fn group() -> Outcome {
    let Some(world) = world_of_ann() else { return Outcome::Ignored(NOT_ROOT.to_owned()) };
    let family = FAMILY.to_string();
    let init = [&with(&["init", "--group"])[..], &[family.as_str()]].concat();
    fs::set_permissions(world.path("disk"), fs::Permissions::from_mode(0o755)).unwrap();
    let as_ann = |arguments: &[&str]| run_as(ANN, &family, &world, arguments);
    let as_ben = |arguments: &[&str]| {
        let own = ["--cache-dir", "tmp/ben"];
        fs::set_permissions(world.path("tmp"), fs::Permissions::from_mode(0o777)).unwrap();
        run_as(BEN, &family, &world, &[arguments, &own].concat())
    };
    // Whoever is not in the group cannot make its repository.
    ann(&world, &init).failed_with(1, &["only a member of the group"]);
    as_ann(&init).succeeded();
    fs::set_permissions(world.path("disk/key"), fs::Permissions::from_mode(0o644)).unwrap();
    as_ann(&with(&["snapshot", "live"])).succeeded();
    as_ben(&with(&["snapshot", "live"])).succeeded();
    as_ann(&with(&["snapshot", "live"])).succeeded();
    root(&world, &with(&["snapshot", "--cache-dir", "rootcache", "live"])).succeeded();
    let list = as_ben(&with(&["list", "--json"])).succeeded().json();
    assert_eq!(list.as_array().unwrap().len(), 4);
    as_ben(&with(&["restore", "latest", "--target", "tmp/out"])).succeeded();
    let all: Vec<String> = foreign(&world.path("disk/repo"), ANN, FAMILY, [0o660, 0o2770]);
    // Only root can give files to somebody else: what ben stored stays his, and is the group's.
    assert!(!all.is_empty());
    let ben = |line: &String| {
        line.ends_with(&format!("{BEN}:{FAMILY} 660")) || line.ends_with(&format!("{BEN}:{FAMILY} 2770"))
    };
    assert!(all.iter().all(ben), "{all:?}");
    Outcome::Passed("ann, ben and root".to_owned())
}
