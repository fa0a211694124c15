//! Databases: captured in one committed state under the app's own rules, stored run by run against the version before,
//! and checked by SQLite before they count.

use super::Work;
use super::assembly::{Assembly, Cutter, Ending, Failed, Nature};
use super::beside::{CandidateKind, look_at};
use super::file::{FileTask, read_full};
use super::lineage::{Origin, sample};
use super::linked::LogPlace;
use super::memory::UNTRUSTED;
use crate::base::{BlobId, Cancel, Result, StoredPath, Timestamp, WarningKind};
use crate::model::lineage::{Checked, Sample, sampled_runs};
use crate::model::{BlobKind, Database, DatabaseState, Node};
use crate::repo::earlier::EarlierRuns;
use crate::source::{Neighbours, Stat, xattrs_of, xattrs_of_entry};
use crate::sqlite::Image;
use crate::sqlite::capture::{self, Captured, PairedLog, Patience, Sidecar, State, capture};
use crate::sqlite::verify::{CHECK_AT_MOST, CheckLimits, Integrity, PrivateCopy, Verdict, remarks};
use rayon::Scope;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

/// Bytes that are read at a time for a private copy.
const COPY_STEP: usize = 1 << 20;

/// What is said of a database whose log is damaged.
const LOG_DAMAGED: &str = "The write-ahead log of this database is damaged, so its newest changes may be missing. The snapshot also keeps \
     the log; `restore` writes it beside the database, with `-wal.damaged` added to its name";

/// What the summary tells of a database that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseReport {
    /// Where it is.
    pub path: StoredPath,
    /// How it got into the snapshot.
    pub state: DatabaseState,
    /// Committed frames of its write-ahead log that were merged into it.
    pub frames: u32,
    /// Pages of a transaction that its app did not finish, which were taken back.
    pub rolled_back: u32,
    /// How long its app's checkpoints (or, in rollback mode, commits) had to wait, in milliseconds.
    pub held_ms: u64,
    /// What its check found.
    pub checked: Checked,
    /// True if this state was found damaged for the first time.
    pub newly_damaged: bool,
    /// True if its write-ahead log is damaged and was kept as it is.
    pub has_damaged_log: bool,
    /// Why it was not checked, if it was not.
    pub not_checked: Option<NotChecked>,
}

/// Why SQLite did not check a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotChecked {
    /// Its files were stored one by one.
    NotCaptured,
    /// It is encrypted.
    Encrypted,
    /// No check was wanted.
    NotWanted,
    /// The check could not be made; a warning says why, if there is more to say than that there is no place for a copy.
    NotPossible,
}

impl NotChecked {
    /// The name in JSON output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotCaptured => "not_captured",
            Self::Encrypted => "encrypted",
            Self::NotWanted => "not_wanted",
            Self::NotPossible => "not_possible",
        }
    }
}

impl DatabaseReport {
    /// Of a database whose files were stored one by one.
    pub(super) fn of_files(path: StoredPath, state: DatabaseState) -> Self {
        let checked = Checked::No;
        Self {
            path,
            state,
            frames: 0,
            rolled_back: 0,
            held_ms: 0,
            checked,
            newly_damaged: false,
            has_damaged_log: false,
            not_checked: Some(NotChecked::NotCaptured),
        }
    }
}

/// The databases that a run read, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseCounts {
    /// All of them.
    pub read: u64,
    /// Those with something pending beside them that was merged, taken back or stored with them.
    pub captured: u64,
    /// Those in which SQLite found nothing wrong.
    pub sound: u64,
    /// Those that SQLite finds damaged.
    pub damaged: u64,
    /// Of these, the ones whose state was found damaged for the first time.
    pub newly_damaged: u64,
    /// Those whose write-ahead log is damaged.
    pub damaged_logs: u64,
}

