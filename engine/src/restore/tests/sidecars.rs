//! A database and its sidecars are of one state, whatever stands in the target and whatever fails.

use super::overwrite::{NEWER, OLDER, database, run, with, write};
use super::select::patterns;
use super::*;
use crate::base::{Counter, Observer};
use crate::browse::testing::{MTIME, Maker, commit, damage, repository};
use crate::model::{BlobKind, Content, Database, DatabaseState, Node};
use crate::restore::{Action, Overwrite, plan_each};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::tempdir;

const ASIDE: &str = "m.db-wal.before-restore";

fn pair(maker: &Maker<'_>) -> Vec<Node> {
    vec![database(maker, "m.db", b"stored"), maker.file("m.db-wal", b"stored wal")]
}

fn forced(target: &Path, overwrite: Overwrite) -> RestoreOptions {
    with(target, |options| {
        options.overwrite = overwrite;
        options.force = true;
    })
}

fn content(folder: &Path, name: &str) -> Option<String> {
    fs::read(folder.join(name)).ok().map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn a_sidecar_is_restored_only_with_its_database_and_the_plan_says_so() {
    use Action::{Keep, Make, Overwrite as Replace};
    let (_, repo) = repository();
    let snapshot = commit(&repo, pair);
    let (kept, stored) = (Some("there"), Some("stored wal"));
    for (overwrite, main, wal, actions, expected, moved) in [
        (Overwrite::Never, Some(NEWER), None, [Keep, Keep], [kept, None], false),
        (Overwrite::Never, None, Some(OLDER), [Make, Replace], [Some("stored"), stored], true),
        (Overwrite::IfNewer, Some(NEWER), None, [Keep, Keep], [kept, None], false),
        (Overwrite::IfNewer, Some(NEWER), Some(OLDER), [Keep, Keep], [kept, Some("forged wal")], false),
        (Overwrite::IfNewer, Some(OLDER), Some(NEWER), [Replace, Replace], [Some("stored"), stored], true),
        (Overwrite::IfChanged, Some(OLDER), Some(MTIME), [Replace, Replace], [Some("stored"), stored], true),
        (Overwrite::IfChanged, Some(NEWER), None, [Replace, Make], [Some("stored"), stored], false),
        (Overwrite::Always, Some(NEWER), Some(NEWER), [Replace, Replace], [Some("stored"), stored], true),
    ] {
        let case = format!("{overwrite:?} {main:?} {wal:?}");
        let temp = tempdir().unwrap();
        for (name, bytes, time) in [("m.db", "there", main), ("m.db-wal", "forged wal", wal)] {
            if let Some(time) = time {
                write(temp.path(), name, bytes.as_bytes(), time);
            }
        }
        let mut told = Vec::new();
        let options = RestoreOptions { compare: true, ..forced(temp.path(), overwrite) };
        let planned = plan_each(&repo, &snapshot, &options, &Silent, &mut |entry| told.push(entry.action));
        let planned = planned.unwrap();
        assert_eq!(told, actions, "{case}");
        let counts = (planned.kept, planned.overwritten);
        let summary = apply(&repo, planned, &Silent).unwrap();
        assert_eq!((summary.kept, summary.overwritten, summary.failed), (counts.0, counts.1, 0), "{case}");
        let names = ["m.db", "m.db-wal"].map(|name| content(temp.path(), name));
        assert_eq!(names, expected.map(|text| text.map(str::to_owned)), "{case}");
        assert_eq!(content(temp.path(), ASIDE), moved.then(|| "forged wal".to_owned()), "{case}");
    }
}

#[test]
fn a_damaged_sidecar_or_database_leaves_no_mixed_state() {
    for (lost, there, expected) in [
        ("/m.db-wal", &b"there"[..], [Some("stored"), None, Some("newest")]),
        ("/m.db-wal", b"stored", [Some("stored"), None, Some("newest")]),
        ("/m.db", b"there", [Some("there"), Some("newest"), None]),
    ] {
        let (store, repo) = repository();
        let snapshot = commit(&repo, pair);
        let node =
            crate::browse::lookup(&repo, &snapshot, &StoredPath::parse(lost.as_bytes()).unwrap()).unwrap();
        let Content::Chunk(id) = node.content else { panic!("no chunk") };
        damage(&store, &repo, BlobKind::Data, &id);
        let temp = tempdir().unwrap();
        write(temp.path(), "m.db", there, OLDER);
        write(temp.path(), "m.db-wal", b"newest", NEWER);
        let summary = run(&repo, &snapshot, &forced(temp.path(), Overwrite::IfNewer)).unwrap();
        assert_eq!((summary.damaged, summary.failed), (1, 0), "{lost}");
        let names = ["m.db", "m.db-wal", ASIDE].map(|name| content(temp.path(), name));
        assert_eq!(names, expected.map(|text| text.map(str::to_owned)), "{lost}");
    }
}

#[test]
fn sidecars_are_put_back_if_the_database_cannot_get_its_name() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![database(maker, "m.db", b"stored")]);
    let temp = tempdir().unwrap();
    write(temp.path(), "m.db-wal", b"newest", OLDER);
    let planned = plan(&repo, &snapshot, &forced(temp.path(), Overwrite::Always), &Silent).unwrap();
    // Comes meanwhile, and must not be deleted.
    write(temp.path(), "m.db/in the way", b"x", OLDER);
    let summary = apply(&repo, planned, &Silent).unwrap();
    assert_eq!((summary.failed, summary.files, summary.warnings.len()), (1, 0, 1), "{:?}", summary.warnings);
    assert_eq!(names_in(temp.path()), ["m.db", "m.db/in the way", "m.db-wal"]);
}

