//! An observer for people and scripts: a moving line on a terminal, status messages in JSON, nothing elsewhere.
//!
//! It also keeps the warnings of an operation until its command shows them.

use crate::output::human::to_float;
use crate::output::wire::status::Status;
use crate::output::{Ui, human, lock};
use chatvault_engine::base::{Counter, Observer, Phase, StoredPath, Warning};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How often the moving line changes.
const REDRAW: Duration = Duration::from_millis(100);
/// How often a status message is written in JSON.
const STATUS: Duration = Duration::from_secs(1);
/// Warnings that are kept word for word; a source of a million unreadable files must not fill the memory.
const MAX_WARNINGS: usize = 10_000;

/// Where the display stands.
#[derive(Debug)]
struct Shown {
    phase: Phase,
    since: Instant,
    last: Option<Instant>,
    current: Option<StoredPath>,
    /// A phase, and how many files and bytes it will take: it may be known before the phase begins.
    foretold: Option<(Phase, u64, u64)>,
}

/// An observer that shows progress on standard error, if that is a terminal and it is wanted.
#[derive(Debug)]
pub(crate) struct Progress<'u> {
    ui: &'u Ui,
    bar: OnceLock<ProgressBar>,
    /// When the first part of the operation began: a question to the person does not count.
    begun: OnceLock<Instant>,
    files: AtomicU64,
    bytes: AtomicU64,
    total_files: AtomicU64,
    total_bytes: AtomicU64,
    shown: Mutex<Shown>,
    warnings: Mutex<Vec<Warning>>,
    warnings_dropped: AtomicU64,
}

impl<'u> Progress<'u> {
    /// Begins to watch an operation.
    pub(crate) fn new(ui: &'u Ui) -> Self {
        Self {
            ui,
            bar: OnceLock::new(),
            begun: OnceLock::new(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            total_files: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            shown: Mutex::new(Shown {
                phase: Phase::Opening,
                since: Instant::now(),
                last: None,
                current: None,
                foretold: None,
            }),
            warnings: Mutex::new(Vec::new()),
            warnings_dropped: AtomicU64::new(0),
        }
    }

    /// Totals that one phase will reach, also if it has not begun; told too late, they count for nothing.
    pub(crate) fn foretell(&self, phase: Phase, files: u64, bytes: u64) {
        let mut shown = lock(&self.shown);
        shown.foretold = Some((phase, files, bytes));
        if shown.phase == phase {
            self.expect(Counter::Files, files);
            self.expect(Counter::Bytes, bytes);
        }
    }

    /// Time since the operation began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.get().map(Instant::elapsed).unwrap_or_default()
    }

    /// Takes the moving line away and gives back the warnings of the operation.
    pub(crate) fn finish(&self) -> Vec<Warning> {
        self.take_away();
        std::mem::take(&mut *lock(&self.warnings))
    }

    /// Warnings beyond those that are kept.
    pub(crate) fn warnings_dropped(&self) -> u64 {
        self.warnings_dropped.load(Ordering::Relaxed)
    }

    /// The moving line, made when it is first needed: a question to the person may come before.
    fn bar(&self) -> Option<&ProgressBar> {
        let style = self.ui.style();
        (style.progress && !style.json).then(|| {
            self.bar.get_or_init(|| {
                let bar = new_bar();
                self.ui.begin_moving_line(&bar);
                bar
            })
        })
    }

    fn take_away(&self) {
        if let Some(bar) = self.bar.get() {
            self.ui.end_moving_line();
            bar.finish_and_clear();
        }
    }

    /// Shows where the operation stands, if it is time again.
    fn show(&self) {
        let now = Instant::now();
        let wants_status = self.ui.style().json && self.ui.style().progress;
        let pause = if wants_status { STATUS } else { REDRAW };
        if self.bar.get().is_none() && !wants_status {
            return;
        }
        let Ok(mut shown) = self.shown.try_lock() else { return };
        if shown.last.or(self.begun.get().copied()).is_some_and(|last| last + pause > now) {
            return;
        }
        shown.last = Some(now);
        let status = self.status(&shown, now);
        drop(shown);
        match self.bar.get() {
            Some(bar) => bar.set_message(sentence(&status)),
            None => self.ui.json_now(&status),
        }
    }

