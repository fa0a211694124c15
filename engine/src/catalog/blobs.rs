//! L3: which blobs are stored, and where each copy of them lies.
//!
//! A row's `copy` is: depth 1, codec 1, generation 2, plain length 4, sealed length 4, offset 4 bytes (little-endian),
//! the base's 32 bytes if there is one, and 8 bytes of checksum over all columns.

use super::orphans::delete_orphans;
use super::{Catalog, altered, check, failed, row_mac};
use crate::base::{BlobId, Error, IndexId, PackId, Result};
use crate::crypto::{HEADER_LEN, Secret};
use crate::model::{BlobEntry, BlobKind, CodecTag, PackClass, PackRecord};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use std::collections::{HashMap, HashSet};

/// Most copies of one blob that are looked at.
const MAX_COPIES: i64 = 4096;
const PLACE_LEN: usize = 16;
const CHECK_LEN: usize = 8;

/// One stored copy of a blob and all that is needed to read it with one ranged request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobCopy {
    /// The pack that holds it.
    pub pack: PackId,
    /// Bytes of that pack.
    pub pack_size: u64,
    /// That pack's header, from which its key is derived.
    pub header: [u8; HEADER_LEN],
    /// Where it begins in the pack, in bytes.
    pub offset: u32,
    /// How many blobs lie before it in the pack.
    pub ordinal: u32,
    /// What it is.
    pub entry: BlobEntry,
}

/// What the packs of one class hold; copies are counted, not names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassTotals {
    /// Packs.
    pub packs: u64,
    /// Bytes of these packs.
    pub pack_bytes: u64,
    /// Stored blobs.
    pub blobs: u64,
    /// Bytes of their plaintexts.
    pub plain_bytes: u64,
    /// Bytes that they take in the packs.
    pub sealed_bytes: u64,
}

impl Catalog {
    /// Takes over all packs of an index object and remembers that it was read. Packs that are known stay as they are.
    ///
    /// Says how many of the deltas have no base yet: when no further index follows, [`Self::drop_orphans`] is due for them.
    pub fn add_index(&self, id: &IndexId, packs: &[PackRecord]) -> Result<u64> {
        self.add(Some(id), packs)
    }

    /// Takes over packs that are durable but stand in no index object yet.
    pub fn add_packs(&self, packs: &[PackRecord]) -> Result<u64> {
        self.add(None, packs)
    }

    fn add(&self, index: Option<&IndexId>, packs: &[PackRecord]) -> Result<u64> {
        let act = "add blobs to";
        let failed = || failed(act);
        let mut connection = self.writing(act)?;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        let mut places = Vec::new();
        let mut next: i64 = transaction
            .query_row("SELECT coalesce(max(number), 0) + 1 FROM packs", (), |row| row.get(0))
            .map_err(failed())?;
        for record in packs {
            let totals = places_of(record, next, &mut places)?;
            if insert_pack(&transaction, &self.key, next, record, &totals).map_err(failed())? {
                next = next.checked_add(1).ok_or_else(|| altered("packs"))?;
            } else {
                places.truncate(places.len().saturating_sub(record.entries.len()));
            }
        }
        // In the order of the table each of its pages is touched once.
        places.sort_unstable_by_key(|place| (place.entry.id, place.entry.kind, place.pack));
        insert_blobs(&transaction, &self.key, &places).map_err(failed())?;
        let baseless = count_baseless(&transaction, &places).map_err(failed())?;
        if let Some(index) = index {
            let mut statement =
                transaction.prepare_cached("REPLACE INTO indexes (id) VALUES (?)").map_err(failed())?;
            statement.execute([index.as_bytes()]).map_err(failed())?;
        }
        transaction.commit().map_err(failed())?;
        Ok(baseless)
    }

