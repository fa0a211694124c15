//! A main file with several names: what an app has beside one of them does not lie beside the others.

use super::super::locks::{self, SHARED};
use super::*;
use nix::libc::{F_UNLCK, F_WRLCK};
use std::cell::Cell;
use std::fs::OpenOptions;

#[test]
fn what_is_being_written_under_another_name_is_waited_for() {
    let crash = Crash::new("PRAGMA cache_size=5;");
    crash.run(FILL);
    let committed = std::fs::read(&crash.written).unwrap();
    crash.run("BEGIN; UPDATE message SET text = hex(randomblob(200))").leave();
    let other = crash.left.with_file_name("other.db");
    std::fs::hard_link(&crash.left, &other).unwrap();
    let uncommitted = std::fs::read(&other).unwrap();
    assert!(uncommitted != committed, "nothing was spilled");
    // Its writer lives. As it waits, the app rolls back.
    let app = OpenOptions::new().read(true).write(true).open(&crash.left).unwrap();
    locks::set(app.as_fd(), F_WRLCK, SHARED).unwrap();
    let capture = |is_ended: bool| {
        let waited = Cell::new(Duration::ZERO);
        let pause = |time| {
            waited.set(waited.get() + time);
            if is_ended {
                std::fs::write(&crash.left, &committed).unwrap();
                locks::set(app.as_fd(), F_UNLCK, SHARED).unwrap();
            }
        };
        let file = File::open(&other).unwrap();
        let mut bytes = Vec::new();
        let patience = Patience::new(&pause, &later);
        let captured = capture(file.as_fd(), &Folder(&other), Kind::Plain, &patience, &mut |image| {
            bytes.clear();
            image.reader().read_to_end(&mut bytes)
        });
        (captured.map(|_| bytes), waited.get())
    };
    let (failed, waited) = capture(false);
    assert!(matches!(failed, Err(Failed::Impossible(Impossible::LockedExclusively))), "{failed:?}");
    assert!(waited >= Duration::from_secs(4), "{waited:?}");
    let (captured, _) = capture(true);
    assert!(captured.unwrap() == committed);
}
