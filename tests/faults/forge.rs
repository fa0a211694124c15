//! A repository whose owner is hostile: every object is sealed with the right key, and says what no writer would say.

use crate::stage::Stage;
use chatvault_engine::base::{BlobId, IndexId, SnapshotId, Timestamp, hash};
use chatvault_engine::crypto::{HEADER_LEN, ObjectType};
use chatvault_engine::format::index::Index;
use chatvault_engine::format::object::Sealer;
use chatvault_engine::format::pack::{PackedBlob, assemble};
use chatvault_engine::format::tree::{encode_leaf, encode_node};
use chatvault_engine::format::{manifest, pack};
use chatvault_engine::model::{
    BlobEntry, BlobKind, CodecTag, Manifest, Node, NodeKind, PackClass, PackRecord,
};
use chatvault_engine::store::{ObjectName, Store};
use std::path::PathBuf;

/// Collects blobs and publishes them under a snapshot.
pub struct Forge<'s> {
    stage: &'s Stage,
    sealer: Sealer,
    blobs: Vec<PackedBlob>,
}

impl<'s> Forge<'s> {
    pub fn new(stage: &'s Stage) -> Self {
        Self { stage, sealer: stage.sealer(), blobs: Vec::new() }
    }

    /// The real path of something in the world whose repository this is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.stage.world.path(name)
    }

    /// Adds a blob as it is.
    pub fn blob(&mut self, kind: BlobKind, plain: &[u8]) -> BlobId {
        let len = u32::try_from(plain.len()).unwrap();
        self.packed(kind, plain, CodecTag::Raw, plain.to_vec(), len)
    }

    /// Adds a blob named after `named`, of which the pack holds `bytes` and says that they are `plain_len` bytes.
    pub fn packed(
        &mut self,
        kind: BlobKind,
        named: &[u8],
        codec: CodecTag,
        bytes: Vec<u8>,
        plain_len: u32,
    ) -> BlobId {
        let id = self.sealer.bundle.id_key(kind).name(named);
        let entry =
            BlobEntry { kind, id, codec, plain_len, sealed_len: 0, base: None, depth: 0, generation: 0 };
        self.blobs.push(PackedBlob { entry, bytes });
        id
    }

    /// A folder of these nodes.
    pub fn folder(&mut self, nodes: &[Node]) -> BlobId {
        let nodes: Vec<Vec<u8>> = nodes.iter().map(encode_node).collect();
        self.blob(BlobKind::TreePage, &encode_leaf(&nodes))
    }

    /// Writes everything as a snapshot with this root.
    pub fn publish(self, root: BlobId) -> SnapshotId {
        self.publish_with(root, |_| ())
    }

    /// The same with other changes of the manifest.
    pub fn publish_with(self, root: BlobId, change: impl FnOnce(&mut Manifest)) -> SnapshotId {
        let store = self.stage.store();
        let mut told = newest(&store, &self.sealer);
        if !self.blobs.is_empty() {
            let (record, file) = assemble(&self.sealer, PackClass::Metadata, self.blobs, false).unwrap();
            store.put_new(&ObjectName::pack(&record.pack), &file).unwrap();
            put_index(&store, &self.sealer, Index { prune_epoch: 0, packs: vec![record] }.encode());
        }
        told.root = root;
        (told.sequence, told.lamport) = (told.sequence + 1, told.lamport + 1);
        told.time.secs += 1;
        change(&mut told);
        put_manifest(&store, &self.sealer, manifest::encode(&told))
    }

    /// Writes an index of this body.
    pub fn index(self, body: Vec<u8>) {
        put_index(&self.stage.store(), &self.sealer, body);
    }

    /// Writes a manifest of this body.
    pub fn manifest(self, body: Vec<u8>) -> SnapshotId {
        put_manifest(&self.stage.store(), &self.sealer, body)
    }
}

fn newest(store: &dyn Store, sealer: &Sealer) -> Manifest {
    let manifests = store.list("snapshots").unwrap().objects.into_iter().map(|info| {
        let object = store.get(&info.name, info.size).unwrap();
        let body = sealer.open(ObjectType::Manifest, &object, "a manifest").unwrap();
        manifest::decode(&body, &SnapshotId::from_hex(info.name.last()).unwrap()).unwrap()
    });
    manifests.max_by_key(|manifest| manifest.lamport).unwrap()
}

fn put_index(store: &dyn Store, sealer: &Sealer, body: Vec<u8>) {
    let object = sealer.seal(ObjectType::Index, body).unwrap();
    store.put_new(&ObjectName::index(&IndexId::new(hash::digest(&object))), &object).unwrap();
}

fn put_manifest(store: &dyn Store, sealer: &Sealer, body: Vec<u8>) -> SnapshotId {
    let object = sealer.seal(ObjectType::Manifest, body).unwrap();
    let id = SnapshotId::new(hash::digest(&object));
    store.put_new(&ObjectName::snapshot(&id), &object).unwrap();
    store.put_new(&ObjectName::snapshot(&id).mirror(), &object).unwrap();
    id
}

/// A node of a file of one blob.
pub fn file(name: &[u8], content: BlobId, size: u64) -> Node {
    let mut node = Node::new(name.to_vec(), NodeKind::File);
    (node.size, node.mode, node.mtime) = (size, 0o644, Some(Timestamp::new(1, 0)));
    node.content = chatvault_engine::model::Content::Chunk(content);
    node
}

/// A node of a folder.
pub fn dir(name: &[u8], subtree: BlobId) -> Node {
    let mut node = Node::new(name.to_vec(), NodeKind::Dir);
    (node.subtree, node.mode, node.mtime) = (Some(subtree), 0o755, Some(Timestamp::new(1, 0)));
    node
}

/// A node of a symbolic link.
pub fn link(name: &[u8], target: &str) -> Node {
    let mut node = Node::new(name.to_vec(), NodeKind::Symlink);
    (node.target, node.mode) = (Some(target.as_bytes().to_vec()), 0o777);
    node
}

/// The record of a pack that claims so many blobs, none of which is there.
pub fn hollow_pack(blobs: u32) -> PackRecord {
    let entry = |number: u32| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_le_bytes());
        BlobEntry {
            kind: BlobKind::TreePage,
            id: BlobId::new(id),
            codec: CodecTag::Zstd,
            plain_len: pack::MAX_BLOB_LEN,
            sealed_len: 16,
            base: None,
            depth: 0,
            generation: 0,
        }
    };
    PackRecord {
        pack: chatvault_engine::base::PackId::new([9; 32]),
        size: 0,
        header: [0; HEADER_LEN],
        class: PackClass::Metadata,
        padding: 0,
        entries: (0..blobs).map(entry).collect(),
    }
}
