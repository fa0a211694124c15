//! The options of `snapshot`.

use crate::args::{patterns, size, tag};
use crate::config::profile::SnapshotProfile;
use crate::output::error::{Failure, Result};
use chatvault_engine::backup::{Marker, Selection};
use chatvault_engine::base::path::clean;
use chatvault_engine::sqlite::verify::Integrity;
use clap::{Args, ValueEnum};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
The first snapshot without -r makes the default repository and a recovery key for it, and says where they are.

Folders are stored under their absolute paths. If PATH is a symbolic link, what it leads to is stored under the path of \
the link; links inside a folder are stored as links. This program's own folders and the repository are left out.

A database that an app has open is stored in one committed state, with what its app has not merged yet; the app goes on \
and nothing of it is touched. --raw-databases stores its files one by one instead.

Patterns: `*` and `?` stand for characters within a name, `[a-z]` for one of several, `{jpg,png}` for alternatives, `**` \
for any folders. A pattern that begins with / is a whole path; every other one fits anywhere. One that begins with ! takes \
out again what an earlier one matched. What is in an excluded folder is not looked at. A PATH that is named is always \
taken. A leading `~/` or `$HOME/` is your home.

Examples:
  chatvault snapshot ~/WhatsApp
  chatvault snapshot --tag before-update --description \"before the new phone\" ~/WhatsApp ~/Pictures
  chatvault snapshot --exclude Cache --exclude '*.tmp' --no-videos ~/WhatsApp
  chatvault snapshot --dry-run ~/WhatsApp
  mysqldump chats | chatvault snapshot --stdin --stdin-filename chats.sql
  chatvault -P phone snapshot
  chatvault -r /media/ann/usb/chats --password-command 'pass chats' snapshot ~/WhatsApp

Exit codes: 0 stored, 1 failed (nothing stored, also if no PATH is there; or stored, but a disk is full, as the message \
says), 2 wrong usage, 3 stored, but some files \
could not be read, 10 no repository, 12 wrong password or key, 21 stored, but SQLite finds a database damaged (told once \
for each state), 22 the repository is damaged, 130 cancelled.";

/// Take a snapshot of folders or files
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct SnapshotArgs {
    /// The folders or files; without any, those of the profile
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,

    /// Tag of the snapshot; several with commas, or given several times
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',', value_parser = tag::parse)]
    pub(super) tags: Vec<String>,

    /// A sentence about the snapshot
    #[arg(long, value_name = "TEXT")]
    pub(super) description: Option<String>,

    /// Name of the machine, instead of this one's
    #[arg(long, value_name = "NAME")]
    pub(super) host: Option<String>,

    /// The time of the state, instead of now: for folders that were copied from elsewhere
    #[arg(long, value_name = "TIME")]
    pub(super) time: Option<String>,

    #[command(flatten)]
    pub(super) sources: SourceArgs,

    /// Show what would be stored, and store nothing; databases are not checked
    #[arg(long, conflicts_with = "stdin")]
    pub(super) dry_run: bool,

    /// Read every file again, also those that look unchanged
    #[arg(long)]
    pub(super) force: bool,

    /// Compare with this snapshot, instead of the last one of the same paths on this machine; everything is read again
    #[arg(long, value_name = "SNAPSHOT")]
    pub(super) parent: Option<std::ffi::OsString>,

    /// Take a file as unchanged though its time of status change is another one
    #[arg(long)]
    pub(super) ignore_ctime: bool,

    /// Take a file as unchanged though its inode number is another one
    #[arg(long)]
    pub(super) ignore_inode: bool,

    /// How much of each new state of a database SQLite checks before it counts
    #[arg(long, value_name = "HOW", default_value = "quick")]
    pub(super) integrity: IntegrityArg,

    /// Store the files of databases as they lie, without asking what their apps are doing, and unchecked
    #[arg(long, conflicts_with = "integrity")]
    pub(super) raw_databases: bool,

    #[command(flatten)]
    pub(super) select: SelectArgs,
}

/// How much is checked.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum IntegrityArg {
    /// Pages, and the records of tables (seconds for a gigabyte)
    Quick,
    /// Also that indexes fit their tables
    Full,
    /// Nothing
    None,
}

impl From<IntegrityArg> for Integrity {
    fn from(arg: IntegrityArg) -> Self {
        match arg {
            IntegrityArg::Quick => Self::Quick,
            IntegrityArg::Full => Self::Full,
            IntegrityArg::None => Self::None,
        }
    }
}

/// Where the paths come from, beside the command line.
#[derive(Args, Debug)]
pub(crate) struct SourceArgs {
    /// File with further PATHs, one a line, with wildcards; lines that begin with # are notes; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub(super) files_from: Vec<PathBuf>,

