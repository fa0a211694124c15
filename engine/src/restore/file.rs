//! One file: under a temporary name, checked as a whole, then renamed. Whatever fails, no part of it stays, and what was
//! there before is still there.

use super::create::has_come;
use super::decide::{look, same_content};
use super::metadata::{Replaced, Setter, Unset};
use super::target::failed;
use super::temporary::{Temporary, occupied, rename_new};
use super::work::{Job, Work, count};
use super::{ASIDE, Action, kept};
use crate::base::past_cache::{InOrder, LEAST};
use crate::base::{Counter, Error, Kind, Result, StoredPath, WarningKind, Whose};
use crate::browse::Piece;
use crate::model::{BlobKind, Node, NodeKind};
use crate::source::{SourceDir, Stat};
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
    if is_there(work, job)? {
        Moved::aside(work, job, false)?.tell();
        return stays(work, job);
    }
    if job.action != Action::Make && !job.may_replace {
        return Err(occupied(Errno::EXIST, path));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (temporary, file) = work
        .names
        .make(folder.as_fd(), |name| openat(folder, name, flags, Mode::from_raw_mode(0o600)).map(File::from))
        .map_err(failed("write", path))?;
    write_content(work, &file, node, path)?;
    let replaced = if job.action == Action::Make { None } else { Replaced::of(folder, node) };
    let unset = work.setter.set(&file, node, replaced.as_ref());
    let discards = discards(work, folder, node, path, job.action)?;
    // The sidecars go first: whatever ends the run between the two leaves the old database beside sidecars that are told
    // by their names, and never the new one with sidecars of another state, which SQLite would lay over it. They are put
    // back if the new database cannot get its name.
    let moved = Moved::aside(work, job, true)?;
    match moved.keep_if(put(work, temporary, job.action, folder, node, path)) {
        Ok(()) => {}
        Err(e) if e.kind() == Kind::AlreadyThere && has_come(work, folder, node, path) => {
            return stays(work, job);
        }
        Err(e) => return Err(e),
    }
    if discards {
        work.discarded(path);
    }
    work.not_set(path, unset);
    count(&work.counts.files);
    work.counts.bytes.fetch_add(node.size, std::sync::atomic::Ordering::Relaxed);
    Ok(())
}

/// The file is there as it was stored.
fn stays(work: &Work<'_>, job: &Job) -> Result<()> {
    count(&work.counts.unchanged);
    work.observer.add(Counter::Bytes, job.node.size);
    Ok(())
}

/// True if the file that is there has the stored content. It is not touched, unless owners are to be given and it has
/// others.
fn is_there(work: &Work<'_>, job: &Job) -> Result<bool> {
    let Job { folder, node, path, .. } = job;
    let is_same = match job.action {
        Action::Leave => true,
        Action::Compare => has_content(work, folder, node, path)?,
        _ => return Ok(false),
    };
    let has_others = is_same && Setter::has_other_attributes(folder, node);
    let is_to_change =
        |found: &Stat| work.setter.differs(found, node) || (work.setter.gives_owners() && has_others);
    let Some(found) = job.found.filter(|found| is_same && is_to_change(found)) else {
        if has_others {
            let why = std::io::Error::other("left as they are");
            work.not_set(path, vec![(Unset::LeftAttributes, why)]);
        }
        return Ok(is_same);
    };
    // Of several names not all need be ours: none of them gets an owner with this one.
    if found.nlink > 1 {
        return Ok(false);
    }
    let Ok(file) = folder.open_file(&node.name) else { return Ok(false) };
    work.not_set(path, work.setter.set(&file, node, None));
    Ok(true)
}

/// True if the file that is there can be read and has the stored content.
pub(super) fn has_content(
    work: &Work<'_>,
    folder: &SourceDir,
    node: &Node,
    path: &StoredPath,
) -> Result<bool> {
    // What we may not read, or what has changed its kind meanwhile, gives way.
    let Ok(file) = folder.open_file(&node.name) else { return Ok(false) };
    same_content(&file, node, work.repo.id_key(BlobKind::Data), path, &work.stop)
}

/// True if an entry is about to take the place of something that is in no snapshot.
pub(super) fn discards(
    work: &Work<'_>,
    folder: &SourceDir,
    node: &Node,
    path: &StoredPath,
    action: Action,
) -> Result<bool> {
    if action == Action::Make {
        return Ok(false);
    }
    match look(folder, &node.name).map_err(failed("look at", path))? {
        Some(stat) => work.discards(&kept::Entry { folder, name: &node.name, stat: &stat, path }),
        None => Ok(false),
    }
}

