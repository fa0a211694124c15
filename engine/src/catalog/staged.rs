//! L3: rows of a source's memory that wait for their snapshot to be committed. A first snapshot of a million files has
//! some 200 MB of them: beyond a few MB they go to a nameless file in the catalog's folder, which vanishes with the run.

use super::Catalog;
use crate::base::StoredPath;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes of rows that are kept in memory.
const IN_MEMORY: usize = 8 << 20;

/// Changed rows of one source, in any order.
#[derive(Debug, Default)]
pub struct Staged {
    rows: Vec<(StoredPath, Vec<u8>)>,
    bytes: usize,
    file: Option<BufWriter<File>>,
    /// True once rows could not be kept: then the whole memory is worth nothing.
    lost: bool,
    /// False where there is no folder for the file: all rows stay in memory then.
    may_spill: bool,
}

impl From<Vec<(StoredPath, Vec<u8>)>> for Staged {
    fn from(rows: Vec<(StoredPath, Vec<u8>)>) -> Self {
        Self { rows, ..Self::default() }
    }
}

impl Staged {
    /// Takes a row.
    pub fn push(&mut self, folder: StoredPath, row: Vec<u8>) {
        if self.lost {
            return;
        }
        self.bytes += folder.as_bytes().len() + row.len() + 64;
        self.rows.push((folder, row));
        if self.bytes > IN_MEMORY && self.may_spill {
            self.spill();
        }
    }

    /// True if a row was lost, so that what is staged says nothing of the snapshot.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    fn spill(&mut self) {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        let Some(file) = &mut self.file else {
            self.lost = true;
            return;
        };
        let written = rows.iter().try_for_each(|(folder, row)| {
            for part in [folder.as_bytes(), row] {
                let len = u32::try_from(part.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
                file.write_all(&len.to_le_bytes())?;
                file.write_all(part)?;
            }
            Ok::<(), io::Error>(())
        });
        if written.is_err() {
            self.lost = true;
            self.file = None;
        }
    }

    /// Hands out all rows, the spilled ones first.
    pub(super) fn drain<E: From<io::Error>>(
        self,
        mut each: impl FnMut(StoredPath, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(writer) = self.file {
            let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            let end = file.stream_position()?;
            file.seek(SeekFrom::Start(0))?;
            let mut reader = BufReader::with_capacity(1 << 20, file);
            let mut at = 0;
            while at < end {
                let folder = read_part(&mut reader, &mut at)?;
                let row = read_part(&mut reader, &mut at)?;
                let folder = StoredPath::parse(&folder)
                    .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a path that is none"))?;
                each(folder, row)?;
            }
        }
        self.rows.into_iter().try_for_each(|(folder, row)| each(folder, row))
    }
}

fn read_part(reader: &mut impl Read, at: &mut u64) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    reader.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len);
    *at += 4 + u64::from(len);
    let mut part = Vec::new();
    reader.take(len.into()).read_to_end(&mut part)?;
    if part.len() as u64 == u64::from(len) { Ok(part) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

impl Catalog {
    /// Room for changed rows until [`Self::memory_commit`].
    #[must_use]
    pub fn staged(&self) -> Staged {
        let file = self.home.as_ref().and_then(|home| nameless_file(home.dir()).ok());
        Staged { may_spill: file.is_some(), file: file.map(BufWriter::new), ..Staged::default() }
    }
}

/// A file of nobody's name: where the file system has none, it is made under one that is removed at once.
fn nameless_file(dir: &Path) -> io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let folder = File::open(dir)?;
    if let Ok(fd) = openat(&folder, c".", flags | OFlags::TMPFILE, mode) {
        return Ok(File::from(fd));
    }
    let name = format!("staged-{}", std::process::id());
    let fd = openat(&folder, name.as_str(), flags | OFlags::CREATE | OFlags::EXCL, mode)?;
    unlinkat(&folder, name.as_str(), AtFlags::empty())?;
    Ok(File::from(fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(staged: Staged) -> Vec<(StoredPath, Vec<u8>)> {
        let mut rows = Vec::new();
        staged
            .drain(|folder, row| {
                rows.push((folder, row));
                Ok::<(), io::Error>(())
            })
            .unwrap();
        rows
    }

    #[test]
    fn rows_come_back_whether_they_fitted_into_memory_or_not() {
        let dir = tempfile::tempdir().unwrap();
        for rows in [3_usize, 3000] {
            let file = nameless_file(dir.path()).unwrap();
            let mut staged =
                Staged { may_spill: true, file: Some(BufWriter::new(file)), ..Staged::default() };
            let wanted: Vec<_> = (0..rows)
                .map(|n| {
                    (StoredPath::parse(format!("/f/{n}").as_bytes()).unwrap(), vec![n as u8; 4000 + n % 7])
                })
                .collect();
            wanted.iter().cloned().for_each(|(folder, row)| staged.push(folder, row));
            assert_eq!(staged.rows.len() < rows, rows > 2000, "spilled");
            assert!(!staged.is_lost());
            assert_eq!(all(staged), wanted);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn rows_that_cannot_be_kept_make_the_whole_lost() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut staged = Staged { may_spill: true, file: Some(BufWriter::new(full)), ..Staged::default() };
        for n in 0..3000 {
            staged.push(StoredPath::root().join(&[b'a' + n as u8 % 20]), vec![0; 4000]);
        }
        assert!(staged.is_lost() && staged.rows.is_empty());
    }
}
