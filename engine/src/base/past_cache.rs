//! Writing long files past the kernel's cache. What is written once, flushed and not read soon need not be copied there: that
//! costs as much time as encrypting it, and pushes out what others need.

use super::PageBuffer;
#[cfg(target_os = "linux")]
use rustix::fs::{OFlags, fcntl_setfl};
#[cfg(target_os = "linux")]
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};

/// Fewer bytes are not worth waiting for the disk: 1 MiB.
pub const LEAST: usize = 1 << 20;
/// Bytes that are gathered before they are written: whole blocks.
const GATHERED: usize = 2 << 20;

/// Writes the whole blocks of a long row of bytes where the file stands, without a copy in the kernel's cache, if memory,
/// file system and platform allow, and says how many bytes were written; the rest is for a plain write.
#[cfg(target_os = "linux")]
pub fn write_past_cache(file: &File, bytes: &[u8]) -> io::Result<usize> {
    let blocks = bytes.len() - bytes.len() % PageBuffer::ALIGNMENT;
    let is_aligned = bytes.as_ptr().align_offset(PageBuffer::ALIGNMENT) == 0;
    // Not by `open`: some file systems would refuse that after they have made the file.
    if blocks < LEAST || !is_aligned || fcntl_setfl(file, OFlags::DIRECT).is_err() {
        return Ok(0);
    }
    let mut written = 0;
    let outcome = loop {
        match rustix::io::write(file, bytes.get(written..blocks).unwrap_or_default()) {
            Ok(0) => break Ok(()),
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            // Its blocks are longer than ours, or it wrote a part of one.
            Err(Errno::INVAL | Errno::NOTSUP) => break Ok(()),
            Err(e) => break Err(e),
        }
        if written >= blocks {
            break Ok(());
        }
    };
    fcntl_setfl(file, OFlags::empty())?;
    outcome?;
    Ok(written)
}

#[cfg(not(target_os = "linux"))]
pub fn write_past_cache(_: &File, _: &[u8]) -> io::Result<usize> {
    Ok(0)
}

/// Writes a file from where it stands on, in order, past the kernel's cache as far as [`write_past_cache`] can.
#[derive(Debug)]
pub struct InOrder<'f> {
    file: &'f File,
    gathered: PageBuffer,
}

impl<'f> InOrder<'f> {
    /// Writes into this file, which stands at a multiple of [`PageBuffer::ALIGNMENT`].
    #[must_use]
    pub fn new(file: &'f File) -> Self {
        Self { file, gathered: PageBuffer::new() }
    }

    /// Takes the next bytes.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = GATHERED - self.gathered.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if self.gathered.is_empty() {
                self.gathered.reserve(GATHERED);
            }
            self.gathered.extend_from_slice(now);
            if self.gathered.len() == GATHERED {
                self.flush()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Writes what was gathered.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = write_past_cache(self.file, &self.gathered)?;
        let mut file = self.file;
        file.write_all(self.gathered.get(written..).unwrap_or_default())?;
        self.gathered.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_order_is_what_was_given() {
        let dir = tempfile::tempdir().unwrap();
        for total in
            [0, 1, 4095, LEAST, GATHERED - 1, GATHERED, GATHERED + 1, 2 * GATHERED + 5000, 3 * GATHERED]
        {
            for step in [1000, 65_536, 700_001, 4 * GATHERED] {
                let bytes: Vec<u8> = (0..total).map(|at| (at / 7 + at / 4096) as u8).collect();
                let path = dir.path().join("file");
                let file = File::create(&path).unwrap();
                let mut writer = InOrder::new(&file);
                bytes.chunks(step).for_each(|piece| writer.write(piece).unwrap());
                writer.finish().unwrap();
                assert!(std::fs::read(&path).unwrap() == bytes, "{total} {step}");
            }
        }
    }

    #[test]
    fn whole_blocks_of_an_aligned_row_are_written_past_the_cache_where_that_is_possible() {
        let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let can = cfg!(target_os = "linux") && is_possible(&file);
        let mut bytes = PageBuffer::new();
        bytes.extend_from_slice(&vec![7; LEAST + 5000]);
        let whole = LEAST + PageBuffer::ALIGNMENT;
        let written = write_past_cache(&file, &bytes).unwrap();
        // A disk may have longer blocks than ours, and refuse when it is written to.
        assert!(if can { written == whole || written == 0 } else { written == 0 }, "{written}");
        assert_eq!(write_past_cache(&file, &bytes[1..]).unwrap(), 0, "not aligned");
        assert_eq!(write_past_cache(&file, &bytes[..LEAST - 1]).unwrap(), 0, "too short");
        assert_eq!(file.metadata().unwrap().len(), written as u64);
    }

    #[cfg(target_os = "linux")]
    fn is_possible(file: &File) -> bool {
        let can = fcntl_setfl(file, OFlags::DIRECT).is_ok();
        fcntl_setfl(file, OFlags::empty()).unwrap();
        can
    }

    #[cfg(not(target_os = "linux"))]
    fn is_possible(_: &File) -> bool {
        false
    }
}
