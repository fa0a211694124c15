//! `stats`

use crate::args::filter::FilterArgs;
use crate::args::select::Place;
use crate::context::{Context, missing};
use crate::exit::Outcome;
use crate::output::error::{Result, one_line};
use crate::output::progress::Progress;
use crate::output::table::{self, Column};
use crate::output::wire::stats::{WireStats, class_name};
use crate::output::{Ui, human, warnings};
use chatvault_engine::browse::stats::{ContentKind, DeltaTotals, Stats, StatsOptions, stats};
use chatvault_engine::repo::Snapshot;
use clap::Args;
use jiff::tz::TimeZone;
use std::collections::HashMap;
use std::ffi::OsString;

const EXAMPLES: &str = "\
SIZE is what a restore of all of it would write; a file with several names counts for each. DIFFERENT is what of it \
differs: each piece of content counts once, in however many files and snapshots it is. STORED is what that takes in the \
repository, compressed and encrypted. ONLY HERE is what one snapshot alone holds: forgetting it frees so much.

The kind of a file is told by its layout (databases) or by the ending of its name; no content is read. Content that files \
of several kinds share counts for the first one. `deltas` are pieces of databases that are stored as differences to an \
earlier version. `unneeded` are pieces that no snapshot needs, or further copies.

Examples:
  chatvault stats                            all snapshots together
  chatvault stats latest                     the last one, and what only it holds
  chatvault stats --host phone --path /sdcard
  chatvault stats latest:/home/ann/WhatsApp/Media

Exit codes: 0 done, 1 failed (also if the path is not in the snapshot), 2 wrong usage, 10 no repository, 12 wrong \
password or key, 22 damaged: the figures are too small, 130 cancelled.";

/// Show how much snapshots hold and how much of the repository they take
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct StatsArgs {
    /// A snapshot, and perhaps a path in it; without it, all snapshots
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    place: Option<OsString>,

    #[command(flatten)]
    filter: FilterArgs,
}

const KINDS: [Column; 6] = [
    Column::words("CONTENT"),
    Column::numbers("FILES"),
    Column::numbers("SIZE"),
    Column::numbers("PIECES"),
    Column::numbers("DIFFERENT"),
    Column::numbers("STORED"),
];

const SNAPSHOTS: [Column; 7] = [
    Column::words("ID"),
    Column::words("TIME"),
    Column::words("HOST"),
    Column::numbers("FILES"),
    Column::numbers("SIZE"),
    Column::numbers("ONLY HERE"),
    Column::words("PATHS"),
];

pub(crate) fn run(args: &StatsArgs, context: &Context) -> Result<Outcome> {
    let place = args.place.as_ref().map(|text| Place::parse(text, &context.now())).transpose()?;
    let filter = args.filter.read()?;
    let ui = context.ui.as_ref();
    let progress = Progress::new(ui);
    let repo = context.open(&progress)?;
    let all = repo.snapshots(&progress)?;
    let chosen: Vec<Snapshot> = match &place {
        Some(place) => vec![context.select_at(&repo, &all, &filter, place, &progress)?.clone()],
        None => all.iter().filter(|snapshot| filter.admits(snapshot)).cloned().collect(),
    };
    let path = place.as_ref().and_then(|place| place.path.as_ref());
    let counted = stats(&repo, &StatsOptions { all: &all, chosen: &chosen, path }, &progress);
    let outcome = warnings::tell(ui, &progress);
    let counted = counted.map_err(|error| match chosen.first() {
        Some(snapshot) => missing::not_held(error, snapshot, path),
        None => error.into(),
    })?;
    if ui.style().json {
        ui.json(&WireStats::new(&counted, &chosen, path, &outcome));
        return Ok(outcome);
    }
    if chosen.is_empty() && !filter.is_empty() {
        ui.status(format_args!("No snapshot is {}.", filter.words()));
    }
    kinds(ui, &counted);
    if path.is_none() {
        snapshots(ui, &counted, &chosen, &context.zone());
    }
    repository(ui, &counted);
    Ok(outcome)
}

fn kind_words(kind: ContentKind) -> &'static str {
    match kind {
        ContentKind::Photo => "photos",
        ContentKind::Video => "videos",
        ContentKind::Audio => "audio, voice",
        ContentKind::Database => "databases",
        ContentKind::Document => "documents",
        ContentKind::Other => "others",
    }
}

