//! What options leave out, preview, stream, parent.

use super::*;
use crate::filter::{Pattern, Patterns};
use crate::store::{Call, Operation};
use std::os::unix::fs::MetadataExt;

fn excluding(patterns: &[&str]) -> Selection {
    let patterns: Vec<Pattern> = patterns.iter().copied().map(Pattern::new).collect();
    Selection { exclude: Patterns::new(&patterns).unwrap(), ..Selection::default() }
}

/// The names below the source folder that a snapshot holds, files and folders.
fn held(bench: &Bench, summary: &BackupSummary, names: &[&str]) -> Vec<String> {
    let there = |name: &&&str| bench.node(summary, &bench.path(name)).is_some();
    names.iter().filter(there).map(|name| (*name).to_owned()).collect()
}

#[test]
fn excluded_entries_are_left_out_counted_and_come_back_when_wanted() {
    let bench = Bench::new();
    let names = ["a.tmp", "b.jpg", "Cache/x", "Cache", "keep/Cache.txt"];
    for name in ["a.tmp", "b.jpg", "Cache/x", "keep/Cache.txt"] {
        bench.write(name, name.as_bytes());
    }
    let some = BackupOptions { select: excluding(&["*.tmp", "Cache"]), ..bench.options() };
    let summary = snapshot(&bench.repo, &some, &Silent).unwrap();
    assert_eq!(held(&bench, &summary, &names), ["b.jpg", "keep/Cache.txt"]);
    assert_eq!((summary.statistics.excluded, summary.statistics.total_files), (2, 2));
    // What the catalog remembers of the smaller state does not hide what comes back.
    let all = bench.take();
    assert_eq!(held(&bench, &all, &names).len(), names.len());
    assert_eq!(
        (all.statistics.excluded, all.statistics.files_unmodified, all.statistics.files_new),
        (0, 2, 2)
    );
    // And what was remembered of an excluded folder is forgotten with it.
    snapshot(&bench.repo, &some, &Silent).unwrap();
    bench.write("Cache/x", b"changed");
    let again = bench.take();
    assert_eq!(bench.content(&bench.node(&again, &bench.path("Cache/x")).unwrap()), b"changed");
}

#[test]
fn a_source_that_was_named_is_taken_whatever_the_patterns_say() {
    let bench = Bench::new();
    bench.write("x", b"x");
    let options = BackupOptions { select: excluding(&["src"]), ..bench.options() };
    let summary = snapshot(&bench.repo, &options, &Silent).unwrap();
    assert_eq!(held(&bench, &summary, &["x"]), ["x"]);
}

#[test]
fn markers_and_cache_tags_leave_only_themselves() {
    let bench = Bench::new();
    bench.write("a/.nobackup", b"");
    bench.write("a/x", b"x");
    bench.write("a/sub/y", b"y");
    bench.write("b/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n# a cache");
    bench.write("b/x", b"x");
    bench.write("c/CACHEDIR.TAG", b"no signature");
    bench.write("c/x", b"x");
    bench.write("d/marker", b"do not keep");
    bench.write("d/x", b"x");
    bench.write("e/marker", b"keep");
    bench.write("e/x", b"x");
    let marker = |name: &[u8], header: &[u8]| Marker { name: name.to_vec(), header: header.to_vec() };
    let select = Selection {
        markers: vec![marker(b".nobackup", b""), marker(b"marker", b"do not")],
        caches: true,
        ..Selection::default()
    };
    let summary = snapshot(&bench.repo, &BackupOptions { select, ..bench.options() }, &Silent).unwrap();
    let names =
        ["a", "a/.nobackup", "a/x", "a/sub", "b/CACHEDIR.TAG", "b/x", "c/x", "d/x", "d/marker", "e/x"];
    assert_eq!(
        held(&bench, &summary, &names),
        ["a", "a/.nobackup", "b/CACHEDIR.TAG", "c/x", "d/marker", "e/x"]
    );
    assert_eq!(summary.statistics.excluded, 4);
}

