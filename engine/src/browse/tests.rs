//! What looking into a snapshot promises.

use super::testing::{Maker, Part, Told, commit, commit_root, damage, repository};
use super::*;
use crate::base::event::Silent;
use crate::base::{BlobId, Cancel, Error, Kind, Result, StoredPath, WarningKind};
use crate::format::list;
use crate::format::tree::{MAX_LEVELS, encode_inner, encode_leaf, encode_node};
use crate::model::{BlobKind, Content, ListItem, Node, NodeKind};
use crate::repo::pages::PageSink;
use crate::repo::{Repo, Snapshot};

fn path(text: &str) -> StoredPath {
    StoredPath::parse(text.as_bytes()).unwrap()
}

fn listed(repo: &Repo, snapshot: &Snapshot, at: &str, recursive: bool) -> Result<Vec<String>> {
    let (paths, told) = listed_and_told(repo, snapshot, at, recursive)?;
    assert_eq!(told, []);
    Ok(paths)
}

/// Kind and path of each warning.
type Heard = Vec<(WarningKind, Option<String>)>;

/// The paths that are listed, and where that is not all.
fn listed_and_told(
    repo: &Repo,
    snapshot: &Snapshot,
    at: &str,
    recursive: bool,
) -> Result<(Vec<String>, Heard)> {
    let (mut paths, told) = (Vec::new(), Told::default());
    list(repo, snapshot, &path(at), recursive, &Cancel::new(), &told, &mut |path, node| {
        assert_eq!(path.name(), node.name);
        paths.push(path.to_string());
        Ok(())
    })?;
    Ok((paths, told.kinds()))
}

fn content(repo: &Repo, node: &Node) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    write_content(repo, node, &mut out, &Cancel::new()).map(|()| out)
}

fn sample(maker: &Maker<'_>) -> Vec<Node> {
    let deep = maker.dir("b", vec![maker.file("z", b"last"), maker.link("l", "z")]);
    vec![
        maker.dir("a", vec![deep, maker.file("b.txt", b"")]),
        maker.file("a b", b"x"),
        maker.dir("e", vec![]),
    ]
}

#[test]
fn paths_are_found_and_what_is_not_there_is_said() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, sample);
    let root = lookup(&repo, &snapshot, &StoredPath::root()).unwrap();
    assert_eq!((root.kind, root.subtree), (NodeKind::Dir, Some(snapshot.manifest.root)));
    assert_eq!(lookup(&repo, &snapshot, &path("/a/b/z")).unwrap().size, 4);
    for (at, why) in [("/a/c", "not hold /a/c"), ("/a/c/d", "not hold /a/c"), ("/a b/c", "/a b is no folder")]
    {
        let error = lookup(&repo, &snapshot, &path(at)).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.full_text().contains(why), "{error:?}");
    }
}

#[test]
fn lists_are_sorted_as_paths_are() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, sample);
    let all = listed(&repo, &snapshot, "/", true).unwrap();
    assert_eq!(all, ["/a", "/a/b", "/a/b/l", "/a/b/z", "/a/b.txt", "/a b", "/e"]);
    assert!(all.iter().map(|text| path(text)).is_sorted());
    assert_eq!(listed(&repo, &snapshot, "/", false).unwrap(), ["/a", "/a b", "/e"]);
    assert_eq!(listed(&repo, &snapshot, "/a", false).unwrap(), ["/a/b", "/a/b.txt"]);
    assert_eq!(listed(&repo, &snapshot, "/a b", false).unwrap(), ["/a b"]);
    assert_eq!(listed(&repo, &snapshot, "/a/b/l", true).unwrap(), ["/a/b/l"]);
    assert!(listed(&repo, &snapshot, "/e", true).unwrap().is_empty());
    assert_eq!(listed(&repo, &snapshot, "/x", true).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn a_visitor_and_a_raised_flag_end_a_list() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, sample);
    let (mut seen, cancel) = (0, Cancel::new());
    let mut visit = |_: &StoredPath, _: &Node| {
        seen += 1;
        Err(Error::new(Kind::Usage, "go", "on"))
    };
    let error = list(&repo, &snapshot, &StoredPath::root(), true, &cancel, &Silent, &mut visit).unwrap_err();
    assert_eq!((error.kind(), seen), (Kind::Usage, 1));
    let mut visit = |_: &StoredPath, _: &Node| {
        cancel.cancel();
        Ok(())
    };
    let error = list(&repo, &snapshot, &StoredPath::root(), true, &cancel, &Silent, &mut visit).unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled);
}

