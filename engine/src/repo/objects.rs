//! Small objects with a second copy: config, key slots, manifests, events. The first copy is used unless it is missing
//! or damaged; then the mirror is.

use crate::base::{Error, Kind, Observer, Result, Warning, WarningKind, hash};
use crate::store::{ObjectName, Store};

/// Reads an object, checking each copy with `check` until one passes. A copy that fails is told to the observer.
///
/// # Errors
/// [`Kind::NotFound`] if there is no copy; [`Kind::Denied`] if this user may not read one that may be whole; else the first
/// copy's error if no copy passes.
pub fn read_mirrored<T>(
    store: &dyn Store,
    name: &ObjectName,
    max_len: u64,
    observer: &dyn Observer,
    check: impl Fn(&[u8]) -> Result<T>,
) -> Result<T> {
    let read = |name: &ObjectName| store.get(name, max_len).and_then(|bytes| check(&bytes));
    let first = match read(name) {
        Ok(value) => return Ok(value),
        // A cancelled run or a full machine is no reason to look elsewhere. An altered byte in the clear part of a first
        // copy can look like a newer format, or like another repository, whose key does not fit.
        Err(e) if ends_the_run(e.kind()) => return Err(e),
        Err(e) => e,
    };
    match read(&name.mirror()) {
        Ok(value) => {
            let kind = match first.kind() {
                Kind::Denied => WarningKind::Denied,
                _ => WarningKind::MirrorUsed,
            };
            let message = format!(
                "The first copy of {name} cannot be used; its second copy was used: {}",
                first.full_text()
            );
            observer.warn(&Warning { kind, path: None, message });
            Ok(value)
        }
        Err(e) if ends_the_run(e.kind()) || e.kind() == Kind::Denied || first.kind() == Kind::NotFound => {
            Err(e)
        }
        Err(_) => Err(first),
    }
}

/// True for failures that are no reason to look for another copy.
fn ends_the_run(kind: Kind) -> bool {
    matches!(kind, Kind::Cancelled | Kind::NoSpace | Kind::Catalog | Kind::Internal | Kind::Gone)
}

/// Refuses bytes whose BLAKE3 is not the name under which they lie.
pub fn check_name(bytes: &[u8], expected: &[u8; 32], act: &str, subject: &str) -> Result<()> {
    if hash::digest(bytes) == *expected {
        Ok(())
    } else {
        Err(Error::damaged(act, subject, "its bytes are not those that its name stands for"))
    }
}
