//! Rust sources as text: which files there are, and what of them is code that ships.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A source file.
pub struct Source {
    /// Its path relative to the folder that was asked for.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// All `.rs` files below a folder, sorted; `target` is left out.
pub fn sources(folder: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(here) = folders.pop() {
        for entry in fs::read_dir(&here).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("target") && !path.file_name().unwrap().to_string_lossy().starts_with('.')
                {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path: path.strip_prefix(folder).unwrap().to_owned(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no source below {}", folder.display());
    found
}

/// The sources below a folder that ship, with comments, strings and `#[cfg(test)]` items blanked out.
pub fn shipped(folder: &Path) -> Vec<Source> {
    let mut all = sources(folder);
    let mut test_only = BTreeSet::new();
    for source in &mut all {
        let (text, modules) = without_tests(&code(&source.text));
        source.text = text;
        let inside = match source.path.file_stem().unwrap().to_str() {
            Some("mod" | "lib" | "main") => source.path.parent().unwrap().to_owned(),
            _ => source.path.with_extension(""),
        };
        test_only.extend(modules.iter().map(|name| inside.join(name)));
    }
    all.retain(|source| !source.path.with_extension("").ancestors().any(|above| test_only.contains(above)));
    all
}

/// The text with comments, strings and characters blanked out; line breaks stay.
pub fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match &bytes[at..] {
            [b'/', b'/', ..] => find(bytes, at, b"\n").unwrap_or(bytes.len()),
            [b'/', b'*', ..] => end_of_comment(bytes, at),
            [b'"', ..] => end_of_string(bytes, at + 1),
            [b'r', b'"' | b'#', ..] if raw_string(bytes, at).is_some() => raw_string(bytes, at).unwrap(),
            [b'\'', ..] => end_of_character(bytes, at),
            _ => {
                at += 1;
                continue;
            }
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).unwrap()
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes[from..].windows(what.len()).position(|window| window == what).map(|at| from + at)
}

fn continues_a_word(bytes: &[u8], at: usize) -> bool {
    // `br"..."` is a raw string too.
    let before = |back: usize| at.checked_sub(back).map_or(b' ', |at| bytes[at]);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_prefix = before(1) == b'b' && !is_word(before(2));
    is_word(before(1)) && !is_prefix
}

fn end_of_comment(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of a raw string whose `r` stands at `at`; none if it is the `r` of a raw identifier or of a word.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    if continues_a_word(bytes, at) {
        return None;
    }
    let at = at + 1;
    let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(at + hashes) != Some(&b'"') {
        return None;
    }
    let end = [&b"\""[..], &vec![b'#'; hashes]].concat();
    find(bytes, at + hashes + 1, &end).map(|found| found + end.len())
}

/// A character, or only the quote if it begins a lifetime.
fn end_of_character(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        return find(bytes, at + 3, b"'").map_or(bytes.len(), |end| end + 1);
    }
    let width = std::str::from_utf8(&bytes[at + 1..]).unwrap().chars().next().map_or(0, char::len_utf8);
    if bytes.get(at + 1 + width) == Some(&b'\'') { at + width + 2 } else { at + 1 }
}

/// Blanks out what stands behind `#[cfg(test)]`; also the names of the modules in files of their own that do.
fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut out, mut modules) = (code.to_owned(), Vec::new());
    let mut from = 0;
    while let Some(at) = out[from..].find(MARK).map(|at| from + at) {
        let end = end_of_item(&out, at + MARK.len());
        let item = out[at + MARK.len()..end].to_owned();
        if let Some((_, name)) = item.strip_suffix(';').and_then(|item| item.rsplit_once("mod ")) {
            modules.push(name.trim().to_owned());
        }
        let blank: String = out[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(at..end, &blank);
        from = at;
    }
    (out, modules)
}

fn end_of_item(code: &str, start: usize) -> usize {
    let (mut depth, mut braces_seen) = (0usize, false);
    let is_use = code[start..].trim_start().trim_start_matches("pub ").starts_with("use ");
    for (at, c) in code[start..].char_indices() {
        match c {
            '{' | '(' | '[' => {
                depth += 1;
                braces_seen |= c == '{';
            }
            '}' | ')' | ']' => {
                depth -= 1;
                if depth == 0 && c == '}' && braces_seen && !is_use {
                    return start + at + 1;
                }
            }
            ';' if depth == 0 => return start + at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = r##"a // b"c
/* d /* e */ f */ g "h\"i" 'j' '\'' 'k: r#"l"m"# br"n" r#type '"' o"##;
    let words: Vec<String> = code(text).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["a", "g", "k:", "b", "r#type", "o"]);
}

#[test]
fn test_items_are_left_out_and_everything_else_stays() {
    let text = "use a; #[cfg(test)] use b::{c, d}; #[cfg(test)]\nmod tests { fn e() {} } fn f() {}\n\
                #[cfg(test)] pub(crate) mod testing; #[cfg(test)] #[allow(x)] fn g(h: [u8; 3]) -> T { i } struct J;";
    let (left, modules) = without_tests(text);
    assert_eq!(left.split_whitespace().collect::<Vec<_>>().join(" "), "use a; fn f() {} struct J;");
    assert_eq!(modules, ["testing"]);
}
