//! A module imports only from lower layers (`docs/architecture.md`). This reads the sources and finds every path that
//! begins with `crate`, `super` or `self`, in `use` groups and in the middle of code.

use crate::source_text::{code, shipped, workspace};
use std::collections::BTreeSet;
use std::path::{Component, Path};

/// Layers from the bottom up, with exceptions: (who, whom, why).
struct Rules {
    layers: &'static [&'static [&'static str]],
    exceptions: &'static [(&'static str, &'static str, &'static str)],
}

const ENGINE: Rules = Rules {
    layers: &[
        &["base"],
        &["model", "crypto", "chunk", "codec", "filter", "sys"],
        &["format", "store", "sqlite", "container"],
        &["catalog", "source", "chat"],
        &["repo"],
        &["rules"],
        &["backup", "restore", "diff", "browse", "forget", "prune", "copy", "rekey", "chats", "export"],
        &["health"],
    ],
    exceptions: &[
        ("crypto", "model", "the kind of a blob decides under which key it is named"),
        ("sys", "crypto", "names of temporary files are random"),
        ("restore", "browse", "a restore walks through a snapshot and reads contents as `ls` and `cat` do"),
        ("diff", "browse", "a comparison walks through snapshots as `ls` does"),
    ],
};

/// The layers of the command line; `main` is above all of them.
const PROGRAM: Rules = Rules {
    layers: &[
        &["exit", "process"],
        &["output"],
        &["args", "signals"],
        &["config"],
        &["context", "sources"],
        &["commands"],
        &["run"],
    ],
    exceptions: &[],
};

impl Rules {
    fn layer(&self, module: &str) -> Option<usize> {
        self.layers.iter().position(|layer| layer.contains(&module))
    }

    /// Why `importer` may not import `imported`, if so.
    fn refusal(&self, importer: &str, imported: &str) -> Option<String> {
        if importer == imported {
            return None;
        }
        let Some((above, below)) = self.layer(importer).zip(self.layer(imported)) else {
            return Some(format!("{importer} imports {imported}: one of them stands in no layer"));
        };
        let excepted = self.exceptions.iter().any(|(who, whom, _)| (*who, *whom) == (importer, imported));
        (below >= above && !excepted)
            .then(|| format!("{importer} (layer {above}) imports {imported} (layer {below})"))
    }
}

/// The module of a file, from the crate's root down.
fn module(file: &Path) -> Vec<String> {
    let names = file.with_extension("");
    let names = names.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_str().unwrap().to_owned()),
        _ => None,
    });
    let mut names: Vec<String> = names.collect();
    if names.last().is_some_and(|name| name == "mod" || (file.components().count() == 1 && name == "lib")) {
        names.pop();
    }
    names
}

/// Words, `::`, and single other characters.
fn tokens(code: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut rest) = (Vec::new(), code.trim_start());
    while let Some(first) = rest.chars().next() {
        let len = match first {
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        let (token, behind) = rest.split_at(len);
        tokens.push(token);
        rest = behind.trim_start();
    }
    tokens
}

/// The top-level modules that code of a module names; `*` for all of them at once.
fn imports(module: &[String], code: &str) -> BTreeSet<String> {
    let tokens = tokens(code);
    let mut found = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let begins = at == 0 || tokens[at - 1] != "::";
        let goes_on = tokens.get(at + 1) == Some(&"::");
        match *token {
            "crate" if goes_on => follow(&tokens, at + 1, Vec::new(), &mut found),
            // `use crate as other` or `extern crate self as other` would hide what follows.
            "crate" if matches!(tokens.get(at + 1), Some(&("as" | "self"))) => {
                found.insert("*".to_owned());
            }
            "super" if begins && goes_on => follow(&tokens, at + 1, above(module), &mut found),
            "self" if begins && goes_on => follow(&tokens, at + 1, module.to_vec(), &mut found),
            _ => {}
        }
    }
    found
}

fn above(module: &[String]) -> Vec<String> {
    module.split_last().map_or_else(Vec::new, |(_, above)| above.to_vec())
}

/// Follows a path from the `::` at `at`; `here` is what it has named so far.
fn follow(tokens: &[&str], mut at: usize, mut here: Vec<String>, found: &mut BTreeSet<String>) {
    while tokens.get(at) == Some(&"::") {
        match tokens.get(at + 1) {
            Some(&"super") => here = above(&here),
            Some(&"self") => {}
            Some(&"*") if here.is_empty() => here.push("*".to_owned()),
            Some(&"{") => return follow_group(tokens, at + 2, &here, found),
            Some(name) => here.push((*name).to_owned()),
            None => break,
        }
        at += 2;
    }
    found.insert(here.into_iter().next().unwrap_or_else(|| "*".to_owned()));
}

