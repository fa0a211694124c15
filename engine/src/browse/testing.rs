//! Small repositories with hand-made trees, for the tests of the operations.

use crate::base::event::Silent;
use crate::base::{BlobId, Observer, StoredPath, Timestamp, Warning, WarningKind};
use crate::format::tree::encode_node;
use crate::model::{BlobKind, Content, EventAction, ListItem, Manifest, Node, NodeKind, PackClass};
use crate::repo::pages::{Boundaries, EncodedNode, ListLayout, PageSink, write_list, write_tree};
use crate::repo::testing::{create, sample_manifest, session};
use crate::repo::writer::{Fate, Offer, Packing, RunWriter};
use crate::repo::{Repo, Snapshot};
use crate::store::{MemoryStore, ObjectName, Store};
use std::sync::{Arc, Mutex};

/// The modification time of made nodes.
pub(crate) const MTIME: Timestamp = Timestamp { secs: 1_600_000_000, nanos: 123_456_789 };

/// A repository in memory, and its store.
pub(crate) fn repository() -> (Arc<MemoryStore>, Repo) {
    let store = Arc::new(MemoryStore::new());
    let (repo, _) = create(store.clone(), session(None));
    (store, repo)
}

/// Keeps what an operation tells.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<Warning>>);

impl Told {
    /// Kind and path of each warning.
    pub(crate) fn kinds(&self) -> Vec<(WarningKind, Option<String>)> {
        let told = self.0.lock().unwrap();
        told.iter().map(|it| (it.kind, it.path.as_ref().map(ToString::to_string))).collect()
    }
}

impl Observer for Told {
    fn warn(&self, warning: &Warning) {
        self.0.lock().unwrap().push(warning.clone());
    }
}

/// Makes nodes, and stores what they rest on.
pub(crate) struct Maker<'a> {
    pub(crate) repo: &'a Repo,
    pub(crate) writer: &'a RunWriter<'a>,
    boundaries: Boundaries,
}

/// A piece of a made file.
pub(crate) enum Part<'a> {
    Bytes(&'a [u8]),
    Hole(u64),
}

impl Maker<'_> {
    pub(crate) fn blob(&self, bytes: &[u8]) -> BlobId {
        let permit = self.writer.reserve(bytes.len()).unwrap();
        let offer =
            Offer { kind: BlobKind::Data, class: PackClass::Media, packing: Packing::Tried, previous: None };
        self.writer.put(offer, bytes.to_vec(), permit).unwrap()
    }

    pub(crate) fn page(&self, page: Vec<u8>) -> BlobId {
        self.writer.put_page(BlobKind::TreePage, page, None).unwrap()
    }

    /// A file of at most one blob.
    pub(crate) fn file(&self, name: impl AsRef<[u8]>, content: &[u8]) -> Node {
        let mut node = self.node(name, NodeKind::File, 0o640);
        node.size = content.len() as u64;
        if !content.is_empty() {
            node.content = Content::Chunk(self.blob(content));
        }
        node
    }

    /// A file with a content list.
    pub(crate) fn parts(&self, name: impl AsRef<[u8]>, parts: &[Part<'_>]) -> Node {
        let mut hash = self.repo.id_key(BlobKind::Data).stream();
        let mut items = Vec::new();
        for part in parts {
            match part {
                Part::Bytes(bytes) => {
                    hash.update(bytes);
                    items.push(ListItem::Chunk {
                        id: self.blob(bytes),
                        len: u32::try_from(bytes.len()).unwrap(),
                    });
                }
                Part::Hole(len) => {
                    hash.update(&vec![0; usize::try_from(*len).unwrap()]);
                    items.push(ListItem::Hole { len: *len });
                }
            }
        }
        self.items(name, &items, hash.finish())
    }

    /// A file with this content list and hash, whether they fit or not.
    pub(crate) fn items(&self, name: impl AsRef<[u8]>, items: &[ListItem], hash: BlobId) -> Node {
        let mut node = self.node(name, NodeKind::File, 0o640);
        node.size = items.iter().map(ListItem::len).sum();
        node.content =
            Content::List(write_list(self.writer, &self.boundaries, ListLayout::Stream, items).unwrap());
        node.hash = Some(hash);
        node
    }

    pub(crate) fn link(&self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Node {
        let mut node = self.node(name, NodeKind::Symlink, 0o777);
        node.target = Some(target.as_ref().to_vec());
        node
    }

    pub(crate) fn dir(&self, name: impl AsRef<[u8]>, nodes: Vec<Node>) -> Node {
        let mut node = self.node(name, NodeKind::Dir, 0o750);
        node.subtree = Some(self.tree(nodes));
        node
    }

    pub(crate) fn tree(&self, mut nodes: Vec<Node>) -> BlobId {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let bytes: Vec<_> = nodes.iter().map(encode_node).collect();
        let encoded: Vec<_> =
            nodes.iter().zip(&bytes).map(|(node, bytes)| EncodedNode { name: &node.name, bytes }).collect();
        write_tree(self.writer, &self.boundaries, &encoded).unwrap()
    }

    pub(crate) fn node(&self, name: impl AsRef<[u8]>, kind: NodeKind, mode: u32) -> Node {
        let mut node = Node::new(name.as_ref().to_vec(), kind);
        node.mode = mode;
        node.mtime = Some(MTIME);
        node
    }
}

/// Commits a snapshot whose root folder holds the nodes that `make` makes.
pub(crate) fn commit(repo: &Repo, make: impl FnOnce(&Maker<'_>) -> Vec<Node>) -> Snapshot {
    commit_root(repo, |maker| {
        let nodes = make(maker);
        maker.tree(nodes)
    })
}

/// Commits a snapshot with this root page.
pub(crate) fn commit_root(repo: &Repo, make: impl FnOnce(&Maker<'_>) -> BlobId) -> Snapshot {
    let run = repo.begin(&Silent).unwrap();
    let work = |writer: &RunWriter<'_>| Ok(make(&Maker { repo, writer, boundaries: Boundaries::new(repo) }));
    let (root, packs, _) = RunWriter::run(repo, Fate::Stored, work).unwrap();
    let number = i64::try_from(run.history.snapshots.len()).unwrap() + 1;
    let time = Timestamp::new(number, 0);
    let manifest =
        Manifest { root, time, created: time, paths: vec![StoredPath::root()], ..sample_manifest(0) };
    let id = repo.commit(run, packs, manifest, &Silent).unwrap();
    repo.snapshots(&Silent).unwrap().into_iter().find(|snapshot| snapshot.id == id).unwrap()
}

/// Writes down that a snapshot is forgotten.
pub(crate) fn forget(repo: &Repo, snapshot: &Snapshot) {
    let history = repo.history(&Silent).unwrap();
    let forget = EventAction::Forget {
        snapshot: snapshot.id,
        writer: snapshot.manifest.writer,
        sequence: snapshot.manifest.sequence,
        previous: snapshot.manifest.previous,
    };
    repo.record(&history, vec![forget], &Silent).unwrap();
}

/// Puts zeroes over the stored bytes of a blob.
pub(crate) fn damage(store: &MemoryStore, repo: &Repo, kind: BlobKind, id: &BlobId) {
    for copy in repo.catalog().copies(kind, id).unwrap() {
        let name = ObjectName::pack(&copy.pack);
        let mut bytes = store.get(&name, u64::MAX).unwrap();
        let start = copy.offset as usize;
        bytes[start..start + copy.entry.sealed_len as usize].fill(0);
        store.overwrite(&name, &bytes);
    }
}