impl DatabaseCounts {
    /// Counts one more.
    pub fn add(&mut self, report: &DatabaseReport) {
        self.read += 1;
        self.captured += u64::from(matches!(report.state, DatabaseState::Captured | DatabaseState::Pair));
        self.sound += u64::from(matches!(report.checked, Checked::Quick | Checked::Full));
        self.damaged += u64::from(report.checked == Checked::Failed);
        self.newly_damaged += u64::from(report.newly_damaged);
        self.damaged_logs += u64::from(report.has_damaged_log);
    }
}

/// An image as it was read once.
struct Reading {
    assembly: Arc<Assembly>,
    /// As a node has it: none for a content of one piece.
    hash: Option<BlobId>,
    /// What the check is to look at.
    check: Check,
}

/// What is to be checked.
enum Check {
    /// Nothing: this was found before of the same image.
    Known(Checked),
    /// This copy of the image.
    Copy(PrivateCopy),
    /// Nothing, because that was not asked for or is not possible.
    Not,
}

/// What became of a database.
pub(super) enum Outcome {
    /// It is stored in one image, or as a pair.
    Captured,
    /// It has no committed state that could be captured, and must be stored as it lies: the reason.
    Impossible(String),
    /// Its name leads to another file by now.
    Replaced,
}

/// Reads and stores a database.
pub(super) fn read_database<'s>(
    work: &'s Work<'s>,
    task: &mut FileTask,
    nature: &Nature,
    scope: &Scope<'s>,
    buffer: &mut Vec<u8>,
) -> std::result::Result<Outcome, Failed> {
    let Some(kind) = nature.database() else { return Ok(Outcome::Impossible("it is none".to_owned())) };
    if matches!(task.log, LogPlace::Elsewhere) {
        let why = "it has several names, and an app has it open under one that is not in this snapshot";
        return Ok(Outcome::Impossible(why.to_owned()));
    }
    let session = work.repo.session();
    let (pause, now) = (|time| (session.pause)(time), || session.now());
    let stamps = (work.clocks.of(task.device), session.now());
    let patience = Patience { budget: Some(&work.waits), stamps, ..Patience::new(&pause, &now) };
    let begun = session.now();
    let before = task.file.stat()?;
    let beside = task.log.neighbours(&task.dir, &task.node.name);
    // Before the app's locks are taken: this may wait for the disk of the repository.
    let read_at = |bytes: &mut [u8], at| read_full(&mut task.file.reader(at, bytes.len() as u64), bytes);
    let origin = work.lineages.origin(&task.path(), || samples(work, before.size, &read_at), work.writer)?;
    let mut read = |image: &Image<'_>| match image.is_log() {
        true => read_log(work, task, (scope, &mut *buffer), image),
        false => read_image(work, task, nature, &origin, (scope, &mut *buffer), image),
    };
    match capture(task.file.as_fd(), &beside, kind, &patience, &mut read) {
        Ok(captured) => {
            look_at(&task.dir, &mut task.beside);
            let wal = Sidecar::Wal.beside(&task.node.name);
            let logs =
                task.beside.iter_mut().filter(|candidate| captured.has_damaged_log && candidate.name == wal);
            // It is kept with the database, whatever it begins with.
            logs.for_each(|log| log.kind = CandidateKind::Sidecar);
            store(work, task, captured, nature, (begun, &before))?;
            Ok(Outcome::Captured)
        }
        Err(capture::Failed::Impossible(why)) => Ok(Outcome::Impossible(why.to_string())),
        Err(capture::Failed::Replaced) => Ok(Outcome::Replaced),
        Err(capture::Failed::Io(None, e)) => Err(Failed::Source(e)),
        Err(capture::Failed::Io(Some(sidecar), e)) => {
            Ok(Outcome::Impossible(format!("its {} file cannot be read: {e}", sidecar.suffix())))
        }
        Err(capture::Failed::Read(failed)) => Err(failed),
    }
}

