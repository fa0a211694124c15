//! Searching repositories with hand-made trees.

use super::*;
use crate::base::WarningKind;
use crate::base::event::Silent;
use crate::browse::list;
use crate::browse::testing::{Maker, commit, damage, forget, repository};
use crate::filter::Pattern;
use crate::model::{BlobKind, Manifest};
use crate::repo::pages::{Boundaries, EncodedNode, write_tree};
use crate::repo::testing::{create, sample_manifest, session};
use crate::repo::writer::{Fate, RunWriter};
use crate::store::{MemoryStore, Operation, RecordingStore, Store};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

fn options(pattern: &str) -> FindOptions {
    FindOptions { patterns: Patterns::new(&[Pattern::new(pattern)]).unwrap(), ..FindOptions::default() }
}

/// What was found, a line for each path: its versions with state, size, and first and last time.
fn found(repo: &Repo, options: &FindOptions) -> Vec<String> {
    let snapshots = repo.snapshots(&Silent).unwrap();
    let mut lines = Vec::new();
    find(repo, &snapshots, options, &Silent, &mut |found| {
        lines.push(shown(found));
        Ok(())
    })
    .unwrap();
    lines
}

fn shown(found: &Found<'_>) -> String {
    let versions: Vec<String> = found
        .versions
        .iter()
        .map(|version| {
            let time = |snapshot: &Snapshot| snapshot.manifest.time.secs;
            format!(
                "{} {} {}-{}",
                version.state.name(),
                version.size,
                time(version.first),
                time(version.last)
            )
        })
        .collect();
    format!("{}: {}", found.path, versions.join(", "))
}

#[test]
fn a_path_is_followed_from_its_first_day_to_its_last() {
    let (_, repo) = repository();
    let with = |content: Option<&'static [u8]>| {
        commit(&repo, |maker| {
            let file = content.map(|content| maker.file("IMG-1.jpg", content));
            vec![maker.dir("photos", file.into_iter().chain([maker.file("x", b"x")]).collect())]
        })
    };
    for content in [None, Some(&b"one"[..]), Some(b"one"), Some(b""), None, Some(b"one")] {
        with(content);
    }
    let history = "/photos/IMG-1.jpg: new 3 2-3, changed 0 4-4, gone 0 5-5, back 3 6-6";
    for pattern in ["IMG-1.jpg", "*.jpg", "photos/IMG*", "/photos/*-1.jpg", "/**/IMG-1.jpg"] {
        assert_eq!(found(&repo, &options(pattern)), [history], "{pattern}");
    }
    assert_eq!(found(&repo, &options("x")), ["/photos/x: first 1 1-6"]);
    assert_eq!(found(&repo, &options("photos")), ["/photos: first 0 1-6"]);
    assert!(found(&repo, &options("img-1.JPG")).is_empty());
    let patterns = Patterns::new(&[Pattern::ignoring_case("img-1.JPG")]).unwrap();
    assert_eq!(found(&repo, &FindOptions { patterns, ..FindOptions::default() }), [history]);
}

#[test]
fn kinds_times_and_contents_choose_paths_and_show_all_their_versions() {
    let (_, repo) = repository();
    let node = |maker: &Maker<'_>, time, content: &[u8]| {
        let mut node = maker.file("a", content);
        node.mtime = Some(Timestamp::new(time, 0));
        node
    };
    commit(&repo, |maker| vec![node(maker, 10, b"one"), maker.link("b", "a"), maker.dir("c", vec![])]);
    commit(&repo, |maker| {
        vec![node(maker, 20, b"one"), maker.link("b", "c"), maker.file("c", b"now a file")]
    });
    commit(&repo, |maker| vec![node(maker, 30, b"two"), maker.link("b", "c")]);
    let all = FindOptions::default();
    let a = "/a: first 3 1-1, touched 3 2-2, changed 3 3-3";
    let b = "/b: first 0 1-1, changed 0 2-3";
    let c = "/c: first 0 1-1, changed 10 2-2, gone 10 3-3";
    assert_eq!(found(&repo, &all)[1..], [a, b, c]);
    let kinds = |kind| found(&repo, &FindOptions { kinds: vec![kind], ..all.clone() });
    assert_eq!(kinds(NodeKind::Symlink), [b]);
    assert_eq!(kinds(NodeKind::Dir)[1..], [c]);
    assert_eq!(kinds(NodeKind::File), [a, c]);
    let between = |oldest: i64, newest: i64| {
        let [oldest, newest] = [oldest, newest].map(|secs| Some(Timestamp::new(secs, 0)));
        found(&repo, &FindOptions { oldest, newest, ..all.clone() })
    };
    assert_eq!(between(20, 20), [a]);
    assert!(between(21, 29).is_empty());
    let digits = to_hex_of(repo.name(BlobKind::Data, b"one"));
    let content = Some(digits[..10].to_owned());
    assert_eq!(found(&repo, &FindOptions { content, ..all }), [a]);
}

