//! `docs/format.md` against the Rust code: every number, every map key, every context string, every longest object.

use chatvault_engine::base::{
    BlobId, KeyId, LineageId, PackId, RepoId, Result, SnapshotId, StoredPath, Timestamp, WriterId,
};
use chatvault_engine::crypto::slot::MAX_SLOT_LEN;
use chatvault_engine::crypto::{Algorithm, KeyBundle, KeySource, ObjectType, SlotKind};
use chatvault_engine::format::object::Sealer;
use chatvault_engine::format::{
    Config, KeyNote, Lease, cbor, config, event, index, lease, lineage, list, manifest, pack, tree,
};
use chatvault_engine::model::lineage::MOST_SAMPLES;
use chatvault_engine::model::{
    BlobEntry, BlobKind, Checked, CodecTag, Content, DamagedLog, Database, DatabaseState, Event, EventAction,
    Head, Layout, Lineage, Manifest, Node, NodeKind, PackClass, PackRecord, Sample, Statistics, Verdict,
    VerdictCode,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Numbers = BTreeMap<String, u64>;
type Keys = BTreeMap<String, BTreeSet<u64>>;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn document() -> String {
    std::fs::read_to_string(workspace().join("docs/format.md")).unwrap()
}

/// Number tables by title, and map keys by section, without those that the document calls reserved.
fn tables(text: &str) -> (BTreeMap<String, Numbers>, Keys) {
    let (mut numbers, mut keys) = (BTreeMap::<String, Numbers>::new(), Keys::new());
    let (mut section, mut heading) = (String::new(), None::<Vec<String>>);
    for line in text.lines() {
        if let Some((_, title)) = line.strip_prefix("## ").and_then(|title| title.split_once(". ")) {
            section = title.to_owned();
        }
        let Some(row) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            heading = None;
            continue;
        };
        let cells: Vec<String> =
            row.replace("\\|", "/").split('|').map(|cell| cell.trim().to_owned()).collect();
        match &heading {
            None => heading = Some(cells),
            Some(_) if cells[0].starts_with("---") => {}
            Some(heading) if heading[1] == "number" => {
                let name = cells[0].split(['(', ':', ',']).next().unwrap().trim().to_owned();
                let old =
                    numbers.entry(heading[0].clone()).or_default().insert(name, cells[1].parse().unwrap());
                assert_eq!(old, None, "{line}");
            }
            Some(heading) if heading[0] == "key" && !cells[1].starts_with("reserved") => {
                let row = cells[0].split(',').map(|key| key.trim().parse::<u64>().unwrap());
                keys.entry(section.clone()).or_default().extend(row);
            }
            Some(_) => {}
        }
    }
    (numbers, keys)
}

/// The number of an action is written by hand in `format::event`: it is the value of key 5.
fn action_number(action: EventAction) -> u64 {
    let mut number = None;
    let body = event::encode(&an_event(action));
    cbor::Reader::new(&body, "an event")
        .map(|key, r| if key == 5 { r.uint().map(|n| number = Some(n)).map(|()| true) } else { Ok(false) })
        .unwrap();
    number.unwrap()
}

fn an_event(action: EventAction) -> Event {
    let writer = WriterId::new([2; 16]);
    Event { writer, sequence: 1, previous: Some([3; 32]), lamport: 1, created: Timestamp::new(1, 2), action }
}

fn actions() -> Vec<(&'static str, EventAction)> {
    let (snapshot, writer) = (SnapshotId::new([1; 32]), WriterId::new([2; 16]));
    let tags = vec!["a".to_owned()];
    vec![
        ("tag", EventAction::Tag { snapshot, add: tags.clone(), remove: tags }),
        ("describe", EventAction::Describe { snapshot, text: "a".into() }),
        ("accept", EventAction::Accept { snapshot }),
        ("forget", EventAction::Forget { snapshot, writer, sequence: 1, previous: Some([3; 32]) }),
        ("undo", EventAction::Undo { snapshot }),
        (
            "key change",
            EventAction::KeyChange { added: Some(KeyId::new([4; 32])), removed: vec![KeyId::new([5; 32])] },
        ),
    ]
}

