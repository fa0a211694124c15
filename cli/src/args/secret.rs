//! Where a password or recovery key comes from, and how it is read. A secret is never an argument.

use crate::exit::Condition;
use crate::output::error::{Failure, Result};
use chatvault_engine::base::Kind;
use chatvault_engine::base::path::clean;
use chatvault_engine::crypto::{Credential, KeyFile, RecoveryKey};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use zeroize::Zeroizing;

/// Longest file or output that is read for a secret, in bytes.
const MAX_LEN: u64 = 256 * 1024;

/// Where the secret comes from that opens a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// The first line of a file is a password.
    PasswordFile(PathBuf),
    /// The first line that a command prints is a password.
    PasswordCommand(String),
    /// A file holds a recovery key.
    RecoveryKeyFile(PathBuf),
}

impl SecretSource {
    /// The file that holds the secret, if one does.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::PasswordFile(file) | Self::RecoveryKeyFile(file) => Some(file),
            Self::PasswordCommand(_) => None,
        }
    }

    /// The one source of three that is given; `names` are how the user can say them.
    pub(crate) fn one_of(
        password_file: Option<PathBuf>,
        password_command: Option<String>,
        recovery_key_file: Option<PathBuf>,
        names: [&str; 3],
    ) -> Result<Option<Self>> {
        let [file, command, key] = names;
        let mut given = [
            (file, password_file.map(Self::PasswordFile)),
            (command, password_command.map(Self::PasswordCommand)),
            (key, recovery_key_file.map(Self::RecoveryKeyFile)),
        ]
        .into_iter()
        .filter_map(|(name, source)| Some((name, source?)));
        match (given.next(), given.next()) {
            (None, _) => Ok(None),
            (Some((_, source)), None) => Ok(Some(source)),
            (Some((first, _)), Some((second, _))) => {
                Err(Failure::usage(format!("Both {first} and {second} are given"))
                    .because("only one of them can open the repository")
                    .with_hint("leave one out"))
            }
        }
    }

    /// Reads the secret.
    pub(crate) fn read(&self) -> Result<Credential> {
        match self {
            Self::PasswordFile(path) => {
                password(&read_file(path)?, &format!("the password file {}", shown(path)))
            }
            Self::PasswordCommand(command) => password(&run(command)?, "the output of the password command"),
            Self::RecoveryKeyFile(path) => Ok(Credential::Recovery(read_recovery_key(path)?)),
        }
    }
}

/// Hashes a key file, the second factor beside a password.
pub(crate) fn read_key_file(path: &Path) -> Result<KeyFile> {
    let subject = shown(path);
    let failed = |cause| {
        Failure::io("read key file", &subject, cause)
            .with_hint("check the name of the file and that you may read it")
    };
    let file = File::open(path).map_err(failed)?;
    KeyFile::read(file, &subject).map_err(|error| {
        let hint = if error.kind() == Kind::Usage {
            "name the file that was given when the key was made; a new one: `head -c 32 /dev/urandom > FILE`"
        } else {
            "check the name of the file and that you may read it"
        };
        Failure::from(error).with_hint(hint)
    })
}

/// The credential with its second factor, if there is one. A recovery key opens alone.
pub(crate) fn with_key_file(credential: Credential, file: Option<KeyFile>) -> Credential {
    match (credential, file) {
        (Credential::Password(password), Some(file)) => Credential::PasswordAndFile(password, file),
        (credential, _) => credential,
    }
}

/// Reads a recovery key from a file that holds the key alone or a whole recovery kit.
pub(crate) fn read_recovery_key(path: &Path) -> Result<RecoveryKey> {
    let bytes = read_file(path)?;
    let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    match find_recovery_key(&text) {
        Ok(Some(key)) => Ok(key),
        Ok(None) => Err(Failure::new(
            Condition::WrongKey,
            format!("Failed to read the recovery key: no recovery key was found in {}", shown(path)),
        )
        .with_hint("a recovery key begins with `cv1-`, and 17 groups of 4 digits follow")),
        Err(error) => Err(Failure::from(error)
            .with_hint(format!("compare {} with the printed recovery kit, digit by digit", shown(path)))),
    }
}

