//! Pages of a database whose content lies in another file: the write-ahead log or the rollback journal.

use std::io;

/// Most pages that an overlay names. They take 16 MiB, and 8 GiB of a log with pages of 4 KiB.
const MOST_PAGES: usize = 2 << 20;
/// A collector sorts itself when it has twice as many records as after the last time, and so many more.
const SLACK: usize = 64 << 10;
/// Records start at multiples of this in logs and journals, which lets 32 bits tell a place in 32 GiB.
const UNIT: u64 = 8;

/// More pages, or a longer log or journal, than what is held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Why a log or journal cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// It cannot be read.
    Io(io::Error),
    /// The version of a log is not known.
    Version(u32),
    /// It names too many pages.
    TooLarge,
}

impl From<io::Error> for Unusable {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<TooLarge> for Unusable {
    fn from(_: TooLarge) -> Self {
        Self::TooLarge
    }
}

/// For each page the record that holds its content, ascending by page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Page number (from 1) and start of the record in units.
    records: Vec<(u32, u32)>,
    /// Bytes of a record before the page's content.
    head: u64,
}

impl Overlay {
    /// Where the content of a page starts, if it is in here.
    pub fn find(&self, page: u32) -> Option<u64> {
        let at = self.records.binary_search_by_key(&page, |(page, _)| *page).ok()?;
        self.records.get(at).map(|(_, start)| u64::from(*start) * UNIT + self.head)
    }

    /// The first page at or after this one that is in here.
    pub fn next(&self, page: u32) -> Option<u32> {
        let at = self.records.partition_point(|(earlier, _)| *earlier < page);
        self.records.get(at).map(|(page, _)| *page)
    }

    /// How many pages are in here.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// The highest page in here.
    pub fn last(&self) -> Option<u32> {
        self.records.last().map(|(page, _)| *page)
    }
}

/// Records as they come; of each page the last one counts.
#[derive(Debug, Default)]
pub struct Collector {
    records: Vec<(u32, u32)>,
    /// How many there were when they were sorted last.
    sorted: usize,
}

impl Collector {
    /// Adds the record that starts at `start` (a multiple of 8) and holds this page.
    pub fn push(&mut self, page: u32, start: u64) -> Result<(), TooLarge> {
        let unit = u32::try_from(start / UNIT).map_err(|_| TooLarge)?;
        self.records.push((page, unit));
        self.keep_small()
    }

    /// Moves all of another collector's records behind those in here.
    pub fn take(&mut self, later: &mut Self) -> Result<(), TooLarge> {
        self.records.append(&mut later.records);
        later.sorted = 0;
        self.keep_small()
    }

    /// What was collected; `head` bytes of each record come before the page.
    pub fn finish(mut self, head: u64) -> Overlay {
        self.sort();
        self.records.shrink_to_fit();
        Overlay { records: self.records, head }
    }

    fn keep_small(&mut self) -> Result<(), TooLarge> {
        if self.records.len() > 2 * self.sorted + SLACK {
            self.sort();
        }
        if self.sorted > MOST_PAGES { Err(TooLarge) } else { Ok(()) }
    }

    fn sort(&mut self) {
        // Later records have higher starts: of each page the first in this order is the last that came.
        self.records.sort_unstable_by_key(|(page, start)| (*page, u32::MAX - *start));
        self.records.dedup_by_key(|(page, _)| *page);
        self.sorted = self.records.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_page_the_last_record_counts() {
        let mut collector = Collector::default();
        for (page, start) in [(7, 32), (2, 40), (7, 48), (9, 56), (2, 64)] {
            collector.push(page, start).unwrap();
        }
        let overlay = collector.finish(24);
        assert_eq!((overlay.find(2), overlay.find(7), overlay.find(9)), (Some(88), Some(72), Some(80)));
        assert_eq!((overlay.find(1), overlay.find(8)), (None, None));
        assert_eq!((overlay.next(1), overlay.next(3), overlay.next(10)), (Some(2), Some(7), None));
        assert_eq!((overlay.len(), overlay.last()), (3, Some(9)));
    }

    #[test]
    fn a_million_records_of_few_pages_take_little_room() {
        let (mut all, mut one) = (Collector::default(), Collector::default());
        for record in 0..1_000_000_u32 {
            one.push(1 + record % 100, u64::from(record) * 8).unwrap();
            if record % 1000 == 999 {
                all.take(&mut one).unwrap();
            }
        }
        assert!(all.records.capacity() < 4 * SLACK, "{}", all.records.capacity());
        let overlay = all.finish(0);
        assert_eq!((overlay.len(), overlay.find(100)), (100, Some(999_999 * 8)));
    }

    #[test]
    fn too_many_pages_and_too_far_places_are_refused() {
        let mut collector = Collector::default();
        let refused = (1..).find(|page| collector.push(*page, u64::from(*page) * 8).is_err()).unwrap();
        assert!(refused as usize > MOST_PAGES && refused as usize <= 2 * MOST_PAGES + 2 * SLACK, "{refused}");
        assert_eq!(Collector::default().push(1, (1 << 35) - 8), Ok(()));
        assert_eq!(Collector::default().push(1, 1 << 35), Err(TooLarge));
    }
}
