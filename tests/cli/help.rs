//! The help of every verb, word for word, and what is made from it. `UPDATE_GOLDEN=1` writes the files anew.

use crate::kit::World;
use std::path::PathBuf;

const VERBS: [&str; 17] = [
    "init",
    "snapshot",
    "list",
    "ls",
    "find",
    "diff",
    "cat",
    "restore",
    "key",
    "stats",
    "tag",
    "recovery-kit",
    "cache",
    "demo",
    "completions",
    "man",
    "version",
];

/// Verbs below a verb.
const BELOW: [[&str; 2]; 7] = [
    ["key", "list"],
    ["key", "add"],
    ["key", "remove"],
    ["key", "passwd"],
    ["key", "keep"],
    ["cache", "list"],
    ["cache", "clear"],
];

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/cli/golden").join(format!("{name}.txt"))
}

#[test]
fn help_is_as_it_was_agreed() {
    let world = World::new();
    let mut texts = vec![("chatvault".to_owned(), world.run(["--help"]).succeeded().stdout)];
    texts.extend(VERBS.map(|verb| (verb.to_owned(), world.run([verb, "--help"]).succeeded().stdout)));
    texts.extend(BELOW.map(|[verb, below]| {
        (format!("{verb}-{below}"), world.run([verb, below, "--help"]).succeeded().stdout)
    }));
    for (name, text) in texts {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(golden(&name), &text).unwrap();
        }
        let wanted = std::fs::read_to_string(golden(&name)).unwrap_or_default();
        assert_eq!(text, wanted, "the help of {name} changed; UPDATE_GOLDEN=1 takes it over");
    }
}

#[test]
fn global_options_are_explained_once() {
    let world = World::new();
    let program = world.run(["--help"]).succeeded().stdout;
    assert!(program.contains("--cache-dir") && program.contains("--password-command"), "{program}");
    for arguments in [&["find", "--help"][..], &["find", "-h"], &["key", "add", "--help"]] {
        let help = world.run(arguments).succeeded().stdout;
        assert!(!help.contains("--cache-dir") && help.contains("`chatvault --help`"), "{help}");
    }
    // They are understood on either side of the verb.
    world.run(["version", "--json"]).succeeded().json();
    world.run(["--json", "version"]).succeeded().json();
}

#[test]
fn the_verbs_are_these_and_no_others() {
    let help = World::new().run(["--help"]).succeeded().stdout;
    let verbs: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.strip_prefix("  ")?.split_whitespace().next().filter(|_| !line.starts_with("   "))
        })
        .filter(|verb| *verb != "help")
        .collect();
    assert_eq!(verbs, VERBS);
}

#[test]
fn help_as_a_verb_says_the_same_of_verbs_below_a_verb() {
    let world = World::new();
    for below in BELOW {
        let asked = world.run(["help"].iter().chain(&below)).succeeded().stdout;
        assert_eq!(asked, world.run(below.iter().chain(&["--help"])).succeeded().stdout, "{below:?}");
    }
}

#[test]
fn completions_are_written_for_every_shell() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.run(["completions", shell]).succeeded().stdout;
        assert!(script.contains("recovery-kit"), "{shell}");
    }
    world.run(["completions", "tcsh"]).ended_with(2);
}

#[test]
fn the_manual_has_a_page_for_each_verb() {
    let world = World::new();
    let manual = world.run(["man"]).succeeded().stdout;
    assert_eq!(
        manual.matches("\n.TH ").count() + usize::from(manual.starts_with(".TH")),
        VERBS.len() + BELOW.len() + 1
    );
    world.run(["man", "--output", "pages/man1"]).succeeded();
    for verb in VERBS {
        assert!(world.read(&format!("pages/man1/chatvault-{verb}.1")).contains(".TH"));
    }
}

#[test]
fn the_version_is_told_in_words_and_in_json() {
    let world = World::new();
    let text = world.run(["version"]).succeeded().stdout;
    assert!(text.starts_with(concat!("chatvault ", env!("CARGO_PKG_VERSION"), " ")), "{text}");
    let line = world.run(["version", "--json"]).succeeded().json();
    assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        world.run(["--version"]).succeeded().stdout,
        concat!("chatvault ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn wrong_usage_is_2() {
    let world = World::new();
    for arguments in
        [&[][..], &["nonsense"], &["list", "--nonsense"], &["--compression", "20", "list"], &["cat"]]
    {
        assert_eq!(world.run(arguments).code, 2, "{arguments:?}");
    }
}
