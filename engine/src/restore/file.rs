//! One file: under a temporary name, checked as a whole, then renamed. Whatever fails, no part of it stays, and what was
//! there before is still there.

use super::existing::{Decision, same_content};
use super::remove::{Act, remove};
use super::target::{check_name, failed};
use super::temporary::{Temporary, occupied, rename_new};
use super::work::{Job, Work, count};
use crate::base::{Counter, Error, Kind, Result, StoredPath, WarningKind};
use crate::browse::Piece;
use crate::model::{BlobKind, Node};
use crate::source::SourceDir;
use rustix::fs::{AtFlags, Mode, OFlags, ftruncate, openat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// Zeroes that become a hole when all zeroes are to be holes, in bytes: what file systems keep in one piece.
const HOLE_UNIT: usize = 4096;
/// Names that are tried for what is moved out of the way.
const MOST_ASIDES: u32 = 1000;

/// Restores a file into an open folder.
///
/// # Errors
/// [`Kind::AlreadyThere`] if something of this name has come meanwhile; [`Kind::Damaged`] if the content is not what was
/// stored. Nothing of the file stays then.
pub(super) fn restore(work: &Work<'_>, job: &Job) -> Result<()> {
    let Job { folder, node, path, .. } = job;
    check_name(&node.name, path)?;
    if is_there(work, job)? {
        move_asides(work, job)?;
        count(&work.counts.unchanged);
        work.observer.add(Counter::Bytes, node.size);
        return Ok(());
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (temporary, file) = work
        .names
        .make(folder.as_fd(), |name| openat(folder, name, flags, Mode::from_raw_mode(0o600)).map(File::from))
        .map_err(failed("write", path))?;
    write_content(work, &file, node, path)?;
    let unset = work.setter.set(&file, node);
    move_asides(work, job)?;
    put(work, temporary, job.decision, folder, node, path)?;
    work.not_set(path, unset);
    count(&work.counts.files);
    work.counts.bytes.fetch_add(node.size, std::sync::atomic::Ordering::Relaxed);
    Ok(())
}

/// True if the file that is there has the stored content. It gets its metadata.
fn is_there(work: &Work<'_>, job: &Job) -> Result<bool> {
    let Job { folder, node, path, .. } = job;
    if !matches!(job.decision, Decision::Same | Decision::Compare) {
        return Ok(false);
    }
    let is_settled = job.is_settled && work.setter.is_plain(node);
    if job.decision == Decision::Same && is_settled {
        return Ok(true);
    }
    let file = match folder.open_file(&node.name) {
        Ok(file) => file,
        // What we may not read, or what has changed its kind meanwhile, gives way.
        Err(_) => return Ok(false),
    };
    // Of several names not all need be ours: none of them gets an owner with this one.
    if work.setter.gives_owners() && file.stat().map_err(failed("look at", path))?.nlink > 1 {
        return Ok(false);
    }
    let key = work.repo.id_key(BlobKind::Data);
    if job.decision == Decision::Compare && !same_content(&file, node, key, path, &work.stop)? {
        return Ok(false);
    }
    if !is_settled {
        work.not_set(path, work.setter.set(&file, node));
    }
    Ok(true)
}

fn write_content(work: &Work<'_>, file: &File, node: &Node, path: &StoredPath) -> Result<()> {
    let mut offset = 0u64;
    let mut written = 0u64;
    let write = |bytes: &[u8], at: u64| file.write_all_at(bytes, at).map_err(failed("write", path));
    work.reader.for_each_piece(node, &work.stop, &mut |piece| {
        let len = match piece {
            Piece::Hole(len) => len,
            Piece::Data(bytes) => {
                if work.plan.options.sparse {
                    for (at, part) in without_zeroes(&bytes, offset) {
                        write(part, offset + at)?;
                        written = offset + at + part.len() as u64;
                    }
                } else {
                    write(&bytes, offset)?;
                    written = offset + bytes.len() as u64;
                }
                bytes.len() as u64
            }
        };
        offset = offset.saturating_add(len);
        work.observer.add(Counter::Bytes, len);
        Ok(())
    })?;
    if written < node.size {
        ftruncate(file, node.size).map_err(|e| failed("write", path)(e.into()))?;
    }
    Ok(())
}

/// The parts of some bytes, which begin at `offset` of their file, that are not whole blocks of zeroes.
fn without_zeroes(bytes: &[u8], offset: u64) -> Vec<(u64, &[u8])> {
    let unit = HOLE_UNIT as u64;
    let first =
        usize::try_from(offset.next_multiple_of(unit) - offset).unwrap_or(usize::MAX).min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    let mut parts = Vec::new();
    let mut at = 0;
    let mut from = 0;
    for block in std::iter::once(head).chain(rest.chunks(HOLE_UNIT)) {
        if block.len() == HOLE_UNIT && block.iter().all(|byte| *byte == 0) {
            parts.push((from, at));
            from = at + block.len();
        }
        at += block.len();
    }
    parts.push((from, at));
    let filled = parts.into_iter().filter(|(from, to)| from < to);
    filled.filter_map(|(from, to)| Some((from as u64, bytes.get(from..to)?))).collect()
}

/// Moves what would be taken for part of a database out of its way, to a name that is free.
fn move_asides(work: &Work<'_>, job: &Job) -> Result<()> {
    let parent = job.path.parent().unwrap_or_else(StoredPath::root);
    for sidecar in &job.asides {
        for number in 1..=MOST_ASIDES {
            let suffix =
                if number == 1 { ".before-restore".to_owned() } else { format!(".before-restore-{number}") };
            let new = [sidecar.as_slice(), suffix.as_bytes()].concat();
            let path = parent.join(sidecar);
            match rename_new(&job.folder, sidecar, &new) {
                Err(Errno::NOENT) => {}
                Err(Errno::EXIST) if number < MOST_ASIDES => continue,
                Err(e) => return Err(failed("move out of the way", &path)(e.into())),
                Ok(()) => {
                    let to = parent.join(&new);
                    let message = format!(
                        "Moved out of the way of the restored database, which it would have been taken for a part \
                         of: it is now {to}"
                    );
                    work.warn(WarningKind::MovedAside, Some(&path), message);
                    work.moved_aside(to);
                }
            }
            break;
        }
    }
    Ok(())
}

/// Gives an entry its name.
pub(super) fn put(
    work: &Work<'_>,
    temporary: Temporary<'_>,
    decision: Decision,
    folder: &SourceDir,
    node: &Node,
    path: &StoredPath,
) -> Result<()> {
    if decision == Decision::Make {
        return temporary.name_new(&node.name, path);
    }
    // Looked at once more: only a folder needs to be cleared away, everything else is replaced in one step.
    if folder.stat_of(&node.name).is_ok_and(|found| found.kind == crate::model::NodeKind::Dir) {
        clear(work, folder, node, path)?;
        temporary.name_new(&node.name, path)?;
    } else {
        temporary.name_over(&node.name, path)?;
    }
    count(&work.counts.overwritten);
    Ok(())
}

/// Removes what stands in the way of an entry.
pub(super) fn clear(work: &Work<'_>, folder: &SourceDir, node: &Node, path: &StoredPath) -> Result<()> {
    let found = folder.stat_of(&node.name).map_err(failed("look at", path))?;
    let removed = |result: rustix::io::Result<()>| result.map_err(|e| failed("remove", path)(e.into()));
    if found.kind != crate::model::NodeKind::Dir {
        return removed(unlinkat(folder, node.name.as_slice(), AtFlags::empty()));
    }
    if !work.plan.options.delete {
        return match unlinkat(folder, node.name.as_slice(), AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Error::new(Kind::AlreadyThere, "replace", path)
                .because("a folder is there that is not empty, and nothing is to be deleted")),
            other => removed(other),
        };
    }
    let tell = |path: &StoredPath, error| work.not_removed(path, &error);
    let done = remove(&work.guard(), folder, (&node.name, &found), path, true, &Act::Remove(&tell))?;
    work.counts.deleted.fetch_add(done.entries, std::sync::atomic::Ordering::Relaxed);
    if done.spared > 0 {
        return Err(Error::new(Kind::AlreadyThere, "replace", path)
            .because("a folder is there that holds what must not be deleted"));
    }
    Ok(())
}

/// Makes a further name of a file. False if the file system cannot.
pub(super) fn link(work: &Work<'_>, from: (&SourceDir, &[u8]), to: &Job) -> Result<bool> {
    let (from, from_name) = from;
    let Job { folder, node, path, decision, .. } = to;
    check_name(&node.name, path)?;
    if *decision == Decision::Make {
        return match rustix::fs::linkat(from, from_name, folder, node.name.as_slice(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(e @ (Errno::EXIST | Errno::NOSPC | Errno::DQUOT)) => Err(occupied(e, path)),
            Err(_) => Ok(false),
        };
    }
    let number = |folder: &SourceDir, name| folder.stat_of(name).ok().map(|stat| stat.identity());
    let first = number(from, from_name);
    if first.is_some() && first == number(folder, &node.name) {
        return Ok(true);
    }
    let made = work
        .names
        .make(folder.as_fd(), |name| rustix::fs::linkat(from, from_name, folder, name, AtFlags::empty()));
    match made {
        Ok((temporary, ())) => put(work, temporary, *decision, folder, node, path).map(|()| true),
        Err(e) if e.kind() == std::io::ErrorKind::StorageFull => Err(failed("write", path)(e)),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_aligned_blocks_of_zeroes_are_left_out() {
        let parts = |bytes: &[u8], offset| {
            without_zeroes(bytes, offset).into_iter().map(|(at, part)| (at, part.len())).collect::<Vec<_>>()
        };
        let mut bytes = vec![0; 5 * HOLE_UNIT];
        assert_eq!(parts(&bytes, 0), []);
        assert_eq!(parts(&bytes, 1), [(0, HOLE_UNIT - 1), (5 * HOLE_UNIT as u64 - 1, 1)]);
        bytes[2 * HOLE_UNIT] = 1;
        assert_eq!(parts(&bytes, 0), [(2 * HOLE_UNIT as u64, HOLE_UNIT)]);
        assert_eq!(parts(&bytes[..100], 0), [(0, 100)]);
        assert_eq!(parts(&[1; 9000], 4096), [(0, 9000)]);
        assert_eq!(parts(&[], 7), []);
    }
}
