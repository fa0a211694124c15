//! What a snapshot reads beside its sources: lists of paths, and standard input as a content.

use super::SnapshotArgs;
use crate::exit::Condition;
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use chatvault_engine::base::{Cancel, StoredPath};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Longest list of paths that is read, in bytes.
const MAX_LIST: u64 = 1 << 30;
/// Bytes of standard input that are handed on at once, and how many such blocks wait.
const BLOCK: usize = 1 << 20;
const BLOCKS: usize = 2;
/// How often a wait for standard input looks whether the user cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// The paths that were given, and those of lists.
pub(super) fn paths(args: &SnapshotArgs) -> Result<Vec<PathBuf>> {
    let mut paths = args.paths.clone();
    for (files, end) in [(&args.sources.files_from, b'\n'), (&args.sources.files_from_raw, 0)] {
        for file in files {
            let list = read_list(file)?;
            let lines = list.split(|byte| *byte == end).map(|line| match end {
                b'\n' => line.strip_suffix(b"\r").unwrap_or(line),
                _ => line,
            });
            paths.extend(
                lines.filter(|line| !line.is_empty()).map(|line| PathBuf::from(OsStr::from_bytes(line))),
            );
        }
    }
    let has_lists = !(args.sources.files_from.is_empty() && args.sources.files_from_raw.is_empty());
    if paths.is_empty() && has_lists {
        return Err(Failure::usage("Failed to take a snapshot")
            .because("the lists of paths name nothing")
            .with_hint("write one path a line into the file"));
    }
    Ok(paths)
}

fn read_list(path: &Path) -> Result<Vec<u8>> {
    let mut list = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MAX_LIST).read_to_end(&mut list)
    } else {
        File::open(path).and_then(|file| file.take(MAX_LIST).read_to_end(&mut list))
    };
    let hint = "the file holds paths, one a line; `-` stands for standard input";
    read.map_err(|cause| Failure::io("read the list of paths", shown(path), cause).with_hint(hint))?;
    Ok(list)
}

/// The path under which standard input is stored.
pub(super) fn stdin_path(name: &Path) -> Result<StoredPath> {
    StoredPath::parse(name.as_os_str().as_bytes()).filter(|path| !path.is_root()).ok_or_else(|| {
        Failure::usage(format!("Failed to use {} as --stdin-filename", shown(name)))
            .because("it is no path of a file")
            .with_hint("write a name, as in chats.sql, or a path, as in /dumps/chats.sql")
    })
}

/// Standard input, read by a thread of its own: waiting for it can be cancelled.
pub(super) struct Stdin {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    at: usize,
    cancel: Cancel,
}

impl Stdin {
    /// Begins to read.
    pub(super) fn begin(cancel: &Cancel) -> Result<Self> {
        let (sender, blocks) = sync_channel(BLOCKS);
        let read = move || {
            let mut input = io::stdin().lock();
            loop {
                let mut block = Vec::new();
                let result = (&mut input).take(BLOCK as u64).read_to_end(&mut block).map(|_| block);
                let is_end = result.as_ref().map_or(true, Vec::is_empty);
                if sender.send(result).is_err() || is_end {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(read)
            .map_err(|cause| Failure::io("start", "the reading of standard input", cause))?;
        Ok(Self { blocks, block: Vec::new(), at: 0, cancel: cancel.clone() })
    }
}

impl Stdin {
    /// Waits for the first bytes.
    ///
    /// # Errors
    /// Fails if there are none: most likely, whatever should have written them failed.
    pub(super) fn not_empty(&mut self) -> Result<()> {
        match self.wait() {
            Err(_) if self.cancel.is_cancelled() => Ok(()),
            Err(cause) => Err(Failure::io("read", "standard input", cause)),
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::new(Condition::Failed, "Failed to take a snapshot of standard input")
                .because("it is empty; nothing was stored")
                .with_hint("check the command that writes it; if it has nothing to say, add --allow-empty")),
        }
    }

    /// Waits until there are bytes; false at the end.
    fn wait(&mut self) -> io::Result<bool> {
        while self.at >= self.block.len() {
            match self.blocks.recv_timeout(LOOK) {
                Ok(block) => {
                    self.block = block?;
                    self.at = 0;
                    if self.block.is_empty() {
                        return Ok(false);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
                Err(RecvTimeoutError::Timeout) if self.cancel.is_cancelled() => {
                    return Err(io::Error::other("it was cancelled"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        Ok(true)
    }
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.wait()? {
            return Ok(0);
        }
        let count = (self.block.get(self.at..).unwrap_or_default()).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}