fn read_image<'s>(
    work: &'s Work<'s>,
    task: &FileTask,
    nature: &Nature,
    origin: &Origin<'s>,
    (scope, buffer): (&Scope<'s>, &mut Vec<u8>),
    image: &Image<'_>,
) -> std::result::Result<Reading, Failed> {
    let (line, earlier) = origin.begin();
    let assembly = Assembly::new(&task.folder, nature, Some(line));
    let mut cutter = Cutter::new(work, &assembly, scope, earlier);
    let is_asked = nature.header.is_some() && work.options.integrity != Integrity::None;
    let scratch = work.repo.session().scratch_dir.as_deref().filter(|_| is_asked);
    let mut copying = Copying { image, assembly: &assembly, scratch, at: 0, copy: None };
    cutter.cut(&mut copying, buffer)?;
    let cut = cutter.finish()?;
    if let Some(log) = image.damaged_log() {
        let kept = assembly.with_log();
        let mut cutter = Cutter::new(work, &kept, scope, EarlierRuns::none(work.repo));
        cutter.cut(log, buffer)?;
        let cut = cutter.finish()?;
        kept.end_log(work, &cut)?;
    }
    let check = check(work, cut.name, copying)?;
    Ok(Reading { assembly, hash: cut.hash, check })
}

/// Reads the other half of a pair.
fn read_log<'s>(
    work: &'s Work<'s>,
    task: &FileTask,
    (scope, buffer): (&Scope<'s>, &mut Vec<u8>),
    log: &Image<'_>,
) -> std::result::Result<Reading, Failed> {
    let assembly = Assembly::new(&task.folder, &Nature::of(&[]), None);
    let mut cutter = Cutter::new(work, &assembly, scope, EarlierRuns::none(work.repo));
    cutter.cut(&mut log.reader(), buffer)?;
    let hash = cutter.finish()?.hash;
    Ok(Reading { assembly, hash, check: Check::Not })
}

/// Reads an image, and writes what is read into a private copy from where it differs from the version before: an image that
/// is as it was needs no copy, and one that is new need not be read twice. The copy of one that turns out to have been
/// checked some other time is thrown away.
struct Copying<'i> {
    image: &'i Image<'i>,
    assembly: &'i Assembly,
    /// Where copies are made, if this image can be checked and is to be.
    scratch: Option<&'i Path>,
    at: u64,
    /// The copy, and where it begins so far.
    copy: Option<(PrivateCopy, u64)>,
}

impl Copying<'_> {
    fn begin(&self, dir: &Path) -> PrivateCopy {
        let mut copy = PrivateCopy::new_in(dir);
        copy.expect_len(self.image.len());
        copy
    }

    /// The copy of all that was read; none if there is no place for one.
    fn finish(mut self, cancel: &Cancel) -> std::result::Result<Option<PrivateCopy>, Failed> {
        let Some(dir) = self.scratch else { return Ok(None) };
        let (mut copy, missing) = self.copy.take().unwrap_or_else(|| (self.begin(dir), self.image.len()));
        let mut bytes = vec![0; COPY_STEP.min(usize::try_from(missing).unwrap_or(COPY_STEP))];
        let mut at = 0;
        while at < missing {
            cancel.check()?;
            let count = self.image.read_at(&mut bytes, at)?;
            copy.write_at(at, bytes.get(..count).unwrap_or_default());
            at += count as u64;
        }
        Ok(Some(copy))
    }
}

impl Read for Copying<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.image.read_at(buf, self.at)?;
        if let Some(dir) = self.scratch
            && self.copy.is_none()
            && self.assembly.is_new()
        {
            self.copy = Some((self.begin(dir), self.at));
        }
        if let Some((copy, _)) = &mut self.copy {
            copy.write_at(self.at, buf.get(..count).unwrap_or_default());
        }
        self.at += count as u64;
        Ok(count)
    }
}

/// Decides what to check, while the image can be read: nothing of one that was checked before.
fn check(work: &Work<'_>, name: Option<BlobId>, copying: Copying<'_>) -> std::result::Result<Check, Failed> {
    let Some(name) = name else { return Ok(Check::Not) };
    if let Some(known) = work.lineages.checked(&name, work.options.integrity) {
        return Ok(Check::Known(known));
    }
    Ok(copying.finish(&work.writer.cancel)?.map_or(Check::Not, Check::Copy))
}

