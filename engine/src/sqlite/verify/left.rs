//! The names of private copies, and what is left of one if the program was killed in the moment in which it had a name: an
//! empty file.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How the names begin; sixteen hexadecimal digits follow.
const START: &[u8] = b"check-";
/// No living program leaves a copy its name for so long.
const LEFT: Duration = Duration::from_hours(1);

/// A name that nobody else uses.
pub(super) fn new_name() -> String {
    // The keys of the standard library's hash tables are random.
    format!("check-{:016x}", RandomState::new().build_hasher().finish())
}

/// Removes what killed programs of the same user left beside the copy that was just made. By that one's time, so that only
/// the clock of the file system counts. What cannot be removed does no harm.
pub(super) fn remove(dir: &Path, made: &File) {
    let Ok(made) = made.metadata() else { return };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if is_name(entry.file_name().as_bytes()) && entry.metadata().is_ok_and(|found| is_left(&found, &made))
        {
            let _harmless = fs::remove_file(entry.path());
        }
    }
}

fn is_name(name: &[u8]) -> bool {
    let digits = name.strip_prefix(START);
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

fn is_left(found: &Metadata, made: &Metadata) -> bool {
    let age = made.modified().ok().zip(found.modified().ok());
    let age = age.and_then(|(made, found)| made.duration_since(found).ok());
    found.is_file() && found.len() == 0 && found.uid() == made.uid() && age.is_some_and(|age| age > LEFT)
}

#[cfg(test)]
mod tests {
    use super::super::PrivateCopy;
    use super::*;

    #[test]
    fn what_a_killed_program_left_is_removed_by_the_next_copy_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let now = fs::metadata(dir.path()).unwrap().modified().unwrap();
        let old = now - 2 * LEFT;
        for (name, content, time) in [
            (new_name(), "", old),
            ("check-0123456789abcdef".to_owned(), "", old),
            ("check-1123456789abcdef".to_owned(), "", now),
            ("check-2123456789abcdef".to_owned(), "somebody's", old),
            ("check-3123456789abcdeg".to_owned(), "", old),
            ("check-4".to_owned(), "", old),
            ("other".to_owned(), "", old),
        ] {
            fs::write(dir.path().join(&name), content).unwrap();
            File::options().write(true).open(dir.path().join(name)).unwrap().set_modified(time).unwrap();
        }
        fs::create_dir(dir.path().join("check-5123456789abcdef")).unwrap();
        let copy = PrivateCopy::new_in(dir.path());
        let left = fs::read_dir(dir.path()).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(
            left,
            [
                "check-1123456789abcdef",
                "check-2123456789abcdef",
                "check-3123456789abcdeg",
                "check-4",
                "check-5123456789abcdef",
                "other",
            ]
        );
        drop(copy);
    }
}
