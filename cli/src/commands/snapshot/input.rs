//! What a snapshot reads beside its sources: lists of paths, and standard input as a content.

use super::SnapshotArgs;
use super::list::{self, Form};
use crate::exit::Condition;
use crate::output::error::{Failure, Result};
use crate::output::human::shown;
use chatvault_engine::base::{Cancel, StoredPath};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Bytes of standard input that are handed on at once, and how many such blocks wait.
const BLOCK: usize = 1 << 20;
const BLOCKS: usize = 2;
/// How often a wait for standard input looks whether the user cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// The paths that were given, and those of lists.
pub(super) fn paths(args: &SnapshotArgs) -> Result<Vec<PathBuf>> {
    let mut paths = args.paths.clone();
    let lists = &args.sources;
    for (files, form) in [
        (&lists.files_from, Form::Patterns),
        (&lists.files_from_verbatim, Form::Lines),
        (&lists.files_from_raw, Form::Zeroes),
    ] {
        for file in files {
            paths.append(&mut list::read(file, form)?);
        }
    }
    let has_lists = [&lists.files_from, &lists.files_from_verbatim, &lists.files_from_raw]
        .iter()
        .any(|files| !files.is_empty());
    if paths.is_empty() && has_lists {
        return Err(Failure::usage("Failed to take a snapshot")
            .because("the lists of paths name nothing")
            .with_hint("write one path a line into the file"));
    }
    Ok(paths)
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