/// Finds the recovery key in a text: the first place that begins with `cv1` and is one. What is no letter or digit does
/// not matter within the key.
///
/// # Errors
/// If there are only attempts, says what is wrong with the most complete one.
fn find_recovery_key(text: &str) -> chatvault_engine::base::Result<Option<RecoveryKey>> {
    let lower = Zeroizing::new(text.to_ascii_lowercase());
    let mut best: Option<(usize, chatvault_engine::base::Error)> = None;
    for (at, prefix) in lower.match_indices("cv") {
        let Some(rest) = lower.get(at + prefix.len()..).and_then(|rest| rest.strip_prefix(['1', 'l', 'i']))
        else {
            continue;
        };
        let whole = Zeroizing::new(format!("cv1-{}", first_digits(rest)));
        if let Ok(key) = RecoveryKey::parse(&whole) {
            return Ok(Some(key));
        }
        let (groups, digits) = likely_groups(rest);
        if digits > 0
            && best.as_ref().is_none_or(|(most, _)| *most < digits)
            && let Err(error) = RecoveryKey::parse(&Zeroizing::new(format!("cv1-{}", *groups)))
        {
            best = Some((digits, error));
        }
    }
    let bare = lower.chars().filter(|c| c.is_alphanumeric()).count();
    match best {
        Some((_, error)) => Err(error),
        // It may be a key of another kind, which is worth being named.
        None if bare == 64 && !lower.contains(|c: char| c.is_alphanumeric() && !c.is_ascii_hexdigit()) => {
            RecoveryKey::parse(text).map(Some)
        }
        None => Ok(None),
    }
}

/// The first 68 letters and digits of a text: as many as a key has.
fn first_digits(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).take(68).collect()
}

/// What somebody who typed a key with errors most likely meant to be it: the words from the beginning on that are as
/// short as a group, or mostly digits of a key; and how many characters these are.
fn likely_groups(text: &str) -> (Zeroizing<String>, usize) {
    let mut groups = Zeroizing::new(String::with_capacity(128));
    let mut digits = 0;
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        // The next attempt begins.
        if word.starts_with("cv") {
            break;
        }
        let len = word.chars().count();
        // With the letters that stand for 0 and 1.
        let fitting = word.chars().filter(|c| c.is_ascii_hexdigit() || "oli".contains(*c)).count();
        if digits >= 68 || (len > 4 && fitting * 4 < len * 3) || fitting == 0 {
            break;
        }
        groups.push_str(word);
        groups.push('-');
        digits += len;
    }
    (groups, digits)
}

/// A password from bytes: the first line, without its end.
fn password(bytes: &[u8], subject: &str) -> Result<Credential> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    new_password(line, subject)
}

/// A password that somebody typed or stored; an empty one is refused.
pub(crate) fn new_password(line: &[u8], subject: &str) -> Result<Credential> {
    if line.is_empty() {
        return Err(Failure::usage(format!("Failed to use {subject}"))
            .because("the password is empty")
            .with_hint("an empty password protects nothing: choose another one"));
    }
    Ok(Credential::Password(Zeroizing::new(line.to_vec())))
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |cause| {
        Failure::io("read", shown(path), cause)
            .with_hint("check the name of the file and that you may read it")
    };
    read_capped(File::open(path).map_err(failed)?).map_err(failed)
}

fn run(command: &str) -> Result<Zeroizing<Vec<u8>>> {
    let failed = || Failure::new(Condition::Failed, "Failed to run the password command");
    let hint = "run it by hand: it must print the password as its first line and end with success";
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|cause| failed().because(cause).with_hint(hint))?;
    let output = child.stdout.take().map_or_else(|| Ok(Zeroizing::default()), read_capped);
    let ended = child.wait().map_err(|cause| failed().because(cause).with_hint(hint))?;
    if !ended.success() {
        return Err(failed().because(format!("it ended with {ended}")).with_hint(hint));
    }
    output.map_err(|cause| failed().because(cause).with_hint(hint))
}

