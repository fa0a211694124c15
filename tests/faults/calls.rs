//! The system calls that change a file system, and where their arguments stand.

use nix::libc;

/// Flags with which an opening makes or empties a file.
pub const CREATES: u64 = (libc::O_CREAT | libc::O_TRUNC).cast_unsigned() as u64;

/// What the arguments of a call are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Descriptor, bytes, length.
    Write,
    /// The same and an offset.
    WriteAt,
    /// Descriptor.
    Descriptor,
    /// Path.
    Path,
    /// Folder, path.
    PathAt,
    /// Path, flags.
    Open,
    /// Folder, path, flags.
    OpenAt,
    /// Path, path.
    TwoPaths,
    /// Folder, path, folder, path.
    TwoPathsAt,
    /// A text, then folder, path.
    TargetAt,
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub struct CallKind {
    number: i64,
    /// Its name.
    pub name: &'static str,
    /// Its arguments.
    pub numbers: Numbers,
}

const fn call(number: i64, name: &'static str, numbers: Numbers) -> CallKind {
    CallKind { number, name, numbers }
}

/// All of them.
const WRITING: [CallKind; 36] = [
    call(libc::SYS_write, "write", Numbers::Write),
    call(libc::SYS_pwrite64, "pwrite64", Numbers::WriteAt),
    call(libc::SYS_writev, "writev", Numbers::Descriptor),
    call(libc::SYS_pwritev, "pwritev", Numbers::Descriptor),
    call(libc::SYS_pwritev2, "pwritev2", Numbers::Descriptor),
    call(libc::SYS_copy_file_range, "copy_file_range", Numbers::Descriptor),
    call(libc::SYS_sendfile, "sendfile", Numbers::Descriptor),
    call(libc::SYS_fallocate, "fallocate", Numbers::Descriptor),
    call(libc::SYS_ftruncate, "ftruncate", Numbers::Descriptor),
    call(libc::SYS_truncate, "truncate", Numbers::Path),
    call(libc::SYS_fsync, "fsync", Numbers::Descriptor),
    call(libc::SYS_fdatasync, "fdatasync", Numbers::Descriptor),
    call(libc::SYS_syncfs, "syncfs", Numbers::Descriptor),
    call(libc::SYS_sync_file_range, "sync_file_range", Numbers::Descriptor),
    call(libc::SYS_open, "open", Numbers::Open),
    call(libc::SYS_openat, "openat", Numbers::OpenAt),
    call(libc::SYS_creat, "creat", Numbers::Path),
    call(libc::SYS_rename, "rename", Numbers::TwoPaths),
    call(libc::SYS_renameat, "renameat", Numbers::TwoPathsAt),
    call(libc::SYS_renameat2, "renameat2", Numbers::TwoPathsAt),
    call(libc::SYS_link, "link", Numbers::TwoPaths),
    call(libc::SYS_linkat, "linkat", Numbers::TwoPathsAt),
    call(libc::SYS_symlink, "symlink", Numbers::TwoPaths),
    call(libc::SYS_symlinkat, "symlinkat", Numbers::TargetAt),
    call(libc::SYS_unlink, "unlink", Numbers::Path),
    call(libc::SYS_unlinkat, "unlinkat", Numbers::PathAt),
    call(libc::SYS_rmdir, "rmdir", Numbers::Path),
    call(libc::SYS_mkdir, "mkdir", Numbers::Path),
    call(libc::SYS_mkdirat, "mkdirat", Numbers::PathAt),
    call(libc::SYS_chmod, "chmod", Numbers::Path),
    call(libc::SYS_fchmod, "fchmod", Numbers::Descriptor),
    call(libc::SYS_fchmodat, "fchmodat", Numbers::PathAt),
    call(libc::SYS_fchown, "fchown", Numbers::Descriptor),
    call(libc::SYS_fchownat, "fchownat", Numbers::PathAt),
    call(libc::SYS_utimensat, "utimensat", Numbers::PathAt),
    call(libc::SYS_fsetxattr, "fsetxattr", Numbers::Descriptor),
];

/// Those that read.
const READING: [CallKind; 2] = [
    call(libc::SYS_read, "read", Numbers::Descriptor),
    call(libc::SYS_pread64, "pread64", Numbers::Descriptor),
];

/// The call of this number, if it writes, or if those are wanted that read.
pub fn kind(number: i64, reads: bool) -> Option<CallKind> {
    let reading = READING.iter().filter(|_| reads);
    reading.chain(&WRITING).find(|kind| kind.number == number).copied()
}
