//! Sources in which another file system is mounted.

use crate::full::Small;
use crate::stage::Stage;
use crate::{Case, Outcome};

pub const CASES: &[Case] =
    &[("mounted::one_file_system_stores_what_is_mounted_as_an_empty_folder", one_file_system)];

fn one_file_system() -> Outcome {
    let stage = Stage::with_repository();
    let world = &stage.world;
    let Some(_small) = Small::mount(&world.path("live/mounted"), "1m") else {
        return Outcome::Ignored("nothing can be mounted here".to_owned());
    };
    world.write("live/mounted/below/inside.txt", "inside");
    let held = |options: &[&str]| -> Vec<String> {
        world.repo(&[&["snapshot", "-q", "live"], options].concat()).succeeded();
        let place = format!("latest:{}", world.text("live"));
        let lines = world.repo(&["ls", "-R", "--json", &place]).succeeded().json_lines();
        lines.iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect()
    };
    let (mounted, file) = (world.text("live/mounted"), world.text("live/mounted/below/inside.txt"));
    let below = |paths: &[String]| paths.iter().filter(|path| path.starts_with(&mounted)).count();
    let chat = world.text("live/chat.txt");
    let all = held(&[]);
    assert!(all.contains(&file) && below(&all) == 3, "{all:?}");
    for option in ["-x", "--one-file-system"] {
        let some = held(&[option]);
        assert!(some.contains(&mounted) && below(&some) == 1, "{option}: {some:?}");
        assert!(some.contains(&chat), "{option}: {some:?}");
    }
    assert_eq!(held(&[]), all, "what was left out comes back");
    Outcome::Passed("on a file system in memory".to_owned())
}
