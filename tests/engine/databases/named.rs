//! Databases whose own names end as those of sidecars do come back with all that their logs held.

use chatvault_engine::repo::Repo;
use chatvault_engine::store::MemoryStore;
use chatvault_tests::Lab;
use chatvault_tests::lab::find;
use rusqlite::Connection;
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn messages(path: &Path) -> i64 {
    Connection::open(path).unwrap().query_row("SELECT count(*) FROM m", (), |row| row.get(0)).unwrap()
}

#[test]
fn live_databases_with_the_names_of_sidecars_are_restored_as_single_files() {
    let (lab, store) = (Lab::light(), Arc::new(MemoryStore::new()));
    let repo: Repo = lab.create_in(store);
    let names = ["chat", "chat-wal", "chat-wal-journal", "live", "live-journal", "text", "text-journal"];
    let mut apps = Vec::new();
    for name in names {
        let path = lab.source().join(name);
        match name {
            "text" => fs::write(path, "text").unwrap(),
            "chat" => Connection::open(path)
                .unwrap()
                .execute_batch("CREATE TABLE m(t); INSERT INTO m VALUES(1)")
                .unwrap(),
            _ => {
                let app = Connection::open(path).unwrap();
                app.execute_batch(
                    "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE m(t);
                     INSERT INTO m VALUES(1); INSERT INTO m VALUES(2);",
                )
                .unwrap();
                apps.push(app);
            }
        }
    }
    let taken = lab.snapshot_of(&repo, &lab.source());
    assert_eq!(taken.warnings, []);
    let restored = lab.try_restore(&repo, &find(&repo, &taken.id), &lab.source()).unwrap();
    assert_eq!((restored.summary.damaged, restored.summary.failed), (0, 0), "{:?}", restored.summary);
    let mut there: Vec<_> = fs::read_dir(&restored.folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, names);
    for name in names.into_iter().filter(|name| *name != "text") {
        // Each where nothing lies beside it: SQLite would take its neighbours for its own.
        let alone = lab.path().join("alone");
        fs::copy(restored.folder.join(name), &alone).unwrap();
        assert_eq!(messages(&alone), if name == "chat" { 1 } else { 2 }, "{name}");
    }
    drop(apps);
}
