//! The only place that knows the terminal: the answer goes to standard output, everything else to standard error.
//!
//! Nothing here panics or stops a run because a stream is closed or full. A pipe that was closed is a reader who has
//! seen enough: the rest of the output is dropped silently, while the work goes on. Any other failure of standard
//! output is remembered and told at the end.

pub(crate) mod error;
pub(crate) mod human;
mod json;
pub(crate) mod progress;
pub(crate) mod prompt;
pub(crate) mod restored;
pub(crate) mod table;
pub(crate) mod warnings;
pub(crate) mod wire;

use crate::exit::Condition;
use chatvault_engine::base::WarningKind;
use error::{Failure, one_line};
use indicatif::ProgressBar;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a person or script wants to see, and what the streams can do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    /// JSON lines instead of sentences.
    pub(crate) json: bool,
    /// Answers to questions, warnings and errors only.
    pub(crate) quiet: bool,
    /// Standard error may show a moving display.
    pub(crate) progress: bool,
    /// Standard error may show colours.
    pub(crate) colours: bool,
    /// Standard output is a terminal: each line is shown at once.
    pub(crate) live: bool,
}

impl Style {
    /// What the streams of this process can do; `term` and `no_color` are the variables of these names.
    pub(crate) fn of_process(term: Option<&str>, no_color: Option<&str>) -> Self {
        let capable = io::stderr().is_terminal() && term != Some("dumb");
        Self {
            progress: capable,
            colours: capable && no_color.is_none_or(str::is_empty),
            live: io::stdout().is_terminal(),
            ..Self::default()
        }
    }
}

/// The two streams.
pub(crate) struct Ui {
    style: Style,
    answer: Mutex<Answer>,
    remarks: Mutex<Box<dyn Write + Send>>,
    /// A line on standard error that moves, and that other lines must not run into.
    moving_line: Mutex<Option<ProgressBar>>,
}

struct Answer {
    stream: BufWriter<Box<dyn Write + Send>>,
    failed: Option<io::Error>,
}

impl Answer {
    fn keep(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && self.failed.is_none()
        {
            self.failed = Some(error);
        }
    }
}