    fn status(&self, shown: &Shown, now: Instant) -> Status {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // A source may have grown since its total was taken.
        let total = |counter: &AtomicU64, done: u64| {
            Some(count(counter)).filter(|total| *total > 0).map(|total| total.max(done))
        };
        let (files, bytes) = (count(&self.files), count(&self.bytes));
        let total_bytes = total(&self.total_bytes, bytes);
        let spent = now.duration_since(shown.since).as_secs_f64();
        let rate = if spent > 0.0 { to_float(bytes) / spent } else { 0.0 };
        let left = total_bytes.map(|total| to_float(total.saturating_sub(bytes)));
        Status {
            message_type: "status",
            phase: phase_name(shown.phase),
            seconds_elapsed: self.elapsed().as_secs(),
            seconds_remaining: left.filter(|_| rate > 0.0).map(|left| whole_seconds(left / rate)),
            percent_done: total_bytes.map(|total| (to_float(bytes) / to_float(total)).min(1.0)),
            total_files: total(&self.total_files, files),
            files_done: files,
            total_bytes,
            bytes_done: bytes,
            bytes_per_second: rate,
            current_files: shown.current.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.take_away();
    }
}

impl Observer for Progress<'_> {
    fn phase(&self, phase: Phase) {
        let begun = Instant::now();
        self.begun.get_or_init(|| begun);
        {
            let mut shown = lock(&self.shown);
            shown.phase = phase;
            shown.since = begun;
            shown.current = None;
            let foretold = shown.foretold.filter(|(of, _, _)| *of == phase);
            let (_, files, bytes) = foretold.unwrap_or((phase, 0, 0));
            self.files.store(0, Ordering::Relaxed);
            self.bytes.store(0, Ordering::Relaxed);
            self.expect(Counter::Files, files);
            self.expect(Counter::Bytes, bytes);
        }
        if let Some(bar) = self.bar() {
            bar.set_message(phase_words(phase));
        }
    }

    fn expect(&self, counter: Counter, total: u64) {
        match counter {
            Counter::Files => self.total_files.store(total, Ordering::Relaxed),
            Counter::Bytes => self.total_bytes.store(total, Ordering::Relaxed),
        }
    }

    fn add(&self, counter: Counter, amount: u64) {
        match counter {
            Counter::Files => self.files.fetch_add(amount, Ordering::Relaxed),
            Counter::Bytes => self.bytes.fetch_add(amount, Ordering::Relaxed),
        };
        self.show();
    }

    fn working_on(&self, path: &StoredPath) {
        if (self.bar.get().is_some() || self.ui.style().json)
            && let Ok(mut shown) = self.shown.try_lock()
        {
            shown.current = Some(path.clone());
        }
    }

    fn warn(&self, warning: &Warning) {
        let mut warnings = lock(&self.warnings);
        // What is wrong with the repository is found each time it is looked at, and told once. These are few.
        if warning.path.is_none() && warnings.iter().any(|told| told == warning) {
            return;
        }
        if warnings.len() < MAX_WARNINGS {
            warnings.push(warning.clone());
        } else {
            self.warnings_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(REDRAW);
    bar
}

/// The moving line: how much of the work is done and how long it still takes, which a narrow terminal shows too; then what
/// is done, of how much, and how fast.
fn sentence(status: &Status) -> String {
    let mut text = format!("{}:", status.phase_words());
    if let Some(share) = status.percent_done {
        text += &format!(" {} %,", rounded_down(share * 100.0));
    }
    if let Some(left) = status.seconds_remaining {
        text += &format!(" {} left,", human::duration(Duration::from_secs(left)));
    }
    text += &format!(" {}", human::thousands(status.files_done));
    if let Some(total) = status.total_files {
        text += &format!(" of {}", human::thousands(total));
    }
    text += &format!(" files, {}", human::bytes(status.bytes_done));
    if let Some(total) = status.total_bytes {
        text += &format!(" of {}", human::bytes(total));
    }
    text += &format!(", {}/s", human::bytes(rounded_down(status.bytes_per_second)));
    if let Some(current) = status.current_files.first() {
        text += &format!("  {current}");
    }
    text
}

impl Status {
    fn phase_words(&self) -> &'static str {
        PHASES.iter().find(|(_, name, _)| *name == self.phase).map_or("Working", |(_, _, words)| words)
    }
}

/// Each phase with its name in JSON and in words.
const PHASES: [(Phase, &str, &str); 9] = [
    (Phase::Opening, "opening", "Opening the repository"),
    (Phase::Storing, "storing", "Storing"),
    (Phase::Committing, "committing", "Flushing to disk"),
    (Phase::Planning, "planning", "Planning"),
    (Phase::Restoring, "restoring", "Restoring"),
    (Phase::Verifying, "verifying", "Verifying"),
    (Phase::Comparing, "comparing", "Comparing"),
    (Phase::Searching, "searching", "Searching"),
    (Phase::Counting, "counting", "Counting"),
];

fn phase_name(phase: Phase) -> &'static str {
    PHASES.iter().find(|(known, _, _)| *known == phase).map_or("working", |(_, name, _)| name)
}