fn to_hex_of(id: BlobId) -> String {
    crate::base::id::to_hex(id.as_bytes())
}

/// Commits a snapshot of one source of one machine.
fn commit_as(repo: &Repo, host: &str, paths: &[&str], nodes: impl FnOnce(&Maker<'_>) -> Vec<Node>) {
    let made = commit(repo, nodes);
    let run = repo.begin(&Silent).unwrap();
    let paths = paths.iter().map(|path| StoredPath::parse(path.as_bytes()).unwrap()).collect();
    let manifest = Manifest { host: host.to_owned(), paths, ..made.manifest.clone() };
    repo.commit(run, Vec::new(), manifest, &Silent).unwrap();
    // The helper's own snapshot is not part of this test.
    forget(repo, &made);
}

#[test]
fn a_path_is_gone_only_where_its_source_was_taken() {
    let (_, repo) = repository();
    let photos = |maker: &Maker<'_>| vec![maker.dir("photos", vec![maker.file("p", b"1")])];
    let chats = |maker: &Maker<'_>| vec![maker.dir("chats", vec![maker.file("p", b"22")])];
    commit_as(&repo, "phone", &["/photos"], photos);
    commit_as(&repo, "phone", &["/chats"], chats);
    commit_as(&repo, "tablet", &["/photos"], |maker| vec![maker.dir("photos", vec![])]);
    commit_as(&repo, "phone", &["/photos", "/photos/p"], photos);
    commit_as(&repo, "phone", &["/photos"], |_| vec![]);
    let mut seen = Vec::new();
    let snapshots = repo.snapshots(&Silent).unwrap();
    assert_eq!(snapshots.len(), 5);
    let statistics = find(&repo, &snapshots, &options("p"), &Silent, &mut |found| {
        let states: Vec<_> =
            found.versions.iter().map(|version| (version.state, version.snapshots)).collect();
        seen.push((found.path.to_string(), found.host.to_owned(), found.snapshots, states));
        Ok(())
    })
    .unwrap();
    let own = |text: &str| text.to_owned();
    assert_eq!(
        seen,
        [
            (own("/chats/p"), own("phone"), 1, vec![(State::First, 1)]),
            (own("/photos/p"), own("phone"), 3, vec![(State::First, 2), (State::Gone, 1)]),
        ]
    );
    assert_eq!(statistics, FindStatistics { snapshots: 5, paths: 2, versions: 3 });
}

#[test]
fn a_folder_that_cannot_be_read_makes_nothing_gone() {
    let (store, repo) = repository();
    let nodes = |maker: &Maker<'_>, size: &[u8]| {
        vec![
            maker.dir("a", vec![maker.file("x", b"x"), maker.dir("deep", vec![maker.file("x", b"y")])]),
            maker.file("z", size),
        ]
    };
    commit(&repo, |maker| nodes(maker, b"1"));
    let broken = commit(&repo, |maker| {
        let mut all = nodes(maker, b"22");
        all[0] = maker.dir("a", vec![maker.file("x", b"xx")]);
        all
    });
    commit(&repo, |maker| nodes(maker, b"333"));
    let page = lookup(&repo, &broken, &StoredPath::parse(b"/a").unwrap()).unwrap().subtree.unwrap();
    damage(&store, &repo, BlobKind::TreePage, &page);
    #[derive(Default)]
    struct Heard(Mutex<Vec<Warning>>);
    impl Observer for Heard {
        fn warn(&self, warning: &Warning) {
            self.0.lock().unwrap().push(warning.clone());
        }
    }
    let heard = Heard::default();
    let mut lines = Vec::new();
    let snapshots = repo.snapshots(&Silent).unwrap();
    find(&repo, &snapshots, &FindOptions::default(), &heard, &mut |found| {
        lines.push(shown(found));
        Ok(())
    })
    .unwrap();
    assert_eq!(
        lines[1..],
        [
            "/a: first 0 1-3",
            "/a/deep: first 0 1-1, unknown 0 2-2, back 0 3-3",
            "/a/deep/x: first 1 1-1, unknown 1 2-2, back 1 3-3",
            "/a/x: first 1 1-1, unknown 1 2-2, back 1 3-3",
            "/z: first 1 1-1, changed 2 2-2, changed 3 3-3",
        ]
    );
    let heard = heard.0.into_inner().unwrap();
    assert!(heard.iter().all(|warning| warning.kind == WarningKind::Damaged));
    assert!(heard.iter().any(|warning| warning.path.as_ref().unwrap().to_string() == "/a"));
}

