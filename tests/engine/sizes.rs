//! House rules that no compiler checks: sizes of files, and who may print.

use crate::source_text::{code, shipped, sources, workspace};

/// Most lines of a source file, its tests included.
const MOST_LINES: usize = 600;
/// Most lines of a function from `fn` to its closing brace, empty ones and comments included. Clippy's `too_many_lines`
/// counts neither those nor the signature, so that it lets through what a person sees as longer.
const MOST_LINES_OF_A_FUNCTION: usize = 60;
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

/// The functions in some code that have a body, with their lines. Strings and comments must be blanked out.
fn functions(code: &str) -> Vec<(&str, usize)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let rest = &code[at..];
        let name = rest[3..].trim_start();
        let name = &name[..name.find(|c| !is_word(c)).unwrap_or(name.len())];
        // The type of a function has no name.
        if name.is_empty() || code[..at].ends_with(is_word) {
            continue;
        }
        if let Some(len) = end_of_function(rest) {
            found.push((name, rest[..len].lines().count()));
        }
    }
    found
}

/// Where the body of the function ends with whose `fn` the code begins; none if it has no body.
fn end_of_function(code: &str) -> Option<usize> {
    let (mut depth, mut body_at) = (0usize, None);
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return None,
            '(' | '[' | '{' => {
                if c == '{' && depth == 0 {
                    body_at = Some(at);
                }
                depth += 1;
            }
            ')' | ']' | '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && body_at.is_some() {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The functions of a source that are too long.
fn long_functions(text: &str) -> Vec<String> {
    functions(&code(text))
        .into_iter()
        .filter(|(_, lines)| *lines > MOST_LINES_OF_A_FUNCTION)
        .map(|(name, lines)| format!("{name} has {lines} lines"))
        .collect()
}

#[test]
fn no_function_is_too_long() {
    let (mut long, mut seen) = (Vec::new(), 0);
    for source in sources(&workspace()) {
        seen += functions(&code(&source.text)).len();
        let path = source.path.display();
        long.extend(long_functions(&source.text).into_iter().map(|what| format!("{path}: {what}")));
    }
    assert!(long.is_empty(), "more than {MOST_LINES_OF_A_FUNCTION} lines:\n{}", long.join("\n"));
    assert!(seen > 2000, "only {seen} functions were found: the counter misses most");
}

/// The fixture that must be caught.
#[test]
fn a_function_that_is_too_long_is_found_and_only_that_one() {
    let body = |lines: usize| "    // a line that counts, with a brace } in it\n".repeat(lines);
    let text = format!(
        "impl A {{\n    /// fn doc\n    #[must_use]\n    pub const fn short<T: Fn(u8) -> u8>(\n        a: [u8; 2],\n    ) \
         {{\n{}    }}\n    fn long() -> &'static str {{\n{}\"}}\"\n    }}\n}}\ntrait B {{\n    fn none(a: fn(u8));\n\
         fn one(&self) {{}}\n}}\n",
        body(56),
        body(58)
    );
    let blanked = code(&text);
    assert_eq!(functions(&blanked), [("short", 60), ("long", 61), ("one", 1)]);
    assert_eq!(long_functions(&text), ["long has 61 lines"]);
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

/// What looks at the machine's clock or lets time pass.
const CLOCKS: [&str; 6] =
    ["Instant::now", "SystemTime::now", "elapsed(", "sleep(", "recv_timeout(", "wait_timeout"];
/// Tests that may, and why.
const MAY_LOOK_AT_THE_CLOCK: [(&str, &str); 14] = [
    ("engine/src/repo/lease/tests.rs", "a thread of its own is let renew a lease"),
    ("engine/src/store/suite.rs", "two creators are delayed at random, so that they meet at every step"),
    ("tests/capture/busy.rs", "another program is let go on, and a deadline ends that where it stands still"),
    ("tests/capture/closing.rs", "how long an app has to wait for a capture is what is claimed"),
    ("tests/capture/pairs/cipher.rs", "an app that writes all the time would let nobody read"),
    ("tests/capture/pairs/shifted.rs", "files must be older than what their times can tell"),
    ("tests/capture/replaced.rs", "another program is let go on with replacing a database"),
    (
        "tests/capture/take.rs",
        "a capture compares the clock with the file system's, and pauses let another program go on",
    ),
    (
        "tests/cli/interrupted.rs",
        "another program is waited for, and a deadline makes a failure of a wait for ever",
    ),
    (
        "tests/cli/restore_again.rs",
        "another program is waited for, and a deadline makes a failure of a wait for ever",
    ),
    ("tests/faults/races.rs", "two programs are delayed at random, so that they meet at every step"),
    ("tests/faults/together.rs", "two programs are looked at until both hold a lease"),
    ("tests/src/harness.rs", "the seconds that each case takes are shown"),
    (
        "tests/src/meeting.rs",
        "another thread is waited for, and a deadline makes a failure of a wait for ever",
    ),
];

fn clocks(code: &str) -> usize {
    CLOCKS.iter().map(|name| code.matches(name).count()).sum()
}

#[test]
fn no_test_sleeps_or_looks_at_the_clock_but_those_that_say_why() {
    let mut found = Vec::new();
    for folder in ["cli/src", "engine/src", "tests"] {
        let below = workspace().join(folder);
        let in_tests = |path: &std::path::Path, all: usize| {
            // In the tests' own folder everything is one.
            let ships = shipped(&below).into_iter().find(|source| folder != "tests" && source.path == path);
            all > ships.map_or(0, |source| clocks(&source.text))
        };
        for source in sources(&below) {
            let all = clocks(&code(&source.text));
            if all > 0 && in_tests(&source.path, all) {
                found.push(format!("{folder}/{}", source.path.display()));
            }
        }
    }
    assert_eq!(found, MAY_LOOK_AT_THE_CLOCK.map(|(path, _)| path));
}

#[test]
fn a_look_at_the_clock_is_found() {
    assert_eq!(
        clocks(&code("let a = Instant::now(); // sleep(\nthread::sleep(b); let c = \"elapsed(\";")),
        2
    );
}
