//! A repository that is set up once and put back before every fault.

use crate::kit::{Ran, World};
use chatvault_engine::base::{BlobId, PackId};
use chatvault_engine::crypto::{Credential, ObjectType, RecoveryKey};
use chatvault_engine::format::object::Sealer;
use chatvault_engine::format::pack::{TAIL_LEN, decode_trailer, open_trailer, pack_header, trailer_place};
use chatvault_engine::format::{Config, index::Index};
use chatvault_engine::model::{BlobKind, PackRecord};
use chatvault_engine::store::{LocalStore, ObjectName, Store};
use chatvault_tests::Truth;
use chatvault_tests::bytes::{noise, text};
use chatvault_tests::lab::sealer_of;
use chatvault_tests::sqlite::{all, image};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The folders of a world in which runs leave something.
const STATE: [&str; 3] = ["repo", "home", "key"];
/// The database in `live`, where there is one.
const DATABASE: &str = "chats.db";
/// Beside its app: what it is by its own rules.
const EXPECTED: &str = "expected.db";

/// A world and the states of it that were kept.
pub struct Stage {
    pub world: World,
}

/// What was acknowledged: id and truth.
pub type Acknowledged = (String, Truth);

impl Stage {
    /// A world in memory where the machine has such a file system: its flushes cost nothing.
    pub fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { world: World::within(folder) }
    }

    /// With an empty repository whose packs are small, so that a little data makes many, and a first state in `live`.
    pub fn with_repository() -> Self {
        let stage = Self::new();
        stage.world.repo(&["init"]).succeeded();
        stage.shrink_packs();
        stage.live(1);
        stage
    }

    /// A state of the source: some of it stays from state to state.
    pub fn live(&self, state: u32) {
        let write = |name: &str, content: &[u8]| self.world.write(&format!("live/{name}"), content);
        for number in 0..6 {
            write(&format!("media/{number}.jpg"), &noise(&format!("photo {number}"), 60_000));
        }
        for number in 0..8 {
            write(
                &format!("media/state {state}/{number}.opus"),
                &noise(&format!("{state} {number}"), 40_000),
            );
        }
        write("chat.txt", &text(&format!("chat {state}"), 300_000));
        write("name\n\u{202e}.txt", format!("state {state}").as_bytes());
        write("empty", b"");
        let link = self.world.path("live/link");
        if !link.is_symlink() {
            std::os::unix::fs::symlink("chat.txt", link).unwrap();
        }
    }

    /// A database as an app leaves it that was killed: what is new in this state is in its log only.
    pub fn live_database(&self, state: u32) {
        let work = self.world.path("app");
        fs::create_dir_all(&work).unwrap();
        let db = Connection::open(work.join(DATABASE)).unwrap();
        all(&db, "CREATE TABLE IF NOT EXISTS m(id INTEGER PRIMARY KEY, words BLOB)");
        for row in 0..100 {
            let words = noise(&format!("message {row}"), 1000);
            db.execute("INSERT INTO m VALUES(?, ?) ON CONFLICT DO NOTHING", (row, words)).unwrap();
        }
        all(&db, "PRAGMA journal_mode=WAL");
        all(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
        for row in 0..3 {
            let words = noise(&format!("{state} {row}"), 1000);
            db.execute("INSERT INTO m(words) VALUES(?)", (words,)).unwrap();
        }
        for suffix in ["", "-wal"] {
            let name = format!("{DATABASE}{suffix}");
            fs::copy(work.join(&name), self.world.path(&format!("live/{name}"))).unwrap();
        }
        db.close().unwrap();
        fs::write(work.join(EXPECTED), image(&self.world.path("live").join(DATABASE), &work)).unwrap();
    }

    /// What a restore of `live` must bring: of a database its committed state, in one file.
    pub fn truth(&self) -> Truth {
        let live = self.world.path("live");
        let mut truth = Truth::read(&live);
        let wal = truth.0.remove(format!("{DATABASE}-wal").as_bytes());
        if let (Some(database), Some(wal)) = (truth.0.get_mut(DATABASE.as_bytes()), wal) {
            let image = fs::read(self.world.path("app").join(EXPECTED)).unwrap();
            database.size = image.len() as u64;
            database.content = Some(*blake3::hash(&image).as_bytes());
            database.mtime = database.mtime.max(wal.mtime);
        }
        truth
    }

    /// Takes a snapshot that succeeds.
    #[track_caller]
    pub fn snapshot(&self) -> Acknowledged {
        let truth = self.truth();
        (snapshot_id(&self.world.repo(&["snapshot", "--json", "live"]).succeeded()), truth)
    }

    /// Puts aside what is there under a name.
    pub fn keep(&self, name: &str) {
        let kept = self.world.path(&format!("kept/{name}"));
        let _not_there = fs::remove_dir_all(&kept);
        fs::create_dir_all(&kept).unwrap();
        for entry in STATE.iter().filter(|entry| self.world.path(entry).exists()) {
            copy(&self.world.path(entry), &kept);
        }
    }

    /// Puts back what was kept.
    pub fn put_back(&self, name: &str) {
        let kept = self.world.path(&format!("kept/{name}"));
        for entry in STATE {
            let there = self.world.path(entry);
            let _not_there =
                if there.is_dir() { fs::remove_dir_all(&there) } else { fs::remove_file(&there) };
            if kept.join(entry).exists() {
                copy(&kept.join(entry), &self.world.path(""));
            }
        }
    }

    pub fn store(&self) -> LocalStore {
        LocalStore::open(&self.world.path("repo")).unwrap()
    }

    pub fn sealer(&self) -> Sealer {
        let key = RecoveryKey::parse(&key_line(&self.world.read("key"))).unwrap();
        sealer_of(&self.store(), &Credential::Recovery(key))
    }

    fn shrink_packs(&self) {
        let sealer = self.sealer();
        let path = self.world.path("repo/config");
        let mut config = Config::open(&sealer, &fs::read(&path).unwrap()).unwrap();
        (config.media_pack, config.other_pack, config.run) = (1 << 16, 1 << 16, 1 << 16);
        (config.chunk_min, config.chunk_avg, config.chunk_max) = (4096, 16384, 65536);
        let object = config.seal(&sealer).unwrap();
        fs::write(&path, &object).unwrap();
        fs::write(self.world.path("repo/mirror/config"), &object).unwrap();
    }

    /// The packs under their own names, and those of them that an index names.
    pub fn packs(&self) -> (BTreeMap<PackId, PackRecord>, BTreeSet<PackId>) {
        let (store, sealer) = (self.store(), self.sealer());
        let packs = store.list("packs").unwrap().objects.into_iter().map(|info| {
            let bytes = store.get(&info.name, info.size).unwrap();
            let record = record_of(&sealer, &info.name, &bytes);
            (record.pack, record)
        });
        let packs = packs.collect();
        let mut indexed = BTreeSet::new();
        for info in store.list("index").unwrap().objects {
            let object = store.get(&info.name, info.size).unwrap();
            let body = sealer.open(ObjectType::Index, &object, "an index").unwrap();
            indexed.extend(Index::decode(&body).unwrap().packs.iter().map(|pack| pack.pack));
        }
        (packs, indexed)
    }

    /// Page runs that are stored as differences to others.
    pub fn deltas(&self) -> usize {
        let (packs, _) = self.packs();
        let entries = packs.values().flat_map(|pack| &pack.entries);
        entries.filter(|entry| entry.kind == BlobKind::Data && entry.base.is_some()).count()
    }

    /// Restores a snapshot and says how it differs from what it should be.
    pub fn restores_as(&self, id: &str, truth: &Truth) -> Result<(), String> {
        let target = self.world.path("out");
        let _not_there = fs::remove_dir_all(&target);
        let live = format!("{id}:{}", self.world.text("live"));
        let ran = self.world.repo(&["restore", &live, "--target", "out"]);
        if ran.code != 0 {
            return Err(format!("restoring {id} ends with {}: {}", ran.code, ran.stderr));
        }
        let differences = truth.differences(&Truth::read(&target));
        if differences.is_empty() { Ok(()) } else { Err(format!("{id} differs: {differences:?}")) }
    }

    /// Ids of all snapshots.
    pub fn ids(&self) -> Result<Vec<String>, String> {
        let ran = self.world.repo(&["list", "--json"]);
        if ran.code != 0 {
            return Err(format!("list ends with {}: {}", ran.code, ran.stderr));
        }
        let list = ran.json();
        let ids = list.as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned());
        Ok(ids.collect())
    }

    /// All that was acknowledged is listed and restores, and so does whatever else is listed: it can only be the state
    /// that is in `live`.
    pub fn nothing_is_lost(&self, acknowledged: &[Acknowledged]) -> Result<(), String> {
        let ids = self.ids()?;
        if let Some((lost, _)) = acknowledged.iter().find(|(id, _)| !ids.contains(id)) {
            return Err(format!("{lost} was acknowledged and is not listed"));
        }
        for id in &ids {
            match acknowledged.iter().find(|(known, _)| known == id) {
                Some((_, truth)) => self.restores_as(id, truth)?,
                None => self.restores_as(id, &self.truth())?,
            }
        }
        Ok(())
    }

    /// The next snapshot works without any help, and is whole.
    pub fn goes_on(&self) -> Result<(), String> {
        let ran = self.world.repo(&["snapshot", "--json", "live"]);
        if ran.code != 0 {
            return Err(format!("the next snapshot ends with {}: {}", ran.code, ran.stderr));
        }
        self.restores_as(&snapshot_id(&ran), &self.truth())?;
        let leases = self.store().list("leases").unwrap().objects;
        if leases.is_empty() { Ok(()) } else { Err(format!("left after a run that ended well: {leases:?}")) }
    }

    /// Plain bytes of packs that no index names.
    pub fn left(&self) -> Left {
        if !self.world.path("repo/config").exists() {
            return Left::default();
        }
        let (packs, indexed) = self.packs();
        Left {
            known: packs.keys().copied().collect(),
            blobs: packs
                .into_iter()
                .filter(|(id, _)| !indexed.contains(id))
                .flat_map(|(_, pack)| blobs(&pack))
                .collect(),
        }
    }
}