#[test]
fn what_is_missing_where_not_all_could_be_read_is_unknown_until_a_snapshot_lacks_nothing() {
    let (_, repo) = repository();
    for (x, y) in [(true, true), (false, false), (false, true), (false, true), (false, true), (true, false)] {
        commit(&repo, |maker| {
            let names = ["x", "y"].into_iter().zip([x, y]).filter(|(_, is_there)| *is_there);
            vec![maker.dir("d", names.map(|(name, _)| maker.file(name, b"1")).collect())]
        });
    }
    let mut snapshots = repo.snapshots(&Silent).unwrap();
    for at in [1, 2, 4] {
        snapshots[at].manifest.statistics.unreadable = 1;
    }
    let (mut lines, mut reasons) = (Vec::new(), BTreeSet::new());
    find(&repo, &snapshots, &FindOptions::default(), &Silent, &mut |found| {
        lines.push(shown(found));
        reasons.extend(found.versions.iter().filter_map(|version| version.state.reason()));
        Ok(())
    })
    .unwrap();
    assert_eq!(
        lines[1..],
        [
            "/d: first 0 1-6",
            // What is gone stays gone, though the fifth one lacks something, too.
            "/d/x: first 1 1-1, unknown 1 2-3, gone 1 4-5, back 1 6-6",
            "/d/y: first 1 1-1, unknown 1 2-2, back 1 3-5, gone 1 6-6",
        ]
    );
    assert_eq!(reasons, BTreeSet::from(["unreadable"]));
}

/// Entries of one folder of a made life: small numbers of names, contents and kinds, so that all changes come up.
type Life = Vec<Vec<(u16, u8)>>;

fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// A life of some folders: 700 entries each at most, so that folders have several pages.
fn life(seed: u64, snapshots: usize) -> Vec<Life> {
    let mut state = seed;
    let mut now: Life = (0..3).map(|_| Vec::new()).collect();
    (0..snapshots)
        .map(|day| {
            for folder in &mut now {
                let changes = if day == 0 { 600 } else { random(&mut state, 30) };
                for _ in 0..changes {
                    let name = u16::try_from(random(&mut state, 700)).unwrap();
                    let content = u8::try_from(random(&mut state, 4)).unwrap();
                    folder.retain(|(known, _)| *known != name);
                    if content > 0 {
                        folder.push((name, content));
                    }
                }
            }
            now.clone()
        })
        .collect()
}

fn nodes_of(maker: &Maker<'_>, life: &Life) -> Vec<Node> {
    life.iter()
        .enumerate()
        .map(|(number, entries)| {
            let nodes = entries.iter().map(|(name, content)| match content {
                3 if name % 50 == 0 => maker.dir(format!("n{name:04}"), vec![maker.file("in", &[*content])]),
                _ => maker.file(format!("n{name:04}"), &vec![*content; usize::from(*content)]),
            });
            maker.dir(format!("d{number}"), nodes.collect())
        })
        .collect()
}

