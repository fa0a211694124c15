//! The page: plain text, for paper.

use chatvault_engine::base::RepoId;
use chatvault_engine::base::path::clean;
use chatvault_engine::crypto::RecoveryKey;
use zeroize::Zeroizing;

/// What stands on the page.
pub(super) struct Page<'a> {
    /// The key.
    pub(super) key: &'a RecoveryKey,
    /// The repository.
    pub(super) id: RepoId,
    /// Where it is.
    pub(super) location: &'a str,
    /// The day, as text.
    pub(super) date: String,
    /// The machine.
    pub(super) host: &'a str,
}

impl Page<'_> {
    /// The page as text, with a line break at its end.
    pub(super) fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "\
CHATVAULT RECOVERY KIT

This page opens a chatvault repository: the encrypted store of the snapshots of your chats. Whoever has this page and
the repository can read everything in it. Keep the page on paper, away from the computer and from the disk with the
repository. Without this key, or a password, nobody can open the repository, not even the makers of chatvault.

Repository:     {location}
On the machine: {host}
Repository id:  {id}
Made on:        {date} by chatvault {version}

Recovery key:

{key}

The last group is a check: a mistyped digit is noticed, and nothing is harmed by it.

HOW TO GET EVERYTHING BACK ON A NEW COMPUTER

1. Install chatvault {version}. (Until release 1.0.0 a newer one may refuse this repository.)
2. Connect the disk with the repository, or copy its folder to the new computer. Below, REPOSITORY stands for the
   path of that folder.
3. Type the recovery key into a text file, here key.txt. Spaces, line breaks and capital letters do not matter.
4. Check what you typed:
       chatvault -r REPOSITORY recovery-kit --verify key.txt
5. Look at the snapshots:
       chatvault -r REPOSITORY --recovery-key-file key.txt list
6. Get the last one back, into a new folder:
       chatvault -r REPOSITORY --recovery-key-file key.txt restore latest --target restored
",
            location = self.location,
            host = clean(self.host.as_bytes()),
            id = self.id,
            date = self.date,
            version = env!("CARGO_PKG_VERSION"),
            key = *in_lines(self.key),
        ))
    }
}

/// The key in lines of six groups.
fn in_lines(key: &RecoveryKey) -> Zeroizing<String> {
    let printed = Zeroizing::new(key.print());
    let mut lines = Zeroizing::new(String::with_capacity(printed.len() * 2));
    for (at, group) in printed.split('-').enumerate() {
        match at {
            0 => lines.push_str("    "),
            _ if at % 6 == 0 => lines.push_str("-\n    "),
            _ => lines.push('-'),
        }
        lines.push_str(group);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::secret::read_recovery_key;

    #[test]
    fn the_key_is_read_back_from_the_page() {
        let key = RecoveryKey::random().unwrap();
        let page = Page {
            key: &key,
            id: RepoId::new([7; 32]),
            location: "/r",
            date: "2026-11-20".into(),
            host: "ann\x1bs laptop",
        };
        let text = page.text();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text.as_bytes()).unwrap();
        assert_eq!(read_recovery_key(file.path()).unwrap().print(), key.print());
        assert!(text.lines().all(|line| line.chars().count() <= 118 && !line.contains('\x1b')), "{}", *text);
        assert!(text.contains(&"07".repeat(32)));
        assert!(text.contains(concat!("Install chatvault ", env!("CARGO_PKG_VERSION"), ".")), "{}", *text);
    }
}
