//! Manifests: writing one is the commit of a snapshot.

use crate::base::{BlobId, Error, Kind, Result, SnapshotId, StoredPath, WriterId};
use crate::format::cbor::{MAX_STRING, MapWriter, Reader};
use crate::model::{Head, Manifest, Statistics, Verdict, VerdictCode};

/// Longest manifest that is read.
pub const MAX_LEN: u64 = 8 << 20;
/// The required features of manifests that this program knows. A snapshot that needs another one is hidden and
/// reported.
pub const KNOWN_FEATURES: u64 = 0;
/// Most heads of other writers.
pub const MAX_WRITERS: usize = 4096;
/// Most paths that a snapshot is taken of.
pub const MAX_PATHS: usize = 65536;
const MAX_TAGS: usize = 4096;

/// The body's bytes.
#[must_use]
pub fn encode(m: &Manifest) -> Vec<u8> {
    let mut map = MapWriter::new();
    map.time(0, m.time)
        .time(1, m.created)
        .field(2, |e| e.i32(m.utc_offset_minutes).map(|_| ()))
        .bytes(3, m.writer.as_bytes())
        .uint(4, m.sequence)
        .bytes_if(5, m.previous.as_ref().map(|hash| &hash[..]))
        .uint(6, m.lamport)
        .array(7, &m.heads, |e, head| {
            e.array(3)?.bytes(head.writer.as_bytes())?.u64(head.sequence)?.bytes(&head.hash).map(|_| ())
        })
        .flag(8, m.imported)
        .text(9, &m.host)
        .text(10, &m.user)
        .array(11, &m.paths, |e, path| e.bytes(path.as_bytes()).map(|_| ()))
        .bytes_if(12, m.parent.as_ref().map(|id| &id.as_bytes()[..]))
        .bytes(13, m.root.as_bytes());
    let numbers = statistics_to_numbers(&m.statistics);
    map.array(14, &numbers, |e, n| e.u64(*n).map(|_| ()))
        .text(15, &m.program)
        .array(16, &m.tags, |e, tag| e.str(tag).map(|_| ()))
        .text_if(17, m.description.as_deref());
    if let Some(verdict) = &m.verdict {
        map.field(18, |e| {
            e.array(2)?.u8(verdict.code as u8)?.array(verdict.reasons.len() as u64)?;
            verdict.reasons.iter().try_for_each(|reason| e.str(reason).map(|_| ()))
        });
    }
    map.flag(19, m.incomplete)
        .bytes_if(20, m.summaries.as_ref().map(|id| &id.as_bytes()[..]))
        .bytes_if(21, m.lineage.as_ref().map(|id| &id.as_bytes()[..]))
        .array(23, &m.links, |e, (path, target)| {
            e.array(2)?.bytes(path.as_bytes())?.bytes(target).map(|_| ())
        })
        .flag(24, m.is_stream);
    map.finish()
}

/// Reads a body. `subject` names the snapshot in errors.
///
/// # Errors
/// [`Kind::NewerFormat`] if it needs a feature that this program does not know.
pub fn decode(body: &[u8], subject: &SnapshotId) -> Result<Manifest> {
    let mut r = Reader::new(body, "a manifest");
    let mut parts = Parts::default();
    let mut features = 0;
    r.map(|key, r| {
        if key == 22 {
            features = r.uint()?;
            return Ok(true);
        }
        if key < 9 { parts.chain(key, r) } else { parts.state(key, r) }
    })?;
    r.end()?;
    if features & !KNOWN_FEATURES != 0 {
        return Err(Error::new(Kind::NewerFormat, "read snapshot", subject.short())
            .because("it needs features that this program does not know"));
    }
    let time = r.need(parts.time, "time")?;
    Ok(Manifest {
        time,
        created: r.need(parts.created, "creation time")?,
        writer: r.need(parts.writer, "writer")?,
        root: r.need(parts.root, "root")?,
        ..parts.rest
    })
}

struct Parts {
    time: Option<crate::base::Timestamp>,
    created: Option<crate::base::Timestamp>,
    writer: Option<WriterId>,
    root: Option<BlobId>,
    rest: Manifest,
}

impl Default for Parts {
    fn default() -> Self {
        let rest = Manifest {
            time: Default::default(),
            created: Default::default(),
            utc_offset_minutes: 0,
            writer: WriterId::new([0; 16]),
            sequence: 0,
            previous: None,
            lamport: 0,
            heads: Vec::new(),
            imported: false,
            host: String::new(),
            user: String::new(),
            paths: Vec::new(),
            parent: None,
            root: BlobId::new([0; 32]),
            statistics: Statistics::default(),
            program: String::new(),
            tags: Vec::new(),
            description: None,
            verdict: None,
            incomplete: false,
            summaries: None,
            lineage: None,
            links: Vec::new(),
            is_stream: false,
        };
        Self { time: None, created: None, writer: None, root: None, rest }
    }
}

