//! JSON that is safe to look at: what a terminal or an eye would take for something else is escaped, and means the same.

use chatvault_engine::base::path::is_unsafe;
use serde::Serialize;
use serde_json::ser::Formatter;
use std::io::{self, Write};

/// Writes one value on one line, without its end.
pub(crate) fn write(stream: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(stream, Safe);
    Ok(value.serialize(&mut serializer)?)
}

/// The compact form, with control and direction-changing characters as `\u` escapes.
struct Safe;

impl Formatter for Safe {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            let (before, behind) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = behind.get(c.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_do_harm_is_escaped_and_comes_back_the_same() {
        let text = "plain \u{e9}\u{1f600} \u{1b}[2J \u{9b}31m \u{202e}gpj \u{200b} \u{e0041} \\ \" end";
        let mut out = Vec::new();
        write(&mut out, &text).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(!out.chars().any(is_unsafe), "{out}");
        assert!(out.contains("\u{e9}\u{1f600}") && out.contains("\\u202egpj"), "{out}");
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }
}
