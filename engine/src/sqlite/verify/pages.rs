//! L2: is every page of a database part of exactly one thing? Checks of single tables cannot tell.

use crate::sqlite::{PENDING_BYTE, SqliteHeader};
use rusqlite::Connection;

/// Counts the pages of all b-trees, each of which was found sound by itself. The answer is what is wrong, if anything.
pub(super) fn walk(connection: &Connection, header: &SqliteHeader) -> rusqlite::Result<Option<String>> {
    let number = |pragma: &str| {
        connection.query_row(&format!("PRAGMA main.{pragma}"), [], |row| row.get::<_, u32>(0)).map(u64::from)
    };
    let (count, free) = (number("page_count")?, number("freelist_count")?);
    let mut seen = Seen::new(count);
    let mut statement = connection.prepare("SELECT pageno FROM dbstat")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let page: u32 = row.get(0)?;
        if !seen.add(page) {
            return Ok(Some(format!("page {page} is used twice")));
        }
    }
    let size = u64::from(header.page_size);
    let maps =
        if number("auto_vacuum")? == 0 { 0 } else { map_pages(count, size - u64::from(header.reserved)) };
    let lock = u64::from(PENDING_BYTE < count * size);
    let known = seen.used + free + maps + lock;
    Ok((known != count).then(|| format!("of {count} pages, {known} are in use or free")))
}

/// Pages that tell where others are referred to from (`auto_vacuum`): page 2, and one before each group that it maps.
fn map_pages(count: u64, usable: u64) -> u64 {
    count.checked_sub(2).map_or(0, |rest| rest / (usable / 5 + 1) + 1)
}

/// A bit for each page.
struct Seen {
    bits: Vec<u8>,
    used: u64,
}

impl Seen {
    fn new(count: u64) -> Self {
        Self { bits: vec![0; usize::try_from(count / 8 + 1).unwrap_or(0)], used: 0 }
    }

    /// False if the page was there before, or is beyond the last.
    fn add(&mut self, page: u32) -> bool {
        let Some(bits) = usize::try_from(page / 8).ok().and_then(|byte| self.bits.get_mut(byte)) else {
            return false;
        };
        let (bit, before) = (1 << (page % 8), *bits);
        *bits |= bit;
        self.used += 1;
        before & bit == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_pages_stand_before_each_group() {
        // 1,024 usable bytes map 204 pages: 2, then 3 to 206, then 207.
        for (count, maps) in [(1, 0), (2, 1), (3, 1), (206, 1), (207, 2), (411, 2), (412, 3)] {
            assert_eq!(map_pages(count, 1024), maps, "{count}");
        }
    }
}
