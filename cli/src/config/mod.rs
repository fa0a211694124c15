//! From command line, environment and profile to settings, once. The only place that reads the environment.

pub(crate) mod address;
pub(crate) mod kept;
pub(crate) mod known;
pub(crate) mod machine;
pub(crate) mod private_file;
pub(crate) mod profile;

use crate::args::global::GlobalArgs;
use crate::args::secret::SecretSource;
use crate::exit::Condition;
use crate::output::Style;
use crate::output::error::{Failure, Result};
use profile::{Profile, SnapshotProfile};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The environment as it was when the program began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(HashMap<OsString, OsString>);

impl Environment {
    /// That of this process.
    pub(crate) fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// A variable; an empty one counts as not set.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable that must be text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>> {
        let as_text = |value: &'_ OsStr| value.to_str().is_some();
        match self.get(name) {
            Some(value) if !as_text(value) => {
                Err(Failure::usage(format!("Failed to read the variable {name}"))
                    .because("it is no UTF-8 text")
                    .with_hint("correct it, or unset it"))
            }
            value => Ok(value.and_then(OsStr::to_str)),
        }
    }

    /// A variable that holds a path; a leading `~/` is the home.
    fn path(&self, name: &str) -> Result<Option<PathBuf>> {
        let home = self.absolute("HOME");
        self.get(name).map(|value| address::expanded(value.into(), home.as_deref())).transpose()
    }

    /// A variable that holds an absolute path; any other one counts as not set.
    fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// An on-off variable.
    fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| {
            !["0", "false", "no", "off"].iter().any(|off| value.eq_ignore_ascii_case(off))
        })
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Where this program keeps what is its own, by the XDG base directory specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folders {
    data: Option<PathBuf>,
    config: Option<PathBuf>,
    cache: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl Folders {
    /// The folders that the environment names. A relative path is ignored, as the specification says.
    pub(crate) fn of(environment: &Environment) -> Self {
        let absolute = |name| environment.absolute(name);
        let home = absolute("HOME");
        let folder = |name, below: &str| {
            absolute(name)
                .or_else(|| home.as_ref().map(|home| home.join(below)))
                .map(|path| path.join("chatvault"))
        };
        Self {
            data: folder("XDG_DATA_HOME", ".local/share"),
            config: folder("XDG_CONFIG_HOME", ".config"),
            cache: folder("XDG_CACHE_HOME", ".cache"),
            home,
        }
    }

    /// The home of this user.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// Where the default repository is.
    pub(crate) fn default_repository(&self) -> Result<PathBuf> {
        self.data.as_ref().map(|data| data.join("repository")).ok_or_else(|| {
            homeless("the folder of the default repository")
                .with_hint("name a repository with `-r PATH`, or set HOME")
        })
    }

    /// Where kept keys and the list of repositories are.
    pub(crate) fn config(&self) -> Result<PathBuf> {
        self.config.clone().ok_or_else(|| homeless("the configuration folder").with_hint("set HOME"))
    }

    /// All that are known.
    pub(crate) fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.data, &self.config, &self.cache].into_iter().flatten()
    }
}

fn homeless(what: &str) -> Failure {
    Failure::new(Condition::Failed, format!("Failed to find {what}"))
        .because("HOME is not set to an absolute path")
}

/// What command line, environment and profile say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The repository, if one is named.
    pub(crate) repository: Option<PathBuf>,
    /// What opens it, if that is named.
    pub(crate) secret: Option<SecretSource>,
    /// The second factor beside a password, if it is named.
    pub(crate) key_file: Option<PathBuf>,
    /// The folder of the caches; none: in memory only.
    pub(crate) cache_dir: Option<PathBuf>,
    /// How hard to compress.
    pub(crate) compression: i32,
    /// What the profile says of `snapshot`.
    pub(crate) snapshot: SnapshotProfile,
}

const DEFAULT_COMPRESSION: i32 = 3;

/// Settings from all sources: the command line is stronger than the environment, and that than the profile.
pub(crate) fn settings(args: &GlobalArgs, environment: &Environment, folders: &Folders) -> Result<Settings> {
    let home = environment.absolute("HOME");
    let args = &in_home(args, home.as_deref())?;
    let profile = match args.profile.as_deref().or(environment.text("CHATVAULT_PROFILE")?) {
        Some(name) => profile::load(&folders.config()?, name, environment)?,
        None => Profile::default(),
    };
    let from_args = SecretSource::one_of(
        args.password_file.clone(),
        args.password_command.clone(),
        args.recovery_key_file.clone(),
        ["--password-file", "--password-command", "--recovery-key-file"],
    )?;
    let is_from_args = from_args.is_some();
    let secret = match from_args {
        Some(secret) => Some(secret),
        None => SecretSource::one_of(
            environment.path("CHATVAULT_PASSWORD_FILE")?,
            environment.text("CHATVAULT_PASSWORD_COMMAND")?.map(str::to_owned),
            environment.path("CHATVAULT_RECOVERY_KEY_FILE")?,
            ["CHATVAULT_PASSWORD_FILE", "CHATVAULT_PASSWORD_COMMAND", "CHATVAULT_RECOVERY_KEY_FILE"],
        )?,
    };
    let secret = match secret {
        Some(secret) => Some(secret),
        None => SecretSource::one_of(
            profile.password_file,
            profile.password_command,
            profile.recovery_key_file,
            ["password-file", "password-command", "recovery-key-file"],
        )?,
    };
    let repository = args.repo.clone().or_else(|| environment.get("CHATVAULT_REPOSITORY").map(PathBuf::from));
    let repository = repository.map(|path| address::repository(path, home.as_deref())).transpose()?;
    Ok(Settings {
        repository: repository.or(profile.repository),
        key_file: key_file(args, environment, profile.key_file, secret.as_ref(), is_from_args)?,
        secret,
        cache_dir: cache_dir(args, environment, profile.cache_dir.or_else(|| folders.cache.clone()))?,
        compression: compression(args, environment, profile.compression)?,
        snapshot: profile.snapshot,
    })
}

