//! Databases on a medium, and in a folder, where nothing can be written.

use crate::app::App;
use crate::judge::judge;
use crate::take::take;
use crate::{Case, Outcome};
use chatvault_engine::sqlite::capture::Sidecar;
use chatvault_tests::sqlite::beside;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

pub const ROLE: &str = "--play-capture";

pub const CASES: &[Case] = &[("medium::a_medium_that_cannot_be_written_is_read", read_only)];

/// Captures one database and writes the image out.
pub fn play(path: &str) -> ExitCode {
    let path = Path::new(path);
    if std::fs::File::create(path.with_file_name("new")).is_ok() {
        return ExitCode::FAILURE;
    }
    let captured = take(path, &mut |_| {}).unwrap();
    std::io::stdout().write_all(&captured.value).unwrap();
    ExitCode::SUCCESS
}

fn read_only() -> Outcome {
    let unshare = |script: &str, folder: &Path, path: &Path| {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--propagation", "private", "--", "sh", "-euc", script, "sh"]);
        command.arg(folder).arg(std::env::current_exe().unwrap()).arg(ROLE).arg(path).stderr(Stdio::null());
        command.output()
    };
    let mount = "mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"; shift;";
    let nowhere = tempfile::tempdir().unwrap();
    let probe = unshare(&format!("{mount} true"), nowhere.path(), nowhere.path());
    if !probe.is_ok_and(|output| output.status.success()) {
        return Outcome::Ignored("nothing can be mounted here".to_owned());
    }
    let mut shown = 0;
    for pragmas in ["PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0", "PRAGMA journal_mode=DELETE"] {
        let mut app = App::with(pragmas);
        (0..10).for_each(|_| app.commit());
        app.say("PRAGMA cache_size=5; BEGIN; UPDATE message SET text = hex(randomblob(61))");
        app.kill();
        let folder = app.path.parent().unwrap();
        for with_index in [true, false] {
            if !with_index {
                let _ = std::fs::remove_file(beside(&app.path, Sidecar::Shm));
            }
            let output = unshare(&format!("{mount} exec \"$@\""), folder, &app.path).unwrap();
            assert!(output.status.success(), "{pragmas}");
            assert_eq!(judge(&output.stdout).unwrap().commit, 10, "{pragmas}");
            shown += 1;
        }
    }
    Outcome::Passed(format!("{shown} databases of killed apps, with and without an index"))
}
