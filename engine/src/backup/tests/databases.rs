//! Databases in a snapshot: one node in one state, related to the version before, checked.

use super::*;
use crate::model::BlobKind;
use crate::model::lineage::{Checked, Lineage};
use rusqlite::Connection;

/// A database of 2 MB with an index over random keys, closed.
pub(super) fn made(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = Connection::open(path).unwrap();
    db.execute_batch("CREATE TABLE m(id INTEGER PRIMARY KEY, key BLOB, t TEXT); CREATE INDEX k ON m(key);")
        .unwrap();
    say(&db, path.as_os_str().as_encoded_bytes(), 8000);
    db.close().map_err(|(_, e)| e).unwrap();
}

/// Some more messages.
fn chat_on(path: &Path, messages: u32) {
    let db = Connection::open(path).unwrap();
    let said: i64 = db.query_row("SELECT count(*) FROM m", (), |row| row.get(0)).unwrap();
    say(&db, &said.to_le_bytes(), messages);
}

/// Messages whose keys and texts follow from a seed, in one transaction.
fn say(db: &Connection, seed: &[u8], messages: u32) {
    let name = seed.rsplit(|byte| *byte == b'/').next().unwrap();
    let bytes = noise(&crate::base::id::to_hex(name), 96 * messages as usize);
    db.execute_batch("BEGIN").unwrap();
    for message in bytes.chunks_exact(96) {
        let text = crate::base::id::to_hex(&message[16..]);
        db.execute("INSERT INTO m(key, t) VALUES(?, ?)", (&message[..16], text)).unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
}

impl Bench {
    pub(super) fn lineage(&self, summary: &BackupSummary) -> Vec<Lineage> {
        let all = self.repo.snapshots(&Silent).unwrap();
        let found = all.into_iter().find(|snapshot| snapshot.id == summary.id).unwrap();
        found.manifest.lineage.map_or_else(Vec::new, |root| self.repo.read_lineage(&root).unwrap().0)
    }

    /// Of the runs of a database, how many are stored full, and how many as deltas.
    fn copies(&self, node: &Node) -> (usize, usize) {
        let Content::List(root) = node.content else { panic!("{node:?}") };
        let (mut full, mut deltas) = (0, 0);
        let mut count = |item| {
            let ListItem::Chunk { id, .. } = item else { return Ok(()) };
            let copy = self.repo.catalog().copies(BlobKind::Data, &id)?.remove(0);
            *if copy.entry.depth == 0 { &mut full } else { &mut deltas } += 1;
            Ok(())
        };
        self.repo.each_list_item(&root, &mut count).unwrap();
        (full, deltas)
    }

    pub(super) fn database(&self, summary: &BackupSummary, name: &str) -> Node {
        self.node(summary, &self.path(name)).unwrap()
    }
}

#[test]
fn pending_changes_are_part_of_the_database_and_its_sidecars_no_entries() {
    let bench = Bench::new();
    let db = Connection::open(bench.path("chat.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE m(t); INSERT INTO m VALUES('hello');").unwrap();
    let first = bench.take();
    assert_eq!(first.warnings, []);
    let node = bench.database(&first, "chat.db");
    let database = node.database.clone().unwrap();
    assert_eq!((database.state, database.page_size), (DatabaseState::Captured, 4096));
    assert_eq!(database.sidecars, [b"chat.db-wal".to_vec(), b"chat.db-shm".to_vec()]);
    for sidecar in ["chat.db-wal", "chat.db-shm"] {
        assert!(bench.path(sidecar).exists() && bench.node(&first, &bench.path(sidecar)).is_none());
    }
    let [report] = first.databases.as_slice() else { panic!("{:?}", first.databases) };
    assert!(report.frames > 0 && report.checked == Checked::Quick && !report.newly_damaged);
    // What was stored is what a checkpoint leaves.
    let stored = bench.content(&node);
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).unwrap();
    assert!(stored == fs::read(bench.path("chat.db")).unwrap());
    drop(db);
    let quiet = bench.take();
    let after = bench.database(&quiet, "chat.db");
    assert_eq!(after.database.unwrap().state, DatabaseState::Quiescent);
    assert_eq!(after.content, node.content, "the same image is the same blob");
}

#[test]
fn raw_databases_are_stored_as_they_lie_and_captured_again_without_the_option() {
    let bench = Bench::new();
    let db = Connection::open(bench.path("chat.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE m(t); INSERT INTO m VALUES('hello');").unwrap();
    let raw = BackupOptions { raw_databases: true, ..bench.options() };
    for round in 0..2 {
        let as_it_lies = snapshot(&bench.repo, &raw, &Silent).unwrap();
        assert_eq!(as_it_lies.warnings, []);
        let [report] = as_it_lies.databases.as_slice() else { panic!("{:?}", as_it_lies.databases) };
        assert_eq!((report.state, report.checked, report.frames), (DatabaseState::AsItLay, Checked::No, 0));
        let node = bench.database(&as_it_lies, "chat.db");
        assert!(bench.content(&node) == fs::read(bench.path("chat.db")).unwrap());
        assert_eq!(node.database.unwrap().state, DatabaseState::AsItLay, "round {round}");
        let wal = bench.database(&as_it_lies, "chat.db-wal");
        assert!(bench.content(&wal) == fs::read(bench.path("chat.db-wal")).unwrap());
        let captured = bench.take();
        assert_eq!(bench.database(&captured, "chat.db").database.unwrap().state, DatabaseState::Captured);
        assert!(bench.node(&captured, &bench.path("chat.db-wal")).is_none());
    }
}

#[test]
fn files_that_are_only_named_like_sidecars_are_entries() {
    let bench = Bench::new();
    let names = [
        "notes",
        "notes-wal",
        "notes-wal-wal",
        "notes-wal-wal-journal",
        "alone-journal",
        "x-shm",
        "x-shm-shm",
    ];
    for name in names {
        bench.write(name, name.as_bytes());
    }
    for _ in 0..2 {
        let summary = bench.take();
        for name in names {
            let node = bench.node(&summary, &bench.path(name));
            assert_eq!(bench.content(&node.expect(name)), name.as_bytes());
        }
        assert_eq!(summary.statistics.total_files, names.len() as u64);
    }
}

#[test]
fn what_only_has_the_name_of_a_sidecar_is_not_lost_beside_a_database() {
    let bench = Bench::new();
    made(&bench.path("chat.db"));
    bench.write("chat.db-journal", b"Dear diary, today");
    bench.write("chat.db-wal", b"nothing of SQLite's");
    for _ in 0..2 {
        let summary = bench.take();
        let node = bench.database(&summary, "chat.db");
        assert_eq!(node.database.clone().unwrap().state, DatabaseState::Quiescent);
        assert_eq!(node.database.unwrap().sidecars, Vec::<Vec<u8>>::new());
        assert_eq!(bench.content(&bench.database(&summary, "chat.db-journal")), b"Dear diary, today");
        assert_eq!(bench.content(&bench.database(&summary, "chat.db-wal")), b"nothing of SQLite's");
    }
}

#[test]
fn the_journal_of_a_transaction_that_is_under_way_is_no_entry() {
    for mode in ["DELETE", "TRUNCATE", "PERSIST"] {
        let bench = Bench::new();
        made(&bench.path("chat.db"));
        let db = Connection::open(bench.path("chat.db")).unwrap();
        db.execute_batch(&format!("PRAGMA journal_mode={mode}; BEGIN; CREATE TABLE more(t);")).unwrap();
        assert!(fs::metadata(bench.path("chat.db-journal")).unwrap().len() > 0, "{mode}");
        let summary = bench.take();
        assert!(bench.node(&summary, &bench.path("chat.db-journal")).is_none(), "{mode}");
        let database = bench.database(&summary, "chat.db").database.unwrap();
        assert_eq!(database.sidecars, [b"chat.db-journal".to_vec()], "{mode}");
    }
}

#[test]
fn a_database_that_is_named_alone_is_stored_with_what_is_part_of_it_and_nothing_else() {
    let bench = Bench::new();
    let db = Connection::open(bench.path("chat.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE m(t); INSERT INTO m VALUES('hello');").unwrap();
    bench.write("notes", b"no database");
    bench.write("notes-wal", b"not asked for");
    let paths = vec![bench.path("chat.db"), bench.path("notes")];
    for raw_databases in [false, true, false] {
        let options = BackupOptions { paths: paths.clone(), raw_databases, ..BackupOptions::default() };
        let summary = snapshot(&bench.repo, &options, &Silent).unwrap();
        assert_eq!(bench.node(&summary, &bench.path("chat.db-wal")).is_some(), raw_databases);
        assert!(bench.node(&summary, &bench.path("notes-wal")).is_none());
        let state = bench.database(&summary, "chat.db").database.unwrap().state;
        assert_eq!(state == DatabaseState::AsItLay, raw_databases);
    }
    drop(db);
}

#[test]
fn a_database_that_is_left_out_leaves_its_sidecars_to_themselves() {
    let bench = Bench::new();
    let db = Connection::open(bench.path("chat.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE m(t); INSERT INTO m VALUES('hello');").unwrap();
    let mut options = bench.options();
    options.select.exclude = crate::filter::Patterns::new(&[crate::filter::Pattern::new("chat.db")]).unwrap();
    let summary = snapshot(&bench.repo, &options, &Silent).unwrap();
    assert!(bench.node(&summary, &bench.path("chat.db")).is_none());
    assert!(bench.node(&summary, &bench.path("chat.db-wal")).is_some());
    // The other way round: what is part of a captured database is not asked for.
    options.select.exclude =
        crate::filter::Patterns::new(&[crate::filter::Pattern::new("chat.db-*")]).unwrap();
    let summary = snapshot(&bench.repo, &options, &Silent).unwrap();
    assert_eq!(bench.database(&summary, "chat.db").database.unwrap().state, DatabaseState::Captured);
    assert!(bench.node(&summary, &bench.path("chat.db-wal")).is_none());
    drop(db);
}

#[test]
fn a_day_of_chatting_is_stored_as_differences() {
    let bench = Bench::new();
    made(&bench.path("chat.db"));
    let first = bench.take();
    let (full, deltas) = bench.copies(&bench.database(&first, "chat.db"));
    assert!(full > 10 && deltas == 0);
    for day in 1..=10 {
        chat_on(&bench.path("chat.db"), 20);
        let before = fs::read(bench.path("chat.db")).unwrap();
        let summary = bench.take();
        let node = bench.database(&summary, "chat.db");
        assert!(bench.copies(&node).1 > 3, "day {day}");
        assert!(summary.statistics.data_added_packed * 5 < summary.statistics.data_added, "day {day}");
        assert!(bench.elsewhere().content(&node) == before);
    }
    let [record] = bench.lineage(&bench.take()).try_into().unwrap();
    assert_eq!(record.id, bench.lineage(&first)[0].id, "one line from the first day on");
    assert_eq!(record.checked, Checked::Quick);
    assert!(record.samples.len() > 8 && record.page_size == 4096);
}

#[test]
fn pages_that_are_encrypted_one_by_one_are_stored_as_differences_too() {
    let bench = Bench::new();
    let path = bench.path("MicroMsg/EnMicroMsg.db");
    let mut pages = noise("wechat", 100 * 4096);
    bench.write("MicroMsg/EnMicroMsg.db", &pages);
    let first = bench.take();
    let node = bench.node(&first, &path).unwrap();
    assert_eq!(node.database.clone().unwrap().page_size, 4096);
    assert_eq!(
        (first.databases[0].state, first.databases[0].checked),
        (DatabaseState::Quiescent, Checked::No)
    );
    assert_eq!(bench.copies(&node), (4, 0));
    // A commit writes some pages anew: each looks like noise again.
    for page in [3, 40, 41, 99] {
        pages[page * 4096..(page + 1) * 4096].copy_from_slice(&noise(&format!("page {page}"), 4096));
    }
    bench.write("MicroMsg/EnMicroMsg.db", &pages);
    let second = bench.take();
    let node = bench.node(&second, &path).unwrap();
    assert_eq!(bench.copies(&node), (1, 3), "runs 0, 1 and 3 hold a new page");
    assert!(second.statistics.data_added_packed < 4 * 4096 + 2000);
    assert!(bench.elsewhere().content(&node) == pages);
    assert_eq!(second.warnings, []);
    // The same bytes under a name that says nothing are a content like others.
    bench.write("photo.dat", &pages);
    assert!(bench.node(&bench.take(), &bench.path("photo.dat")).unwrap().database.is_none());
}

#[test]
fn a_renamed_database_is_recognised_by_its_samples() {
    let bench = Bench::new();
    made(&bench.path("chat.db"));
    let first = bench.take();
    fs::rename(bench.path("chat.db"), bench.path("other.db")).unwrap();
    chat_on(&bench.path("other.db"), 20);
    let elsewhere = bench.elsewhere();
    let elsewhere = Bench { dir: bench.dir, ..elsewhere };
    let summary = elsewhere.take();
    assert!(elsewhere.copies(&elsewhere.database(&summary, "other.db")).1 > 3);
    assert_eq!(elsewhere.lineage(&summary)[0].id, elsewhere.lineage(&first)[0].id);
    made(&elsewhere.path("new.db"));
    let records = elsewhere.lineage(&elsewhere.take());
    assert_ne!(records[0].id, records[1].id, "what has nothing in common is a line of its own");
}

#[test]
fn copies_of_several_days_that_come_at_once_are_differences_to_each_other() {
    let bench = Bench::new();
    made(&bench.path("chat.db"));
    // As apps do: the copy of the first day has the highest number.
    for day in (1..=3).rev() {
        let copy = bench.path(&format!("chat.db.{day}"));
        fs::copy(bench.path("chat.db"), &copy).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 - day * 86_400);
        fs::File::options().write(true).open(copy).unwrap().set_modified(time).unwrap();
        chat_on(&bench.path("chat.db"), 3);
    }
    let summary = bench.take();
    let copies = |name: &str| bench.copies(&bench.database(&summary, name));
    let (full, all) = (copies("chat.db.3"), ["chat.db.2", "chat.db.1", "chat.db"].map(copies));
    // Which one came first depends on the walk; all others rest on it.
    let whole = [full].into_iter().chain(all).filter(|(_, deltas)| *deltas == 0).count();
    assert_eq!(whole, 1, "{full:?} {all:?}");
    let ids: std::collections::HashSet<_> = bench.lineage(&summary).iter().map(|record| record.id).collect();
    assert_eq!(ids.len(), 1);
    for name in ["chat.db.3", "chat.db.2", "chat.db.1", "chat.db"] {
        let node = bench.database(&summary, name);
        assert!(bench.elsewhere().content(&node) == fs::read(bench.path(name)).unwrap());
    }
}

#[test]
fn what_was_made_durable_for_one_copy_is_durable_for_the_copies_of_others() {
    let bench = Bench::new();
    let names = ["a", "b", "c", "d", "e", "f"];
    // Three databases, and a later copy of each: they come by name, which is by age here.
    for (number, name) in names.iter().enumerate() {
        let path = bench.path(&format!("{name}.db"));
        match number.checked_sub(3) {
            None => made(&path),
            Some(of) => {
                fs::copy(bench.path(&format!("{}.db", names[of])), &path).unwrap();
                chat_on(&path, 3);
            }
        }
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 + number as u64);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    let before = bench.written("index");
    let summary = bench.take();
    for name in ["d.db", "e.db", "f.db"] {
        let (_, deltas) = bench.copies(&bench.database(&summary, name));
        assert!(deltas > 0, "{name}");
    }
    // One index before the first copy, and one at the end.
    assert_eq!(bench.written("index") - before, 2);
}

#[test]
fn a_preview_of_databases_that_resemble_each_other_leaves_the_catalog_as_it_is() {
    let bench = Bench::new();
    made(&bench.path("chat.db"));
    bench.write("folder/text", b"text");
    bench.take();
    // Two copies of something new at once: the second resembles what is nowhere but in the preview.
    made(&bench.path("new.db"));
    for name in ["new.db.1", "new.db.2"] {
        fs::copy(bench.path("new.db"), bench.path(name)).unwrap();
        chat_on(&bench.path(name), 20);
    }
    let remembered = bench.repo.catalog().memory_rows();
    assert!(remembered > 1);
    for force in [false, true] {
        let seen =
            preview(&bench.repo, &BackupOptions { force, ..bench.options() }, &Silent).unwrap().statistics;
        assert_eq!((seen.files_new, seen.total_files), (3, 5));
        assert_eq!(bench.repo.catalog().memory_rows(), remembered);
        assert_eq!(bench.repo.affected_anywhere().unwrap(), [], "nothing was taken for lost");
    }
    fs::remove_file(bench.path("new.db")).unwrap();
    fs::remove_file(bench.path("new.db.1")).unwrap();
    fs::remove_file(bench.path("new.db.2")).unwrap();
    let next = bench.take();
    assert_eq!((next.databases.as_slice(), next.statistics.files_unmodified), (&[][..], 2));
}

#[test]
fn records_that_are_damaged_are_none_and_those_that_cannot_be_read_now_are_a_failure() {
    let bench = Bench::new();
    made(&bench.path("chat.db"));
    let taken = bench.take();
    let sample = bench.lineage(&taken)[0].samples[0];
    let history = bench.repo.history(&Silent).unwrap();
    let find =
        |paths: &[StoredPath]| Source::find(&bench.repo, &history, &BackupOptions::default(), paths.to_vec());
    let elsewhere = [StoredPath::parse(b"/elsewhere").unwrap()];
    // For the records of other sources, which are read when something resembles none of its own.
    let closest = |source: &Source<'_>| {
        RunWriter::run(&bench.repo, Fate::Counted, |writer| {
            source.lineages.origin(&elsewhere[0], || Ok(vec![sample]), writer).map(|origin| origin.id)
        })
        .map(|(id, ..)| id)
    };
    let id = bench.lineage(&taken)[0].id;
    assert_eq!(closest(&find(&elsewhere).unwrap()).unwrap(), id);
    bench.store.clear();
    bench.store.fail_from(Some(1));
    assert_eq!(find(&taken.paths).err().map(|e| e.kind()), Some(Kind::Io));
    assert_eq!(closest(&find(&elsewhere).unwrap()).unwrap_err().kind(), Kind::Io);
    bench.store.fail_from(None);
    for pack in bench.store.inner().list("packs").unwrap().objects {
        bench.store.delete(&pack.name).unwrap();
    }
    assert!(find(&taken.paths).is_ok());
    assert_ne!(closest(&find(&elsewhere).unwrap()).unwrap(), id, "a line of its own");
}

#[test]
fn an_older_state_that_is_brought_in_rests_on_its_neighbour_of_then() {
    let bench = Bench::new();
    let path = bench.path("chat.db");
    made(&path);
    let take_at = |secs: i64| {
        let time = Some(Timestamp::new(secs, 0));
        snapshot(&bench.repo, &BackupOptions { time, ..bench.options() }, &Silent).unwrap()
    };
    take_at(1_000);
    let state_then = fs::read(&path).unwrap();
    // Since then everything was rewritten.
    Connection::open(&path).unwrap().execute_batch("DELETE FROM m; VACUUM").unwrap();
    chat_on(&path, 2000);
    take_at(9_000);
    fs::write(&path, &state_then).unwrap();
    chat_on(&path, 20);
    let imported = take_at(2_000);
    assert!(bench.copies(&bench.database(&imported, "chat.db")).1 > 3);
    assert!(imported.statistics.data_added_packed * 5 < imported.statistics.data_added);
}

#[test]
fn what_rests_on_a_lost_pack_is_named_with_all_its_days() {
    let bench = Bench::new();
    let path = bench.path("chat.db");
    made(&path);
    made(&bench.path("other.db"));
    bench.take();
    let mut packs = Vec::new();
    for day in 1..=6 {
        chat_on(&path, 20);
        let taken = snapshot(
            &bench.repo,
            &BackupOptions { time: Some(Timestamp::new(day * 86_400, 0)), ..bench.options() },
            &Silent,
        );
        let node = bench.database(&taken.unwrap(), "chat.db");
        let Content::List(root) = node.content else { panic!() };
        let mut newest = None;
        bench
            .repo
            .each_list_item(&root, &mut |item| {
                let ListItem::Chunk { id, .. } = item else { return Ok(()) };
                let copy = bench.repo.catalog().copies(BlobKind::Data, &id)?.remove(0);
                newest = newest.max(Some((copy.entry.generation, copy.pack)));
                Ok(())
            })
            .unwrap();
        packs.push(newest.unwrap().1);
    }
    // The pack with the deltas of the third day goes: the fourth to the sixth rest on it.
    let store = Arc::clone(&bench.store) as Arc<dyn Store>;
    store.delete(&crate::store::ObjectName::pack(&packs[2])).unwrap();
    let days = |affected: &[crate::repo::resting::Affected]| {
        let [one] = affected else { panic!("{affected:?}") };
        assert!(one.path.as_bytes().ends_with(b"/chat.db"), "{affected:?}");
        one.times.iter().map(|time| time.secs / 86_400).collect::<Vec<_>>()
    };
    // A reader that meets it ...
    let elsewhere = bench.elsewhere();
    let snapshots = elsewhere.repo.snapshots(&Silent).unwrap();
    let third = snapshots.iter().find(|snapshot| snapshot.manifest.time.secs == 3 * 86_400).unwrap();
    let node = elsewhere.node_at(third.manifest.root, &path).unwrap();
    let read = crate::browse::write_content(&elsewhere.repo, &node, &mut std::io::sink(), &Cancel::new());
    assert_eq!(read.unwrap_err().kind(), Kind::Damaged);
    assert_eq!(days(&elsewhere.repo.affected(&snapshots).unwrap()), [3, 4, 5, 6]);
    assert_eq!(elsewhere.repo.affected(&snapshots).unwrap(), [], "it is told once");
    // ... and the next snapshot, which mends what it still has.
    let next = bench.take();
    assert_eq!(days(&next.affected), [3, 4, 5, 6]);
    assert!(
        next.databases.is_empty()
            || bench.elsewhere().content(&bench.database(&next, "chat.db")) == fs::read(&path).unwrap()
    );
    assert_eq!(bench.take().affected, []);
}

#[test]
fn fifty_commits_may_leave_the_main_file_untouched() {
    let bench = Bench::new();
    let db = Connection::open(bench.path("chat.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE m(t);").unwrap();
    bench.take();
    let before = (
        fs::read(bench.path("chat.db")).unwrap(),
        bench.path("chat.db").metadata().unwrap().modified().unwrap(),
    );
    for n in 0..50 {
        db.execute("INSERT INTO m VALUES(?)", [n]).unwrap();
    }
    let after = (
        fs::read(bench.path("chat.db")).unwrap(),
        bench.path("chat.db").metadata().unwrap().modified().unwrap(),
    );
    assert!(before == after, "the main file is untouched");
    let summary = bench.take();
    let image = bench.content(&bench.database(&summary, "chat.db"));
    let copy = bench.dir.path().join("restored.db");
    fs::write(&copy, image).unwrap();
    let count = Connection::open(copy).unwrap().query_row("SELECT count(*) FROM m", (), |row| row.get(0));
    assert_eq!(count, Ok(50));
}
