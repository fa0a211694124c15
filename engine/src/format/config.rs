//! The config: repository id and feature bits in the clear, so that they can be read before any key is there, and the
//! sealed settings.

use crate::base::{Error, Kind, RepoId, Result, Timestamp};
use crate::chunk::PageRuns;
use crate::crypto::{HEADER_LEN, Header, ObjectType};
use crate::format::cbor::{MapWriter, Reader};
use crate::format::object::Sealer;

const CLEAR_LEN: usize = 40;
/// Longest config that is read.
pub const MAX_LEN: u64 = 64 * 1024;
/// The required features that this program knows. A repository that needs another one is refused.
pub const KNOWN_FEATURES: u64 = 0;

/// How a repository cuts and packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// When it was made.
    pub created: Timestamp,
    /// Shortest chunk in bytes; even.
    pub chunk_min: u32,
    /// Chunk size in bytes that the masks aim at; even.
    pub chunk_avg: u32,
    /// Longest chunk in bytes; even.
    pub chunk_max: u32,
    /// Bytes of a page run.
    pub run: u32,
    /// Bytes at which a pack of media is closed.
    pub media_pack: u32,
    /// Bytes at which any other pack is closed.
    pub other_pack: u32,
}

impl Config {
    /// The settings of a new repository.
    #[must_use]
    pub fn standard(created: Timestamp) -> Self {
        Self {
            created,
            chunk_min: 512 << 10,
            chunk_avg: 1 << 20,
            chunk_max: 4 << 20,
            run: 128 << 10,
            media_pack: 16 << 20,
            other_pack: 8 << 20,
        }
    }

    fn check(&self) -> Result<()> {
        let chunks = [self.chunk_min, self.chunk_avg, self.chunk_max];
        let fits = chunks.iter().all(|size| size.is_multiple_of(2) && (64..=16 << 20).contains(size))
            && chunks.is_sorted()
            && self.chunk_min < self.chunk_avg
            && self.chunk_avg < self.chunk_max
            && PageRuns::is_length(self.run)
            && [self.media_pack, self.other_pack].iter().all(|size| (1 << 16..=16 << 20).contains(size));
        if fits { Ok(()) } else { Err(Error::damaged("use", "the config", "a size in it is out of range")) }
    }

    /// The object's bytes.
    pub fn seal(&self, sealer: &Sealer) -> Result<Vec<u8>> {
        let mut clear = sealer.repo.as_bytes().to_vec();
        clear.extend_from_slice(&0u64.to_le_bytes());
        let mut map = MapWriter::new();
        map.time(0, self.created)
            .uint(1, 1)
            .uint(2, self.chunk_min.into())
            .uint(3, self.chunk_avg.into())
            .uint(4, self.chunk_max.into())
            .uint(5, self.run.into())
            .uint(6, self.media_pack.into())
            .uint(7, self.other_pack.into());
        sealer.seal_with(&sealer.new_header(ObjectType::Config)?, &clear, map.finish())
    }

    /// Opens the object's bytes.
    pub fn open(sealer: &Sealer, object: &[u8]) -> Result<Self> {
        let body = sealer.open_with(ObjectType::Config, object, CLEAR_LEN, "config")?;
        let mut reader = Reader::new(&body, "the config");
        let (mut created, mut chunker, mut sizes) = (None, None, [0; 6]);
        reader.map(|key, r| {
            match key {
                0 => created = Some(r.time()?),
                1 => chunker = Some(r.uint()?),
                2..=7 => {
                    let at = usize::try_from(key - 2).unwrap_or_default();
                    if let Some(size) = sizes.get_mut(at) {
                        *size = r.uint32()?;
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if chunker != Some(1) {
            return Err(Error::new(Kind::NewerFormat, "use", "the config").because("its chunker is unknown"));
        }
        let [chunk_min, chunk_avg, chunk_max, run, media_pack, other_pack] = sizes;
        let created = reader.need(created, "time")?;
        let config = Self { created, chunk_min, chunk_avg, chunk_max, run, media_pack, other_pack };
        config.check()?;
        Ok(config)
    }
}

/// Reads what can be read of a config without a key: the repository id. Refuses features that this program does not
/// know. Nothing of it is authenticated until the whole is opened.
pub fn repository_id(object: &[u8]) -> Result<RepoId> {
    Header::decode(object, ObjectType::Config, "config")?;
    let short = || Error::damaged("read config", "config", "it is too short");
    let clear = object.get(HEADER_LEN..HEADER_LEN + CLEAR_LEN).ok_or_else(short)?;
    let (id, features) = clear.split_first_chunk::<32>().ok_or_else(short)?;
    let features = u64::from_le_bytes(features.try_into().map_err(|_| short())?);
    if features & !KNOWN_FEATURES != 0 {
        return Err(Error::new(Kind::NewerFormat, "open", "the repository").because(format!(
            "it needs features that this program does not know (bits {:#x})",
            features & !KNOWN_FEATURES
        )));
    }
    Ok(RepoId::new(*id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyBundle;

    #[test]
    fn round_trip_and_unknown_features() {
        let sealer = Sealer::new(RepoId::new([4; 32]), KeyBundle::random().unwrap());
        let config = Config::standard(Timestamp::new(1, 2));
        let mut object = config.seal(&sealer).unwrap();
        assert_eq!(repository_id(&object).unwrap(), sealer.repo);
        assert_eq!(Config::open(&sealer, &object).unwrap(), config);
        object[HEADER_LEN + 32] = 1;
        assert_eq!(repository_id(&object).unwrap_err().kind(), Kind::NewerFormat);
        assert_eq!(Config::open(&sealer, &object).unwrap_err().kind(), Kind::Damaged);
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        let sealer = Sealer::new(RepoId::new([4; 32]), KeyBundle::random().unwrap());
        let good = Config::standard(Timestamp::default());
        for bad in [
            Config { chunk_min: 3, ..good },
            Config { chunk_max: 1 << 30, ..good },
            Config { run: 4096, ..good },
            Config { media_pack: u32::MAX, ..good },
            Config { chunk_avg: 64, ..good },
        ] {
            assert!(Config::open(&sealer, &bad.seal(&sealer).unwrap()).is_err());
        }
    }
}