fn kinds(ui: &Ui, stats: &Stats) {
    let mut rows: Vec<Vec<String>> = stats
        .kinds
        .iter()
        .filter(|kind| kind.restored.files > 0)
        .map(|kind| {
            vec![
                kind_words(kind.kind).to_owned(),
                human::thousands(kind.restored.files),
                human::bytes(kind.restored.bytes),
                human::thousands(kind.blobs.blobs),
                human::bytes(kind.blobs.plain_bytes),
                human::bytes(kind.blobs.stored_bytes),
            ]
        })
        .collect();
    let (content, metadata) = (stats.content, stats.metadata);
    rows.push(vec![
        "all files".to_owned(),
        human::thousands(stats.restored.files),
        human::bytes(stats.restored.bytes),
        human::thousands(content.blobs),
        human::bytes(content.plain_bytes),
        human::bytes(content.stored_bytes),
    ]);
    rows.push(vec![
        "folders, lists".to_owned(),
        String::new(),
        String::new(),
        human::thousands(metadata.blobs),
        human::bytes(metadata.plain_bytes),
        human::bytes(metadata.stored_bytes),
    ]);
    for line in table::lines(&KINDS, rows) {
        ui.line(line);
    }
    ui.line("");
    ui.line(format_args!(
        "{}; deduplicated {:.1} : 1, compressed {:.2} : 1",
        human::count(u64::try_from(stats.snapshots.len()).unwrap_or(u64::MAX), "snapshot"),
        human::ratio(stats.restored.bytes, content.plain_bytes),
        human::ratio(content.plain_bytes, content.stored_bytes)
    ));
}

fn snapshots(ui: &Ui, stats: &Stats, chosen: &[Snapshot], zone: &TimeZone) {
    let by_id: HashMap<_, _> = chosen.iter().map(|snapshot| (snapshot.id, &snapshot.manifest)).collect();
    let rows: Vec<Vec<String>> = stats
        .snapshots
        .iter()
        .filter_map(|one| {
            let manifest = by_id.get(&one.id)?;
            let paths: Vec<String> = manifest.paths.iter().map(ToString::to_string).collect();
            Some(vec![
                one.id.short(),
                human::local_time(manifest.time, zone),
                one_line(&manifest.host),
                human::thousands(one.restored.files),
                human::bytes(one.restored.bytes),
                one.alone.map(|alone| human::bytes(alone.stored_bytes)).unwrap_or_default(),
                paths.join(" "),
            ])
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    ui.line("");
    for line in table::lines(&SNAPSHOTS, rows) {
        ui.line(line);
    }
}

fn differences(deltas: &DeltaTotals) -> String {
    format!(
        "{:<10} {:>10}  {} of databases stored as differences, {} deep at most; whole they would take about {} more",
        "deltas",
        human::bytes(deltas.delta_stored),
        human::count(deltas.deltas, "piece"),
        deltas.deepest,
        human::bytes(deltas.saved())
    )
}

fn repository(ui: &Ui, stats: &Stats) {
    ui.line("");
    let all = stats.folders.iter().map(|folder| folder.bytes).fold(0, u64::saturating_add);
    let files = stats.folders.iter().map(|folder| folder.files).fold(0, u64::saturating_add);
    ui.line(format_args!("Repository: {} in {}", human::bytes(all), human::count(files, "file")));
    for class in &stats.classes {
        ui.line(format_args!(
            "  {:<10} {:>10}  {}, {}",
            class_name(class.class),
            human::bytes(class.bytes),
            human::count(class.packs, "pack"),
            human::count(class.blobs, "piece")
        ));
    }
    for folder in stats.folders.iter().filter(|folder| folder.name != "packs") {
        let name = one_line(&folder.name);
        ui.line(format_args!(
            "  {name:<10} {:>10}  {}",
            human::bytes(folder.bytes),
            human::count(folder.files, "file")
        ));
    }
    if stats.deltas.deltas > 0 {
        ui.line(format_args!("  {}", differences(&stats.deltas)));
    }
    if let Some(bytes) = stats.unneeded_bytes {
        ui.line(format_args!("  {:<10} {:>10}  of the packs", "unneeded", human::bytes(bytes)));
    }
}