const STATES: [(&str, DatabaseState); 4] = [
    ("quiescent", DatabaseState::Quiescent),
    ("as it lay", DatabaseState::AsItLay),
    ("captured", DatabaseState::Captured),
    ("pair", DatabaseState::Pair),
];

const CHECKS: [(&str, Checked); 4] = [
    ("not checked", Checked::No),
    ("quick", Checked::Quick),
    ("full", Checked::Full),
    ("failed", Checked::Failed),
];

const VERDICTS: [(&str, VerdictCode); 3] =
    [("good", VerdictCode::Good), ("suspect", VerdictCode::Suspect), ("unaccepted", VerdictCode::Unaccepted)];

/// What the code knows, by the document's names.
fn known_numbers() -> BTreeMap<String, Numbers> {
    fn table<T: Copy>(names: &[(&str, T)], number: impl Fn(T) -> u64) -> Numbers {
        names.iter().map(|(name, value)| ((*name).to_owned(), number(*value))).collect()
    }
    let objects = ObjectType::ALL.map(|kind| (kind.name(), kind));
    let nodes = NodeKind::ALL.map(|kind| (kind.name(), kind));
    let algorithms =
        [("AES-256-GCM", Algorithm::Aes256Gcm), ("ChaCha20-Poly1305", Algorithm::ChaCha20Poly1305)];
    let sources = [
        ("epoch key", KeySource::Epoch),
        ("wrapped to a recipient", KeySource::Recipient),
        ("slot key", KeySource::Slot),
    ];
    let slots = [
        ("password", SlotKind::Password),
        ("recovery key", SlotKind::Recovery),
        ("password and key file", SlotKind::PasswordAndFile),
    ];
    let blobs = [
        ("data", BlobKind::Data),
        ("tree page", BlobKind::TreePage),
        ("list page", BlobKind::ListPage),
        ("secret", BlobKind::Secret),
    ];
    let codecs = [("raw", CodecTag::Raw), ("zstd", CodecTag::Zstd), ("zstd delta", CodecTag::ZstdDelta)];
    let classes = [("media", PackClass::Media), ("runs", PackClass::Runs), ("metadata", PackClass::Metadata)];
    let layouts = [("stream", Layout::Stream), ("page runs", Layout::PageRuns)];
    assert_eq!(algorithms.map(|(_, value)| value), Algorithm::ALL);
    assert_eq!(blobs.map(|(_, value)| value), BlobKind::ALL);
    assert_eq!(codecs.map(|(_, value)| value), CodecTag::ALL);
    assert_eq!(classes.map(|(_, value)| value), PackClass::ALL);
    let actions =
        actions().into_iter().map(|(name, action)| (name.to_owned(), action_number(action))).collect();
    let tables = [
        ("object type", table(&objects, |v| v as u64)),
        ("algorithm", table(&algorithms, |v| v as u64)),
        ("key source", table(&sources, |v| v as u64)),
        ("slot kind", table(&slots, |v| v as u64)),
        ("blob kind", table(&blobs, |v| v as u64)),
        ("codec", table(&codecs, |v| v as u64)),
        ("pack class", table(&classes, |v| v as u64)),
        ("node kind", table(&nodes, |v| v as u64)),
        ("layout", table(&layouts, |v| v as u64)),
        ("database state", table(&STATES, |v| v as u64)),
        ("check", table(&CHECKS, |v| v as u64)),
        ("verdict", table(&VERDICTS, |v| v as u64)),
        ("action", actions),
    ];
    tables.map(|(title, table)| (title.to_owned(), table)).into()
}

fn keys_of(body: &[u8]) -> BTreeSet<u64> {
    let mut keys = BTreeSet::new();
    let skip_all = |key, _: &mut cbor::Reader<'_>| -> Result<bool> {
        keys.insert(key);
        Ok(false)
    };
    cbor::Reader::new(body, "a map").map(skip_all).unwrap();
    keys
}

