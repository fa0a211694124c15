//! What this process is and on which machine, and whether another process lives. Linux.

use chatvault_engine::repo::Client;
use chatvault_engine::source::Owners;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest table of the system that is read, in bytes.
const MAX_LEN: u64 = 64 << 20;

/// Who is working: machine, user, program, process.
pub(crate) fn client(user: Option<String>) -> Client {
    let pid = std::process::id();
    Client {
        host: host(),
        user: user.unwrap_or_else(user_by_number),
        program: concat!("chatvault ", env!("CARGO_PKG_VERSION")).to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
        pid,
        pid_namespace: pid_namespace(),
        process_started: started(pid).unwrap_or_default(),
    }
}

/// What the system says of this machine: its number, where it has one, and its name.
pub(crate) fn machine() -> String {
    format!("{} {}", read("/etc/machine-id").unwrap_or_default().trim(), host())
}

/// Time since the machine was started, including the time that it slept.
pub(crate) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let (secs, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0));
    Duration::new(secs, nanos)
}

/// The namespace of process numbers that this process is in; 0 if there is none.
fn pid_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

/// How a person can call this program again: by its name if the shell finds this program under it, else by its path.
pub(crate) fn program(called: Option<&OsStr>, search: Option<&OsStr>) -> PathBuf {
    let name = Path::new("chatvault");
    let Some(own) = std::env::current_exe().and_then(std::fs::canonicalize).ok() else { return name.into() };
    let found = std::env::split_paths(search.unwrap_or_default())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .and_then(|path| std::fs::canonicalize(path).ok());
    if found.as_ref() == Some(&own) {
        return name.into();
    }
    // As it was typed, which is shorter.
    match called.map(Path::new).filter(|path| path.components().count() > 1) {
        Some(path) => path.into(),
        None => own,
    }
}

/// True unless it is certain that no process of this number and start time (clock ticks since boot) lives here.
pub(crate) fn is_alive(pid: u32, process_started: u64) -> bool {
    // Without a process file system nothing is certain.
    !Path::new("/proc/self/stat").exists() || started(pid) == Some(process_started)
}

/// True if this process was told to ignore a signal when it was started, as `nohup` does with `SIGHUP`.
pub(crate) fn ignores(signal: i32) -> bool {
    let mask = read("/proc/self/status").and_then(|status| {
        let digits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?.trim().to_owned();
        u64::from_str_radix(&digits, 16).ok()
    });
    let bit = u32::try_from(signal - 1).ok().and_then(|shift| 1u64.checked_shl(shift));
    matches!((mask, bit), (Some(mask), Some(bit)) if mask & bit != 0)
}

/// Names of users and groups. Only the local tables are read: asking the network for every file would be slow, and a
/// number without a name is stored as a number.
pub(crate) fn owners() -> Owners {
    let table = |path| read(path).unwrap_or_default();
    Owners::parse(&table("/etc/passwd"), &table("/etc/group"))
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The name of this user in the list of users, or the number.
fn user_by_number() -> String {
    let number = rustix::process::getuid().as_raw();
    owners().user(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// Start time of a process in clock ticks since boot: field 22 of its `stat`. The name before it may hold spaces and
/// brackets, so that the fields are counted from the last bracket.
fn started(pid: u32) -> Option<u64> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn read(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_LEN).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_one_with_another_start_does_not() {
        let client = client(None);
        assert!(client.process_started > 0);
        assert!(is_alive(client.pid, client.process_started));
        assert!(!is_alive(client.pid, client.process_started + 1));
        assert!(!is_alive(u32::MAX, 1));
        assert!(client.pid_namespace > 0 && since_boot() <= since_boot());
        assert!(!client.host.is_empty() && !client.user.is_empty() && !client.boot_id.is_empty());
    }

    #[test]
    fn a_kill_cannot_be_ignored() {
        assert!(!ignores(9));
        assert!(!ignores(0));
    }
}
