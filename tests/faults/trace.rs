//! Follows a program by `ptrace` and decides about each of its writing system calls: let it pass, let it fail, cut it
//! short, or kill the program before it. Counts over all threads, unlike strace; sees what is called without a C
//! library, unlike a preloaded one.

use crate::calls::{self, Numbers};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Longest path that is read from the program.
const MAX_PATH: usize = 4096;

/// A system call that writes, before it happens.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// The file or folder it is about; for a rename or link the old name.
    pub path: PathBuf,
    /// The new name of a rename or link.
    pub to: Option<PathBuf>,
    /// Bytes that are to be written.
    pub bytes: Vec<u8>,
    /// What it was answered, if it happened: negative for an error.
    pub answer: Option<i64>,
    /// The thread that called.
    pub thread: i32,
}

impl Call {
    /// True for the calls that make something durable.
    pub fn is_flush(&self) -> bool {
        matches!(self.name, "fsync" | "fdatasync" | "syncfs" | "sync" | "sync_file_range")
    }

    /// True for the calls that give a name.
    pub fn is_rename(&self) -> bool {
        self.name.starts_with("rename") || self.name.starts_with("link")
    }

    /// True if it is about something in this folder.
    pub fn is_below(&self, folder: &Path) -> bool {
        self.path.starts_with(folder)
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It happens.
    Pass,
    /// It does not happen and is answered with this error.
    Fail(Errno),
    /// The program is killed before it.
    Kill,
    /// Half of its bytes are written, and the program is killed.
    Tear,
}

/// What the program did.
#[derive(Debug)]
pub struct Traced {
    /// Its exit code; none if it was killed.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// All its writing calls, in the order in which they began.
    pub calls: Vec<Call>,
}

/// Where a thread is.
#[derive(Default)]
struct Thread {
    /// Between the two stops of a call: its index among the writing calls and its fate.
    inside: Option<Option<(usize, Fate)>>,
}

/// Runs a program; `judge` hears of every writing call, in turn.
///
/// # Errors
/// Fails with what to tell if the program cannot be followed.
pub fn run(command: &Command, judge: &mut dyn FnMut(&Call) -> Fate) -> Result<Traced, String> {
    follow(command, false, judge)
}

/// As [`run`]; `judge` hears of calls that read, too.
///
/// # Errors
/// As [`run`].
pub fn run_with_reads(command: &Command, judge: &mut dyn FnMut(&Call) -> Fate) -> Result<Traced, String> {
    follow(command, true, judge)
}

fn follow(command: &Command, reads: bool, judge: &mut dyn FnMut(&Call) -> Fate) -> Result<Traced, String> {
    let mut waiting = waiting(command);
    let mut child = waiting.spawn().map_err(|e| format!("cannot start sh: {e}"))?;
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(|e| e.to_string())?);
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_EXITKILL;
    let followed = ptrace::seize(pid, options).and_then(|()| ptrace::interrupt(pid));
    if let Err(e) = followed {
        let _never_began = child.kill();
        let _ = child.wait();
        return Err(format!("programs cannot be followed here: {e}"));
    }
    let readers = [
        child.stdout.take().map(|stream| drain(Box::new(stream))),
        child.stderr.take().map(|stream| drain(Box::new(stream))),
    ];
    // From here on it can be followed: let it become the program.
    let mut go = child.stdin.take();
    if let Some(go) = &mut go {
        go.write_all(b"\n").map_err(|e| e.to_string())?;
    }
    drop(go);
    let mut tracer = Tracer { pid, reads, threads: HashMap::new(), calls: Vec::new(), judge };
    let code = tracer.follow();
    let calls = tracer.calls;
    let [stdout, stderr] = readers.map(|reader| {
        let bytes = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    Ok(Traced { code: code.map_err(|e| format!("lost the program: {e}"))?, stdout, stderr, calls })
}

/// The same command behind a shell that waits for a line before it becomes the program.
fn waiting(command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "read -r _ && exec \"$0\" \"$@\" </dev/null"]);
    shell.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

fn drain(mut stream: Box<dyn Read + Send>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _what_came_counts = stream.read_to_end(&mut bytes);
        bytes
    })
}

struct Tracer<'j> {
    pid: Pid,
    reads: bool,
    threads: HashMap<Pid, Thread>,
    calls: Vec<Call>,
    judge: &'j mut dyn FnMut(&Call) -> Fate,
}