fn write_content(work: &Work<'_>, file: &File, node: &Node, path: &StoredPath) -> Result<()> {
    let mut offset = 0u64;
    let mut written = 0u64;
    let sparse = work.plan.options.sparse;
    let write = |bytes: &[u8], at: u64| file.write_all_at(bytes, at).map_err(failed("write", path));
    // Up to the first hole.
    let mut in_order = (!sparse && node.size >= LEAST as u64).then(|| InOrder::new(file));
    let read = work.reader.for_each_piece(node, &work.stop, &mut |piece| {
        let len = match piece {
            Piece::Hole(len) => {
                in_order.take().map_or(Ok(()), InOrder::finish).map_err(failed("write", path))?;
                len
            }
            Piece::Data(bytes) => {
                if sparse {
                    for (at, part) in without_zeroes(&bytes, offset) {
                        write(part, offset + at)?;
                        written = offset + at + part.len() as u64;
                    }
                } else {
                    match &mut in_order {
                        Some(in_order) => in_order.write(&bytes).map_err(failed("write", path))?,
                        None => write(&bytes, offset)?,
                    }
                    written = offset + bytes.len() as u64;
                }
                bytes.len() as u64
            }
        };
        offset = offset.saturating_add(len);
        work.observer.add(Counter::Bytes, len);
        Ok(())
    });
    // What failed on the target says so itself.
    read.map_err(|e| e.of(Whose::Repository))?;
    in_order.map_or(Ok(()), InOrder::finish).map_err(failed("write", path))?;
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

/// What was moved out of the way of a database, to names that were free.
struct Moved<'j, 'a> {
    work: &'j Work<'a>,
    job: &'j Job,
    /// Old and new names.
    names: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<'j, 'a> Moved<'j, 'a> {
    /// Moves what would be taken for part of a database out of its way: also what is restored later, if the database
    /// becomes another one.
    fn aside(work: &'j Work<'a>, job: &'j Job, is_other: bool) -> Result<Self> {
        let mut moved = Self { work, job, names: Vec::new() };
        for aside in job.asides.iter().filter(|aside| is_other || !aside.is_restored) {
            if let Err(e) = moved.one(&aside.name) {
                moved.back();
                return Err(e);
            }
        }
        Ok(moved)
    }

    fn one(&mut self, sidecar: &[u8]) -> Result<()> {
        for number in 1..=MOST_ASIDES {
            let number_text = if number == 1 { String::new() } else { format!("-{number}") };
            let new = [sidecar, ASIDE.as_bytes(), number_text.as_bytes()].concat();
            match rename_new(&self.job.folder, sidecar, &new) {
                Err(Errno::NOENT) => {}
                Err(Errno::EXIST) if number < MOST_ASIDES => continue,
                Err(e) => return Err(failed("move out of the way", &self.path(sidecar))(e.into())),
                Ok(()) => self.names.push((sidecar.to_vec(), new)),
            }
            break;
        }
        Ok(())
    }

    fn path(&self, name: &[u8]) -> StoredPath {
        self.job.path.parent().unwrap_or_else(StoredPath::root).join(name)
    }

    /// Hands on how the database got its name, or did not: then its sidecars are its own again.
    fn keep_if<T, E>(self, named: std::result::Result<T, E>) -> std::result::Result<T, E> {
        match &named {
            Ok(_) => self.tell(),
            Err(_) => self.back(),
        }
        named
    }

    /// Puts everything back; what cannot be put back is told, as moved.
    fn back(mut self) {
        let folder = &self.job.folder;
        self.names.retain(|(old, new)| rename_new(folder, new, old).is_err());
        self.tell();
    }

    fn tell(self) {
        for (old, new) in &self.names {
            let (path, to) = (self.path(old), self.path(new));
            let message = format!(
                "Moved out of the way of the restored database, which it would have been taken for a part of: it is \
                 now {to}"
            );
            self.work.warn(WarningKind::MovedAside, Some(&path), message);
            self.work.moved_aside(path);
            self.work.moved_aside(to);
        }
    }
}

/// Moves what stands at the place of a sidecar out of the way of its database: the stored sidecar could not be restored,
/// and what is there belongs to another state.
pub(super) fn move_stale(work: &Work<'_>, job: &Job) -> Result<()> {
    let mut moved = Moved { work, job, names: Vec::new() };
    moved.one(&job.node.name)?;
    moved.tell();
    Ok(())
}

/// Gives an entry its name.
pub(super) fn put(
    work: &Work<'_>,
    temporary: Temporary<'_>,
    action: Action,
    folder: &SourceDir,
    node: &Node,
    path: &StoredPath,
) -> Result<()> {
    if action == Action::Make {
        return temporary.name_new(&node.name, path);
    }
    // Looked at once more: only a folder needs to be cleared away, everything else is replaced in one step.
    if folder.stat_of(&node.name).is_ok_and(|found| found.kind == NodeKind::Dir) {
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
    if found.kind != NodeKind::Dir {
        let discards = discards(work, folder, node, path, Action::Overwrite)?;
        removed(unlinkat(folder, node.name.as_slice(), AtFlags::empty()))?;
        if discards {
            work.discarded(path);
        }
        return Ok(());
    }
    if !work.plan.options.delete {
        return match unlinkat(folder, node.name.as_slice(), AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Error::new(Kind::AlreadyThere, "replace", path)
                .because("a folder is there that is not empty, and nothing is to be deleted")),
            other => removed(other),
        };
    }
    let done = work.remove(folder, (&node.name, &found), path, true)?;
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
    let Job { folder, node, path, action, .. } = to;
    if *action == Action::Make {
        let moved = Moved::aside(work, to, true)?;
        let made = rustix::fs::linkat(from, from_name, folder, node.name.as_slice(), AtFlags::empty());
        return match moved.keep_if(made) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) if has_come(work, folder, node, path) => Ok(true),
            Err(e @ (Errno::EXIST | Errno::NOSPC | Errno::DQUOT)) => Err(occupied(e, path)),
            Err(_) => Ok(false),
        };
    }
    let number = |folder: &SourceDir, name| folder.stat_of(name).ok().map(|stat| stat.identity());
    let first = number(from, from_name);
    if first.is_some() && first == number(folder, &node.name) {
        Moved::aside(work, to, false)?.tell();
        return Ok(true);
    }
    if !to.may_replace {
        return Err(occupied(Errno::EXIST, path));
    }
    let discards = discards(work, folder, node, path, *action)?;
    let made = work
        .names
        .make(folder.as_fd(), |name| rustix::fs::linkat(from, from_name, folder, name, AtFlags::empty()));
    match made {
        Ok((temporary, ())) => {
            let moved = Moved::aside(work, to, true)?;
            moved.keep_if(put(work, temporary, *action, folder, node, path))?;
            if discards {
                work.discarded(path);
            }
            Ok(true)
        }
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
