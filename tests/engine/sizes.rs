//! House rules that no compiler checks: sizes of files, and who may print.

use crate::source_text::{code, shipped, sources, workspace};

/// Most lines of a source file, its tests included.
const MOST_LINES: usize = 600;
/// Macros that print.
const PRINTING: [&str; 5] = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];

#[test]
fn no_source_file_is_too_long() {
    let long: Vec<String> = sources(&workspace())
        .iter()
        .map(|source| (source.text.lines().count(), source.path.display().to_string()))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .map(|(lines, path)| format!("{path} has {lines} lines"))
        .collect();
    assert!(long.is_empty(), "more than {MOST_LINES} lines:\n{}", long.join("\n"));
}

/// The printing macros in some code.
fn prints(code: &str) -> Vec<&'static str> {
    let before = |at: usize| code[..at].chars().next_back();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    PRINTING
        .into_iter()
        .filter(|name| code.match_indices(name).any(|(at, _)| !before(at).is_some_and(is_word)))
        .collect()
}

#[test]
fn only_the_output_of_the_program_prints() {
    let mut found = Vec::new();
    for (folder, may) in [("engine/src", None), ("cli/src", Some("output"))] {
        for source in shipped(&workspace().join(folder)) {
            if may.is_none_or(|may| !source.path.starts_with(may)) {
                let printing = prints(&source.text);
                found.extend(
                    printing.iter().map(|name| format!("{folder}/{}: {name}", source.path.display())),
                );
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn printing_is_found_and_only_printing() {
    assert_eq!(prints(&code("fn f() { eprintln!(\"x\"); }")), ["eprintln!"]);
    assert_eq!(prints(&code("fn f() { std::print!(\"x\"); }")), ["print!"]);
    assert_eq!(prints(&code("// println!\nfn f() { my_print!(1); let s = \"dbg!\"; }")), Vec::<&str>::new());
}