impl Ui {
    /// The streams of this process.
    pub(crate) fn of_process(style: Style) -> Self {
        Self::new(style, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Any two streams.
    pub(crate) fn new(style: Style, answer: Box<dyn Write + Send>, remarks: Box<dyn Write + Send>) -> Self {
        let answer = Answer { stream: BufWriter::with_capacity(64 * 1024, answer), failed: None };
        Self {
            style,
            answer: Mutex::new(answer),
            remarks: Mutex::new(remarks),
            moving_line: Mutex::default(),
        }
    }

    /// What is wanted and possible.
    pub(crate) fn style(&self) -> Style {
        self.style
    }

    /// Writes one line of the answer. The text must be clean of foreign control characters.
    pub(crate) fn line(&self, text: impl Display) {
        self.answer_with(|stream| writeln!(stream, "{text}"));
    }

    /// Writes one line of the answer of a command that does something rather than shows something: its report, which
    /// is left out when quiet.
    pub(crate) fn report(&self, text: impl Display) {
        if !self.style.quiet && !self.style.json {
            self.line(text);
        }
    }

    /// Writes one JSON object, or array, as one line of the answer.
    pub(crate) fn json(&self, message: &impl Serialize) {
        self.answer_with(|stream| {
            json::write(&mut *stream, message)?;
            writeln!(stream)
        });
    }

    /// Writes one JSON object as one line of the answer and shows it at once, for messages while the work goes on.
    pub(crate) fn json_now(&self, message: &impl Serialize) {
        self.json(message);
        let mut answer = lock(&self.answer);
        let flushed = answer.stream.flush();
        answer.keep(flushed);
    }

    /// Writes bytes of the answer as they are.
    pub(crate) fn bytes(&self) -> impl Write + '_ {
        Bytes(self)
    }

    /// True once nobody can read the answer any more: a command that only shows things may stop.
    pub(crate) fn is_unread(&self) -> bool {
        lock(&self.answer).failed.is_some()
    }

    /// A sentence about what is going on or what to do next. Left out when quiet or in JSON.
    pub(crate) fn status(&self, text: impl Display) {
        if !self.style.quiet && !self.style.json {
            self.remark(format_args!("{text}"));
        }
    }

    /// A sentence about something that a person should know, though the work went on. In JSON a line of its own.
    pub(crate) fn warn(&self, text: &str) {
        self.warn_of(None, text);
    }

    /// As [`Self::warn`], for a warning of the engine.
    pub(crate) fn warn_of(&self, kind: Option<WarningKind>, text: &str) {
        let text = one_line(text);
        if self.style.json {
            self.remark_json(&wire::error::Warning::new(kind, &text));
        } else {
            self.remark(format_args!("{} {text}", self.label("warning:", "33")));
        }
    }

    /// Why the command ends without its result.
    pub(crate) fn fail(&self, failure: &Failure) {
        if self.style.json {
            self.remark_json(&wire::error::ExitError::new(failure));
            return;
        }
        self.remark(format_args!("{} {}", self.label("error:", "31"), failure.what()));
        if let Some(why) = failure.why() {
            self.remark(format_args!("{} {why}", self.label("cause:", "31")));
        }
        if let Some(hint) = failure.hint() {
            self.remark(format_args!("{} {hint}", self.label(" hint:", "36")));
        }
    }

    /// What a person can do about a warning. Left out in JSON.
    pub(crate) fn hint(&self, text: &str) {
        if !self.style.json {
            self.remark(format_args!("{} {text}", self.label(" hint:", "36")));
        }
    }

    /// Text that stands by itself on standard error: a usage message.
    pub(crate) fn remark(&self, text: impl Display) {
        let write = || {
            // A standard error that nobody reads is no reason to stop.
            let _ = writeln!(lock(&self.remarks), "{text}");
        };
        let moving_line = lock(&self.moving_line).clone();
        match moving_line {
            Some(line) => line.suspend(write),
            None => write(),
        }
    }

    /// From now on this line moves on standard error.
    fn begin_moving_line(&self, line: &ProgressBar) {
        *lock(&self.moving_line) = Some(line.clone());
    }

    /// Nothing moves on standard error any more.
    fn end_moving_line(&self) {
        *lock(&self.moving_line) = None;
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// Fails if the answer could not be written, unless its reader went away.
    pub(crate) fn finish(&self) -> error::Result<()> {
        let mut answer = lock(&self.answer);
        if answer.failed.is_none() {
            let flushed = answer.stream.flush();
            answer.keep(flushed);
        }
        match answer.failed.take() {
            Some(failed) if failed.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(Condition::Failed, "Failed to write to the standard output")
                    .because(failed)
                    .with_hint(
                        "the work itself was done as far as it goes; only what it prints is incomplete",
                    ))
            }
            _ => Ok(()),
        }
    }

    /// On a terminal the moving line is taken away before anything is shown: both are on the same one.
    fn answer_with(&self, write: impl FnOnce(&mut BufWriter<Box<dyn Write + Send>>) -> io::Result<()>) {
        let moving_line = lock(&self.moving_line).clone().filter(|_| self.style.live);
        match moving_line {
            Some(line) => line.suspend(|| self.write_answer(write)),
            None => self.write_answer(write),
        }
    }

    fn write_answer(&self, write: impl FnOnce(&mut BufWriter<Box<dyn Write + Send>>) -> io::Result<()>) {
        let mut answer = lock(&self.answer);
        if answer.failed.is_some() {
            return;
        }
        let written = write(&mut answer.stream);
        let written = if self.style.live { written.and_then(|()| answer.stream.flush()) } else { written };
        answer.keep(written);
    }