fn full_node() -> BTreeSet<u64> {
    let id = BlobId::new([1; 32]);
    let mut node = Node::new(b"name".to_vec(), NodeKind::File);
    node.user = Some("u".into());
    node.group = Some("g".into());
    node.mtime = Some(Timestamp::new(1, 2));
    node.size = 5;
    node.layout = Layout::PageRuns;
    node.content = Content::List(id);
    node.hash = Some(id);
    node.target = Some(b"target".to_vec());
    node.hard_link = Some(1);
    node.device = Some((1, 2));
    node.xattrs = vec![(b"user.a".to_vec(), b"b".to_vec())];
    node.subtree = Some(id);
    node.changed_while_read = true;
    node.database = Some(Database {
        state: DatabaseState::Captured,
        page_size: 4096,
        sidecars: vec![],
        damaged_log: Some(DamagedLog { size: 5, content: Content::Chunk(id), hash: None }),
    });
    let mut keys = keys_of(&tree::encode_node(&node));
    node.content = Content::Chunk(id);
    keys.extend(keys_of(&tree::encode_node(&node)));
    keys
}

fn full_manifest() -> Manifest {
    let (writer, root) = (WriterId::new([1; 16]), BlobId::new([2; 32]));
    Manifest {
        time: Timestamp::new(1, 2),
        created: Timestamp::new(1, 2),
        utc_offset_minutes: 60,
        writer,
        sequence: 2,
        previous: Some([3; 32]),
        lamport: 2,
        heads: vec![Head { writer, sequence: 1, hash: [4; 32] }],
        imported: true,
        host: "host".into(),
        user: "user".into(),
        paths: vec![StoredPath::root()],
        parent: Some(SnapshotId::new([5; 32])),
        root,
        statistics: Statistics::default(),
        program: "program".into(),
        tags: vec!["tag".into()],
        description: Some("words".into()),
        verdict: Some(Verdict { code: VerdictCode::Good, reasons: vec![] }),
        incomplete: true,
        summaries: Some(root),
        lineage: Some(root),
        links: vec![(StoredPath::root(), b"target".to_vec())],
        is_stream: true,
    }
}

fn lineage_record() -> BTreeSet<u64> {
    let id = BlobId::new([1; 32]);
    let mut record = Lineage {
        path: StoredPath::root(),
        id: LineageId::new([2; 16]),
        page_size: 4096,
        size: 5,
        content: Content::List(id),
        hash: Some(id),
        samples: vec![Sample { run: 1, id: [3; 8] }],
        checked: Checked::Quick,
    };
    let mut keys = keys_of(&lineage::encode_record(&record));
    record.content = Content::Chunk(id);
    keys.extend(keys_of(&lineage::encode_record(&record)));
    keys
}

fn known_keys() -> Keys {
    let sealer = Sealer::new(RepoId::new([1; 32]), KeyBundle::random().unwrap());
    let settings = Config::standard(Timestamp::new(1, 2)).seal(&sealer).unwrap();
    let settings = sealer.open_with(ObjectType::Config, &settings, 40, "config").unwrap();
    let id = BlobId::new([1; 32]);
    let (kind, codec) = (BlobKind::Data, CodecTag::Raw);
    let entry =
        BlobEntry { kind, id, codec, plain_len: 5, sealed_len: 21, base: None, depth: 0, generation: 0 };
    let (header, class, entries) = ([0; 52], PackClass::Runs, vec![entry]);
    let trailer = pack::encode_trailer(class, 9, &entries);
    let record = PackRecord { pack: PackId::new([2; 32]), size: 5, header, class, padding: 9, entries };
    let events = actions().into_iter().flat_map(|(_, action)| keys_of(&event::encode(&an_event(action))));
    let holder = Lease {
        writer: WriterId::new([1; 16]),
        kind: lease::LeaseKind::Exclusive,
        host: "host".into(),
        boot_id: "boot".into(),
        pid: 1,
        started: 1,
        begun: Timestamp::new(1, 2),
        machine: [2; 16],
        pid_namespace: 3,
        ended: true,
    };
    let note = KeyNote {
        label: Some("label".into()),
        replaces: Some(KeyId::new([4; 32])),
        host: "host".into(),
        ..KeyNote::default()
    };
    // Required features are read, and not written before there is one.
    let mut snapshots = keys_of(&manifest::encode(&full_manifest()));
    snapshots.insert(22);
    let maps = [
        ("Config", keys_of(&settings)),
        ("Key slots", keys_of(&sealer.bundle.encode()).union(&keys_of(&note.encode())).copied().collect()),
        ("Packs", keys_of(&trailer)),
        ("Index", keys_of(&index::Index { prune_epoch: 1, packs: vec![record] }.encode())),
        ("Trees", full_node()),
        ("Manifests", snapshots),
        ("Events", events.collect()),
        ("Lineage records", lineage_record()),
        ("Leases", keys_of(&holder.encode())),
    ];
    maps.map(|(section, keys)| (section.to_owned(), keys)).into()
}

