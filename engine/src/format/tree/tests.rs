//! Properties of tree pages.

use super::*;
use crate::base::Timestamp;
use proptest::prelude::*;

fn blob_id() -> impl Strategy<Value = BlobId> {
    any::<[u8; 32]>().prop_map(BlobId::new)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 1..40).prop_filter("a name", |name| {
        !matches!(name.as_slice(), b"." | b"..") && !name.contains(&b'/') && !name.contains(&0)
    })
}

fn content() -> impl Strategy<Value = (NodeKind, Content, Option<BlobId>, u64)> {
    prop_oneof![
        Just((NodeKind::File, Content::None, None, 0)),
        (blob_id(), 1..u64::from(u32::MAX)).prop_map(|(id, size)| (
            NodeKind::File,
            Content::Chunk(id),
            None,
            size
        )),
        (blob_id(), blob_id(), 1..=i64::MAX.unsigned_abs()).prop_map(|(id, hash, size)| (
            NodeKind::File,
            Content::List(id),
            Some(hash),
            size
        )),
        Just((NodeKind::Dir, Content::None, None, 0)),
        Just((NodeKind::Symlink, Content::None, None, 0)),
        Just((NodeKind::BlockDevice, Content::None, None, 0)),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    let numbers = (0u32..=0o7777, any::<u32>(), any::<u32>(), any::<i64>(), 0u32..1_000_000_000);
    let rest = (any::<Option<u64>>(), any::<bool>(), proptest::option::of((0u8..3, name())), blob_id());
    (name(), content(), numbers, rest).prop_map(|(name, (kind, content, hash, size), numbers, rest)| {
        let (mode, uid, gid, secs, nanos) = numbers;
        let (hard_link, changed_while_read, database, subtree) = rest;
        Node {
            mode,
            uid,
            gid,
            user: (uid % 2 == 0).then(|| "me".to_owned()),
            mtime: (gid % 3 != 0).then(|| Timestamp::new(secs, nanos)),
            size,
            content,
            hash,
            target: (kind == NodeKind::Symlink).then(|| b"../there".to_vec()),
            hard_link,
            device: (kind == NodeKind::BlockDevice).then_some((8, 1)),
            xattrs: vec![(b"user.x".to_vec(), vec![0, 1])],
            subtree: (kind == NodeKind::Dir).then_some(subtree),
            changed_while_read,
            database: database.map(|(state, sidecar)| Database {
                state: DatabaseState::from_number(state.into()).unwrap(),
                page_size: 4096,
                sidecars: vec![sidecar],
                damaged_log: (uid % 3 == 0).then(|| DamagedLog {
                    size: 1 + u64::from(gid),
                    content: if gid % 2 == 0 { Content::Chunk(subtree) } else { Content::List(subtree) },
                    hash: (gid % 2 != 0).then_some(subtree),
                }),
            }),
            ..Node::new(name, kind)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_leaf_reads_as_written(mut nodes in proptest::collection::vec(node(), 0..20)) {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.dedup_by(|a, b| a.name == b.name);
        let page = encode_leaf(&nodes.iter().map(encode_node).collect::<Vec<_>>());
        prop_assert_eq!(decode(&page).unwrap(), TreePage::Leaf(nodes));
    }

    #[test]
    fn altered_pages_are_refused_or_read_without_harm(nodes in proptest::collection::vec(node(), 1..4), at: prop::sample::Index, to: u8) {
        let mut page = encode_leaf(&nodes.iter().map(encode_node).collect::<Vec<_>>());
        let at = at.index(page.len());
        page[at] = to;
        if let Ok(TreePage::Leaf(nodes)) = decode(&page) {
            prop_assert!(nodes.iter().all(|node| check_node(node).is_ok()));
        }
    }
}

#[test]
fn names_that_could_escape_are_refused() {
    for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0"] {
        let node = Node::new(name.to_vec(), NodeKind::File);
        assert!(decode(&encode_leaf(&[encode_node(&node)])).is_err(), "{name:?}");
    }
    let twice = encode_node(&Node::new(b"a".to_vec(), NodeKind::File));
    assert!(decode(&encode_leaf(&[twice.clone(), twice])).is_err());
}

#[test]
fn inner_pages_read_as_written_and_depth_is_bounded() {
    let children = vec![(b"a".to_vec(), BlobId::new([1; 32])), (b"b".to_vec(), BlobId::new([2; 32]))];
    let page = encode_inner(1, &children);
    assert_eq!(decode(&page).unwrap(), TreePage::Inner { level: 1, children: children.clone() });
    assert!(decode(&encode_inner(MAX_LEVELS, &children)).is_err());
    assert!(decode(&encode_inner(1, &[])).is_err());
}

#[test]
fn a_page_stands_one_level_below_begins_as_was_said_and_is_empty_only_at_the_root() {
    let empty = TreePage::Leaf(Vec::new());
    let leaf = TreePage::Leaf(vec![Node::new(b"a".to_vec(), NodeKind::File)]);
    let inner = TreePage::Inner { level: 2, children: vec![(b"a".to_vec(), BlobId::new([1; 32]))] };
    assert!(empty.check_place(None).is_ok());
    let placed =
        |page: &TreePage, level, first: &[u8]| page.check_place(Some(&(level, first.to_vec()))).is_ok();
    assert!(!placed(&empty, 1, b"") && !placed(&empty, 1, b"a"));
    for (page, above) in [(&leaf, 1), (&inner, 3)] {
        assert!(page.check_place(None).is_ok());
        assert!(placed(page, above, b"a"));
        assert!(!placed(page, above, b"b"));
        assert!(!placed(page, above - 1, b"a"));
        assert!(!placed(page, above + 1, b"a"));
    }
}