    fn remark_json(&self, message: &impl Serialize) {
        let mut text = Vec::new();
        if json::write(&mut text, message).is_ok() {
            self.remark(String::from_utf8_lossy(&text));
        }
    }

    fn label(&self, text: &str, colour: &str) -> String {
        if self.style.colours { format!("\x1b[1;{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl std::fmt::Debug for Ui {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ui").field("style", &self.style).finish_non_exhaustive()
    }
}

/// Raw bytes of the answer. A failure is remembered by the [`Ui`] and also returned, so that the source of the bytes
/// stops.
struct Bytes<'u>(&'u Ui);

impl Write for Bytes<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut answer = lock(&self.0.answer);
        if answer.failed.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        answer.stream.write(buffer).map_err(|error| {
            let told = io::Error::from(error.kind());
            answer.keep(Err(error));
            told
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lock, also after another thread panicked: a stream has no state that could be half changed.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Arc;

    /// A stream that keeps what is written to it.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(lock(&self.0).clone()).unwrap()
        }
    }

    impl Write for Kept {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(buffer);
            Ok(buffer.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A [`Ui`] and what it wrote to its two streams.
    pub(crate) fn kept(style: Style) -> (Ui, Kept, Kept) {
        let (answer, remarks) = (Kept::default(), Kept::default());
        (Ui::new(style, Box::new(answer.clone()), Box::new(remarks.clone())), answer, remarks)
    }

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    fn broken(kind: io::ErrorKind) -> Ui {
        Ui::new(Style { live: true, ..Style::default() }, Box::new(Broken(kind)), Box::new(Broken(kind)))
    }

    #[test]
    fn a_closed_pipe_is_quiet_and_a_full_disk_is_told_once_at_the_end() {
        let ui = broken(io::ErrorKind::BrokenPipe);
        assert!(!ui.is_unread());
        ui.line("one");
        assert!(ui.is_unread());
        ui.line("two");
        ui.warn("nobody reads this either");
        assert!(ui.finish().is_ok());

        let ui = broken(io::ErrorKind::StorageFull);
        ui.line("one");
        assert_eq!(ui.finish().unwrap_err().condition(), Condition::Failed);
    }

    #[test]
    fn raw_bytes_stop_at_the_first_failure() {
        let ui = broken(io::ErrorKind::BrokenPipe);
        let mut bytes = ui.bytes();
        assert!(bytes.write_all(&[0; 200_000]).is_err());
        assert!(bytes.write(b"x").is_err());
    }

    #[test]
    fn answers_and_remarks_go_to_their_streams() {
        let (ui, answer, remarks) = kept(Style::default());
        ui.line("answer");
        ui.status("status");
        ui.warn("a\x1b[31m");
        ui.finish().unwrap();
        assert_eq!(answer.text(), "answer\n");
        assert_eq!(remarks.text(), "status\nwarning: a\\u{1b}[31m\n");
    }

    #[test]
    fn quiet_keeps_warnings_and_json_turns_remarks_into_objects() {
        let (ui, _, remarks) = kept(Style { quiet: true, ..Style::default() });
        ui.status("status");
        ui.warn("warning");
        assert_eq!(remarks.text(), "warning: warning\n");

        let (ui, _, remarks) = kept(Style { json: true, ..Style::default() });
        ui.status("status");
        ui.warn("warning");
        ui.fail(&Failure::usage("What").because("why").with_hint("hint"));
        let lines: Vec<serde_json::Value> =
            remarks.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["message_type"], "exit_error");
        assert_eq!(lines[1]["code"], 2);
        assert_eq!(lines[1]["message"], "What: why");
        assert_eq!(lines[1]["hint"], "hint");
    }

    #[test]
    fn a_failure_is_three_lines() {
        let (ui, _, remarks) = kept(Style::default());
        ui.fail(&Failure::usage("What").because("why").with_hint("do this"));
        assert_eq!(remarks.text(), "error: What\ncause: why\n hint: do this\n");
    }
}
