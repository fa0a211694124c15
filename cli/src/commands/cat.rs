//! `cat`

use crate::args::filter::FilterArgs;
use crate::args::select::Place;
use crate::context::{Context, missing};
use crate::exit::{Condition, Outcome};
use crate::output::error::{Failure, Result};
use crate::output::human::shell_word;
use crate::output::progress::Progress;
use crate::output::warnings;
use chatvault_engine::base::StoredPath;
use chatvault_engine::browse::{self, Selector};
use chatvault_engine::model::NodeKind;
use chatvault_engine::repo::Snapshot;
use clap::Args;
use std::ffi::OsString;
use std::io::{self, Write};

const EXAMPLES: &str = "\
Examples:
  chatvault cat latest:/home/ann/notes.txt
  chatvault cat @2026-11-20:/home/ann/WhatsApp/Databases/msgstore.db > msgstore.db

Exit codes: 0 done, 1 failed (also if the path is not in the snapshot), 2 wrong usage, 10 no repository, 12 wrong \
password or key, 22 the content is damaged: what was written is not all, or not right.";

/// Write the content of a file in a snapshot to the standard output
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CatArgs {
    /// The snapshot and the path of the file in it
    #[arg(value_name = "SNAPSHOT:PATH")]
    place: OsString,

    #[command(flatten)]
    filter: FilterArgs,
}

pub(crate) fn run(args: &CatArgs, context: &Context) -> Result<Outcome> {
    let (place, path) = Place::parse_with_path(&args.place, &context.now())?;
    let filter = args.filter.read()?;
    let ui = &context.ui;
    let progress = Progress::new(ui);
    let (repo, snapshot) = &context.open_at(&filter, &place, &progress)?;
    let outcome = warnings::tell(ui, &progress);
    // Who names a state by a time does not know which one it is.
    if matches!(place.selector, Selector::AtOrBefore(_)) {
        context.name_state(snapshot);
    }
    let node = browse::lookup(repo, snapshot, &path)
        .map_err(|error| missing::not_held(error, snapshot, Some(&path)))?;
    if node.kind != NodeKind::File {
        let failure = Failure::new(Condition::Failed, format!("Failed to show the content of {path}"));
        return Err(if node.kind == NodeKind::Dir {
            failure.because("it is a folder").with_hint(format!(
                "`{{chatvault}} ls {}` shows what is in it",
                shell_word(&format!("{}:{path}", snapshot.id.short()))
            ))
        } else {
            failure.because("it is no plain file").with_hint("only plain files have content")
        });
    }
    let mut screen = Screen { inner: ui.bytes(), guards: ui.style().live, cut: Vec::new(), met_other: false };
    let written = browse::write_content(repo, &node, &mut screen, &context.cancel);
    if screen.met_other {
        return Err(not_text(context, snapshot, &path));
    }
    match written {
        Err(_) if ui.is_unread() => Ok(outcome),
        Err(error) => {
            warnings::show(ui, warnings::of_losses(repo, &context.zone()).as_slice(), 0);
            Err(error.into())
        }
        Ok(()) => Ok(outcome),
    }
}

/// The content would garble a terminal, or steer it.
fn not_text(context: &Context, snapshot: &Snapshot, path: &StoredPath) -> Failure {
    let place = shell_word(&format!("{}:{path}", snapshot.id.short()));
    Failure::new(Condition::Failed, format!("Failed to show the content of {path}"))
        .because("it is not plain text, and the standard output is a terminal")
        .with_hint(format!(
            "restore it with `{} {place} --target DIR`, or write it into a file: `{} {place} > FILE`",
            context.command("restore"),
            context.command("cat")
        ))
}

/// The standard output. If it is a terminal, only plain text passes.
struct Screen<W> {
    inner: W,
    guards: bool,
    /// The beginning of a letter of which the rest is still to come.
    cut: Vec<u8>,
    met_other: bool,
}

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.guards {
            let mut text = std::mem::take(&mut self.cut);
            text.extend_from_slice(buffer);
            let Some(cut) = cut_of_text(&text) else {
                self.met_other = true;
                return Err(io::ErrorKind::InvalidData.into());
            };
            self.cut = cut.to_vec();
        }
        self.inner.write_all(buffer).map(|()| buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// None unless a terminal shows these bytes and does nothing else; the bytes at the end that begin a letter.
fn cut_of_text(bytes: &[u8]) -> Option<&[u8]> {
    let (text, cut) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, &[][..]),
        Err(error) if error.error_len().is_none() => {
            let (valid, cut) = bytes.split_at_checked(error.valid_up_to())?;
            (std::str::from_utf8(valid).ok()?, cut)
        }
        Err(_) => return None,
    };
    let is_shown = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t' | '\r');
    text.chars().all(is_shown).then_some(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// True if all of it passes, in pieces of this length.
    fn passes(content: &[u8], piece: usize) -> bool {
        let mut screen = Screen { inner: Vec::new(), guards: true, cut: Vec::new(), met_other: false };
        let written = content.chunks(piece).try_for_each(|piece| screen.write_all(piece));
        assert_eq!(written.is_err(), screen.met_other);
        written.is_ok() && screen.inner == content
    }

    #[test]
    fn letters_of_any_script_pass_and_what_steers_a_terminal_does_not() {
        for piece in 1..9 {
            for text in ["", "a\tb\r\n", "Grüße, 你好, 😀"] {
                assert!(passes(text.as_bytes(), piece), "{text} {piece}");
            }
            for other in [
                &b"a\x1b[31m"[..],
                b"a\0",
                b"\x07",
                "\u{9b}31m".as_bytes(),
                b"\x9b31m",
                b"\xff\xd8\xff\xe0",
                b"ab\xffcd",
            ] {
                assert!(!passes(other, piece), "{other:?} {piece}");
            }
        }
    }
}