    /// The index objects whose packs are in the catalog.
    pub fn known_indexes(&self) -> Result<HashSet<IndexId>> {
        let connection = self.connection();
        let read = || {
            let mut statement = connection.prepare_cached("SELECT id FROM indexes")?;
            let ids = statement.query_map((), |row| Ok(IndexId::from_slice(blob(row, 0)?)))?;
            ids.collect::<rusqlite::Result<Option<HashSet<_>>>>()
        };
        read().map_err(failed("read indexes from"))?.ok_or_else(|| altered("indexes"))
    }

    /// The packs in the catalog.
    pub fn known_packs(&self) -> Result<HashSet<PackId>> {
        Ok(self.packs()?.into_iter().map(|pack| pack.id).collect())
    }

    /// The packs in the catalog and their bytes.
    pub fn pack_sizes(&self) -> Result<HashMap<PackId, u64>> {
        Ok(self.packs()?.into_iter().map(|pack| (pack.id, pack.size)).collect())
    }

    /// Forgets packs and what they hold, what rests on that, and all memory of files: it may rest on them.
    pub fn drop_packs(&self, packs: &[PackId]) -> Result<()> {
        let act = "remove packs from";
        let failed = || failed(act);
        let mut connection = self.writing(act)?;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        for pack in packs {
            let blobs = "DELETE FROM blobs WHERE pack IN (SELECT number FROM packs WHERE id = ?)";
            transaction.execute(blobs, [pack.as_bytes()]).map_err(failed())?;
            transaction.execute("DELETE FROM packs WHERE id = ?", [pack.as_bytes()]).map_err(failed())?;
        }
        delete_orphans(&transaction).map_err(failed())?;
        for table in ["DELETE FROM memory", "DELETE FROM sources"] {
            transaction.execute(table, ()).map_err(failed())?;
        }
        transaction.commit().map_err(failed())
    }

    /// Forgets all blobs, packs and indexes, and with them all memory of files: it may rest on them.
    pub fn clear_blobs(&self) -> Result<()> {
        let act = "clear blobs of";
        let failed = || failed(act);
        let mut connection = self.writing(act)?;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
        let tables = ["blobs", "packs", "indexes", "memory", "sources"];
        for table in tables.map(|table| format!("DELETE FROM {table}")) {
            transaction.execute(&table, ()).map_err(failed())?;
        }
        transaction.commit().map_err(failed())
    }

    /// All stored copies of a blob, the one of least depth first.
    pub fn copies(&self, kind: BlobKind, id: &BlobId) -> Result<Vec<BlobCopy>> {
        let connection = self.connection();
        let mut copies = Vec::new();
        let mut read = || {
            let mut statement = connection.prepare_cached(
                "SELECT p.number, p.id, p.size, p.header, p.class, p.padding, p.blobs, p.plain, p.sealed, p.mac, \
                 b.pack, b.ordinal, b.copy FROM blobs b LEFT JOIN packs p ON p.number = b.pack \
                 WHERE b.id = ? AND b.kind = ? LIMIT ?",
            )?;
            let mut rows = statement.query((id.as_bytes(), kind as u8, MAX_COPIES))?;
            while let Some(row) = rows.next()? {
                copies.push(self.copy_of(row, kind, id)?);
            }
            Ok(())
        };
        read().map_err(failed("look up a blob in"))?;
        let mut copies: Vec<_> = copies.into_iter().collect::<Option<_>>().ok_or_else(|| altered("blobs"))?;
        copies.sort_by_key(|copy: &BlobCopy| (copy.entry.depth, copy.pack, copy.ordinal));
        Ok(copies)
    }

    /// One row of [`Self::copies`]; none if it is not what was written.
    fn copy_of(&self, row: &Row<'_>, kind: BlobKind, id: &BlobId) -> rusqlite::Result<Option<BlobCopy>> {
        let Some(pack) = pack_of(row, &self.key)? else { return Ok(None) };
        let place = decode(&self.key, kind, id, row.get(10)?, row.get(11)?, blob(row, 12)?);
        Ok(place.filter(|place| place.pack == pack.number).map(|place| BlobCopy {
            pack: pack.id,
            pack_size: pack.size,
            header: pack.header,
            offset: place.offset,
            ordinal: place.ordinal,
            entry: place.entry,
        }))
    }

