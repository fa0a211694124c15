//! Questions to a person. None is asked where nobody can answer.

use crate::exit::Condition;
use crate::output::error::{Failure, Result};
use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroizing;

/// The terminal of this process, whatever its streams are.
const TERMINAL: &str = "/dev/tty";

/// True if somebody can be asked: there is a terminal, and standard input or the messages are on one. Standard input may
/// be the content that is to be stored.
pub(crate) fn is_possible() -> bool {
    (io::stdin().is_terminal() || io::stderr().is_terminal())
        && OpenOptions::new().read(true).write(true).open(TERMINAL).is_ok()
}

/// Somebody is being asked. It stays so if the question was interrupted: then the program ends.
static ASKING: AtomicBool = AtomicBool::new(false);

/// True while a question stands, which an interrupt ends together with the program.
pub(crate) fn is_asking() -> bool {
    ASKING.load(Ordering::SeqCst)
}

/// Asks for a password, which is not shown while it is typed.
pub(crate) fn password(question: &str) -> Result<Zeroizing<String>> {
    ASKING.store(true, Ordering::SeqCst);
    let typed = rpassword::prompt_password(format!("{question}: "));
    if typed.is_ok() {
        ASKING.store(false, Ordering::SeqCst);
    }
    typed.map(Zeroizing::new).map_err(|cause| {
        if cause.kind() == io::ErrorKind::Interrupted {
            return cancelled();
        }
        Failure::new(Condition::Failed, "Failed to read the password from the terminal")
            .because(cause)
            .with_hint("run this again, or give a file with `--password-file FILE`")
    })
}

/// The user wished to stop before anything was done.
pub(crate) fn cancelled() -> Failure {
    Failure::new(Condition::Cancelled, "Cancelled. Nothing was changed")
        .with_hint("run the same command again")
}
