//! What tells this machine from others: `machine-id` in the configuration folder, a random number of 32 hexadecimal
//! digits.
//!
//! Host names are not unique, and home folders are copied, restored and shared over networks. So what goes into a lease is
//! a hash of this number, the system's own number of the machine, and the host name: if any of them changes, leases of
//! before are those of another machine, which is always safe.

use crate::config::private_file;
use chatvault_engine::base::hash::digest;
use chatvault_engine::base::id::{from_hex, to_hex};
use chatvault_engine::crypto::random_bytes;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const NAME: &str = "machine-id";
/// Longest file that is read.
const MAX_LEN: u64 = 1024;

/// This machine. Its number is read, or drawn and kept, when it is asked for first.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    config: Option<PathBuf>,
    number: OnceLock<[u8; 16]>,
}

impl Machine {
    /// The machine whose number is kept in this configuration folder; without one it is kept for this process only.
    pub(crate) fn new(config: Option<PathBuf>) -> Self {
        Self { config, number: OnceLock::new() }
    }

    /// What a lease says of this machine; `system` is what the system says of it.
    pub(crate) fn number(&self, system: &str) -> [u8; 16] {
        *self.number.get_or_init(|| {
            let own = self.config.as_deref().and_then(kept).or_else(|| random_bytes().ok());
            let text = format!("{} {system}", to_hex(&own.unwrap_or_default()));
            let hash = digest(text.as_bytes());
            hash.first_chunk().copied().unwrap_or_default()
        })
    }
}

/// The number that is kept, or a new one that is kept from now on.
fn kept(config: &Path) -> Option<[u8; 16]> {
    let path = config.join(NAME);
    read(&path).or_else(|| {
        let number: [u8; 16] = random_bytes().ok()?;
        private_file::create_folder(config).ok()?;
        // Another program may have been faster.
        let created = private_file::create(&path, &format!("{}\n", to_hex(&number)));
        if created.is_ok() { Some(number) } else { read(&path) }
    })
}

fn read(path: &Path) -> Option<[u8; 16]> {
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_LEN).read_to_string(&mut text).ok()?;
    from_hex(text.trim())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_stays_and_differs_by_folder_and_by_system() {
        let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let number = |folder: &Path, system: &str| Machine::new(Some(folder.join("c"))).number(system);
        let first = number(one.path(), "host");
        assert_eq!(number(one.path(), "host"), first);
        assert_ne!(number(one.path(), "other host"), first);
        assert_ne!(number(two.path(), "host"), first);
    }

    #[test]
    fn without_a_folder_or_with_a_damaged_file_it_stays_for_one_process() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "what is this").unwrap();
        for config in [None, Some(folder.path().to_owned())] {
            let machine = Machine::new(config.clone());
            assert_eq!(machine.number(""), machine.number(""));
            assert_ne!(machine.number(""), Machine::new(config).number(""));
        }
    }
}
