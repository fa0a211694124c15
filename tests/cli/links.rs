//! Sources that are symbolic links, lead to the same folder, lie in this program's own folders, or give nothing.

use crate::kit::{Ran, World, picture};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

fn last(ran: &Ran) -> serde_json::Value {
    ran.json_lines().pop().unwrap()
}

/// A world in which `WhatsApp` is a link to a folder on another disk.
fn world() -> World {
    let world = World::with_repository();
    world.write("card/0/WhatsApp/a.txt", "first");
    world.write("card/0/WhatsApp/Media/b.jpg", [3; 5000]);
    symlink("a.txt", world.path("card/0/WhatsApp/inside")).unwrap();
    symlink("card/0/WhatsApp", world.path("WhatsApp")).unwrap();
    world
}

#[test]
fn a_link_to_a_folder_is_followed_and_known_by_the_path_that_was_typed() {
    let world = world();
    let ran = world.repo(&["snapshot", "WhatsApp"]).succeeded();
    let told = format!("{} leads to {}", world.text("WhatsApp"), world.text("card/0/WhatsApp"));
    assert!(ran.stdout.contains(&told), "{}", ran.stdout);
    let list = world.repo(&["list", "--json", "--path", &world.text("WhatsApp")]).succeeded().json();
    assert_eq!(list[0]["paths"], serde_json::json!([world.text("WhatsApp")]));
    let link = serde_json::json!([{"path": world.text("WhatsApp"), "target": world.text("card/0/WhatsApp")}]);
    assert_eq!(list[0]["links"], link);
    let file = world.text("WhatsApp/Media/b.jpg");
    let ls = world.repo(&["ls", &format!("latest:{}", world.text("WhatsApp/Media"))]).succeeded();
    assert!(ls.stdout.contains(&file), "{}", ls.stdout);
    assert!(world.repo(&["find", "b.jpg"]).succeeded().stdout.contains(&file));
    let second = last(&world.repo(&["snapshot", "--json", "./WhatsApp/"]).succeeded());
    assert_eq!(second["parent"], list[0]["id"]);
    assert_eq!((&second["files_new"], &second["files_unmodified"]), (&0.into(), &2.into()));
    assert_eq!(second["symlinks"], 1, "a link inside stays one");
    world.repo(&["diff", "latest"]).succeeded();
    fs::write(world.path("card/0/WhatsApp/a.txt"), "second").unwrap();
    let diff = world.repo(&["diff", "latest"]).succeeded();
    assert!(diff.stdout.contains("a.txt") && !diff.stdout.contains("b.jpg"), "{}", diff.stdout);
    let place = format!("latest:{}", world.text("WhatsApp"));
    world.repo(&["restore", &place, "--target", "out"]).succeeded();
    fs::write(world.path("card/0/WhatsApp/a.txt"), "first").unwrap();
    let content = |folder: &str| {
        let files = picture(&world.path(folder))
            .into_iter()
            .filter(|(path, ..)| path.is_file() || !path.as_os_str().is_empty());
        files.map(|(path, _, _, content)| (path, content)).collect::<Vec<_>>()
    };
    assert_eq!(content("out"), content("card/0/WhatsApp"));
}

#[test]
fn a_link_to_a_database_takes_what_lies_beside_the_database() {
    let world = World::with_repository();
    fs::create_dir_all(world.path("card")).unwrap();
    let app = rusqlite::Connection::open(world.path("card/msgstore.db")).unwrap();
    app.execute_batch("pragma journal_mode = wal; create table m (t); insert into m values ('in the log');")
        .unwrap();
    symlink("card/msgstore.db", world.path("chats")).unwrap();
    let line = last(&world.repo(&["snapshot", "--json", "chats"]).succeeded());
    assert_eq!((&line["files_new"], &line["databases"][0]["state"]), (&1.into(), &"captured".into()));
    world.repo(&["restore", &format!("latest:{}", world.text("chats")), "--target", "out"]).succeeded();
    let restored = rusqlite::Connection::open(world.path("out/chats")).unwrap();
    let text: String = restored.query_row("select t from m", [], |row| row.get(0)).unwrap();
    assert_eq!(text, "in the log");
}

