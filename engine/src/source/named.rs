//! What a person named as a source: a link at its end is followed, links below it never are.

use super::{SourceDir, Stat, check_name};
use crate::model::NodeKind;
use crate::sqlite::capture::Sidecar;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A source that is there.
#[derive(Debug)]
pub struct Named {
    /// The folder that it lies in. Where the source is a link, this is the folder of what the link leads to, and knows
    /// that under the link's name.
    pub dir: SourceDir,
    /// Its metadata, or those of what it leads to.
    pub stat: Stat,
    /// What it leads to, if it is a link to a folder or a regular file.
    pub leads_to: Option<PathBuf>,
}

impl Named {
    /// Looks at an absolute path that is not `/`. A link to anything but a folder or a regular file stays a link.
    ///
    /// # Errors
    /// Those of the system; a link that leads nowhere is `NotFound`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let dir = SourceDir::open(path.parent().unwrap_or(Path::new("/")))?;
        let stat = dir.stat_of(name)?;
        if stat.kind != NodeKind::Symlink {
            return Ok(Self { dir, stat, leads_to: None });
        }
        let target = std::fs::canonicalize(path)?;
        let above = SourceDir::open(target.parent().unwrap_or(Path::new("/")))?;
        let there = target.file_name().unwrap_or(OsStr::new(".")).as_bytes();
        let above = above.under_the_name(name, there);
        let followed = above.stat_of(name)?;
        if !matches!(followed.kind, NodeKind::Dir | NodeKind::File) {
            return Ok(Self { dir, stat, leads_to: None });
        }
        Ok(Self { dir: above, stat: followed, leads_to: Some(target) })
    }
}

/// One entry of a folder, and its sidecars, under another name.
#[derive(Clone, Debug)]
pub(super) struct Alias {
    name: Vec<u8>,
    there: Vec<u8>,
}

impl Alias {
    pub(super) fn new(name: &[u8], there: &[u8]) -> Self {
        Self { name: name.to_vec(), there: there.to_vec() }
    }

    /// The name that an entry has in the file system.
    fn there<'n>(&'n self, name: &'n [u8]) -> Cow<'n, [u8]> {
        if name == self.name {
            return Cow::Borrowed(&self.there);
        }
        match Sidecar::main_of(name) {
            Some((main, sidecar)) if main == self.name => Cow::Owned(sidecar.beside(&self.there)),
            _ => Cow::Borrowed(name),
        }
    }
}

/// The name that an entry has in the file system, if it is a single name.
pub(super) fn there<'n>(alias: Option<&'n Alias>, name: &'n [u8]) -> io::Result<Cow<'n, [u8]>> {
    check_name(name)?;
    Ok(alias.map_or(Cow::Borrowed(name), |alias| alias.there(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_to_folders_and_files_are_followed_and_the_rest_is_what_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("sd/folder")).unwrap();
        fs::write(root.join("sd/chats.db"), "main").unwrap();
        fs::write(root.join("sd/chats.db-wal"), "log").unwrap();
        for (link, target) in [
            ("to_folder", "sd/folder"),
            ("twice", "to_folder"),
            ("to_file", "sd/chats.db"),
            ("to_root", "/"),
            ("to_device", "/dev/null"),
            ("nowhere", "gone"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let open = |name: &str| Named::open(&root.join(name));
        for (name, kind, leads_to) in [
            ("sd", NodeKind::Dir, None),
            ("to_folder", NodeKind::Dir, Some(root.join("sd/folder"))),
            ("twice", NodeKind::Dir, Some(root.join("sd/folder"))),
            ("to_file", NodeKind::File, Some(root.join("sd/chats.db"))),
            ("to_root", NodeKind::Dir, Some("/".into())),
            ("to_device", NodeKind::Symlink, None),
        ] {
            let named = open(name).unwrap();
            assert_eq!((named.stat.kind, named.leads_to), (kind, leads_to), "{name}");
        }
        assert_eq!(open("nowhere").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(open("gone").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(open("to_root").unwrap().dir.open_dir(b"to_root").unwrap().open_dir(b"proc").is_ok());
        let named = open("to_file").unwrap();
        for (name, content) in [("to_file", "main"), ("to_file-wal", "log")] {
            let file = named.dir.open_file(name.as_bytes()).unwrap();
            let mut read = String::new();
            file.reader(0, 99).read_to_string(&mut read).unwrap();
            assert_eq!(read, content);
            assert!(named.dir.try_clone().unwrap().stat_of(name.as_bytes()).is_ok());
        }
        assert!(named.dir.stat_of(b"to_file-journal").is_err());
    }
}