impl Tracer<'_> {
    fn follow(&mut self) -> nix::Result<Option<i32>> {
        // Only what this thread follows, so that several programs can be followed at once.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            let status = match waitpid(Pid::from_raw(-1), Some(flags)) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(e) => return Err(e),
            };
            let resumed = match status {
                WaitStatus::Exited(pid, code) if pid == self.pid => return Ok(Some(code)),
                WaitStatus::Signaled(pid, ..) if pid == self.pid => return Ok(None),
                WaitStatus::PtraceSyscall(thread) => self.at_call(thread),
                WaitStatus::PtraceEvent(thread, ..) => ptrace::syscall(thread, None),
                WaitStatus::Stopped(thread, signal) => ptrace::syscall(thread, Some(signal)),
                _ => Ok(()),
            };
            match resumed {
                // It was killed meanwhile.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// At the beginning or the end of a call.
    fn at_call(&mut self, thread: Pid) -> nix::Result<()> {
        let mut registers = ptrace::getregs(thread)?;
        let state = self.threads.entry(thread).or_default();
        if let Some(inside) = state.inside.take() {
            if let Some((index, fate)) = inside {
                if let Fate::Fail(errno) = fate {
                    registers.rax = i64::from(-(errno as i32)).cast_unsigned();
                    ptrace::setregs(thread, registers)?;
                }
                if let Some(call) = self.calls.get_mut(index) {
                    call.answer = Some(registers.rax.cast_signed());
                }
                if fate == Fate::Tear {
                    return self.kill();
                }
            }
            return ptrace::syscall(thread, None);
        }
        let number = i64::try_from(registers.orig_rax).unwrap_or(-1);
        let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10];
        let Some(call) = self.describe(thread, number, arguments) else {
            self.threads.entry(thread).or_default().inside = Some(None);
            return ptrace::syscall(thread, None);
        };
        let fate = (self.judge)(&call);
        self.calls.push(call);
        match fate {
            Fate::Kill => return self.kill(),
            Fate::Fail(_) => {
                registers.orig_rax = u64::MAX;
                ptrace::setregs(thread, registers)?;
            }
            Fate::Tear => {
                registers.rdx /= 2;
                ptrace::setregs(thread, registers)?;
            }
            Fate::Pass => {}
        }
        self.threads.entry(thread).or_default().inside = Some(Some((self.calls.len() - 1, fate)));
        ptrace::syscall(thread, None)
    }

    /// Kills the program at once: the call that it stands before does not happen.
    fn kill(&self) -> nix::Result<()> {
        nix::sys::signal::kill(self.pid, Signal::SIGKILL)
    }

    /// The call, if it writes.
    fn describe(&self, thread: Pid, number: i64, arguments: [u64; 4]) -> Option<Call> {
        let kind = calls::kind(number, self.reads)?;
        let [first, second, third, fourth] = arguments;
        let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
        let text = |address: u64| read_text(&memory, address);
        let of = |descriptor: u64| descriptor_path(thread, descriptor);
        let at = |folder: u64, name: u64| {
            let name = text(name);
            if name.is_absolute() { name } else { of(folder).join(name) }
        };
        const HERE: u64 = libc::AT_FDCWD.cast_unsigned() as u64;
        let mut bytes = Vec::new();
        let mut to = None;
        let path = match kind.numbers {
            Numbers::Write | Numbers::WriteAt => {
                bytes = vec![0; usize::try_from(third).ok()?];
                memory.read_exact_at(&mut bytes, second).ok()?;
                of(first)
            }
            Numbers::Descriptor => of(first),
            Numbers::Path => at(HERE, first),
            Numbers::PathAt => at(first, second),
            Numbers::Open if second & calls::CREATES != 0 => at(HERE, first),
            Numbers::OpenAt if third & calls::CREATES != 0 => at(first, second),
            Numbers::Open | Numbers::OpenAt => return None,
            Numbers::TwoPaths => {
                to = Some(at(HERE, second));
                at(HERE, first)
            }
            Numbers::TwoPathsAt => {
                to = Some(at(third, fourth));
                at(first, second)
            }
            Numbers::TargetAt => at(second, third),
        };
        Some(Call { name: kind.name, path, to, bytes, answer: None, thread: thread.as_raw() })
    }
}

fn descriptor_path(thread: Pid, descriptor: u64) -> PathBuf {
    let descriptor = i64::from(u32::try_from(descriptor & 0xffff_ffff).unwrap_or(0).cast_signed());
    let link = if descriptor == i64::from(libc::AT_FDCWD) {
        format!("/proc/{thread}/cwd")
    } else {
        format!("/proc/{thread}/fd/{descriptor}")
    };
    std::fs::read_link(link).unwrap_or_default()
}

fn read_text(memory: &File, address: u64) -> PathBuf {
    let mut bytes = Vec::new();
    let mut piece = [0; 64];
    while bytes.len() < MAX_PATH {
        let at = address + bytes.len() as u64;
        // A page may end in the middle of a piece.
        let most = usize::try_from(4096 - at % 4096).unwrap_or(1).min(piece.len());
        match memory.read_at(&mut piece[..most], at) {
            Ok(read) if read > 0 => match piece[..read].iter().position(|byte| *byte == 0) {
                Some(end) => {
                    bytes.extend_from_slice(&piece[..end]);
                    break;
                }
                None => bytes.extend_from_slice(&piece[..read]),
            },
            _ => break,
        }
    }
    OsString::from_vec(bytes).into()
}
