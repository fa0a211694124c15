//! Packs of killed runs: durable and complete, but named by no index. The next run takes them into its own.

use crate::base::{Error, Kind, Observer, PackId, Result, Warning};
use crate::catalog::Catalog;
use crate::format::pack::{
    MAX_PACK_LEN, TAIL_LEN, decode_trailer, encode_trailer, open_trailer, pack_header, trailer_place,
};
use crate::model::PackRecord;
use crate::repo::Repo;
use crate::repo::objects::check_name;
use crate::store::ObjectInfo;

impl Repo {
    /// Of the packs that are there, finds those that no index names, reads each as a whole, and makes it durable: its run may have been killed before
    /// that. A pack that is not what its name says is left alone and told to the observer. The caller writes them into an
    /// index before anything is deduplicated against them.
    pub fn adopt_packs(&self, packs: &[ObjectInfo], observer: &dyn Observer) -> Result<Vec<PackRecord>> {
        let known = self.with_catalog(Catalog::known_packs)?;
        let mut adopted = Vec::new();
        for info in packs {
            self.session.cancel.check()?;
            let id = info.name.as_str().rsplit('/').next().and_then(PackId::from_hex);
            let Some(id) = id.filter(|id| !known.contains(id)) else { continue };
            match self.adopt_pack(&id, info) {
                Ok(record) => adopted.push(record),
                Err(e) if e.is_unreadable() || matches!(e.kind(), Kind::NewerFormat | Kind::NotFound) => {
                    let what = "A pack of an earlier run that no index names was left alone";
                    observer.warn(&Warning::of_unreadable(None, what, &e));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(adopted)
    }

    fn adopt_pack(&self, id: &PackId, info: &ObjectInfo) -> Result<PackRecord> {
        let subject = id.short();
        let damaged = |why: &str| Error::damaged("read pack", &subject, why);
        let file = self.store.get(&info.name, MAX_PACK_LEN)?;
        check_name(&file, id.as_bytes(), "read pack", &subject)?;
        let (header, raw) = pack_header(&file, &subject)?;
        let tail = file.last_chunk::<TAIL_LEN>().ok_or_else(|| damaged("it is shorter than its end"))?;
        let size = file.len() as u64;
        let (offset, len) = trailer_place(size, tail, &subject)?;
        let place = usize::try_from(offset).ok().zip(usize::try_from(offset + len).ok());
        let sealed = place
            .and_then(|(from, to)| file.get(from..to))
            .ok_or_else(|| damaged("its trailer lies outside it"))?;
        let key = self.sealer.key(&header, &subject)?;
        let trailer = open_trailer(&key, &raw, sealed.to_vec(), &subject)?;
        let record = decode_trailer(*id, size, raw, &trailer)?;
        if encode_trailer(record.class, record.padding, &record.entries) != trailer {
            // An index holds the trailer as this program writes it: what it does not know would be lost.
            let unknown = Error::new(Kind::NewerFormat, "adopt pack", &subject);
            return Err(unknown.because("its trailer has fields that this program does not know"));
        }
        // Equal bytes under this name: this only makes file and folder durable.
        self.store.put_new(&info.name, &file)?;
        Ok(record)
    }
}