    /// True if the blob is stored at least once.
    pub fn contains(&self, kind: BlobKind, id: &BlobId) -> Result<bool> {
        let connection = self.connection();
        let find = || {
            let mut statement = connection
                .prepare_cached("SELECT pack, ordinal, copy FROM blobs WHERE id = ? AND kind = ? LIMIT 1")?;
            let is_sound = |row: &Row<'_>| {
                Ok(decode(&self.key, kind, id, row.get(0)?, row.get(1)?, blob(row, 2)?).is_some())
            };
            statement.query_row((id.as_bytes(), kind as u8), is_sound).optional()
        };
        match find().map_err(failed("look up a blob in"))? {
            Some(false) => Err(altered("blobs")),
            found => Ok(found.is_some()),
        }
    }

    /// Number of stored copies of blobs.
    pub fn blob_count(&self) -> Result<u64> {
        Ok(self.packs()?.iter().fold(0, |sum, pack| sum.saturating_add(pack.totals.blobs)))
    }

    /// What the packs of a class hold.
    pub fn totals(&self, class: PackClass) -> Result<ClassTotals> {
        let mut sum = ClassTotals::default();
        for pack in self.packs()?.iter().filter(|pack| pack.class == class) {
            sum.packs = sum.packs.saturating_add(1);
            sum.pack_bytes = sum.pack_bytes.saturating_add(pack.size);
            sum.blobs = sum.blobs.saturating_add(pack.totals.blobs);
            sum.plain_bytes = sum.plain_bytes.saturating_add(pack.totals.plain_bytes);
            sum.sealed_bytes = sum.sealed_bytes.saturating_add(pack.totals.sealed_bytes);
        }
        Ok(sum)
    }

    fn packs(&self) -> Result<Vec<Pack>> {
        let packs = read_packs(&self.connection(), &self.key).map_err(failed("read packs from"))?;
        packs.ok_or_else(|| altered("packs"))
    }
}

/// All packs; none if one of them is not what was written.
fn read_packs(connection: &Connection, key: &Secret) -> rusqlite::Result<Option<Vec<Pack>>> {
    let mut statement = connection.prepare_cached(
        "SELECT number, id, size, header, class, padding, blobs, plain, sealed, mac FROM packs",
    )?;
    statement.query_map((), |row| pack_of(row, key))?.collect()
}

/// True if all rows of indexes, packs and blobs are what was written, and no pack lacks one of its blobs.
pub(super) fn are_sound(connection: &Connection, key: &Secret) -> rusqlite::Result<bool> {
    let are_ids = check::all(connection, "SELECT id FROM indexes", |row| {
        Ok(IndexId::from_slice(blob(row, 0)?).is_some())
    })?;
    let Some(packs) = read_packs(connection, key)?.filter(|_| are_ids) else { return Ok(false) };
    let mut missing: HashMap<i64, u64> = packs.iter().map(|pack| (pack.number, pack.totals.blobs)).collect();
    let is_sound = |row: &Row<'_>| {
        let (id, kind, pack) = (BlobId::from_slice(blob(row, 0)?), row.get::<_, i64>(1)?, row.get(2)?);
        let kind = u64::try_from(kind).ok().and_then(BlobKind::from_number);
        let Some((id, kind)) = id.zip(kind) else { return Ok(false) };
        let is_ours = decode(key, kind, &id, pack, row.get(3)?, blob(row, 4)?).is_some();
        let left = missing.get_mut(&pack).filter(|left| is_ours && **left > 0);
        Ok(left.map(|left| *left -= 1).is_some())
    };
    let are_blobs = check::all(connection, "SELECT id, kind, pack, ordinal, copy FROM blobs", is_sound)?;
    Ok(are_blobs && missing.values().all(|left| *left == 0))
}

/// A row of the table of packs.
struct Pack {
    number: i64,
    id: PackId,
    size: u64,
    header: [u8; HEADER_LEN],
    class: PackClass,
    totals: ClassTotals,
}