/// Folders in each other, a large one at every tenth level; more than one page each.
fn deep(maker: &Maker<'_>, depth: usize) -> Vec<Node> {
    let mut nodes = vec![maker.file("end", b"end")];
    for level in 0..depth {
        let mut entries = vec![maker.dir("m", nodes), maker.file("z", b"")];
        if level % 10 == 0 {
            let name = |n: usize| format!("{}{n:03}", if n.is_multiple_of(2) { 'a' } else { 'p' });
            entries.extend((0..600).map(|n| maker.file(name(n), b"")));
        }
        nodes = entries;
    }
    nodes
}

#[test]
fn deep_trees_of_wide_folders_are_listed_whole() {
    let (_, repo) = repository();
    let snapshot = commit(&repo, |maker| deep(maker, 90));
    let all = listed(&repo, &snapshot, "/", true).unwrap();
    assert_eq!(all.len(), 90 * 2 + 9 * 600 + 1);
    let paths: Vec<_> = all.iter().map(|text| path(text)).collect();
    assert!(paths.is_sorted_by(|a, b| a < b));
    assert!(all.contains(&format!("{}/end", "/m".repeat(90))));
}

#[test]
fn what_lies_behind_a_damaged_page_is_still_met() {
    let (store, repo) = repository();
    let mut pages = Vec::new();
    let snapshot = commit_root(&repo, |maker| {
        pages = (0..3)
            .map(|n| {
                let node = maker.file(format!("{n}"), b"");
                (format!("{n}").into_bytes(), maker.page(encode_leaf(&[encode_node(&node)])))
            })
            .collect();
        let wide = maker.page(encode_inner(1, &pages));
        let mut wide_dir = maker.node("wide", NodeKind::Dir, 0o700);
        wide_dir.subtree = Some(wide);
        maker.tree(vec![wide_dir, maker.file("z", b"")])
    });
    damage(&store, &repo, BlobKind::TreePage, &pages[1].1);
    let (paths, told) = listed_and_told(&repo, &snapshot, "/", true).unwrap();
    assert_eq!(paths, ["/wide", "/wide/0", "/wide/2", "/z"]);
    assert_eq!(told, [(WarningKind::Damaged, Some("/wide".to_owned()))]);
    let cancel = Cancel::new();
    let start = FolderNodes::new(&repo, snapshot.manifest.root);
    let mut walk = Walk::new(&repo, StoredPath::root(), start, &cancel);
    let mut met = Vec::new();
    while let Some(step) = walk.step().unwrap() {
        met.push(match step {
            Step::Entry(node) => walk.path_of(&node).to_string(),
            Step::Leave => format!("back in {}", walk.folder()),
            Step::Broken(error) => format!("{:?} in {}", error.kind(), walk.folder()),
        });
    }
    assert_eq!(met, ["/wide", "/wide/0", "Damaged in /wide", "/wide/2", "back in /", "/z"]);
}

#[test]
fn pages_that_contradict_each_other_are_damage() {
    let (_, repo) = repository();
    let leaf =
        |maker: &Maker<'_>, name: &str| maker.page(encode_leaf(&[encode_node(&maker.file(name, b""))]));
    let disordered = commit_root(&repo, |maker| {
        let (b, a) = (leaf(maker, "b"), leaf(maker, "a"));
        maker.page(encode_inner(1, &[(b"a".to_vec(), b), (b"b".to_vec(), a)]))
    });
    let same_level = commit_root(&repo, |maker| {
        let inner = maker.page(encode_inner(1, &[(b"a".to_vec(), leaf(maker, "a"))]));
        maker.page(encode_inner(1, &[(b"a".to_vec(), inner)]))
    });
    let level_left_out =
        commit_root(&repo, |maker| maker.page(encode_inner(2, &[(b"a".to_vec(), leaf(maker, "a"))])));
    let other_first_name =
        commit_root(&repo, |maker| maker.page(encode_inner(1, &[(b"a".to_vec(), leaf(maker, "b"))])));
    for snapshot in [&disordered, &same_level, &level_left_out, &other_first_name] {
        let (_, told) = listed_and_told(&repo, snapshot, "/", true).unwrap();
        assert_eq!(told, [(WarningKind::Damaged, Some("/".to_owned()))]);
        let read = repo.read_tree(&snapshot.manifest.root, &Cancel::new());
        assert_eq!(read.unwrap_err().kind(), Kind::Damaged);
    }
    for snapshot in [&same_level, &level_left_out, &other_first_name] {
        assert_eq!(repo.find_node(&snapshot.manifest.root, b"a").unwrap_err().kind(), Kind::Damaged);
    }
}