fn store(
    work: &Work<'_>,
    task: &FileTask,
    captured: Captured<Reading>,
    nature: &Nature,
    (begun, before): (Timestamp, &Stat),
) -> std::result::Result<(), Failed> {
    let path = task.path();
    let after = task.file.stat()?;
    let xattrs = work.xattrs(&path, xattrs_of(&task.file));
    let is_whole = xattrs.is_some();
    let (state, frames, rolled_back) = state_and_numbers(captured.state);
    let Reading { assembly, hash, check } = captured.value;
    if let Some(missing) = captured.missing {
        work.warn(WarningKind::DatabaseFileMissing, &path, missing.to_string());
    }
    if captured.has_damaged_log {
        work.warn(WarningKind::LogDamaged, &path, LOG_DAMAGED);
    }
    let is_known = matches!(check, Check::Known(_));
    let checked = run_check(work, &path, check);
    work.tally.add_database(DatabaseReport {
        path: path.clone(),
        state,
        frames,
        rolled_back,
        held_ms: u64::try_from(captured.held.as_millis()).unwrap_or(u64::MAX),
        checked,
        newly_damaged: checked == Checked::Failed && !is_known,
        has_damaged_log: captured.has_damaged_log,
        not_checked: (checked == Checked::No).then(|| not_checked(work, nature)),
    });
    let sidecars = match captured.log {
        Some(log) => vec![store_log(work, task, log, &after)?],
        None => names_of(task, &captured.sidecars),
    };
    let merged = if state == DatabaseState::Captured { frames } else { 0 };
    let node = Node {
        size: captured.len,
        layout: assembly.layout,
        hash,
        mode: after.mode,
        uid: after.uid,
        gid: after.gid,
        mtime: Some(latest(before.mtime, task, merged)),
        xattrs: xattrs.unwrap_or_default(),
        database: Some(Database {
            state,
            page_size: page_size(nature, captured.page_size),
            sidecars,
            // Known when it is stored.
            damaged_log: None,
        }),
        ..task.node.clone()
    };
    let may_be_taken_over = is_whole && task.log.is_here();
    let key = if may_be_taken_over { task.key_to_remember(work, begun, *before) } else { UNTRUSTED };
    Ok(assembly.end(work, Ending { node, key, checked })?)
}

/// How it got into the snapshot, with the frames of its log and the pages that were taken back.
fn state_and_numbers(state: State) -> (DatabaseState, u32, u32) {
    match state {
        State::Quiescent => (DatabaseState::Quiescent, 0, 0),
        State::Merged { frames } => (DatabaseState::Captured, frames, 0),
        State::RolledBack { pages } => (DatabaseState::Captured, 0, pages),
        State::Paired { frames } => (DatabaseState::Pair, frames, 0),
    }
}

/// Bytes of a page; 0 where only the app knows where pages lie, by which such a file is known the next time.
fn page_size(nature: &Nature, captured: Option<u32>) -> u32 {
    if nature.database() == Some(capture::Kind::Opaque) {
        0
    } else {
        captured.unwrap_or_else(|| nature.page_size())
    }
}

/// Stores the other half of a pair, an entry beside the main file, and says its name.
fn store_log(
    work: &Work<'_>,
    task: &FileTask,
    log: PairedLog<Reading>,
    main: &Stat,
) -> std::result::Result<Vec<u8>, Failed> {
    let name = log.sidecar.beside(&task.node.name);
    let Neighbours { dir, name: app_name } = task.log.neighbours(&task.dir, &task.node.name);
    let there = log.sidecar.beside(app_name);
    // An app that has closed it since has taken it away.
    let stat = dir.stat_of(&there).unwrap_or(*main);
    let xattrs = xattrs_of_entry(dir, &there).unwrap_or_default();
    let Reading { assembly, hash, .. } = log.value;
    let (size, layout) = (log.len, assembly.layout);
    let node = Node { size, layout, hash, xattrs, hard_link: None, ..work.node(&name, &stat) };
    task.folder.expect_one();
    assembly.end(work, Ending { node, key: UNTRUSTED, checked: Checked::No })?;
    Ok(name)
}

