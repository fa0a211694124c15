//! Profiles: `profiles.toml` in the configuration folder, a table for each, chosen by `--profile` or `CHATVAULT_PROFILE`.
//!
//! Command line and environment are stronger than a profile. Paths are absolute or begin with `~/`, so that a profile
//! means the same wherever it is used. A secret has no place in it: it names files and commands. Since it names a
//! command, a file that others can write to is not used. Nothing of the file but names of settings and values that are
//! refused is ever shown.

use crate::config::{Environment, address};
use crate::output::error::{Failure, Result, one_line};
use crate::output::human::{shell_word, shown};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The file's name.
pub(crate) const NAME: &str = "profiles.toml";
/// Longest file that is read, in bytes.
const MAX_LEN: u64 = 1 << 20;

/// What a profile can say, for messages.
const KEYS: [&str; 8] = [
    "repository",
    "password-file",
    "password-command",
    "recovery-key-file",
    "key-file",
    "cache-dir",
    "compression",
    "snapshot",
];
const SNAPSHOT_KEYS: [&str; 12] = [
    "paths",
    "exclude",
    "iexclude",
    "exclude-file",
    "exclude-if-present",
    "exclude-larger-than",
    "exclude-caches",
    "one-file-system",
    "no-videos",
    "tag",
    "host",
    "description",
];
/// What somebody may try to keep there.
const SECRETS: [&str; 5] = ["password", "passphrase", "recovery-key", "key", "secret"];

/// What a profile says; all of it may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    /// Folder of the repository.
    pub(crate) repository: Option<PathBuf>,
    /// File whose first line is the password.
    pub(crate) password_file: Option<PathBuf>,
    /// Command whose first line of output is the password.
    pub(crate) password_command: Option<String>,
    /// File with the recovery key.
    pub(crate) recovery_key_file: Option<PathBuf>,
    /// File that is the second factor beside a password.
    pub(crate) key_file: Option<PathBuf>,
    /// Folder of the caches.
    pub(crate) cache_dir: Option<PathBuf>,
    /// How hard to compress.
    pub(crate) compression: Option<i32>,
    /// What `snapshot` does.
    pub(crate) snapshot: SnapshotProfile,
}

/// The options of `snapshot` in a profile. Those that the command line gives too replace the profile's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotProfile {
    /// The folders or files.
    pub(crate) paths: Vec<PathBuf>,
    /// Patterns of what is left out.
    pub(crate) exclude: Vec<String>,
    /// The same, in which case does not count.
    pub(crate) iexclude: Vec<String>,
    /// Files with patterns.
    pub(crate) exclude_file: Vec<PathBuf>,
    /// Folders with a file of this name are left out.
    pub(crate) exclude_if_present: Vec<String>,
    /// Larger files are left out; as written.
    pub(crate) exclude_larger_than: Option<String>,
    /// Folders that are marked as caches are left out.
    pub(crate) exclude_caches: bool,
    /// What is mounted inside a source is left out.
    pub(crate) one_file_system: bool,
    /// Videos are left out.
    pub(crate) no_videos: bool,
    /// Tags of the snapshot.
    pub(crate) tag: Vec<String>,
    /// Name of the machine.
    pub(crate) host: Option<String>,
    /// A sentence about the snapshot.
    pub(crate) description: Option<String>,
}

/// The profile of this name.
///
/// # Errors
/// Wrong usage if there is none or it is not understood; the message names the line.
pub(crate) fn load(folder: &Path, name: &str, environment: &Environment) -> Result<Profile> {
    let path = folder.join(NAME);
    let text = read(&path, name)?;
    Reader { text: &text, path: &path, home: environment.absolute("HOME") }.profile(name)
}