/// All Rust sources of the engine, as one text.
fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The context strings of the document, NAME and KIND replaced by what they stand for.
fn contexts(text: &str, numbers: &BTreeMap<String, Numbers>) -> BTreeSet<String> {
    let mut contexts = BTreeSet::new();
    for part in text.split("derive(\"").skip(1) {
        let context = part.split('"').next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        match ["NAME", "KIND"].into_iter().find(|word| context.ends_with(word)) {
            None => drop(contexts.insert(context)),
            Some(word) => {
                let title = if word == "NAME" { "object type" } else { "blob kind" };
                contexts.extend(numbers[title].keys().map(|name| context.replace(word, name)));
            }
        }
    }
    contexts
}

#[test]
fn numbers_of_the_document_are_those_of_the_code() {
    assert_eq!(tables(&document()).0, known_numbers());
}

#[test]
fn numbers_beyond_the_document_are_refused() {
    for (title, table) in tables(&document()).0 {
        let next = table.values().max().unwrap() + 1;
        let byte = u8::try_from(next).unwrap();
        let known = match title.as_str() {
            "object type" => ObjectType::from_number(byte).is_some(),
            "algorithm" => Algorithm::from_number(byte).is_some(),
            "blob kind" => BlobKind::from_number(next).is_some(),
            "codec" => CodecTag::from_number(next).is_some(),
            "pack class" => PackClass::from_number(next).is_some(),
            "node kind" => NodeKind::from_number(next).is_some(),
            "layout" => Layout::from_number(next).is_some(),
            "database state" => DatabaseState::from_number(next).is_some(),
            "check" => Checked::from_number(next).is_some(),
            "verdict" => VerdictCode::from_number(next).is_some(),
            _ => false,
        };
        assert!(!known, "{title} {next}");
    }
}

#[test]
fn map_keys_of_the_document_are_those_of_the_code() {
    assert_eq!(tables(&document()).1, known_keys());
}

#[test]
fn contexts_of_the_document_stand_in_the_code() {
    let text = document();
    let mut code = String::new();
    sources(&workspace().join("engine/src"), &mut code);
    let contexts = contexts(&text, &tables(&text).0);
    assert!(contexts.len() >= 15, "{contexts:?}");
    let missing: Vec<&String> =
        contexts.iter().filter(|context| !code.contains(&format!("\"{context}\""))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn longest_objects_of_the_document_are_those_of_the_code() {
    let text = document().split_whitespace().collect::<Vec<_>>().join(" ");
    for (name, bytes) in [
        ("config", config::MAX_LEN),
        ("key slot", MAX_SLOT_LEN),
        ("pack", pack::MAX_PACK_LEN),
        ("index", index::MAX_LEN),
        ("manifest", manifest::MAX_LEN),
        ("event", event::MAX_LEN),
        ("lease", lease::MAX_LEN),
    ] {
        let size =
            if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) };
        assert!(text.contains(&format!("{name} {size}")), "{name} {size}");
    }
}

#[test]
fn limits_of_the_document_are_those_of_the_code() {
    let text = document().split_whitespace().collect::<Vec<_>>().join(" ");
    for limit in [
        format!("copy of its base, and {} at most", pack::MAX_DEPTH),
        format!("(levels 1 to {})", lineage::MAX_LEVELS - 1),
        format!("that makes {MOST_SAMPLES} at most"),
    ] {
        assert!(text.contains(&limit), "{limit}");
    }
    assert_eq!((lineage::MAX_ITEMS, list::MAX_ITEMS), (4096, 4096));
}