/// What a killed run left.
#[derive(Debug, Default)]
pub struct Left {
    known: BTreeSet<PackId>,
    blobs: BTreeMap<(BlobKind, BlobId), u64>,
}

impl Left {
    /// Plain bytes that are durable and in no index.
    pub fn bytes(&self) -> u64 {
        self.blobs.values().sum()
    }

    /// Plain bytes of them that were stored once more since.
    pub fn stored_again(&self, stage: &Stage) -> u64 {
        let (packs, _) = stage.packs();
        packs
            .iter()
            .filter(|(id, _)| !self.known.contains(*id))
            .flat_map(|(_, pack)| blobs(pack))
            .filter(|(blob, _)| self.blobs.contains_key(blob))
            .map(|(_, bytes)| bytes)
            .sum()
    }
}

fn blobs(pack: &PackRecord) -> Vec<((BlobKind, BlobId), u64)> {
    pack.entries.iter().map(|entry| ((entry.kind, entry.id), u64::from(entry.plain_len))).collect()
}

fn record_of(sealer: &Sealer, name: &ObjectName, bytes: &[u8]) -> PackRecord {
    let subject = name.as_str();
    let (header, raw) = pack_header(bytes, subject).unwrap();
    let size = bytes.len() as u64;
    let (offset, len) = trailer_place(size, bytes.last_chunk::<TAIL_LEN>().unwrap(), subject).unwrap();
    let place = usize::try_from(offset).unwrap()..usize::try_from(offset + len).unwrap();
    let key = sealer.key(&header, subject).unwrap();
    let trailer = open_trailer(&key, &raw, bytes[place].to_vec(), subject).unwrap();
    decode_trailer(PackId::from_hex(name.last()).unwrap(), size, raw, &trailer).unwrap()
}

/// The id in the summary of a snapshot.
pub fn snapshot_id(ran: &Ran) -> String {
    ran.json_lines().pop().unwrap()["snapshot_id"].as_str().unwrap().to_owned()
}

/// The key in a key file.
pub fn key_line(file: &str) -> String {
    file.lines().find(|line| line.trim_start().starts_with("cv1-")).unwrap_or_default().trim().to_owned()
}

fn copy(from: &Path, into: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(into).status().unwrap().success());
}