#[test]
fn what_is_found_is_what_listing_every_snapshot_finds() {
    for seed in [3, 77] {
        let (_, repo) = repository();
        for day in life(seed, 12) {
            commit(&repo, |maker| nodes_of(maker, &day));
        }
        let snapshots = repo.snapshots(&Silent).unwrap();
        let mut wanted = BTreeSet::new();
        for (at, snapshot) in snapshots.iter().enumerate() {
            let cancel = &repo.session().cancel;
            list(&repo, snapshot, &StoredPath::root(), true, cancel, &Silent, &mut |path, node| {
                let is_file = node.kind == NodeKind::File;
                wanted.insert((path.to_string(), at, is_file.then_some(node.size), node.content_hash()));
                Ok(())
            })
            .unwrap();
        }
        let (mut seen, mut states) = (BTreeSet::new(), BTreeSet::new());
        let mut last = None;
        find(&repo, &snapshots, &FindOptions::default(), &Silent, &mut |found| {
            assert!(last.as_ref() < Some(&found.path), "{last:?} {:?}", found.path);
            last = Some(found.path.clone());
            let place = |snapshot: &Snapshot| snapshots.iter().position(|one| one.id == snapshot.id).unwrap();
            let mut next = None;
            for version in &found.versions {
                assert!(next.is_none_or(|next| next == place(version.first)), "{}", shown(found));
                next = Some(place(version.last) + 1);
                states.insert(version.state.name());
                if version.state.is_there() && !found.path.is_root() {
                    let size = (version.kind == NodeKind::File).then_some(version.size);
                    for at in place(version.first)..=place(version.last) {
                        seen.insert((found.path.to_string(), at, size, version.content));
                    }
                }
            }
            assert_eq!(next, Some(snapshots.len()));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, wanted);
        assert!(
            states.is_superset(&BTreeSet::from(["first", "new", "changed", "gone", "back"])),
            "{states:?}"
        );
    }
}

/// Reads of the store while the last so many snapshots are searched.
fn reads(store: &RecordingStore<MemoryStore>, repo: &Repo, last: usize) -> usize {
    let snapshots = repo.snapshots(&Silent).unwrap();
    store.clear();
    let chosen = &snapshots[snapshots.len() - last..];
    let found = find(repo, chosen, &options("f00007"), &Silent, &mut |_| Ok(())).unwrap();
    assert_eq!((found.paths, found.snapshots), (1, last as u64));
    store.calls().iter().filter(|call| call.operation == Operation::GetRange).count()
}

#[test]
fn a_hundred_snapshots_of_the_same_files_are_read_like_one() {
    let store = Arc::new(RecordingStore::new(MemoryStore::new()));
    let (repo, _) = create(Arc::clone(&store) as Arc<dyn Store>, session(None));
    let tree = |changed: usize| {
        let run = repo.begin(&Silent).unwrap();
        let (root, packs, _) = RunWriter::run(&repo, Fate::Stored, |writer| {
            let nodes: Vec<_> = (0..4000)
                .map(|number| {
                    let mut node = Node::new(format!("f{number:05}").into_bytes(), NodeKind::Fifo);
                    node.mode = if number == changed { 0o600 } else { 0o644 };
                    node.mtime = Some(Timestamp::new(i64::from(number == changed), 0));
                    (crate::format::tree::encode_node(&node), node.name)
                })
                .collect();
            let nodes: Vec<_> = nodes.iter().map(|(bytes, name)| EncodedNode { name, bytes }).collect();
            write_tree(writer, &Boundaries::new(&repo), &nodes)
        })
        .unwrap();
        let time = Timestamp::new(i64::try_from(changed).unwrap(), 0);
        let manifest = Manifest { root, time, created: time, ..sample_manifest(0) };
        repo.commit(run, packs, manifest, &Silent).unwrap();
        root
    };
    // The same root again and again; then one entry of 4,000 changes each time.
    let root = tree(5000);
    for second in 1..100 {
        let run = repo.begin(&Silent).unwrap();
        let time = Timestamp::new(5000 + second, 0);
        let manifest = Manifest { root, time, created: time, ..sample_manifest(0) };
        repo.commit(run, Vec::new(), manifest, &Silent).unwrap();
    }
    let one = reads(&store, &repo, 1);
    assert!(one > 15, "a folder of {one} pages proves nothing");
    assert_eq!(reads(&store, &repo, 100), one);
    for changed in 0..30 {
        tree(changed * 130);
    }
    // Two roots and one or two leaves on either side for each change.
    let all = reads(&store, &repo, 130);
    assert!(all <= one + 30 * 8, "{all} reads for 30 changes, {one} for one snapshot");
}