fn read_capped(stream: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    stream.take(MAX_LEN).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn shown(path: &Path) -> String {
    clean(path.as_os_str().as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(credential: &Credential) -> String {
        match credential {
            Credential::Password(bytes) | Credential::PasswordAndFile(bytes, _) => {
                String::from_utf8(bytes.to_vec()).unwrap()
            }
            Credential::Recovery(key) => key.print(),
        }
    }

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        for (bytes, wanted) in [("a b \n", "a b "), ("x\r\ny\n", "x"), ("one", "one"), (" lead\n", " lead")] {
            assert_eq!(key_of(&password(bytes.as_bytes(), "it").unwrap()), wanted);
        }
    }

    #[test]
    fn an_empty_password_is_refused() {
        for bytes in ["", "\n", "\r\n", "\nsecond line\n"] {
            assert_eq!(password(bytes.as_bytes(), "it").unwrap_err().condition(), Condition::Usage);
        }
    }

    #[test]
    fn a_key_is_found_in_a_kit_that_was_printed_or_typed() {
        let key = RecoveryKey::random().unwrap().print();
        let (first, second) = key.split_at(40);
        let page =
            format!("A key begins with cv1- and digits.\n\n   {first}\n   {second}\n\nDate: 2026-11-20\n");
        assert_eq!(find_recovery_key(&page).unwrap().unwrap().print(), key);
        assert_eq!(find_recovery_key(&page.to_uppercase()).unwrap().unwrap().print(), key);
        assert_eq!(
            find_recovery_key(&key.replace('-', " \u{2014}\n").replace('0', "O")).unwrap().unwrap().print(),
            key
        );
        assert_eq!(find_recovery_key(&format!("{key}1234")).unwrap().unwrap().print(), key);
    }

    #[test]
    fn what_is_wrong_with_the_most_complete_attempt_is_told() {
        let key = RecoveryKey::random().unwrap().print();
        let last = if key.ends_with('0') { '1' } else { '0' };
        let wrong = format!("cv1- key\n{}{last}\n", &key[..key.len() - 1]);
        assert!(find_recovery_key(&wrong).unwrap_err().full_text().contains("check group"));
        let wrong = format!("{}\n\nThe last group is a check.", key.replacen(&key[14..16], "zz", 1));
        let told = find_recovery_key(&wrong).unwrap_err().full_text();
        assert!(told.contains("holds `z`"), "{told}");
        assert!(find_recovery_key("nothing here, though a key begins with cv1-").unwrap().is_none());
        let of_another_kind = find_recovery_key(&"0123456789abcdef".repeat(4)).unwrap_err().full_text();
        assert!(of_another_kind.contains("WhatsApp"), "{of_another_kind}");
    }

    #[test]
    fn two_sources_on_one_level_are_wrong_usage() {
        let names = ["a", "b", "c"];
        let both = SecretSource::one_of(Some("f".into()), Some("c".into()), None, names).unwrap_err();
        assert_eq!(both.condition(), Condition::Usage);
        assert!(both.message().contains("Both a and b"));
        let one = SecretSource::one_of(None, None, Some("k".into()), names).unwrap();
        assert_eq!(one, Some(SecretSource::RecoveryKeyFile("k".into())));
        assert_eq!(SecretSource::one_of(None, None, None, names).unwrap(), None);
    }

    #[test]
    fn a_command_gives_its_first_line_and_its_failure_is_told() {
        let source = SecretSource::PasswordCommand("printf 'one\\ntwo\\n'".into());
        assert_eq!(key_of(&source.read().unwrap()), "one");
        let failure = SecretSource::PasswordCommand("echo secret; exit 3".into()).read().unwrap_err();
        assert!(failure.message().contains('3') && !failure.message().contains("secret"));
    }

    #[test]
    fn an_empty_or_missing_key_file_is_refused_and_a_recovery_key_takes_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(read_key_file(&path).unwrap_err().condition(), Condition::Failed);
        std::fs::write(&path, "").unwrap();
        assert_eq!(read_key_file(&path).unwrap_err().condition(), Condition::Usage);
        std::fs::write(&path, "x").unwrap();
        let file = || Some(read_key_file(&path).unwrap());
        let both = with_key_file(new_password(b"a", "it").unwrap(), file());
        assert!(matches!(both, Credential::PasswordAndFile(..)));
        let recovery = Credential::Recovery(RecoveryKey::random().unwrap());
        assert!(matches!(with_key_file(recovery, file()), Credential::Recovery(_)));
    }
}
