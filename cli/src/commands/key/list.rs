//! `key list`

use crate::commands::key::kind_name;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::error::{Result, one_line};
use crate::output::human::{local_time, rfc3339};
use crate::output::progress::Progress;
use crate::output::table::{self, Column};
use crate::output::warnings;
use crate::output::wire::key::WireKey;
use chatvault_engine::repo::KeySlot;
use clap::Args;
use jiff::tz::TimeZone;

const EXAMPLES: &str = "\
The columns: the first digits of the id, with a star for the key that opens the repository now; what opens with it; when, \
on which machine and by whom it was made, and its label, as its maker wrote it: all of that is stored encrypted and \
cannot be forged by the storage.

`removed` stands for a key that was removed and is there all the same, because the removal was interrupted or an old \
copy was put back: it still opens the repository until the next change of keys takes it away. `unknown` stands for a file \
that was altered, or made by somebody who cannot open the repository.

Examples:
  chatvault key list
  chatvault -r /media/ann/usb/chats key list --json

Exit codes: 0 done, 1 failed, 2 wrong usage, 10 no repository, 12 wrong password or key, 22 a key is gone though nobody \
removed it.";

/// List the keys that open the repository
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ListArgs {}

const COLUMNS: [Column; 6] = [
    Column::words("ID"),
    Column::words("OPENS WITH"),
    Column::words("MADE"),
    Column::words("HOST"),
    Column::words("USER"),
    Column::words("LABEL"),
];

pub(crate) fn run(_: &ListArgs, context: &Context) -> Result<Outcome> {
    let ui = &context.ui;
    let progress = Progress::new(ui);
    let keys = context.open(&progress)?.keys(&progress)?;
    let outcome = warnings::tell(ui, &progress);
    if ui.style().json {
        ui.json(&keys.iter().map(wire).collect::<Vec<_>>());
        return Ok(outcome);
    }
    let zone = context.zone();
    for line in table::lines(&COLUMNS, keys.iter().map(|key| row(key, &zone)).collect()) {
        ui.line(line);
    }
    if keys.iter().any(|key| key.removed) {
        ui.status("removed: it opens the repository until the next change of keys takes it away.");
    }
    if keys.iter().any(|key| key.kind.is_none()) {
        ui.status("unknown: altered, or made by somebody who cannot open the repository. `key remove` takes it away.");
    }
    ui.status("*: opens the repository now.");
    Ok(outcome)
}

fn state(key: &KeySlot) -> &'static str {
    match (key.removed, key.kind) {
        (true, _) => "removed",
        (false, None) => "unknown",
        (false, Some(_)) => "active",
    }
}

fn row(key: &KeySlot, zone: &TimeZone) -> Vec<String> {
    let note = key.note.as_ref();
    let star = if key.in_use { "*" } else { "" };
    let state = Some(state(key)).filter(|state| *state == "removed").map(str::to_owned);
    let label = note.and_then(|note| note.label.as_deref()).map(one_line);
    vec![
        format!("{}{star}", key.id.short()),
        key.kind.map_or("unknown", |kind| kind.name()).to_owned(),
        note.map(|note| local_time(note.created, zone)).unwrap_or_default(),
        note.map(|note| one_line(&note.host)).unwrap_or_default(),
        note.map(|note| one_line(&note.user)).unwrap_or_default(),
        state.into_iter().chain(label).collect::<Vec<_>>().join(", "),
    ]
}

fn wire(key: &KeySlot) -> WireKey {
    let note = key.note.as_ref();
    WireKey {
        id: key.id.to_string(),
        short_id: key.id.short(),
        kind: kind_name(key.kind),
        current: key.in_use,
        state: state(key),
        created: note.map(|note| rfc3339(note.created, 0)),
        host: note.map(|note| note.host.clone()),
        user: note.map(|note| note.user.clone()),
        label: note.and_then(|note| note.label.clone()),
    }
}
