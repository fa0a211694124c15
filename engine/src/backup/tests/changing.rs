//! Files that change, grow, shrink or go while they are read. The observer is called in the middle of a run: it is what
//! changes them.

use super::*;
use crate::base::Counter;
use std::io::Write;

/// Does something to a file each time bytes of it are counted, so many times.
struct Meddler<'m> {
    left: Mutex<u32>,
    act: Box<dyn Fn(u32) + Send + Sync + 'm>,
}

impl<'m> Meddler<'m> {
    fn new(times: u32, act: impl Fn(u32) + Send + Sync + 'm) -> Self {
        Self { left: Mutex::new(times), act: Box::new(act) }
    }

    fn left(&self) -> u32 {
        *self.left.lock().unwrap()
    }
}

impl Observer for Meddler<'_> {
    fn working_on(&self, _path: &StoredPath) {
        let mut left = self.left.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            (self.act)(*left);
        }
    }

    fn add(&self, counter: Counter, _amount: u64) {
        if counter == Counter::Bytes {
            self.working_on(&StoredPath::root());
        }
    }
}

/// A file of holes, whose counting as zeroes calls the observer in the reader's own thread: between two looks at it.
fn write_sparse(bench: &Bench, name: &str) {
    let mut file = fs::File::create(bench.path(name)).unwrap();
    file.write_all(&noise("head", 200_000)).unwrap();
    file.set_len(8 << 20).unwrap();
}

fn append(path: &Path) {
    fs::File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
}

#[test]
fn a_file_that_changes_once_is_read_again_and_stored_as_it_is_then() {
    let bench = Bench::new();
    write_sparse(&bench, "growing");
    let path = bench.path("growing");
    // The first call is for the name, before the first look; the second one is in the middle.
    let meddler = Meddler::new(2, |left| {
        if left == 0 {
            append(&path);
        }
    });
    let summary = snapshot(&bench.repo, &bench.options(), &meddler).unwrap();
    assert_eq!(meddler.left(), 0, "it was changed while it was read");
    let node = bench.node(&summary, &path).unwrap();
    assert!(!node.changed_while_read && summary.warnings.is_empty());
    assert_eq!(node.size, (8 << 20) + 4);
    assert_eq!(bench.content(&node), fs::read(&path).unwrap());
}

#[test]
fn a_file_that_changes_each_time_is_stored_flagged_and_read_again_next_time() {
    let bench = Bench::new();
    write_sparse(&bench, "busy");
    let path = bench.path("busy");
    let meddler = Meddler::new(1000, |_| append(&path));
    let summary = snapshot(&bench.repo, &bench.options(), &meddler).unwrap();
    assert!(meddler.left() <= 1000 - 4, "each of four readings was met");
    let node = bench.node(&summary, &path).unwrap();
    assert!(node.changed_while_read);
    assert_eq!(summary.warnings[0].kind, WarningKind::ChangedWhileRead);
    assert_eq!((summary.statistics.unreadable, summary.statistics.total_files), (0, 1));
    let next = bench.take();
    let node = bench.node(&next, &path).unwrap();
    assert!(!node.changed_while_read);
    assert_eq!(bench.content(&node), fs::read(&path).unwrap());
}

#[test]
fn a_file_that_shrinks_is_stored_and_never_skipped() {
    let bench = Bench::new();
    write_sparse(&bench, "shrinking");
    let path = bench.path("shrinking");
    let meddler = Meddler::new(1000, |left| {
        fs::File::options().write(true).open(&path).unwrap().set_len((7 << 20) + u64::from(left)).unwrap();
    });
    let summary = snapshot(&bench.repo, &bench.options(), &meddler).unwrap();
    assert!(bench.node(&summary, &path).unwrap().changed_while_read);
}

#[test]
fn a_file_that_is_deleted_or_replaced_while_it_is_read_is_stored_whole_and_flagged() {
    for replaced in [false, true] {
        let bench = Bench::new();
        write_sparse(&bench, "going");
        let path = bench.path("going");
        let content = fs::read(&path).unwrap();
        let meddler = Meddler::new(2, |left| {
            if left == 0 {
                fs::remove_file(&path).unwrap();
                if replaced {
                    fs::write(&path, b"another one").unwrap();
                }
            }
        });
        let summary = snapshot(&bench.repo, &bench.options(), &meddler).unwrap();
        assert_eq!(meddler.left(), 0);
        let node = bench.node(&summary, &path).unwrap();
        assert!(node.changed_while_read);
        assert_eq!(bench.content(&node), content);
        assert_eq!(summary.warnings[0].kind, WarningKind::ChangedWhileRead);
    }
}

#[test]
fn a_file_that_goes_before_it_is_opened_is_told_and_no_failure() {
    let bench = Bench::new();
    bench.write("a-marker", b"x");
    bench.write("b-goes", b"x");
    // Left out by content: the look for the marker's head happens between the listing and the opening of the next file.
    let path = bench.path("b-goes");
    struct Remover<'r>(&'r Path);
    impl Observer for Remover<'_> {
        fn found(&self, _path: &StoredPath, found: Found) {
            if found == Found::Excluded {
                fs::remove_file(self.0).unwrap();
            }
        }
    }
    let pattern = [crate::filter::Pattern::new("a-marker")];
    let select =
        Selection { exclude: crate::filter::Patterns::new(&pattern).unwrap(), ..Selection::default() };
    let options = BackupOptions { select, ..bench.options() };
    let summary = snapshot(&bench.repo, &options, &Remover(&path)).unwrap();
    assert!(!path.exists() && bench.node(&summary, &path).is_none());
    assert_eq!(summary.warnings.iter().map(|w| w.kind).collect::<Vec<_>>(), [WarningKind::Vanished]);
    assert_eq!(summary.statistics.unreadable, 0);
}