/// Where a blob lies.
struct Place<E> {
    pack: i64,
    ordinal: u32,
    offset: u32,
    entry: E,
}

/// Adds the places of a pack's blobs and sums them up.
fn places_of<'p>(
    record: &'p PackRecord,
    pack: i64,
    places: &mut Vec<Place<&'p BlobEntry>>,
) -> Result<ClassTotals> {
    let too_large = || Error::damaged("use pack", record.pack, "its blobs pass the end of any pack");
    let mut offset = u32::try_from(HEADER_LEN).map_err(|_| too_large())?;
    let mut totals = ClassTotals::default();
    for (ordinal, entry) in record.entries.iter().enumerate() {
        let ordinal = u32::try_from(ordinal).map_err(|_| too_large())?;
        places.push(Place { pack, ordinal, offset, entry });
        offset = offset.checked_add(entry.sealed_len).ok_or_else(too_large)?;
        totals.blobs += 1;
        totals.plain_bytes += u64::from(entry.plain_len);
        totals.sealed_bytes += u64::from(entry.sealed_len);
    }
    if u64::from(offset) > record.size {
        return Err(Error::damaged("use pack", record.pack, "its blobs pass its end"));
    }
    Ok(totals)
}

/// Adds a pack unless it is known; true if it was added.
fn insert_pack(
    connection: &Connection,
    key: &Secret,
    number: i64,
    record: &PackRecord,
    totals: &ClassTotals,
) -> rusqlite::Result<bool> {
    let (id, header) = (record.pack.as_bytes(), record.header);
    let class = record.class as u8;
    let numbers = [
        signed(record.size)?,
        i64::from(class),
        i64::from(record.padding),
        signed(totals.blobs)?,
        signed(totals.plain_bytes)?,
        signed(totals.sealed_bytes)?,
    ];
    let mac = pack_mac(key, number, id, &header, numbers);
    let [size, class, padding, blobs, plain, sealed] = numbers;
    let mut statement = connection.prepare_cached(
        "INSERT INTO packs (number, id, size, header, class, padding, blobs, plain, sealed, mac) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    )?;
    let added = statement.execute((number, id, size, header, class, padding, blobs, plain, sealed, mac))?;
    Ok(added == 1)
}

fn signed(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

fn pack_mac(key: &Secret, number: i64, id: &[u8], header: &[u8], numbers: [i64; 6]) -> [u8; 16] {
    let numbers = numbers.map(i64::to_le_bytes);
    row_mac(key, "packs", &[&number.to_le_bytes(), id, header, numbers.as_flattened()])
}

/// The pack in the first ten columns of a row; none if it is missing or not what was written.
fn pack_of(row: &Row<'_>, key: &Secret) -> rusqlite::Result<Option<Pack>> {
    if row.get_ref(0)? == ValueRef::Null {
        return Ok(None);
    }
    let (number, id, header) = (row.get(0)?, blob(row, 1)?, blob(row, 3)?);
    let numbers = [row.get(2)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?];
    if blob(row, 9)? != pack_mac(key, number, id, header, numbers) {
        return Ok(None);
    }
    let unsigned = || {
        let [size, class, _, blobs, plain_bytes, sealed_bytes] = numbers.map(u64::try_from);
        let (size, class) = (size.ok()?, PackClass::from_number(class.ok()?)?);
        let (blobs, plain_bytes, sealed_bytes) = (blobs.ok()?, plain_bytes.ok()?, sealed_bytes.ok()?);
        let totals = ClassTotals { packs: 1, pack_bytes: size, blobs, plain_bytes, sealed_bytes };
        let (id, header) = (PackId::from_slice(id)?, header.try_into().ok()?);
        Some(Pack { number, id, size, header, class, totals })
    };
    Ok(unsigned())
}

fn insert_blobs(connection: &Connection, key: &Secret, places: &[Place<&BlobEntry>]) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare_cached("REPLACE INTO blobs (id, kind, pack, ordinal, copy) VALUES (?, ?, ?, ?, ?)")?;
    let mut copy = Vec::with_capacity(PLACE_LEN + BlobId::LEN + CHECK_LEN);
    for place in places {
        encode(key, place, &mut copy);
        let entry = place.entry;
        statement.execute((entry.id.as_bytes(), entry.kind as u8, place.pack, place.ordinal, &*copy))?;
    }
    Ok(())
}

/// How many of these deltas have no copy of their base that is shallower.
fn count_baseless(connection: &Connection, places: &[Place<&BlobEntry>]) -> rusqlite::Result<u64> {
    let mut statement = connection
        .prepare_cached("SELECT 1 FROM blobs WHERE id = ? AND kind = ? AND substr(copy, 1, 1) < ? LIMIT 1")?;
    let mut count = 0;
    for entry in places.iter().map(|place| place.entry) {
        if let Some(base) = &entry.base {
            count += u64::from(!statement.exists((base.as_bytes(), entry.kind as u8, &[entry.depth][..]))?);
        }
    }
    Ok(count)
}

fn encode(key: &Secret, place: &Place<&BlobEntry>, copy: &mut Vec<u8>) {
    let entry = place.entry;
    copy.clear();
    copy.extend_from_slice(&[entry.depth, entry.codec as u8]);
    copy.extend_from_slice(&entry.generation.to_le_bytes());
    for number in [entry.plain_len, entry.sealed_len, place.offset] {
        copy.extend_from_slice(&number.to_le_bytes());
    }
    if let Some(base) = &entry.base {
        copy.extend_from_slice(base.as_bytes());
    }
    copy.extend_from_slice(&blob_check(key, entry.kind, &entry.id, place.pack, place.ordinal, copy));
}

fn blob_check(
    key: &Secret,
    kind: BlobKind,
    id: &BlobId,
    pack: i64,
    ordinal: u32,
    place: &[u8],
) -> [u8; CHECK_LEN] {
    let parts = [&[kind as u8][..], id.as_bytes(), &pack.to_le_bytes(), &ordinal.to_le_bytes(), place];
    row_mac(key, "blobs", &parts)
}

/// Reads what [`encode`] wrote; none if it is anything else.
fn decode(
    key: &Secret,
    kind: BlobKind,
    id: &BlobId,
    pack: i64,
    ordinal: i64,
    copy: &[u8],
) -> Option<Place<BlobEntry>> {
    let ordinal = u32::try_from(ordinal).ok()?;
    let (place, check) = copy.split_last_chunk::<CHECK_LEN>()?;
    if *check != blob_check(key, kind, id, pack, ordinal, place) {
        return None;
    }
    let ([depth, codec], rest) = place.split_first_chunk()?;
    let (generation, rest) = rest.split_first_chunk()?;
    let (plain_len, rest) = rest.split_first_chunk()?;
    let (sealed_len, rest) = rest.split_first_chunk()?;
    let (offset, base) = rest.split_first_chunk()?;
    let base = if base.is_empty() { None } else { Some(BlobId::from_slice(base)?) };
    let entry = BlobEntry {
        kind,
        id: *id,
        codec: CodecTag::from_number(u64::from(*codec))?,
        plain_len: u32::from_le_bytes(*plain_len),
        sealed_len: u32::from_le_bytes(*sealed_len),
        base,
        depth: *depth,
        generation: u16::from_le_bytes(*generation),
    };
    Some(Place { pack, ordinal, offset: u32::from_le_bytes(*offset), entry })
}

/// The entry in a row of id, pack, ordinal and copy; none if it is not what was written.
pub(super) fn decoded(key: &Secret, kind: BlobKind, row: &Row<'_>) -> rusqlite::Result<Option<BlobEntry>> {
    let Some(id) = BlobId::from_slice(blob(row, 0)?) else { return Ok(None) };
    let place = decode(key, kind, &id, row.get(1)?, row.get(2)?, blob(row, 3)?);
    Ok(place.map(|place| place.entry))
}

/// A column that holds bytes.
fn blob<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r [u8]> {
    Ok(row.get_ref(column)?.as_blob()?)
}
