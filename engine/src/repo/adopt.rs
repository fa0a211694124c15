//! Packs of killed runs: durable and complete, but named by no index. The next run takes them into its own.

use crate::base::{Error, Kind, Observer, PackId, Result, Warning, WarningKind};
use crate::catalog::Catalog;
use crate::crypto::HEADER_LEN;
use crate::format::pack::{TAIL_LEN, decode_trailer, open_trailer, pack_header, trailer_place};
use crate::model::PackRecord;
use crate::repo::Repo;
use crate::store::{ObjectInfo, ObjectName};

impl Repo {
    /// Finds packs that no index names, reads their trailers, and adds them to the catalog. A pack that cannot be read
    /// is left alone and told to the observer.
    pub fn adopt_packs(&self, observer: &dyn Observer) -> Result<Vec<PackRecord>> {
        let known = self.with_catalog(Catalog::known_packs)?;
        let mut adopted = Vec::new();
        for info in self.store.list("packs")? {
            self.session.cancel.check()?;
            let id = info.name.as_str().rsplit('/').next().and_then(PackId::from_hex);
            let Some(id) = id.filter(|id| !known.contains(id)) else { continue };
            match self.read_trailer(&id, &info) {
                Ok(record) => adopted.push(record),
                Err(e) if matches!(e.kind(), Kind::Damaged | Kind::NewerFormat | Kind::NotFound) => {
                    observer.warn(&Warning {
                        kind: WarningKind::Damaged,
                        path: None,
                        message: format!(
                            "A pack of an earlier run that no index names was left alone: {}",
                            e.full_text()
                        ),
                    });
                }
                Err(e) => return Err(e),
            }
        }
        self.with_catalog(|catalog| catalog.add_packs(&adopted))?;
        Ok(adopted)
    }

    fn read_trailer(&self, id: &PackId, info: &ObjectInfo) -> Result<PackRecord> {
        let name = ObjectName::pack(id);
        let subject = id.short();
        let tail_at = info
            .size
            .checked_sub(TAIL_LEN as u64)
            .ok_or_else(|| Error::damaged("read pack", &subject, "it is shorter than its end"))?;
        let start = self.store.get_range(&name, 0, (HEADER_LEN as u64).min(info.size))?;
        let (header, raw) = pack_header(&start, &subject)?;
        let tail = self.store.get_range(&name, tail_at, TAIL_LEN as u64)?;
        let (offset, len) = trailer_place(info.size, &tail, &subject)?;
        let sealed = self.store.get_range(&name, offset, len)?;
        let key = self.sealer.key(&header, &subject)?;
        decode_trailer(*id, info.size, raw, &open_trailer(&key, &raw, sealed, &subject)?)
    }
}
