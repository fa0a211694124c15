//! The world of a test: a folder with a home, a live folder, a repository, and the program.

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub struct World {
    folder: tempfile::TempDir,
}

/// What the program did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    /// A world in which nothing is there.
    pub fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// The same in a folder that is there and empty.
    pub fn within(folder: tempfile::TempDir) -> Self {
        fs::create_dir(folder.path().join("home")).unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { folder }
    }

    /// A world with a repository that `repo` opens by recovery key, and a live folder of three files.
    pub fn with_repository() -> Self {
        let world = Self::new();
        world.repo(&["init"]).succeeded();
        world.write("live/a.txt", "first\n");
        world.write("live/sub/b.bin", [7; 70_000]);
        world.write("live/sub/c.txt", "");
        world
    }

    /// As [`World::with_repository`], with one snapshot.
    pub fn with_snapshot() -> Self {
        let world = Self::with_repository();
        world.repo(&["snapshot", "live"]).succeeded();
        world
    }

    /// The real path of something in this world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The program, not yet run.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_chatvault"));
        let bin = program.parent().unwrap();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("TZ", "UTC")
            .env("USER", "ann")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// Runs the program on the repository `repo`, opened by the recovery key `key`.
    pub fn repo(&self, arguments: &[&str]) -> Ran {
        self.run(["-r", "repo", "--recovery-key-file", "key"].iter().chain(arguments))
    }

    /// Runs the program with more environment.
    pub fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).envs(variables.iter().copied()))
    }

    /// Ids of all snapshots in `repo`, oldest first.
    pub fn ids(&self) -> Vec<String> {
        let list = self.repo(&["list", "--json"]).succeeded().json();
        list.as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Files of a folder of the repository, at any depth.
    pub fn files(&self, name: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut open = vec![self.path(name)];
        while let Some(folder) = open.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                if path.is_dir() { open.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn succeeded(self) -> Self {
        self.ended_with(0)
    }

    #[track_caller]
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails with this code, and says so in two or three lines of which the last one is a hint.
    #[track_caller]
    pub fn failed_with(self, code: i32, words: &[&str]) -> Self {
        let ran = self.ended_with(code);
        for word in words {
            assert!(ran.stderr.contains(word), "`{word}` is not in:\n{}", ran.stderr);
        }
        assert!(ran.stderr.lines().any(|line| line.starts_with("error: ")), "{}", ran.stderr);
        assert!(ran.stderr.lines().last().unwrap().starts_with(" hint: "), "{}", ran.stderr);
        ran
    }

    /// The whole output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Each line of the output as a JSON value.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// An entry of a folder: path, mode, time of the last change, and content.
pub type Seen = (PathBuf, u32, (i64, i64), Vec<u8>);

/// Everything in a folder.
pub fn picture(folder: &Path) -> Vec<Seen> {
    use std::os::unix::fs::MetadataExt;
    let mut entries = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let content = if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if metadata.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else {
            fs::read(&path).unwrap()
        };
        let relative = path.strip_prefix(folder).unwrap().to_owned();
        entries.push((relative, metadata.mode(), (metadata.mtime(), metadata.mtime_nsec()), content));
    }
    entries.sort();
    entries
}
