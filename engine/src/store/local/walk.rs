//! L2: all files below a folder of the store.

use super::failure;
use super::files::{self, Look};
use crate::base::path::clean;
use crate::base::{Error, Result, Timestamp};
use crate::store::name::is_segment;
use crate::store::{ObjectName, UnreadableName};
use crate::sys;
use std::fs::File;
use std::io;

/// A file that was found.
pub(super) struct Place<'w> {
    /// The folder that holds it.
    pub(super) folder: &'w File,
    /// That folder's name within the store, with a trailing slash unless it is the root.
    pub(super) folder_name: &'w str,
    /// The file's name, of any bytes.
    pub(super) name: &'w [u8],
    /// Bytes.
    pub(super) size: u64,
    /// Last change.
    pub(super) modified: Timestamp,
}

/// Calls `visit` for each file below a folder, which is named with a trailing slash or empty for the root, and says what
/// could not be looked at. A missing folder is empty. What is neither file nor folder but bears an object's name is an
/// error, because leaving it out would make a store look smaller than it is.
pub(super) fn files(
    place: failure::Place<'_>,
    below: &str,
    visit: &mut dyn FnMut(&Place<'_>) -> Result<()>,
) -> Result<Vec<UnreadableName>> {
    let mut walk = Walk { place, visit, unreadable: Vec::new() };
    match files::folder_of(place.root, below) {
        Ok((folder, _)) => walk.folder(&folder, below)?,
        Err(e) => walk.not_listed(below, e)?,
    }
    Ok(walk.unreadable)
}

struct Walk<'w> {
    place: failure::Place<'w>,
    visit: &'w mut dyn FnMut(&Place<'_>) -> Result<()>,
    unreadable: Vec<UnreadableName>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &File, folder_name: &str) -> Result<()> {
        let names = match files::entries(folder) {
            Ok(names) => names,
            Err(e) => return self.not_listed(folder_name, e),
        };
        let depth = folder_name.matches('/').count();
        for name in &names {
            let full = || format!("{folder_name}{}", clean(name));
            let is_object_name = std::str::from_utf8(name).is_ok_and(is_segment);
            match files::look(folder, name) {
                Ok(Look::File { size, modified }) => {
                    (self.visit)(&Place { folder, folder_name, name, size, modified })?;
                }
                Ok(Look::Folder) if is_object_name && depth + 1 < ObjectName::MAX_SEGMENTS => {
                    let below = format!("{}/", full());
                    match sys::open_folder_below(folder, name) {
                        Ok(opened) => self.folder(&opened, &below)?,
                        Err(e) => self.not_listed(&below, e)?,
                    }
                }
                Ok(Look::Special) if is_object_name => return Err(no_plain_file(&full())),
                Ok(Look::Folder | Look::Special) => {}
                // Somebody removed it meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => self.unreadable("look at", full(), e)?,
            }
        }
        Ok(())
    }

    fn not_listed(&mut self, folder: &str, e: io::Error) -> Result<()> {
        match e.kind() {
            io::ErrorKind::NotFound if self.place.is_in_place() => Ok(()),
            io::ErrorKind::NotADirectory => Err(no_plain_file(folder)),
            _ => self.unreadable("list folder", folder.to_owned(), e),
        }
    }

    /// One that cannot be looked at does not hide the others; everything else ends the listing.
    fn unreadable(&mut self, act: &str, name: String, e: io::Error) -> Result<()> {
        let shown = if name.is_empty() { "/" } else { &name };
        let error = self.place.read(act, shown, e);
        if !error.is_unreadable() {
            return Err(error);
        }
        self.unreadable.push(UnreadableName { name, error });
        Ok(())
    }
}

fn no_plain_file(name: &str) -> Error {
    let why = "it is neither a plain file nor a plain folder (links in a repository are not followed)";
    Error::damaged("list", name, why)
}
