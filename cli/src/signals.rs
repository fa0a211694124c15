//! Interrupt, hang-up and termination: the first one asks the run to stop, the second one ends it at once.
//!
//! Ending at once is safe: a killed run leaves nothing but garbage that the next one uses or passes over.

use crate::exit::Condition;
use crate::output::{Ui, prompt};
use crate::process;
use chatvault_engine::base::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;

/// Begins to listen. A signal that this process was told to ignore stays ignored.
pub(crate) fn listen(cancel: &Cancel, ui: &Arc<Ui>) {
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !process::ignores(*signal));
    // Without handlers the signals end the program as the system does it, which is safe too.
    let Ok(mut signals) = Signals::new(wanted) else { return };
    let (cancel, ui) = (cancel.clone(), Arc::clone(ui));
    let listener = std::thread::Builder::new().name("signals".to_owned());
    let _not_started_is_safe = listener.spawn(move || {
        for _ in signals.forever() {
            if cancel.is_cancelled() {
                end_at_once();
            }
            let is_asking = prompt::is_asking();
            cancel.cancel();
            if !is_asking {
                ui.status("Stopping; once more ends it at once.");
            }
        }
    });
}

#[expect(clippy::exit, reason = "the user asked twice; nothing that must be tidied up is held")]
fn end_at_once() -> ! {
    std::process::exit(i32::from(Condition::Cancelled.code()))
}