#[test]
fn sidecars_are_moved_out_of_the_way_of_a_further_name_too() {
    for there in [None, Some(OLDER)] {
        let (_, repo) = repository();
        let snapshot = commit(&repo, |maker| {
            let linked = |name: &str, content: &[u8], group| {
                let mut node = database(maker, name, content);
                node.hard_link = Some(group);
                if name.ends_with("-wal") {
                    node.database = None;
                }
                node
            };
            vec![
                linked("a.db", b"stored", 1),
                linked("a.db-wal", b"stored wal", 2),
                linked("m.db", b"stored", 1),
                linked("m.db-wal", b"stored wal", 2),
            ]
        });
        let temp = tempdir().unwrap();
        write(temp.path(), "m.db-wal", b"newest", NEWER);
        write(temp.path(), "m.db-journal", b"newest", NEWER);
        if let Some(time) = there {
            write(temp.path(), "m.db", b"there", time);
        }
        let summary = run(&repo, &snapshot, &forced(temp.path(), Overwrite::IfNewer)).unwrap();
        assert_eq!((summary.failed, summary.files, summary.hard_links), (0, 2, 2), "{:?}", summary.warnings);
        let journal = "m.db-journal.before-restore";
        assert_eq!(names_in(temp.path()), ["a.db", "a.db-wal", "m.db", journal, "m.db-wal", ASIDE]);
        assert_eq!(content(temp.path(), "m.db-wal").as_deref(), Some("stored wal"));
        assert_eq!(content(temp.path(), ASIDE).as_deref(), Some("newest"));
    }
}

#[test]
fn what_an_earlier_restore_moved_aside_is_never_deleted() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.dir("d", vec![database(maker, "m.db", b"stored")])]);
    let temp = tempdir().unwrap();
    let spared =
        ["d/m.db-wal.before-restore", "d/m.db-shm.before-restore-12", "d/gone/x.db-journal.before-restore"];
    let others =
        ["d/m.db.before-restore", "d/m.db-wal.before-restore-", "d/m.db-wal.before-restore-x", "d/gone/y"];
    for name in spared.iter().chain(&others) {
        write(temp.path(), name, b"x", OLDER);
    }
    let options = with(temp.path(), |options| {
        options.overwrite = Overwrite::IfChanged;
        options.delete = true;
    });
    let planned = plan(&repo, &snapshot, &options, &Silent).unwrap();
    assert_eq!(planned.deleted, others.len() as u64);
    apply(&repo, planned, &Silent).unwrap();
    assert_eq!(spared.map(|name| temp.path().join(name).exists()), [true; 3]);
    assert_eq!(others.map(|name| temp.path().join(name).exists()), [false; 4]);
}

#[test]
fn folders_that_are_merged_into_need_no_new_entries() {
    let (_, repo) = repository();
    let snapshot =
        commit(&repo, |maker| vec![maker.dir("d", vec![maker.dir("e", vec![maker.file("f", b"f")])])]);
    let temp = tempdir().unwrap();
    fs::create_dir_all(temp.path().join("d/e")).unwrap();
    let planned = plan(&repo, &snapshot, &options(temp.path(), None), &Silent).unwrap();
    let block = crate::restore::target::Place::find(temp.path()).unwrap().free().unwrap().block;
    assert_eq!((planned.dirs, planned.needed_bytes), (2, block));
}