#[test]
fn a_link_to_nothing_is_a_missing_source() {
    let world = world();
    world.repo(&["snapshot", "-q", "WhatsApp", "live"]).succeeded();
    fs::rename(world.path("card"), world.path("ejected")).unwrap();
    world.repo(&["snapshot", "WhatsApp"]).failed_with(1, &["WhatsApp", "a link to card/0/WhatsApp"]);
    let line = last(&world.repo(&["snapshot", "--json", "WhatsApp", "live"]).ended_with(3));
    assert_eq!((&line["warnings"][0]["kind"], &line["files_removed"]), (&"unreadable".into(), &2.into()));
}

#[test]
fn what_a_command_writes_into_a_pipe_is_2_and_names_stdin() {
    let world = World::with_repository();
    let program = world.command(["-r", "repo", "--recovery-key-file", "key", "snapshot"]);
    let mut shell = Command::new("/bin/bash");
    shell.arg("-c").arg("\"$0\" \"$@\" <(echo dump)").arg(program.get_program()).args(program.get_args());
    shell.current_dir(world.path("")).env_clear();
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::of(&mut shell).failed_with(2, &["it is a pipe", "--stdin"]);
    assert!(world.ids().is_empty());
}

#[test]
fn two_sources_that_lead_to_one_folder_are_stored_once_and_said() {
    let world = world();
    symlink("card", world.path("other")).unwrap();
    let line = last(&world.repo(&["snapshot", "--json", "WhatsApp", "other", "card"]).succeeded());
    assert_eq!((&line["files_new"], &line["paths"]), (&2.into(), &serde_json::json!([world.text("card")])));
    let told: Vec<_> =
        line["warnings"].as_array().unwrap().iter().map(|one| (&one["kind"], &one["path"])).collect();
    let kind = "same_source".into();
    assert_eq!(told, [(&kind, &world.text("WhatsApp").into()), (&kind, &world.text("other").into())]);
}

#[test]
fn a_link_inside_another_source_is_followed_if_it_was_named() {
    let world = World::with_repository();
    world.write("card/chats/a.txt", "a");
    symlink("../card/chats", world.path("live/WhatsApp")).unwrap();
    symlink("../card", world.path("live/card")).unwrap();
    let line = last(&world.repo(&["snapshot", "--json", "live", "live/WhatsApp"]).succeeded());
    assert_eq!(line["paths"], serde_json::json!([world.text("live")]));
    assert_eq!((&line["files_new"], &line["symlinks"]), (&4.into(), &1.into()));
    world.repo(&["cat", &format!("latest:{}", world.text("live/WhatsApp/a.txt"))]).succeeded();
    let again = last(&world.repo(&["snapshot", "--json", "live", "live/WhatsApp"]).succeeded());
    assert_eq!((&again["files_unmodified"], &again["dirs_changed"]), (&4.into(), &0.into()));
}

#[test]
fn a_source_that_gives_no_file_is_told_also_when_quiet() {
    let world = World::with_repository();
    fs::create_dir(world.path("mount point")).unwrap();
    for (path, more) in
        [("mount point", None), ("live", Some("--exclude=*")), ("live", Some("--exclude=live/**"))]
    {
        let arguments: Vec<&str> = ["-q", "snapshot", path].into_iter().chain(more).collect();
        let ran = world.repo(&arguments).succeeded();
        assert!(
            ran.stderr.contains(&format!("{}: No file of this source", world.text(path))),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(world.repo(&["-q", "snapshot", "live"]).succeeded().stderr, "");
}

#[test]
fn a_source_inside_the_repository_or_the_cache_is_refused_as_the_folder_itself_is() {
    let world = World::with_snapshot();
    symlink("../repo/keys", world.path("live/keys")).unwrap();
    let cache = world.text("home/.cache/chatvault");
    let id = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    let catalog = format!("home/.cache/chatvault/{id}");
    let before = world.ids();
    for source in
        ["repo", "repo/packs", "repo/config", "live/keys", &catalog, &format!("{catalog}/catalog.sqlite")]
    {
        let ran = world.repo(&["snapshot", source]).ended_with(1);
        assert!(ran.stderr.contains("nothing of it could be stored"), "{source}: {}", ran.stderr);
        let ran = world.repo(&["snapshot", "-q", "--dry-run", "live", source]).succeeded();
        assert!(ran.stderr.contains("belongs to chatvault itself"), "{source}: {}", ran.stderr);
    }
    assert_eq!(world.ids(), before);
}
