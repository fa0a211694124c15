//! Files whose size the file system tells as 0.

use crate::kit::World;
use std::fs;

#[test]
fn a_file_whose_size_is_told_as_0_is_stored_with_its_bytes() {
    let world = World::with_repository();
    let source = "/proc/sys/kernel/ostype";
    assert_eq!(fs::metadata(source).unwrap().len(), 0);
    let line = world.repo(&["snapshot", "--json", source]).succeeded().json_lines().pop().unwrap();
    let content = fs::read_to_string(source).unwrap();
    assert_eq!(line["total_bytes_processed"], content.len());
    assert_eq!(line["warnings"], serde_json::json!([]));
    assert_eq!(world.repo(&["cat", &format!("latest:{source}")]).succeeded().stdout, content);
    let diff = world.repo(&["diff", "latest"]).succeeded();
    assert!(!diff.stdout.contains("ostype"), "{}", diff.stdout);
    world.write("empty/file", "");
    let line = world.repo(&["snapshot", "--json", "empty"]).succeeded().json_lines().pop().unwrap();
    assert_eq!((&line["total_bytes_processed"], &line["files_new"]), (&0.into(), &1.into()));
}