/// A page that names the same pages over and over, up to the highest level: more places than anyone can read.
fn tower(page: impl Fn(u64, &BlobId) -> BlobId, ground: BlobId) -> BlobId {
    (1..MAX_LEVELS).fold(ground, |below, level| page(level, &below))
}

#[test]
fn few_pages_do_not_stand_for_endless_folders() {
    let (_, repo) = repository();
    let name = |n: u32| n.to_be_bytes().map(|byte| byte + 1).to_vec();
    let grounds: [fn(&Maker<'_>) -> BlobId; 3] = [
        |maker| maker.page(encode_leaf::<Vec<u8>>(&[])),
        |maker| maker.page(encode_leaf(&[encode_node(&maker.file([1; 4], b""))])),
        // Not there at all: the pages behind it can still be asked for.
        |_| BlobId::new([9; 32]),
    ];
    for ground in grounds {
        let snapshot = commit_root(&repo, |maker| {
            let page = |level, below: &BlobId| {
                let children: Vec<_> = (0..200).map(|n| (name(n), *below)).collect();
                maker.page(encode_inner(level, &children))
            };
            tower(page, ground(maker))
        });
        let root = snapshot.manifest.root;
        assert_eq!(repo.read_tree(&root, &Cancel::new()).unwrap_err().kind(), Kind::Damaged);
        let cancel = Cancel::new();
        let mut walk = Walk::new(&repo, StoredPath::root(), FolderNodes::new(&repo, root), &cancel);
        let (mut steps, mut broken) = (0, 0);
        while let Some(step) = walk.step().unwrap() {
            broken += u32::from(matches!(step, Step::Broken(_)));
            steps += 1;
            assert!(steps < 1000);
        }
        assert!(broken > 0);
    }
}

#[test]
fn few_pages_do_not_stand_for_endless_content() {
    let (_, repo) = repository();
    let mut roots = Vec::new();
    let mut fitting = None;
    commit(&repo, |maker| {
        let store = |page| maker.writer.put_page(BlobKind::ListPage, page, None).unwrap();
        let hole = store(list::encode_leaf(0, &[ListItem::Hole { len: 5 }]));
        let inner = store(list::encode_inner(1, &[(hole, 5), (hole, 5)]));
        fitting = Some(inner);
        let empty = store(list::encode_leaf(0, &[]));
        roots = vec![
            empty,
            store(list::encode_inner(1, &[])),
            store(list::encode_inner(1, &[(hole, 6)])),
            store(list::encode_inner(1, &[(hole, 5), (hole, 0)])),
            store(list::encode_inner(2, &[(hole, 5)])),
            store(list::encode_inner(1, &[(inner, 10)])),
            store(list::encode_inner(2, &[(inner, 5)])),
            tower(|level, below| store(list::encode_inner(level, &[(*below, 0); 200])), empty),
        ];
        Vec::new()
    });
    for (n, root) in roots.iter().enumerate() {
        assert_eq!(repo.each_list_item(root, &mut |_| Ok(())).unwrap_err().kind(), Kind::Damaged, "{n}");
    }
    let mut bytes = 0;
    let mut add = |item: ListItem| {
        bytes += item.len();
        Ok(())
    };
    repo.each_list_item(&fitting.unwrap(), &mut add).unwrap();
    assert_eq!(bytes, 10);
}

#[test]
fn the_wish_to_stop_is_looked_at_page_by_page() {
    let (_, repo) = repository();
    let mut list = None;
    let snapshot = commit(&repo, |maker| {
        list = Some(maker.parts("list", &[Part::Bytes(b"one"), Part::Hole(3)]));
        vec![maker.file("a", b"")]
    });
    let Content::List(list) = list.unwrap().content else { panic!("it has a list") };
    let root = snapshot.manifest.root;
    repo.session().cancel.cancel();
    let kinds = [
        repo.each_list_item(&list, &mut |_| Ok(())).unwrap_err().kind(),
        repo.find_node(&root, b"a").unwrap_err().kind(),
        FolderNodes::new(&repo, root).next_node().unwrap_err().kind(),
    ];
    assert_eq!(kinds, [Kind::Cancelled; 3]);
}

#[test]
fn content_comes_back_as_stored() {
    let (_, repo) = repository();
    let big: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; 1 << 20]).collect();
    let snapshot = commit(&repo, |maker| {
        let parts: Vec<_> = big.iter().map(|bytes| Part::Bytes(bytes)).collect();
        let sparse = [Part::Hole(300_000), Part::Bytes(b"middle"), Part::Hole(1), Part::Hole(70_000)];
        vec![
            maker.file("empty", b""),
            maker.file("one", b"one"),
            maker.parts("big", &parts),
            maker.parts("sparse", &sparse),
            maker.link("link", "one"),
        ]
    });
    let of = |name: &str| content(&repo, &lookup(&repo, &snapshot, &path(name)).unwrap()).unwrap();
    assert_eq!((of("empty"), of("one"), of("link")), (vec![], b"one".to_vec(), vec![]));
    assert!(of("big") == big.concat());
    let sparse = of("sparse");
    assert_eq!(sparse.len(), 370_007);
    assert_eq!(&sparse[300_000..300_006], b"middle");
    assert!(sparse[..300_000].iter().chain(&sparse[300_006..]).all(|byte| *byte == 0));
    let mut pieces = Vec::new();
    let node = lookup(&repo, &snapshot, &path("sparse")).unwrap();
    for_each_piece(&repo, &node, &Cancel::new(), &mut |piece| {
        pieces.push(piece);
        Ok(())
    })
    .unwrap();
    let expected =
        [Piece::Hole(300_000), Piece::Data(b"middle".to_vec()), Piece::Hole(1), Piece::Hole(70_000)];
    assert_eq!(pieces, expected);
}

