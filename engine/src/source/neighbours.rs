//! What lies beside a database, for capturing it.

use super::SourceDir;
use crate::sqlite::capture::{Beside, Sidecar};
use std::io;
use std::os::fd::OwnedFd;

/// The sidecars of a database, by its folder and name.
#[derive(Debug)]
pub struct Neighbours<'t> {
    /// The folder.
    pub dir: &'t SourceDir,
    /// The database's name.
    pub name: &'t [u8],
}

impl Neighbours<'_> {
    /// True if there is such a file and it is not empty.
    #[must_use]
    pub fn has_bytes(&self, sidecar: Sidecar) -> bool {
        self.dir.stat_of(&sidecar.beside(self.name)).is_ok_and(|stat| stat.size > 0)
    }
}

impl Beside for Neighbours<'_> {
    fn open(&self, sidecar: Sidecar) -> io::Result<Option<OwnedFd>> {
        match self.dir.open_file(&sidecar.beside(self.name)) {
            Ok(file) => Ok(Some(file.into())),
            // There is none, or it is no regular file: then it is none of SQLite's.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn identity(&self, sidecar: Option<Sidecar>) -> io::Result<Option<(u64, u64)>> {
        let name = sidecar.map_or_else(|| self.name.to_vec(), |sidecar| sidecar.beside(self.name));
        match self.dir.stat_of(&name) {
            Ok(stat) => Ok(Some((stat.dev, stat.ino))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}
