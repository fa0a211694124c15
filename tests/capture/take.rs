//! Captures by path, with the real time: stamps of files are compared with it.

use chatvault_engine::base::Timestamp;
use chatvault_engine::sqlite::Image;
use chatvault_engine::sqlite::capture::{Beside, Captured, Failed, Kind, Patience, Sidecar, capture};
use chatvault_tests::sqlite::beside;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Read in one step.
const PIECE: usize = 64 << 10;

/// What lies beside a main file.
struct Folder<'a>(&'a Path);

impl Beside for Folder<'_> {
    fn open(&self, sidecar: Sidecar) -> io::Result<Option<OwnedFd>> {
        match File::open(beside(self.0, sidecar)) {
            Ok(file) => Ok(Some(file.into())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn identity(&self, sidecar: Option<Sidecar>) -> io::Result<Option<(u64, u64)>> {
        let path = sidecar.map_or_else(|| self.0.to_owned(), |sidecar| beside(self.0, sidecar));
        match std::fs::symlink_metadata(path) {
            Ok(stat) => Ok(Some((stat.dev(), stat.ino()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::new(i64::try_from(since.as_secs()).unwrap(), since.subsec_nanos())
}

/// The pauses of the program are real ones: they let another process go on.
pub fn patience() -> Patience<'static> {
    Patience::new(&|pause| std::thread::sleep(pause), &now)
}

pub type Taken = Result<Captured<Vec<u8>>, Failed<io::Error>>;

/// Captures a database; what `halfway` does happens in the middle of each reading.
pub fn take(main: &Path, halfway: &mut dyn FnMut(u32)) -> Taken {
    take_with(main, &patience(), &mut |_, _| {}, halfway)
}

/// The same with other limits or locks; each image that was read is also shown, proved or not.
pub fn take_with(
    main: &Path,
    patience: &Patience<'_>,
    show: &mut dyn FnMut(u32, &[u8]),
    halfway: &mut dyn FnMut(u32),
) -> Taken {
    let mut reads = 0;
    let mut read = |image: &Image<'_>| {
        reads += 1;
        let mut bytes = Vec::new();
        let mut reader = image.reader();
        let mut met = false;
        loop {
            let count = (&mut reader).take(PIECE as u64).read_to_end(&mut bytes)?;
            if !met && (bytes.len() as u64 * 2 >= image.len()) {
                met = true;
                halfway(reads);
            }
            if count == 0 {
                break;
            }
        }
        show(reads, &bytes);
        Ok(bytes)
    };
    loop {
        let file = File::open(main).unwrap();
        match capture(file.as_fd(), &Folder(main), Kind::Plain, patience, &mut read) {
            Err(Failed::Replaced) => {}
            result => return result,
        }
    }
}