#[test]
fn large_files_and_videos_are_left_out_by_size_and_content() {
    let bench = Bench::new();
    bench.write("large", &[1; 2001]);
    bench.write("small", &[1; 2000]);
    let moov = [&b"\0\0\0\x1cmoov\0\0\0\x14hdlr\0\0\0\0\0\0\0\0vide"[..], &[0; 600]].concat();
    bench.write("named.jpg", &[&b"\0\0\0\x10ftypisom\0\0\x02\0"[..], &moov].concat());
    bench.write("voice.mp4", &[&b"\0\0\0\x10ftypisom\0\0\x02\0"[..], &[0; 600]].concat());
    bench.write("photo.mp4", &[&b"\xff\xd8\xff\xe0"[..], &[0; 600]].concat());
    let names = ["large", "small", "named.jpg", "photo.mp4", "voice.mp4"];
    // Also where an earlier snapshot had them and they did not change.
    assert_eq!(held(&bench, &bench.take(), &names).len(), 5);
    let select = Selection { larger_than: Some(2000), no_videos: true, ..Selection::default() };
    let summary = snapshot(&bench.repo, &BackupOptions { select, ..bench.options() }, &Silent).unwrap();
    assert_eq!(held(&bench, &summary, &names), ["small", "photo.mp4", "voice.mp4"]);
    // A file that was named itself is taken.
    let select = Selection { no_videos: true, ..Selection::default() };
    let options = BackupOptions { paths: vec![bench.path("named.jpg")], select, ..BackupOptions::default() };
    let summary = snapshot(&bench.repo, &options, &Silent).unwrap();
    assert_eq!(held(&bench, &summary, &["named.jpg"]), ["named.jpg"]);
}

#[test]
fn a_preview_counts_what_a_snapshot_does_and_writes_nothing() {
    let bench = Bench::new();
    bench.write("a", &noise("a", 400_000));
    bench.write("b", b"b");
    bench.take();
    bench.write("b", b"changed");
    bench.write("c/d", &noise("d", 300_000));
    bench.store.clear();
    let preview = preview(&bench.repo, &bench.options(), &Silent).unwrap();
    let writes = |call: &Call| matches!(call.operation, Operation::Put | Operation::Delete);
    assert!(!bench.store.calls().iter().any(writes), "{:?}", bench.store.calls());
    let summary = bench.take();
    let counts = |statistics: &Statistics| Statistics { duration_ms: 0, ..*statistics };
    assert_eq!(counts(&preview.statistics), counts(&summary.statistics));
    assert_eq!((preview.parent, preview.paths), (summary.parent, summary.paths));
    assert_eq!(preview.statistics.files_new, 1);
}

#[test]
fn a_stream_is_one_file_under_its_path_and_its_content_is_deduplicated() {
    let bench = Bench::new();
    let content = noise("dump", 3_000_000);
    let path = StoredPath::parse(b"/dumps/db.sql").unwrap();
    let store =
        |content: &[u8]| stream(&bench.repo, &BackupOptions::default(), &path, &mut &*content, &Silent);
    let first = store(&content).unwrap();
    let node = bench.node(&first, Path::new("/dumps/db.sql")).unwrap();
    assert_eq!((bench.content(&node), node.size, node.mode), (content.clone(), 3_000_000, 0o600));
    let second = store(&content).unwrap();
    assert_eq!((second.statistics.data_blobs, second.parent), (0, Some(first.id)));
    let empty = store(b"").unwrap();
    assert_eq!(bench.node(&empty, Path::new("/dumps/db.sql")).unwrap().size, 0);
    assert!(
        stream(&bench.repo, &BackupOptions::default(), &StoredPath::root(), &mut &b"x"[..], &Silent).is_err()
    );
}

/// Gives some bytes, then fails.
struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        let count = buffer.len().min(self.0);
        self.0 -= count;
        Ok(count)
    }
}

#[test]
fn a_stream_that_fails_is_no_snapshot() {
    for len in [0, 50, 2_000_000] {
        let bench = Bench::new();
        let path = StoredPath::parse(b"/dump").unwrap();
        let failed =
            stream(&bench.repo, &BackupOptions::default(), &path, &mut Broken(len), &Silent).unwrap_err();
        assert!(failed.full_text().contains("broken pipe"), "{}", failed.full_text());
        assert_eq!(bench.written("snapshots"), 0);
    }
}