fn read(path: &Path, name: &str) -> Result<String> {
    let refused = |why: &str| {
        Failure::usage(format!("Failed to use the profile `{}` in {}", one_line(name), shown(path)))
            .because(why)
    };
    let file = match File::open(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            return Err(refused("there is no such file").with_hint(format!(
                "make it, for example with the lines `[{}]` and `repository = \"/media/usb/chats\"`",
                one_line(name)
            )));
        }
        other => other.map_err(|cause| Failure::io("read", shown(path), cause))?,
    };
    let metadata = file.metadata().map_err(|cause| Failure::io("read", shown(path), cause))?;
    let own = [0, rustix::process::geteuid().as_raw()];
    if !metadata.is_file() {
        return Err(
            refused("it is no file").with_hint("it is a text file, as `docs/command-line.md` shows one")
        );
    }
    if !own.contains(&metadata.uid()) {
        return Err(refused("it belongs to another user, and it may name a command that is run")
            .with_hint("make one of your own in its place"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(refused("others can change it, and it may name a command that is run")
            .with_hint(format!("take that right away: chmod go-w {}", shell_word(&shown(path)))));
    }
    if metadata.len() > MAX_LEN {
        return Err(refused("it is larger than 1 MiB").with_hint("it is a short text: check what it is"));
    }
    let mut text = String::new();
    file.take(MAX_LEN)
        .read_to_string(&mut text)
        .map_err(|cause| Failure::io("read", shown(path), cause).with_hint("it must be UTF-8 text"))?;
    Ok(text)
}

/// Reads one file.
struct Reader<'t> {
    text: &'t str,
    path: &'t Path,
    home: Option<PathBuf>,
}

/// A value, with the name it stands under.
struct Value<'v, 't> {
    reader: &'v Reader<'t>,
    name: &'v str,
    value: &'v Spanned<DeValue<'t>>,
}

impl<'t> Reader<'t> {
    fn profile(&self, wanted: &str) -> Result<Profile> {
        let file = DeTable::parse(self.text).map_err(|error| {
            // Its own text shows the line, which may hold what nobody should see.
            self.refused(error.span().unwrap_or_default(), error.message())
                .with_hint("https://toml.io shows how such a file is written")
        })?;
        let mut found = None;
        for (name, value) in file.get_ref() {
            let name_text = name.get_ref().as_ref();
            let Some(table) = value.get_ref().as_table() else {
                return Err(self
                    .refused(name.span(), &format!("`{}` stands outside of a profile", one_line(name_text)))
                    .with_hint("write the name of its profile above it: [phone]"));
            };
            // All of them: an error in another profile would come up on a bad day.
            let profile = self.table(table)?;
            if name_text == wanted {
                found = Some(profile);
            }
        }
        found.ok_or_else(|| {
            let names: Vec<String> =
                file.get_ref().keys().map(|name| format!("`{}`", one_line(name.get_ref()))).collect();
            let hint = if names.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", names.join(", "))
            };
            Failure::usage(format!("There is no profile `{}` in {}", one_line(wanted), shown(self.path)))
                .with_hint(hint)
        })
    }

    fn table(&self, table: &DeTable<'t>) -> Result<Profile> {
        let mut profile = Profile::default();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let one = Value { reader: self, name, value };
            match name {
                "repository" => profile.repository = Some(one.repository()?),
                "password-file" => profile.password_file = Some(one.path()?),
                "password-command" => profile.password_command = Some(one.text()?),
                "recovery-key-file" => profile.recovery_key_file = Some(one.path()?),
                "key-file" => profile.key_file = Some(one.path()?),
                "cache-dir" => profile.cache_dir = Some(one.path()?),
                "compression" => profile.compression = Some(one.level()?),
                "snapshot" => {
                    let table =
                        value.get_ref().as_table().ok_or_else(|| one.refused("a table: [NAME.snapshot]"))?;
                    profile.snapshot = self.snapshot(table)?;
                }
                _ => return Err(self.unknown(key.span(), name, "a profile", &KEYS)),
            }
        }
        let secrets = [
            profile.password_file.is_some(),
            profile.password_command.is_some(),
            profile.recovery_key_file.is_some(),
        ];
        let second = table.iter().filter(|(key, _)| {
            matches!(key.get_ref().as_ref(), "password-file" | "password-command" | "recovery-key-file")
        });
        if secrets.iter().filter(|given| **given).count() > 1 {
            let span = second.map(|(key, _)| key.span()).max_by_key(|span| span.start).unwrap_or_default();
            return Err(self
                .refused(span, "more than one secret is named, and only one of them can open the repository")
                .with_hint("leave all but one out"));
        }
        Ok(profile)
    }

    fn snapshot(&self, table: &DeTable<'t>) -> Result<SnapshotProfile> {
        let mut profile = SnapshotProfile::default();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let one = Value { reader: self, name, value };
            match name {
                "paths" => profile.paths = one.paths()?,
                "exclude" => profile.exclude = one.texts()?,
                "iexclude" => profile.iexclude = one.texts()?,
                "exclude-file" => profile.exclude_file = one.paths()?,
                "exclude-if-present" => profile.exclude_if_present = one.texts()?,
                "exclude-larger-than" => profile.exclude_larger_than = Some(one.text()?),
                "exclude-caches" => profile.exclude_caches = one.flag()?,
                "one-file-system" => profile.one_file_system = one.flag()?,
                "no-videos" => profile.no_videos = one.flag()?,
                "tag" => profile.tag = one.tags()?,
                "host" => profile.host = Some(one.text()?),
                "description" => profile.description = Some(one.text()?),
                _ => return Err(self.unknown(key.span(), name, "[NAME.snapshot]", &SNAPSHOT_KEYS)),
            }
        }
        Ok(profile)
    }

    fn unknown(&self, span: Range<usize>, name: &str, place: &str, known: &[&str]) -> Failure {
        if SECRETS.contains(&name.to_ascii_lowercase().as_str()) {
            return self.refused(span, &format!("`{name}`: a secret does not belong into this file")).with_hint(
                "write it to a file that only you can read and name that: password-file = \"~/.config/chatvault/password\"; \
                 or let a password manager give it: password-command = \"pass chats\"",
            );
        }
        self.refused(span, &format!("`{}` is no setting of {place}", one_line(name)))
            .with_hint(format!("known are {}", known.join(", ")))
    }

    fn refused(&self, span: Range<usize>, why: &str) -> Failure {
        let line = self.text.get(..span.start).unwrap_or_default().matches('\n').count() + 1;
        Failure::usage(format!("Failed to read {}, line {line}", shown(self.path))).because(why)
    }
}

