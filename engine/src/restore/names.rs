//! File systems that take two names for one: `IMG.jpg` and `img.jpg` on most cards and sticks, the two spellings of `é`
//! elsewhere. Of the stored names that such a folder takes for the same one, only the first can be restored: what is found
//! under the others has just been written by this very restore.

use crate::source::{SourceDir, Stat};
use rustix::fs::fstatfs;
use std::collections::HashMap;
use std::io;

/// What `statfs` says of file systems in user space, some of which number a file anew for each of its names.
const FUSE: u64 = 0x6573_5546;

/// Which names of one folder stand for the same entry, as far as that had to be found out.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// Whether the folder tells upper from lower case, once that is known.
    tells_case: Option<bool>,
    siblings: Option<Siblings>,
}

/// The names that are restored into one folder.
#[derive(Debug, Default)]
pub(super) struct Siblings {
    /// The first of those that are the same but for their case.
    first: HashMap<Vec<u8>, Vec<u8>>,
    /// Those with other letters than ASCII, by what of them no spelling changes.
    outlined: HashMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl Siblings {
    /// Adds a name; names come in ascending order.
    pub(super) fn add(&mut self, name: &[u8]) {
        self.first.entry(folded(name)).or_insert_with(|| name.to_vec());
        if !name.is_ascii() {
            self.outlined.entry(outline(name)).or_default().push(name.to_vec());
        }
    }
}

impl Twins {
    /// True if what was found under a name is that of a sibling before it. Costs one look-up in a folder that tells case
    /// apart, and nothing from then on; `load` lists the siblings where that matters.
    pub(super) fn is_of_another<E: From<io::Error>>(
        &mut self,
        folder: &SourceDir,
        name: &[u8],
        found: &Stat,
        load: impl FnOnce() -> Result<Siblings, E>,
    ) -> Result<bool, E> {
        let tells_case = match self.tells_case {
            Some(known) => known,
            None => self.find_out(folder, name, found)?,
        };
        if tells_case && name.is_ascii() {
            return Ok(false);
        }
        if self.siblings.is_none() {
            self.siblings = Some(load()?);
        }
        let Some(siblings) = &self.siblings else { return Ok(false) };
        let before = |other: &&Vec<u8>| other.as_slice() < name;
        if !tells_case && siblings.first.get(&folded(name)).filter(before).is_some() {
            return Ok(true);
        }
        if name.is_ascii() || found.nlink > 1 {
            return Ok(false);
        }
        let mates = siblings.outlined.get(&outline(name)).into_iter().flatten().filter(before);
        Ok(mates
            .map(|mate| folder.stat_of(mate))
            .any(|mate| mate.is_ok_and(|mate| is_same(folder, &mate, found))))
    }

    /// Whether the folder tells case apart, from one entry of it. A name without letters says nothing of others.
    fn find_out(&mut self, folder: &SourceDir, name: &[u8], found: &Stat) -> io::Result<bool> {
        let Some(at) = name.iter().position(u8::is_ascii_alphabetic) else { return Ok(true) };
        let tells_case = match folder.stat_of(&swapped(name, at)) {
            Ok(other) => !is_same(folder, &other, found),
            Err(e) if e.kind() == io::ErrorKind::NotFound => true,
            Err(e) => return Err(e),
        };
        self.tells_case = Some(tells_case);
        Ok(tells_case)
    }
}

/// True for one entry under two names. Hard links are two: of those one of each kind of look-up is enough.
fn is_same(folder: &SourceDir, one: &Stat, other: &Stat) -> bool {
    let looks_the_same = || (one.size, one.mtime, one.ctime) == (other.size, other.mtime, other.ctime);
    let is_in_user_space = || fstatfs(folder).is_ok_and(|found| u64::try_from(found.f_type) == Ok(FUSE));
    let is_one = one.identity() == other.identity() && one.nlink == 1;
    is_one || (one.dev == other.dev && looks_the_same() && is_in_user_space())
}

/// A name with one letter in the other case.
fn swapped(name: &[u8], at: usize) -> Vec<u8> {
    let mut other = name.to_vec();
    if let Some(letter) = other.get_mut(at) {
        *letter ^= 0x20;
    }
    other
}

/// A name in which case makes no difference.
fn folded(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) => text.to_lowercase().into_bytes(),
        Err(_) => name.to_ascii_lowercase(),
    }
}

/// What of a name is the same in all its spellings: everything in ASCII but letters, which may stand with an accent or
/// be one with it.
fn outline(name: &[u8]) -> Vec<u8> {
    name.iter().copied().filter(|byte| byte.is_ascii() && !byte.is_ascii_alphabetic()).collect()
}

/// True if a folder lists this very name.
pub(super) fn is_listed(folder: &SourceDir, name: &[u8]) -> bool {
    folder.names().is_ok_and(|names| names.iter().any(|listed| listed == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn where_case_is_told_apart_every_name_has_its_own_entry() {
        let temp = tempfile::tempdir().unwrap();
        let names = ["A", "E\u{301}", "a", "e\u{301}", "\u{c9}", "1"];
        for name in names {
            fs::write(temp.path().join(name), name).unwrap();
        }
        let folder = SourceDir::open(temp.path()).unwrap();
        let mut twins = Twins::default();
        for name in names {
            let found = folder.stat_of(name.as_bytes()).unwrap();
            let load = || {
                let mut siblings = Siblings::default();
                let mut sorted = names;
                sorted.sort_unstable();
                sorted.iter().for_each(|name| siblings.add(name.as_bytes()));
                Ok::<_, io::Error>(siblings)
            };
            assert!(!twins.is_of_another(&folder, name.as_bytes(), &found, load).unwrap(), "{name}");
        }
    }

    #[test]
    fn spellings_of_one_name_have_one_outline_and_cases_of_it_one_fold() {
        assert_eq!(outline("caf\u{e9} 1.jpg".as_bytes()), outline("cafe\u{301} 1.jpg".as_bytes()));
        assert_eq!(folded("\u{c4}.JPG".as_bytes()), folded("\u{e4}.jpg".as_bytes()));
        assert_eq!((swapped(b"iMG", 0), folded(b"\xffA")), (b"IMG".to_vec(), b"\xffa".to_vec()));
    }
}
