//! A hostile repository: every verb refuses it, in little time and memory, and writes nothing outside the target.

use crate::forge::{Forge, dir, file, hollow_pack, link};
use crate::kit::picture;
use crate::measure::{self, Measured};
use crate::stage::Stage;
use crate::{Case, Outcome};
use chatvault_engine::base::BlobId;
use chatvault_engine::format::index::Index;
use chatvault_engine::format::list::{encode_inner, encode_leaf};
use chatvault_engine::format::tree;
use chatvault_engine::model::{BlobKind, CodecTag, Content, ListItem, Node, NodeKind};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

pub const CASES: &[Case] = &[
    ("hostile::lengths_of_2_to_the_63_are_refused", lengths),
    ("hostile::names_that_lead_elsewhere_are_refused", names),
    ("hostile::a_billion_entries_are_refused", entries),
    ("hostile::trees_and_lists_without_bottom_are_refused", depth),
    ("hostile::a_frame_that_unpacks_to_more_than_it_says_is_refused", frames),
    ("hostile::set_uid_is_not_given_back", set_uid),
    ("hostile::a_link_in_the_target_is_not_followed", links),
];

/// Most processor time of a verb: a second, and much more than a machine under load adds to it.
const MOST_MS: u64 = 1000;
/// Most memory of a verb.
const MOST_MEMORY: u64 = 256 << 20;

/// One hostile snapshot: what it is, and where it is hostile.
type Trick = (&'static str, Where, fn(&mut Forge<'_>) -> BlobId);

/// Which verbs meet what is hostile, and have to refuse it. All of them have to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// In a folder.
    Tree,
    /// In the content of `/long`.
    Content,
    /// In the length of `/long`: who asks for so many bytes on standard output gets them, one after the other.
    Length,
}

struct Arena {
    stage: Stage,
    most_ms: u64,
    most_memory: u64,
    runs: usize,
}

impl Arena {
    fn new() -> Self {
        let stage = Stage::with_repository();
        stage.snapshot();
        stage.keep("good");
        stage.world.write("canary/keep", "nobody may touch this");
        Self { stage, most_ms: 0, most_memory: 0, runs: 0 }
    }

    fn measured(&mut self, arguments: &[&str], what: &str) -> Measured {
        let world = &self.stage.world;
        let command = world.command(["-r", "repo", "--recovery-key-file", "key"].iter().chain(arguments));
        let measured = measure::run(&command, &world.path("note"));
        let shown = format!("{what}, {}: {measured:?}", arguments.join(" "));
        assert!(!measured.ran.stderr.contains("panic"), "{shown}");
        assert!([0, 1, 3, 20, 22].contains(&measured.ran.code), "{shown}");
        assert!(measured.processor_ms < MOST_MS, "{shown}");
        assert!(measured.memory < MOST_MEMORY, "{shown}");
        self.most_ms = self.most_ms.max(measured.processor_ms);
        self.most_memory = self.most_memory.max(measured.memory);
        self.runs += 1;
        measured
    }

    /// Has every verb meet the newest snapshot.
    fn meet(&mut self, what: &str, place: Where) {
        let (tree, content) = (place == Where::Tree, place == Where::Content);
        let verbs: [(&[&str], bool); 12] = [
            (&["list"], false),
            (&["ls", "-R", "latest:/"], tree),
            (&["ls", "latest:/a/a/a"], false),
            (&["cat", "latest:/long"], content),
            (&["diff", "latest~1", "latest"], tree),
            (&["diff", "latest", "live"], false),
            (&["restore", "latest", "--target", "out"], true),
            (&["find", "a"], false),
            (&["stats", "latest"], false),
            (&["snapshot", "--dry-run", "live"], false),
            (&["restore", "latest", "--target", "out", "--overwrite", "always", "--delete"], true),
            (&["snapshot", "live"], false),
        ];
        let before = self.outside();
        for (verb, must_refuse) in verbs {
            if verb[0] == "cat" && place == Where::Length {
                continue;
            }
            let measured = self.measured(verb, what);
            if must_refuse {
                assert_ne!(measured.ran.code, 0, "{what}, {}: {:?}", verb.join(" "), measured.ran);
            }
        }
        assert!(self.outside() == before, "{what}: something outside the target changed");
    }

