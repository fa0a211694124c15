//! What is said of a path that a snapshot does not hold.

use crate::output::error::Failure;
use chatvault_engine::base::{Error, Kind, StoredPath};
use chatvault_engine::repo::Snapshot;

/// Most sources of a snapshot that are named.
const MOST_SOURCES: usize = 3;

/// The failure of looking for this path in this snapshot. Who wrote it as a shell takes it, or as it was shown, hears what
/// to write instead.
pub(crate) fn not_held(error: Error, snapshot: &Snapshot, path: Option<&StoredPath>) -> Failure {
    let path = path.filter(|_| error.kind() == Kind::NotFound && error.act() == "find");
    let failure = Failure::from(error);
    match path.and_then(|path| advice(&snapshot.id.short(), &snapshot.manifest.paths, path)) {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

fn advice(id: &str, sources: &[StoredPath], path: &StoredPath) -> Option<String> {
    if path.as_bytes().windows(2).any(|pair| pair == b"\\x") {
        return Some(
            "a byte that is no text is shown as \\xNN and cannot be given so: name the folder, or restore with \
             --include and a ? for each such byte, as in --include 'caf?.jpg'"
                .to_owned(),
        );
    }
    if sources.iter().any(|source| path.is_within(source) || source.is_within(path)) {
        return None;
    }
    let mut names: Vec<String> = sources.iter().take(MOST_SOURCES).map(ToString::to_string).collect();
    if sources.len() > MOST_SOURCES {
        names.push("others".to_owned());
    }
    let home = path.components().next().is_some_and(|first| first.starts_with(b"~"));
    let home = if home { " (`~` is not your home there)" } else { "" };
    Some(format!(
        "write the whole path{home}: this snapshot is of {}; `{{chatvault}} ls {id}` shows what is in it",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_fits_what_was_written() {
        let path = |text: &str| StoredPath::parse(text.as_bytes()).unwrap();
        let sources = ["/home/ann/WhatsApp", "/b", "/c", "/d"].map(path);
        let of = |text: &str| advice("3fa1", &sources, &path(text));
        assert_eq!(
            of("~/WhatsApp").unwrap(),
            "write the whole path (`~` is not your home there): this snapshot is of /home/ann/WhatsApp, /b, /c, others; \
             `{chatvault} ls 3fa1` shows what is in it"
        );
        assert!(of("WhatsApp").unwrap().starts_with("write the whole path: this"));
        assert!(of("/b/caf\\xe9.jpg").unwrap().contains("--include 'caf?.jpg'"));
        assert_eq!((of("/b/x"), of("/home/ben")), (None, Some(of("/x").unwrap())));
    }
}