    /// As --files-from, with each line as it is
    #[arg(long, value_name = "FILE")]
    pub(super) files_from_verbatim: Vec<PathBuf>,

    /// As --files-from-verbatim, with a zero byte behind each PATH
    #[arg(long, value_name = "FILE")]
    pub(super) files_from_raw: Vec<PathBuf>,

    /// Store what arrives on standard input as one file; a database in it is not checked
    #[arg(long, conflicts_with_all = [
        "paths", "files_from", "files_from_verbatim", "files_from_raw", "SelectArgs", "force", "ignore_ctime", "ignore_inode", "integrity",
        "raw_databases",
    ])]
    pub(super) stdin: bool,

    /// Store standard input also if it is empty
    #[arg(long, requires = "stdin")]
    pub(super) allow_empty: bool,

    /// Path under which standard input is stored
    #[arg(long, value_name = "NAME", default_value = "stdin", requires = "stdin")]
    pub(super) stdin_filename: PathBuf,
}

/// What is left out.
#[derive(Args, Debug)]
#[command(next_help_heading = "What is left out")]
#[group(id = "SelectArgs", multiple = true)]
pub(crate) struct SelectArgs {
    /// Leave out what fits this pattern
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<String>,

    /// As --exclude, whatever upper and lower case
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<String>,

    /// File with patterns to leave out, one a line; --exclude and --iexclude come after them
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,

    /// Of a folder that holds this file (beginning with TEXT), keep only that file
    #[arg(long, value_name = "NAME[:TEXT]", value_parser = clap::builder::OsStringValueParser::new())]
    exclude_if_present: Vec<std::ffi::OsString>,

    /// Leave out what is in folders marked as caches by a CACHEDIR.TAG
    #[arg(long)]
    exclude_caches: bool,

    /// Leave out files with more bytes
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    exclude_larger_than: Option<u64>,

    /// Leave out files that are videos, by their content
    #[arg(long)]
    no_videos: bool,

    /// Do not go into folders on which another file system is mounted
    #[arg(short = 'x', long)]
    one_file_system: bool,
}

impl SelectArgs {
    /// What the options say, and what the profile says where they are silent; files of patterns are read.
    pub(super) fn selection(&self, profile: &SnapshotProfile, home: Option<&Path>) -> Result<Selection> {
        let exclude = or(&self.exclude, &profile.exclude);
        let iexclude = or(&self.iexclude, &profile.iexclude);
        let files = or(&self.exclude_file, &profile.exclude_file);
        let exclude = patterns::read_in_home(files, exclude, iexclude, home)?;
        let given: Vec<&[u8]> = if self.exclude_if_present.is_empty() {
            profile.exclude_if_present.iter().map(String::as_bytes).collect()
        } else {
            self.exclude_if_present.iter().map(|text| text.as_bytes()).collect()
        };
        let largest = profile.exclude_larger_than.as_deref().map(|text| {
            size::parse(text).map_err(|why| {
                Failure::usage("Failed to use exclude-larger-than of the profile")
                    .because(why)
                    .with_hint("write it as on the command line: exclude-larger-than = \"100M\"")
            })
        });
        Ok(Selection {
            exclude,
            markers: given.into_iter().map(marker).collect::<Result<_>>()?,
            caches: self.exclude_caches || profile.exclude_caches,
            larger_than: self.exclude_larger_than.map(Ok).or(largest).transpose()?,
            one_file_system: self.one_file_system || profile.one_file_system,
            no_videos: self.no_videos || profile.no_videos,
        })
    }
}

/// What was given, else what the profile says.
fn or<'a, T>(given: &'a [T], profile: &'a [T]) -> &'a [T] {
    if given.is_empty() { profile } else { given }
}

/// Reads `NAME` or `NAME:TEXT`.
fn marker(text: &[u8]) -> Result<Marker> {
    let mut parts = text.splitn(2, |byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    if name.is_empty() || name.contains(&b'/') || matches!(name, b"." | b"..") {
        return Err(Failure::usage(format!(
            "Failed to use `{}` as exclude-if-present (of the command line or the profile)",
            clean(text)
        ))
        .because("the name of a file is wanted, without folders")
        .with_hint("as in --exclude-if-present .nobackup, or .nobackup:TEXT with how the file must begin"));
    }
    Ok(Marker { name: name.to_vec(), header: parts.next().unwrap_or_default().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_a_name_and_perhaps_a_beginning() {
        let of = |text: &str| marker(text.as_bytes()).ok().map(|marker| (marker.name, marker.header));
        assert_eq!(of(".nobackup"), Some((b".nobackup".to_vec(), Vec::new())));
        assert_eq!(of("a:b:c"), Some((b"a".to_vec(), b"b:c".to_vec())));
        for bad in ["", ":x", "a/b", "."] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