    /// Everything that a restore into `out` has no business with.
    fn outside(&self) -> Vec<crate::kit::Seen> {
        ["live", "canary", "tmp"].iter().flat_map(|name| picture(&self.stage.world.path(name))).collect()
    }

    /// Publishes each trick beside the good snapshot, and has every verb meet it.
    fn tricks(mut self, tricks: &[Trick]) -> Outcome {
        for (what, place, trick) in tricks {
            self.stage.put_back("good");
            let _not_there = fs::remove_dir_all(self.stage.world.path("out"));
            let mut forge = Forge::new(&self.stage);
            let root = trick(&mut forge);
            forge.publish(root);
            self.meet(what, *place);
        }
        self.told()
    }

    fn told(self) -> Outcome {
        Outcome::Passed(format!(
            "{} runs, at most {} ms and {} MiB",
            self.runs,
            self.most_ms,
            self.most_memory >> 20
        ))
    }
}

const HUGE: u64 = 1 << 63;

/// The head of a CBOR value with a length of 64 bits.
fn head(kind: u8, len: u64) -> Vec<u8> {
    [&[kind << 5 | 27][..], &len.to_be_bytes()].concat()
}

fn page(forge: &mut Forge<'_>, bytes: &[u8]) -> BlobId {
    forge.blob(BlobKind::TreePage, bytes)
}

/// A root with one file `/long` of this list.
fn listed(forge: &mut Forge<'_>, list: &[u8], size: u64) -> BlobId {
    let list = forge.blob(BlobKind::ListPage, list);
    let mut node = Node::new(b"long".to_vec(), NodeKind::File);
    (node.size, node.mode, node.content) = (size, 0o644, Content::List(list));
    node.hash = Some(BlobId::new([1; 32]));
    forge.folder(&[node])
}

fn lengths() -> Outcome {
    let tricks: [Trick; 7] = [
        ("a name of 2^63 bytes", Where::Tree, |forge| {
            let bytes = [&[0x82, 0x00, 0x81, 0xa2, 0x00][..], &head(2, HUGE), b"xx"].concat();
            page(forge, &bytes)
        }),
        ("a page of 2^63 entries", Where::Tree, |forge| {
            page(forge, &[&[0x82, 0x00][..], &head(4, HUGE)].concat())
        }),
        ("a node of 2^63 fields", Where::Tree, |forge| {
            page(forge, &[&[0x82, 0x00, 0x81][..], &head(5, HUGE)].concat())
        }),
        ("a file of 2^63 bytes", Where::Tree, |forge| {
            let chunk = forge.blob(BlobKind::Data, b"short");
            forge.folder(&[file(b"long", chunk, HUGE)])
        }),
        ("a list of 2^63 chunks", Where::Content, |forge| {
            listed(forge, &[&[0x83, 0x00, 0x00][..], &head(4, HUGE)].concat(), 5)
        }),
        ("a list whose sum has 65 bits", Where::Content, |forge| {
            let hole = ListItem::Hole { len: HUGE };
            listed(forge, &encode_leaf(0, &[hole, hole]), 5)
        }),
        ("a file said to be longer than its chunk", Where::Content, |forge| {
            let chunk = forge.blob(BlobKind::Data, b"short");
            forge.folder(&[file(b"long", chunk, HUGE - 1)])
        }),
    ];
    let mut arena = Arena::new();
    for body in [head(5, HUGE), [&[0xa1, 0x01][..], &head(4, HUGE)].concat(), head(2, HUGE)] {
        arena.stage.put_back("good");
        Forge::new(&arena.stage).index(body.clone());
        Forge::new(&arena.stage).manifest(body);
        for verb in [&["list"][..], &["ls", "latest"], &["snapshot", "live"]] {
            arena.measured(verb, "an index and a manifest of 2^63 items");
        }
    }
    arena.tricks(&tricks)
}