fn follow_group(tokens: &[&str], start: usize, here: &[String], found: &mut BTreeSet<String>) {
    let (mut depth, mut at, mut begins) = (1, start, true);
    while let Some(token) = tokens.get(at) {
        match *token {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
        if begins && depth == 1 {
            // Seen as a path that begins with `::`, so that the first name is taken like any other.
            let mut path = vec!["::"];
            path.extend_from_slice(&tokens[at..]);
            follow(&path, 0, here.to_vec(), found);
        }
        begins = *token == "," && depth == 1;
        at += 1;
    }
}

/// All forbidden imports of a module's code.
fn refusals(rules: &Rules, module: &[String], code: &str) -> Vec<String> {
    let Some(top) = module.first() else { return Vec::new() };
    imports(module, code).iter().filter_map(|imported| rules.refusal(top, imported)).collect()
}

fn check(rules: &Rules, folder: &Path, root: &str) {
    let (mut found, mut used) = (Vec::new(), BTreeSet::new());
    let mut modules = BTreeSet::new();
    for source in shipped(folder) {
        if source.path == Path::new(root) {
            continue;
        }
        let module = module(&source.path);
        let top = module[0].clone();
        if rules.layer(&top).is_none() {
            found.push(format!("{}: {top} stands in no layer", source.path.display()));
        }
        used.extend(imports(&module, &source.text).into_iter().map(|imported| (top.clone(), imported)));
        let refused = refusals(rules, &module, &source.text);
        found.extend(refused.into_iter().map(|why| format!("{}: {why}", source.path.display())));
        modules.insert(top);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(used.len() > modules.len(), "the imports of {} modules were not found", modules.len());
    for (who, whom, why) in rules.exceptions {
        let written = modules.contains(*who) && modules.contains(*whom);
        let needed = used.contains(&((*who).to_owned(), (*whom).to_owned()));
        assert!(needed || !written, "{who} no longer imports {whom} ({why}): take the exception out");
    }
}

#[test]
fn modules_of_the_engine_import_lower_layers_only() {
    check(&ENGINE, &workspace().join("engine/src"), "lib.rs");
}

#[test]
fn modules_of_the_program_import_lower_layers_only() {
    let folder = workspace().join("cli/src");
    if shipped(&folder).len() > 1 {
        check(&PROGRAM, &folder, "main.rs");
    }
}

#[test]
fn a_forbidden_import_is_caught_wherever_it_hides() {
    let refused = |file: &str, text: &str| refusals(&ENGINE, &module(Path::new(file)), &code(text));
    for text in [
        "use crate::repo::Repo;",
        "use crate::{base, repo::Repo};",
        "use crate::{base::{Error, Result}, repo};",
        "use {crate::base::Error, crate::repo::Repo};",
        "fn f() { crate::repo::verify_credential(); }",
        "pub(in crate::repo) fn f() {}",
        "use super::super::repo::Repo;",
        "use super::{super::repo::Repo, memory};",
        "use self::super::super::repo;",
        "fn f(r: &super::super::repo::Repo) {}",
        "use crate::*;",
        "use crate::{base, *};",
        "use crate as engine;",
        "use crate::local::Thing;",
        "use crate::catalog::Catalog;",
        "use crate::sqlite::SqliteHeader;",
        "use crate :: /* x */ repo :: Repo ;",
    ] {
        assert_eq!(refused("store/memory.rs", text).len(), 1, "{text}");
    }
    for text in [
        "use crate::base::{Error, repo};",
        "use super::memory; use crate::{base::Error, crypto};",
        "// crate::repo::Repo\nconst S: &str = \"crate::repo::Repo\";",
        "pub(crate) struct S; pub(super) struct T;",
        "use super::{Store, ObjectName}; use crate::store::name;",
    ] {
        assert_eq!(refused("store/memory.rs", text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(refused("store/mod.rs", "use super::repo::Repo;").len(), 1);
    assert_eq!(refused("store/local/files.rs", "use super::super::name;"), Vec::<String>::new());
    assert_eq!(refused("base/error.rs", "use crate::model::Node;").len(), 1);
    assert_eq!(refused("nowhere/mod.rs", "use crate::base::Error;").len(), 1);
}