fn phase_words(phase: Phase) -> &'static str {
    PHASES.iter().find(|(known, _, _)| *known == phase).map_or("Working", |(_, _, words)| words)
}

/// Seconds rounded up, for display.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and NaN becomes 0"
)]
fn whole_seconds(seconds: f64) -> u64 {
    seconds.ceil() as u64
}

/// A number rounded down, for display.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and NaN becomes 0"
)]
fn rounded_down(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Style;
    use crate::output::tests::kept;
    use chatvault_engine::base::WarningKind;

    #[test]
    fn nothing_is_shown_where_nothing_is_wanted_and_warnings_are_kept() {
        let (ui, answer, remarks) = kept(Style::default());
        let progress = Progress::new(&ui);
        progress.phase(Phase::Storing);
        progress.add(Counter::Bytes, 5);
        let warning = Warning { kind: WarningKind::Unreadable, path: None, message: "gone".into() };
        progress.warn(&warning);
        assert_eq!(progress.finish(), [warning]);
        ui.finish().unwrap();
        assert_eq!((answer.text(), remarks.text()), (String::new(), String::new()));
    }

    #[test]
    fn a_status_knows_rate_share_and_time_left() {
        let (ui, _, _) = kept(Style::default());
        let progress = Progress::new(&ui);
        progress.phase(Phase::Storing);
        progress.expect(Counter::Bytes, 4096);
        progress.expect(Counter::Files, 4);
        progress.add(Counter::Bytes, 1024);
        progress.add(Counter::Files, 1);
        let shown = lock(&progress.shown);
        let status = progress.status(&shown, shown.since + Duration::from_secs(2));
        assert_eq!(status.percent_done, Some(0.25));
        assert_eq!(status.seconds_remaining, Some(6));
        assert_eq!(sentence(&status), "Storing: 25 %, 6.0 s left, 1 of 4 files, 1.0 KiB of 4.0 KiB, 512 B/s");
    }

    #[test]
    fn totals_that_are_foretold_belong_to_their_phase_alone() {
        let (ui, _, _) = kept(Style::default());
        let progress = Progress::new(&ui);
        let totals = || {
            let shown = lock(&progress.shown);
            let status = progress.status(&shown, shown.since);
            (status.total_files, status.total_bytes)
        };
        progress.phase(Phase::Opening);
        progress.foretell(Phase::Storing, 4, 4096);
        assert_eq!(totals(), (None, None), "before");
        progress.phase(Phase::Storing);
        assert_eq!(totals(), (Some(4), Some(4096)), "within");
        progress.foretell(Phase::Storing, 5, 5000);
        assert_eq!(totals(), (Some(5), Some(5000)), "known late");
        progress.add(Counter::Bytes, 6000);
        assert_eq!(totals(), (Some(5), Some(6000)), "more than was foretold");
        progress.phase(Phase::Committing);
        progress.foretell(Phase::Storing, 9, 9000);
        assert_eq!(totals(), (None, None), "after");
    }

    #[test]
    fn warnings_beyond_the_limit_are_counted() {
        let (ui, _, _) = kept(Style::default());
        let progress = Progress::new(&ui);
        let path = StoredPath::parse(b"/a");
        let warning = Warning { kind: WarningKind::Unreadable, path, message: String::new() };
        (0..MAX_WARNINGS + 3).for_each(|_| progress.warn(&warning));
        assert_eq!(progress.finish().len(), MAX_WARNINGS);
        assert_eq!(progress.warnings_dropped(), 3);
    }
}
