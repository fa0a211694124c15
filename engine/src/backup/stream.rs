//! A content that arrives through a reader, as one file of a snapshot of its own.

use super::Work;
use super::assembly::{Assembly, Cutter, Ending, Failed, Nature};
use super::folder::Folder;
use super::lineage::split;
use super::memory::{Previous, UNTRUSTED};
use super::walk::worker_pool;
use crate::base::{BlobId, Error, Kind, Result, StoredPath, Whose};
use crate::model::{Checked, Node, NodeKind};
use std::io::{Cursor, Read};
use std::sync::Arc;

/// Permission bits of the file: its owner's alone.
const MODE: u32 = 0o600;

/// Stores the content under this path and says the root page of the tree.
pub fn store(
    work: &Work<'_>,
    path: &StoredPath,
    content: &mut (dyn Read + Send),
    parent: Option<BlobId>,
) -> Result<BlobId> {
    let (above, name) = match (path.parent(), path.name()) {
        (Some(above), name) if !name.is_empty() => (above, name),
        _ => {
            let why = "a name for the file is missing";
            return Err(Error::new(Kind::Usage, "store the content as", path).because(why));
        }
    };
    // What was remembered when there was a folder of this name.
    work.forget_folder(path.clone());
    let root = open(work, StoredPath::root(), b"", None, parent);
    let mut folders = vec![Arc::clone(&root)];
    let mut folder = Arc::clone(&root);
    for name in above.components() {
        let before = folder.previous.as_ref().and_then(|p| p.find(name)?.decode().ok()?.subtree);
        folder = open(work, folder.path.join(name), name, Some(&folder), before);
        folders.push(Arc::clone(&folder));
    }
    let mut node = Node::new(name.to_vec(), NodeKind::File);
    node.mode = MODE;
    node.mtime = Some(work.options.time.unwrap_or_else(|| work.repo.session().now()));
    folder.expect_one();
    read(work, &folder, node, content)?;
    for folder in folders.iter().rev() {
        folder.one_done(work)?;
    }
    work.writer.cancel.check()?;
    root.tree().ok_or_else(|| Error::new(Kind::Internal, "close", "the root folder"))
}

fn open(
    work: &Work<'_>,
    path: StoredPath,
    name: &[u8],
    parent: Option<&Arc<Folder>>,
    before: Option<BlobId>,
) -> Arc<Folder> {
    let mut node = Node::new(name.to_vec(), NodeKind::Dir);
    node.mode = 0o755;
    let nodes = before.and_then(|tree| Some((tree, work.repo.read_tree(&tree, &work.writer.cancel).ok()?)));
    Folder::open(path, node, parent, nodes.map(|(tree, nodes)| Previous::from_tree(tree, &nodes)), 0)
}

fn read(work: &Work<'_>, folder: &Arc<Folder>, node: Node, content: &mut (dyn Read + Send)) -> Result<()> {
    let failed = |e| Error::io("read", "the content to be stored", e).of(Whose::Source);
    let mut head = Vec::with_capacity(Nature::HEAD_LEN);
    (&mut *content).take(Nature::HEAD_LEN as u64).read_to_end(&mut head).map_err(failed)?;
    let nature = Nature::of(&head);
    let path = folder.path.join(&node.name);
    // What arrives through a pipe cannot be looked at before: only its path tells where it came from.
    let none = || Ok(Vec::new());
    let origin = nature.database().map(|_| work.lineages.origin(&path, none, work.writer)).transpose()?;
    let (line, earlier) = split(origin, work.repo);
    let assembly = Assembly::new(folder, &nature, line);
    worker_pool(work)?.in_place_scope(|scope| {
        let mut cutter = Cutter::new(work, &assembly, scope, earlier);
        let stored = cutter.cut(Cursor::new(head).chain(content), &mut Vec::new()).and_then(|_| {
            let cut = cutter.finish()?;
            let node = Node { size: cut.len, hash: cut.hash, layout: assembly.layout, ..node };
            Ok(assembly.end(work, Ending { node, key: UNTRUSTED, checked: Checked::No })?)
        });
        stored.map_err(|e| {
            let error = match e {
                Failed::Source(_) if work.writer.cancel.is_cancelled() => Error::cancelled(),
                Failed::Source(e) => failed(e),
                Failed::Run(e) => e,
            };
            work.writer.fail(Error::new(error.kind(), error.act(), error.subject()));
            error
        })
    })
}
