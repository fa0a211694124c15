//! A restore that is killed goes on where it was, and leaves nothing behind.

use crate::kit::{World, picture};
use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Files that are written before the holes.
const FILES: u64 = 40;
/// Files that are nothing but a hole, and their size: together far more than is hashed before the kill.
const HOLES: u64 = 16;
const HOLE: u64 = 256 << 20;
/// Far longer than anything here takes on a busy machine. No result depends on it: it makes a failure of what would
/// otherwise be a wait for ever.
const PATIENCE: Duration = Duration::from_secs(120);

fn temporaries(world: &World) -> usize {
    let is_temporary = |path: &&std::path::PathBuf| path.to_str().unwrap().contains("/.chatvault-");
    world.files("out").iter().filter(is_temporary).count()
}

#[test]
fn a_killed_restore_goes_on_and_clears_away_its_remains() {
    let world = World::with_repository();
    for number in 0..FILES {
        world.write(&format!("live/a/{number}"), number.to_string());
    }
    fs::create_dir(world.path("live/z holes")).unwrap();
    for number in 0..HOLES {
        File::create(world.path(&format!("live/z holes/{number}"))).unwrap().set_len(HOLE).unwrap();
    }
    world.repo(&["snapshot", "-q", "live"]).succeeded();
    let place = format!("latest:{}", world.text("live"));
    let restore =
        ["restore", "--json", "--no-progress", &place, "--target", "out", "--overwrite", "if-changed"];
    let program = ["-r", "repo", "--recovery-key-file", "key"];
    let mut command = world.command(program.iter().chain(&restore));
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !world.files("out/z holes").iter().any(|path| path.to_str().unwrap().contains("/.chatvault-")) {
        assert!(running.try_wait().unwrap().is_none(), "ended before it was killed");
        assert!(begun.elapsed() < PATIENCE, "no file is being written");
        std::thread::yield_now();
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(temporaries(&world) > 0, "nothing was left behind");
    // Whatever has its name is whole.
    for path in world.files("out/a") {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with('.') || fs::read_to_string(&path).unwrap() == name, "{name}");
    }
    let summary = world.repo(&restore).succeeded().json();
    let there = summary["unchanged"].as_u64().unwrap();
    assert!((FILES - 2..FILES + 3 + HOLES).contains(&there), "{summary}");
    assert_eq!(summary["files_restored"].as_u64().unwrap() + there, FILES + 3 + HOLES);
    assert_eq!(temporaries(&world), 0);
    let hole = |number: u64| fs::metadata(world.path(&format!("out/z holes/{number}"))).unwrap().len();
    assert!((0..HOLES).all(|number| hole(number) == HOLE));
    for folder in ["live", "out"] {
        fs::remove_dir_all(world.path(&format!("{folder}/z holes"))).unwrap();
    }
    let but_the_top = |folder: &str| picture(&world.path(folder)).split_off(1);
    assert_eq!(but_the_top("out"), but_the_top("live"));
}