impl Parts {
    /// The fields that tell when and in which chain.
    fn chain(&mut self, key: u64, r: &mut Reader<'_>) -> Result<bool> {
        let rest = &mut self.rest;
        match key {
            0 => self.time = Some(r.time()?),
            1 => self.created = Some(r.time()?),
            2 => {
                let offset = i32::try_from(r.int()?).ok();
                rest.utc_offset_minutes = r.need(offset, "offset from UTC")?;
            }
            3 => self.writer = Some(WriterId::new(r.fixed()?)),
            4 => rest.sequence = r.uint()?,
            5 => rest.previous = Some(r.fixed()?),
            6 => rest.lamport = r.uint()?,
            7 => {
                rest.heads = r.array(MAX_WRITERS, |r| {
                    r.tuple(3)?;
                    Ok(Head { writer: WriterId::new(r.fixed()?), sequence: r.uint()?, hash: r.fixed()? })
                })?;
            }
            8 => rest.imported = r.flag()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The fields that tell of what.
    fn state(&mut self, key: u64, r: &mut Reader<'_>) -> Result<bool> {
        let rest = &mut self.rest;
        match key {
            9 => rest.host = r.text(MAX_STRING)?,
            10 => rest.user = r.text(MAX_STRING)?,
            11 => {
                rest.paths = r.array(MAX_PATHS, |r| {
                    let path = StoredPath::parse(r.bytes(MAX_STRING)?);
                    r.need(path, "path")
                })?;
            }
            12 => rest.parent = Some(SnapshotId::new(r.fixed()?)),
            13 => self.root = Some(BlobId::new(r.fixed()?)),
            14 => rest.statistics = numbers_to_statistics(&r.array(64, Reader::uint)?),
            15 => rest.program = r.text(MAX_STRING)?,
            16 => rest.tags = r.array(MAX_TAGS, |r| r.text(MAX_STRING))?,
            17 => rest.description = Some(r.text(MAX_STRING)?),
            18 => {
                r.tuple(2)?;
                let code = VerdictCode::from_number(r.uint()?);
                let code = r.need(code, "verdict")?;
                rest.verdict = Some(Verdict { code, reasons: r.array(1024, |r| r.text(MAX_STRING))? });
            }
            19 => rest.incomplete = r.flag()?,
            20 => rest.summaries = Some(BlobId::new(r.fixed()?)),
            21 => rest.lineage = Some(BlobId::new(r.fixed()?)),
            24 => rest.is_stream = r.flag()?,
            23 => {
                rest.links = r.array(MAX_PATHS, |r| {
                    r.tuple(2)?;
                    let path = StoredPath::parse(r.bytes(MAX_STRING)?);
                    Ok((r.need(path, "path")?, r.bytes(MAX_STRING)?.to_vec()))
                })?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn statistics_to_numbers(s: &Statistics) -> [u64; 17] {
    [
        s.files_new,
        s.files_changed,
        s.files_unmodified,
        s.dirs_new,
        s.dirs_changed,
        s.dirs_unmodified,
        s.symlinks,
        s.specials,
        s.unreadable,
        s.data_blobs,
        s.tree_blobs,
        s.data_added,
        s.data_added_packed,
        s.total_files,
        s.total_bytes,
        s.duration_ms,
        s.excluded,
    ]
}

/// Later versions may append numbers; missing ones are 0.
fn numbers_to_statistics(numbers: &[u64]) -> Statistics {
    let mut numbers = numbers.iter().copied();
    let mut next = || numbers.next().unwrap_or_default();
    Statistics {
        files_new: next(),
        files_changed: next(),
        files_unmodified: next(),
        dirs_new: next(),
        dirs_changed: next(),
        dirs_unmodified: next(),
        symlinks: next(),
        specials: next(),
        unreadable: next(),
        data_blobs: next(),
        tree_blobs: next(),
        data_added: next(),
        data_added_packed: next(),
        total_files: next(),
        total_bytes: next(),
        duration_ms: next(),
        excluded: next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use proptest::prelude::*;

    prop_compose! {
        fn manifest()(
            secs: i64, offset in -900i32..900, ids: [u8; 32], sequence: u64, lamport: u64,
            previous: Option<[u8; 32]>, imported: bool, texts in proptest::collection::vec(".{0,20}", 3..6),
            paths in proptest::collection::vec("(/[a-z]{1,5}){1,4}", 0..3), stats in proptest::collection::vec(any::<u64>(), 17),
            verdict: Option<bool>, incomplete: bool, optional: Option<[u8; 32]>,
        ) -> Manifest {
            let writer = WriterId::new([ids[0]; 16]);
            Manifest {
                time: Timestamp::new(secs, 5),
                created: Timestamp::new(secs, 6),
                utc_offset_minutes: offset,
                writer,
                sequence,
                previous,
                lamport,
                heads: vec![Head { writer, sequence, hash: ids }],
                imported,
                host: texts[0].clone(),
                user: texts[1].clone(),
                paths: paths.iter().map(|path| StoredPath::parse(path.as_bytes()).unwrap()).collect(),
                parent: optional.map(SnapshotId::new),
                root: BlobId::new(ids),
                statistics: numbers_to_statistics(&stats),
                program: texts[2].clone(),
                tags: texts[3..].to_vec(),
                description: optional.map(|_| texts[0].clone()),
                verdict: verdict.map(|bad| Verdict {
                    code: if bad { VerdictCode::Suspect } else { VerdictCode::Good },
                    reasons: texts.clone(),
                }),
                incomplete,
                summaries: optional.map(BlobId::new),
                lineage: optional.map(BlobId::new),
                is_stream: imported,
                links: optional.map(|id| (StoredPath::root().join(b"link"), id.to_vec())).into_iter().collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn reads_as_written(m in manifest()) {
            prop_assert_eq!(decode(&encode(&m), &SnapshotId::new([0; 32])).unwrap(), m);
        }

        #[test]
        fn cut_short_it_is_refused(m in manifest(), at: prop::sample::Index) {
            let body = encode(&m);
            prop_assert!(decode(&body[..at.index(body.len())], &SnapshotId::new([0; 32])).is_err());
        }
    }

    #[test]
    fn an_unknown_required_feature_is_a_newer_format() {
        let mut map = MapWriter::new();
        map.uint(22, 1 << 40);
        assert_eq!(decode(&map.finish(), &SnapshotId::new([0; 32])).unwrap_err().kind(), Kind::NewerFormat);
    }
}
