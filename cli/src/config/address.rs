//! What a path of the command line, the environment or a profile means: a folder, and never an address of the network.

use crate::output::error::{Failure, Result};
use crate::output::human::{shell_word, shown};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Expands a leading `~/`, which the shell leaves alone in quotes, behind `--option=`, and in a file of variables.
///
/// # Errors
/// Wrong usage for `~name`, and for `~/` without a home.
pub(crate) fn expanded(path: PathBuf, home: Option<&Path>) -> Result<PathBuf> {
    let Some(rest) = path.as_os_str().as_bytes().strip_prefix(b"~") else { return Ok(path) };
    let below = match rest {
        b"" => Some(rest),
        _ => rest.strip_prefix(b"/"),
    };
    let named = || Failure::usage(format!("Failed to use the path {}", shown(&path)));
    let as_a_name = || format!("to use a folder of that name, write {}", as_a_path(&path));
    match (below, home) {
        (Some(below), Some(home)) => {
            let start = below.iter().position(|byte| *byte != b'/').unwrap_or(below.len());
            Ok(home.join(OsStr::from_bytes(below.get(start..).unwrap_or_default())))
        }
        (Some(_), None) => Err(named().because("HOME is not set to an absolute path").with_hint(as_a_name())),
        (None, _) => Err(named()
            .because("only the shell knows the homes of other users")
            .with_hint(format!("write the whole path; {}", as_a_name()))),
    }
}

/// The folder of a repository.
///
/// # Errors
/// Wrong usage for an address of the network (`s3:bucket`, `sftp://host/x`, `host:path`): as a folder of that name it
/// would be a copy on the same disk, which its owner takes for one elsewhere.
pub(crate) fn repository(path: PathBuf, home: Option<&Path>) -> Result<PathBuf> {
    if is_address(path.as_os_str().as_bytes()) {
        return Err(Failure::usage(format!("Failed to use {} as the repository", shown(&path)))
            .because("this is not a folder, and network storage is not supported yet")
            .with_hint(format!("to use a folder of that name, write {}", as_a_path(&path))));
    }
    expanded(path, home)
}

/// True for what other programs take as an address: a colon before the first slash.
pub(crate) fn is_address(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').next().is_some_and(|first| first.contains(&b':'))
}

/// The same name as a path that can be nothing else, as a word for a shell.
fn as_a_path(path: &Path) -> String {
    shell_word(&format!("./{}", shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Condition;

    #[test]
    fn addresses_of_the_network_are_refused_and_paths_are_not() {
        let home = Path::new("/home/ann");
        for address in [
            "s3:bucket/x",
            "s3:https://host/bucket",
            "sftp:user@host:/x",
            "sftp://user@host/x",
            "ssh://host/x",
            "rclone:remote:x",
            "rest:https://host/",
            "b2:bucket:x",
            "user@host:x",
            "file:///x",
            "C:\\chats",
        ] {
            let failure = repository(address.into(), Some(home)).unwrap_err();
            assert_eq!(failure.condition(), Condition::Usage, "{address}");
            assert!(failure.hint().unwrap().contains("write ./") || failure.hint().unwrap().contains("'./"));
        }
        for path in ["/media/s3:x", "./s3:bucket/x", "backup/12:30", "repo", "../a:b", "."] {
            assert_eq!(repository(path.into(), Some(home)).unwrap(), PathBuf::from(path), "{path}");
        }
    }

    #[test]
    fn a_leading_tilde_is_the_home_or_refused() {
        let of = |path: &str, home: Option<&str>| expanded(path.into(), home.map(Path::new));
        for (path, wanted) in [
            ("~", "/home/ann"),
            ("~/chats", "/home/ann/chats"),
            ("~//chats", "/home/ann/chats"),
            ("./~/chats", "./~/chats"),
            ("a~b", "a~b"),
        ] {
            assert_eq!(of(path, Some("/home/ann")).unwrap(), PathBuf::from(wanted), "{path}");
        }
        let failure = of("~ben/my chats", Some("/home/ann")).unwrap_err();
        assert_eq!(failure.condition(), Condition::Usage);
        assert!(failure.hint().unwrap().contains("'./~ben/my chats'"), "{:?}", failure.hint());
        assert!(of("~/x", None).unwrap_err().message().contains("HOME"));
    }
}