fn names() -> Outcome {
    let tricks: [Trick; 8] = [
        ("..", Where::Tree, |forge| evil(forge, b"..")),
        ("a path upwards", Where::Tree, |forge| evil(forge, b"../canary/new")),
        ("an absolute path", Where::Tree, |forge| {
            let name = forge.path("canary/new").into_os_string().into_encoded_bytes();
            evil(forge, &name)
        }),
        ("no name", Where::Tree, |forge| evil(forge, b"")),
        (".", Where::Tree, |forge| evil(forge, b".")),
        ("a name with NUL", Where::Tree, |forge| evil(forge, b"a\0b")),
        ("a link and a folder of one name", Where::Tree, |forge| {
            let chunk = forge.blob(BlobKind::Data, b"evil!");
            let child = forge.folder(&[file(b"new", chunk, 5)]);
            forge.folder(&[link(b"a", "../canary"), dir(b"a", child)])
        }),
        ("two files of one name", Where::Tree, |forge| {
            let chunk = forge.blob(BlobKind::Data, b"evil!");
            forge.folder(&[file(b"long", chunk, 5), file(b"long", chunk, 5)])
        }),
    ];
    Arena::new().tricks(&tricks)
}

fn evil(forge: &mut Forge<'_>, name: &[u8]) -> BlobId {
    let chunk = forge.blob(BlobKind::Data, b"evil!");
    forge.folder(&[file(name, chunk, 5)])
}

fn entries() -> Outcome {
    let tricks: [Trick; 3] = [
        ("a page said to have a billion entries", Where::Tree, |forge| {
            let bytes = [&[0x82, 0x00][..], &head(4, 1_000_000_000), &[0xa0; 1000]].concat();
            page(forge, &bytes)
        }),
        ("one page at a thousand places of a folder", Where::Tree, |forge| {
            let chunk = forge.blob(BlobKind::Data, b"evil!");
            let mut id = forge.folder(&[file(b"long", chunk, 5)]);
            for level in 1..tree::MAX_LEVELS {
                let children: Vec<(Vec<u8>, BlobId)> =
                    (0..1000).map(|number| (format!("{number:04}").into_bytes(), id)).collect();
                id = forge.blob(BlobKind::TreePage, &tree::encode_inner(level, &children));
            }
            id
        }),
        ("folders that share their folders, 2^30 of them", Where::Tree, |forge| {
            let chunk = forge.blob(BlobKind::Data, b"evil!");
            let mut id = forge.folder(&[file(b"long", chunk, 5)]);
            for _ in 0..30 {
                id = forge.folder(&[dir(b"a", id), dir(b"b", id)]);
            }
            id
        }),
    ];
    let mut arena = Arena::new();
    Forge::new(&arena.stage).index(Index { prune_epoch: 0, packs: vec![hollow_pack(100_000)] }.encode());
    arena.measured(&["list"], "an index of a pack that is not there");
    arena.tricks(&tricks)
}

fn depth() -> Outcome {
    let tricks: [Trick; 4] = [
        ("CBOR nested a hundred thousand deep in an unknown field", Where::Tree, |forge| {
            let bytes = [&[0x82, 0x00, 0x81, 0xa1, 0x18, 0x63][..], &[0x81; 100_000], &[0x00]].concat();
            page(forge, &bytes)
        }),
        ("a folder of too many levels", Where::Tree, |forge| {
            page(forge, &tree::encode_inner(tree::MAX_LEVELS + 1, &[(b"a".to_vec(), BlobId::new([1; 32]))]))
        }),
        ("a page of pages that is not there", Where::Tree, |forge| {
            page(forge, &tree::encode_inner(1, &[(b"a".to_vec(), BlobId::new([1; 32]))]))
        }),
        ("one list page at a thousand places", Where::Length, |forge| {
            let chunk = forge.blob(BlobKind::Data, b"x");
            let mut list = encode_leaf(0, &[ListItem::Chunk { id: chunk, len: 1 }]);
            let mut len = 1;
            for level in 1..7 {
                let id = forge.blob(BlobKind::ListPage, &list);
                list = encode_inner(level, &vec![(id, len); 1000]);
                len *= 1000;
            }
            listed(forge, &list, len)
        }),
    ];
    Arena::new().tricks(&tricks)
}