/// The same options with the home in place of a leading `~/` of each path but the repository's.
fn in_home(args: &GlobalArgs, home: Option<&Path>) -> Result<GlobalArgs> {
    let path = |path: &Option<PathBuf>| path.clone().map(|path| address::expanded(path, home)).transpose();
    Ok(GlobalArgs {
        password_file: path(&args.password_file)?,
        recovery_key_file: path(&args.recovery_key_file)?,
        key_file: path(&args.key_file)?,
        cache_dir: path(&args.cache_dir)?,
        ..args.clone()
    })
}

/// The key file that goes with this secret. A recovery key opens alone: one that is named on the command line is
/// stronger than a key file in the environment, any other pair contradicts itself.
fn key_file(
    args: &GlobalArgs,
    environment: &Environment,
    profile: Option<PathBuf>,
    secret: Option<&SecretSource>,
    secret_is_from_args: bool,
) -> Result<Option<PathBuf>> {
    let named = match &args.key_file {
        Some(file) => Some(file.clone()),
        None => environment.path("CHATVAULT_KEY_FILE")?.or(profile),
    };
    if !matches!(secret, Some(SecretSource::RecoveryKeyFile(_))) || named.is_none() {
        return Ok(named);
    }
    if secret_is_from_args && args.key_file.is_none() {
        return Ok(None);
    }
    Err(Failure::usage("Both a recovery key and a key file are given")
        .because("a key file goes with a password; a recovery key opens the repository alone")
        .with_hint("leave one out"))
}

fn cache_dir(
    args: &GlobalArgs,
    environment: &Environment,
    otherwise: Option<PathBuf>,
) -> Result<Option<PathBuf>> {
    if args.no_cache {
        return Ok(None);
    }
    if args.cache_dir.is_some() {
        return Ok(args.cache_dir.clone());
    }
    if environment.flag("CHATVAULT_NO_CACHE") {
        return Ok(None);
    }
    Ok(environment.path("CHATVAULT_CACHE_DIR")?.or(otherwise))
}

fn compression(args: &GlobalArgs, environment: &Environment, profile: Option<i32>) -> Result<i32> {
    if let Some(level) = args.compression {
        return Ok(level);
    }
    let Some(text) = environment.text("CHATVAULT_COMPRESSION")? else {
        return Ok(profile.unwrap_or(DEFAULT_COMPRESSION));
    };
    text.parse().ok().filter(|level| (1..=19).contains(level)).ok_or_else(|| {
        Failure::usage("Failed to read the variable CHATVAULT_COMPRESSION")
            .because(format!("`{text}` is no number from 1 to 19"))
            .with_hint("correct it, or unset it")
    })
}