#[test]
fn another_parent_is_compared_with_and_everything_is_read() {
    let bench = Bench::new();
    bench.write("a", b"a");
    let first = bench.take();
    bench.write("b", b"b");
    let second = bench.take();
    let options = BackupOptions { parent: Some(first.id), ..bench.options() };
    let third = snapshot(&bench.repo, &options, &Silent).unwrap();
    assert_eq!((third.parent, third.statistics.files_new), (Some(first.id), 1));
    assert_eq!(bench.take().parent, Some(third.id));
    let same = BackupOptions { parent: Some(second.id), ..bench.options() };
    assert_eq!(snapshot(&bench.repo, &same, &Silent).unwrap().statistics.files_new, 0);
    let unknown = BackupOptions { parent: Some(SnapshotId::new([9; 32])), ..bench.options() };
    assert_eq!(snapshot(&bench.repo, &unknown, &Silent).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn what_is_found_is_told() {
    #[derive(Default)]
    struct Told(Mutex<Vec<(Found, Vec<u8>)>>);
    impl Observer for Told {
        fn found(&self, path: &StoredPath, found: Found) {
            self.0.lock().unwrap().push((found, path.name().to_vec()));
        }
    }
    let bench = Bench::new();
    for name in ["a", "b", "x.tmp"] {
        bench.write(name, name.as_bytes());
    }
    bench.take();
    bench.write("a", b"changed");
    bench.write("c", b"c");
    let told = Told::default();
    let options = BackupOptions { select: excluding(&["*.tmp"]), ..bench.options() };
    preview(&bench.repo, &options, &told).unwrap();
    let mut told = told.0.into_inner().unwrap();
    told.sort_by(|a, b| a.1.cmp(&b.1));
    let wanted =
        [(Found::Changed, b"a".to_vec()), (Found::New, b"c".to_vec()), (Found::Excluded, b"x.tmp".to_vec())];
    assert_eq!(told, wanted);
}

#[test]
fn extended_attributes_of_files_folders_and_links_are_kept() {
    use rustix::fs::{XattrFlags, setxattr};
    let bench = Bench::new();
    bench.write("d/f", b"f");
    for name in ["d", "d/f"] {
        let path = bench.path(name);
        if setxattr(&path, "user.note", name.as_bytes(), XattrFlags::empty()).is_err() {
            // This file system has none.
            return;
        }
    }
    let summary = bench.take();
    for name in ["d", "d/f"] {
        let node = bench.node(&summary, &bench.path(name)).unwrap();
        assert_eq!(node.xattrs, [(b"user.note".to_vec(), name.as_bytes().to_vec())]);
    }
    // A change of an attribute alone is a change.
    setxattr(bench.path("d/f"), "user.note", b"new", XattrFlags::empty()).unwrap();
    let summary = bench.take();
    assert_eq!(bench.node(&summary, &bench.path("d/f")).unwrap().xattrs[0].1, b"new");
}

#[test]
fn an_ignored_status_change_hides_no_change_of_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.write("f", b"f");
    let options = BackupOptions { ignored: Ignored { ctime: true, inode: true }, ..bench.options() };
    let file = fs::File::open(bench.path("f")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
    snapshot(&bench.repo, &options, &Silent).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o604)).unwrap();
    let summary = snapshot(&bench.repo, &options, &Silent).unwrap();
    assert_eq!(bench.node(&summary, &bench.path("f")).unwrap().mode, 0o604);
}

/// Names of the files that a run opens.
#[derive(Default)]
struct Opened(Mutex<Vec<Vec<u8>>>);

impl Observer for Opened {
    fn working_on(&self, path: &StoredPath) {
        self.0.lock().unwrap().push(path.name().to_vec());
    }
}

#[test]
fn each_thing_that_is_ignored_keeps_a_file_unread_and_nothing_else_does() {
    let opened = |ignored: Ignored, change: &dyn Fn(&Path)| {
        let bench = Bench::new();
        bench.write("f", b"f");
        let options = BackupOptions { ignored, ..bench.options() };
        snapshot(&bench.repo, &options, &Silent).unwrap();
        let before = fs::metadata(bench.path("f")).unwrap();
        // Status changes within one tick of the file system's clock look alike.
        while fs::metadata(bench.path("f")).unwrap().ctime_nsec() == before.ctime_nsec() {
            change(&bench.path("f"));
        }
        let told = Opened::default();
        snapshot(&bench.repo, &options, &told).unwrap();
        told.0.into_inner().unwrap() == [b"f".to_vec()]
    };
    let touched = |path: &Path| {
        let mode = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, mode).unwrap();
    };
    let replaced = |path: &Path| {
        let copy = path.with_extension("copy");
        fs::copy(path, &copy).unwrap();
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        fs::File::options().write(true).open(&copy).unwrap().set_modified(modified).unwrap();
        fs::rename(&copy, path).unwrap();
    };
    let [none, ctime, inode, both] = [(false, false), (true, false), (false, true), (true, true)]
        .map(|(ctime, inode)| Ignored { ctime, inode });
    assert!(opened(none, &touched) && opened(inode, &touched));
    assert!(!opened(ctime, &touched) && !opened(both, &touched));
    assert!(opened(none, &replaced) && opened(inode, &replaced) && opened(ctime, &replaced));
    assert!(!opened(both, &replaced));
}

/// The files that a run with these options opens.
fn opened(repo: &Repo, options: &BackupOptions) -> Vec<Vec<u8>> {
    let told = Opened::default();
    snapshot(repo, options, &told).unwrap();
    told.0.into_inner().unwrap()
}

#[test]
fn options_that_relax_the_comparison_can_be_given_and_left_out_without_reading_anything_again() {
    let bench = Bench::new();
    bench.write("f", b"f");
    let with = |ctime, inode| BackupOptions { ignored: Ignored { ctime, inode }, ..bench.options() };
    assert_eq!(opened(&bench.repo, &with(false, false)), [b"f".to_vec()]);
    for (ctime, inode) in [(true, false), (false, true), (true, true), (false, false), (true, true)] {
        assert!(opened(&bench.repo, &with(ctime, inode)).is_empty(), "{ctime} {inode}");
    }
}

