//! Reading every restored file again, from the disk as far as the system lets us, and comparing it with what was stored.

use super::Action;
use super::decide::same_content_counted;
use super::target::failed;
use super::walk::{Decided, Event};
use super::work::{Work, count};
use crate::base::{Counter, Error, Kind, Phase, Result, StoredPath, WarningKind};
use crate::model::{BlobKind, DatabaseState, Node, NodeKind};
use crate::source::{SourceDir, SourceFile};
use crate::sqlite::verify::{CHECK_AT_MOST, CheckLimits, Integrity, PrivateCopy, Verdict, remarks};
use crate::sqlite::{capture, encrypted};
use rustix::fs::{Advice, fadvise};
use std::io::Read;
use std::sync::Arc;

/// A file that is to be read again.
struct Check {
    folder: Arc<SourceDir>,
    node: Node,
    path: StoredPath,
}

/// Reads all that was restored, or found to be there already. Everything has been flushed before.
pub(super) fn verify_all(work: &Work<'_>) -> Result<()> {
    work.begin(Phase::Verifying);
    work.on_threads(
        |check: Check| verify(work, &check),
        |checks| {
            let mut walk = work.walk_of_folders(false)?;
            let mut here: Option<Arc<SourceDir>> = None;
            while let Some(event) = walk.step()? {
                let Event::Entry(Decided { node, path, action, .. }) = event else {
                    here = None;
                    continue;
                };
                if node.kind == NodeKind::Dir {
                    here = None;
                    if action != Action::Merge {
                        walk.skip();
                    }
                } else if node.kind == NodeKind::File && !work.is_left_alone(&path) {
                    let folder = match &here {
                        Some(folder) => Arc::clone(folder),
                        None => {
                            let folder = walk.here(&path)?.try_clone();
                            let folder = folder.map_err(failed("open the folder of", &path))?;
                            Arc::clone(here.insert(Arc::new(folder)))
                        }
                    };
                    checks.send(Check { folder, node, path }).map_err(|_| Error::cancelled())?;
                }
            }
            Ok(())
        },
    )
}

fn verify(work: &Work<'_>, check: &Check) {
    if work.stop.is_cancelled() {
        return;
    }
    let Check { folder, node, path } = check;
    work.observer.working_on(path);
    let key = work.repo.id_key(BlobKind::Data);
    let read = folder.open_file(&node.name).map_err(failed("read", path)).and_then(|file| {
        // What has been flushed need not stay in memory: the next bytes then come from the disk. A hint: where the
        // system does not follow it, memory is compared.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        let size = file.stat().map_err(failed("read", path))?.size;
        let read_on = |bytes| work.observer.add(Counter::Bytes, bytes);
        let is_same =
            size == node.size && same_content_counted(&file, node, key, path, &work.stop, &read_on)?;
        Ok(is_same.then_some(file))
    });
    match read {
        Ok(Some(file)) => {
            match node.database.as_ref().map(|database| database.state) {
                None => {}
                Some(DatabaseState::AsItLay) => {
                    let message = "It is as it was stored: as its files lay, also the ones beside it. SQLite was not asked";
                    work.warn(WarningKind::IntegrityNotChecked, Some(path), message.to_owned());
                }
                // SQLite cannot read it: its app does.
                Some(DatabaseState::Pair) => {}
                Some(_) if !ask_sqlite(work, &file, node, path) => return,
                Some(_) => {}
            }
            count(&work.counts.verified);
            work.observer.add(Counter::Files, 1);
        }
        Ok(None) => differs(work, path, "What was read again is not what was stored".to_owned()),
        Err(e) if matches!(e.kind(), Kind::Cancelled) => work.lost(path, e),
        Err(e) => differs(work, path, format!("Could not be read again: {}", e.full_text())),
    }
}

/// What was restored is what was stored; whether the app will be able to use it is another question. False if it could
/// not be answered.
fn ask_sqlite(work: &Work<'_>, file: &SourceFile, node: &Node, path: &StoredPath) -> bool {
    let copy = match private_copy(work, file, node, path) {
        Ok(Some(copy)) => copy,
        Ok(None) => return true,
        Err(e) => {
            differs(work, path, format!("Could not be read again: {}", e.full_text()));
            return false;
        }
    };
    let session = work.repo.session();
    let limits =
        CheckLimits { clock: Arc::clone(&session.clock), at_most: CHECK_AT_MOST, cancel: work.stop.clone() };
    match work.check_time.check(copy, Integrity::Quick, &limits) {
        Verdict::Sound { left_out, odd_values } => {
            count(&work.counts.sound_databases);
            for (kind, message) in remarks(&left_out, &odd_values) {
                work.warn(kind, Some(path), message);
            }
            true
        }
        Verdict::Failed(findings) => {
            count(&work.counts.unsound_databases);
            let message = format!(
                "It is as it was stored, but SQLite finds it damaged; another snapshot may have a sound state: {}",
                findings.join("; ")
            );
            work.warn(WarningKind::IntegrityFailed, Some(path), message);
            true
        }
        Verdict::NotChecked(_) if work.stop.is_cancelled() => false,
        Verdict::NotChecked(why) => {
            count(&work.counts.unchecked_databases);
            let message = format!("It matches the snapshot, but its integrity could not be checked: {why}");
            work.warn(WarningKind::IntegrityNotChecked, Some(path), message);
            true
        }
    }
}

/// A copy for SQLite to look at. None of an encrypted database, whether its header can be
/// read or not: SQLite can say nothing of it.
fn private_copy(
    work: &Work<'_>,
    file: &SourceFile,
    node: &Node,
    path: &StoredPath,
) -> Result<Option<PrivateCopy>> {
    let mut head = Vec::with_capacity(encrypted::HEAD_LEN);
    file.reader(0, encrypted::HEAD_LEN as u64).read_to_end(&mut head).map_err(failed("read", path))?;
    if !encrypted::kind_of(&head).is_some_and(|(kind, _)| kind == capture::Kind::Plain) {
        return Ok(None);
    }
    let dir = work.repo.session().scratch_dir.as_deref();
    let mut copy =
        dir.map_or_else(|| PrivateCopy::impossible("there is no folder for it"), PrivateCopy::new_in);
    copy.expect_len(node.size);
    std::io::copy(&mut file.reader(0, node.size), &mut copy).map_err(failed("read", path))?;
    Ok(Some(copy))
}

fn differs(work: &Work<'_>, path: &StoredPath, message: String) {
    count(&work.counts.differing);
    work.warn(WarningKind::NotRestored, Some(path), message);
}