/// How to write, from both sources and what the streams of the process can do.
pub(crate) fn style(args: &GlobalArgs, environment: &Environment, process: Style) -> Style {
    let json = args.json || environment.flag("CHATVAULT_JSON");
    let quiet = args.quiet || environment.flag("CHATVAULT_QUIET");
    let wanted = !quiet && !args.no_progress && !environment.flag("CHATVAULT_NO_PROGRESS");
    Style { json, quiet, progress: wanted && (json || process.progress), ..process }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> Folders {
        Folders::of(
            &[("HOME", "/home/ann"), ("XDG_CACHE_HOME", "/var/cache"), ("XDG_DATA_HOME", "relative")].into(),
        )
    }

    fn merged<const N: usize>(args: &GlobalArgs, variables: [(&str, &str); N]) -> Result<Settings> {
        settings(args, &variables.into(), &folders())
    }

    #[test]
    fn folders_follow_the_specification() {
        let folders = folders();
        assert_eq!(
            folders.default_repository().unwrap(),
            PathBuf::from("/home/ann/.local/share/chatvault/repository")
        );
        assert_eq!(folders.config().unwrap(), PathBuf::from("/home/ann/.config/chatvault"));
        assert_eq!(folders.cache, Some(PathBuf::from("/var/cache/chatvault")));
        let nowhere = Folders::of(&Environment::default());
        assert!(nowhere.default_repository().unwrap_err().message().contains("HOME"));
        assert_eq!(nowhere.all().count(), 0);
    }

    #[test]
    fn the_command_line_is_stronger_than_the_environment() {
        let args = GlobalArgs {
            repo: Some("/a".into()),
            recovery_key_file: Some("/k".into()),
            compression: Some(19),
            ..GlobalArgs::default()
        };
        let variables = [
            ("CHATVAULT_REPOSITORY", "/b"),
            ("CHATVAULT_PASSWORD_FILE", "/p"),
            ("CHATVAULT_COMPRESSION", "1"),
        ];
        let both = merged(&args, variables).unwrap();
        assert_eq!(both.repository, Some("/a".into()));
        assert_eq!(both.secret, Some(SecretSource::RecoveryKeyFile("/k".into())));
        assert_eq!(both.compression, 19);
        let environment = merged(&GlobalArgs::default(), variables).unwrap();
        assert_eq!(environment.repository, Some("/b".into()));
        assert_eq!(environment.secret, Some(SecretSource::PasswordFile("/p".into())));
        assert_eq!(environment.compression, 1);
    }

    #[test]
    fn two_secrets_on_one_level_are_refused_and_on_two_levels_are_not() {
        let variables = [("CHATVAULT_PASSWORD_FILE", "/p"), ("CHATVAULT_RECOVERY_KEY_FILE", "/k")];
        assert_eq!(merged(&GlobalArgs::default(), variables).unwrap_err().condition(), Condition::Usage);
        let args = GlobalArgs { password_command: Some("pass".into()), ..GlobalArgs::default() };
        assert_eq!(
            merged(&args, variables).unwrap().secret,
            Some(SecretSource::PasswordCommand("pass".into()))
        );
    }

    #[test]
    fn a_key_file_goes_with_a_password_and_a_recovery_key_goes_alone() {
        let file = |args: &GlobalArgs, variables: [(&str, &str); 2]| {
            merged(args, variables).map(|settings| settings.key_file)
        };
        let (key_file, other) = (("CHATVAULT_KEY_FILE", "/k"), ("X", "x"));
        let recovery = ("CHATVAULT_RECOVERY_KEY_FILE", "/r");
        let named = GlobalArgs { key_file: Some("/n".into()), ..GlobalArgs::default() };
        assert_eq!(file(&GlobalArgs::default(), [key_file, other]).unwrap(), Some("/k".into()));
        assert_eq!(file(&named, [key_file, other]).unwrap(), Some("/n".into()));
        let alone = GlobalArgs { recovery_key_file: Some("/r".into()), ..GlobalArgs::default() };
        assert_eq!(file(&alone, [key_file, other]).unwrap(), None);
        let both = GlobalArgs { recovery_key_file: Some("/r".into()), ..named.clone() };
        for refused in [
            file(&GlobalArgs::default(), [key_file, recovery]),
            file(&named, [other, recovery]),
            file(&both, [other, other]),
        ] {
            assert_eq!(refused.unwrap_err().condition(), Condition::Usage);
        }
    }

    #[test]
    fn empty_variables_count_as_not_set_and_bad_ones_are_refused() {
        let empty =
            [("CHATVAULT_REPOSITORY", ""), ("CHATVAULT_COMPRESSION", ""), ("CHATVAULT_CACHE_DIR", "")];
        let settings = merged(&GlobalArgs::default(), empty).unwrap();
        assert_eq!(settings.repository, None);
        assert_eq!(settings.compression, DEFAULT_COMPRESSION);
        assert_eq!(settings.cache_dir, Some("/var/cache/chatvault".into()));
        for level in ["0", "20", "fast"] {
            let refused = merged(&GlobalArgs::default(), [("CHATVAULT_COMPRESSION", level)]);
            assert_eq!(refused.unwrap_err().condition(), Condition::Usage);
        }
    }

    #[test]
    fn a_cache_named_on_the_command_line_beats_no_cache_in_the_environment() {
        let no_cache = [("CHATVAULT_NO_CACHE", "1")];
        assert_eq!(merged(&GlobalArgs::default(), no_cache).unwrap().cache_dir, None);
        let args = GlobalArgs { cache_dir: Some("/c".into()), ..GlobalArgs::default() };
        assert_eq!(merged(&args, no_cache).unwrap().cache_dir, Some("/c".into()));
        let args = GlobalArgs { no_cache: true, ..GlobalArgs::default() };
        assert_eq!(merged(&args, [("CHATVAULT_CACHE_DIR", "/c")]).unwrap().cache_dir, None);
    }

    #[test]
    fn progress_needs_a_terminal_or_json_and_nobody_against_it() {
        let shown = |args: GlobalArgs, variable: &str, terminal| {
            let process = Style { progress: terminal, ..Style::default() };
            style(&args, &[(variable, "yes")].into(), process).progress
        };
        let none = GlobalArgs::default;
        assert!(shown(none(), "X", true));
        assert!(!shown(none(), "X", false));
        assert!(shown(none(), "CHATVAULT_JSON", false));
        assert!(!shown(none(), "CHATVAULT_QUIET", true));
        assert!(!shown(none(), "CHATVAULT_NO_PROGRESS", true));
        assert!(!shown(GlobalArgs { json: true, quiet: true, ..none() }, "X", true));
    }
}