#[test]
fn a_new_hard_link_where_status_changes_do_not_count_is_stored_and_its_content_is_not_read_again() {
    let bench = Bench::new();
    bench.write("a", b"content");
    let options = BackupOptions { ignored: Ignored { ctime: true, inode: false }, ..bench.options() };
    snapshot(&bench.repo, &options, &Silent).unwrap();
    fs::hard_link(bench.path("a"), bench.path("b")).unwrap();
    let told = Opened::default();
    let summary = snapshot(&bench.repo, &options, &told).unwrap();
    assert_eq!(told.0.into_inner().unwrap(), [b"b".to_vec()], "only the name that was not there");
    let group = |name: &str| bench.node(&summary, &bench.path(name)).unwrap().hard_link;
    assert!(group("a").is_some() && group("a") == group("b"));
    assert_eq!(summary.statistics.files_changed, 1);
    fs::remove_file(bench.path("b")).unwrap();
    let summary = snapshot(&bench.repo, &options, &Silent).unwrap();
    assert_eq!(bench.node(&summary, &bench.path("a")).unwrap().hard_link, None);
}

/// A bench whose clock the test moves, and how far it has moved, in seconds.
fn with_clock() -> (Bench, Arc<std::sync::atomic::AtomicI64>) {
    let moved = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let at = Arc::clone(&moved);
    let clock = move || Timestamp::new(1_900_000_000 + at.load(std::sync::atomic::Ordering::Relaxed), 0);
    let store = Arc::new(RecordingStore::new(MemoryStore::new()));
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("src")).unwrap();
    fs::create_dir(dir.path().join("cache")).unwrap();
    // Without a cache each run is a writer of its own.
    let session = session(Some(&dir.path().join("cache")));
    let session = crate::repo::Session { clock: Arc::new(clock), ..session };
    let (repo, key) = create(Arc::clone(&store) as Arc<dyn Store>, session);
    (Bench { dir, store, repo, key }, moved)
}

#[test]
fn a_change_soon_after_a_snapshot_is_seen_where_the_clock_of_the_file_system_is_behind() {
    let (bench, moved) = with_clock();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    // As a file system does whose stamps are coarse: a change at once has the same ones.
    let write = |content: &[u8]| {
        bench.write("f", content);
        fs::File::options().write(true).open(bench.path("f")).unwrap().set_modified(time).unwrap();
    };
    let ignored = Ignored { ctime: true, inode: true };
    let options = BackupOptions { ignored, foreign_clocks: true, ..bench.options() };
    write(b"first");
    snapshot(&bench.repo, &options, &Silent).unwrap();
    write(b"other");
    moved.fetch_add(60, std::sync::atomic::Ordering::Relaxed);
    let summary = snapshot(&bench.repo, &options, &Silent).unwrap();
    let node = bench.node(&summary, &bench.path("f")).unwrap();
    assert_eq!(bench.content(&node), b"other");
    moved.fetch_add(60, std::sync::atomic::Ordering::Relaxed);
    assert!(opened(&bench.repo, &options).is_empty(), "it is read once more, and not for ever");
}

#[test]
fn what_is_read_again_at_once_is_read_once_more_after_that() {
    let (bench, moved) = with_clock();
    let options = BackupOptions { foreign_clocks: true, ..bench.options() };
    bench.write("f", b"f");
    for _ in 0..3 {
        assert_eq!(opened(&bench.repo, &options), [b"f".to_vec()], "its clock may not have gone on");
        moved.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    moved.fetch_add(60, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(opened(&bench.repo, &options), [b"f".to_vec()]);
    assert!(opened(&bench.repo, &options).is_empty());
}

#[test]
fn a_run_under_a_wrong_clock_is_told_and_the_next_ones_go_on_from_it() {
    use std::sync::atomic::Ordering::Relaxed;
    let (bench, moved) = with_clock();
    bench.write("f", b"f");
    let hour = 3600;
    moved.store(100_000 * hour, Relaxed);
    let wrong = bench.take();
    moved.store(0, Relaxed);
    let right = bench.take();
    assert_eq!(right.misdated.clock_went_back, Some((wrong.id, wrong.time)));
    assert_eq!(right.misdated.latest, None, "one writer made both");
    moved.store(2 * hour, Relaxed);
    let next = bench.take();
    assert_eq!((next.misdated, next.parent), (Default::default(), Some(right.id)));
    let elsewhere = bench.elsewhere();
    let other = snapshot(&elsewhere.repo, &bench.options(), &Silent).unwrap();
    assert!(other.time < wrong.time);
    assert_eq!(other.misdated.latest, Some((wrong.id, wrong.time)), "two writers: by time");
}