#[test]
fn content_that_is_not_what_was_stored_is_damage() {
    let (store, repo) = repository();
    let mut lost = BlobId::new([0; 32]);
    let mut nodes = Vec::new();
    commit(&repo, |maker| {
        let (one, two) = (maker.blob(b"one"), maker.blob(b"two"));
        lost = maker.blob(b"lost");
        let item = |id, len| ListItem::Chunk { id, len };
        let whole = repo.name(BlobKind::Data, b"onetwo");
        let missing = item(BlobId::new([9; 32]), 3);
        let mut long = maker.items("longer than its list", &[item(one, 3), item(two, 3)], whole);
        long.size += 1;
        let mut short = maker.items("shorter than its list", &[item(one, 3), item(two, 3)], whole);
        short.size -= 1;
        let mut chunk = maker.file("length of a chunk", b"one");
        chunk.size = 4;
        let mut none = maker.file("no content", b"");
        none.size = 1;
        nodes = vec![
            maker.items("wrong hash", &[item(one, 3), item(two, 3)], repo.name(BlobKind::Data, b"one")),
            maker.items("wrong order", &[item(two, 3), item(one, 3)], whole),
            maker.items("length of a piece", &[item(one, 2), item(two, 4)], whole),
            maker.items("missing", &[item(one, 3), missing], whole),
            maker.items("lost", &[item(one, 3), item(lost, 4)], repo.name(BlobKind::Data, b"onelost")),
            long,
            short,
            chunk,
            none,
        ];
        let right = maker.items("right", &[item(one, 3), item(two, 3)], whole);
        assert!(matches!(right.content, Content::List(_)));
        nodes.push(right);
        Vec::new()
    });
    let right = nodes.pop().unwrap();
    damage(&store, &repo, BlobKind::Data, &lost);
    assert_eq!(content(&repo, &right).unwrap(), b"onetwo");
    for node in nodes {
        let name = String::from_utf8_lossy(&node.name).into_owned();
        assert_eq!(content(&repo, &node).map_err(|e| e.kind()), Err(Kind::Damaged), "{name}");
    }
}

#[test]
fn a_failing_reader_or_a_raised_flag_ends_the_reading() {
    let (_, repo) = repository();
    let mut node = None;
    commit(&repo, |maker| {
        let blobs: Vec<Vec<u8>> = (0..64u8).map(|n| vec![n; 1 << 20]).collect();
        node = Some(maker.parts("big", &blobs.iter().map(|bytes| Part::Bytes(bytes)).collect::<Vec<_>>()));
        Vec::new()
    });
    let (node, cancel) = (node.unwrap(), Cancel::new());
    let (mut pieces, mut others) = (0, 0);
    let error = for_each_piece(&repo, &node, &cancel, &mut |_| {
        pieces += 1;
        if pieces == 3 { Err(Error::new(Kind::NoSpace, "write", "it")) } else { Ok(()) }
    });
    assert_eq!((error.unwrap_err().kind(), pieces), (Kind::NoSpace, 3));
    let error = for_each_piece(&repo, &node, &cancel, &mut |_| {
        others += 1;
        cancel.cancel();
        Ok(())
    });
    assert_eq!(error.unwrap_err().kind(), Kind::Cancelled);
    assert!(others < 64, "{others}");
}