fn not_checked(work: &Work<'_>, nature: &Nature) -> NotChecked {
    match nature.header {
        None => NotChecked::Encrypted,
        Some(_) if work.options.integrity == Integrity::None => NotChecked::NotWanted,
        Some(_) => NotChecked::NotPossible,
    }
}

/// When the stored state was reached: frames of a log may be later than the main file.
fn latest(main: Timestamp, task: &FileTask, frames: u32) -> Timestamp {
    let Neighbours { dir, name } = task.log.neighbours(&task.dir, &task.node.name);
    let wal = || dir.stat_of(&Sidecar::Wal.beside(name)).ok();
    let wal = if frames > 0 { wal() } else { None };
    wal.map_or(main, |wal| main.max(wal.mtime))
}

/// The names of the sidecars that are part of the image.
fn names_of(task: &FileTask, sidecars: &capture::Sidecars) -> Vec<Vec<u8>> {
    if !task.log.is_here() {
        return Vec::new();
    }
    [(sidecars.wal, Sidecar::Wal), (sidecars.shm, Sidecar::Shm), (sidecars.journal, Sidecar::Journal)]
        .into_iter()
        .filter(|(size, _)| size.is_some())
        .map(|(_, sidecar)| sidecar.beside(&task.node.name))
        .filter(|name| task.may_own(name))
        .collect()
}

fn run_check(work: &Work<'_>, path: &StoredPath, check: Check) -> Checked {
    let copy = match check {
        Check::Not => return Checked::No,
        Check::Known(known) => {
            if known == Checked::Failed && work.options.integrity != Integrity::None {
                let message =
                    "SQLite still finds this database damaged, as in an earlier snapshot of the same state";
                work.warn(WarningKind::IntegrityFailed, path, message);
            }
            return known;
        }
        Check::Copy(copy) => copy,
    };
    let session = work.repo.session();
    let limits = CheckLimits {
        clock: Arc::clone(&session.clock),
        at_most: CHECK_AT_MOST,
        cancel: work.writer.cancel.clone(),
    };
    let wanted = work.options.integrity;
    match work.check_time.check(copy, wanted, &limits) {
        Verdict::Sound { left_out, odd_values } => {
            for (kind, message) in remarks(&left_out, &odd_values) {
                work.warn(kind, path, message);
            }
            // What was left out is for the next full check, whose SQLite may know more.
            let is_full = wanted == Integrity::Full && left_out.is_empty();
            if is_full { Checked::Full } else { Checked::Quick }
        }
        Verdict::Failed(findings) => {
            let message = format!(
                "SQLite finds this database damaged. It is stored as it is; earlier snapshots may have a sound state: {}",
                findings.join("; ")
            );
            work.warn(WarningKind::IntegrityFailed, path, message);
            Checked::Failed
        }
        Verdict::NotChecked(why) => {
            if !work.writer.cancel.is_cancelled() {
                let message = format!("This database is stored, but could not be checked: {why}");
                work.warn(WarningKind::IntegrityNotChecked, path, message);
            }
            Checked::No
        }
    }
}

/// The sampled runs of a database that is not cut yet. One that cannot be read has none: that will be noticed.
pub(super) fn samples(
    work: &Work<'_>,
    size: u64,
    read_at: &dyn Fn(&mut [u8], u64) -> io::Result<usize>,
) -> Result<Vec<Sample>> {
    let run = work.repo.config.run;
    let mut bytes = vec![0; run as usize];
    let mut samples = Vec::new();
    for number in sampled_runs(size.div_ceil(run.into())) {
        work.writer.cancel.check()?;
        if let Ok(count) = read_at(&mut bytes, u64::from(number) * u64::from(run)) {
            let id = work.repo.name(BlobKind::Data, bytes.get(..count).unwrap_or_default());
            samples.push(sample(number, &id));
        }
    }
    Ok(samples)
}