#[test]
fn a_damaged_log_that_is_stored_with_its_database_is_kept_elsewhere() {
    let (_, repo) = repository();
    let before = commit(&repo, |maker| vec![maker.dir("d", vec![maker.file("f", b"f")])]);
    let with_log = commit(&repo, |maker| {
        let mut node = database(maker, "m.db", b"m");
        let log =
            crate::model::DamagedLog { size: 3, content: Content::Chunk(maker.blob(b"log")), hash: None };
        if let Some(database) = &mut node.database {
            database.damaged_log = Some(log);
        }
        vec![maker.dir("d", vec![maker.file("f", b"f"), node])]
    });
    let temp = tempdir().unwrap();
    restore(&repo, &with_log, temp.path(), None).unwrap();
    assert_eq!(fs::read(temp.path().join("d/m.db-wal.damaged")).unwrap(), b"log");
    let options = with(temp.path(), |options| {
        (options.overwrite, options.delete, options.discard) = (Overwrite::IfChanged, true, false);
    });
    // Another content of it would be only here.
    fs::write(temp.path().join("d/m.db-wal.damaged"), b"LOG").unwrap();
    let error = plan(&repo, &before, &options, &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::OnlyHere);
    assert!(
        error.full_text().contains("m.db-wal.damaged (file)") && !error.full_text().contains("m.db (file)")
    );
    fs::write(temp.path().join("d/m.db-wal.damaged"), b"log").unwrap();
    assert_eq!(run(&repo, &before, &options).unwrap().deleted, 2);
    assert_eq!(names_in(temp.path()), ["d", "d/f"]);
}

/// Moves a folder away once a file was written.
struct Mover(PathBuf, AtomicBool);

impl Observer for Mover {
    fn add(&self, counter: Counter, _: u64) {
        if counter == Counter::Files && !self.1.swap(true, Ordering::Relaxed) {
            fs::rename(self.0.join("d"), self.0.join("away")).unwrap();
        }
    }
}

#[test]
fn a_folder_that_cannot_be_entered_in_the_end_is_told() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| vec![maker.dir("d", vec![maker.file("f", b"f")])]);
    let temp = tempdir().unwrap();
    let mover = Mover(temp.path().to_owned(), AtomicBool::new(false));
    let planned = plan(&repo, &snapshot, &options(temp.path(), None), &Silent).unwrap();
    let summary = apply(&repo, planned, &mover).unwrap();
    assert!(mover.1.load(Ordering::Relaxed));
    assert_eq!((summary.files, summary.failed), (1, 1), "{:?}", summary.warnings);
    assert_eq!(summary.warnings[0].path.as_ref().unwrap().to_string(), "/d");
}

#[test]
fn verify_asks_sqlite_of_what_it_can_read_and_of_nothing_that_is_encrypted() {
    let temp = tempdir().unwrap();
    let db = rusqlite::Connection::open(temp.path().join("plain.db")).unwrap();
    db.execute_batch("CREATE TABLE m(t); INSERT INTO m VALUES('hello')").unwrap();
    drop(db);
    let plain = fs::read(temp.path().join("plain.db")).unwrap();
    // As Signal's on iOS: the first 32 bytes can be read, and nothing behind them.
    let mut behind_header = vec![0; plain.len()];
    crate::base::hash::derive_bytes("test noise", &[b"verify"], &mut behind_header);
    behind_header[..32].copy_from_slice(&plain[..32]);
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        vec![database(maker, "behind.db", &behind_header), database(maker, "plain.db", &plain)]
    });
    let out = with(&temp.path().join("out"), |options| options.verify = true);
    let summary = run(&repo, &snapshot, &out).unwrap();
    assert_eq!((summary.verified, summary.sound_databases, summary.unsound_databases), (2, 1, 0));
    assert_eq!(summary.warnings, [], "it was not tried in vain");
}

#[test]
fn what_lay_beside_a_database_comes_with_it_however_it_is_chosen() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| {
        let mut lay = database(maker, "m.db", b"stored");
        lay.database = lay.database.map(|database| Database {
            state: DatabaseState::AsItLay,
            // The last two are what a hostile record could say.
            sidecars: [&b"m.db-wal"[..], b"m.db-journal", b"m.db", b"n.db-wal"].map(<[u8]>::to_vec).to_vec(),
            ..database
        });
        let mut image = database(maker, "n.db", b"image");
        image.database =
            image.database.map(|database| Database { sidecars: vec![b"n.db-wal".to_vec()], ..database });
        let others = ["m.db-wal", "m.db-shm", "n.db-wal"].map(|name| maker.file(name, b"beside"));
        [vec![lay, image], others.to_vec()].concat()
    });
    for (path, include, exclude, expected) in [
        (Some("/m.db"), &[][..], &[][..], &["m.db", "m.db-wal"][..]),
        (Some("/n.db"), &[], &[], &["n.db"]),
        (Some("/m.db-wal"), &[], &[], &["m.db-wal"]),
        (None, &["*.db"], &[], &["m.db", "m.db-wal", "n.db"]),
        (None, &["*.db"], &["*-wal"], &["m.db", "n.db"]),
        (None, &["*.db"], &["m.db"], &["n.db"]),
    ] {
        let temp = tempdir().unwrap();
        let options = with(temp.path(), |options| {
            options.path = path.map(|path| StoredPath::parse(path.as_bytes()).unwrap());
            (options.include, options.exclude) = (patterns(include), patterns(exclude));
        });
        let summary = run(&repo, &snapshot, &options).unwrap();
        assert_eq!(names_in(temp.path()), expected, "{path:?} {include:?} {exclude:?}");
        assert_eq!(summary.files, expected.len() as u64);
    }
}
