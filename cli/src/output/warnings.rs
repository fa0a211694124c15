//! Warnings of an operation, for people: each with its path, a bounded number of them.

use crate::exit::{Condition, Outcome};
use crate::output::error::DENIED_HINT;
use crate::output::progress::Progress;
use crate::output::{Ui, human};
use chatvault_engine::base::{Warning, WarningKind};
use chatvault_engine::repo::Repo;
use chatvault_engine::repo::resting::{Affected, sentence};
use jiff::tz::TimeZone;

/// Most warnings that are shown to a person; JSON has all.
const MOST_SHOWN: usize = 100;

/// Shows warnings; `dropped` more were not kept.
pub(crate) fn show(ui: &Ui, warnings: &[Warning], dropped: u64) {
    for warning in warnings.iter().take(MOST_SHOWN) {
        match &warning.path {
            Some(path) => ui.warn_of(Some(warning.kind), &format!("{path}: {}", warning.message)),
            None => ui.warn_of(Some(warning.kind), &warning.message),
        }
    }
    if warnings.iter().any(|warning| warning.kind == WarningKind::Denied) {
        ui.hint(DENIED_HINT);
    }
    let hidden =
        u64::try_from(warnings.len().saturating_sub(MOST_SHOWN)).unwrap_or(u64::MAX).saturating_add(dropped);
    if hidden > 0 {
        ui.warn(&format!("{} more of this run are not shown", human::count(hidden, "warning")));
    }
}

/// Ends the display of an operation, shows its warnings, and says what they mean for a script: with damage in the
/// repository, not everything may have been shown.
pub(crate) fn tell(ui: &Ui, progress: &Progress<'_>) -> Outcome {
    let warnings = progress.finish();
    show(ui, &warnings, progress.warnings_dropped());
    outcome(&warnings)
}

/// What warnings mean for a script.
pub(crate) fn outcome(warnings: &[Warning]) -> Outcome {
    let tells_of = |kind| warnings.iter().any(|warning| warning.kind == kind);
    Outcome::done()
        .with(Condition::Damaged, tells_of(WarningKind::Damaged))
        .with(Condition::Denied, tells_of(WarningKind::Denied))
}

/// The warning that databases of other snapshots need what is lost, with their days; none for none.
pub(crate) fn of_affected(affected: &[Affected], zone: &TimeZone) -> Option<Warning> {
    let message = sentence(affected, |time| human::local_day(time, zone))?;
    Some(Warning { kind: WarningKind::Damaged, path: None, message })
}

/// As [`of_affected`], of what turned out to be lost since that was last asked. Asked after damage only, so that what was
/// done, or failed, is told in any case: that nothing can be found out then is no failure of its own.
pub(crate) fn of_losses(repo: &Repo, zone: &TimeZone) -> Option<Warning> {
    of_affected(&repo.affected_anywhere().unwrap_or_default(), zone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Style;
    use crate::output::tests::kept;
    use chatvault_engine::base::StoredPath;

    #[test]
    fn paths_are_shown_clean_and_the_rest_is_counted() {
        let (ui, _, remarks) = kept(Style::default());
        let warning = Warning {
            kind: WarningKind::Unreadable,
            path: StoredPath::parse(b"/a\x1b"),
            message: "It is gone".into(),
        };
        show(&ui, &vec![warning; MOST_SHOWN + 1], 2);
        let text = remarks.text();
        assert_eq!(text.lines().count(), MOST_SHOWN + 1);
        assert!(text.starts_with("warning: /a\\u{1b}: It is gone\n"));
        assert!(text.ends_with("warning: 3 warnings more of this run are not shown\n"));
    }
}