fn frames() -> Outcome {
    let tricks: [Trick; 3] = [
        ("a chunk of a gigabyte said to have 16 MiB", Where::Content, |forge| {
            let chunk = forge.packed(BlobKind::Data, b"bomb", CodecTag::Zstd, bomb(), 16 << 20);
            forge.folder(&[file(b"long", chunk, 16 << 20)])
        }),
        ("a chunk of a gigabyte said to have 5 bytes", Where::Content, |forge| {
            let chunk = forge.packed(BlobKind::Data, b"bomb", CodecTag::Zstd, bomb(), 5);
            forge.folder(&[file(b"long", chunk, 5)])
        }),
        ("a page of a gigabyte", Where::Tree, |forge| {
            forge.packed(BlobKind::TreePage, b"bomb", CodecTag::Zstd, bomb(), 16 << 20)
        }),
    ];
    Arena::new().tricks(&tricks)
}

/// A zstd frame of a gigabyte of zeros: blocks that repeat one byte, 128 KiB each (RFC 8878, 3.1.1).
fn bomb() -> Vec<u8> {
    // Magic; a descriptor without size and checksum; a window of 2^20 bytes.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 10 << 3];
    let blocks = (1u32 << 30) >> 17;
    for number in 0..blocks {
        let last = u32::from(number + 1 == blocks);
        let header = last | 1 << 1 | (1u32 << 17) << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

fn set_uid() -> Outcome {
    let mut arena = Arena::new();
    let mut forge = Forge::new(&arena.stage);
    let chunk = forge.blob(BlobKind::Data, b"evil!");
    let nodes = [0o4755, 0o2755, 0o1755].map(|mode| {
        let mut node = file(format!("{mode:o}").as_bytes(), chunk, 5);
        node.mode = mode;
        node
    });
    let mut nodes = nodes.to_vec();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let root = forge.folder(&nodes);
    forge.publish(root);
    arena.measured(&["restore", "latest", "--target", "out"], "set-uid");
    for mode in ["4755", "2755"] {
        let found = fs::metadata(arena.stage.world.path("out").join(mode)).unwrap().permissions().mode();
        assert_eq!(found & 0o6777, 0o755, "{mode}");
    }
    // A mode that no file can have.
    arena.tricks(&[("a mode of 17 bits", Where::Tree, |forge| {
        let chunk = forge.blob(BlobKind::Data, b"evil!");
        let mut node = file(b"long", chunk, 5);
        node.mode = 0o204_755;
        forge.folder(&[node])
    })])
}

/// Links that lie in the target already: where the snapshot has a folder, and where it has nothing.
fn links() -> Outcome {
    let mut arena = Arena::new();
    let mut forge = Forge::new(&arena.stage);
    let chunk = forge.blob(BlobKind::Data, b"evil!");
    let child = forge.folder(&[file(b"new", chunk, 5)]);
    let root = forge.folder(&[dir(b"a", child), dir(b"b", child)]);
    forge.publish(root);
    let out = arena.stage.world.path("out");
    let canary = arena.stage.world.path("canary");
    let restore = ["restore", "latest", "--target", "out"];
    let mut measured = |more: &[&str]| {
        let _not_there = fs::remove_dir_all(&out);
        fs::create_dir_all(out.join("b")).unwrap();
        symlink(&canary, out.join("a")).unwrap();
        symlink(&canary, out.join("b/more")).unwrap();
        let before = arena.outside();
        let ran = arena.measured(&[&restore, more].concat(), "links in the target").ran;
        assert!(arena.outside() == before, "{more:?}: {ran:?}");
        assert!(!canary.join("new").exists());
        ran
    };
    let ran = measured(&[]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(out.join("a").is_symlink());
    for (more, stays) in
        [(&["--overwrite", "always"][..], true), (&["--overwrite", "always", "--delete", "--discard"], false)]
    {
        measured(more).succeeded();
        // A folder of its own took the place of the link, and what is removed is the link.
        assert!(!out.join("a").is_symlink(), "{more:?}");
        assert_eq!(fs::read(out.join("a/new")).unwrap(), b"evil!", "{more:?}");
        assert_eq!(out.join("b/more").is_symlink(), stays, "{more:?}");
    }
    arena.told()
}
