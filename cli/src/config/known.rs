//! Which repositories were ever made here: `known-repositories` in the configuration folder.
//!
//! A repository that was made here and is missing now is most likely on a disk that is not connected; making a new one
//! in its place would hide that. One line each: the id, a space, the path (bytes that are no printable ASCII, and
//! `%`, as `%` and two hexadecimal digits). Lines are only added.

use crate::config::private_file;
use crate::output::error::{Failure, Result};
use crate::output::human;
use chatvault_engine::base::RepoId;
use chatvault_engine::base::id::from_hex;
use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const NAME: &str = "known-repositories";
/// Longest list that is read, in bytes: some thousand repositories.
const MAX_LEN: u64 = 1 << 20;

/// The id of the repository that was last made at this path; none if none ever was.
pub(crate) fn find(config: &Path, repository: &Path) -> Result<Option<RepoId>> {
    let list = read(&config.join(NAME))?;
    Ok(list.into_iter().rev().find(|(_, path)| path == repository).map(|(id, _)| id))
}

/// Remembers a repository, if it is not known yet. Durable when this returns.
pub(crate) fn remember(config: &Path, repository: &Path, id: RepoId) -> Result<()> {
    if find(config, repository)? == Some(id) {
        return Ok(());
    }
    private_file::create_folder(config)?;
    let path = config.join(NAME);
    let line = format!("{id} {}\n", escape(repository.as_os_str().as_bytes()));
    // One write in append mode: two programs at once add two whole lines.
    private_file::open_to_append(&path)
        .and_then(|mut file| {
            file.write_all(line.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| private_file::sync_parent(&path))
        .map_err(|cause| Failure::io("write", human::shown(&path), cause))
}

/// All lines that can be understood.
fn read(path: &Path) -> Result<Vec<(RepoId, PathBuf)>> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_LEN).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text.lines().filter_map(parse).collect()),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(Failure::io("read", human::shown(path), cause)),
    }
}

fn parse(line: &str) -> Option<(RepoId, PathBuf)> {
    let (id, path) = line.split_once(' ')?;
    Some((RepoId::from_hex(id)?, PathBuf::from(OsString::from_vec(unescape(path)?))))
}

fn escape(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len()), |mut text, byte| {
        if matches!(byte, b' '..=b'~') && *byte != b'%' {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
        text
    })
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.extend(from_hex(digits)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn what_was_remembered_is_found_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("new/config");
        let path = |bytes: &'static [u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let (a, b) = (RepoId::new([1; 32]), RepoId::new([2; 32]));
        assert_eq!(find(&config, &path(b"/r")).unwrap(), None);
        for _ in 0..3 {
            remember(&config, &path(b"/r"), a).unwrap();
            remember(&config, &path(b"/odd %41\n\xff \xc3\xa9"), b).unwrap();
        }
        assert_eq!(find(&config, &path(b"/r")).unwrap(), Some(a));
        assert_eq!(find(&config, &path(b"/odd %41\n\xff \xc3\xa9")).unwrap(), Some(b));
        assert_eq!(std::fs::read_to_string(config.join(NAME)).unwrap().lines().count(), 2);
    }

    #[test]
    fn the_last_repository_at_a_path_counts_and_torn_lines_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (RepoId::new([1; 32]), RepoId::new([2; 32]));
        std::fs::write(folder.path().join(NAME), format!("{a} /r\nnonsense\n{b} /r\n{a} /%4\n{a}")).unwrap();
        assert_eq!(find(folder.path(), Path::new("/r")).unwrap(), Some(b));
        assert_eq!(read(&folder.path().join(NAME)).unwrap().len(), 2);
    }
}
