//! Tests of the binary, one module for each subject. Each runs in a world of its own: a fresh home, a cleared environment.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "all of this is a test, helpers too; tests say what they claim in their names"
)]

mod address;
mod cache;
mod cat;
mod damage;
mod databases;
mod deep;
mod defaults;
mod demo;
mod diff;
mod find;
mod gone;
mod help;
mod init;
mod interrupted;
mod keys;
mod kit;
mod links;
mod list;
mod ls;
mod output;
mod profile;
mod recovery_kit;
mod restore;
mod restore_again;
mod restore_in_place;
mod restore_lossless;
mod restore_options;
mod secrets;
mod select;
mod sizes;
mod snapshot;
mod snapshot_options;
mod stats;
mod stream;
mod tag;
mod terminal;
mod wire;

#[test]
fn no_file_of_this_folder_is_forgotten() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cli");
    let listed = include_str!("main.rs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") {
            assert!(listed.contains(&format!("\nmod {module};\n")), "{name} is not run");
        }
    }
}