impl Value<'_, '_> {
    fn refused(&self, wanted: &str) -> Failure {
        self.reader.refused(self.value.span(), &format!("`{}` must be {wanted}", self.name)).with_hint(
            "`{program} snapshot --help` shows what the options mean; docs/command-line.md has an example",
        )
    }

    fn text(&self) -> Result<String> {
        self.value.get_ref().as_str().map(str::to_owned).ok_or_else(|| self.refused("a text in quotes"))
    }

    /// One text or a list of them.
    fn texts(&self) -> Result<Vec<String>> {
        let refused = || self.refused("a text in quotes or a list of them: [\"a\", \"b\"]");
        if let Some(text) = self.value.get_ref().as_str() {
            return Ok(vec![text.to_owned()]);
        }
        let list = self.value.get_ref().as_array().ok_or_else(refused)?;
        list.iter().map(|one| one.get_ref().as_str().map(str::to_owned).ok_or_else(refused)).collect()
    }

    fn tags(&self) -> Result<Vec<String>> {
        let tags = self.texts()?;
        match tags.iter().find_map(|tag| crate::args::tag::parse(tag).err()) {
            Some(why) => Err(self.refused(&format!("tags: {why}"))),
            None => Ok(tags),
        }
    }

    fn flag(&self) -> Result<bool> {
        self.value.get_ref().as_bool().ok_or_else(|| self.refused("true or false"))
    }

    fn level(&self) -> Result<i32> {
        let number = self.value.get_ref().as_integer().and_then(|number| number.as_str().parse().ok());
        number.filter(|level| (1..=19).contains(level)).ok_or_else(|| self.refused("a number from 1 to 19"))
    }

    fn path(&self) -> Result<PathBuf> {
        self.expanded(&self.text()?)
    }

    fn repository(&self) -> Result<PathBuf> {
        let text = self.text()?;
        if address::is_address(text.as_bytes()) {
            let why = "`repository` is not a folder, and network storage is not supported yet";
            return Err(self
                .reader
                .refused(self.value.span(), why)
                .with_hint("write the whole path of a folder, which begins with `/` or `~/`"));
        }
        self.expanded(&text)
    }

    fn paths(&self) -> Result<Vec<PathBuf>> {
        self.texts()?.iter().map(|text| self.expanded(text)).collect()
    }

    fn expanded(&self, text: &str) -> Result<PathBuf> {
        if let Some(below) = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            let home =
                self.reader.home.as_ref().ok_or_else(|| self.refused("a whole path: HOME is not set"))?;
            let below = below.trim_start_matches('/');
            return Ok(if below.is_empty() { home.clone() } else { home.join(below) });
        }
        if text.starts_with('/') {
            return Ok(PathBuf::from(text));
        }
        Err(self.refused("a whole path, which begins with `/` or `~/`"))
    }
}

#[cfg(test)]
mod tests;
