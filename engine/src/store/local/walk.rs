//! L2: all files below a folder of the store.

use super::files::{self, Look};
use crate::base::path::clean;
use crate::base::{Error, Result, Timestamp};
use crate::store::ObjectName;
use crate::store::name::is_segment;
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

/// Calls `visit` for each file below a folder, which is named with a trailing slash or empty for the root. A missing
/// folder is empty. What is neither file nor folder but bears an object's name is an error, because leaving it out
/// would make a store look smaller than it is.
pub(super) fn files(root: &File, below: &str, visit: &mut dyn FnMut(&Place<'_>) -> Result<()>) -> Result<()> {
    let opened = root.try_clone().and_then(|mut folder| {
        for segment in below.split('/').filter(|segment| !segment.is_empty()) {
            folder = files::open_folder(&folder, segment)?;
        }
        Ok(folder)
    });
    match opened {
        Ok(folder) => walk(&folder, below, visit),
        Err(e) => missing_is_empty(below, e),
    }
}

fn walk(folder: &File, folder_name: &str, visit: &mut dyn FnMut(&Place<'_>) -> Result<()>) -> Result<()> {
    let names = match files::entries(folder) {
        Ok(names) => names,
        Err(e) => return missing_is_empty(folder_name, e),
    };
    let depth = folder_name.matches('/').count();
    for name in &names {
        let full = || format!("{folder_name}{}", clean(name));
        let is_object_name = std::str::from_utf8(name).is_ok_and(is_segment);
        match files::look(folder, name) {
            Ok(Look::File { size, modified }) => visit(&Place { folder, folder_name, name, size, modified })?,
            Ok(Look::Folder) if is_object_name && depth + 1 < ObjectName::MAX_SEGMENTS => {
                let below = full();
                match files::open_folder(folder, &clean(name)) {
                    Ok(opened) => walk(&opened, &format!("{below}/"), visit)?,
                    Err(e) => missing_is_empty(&below, e)?,
                }
            }
            Ok(Look::Special) if is_object_name => return Err(no_plain_file(&full())),
            Ok(Look::Folder | Look::Special) => {}
            // Somebody removed it meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("look at", full(), e)),
        }
    }
    Ok(())
}

fn missing_is_empty(folder: &str, e: io::Error) -> Result<()> {
    match e.kind() {
        io::ErrorKind::NotFound => Ok(()),
        io::ErrorKind::NotADirectory => Err(no_plain_file(folder)),
        _ => Err(Error::io("list folder", folder, e)),
    }
}

fn no_plain_file(name: &str) -> Error {
    let why = "it is neither a plain file nor a plain folder (links in a repository are not followed)";
    Error::damaged("list", name, why)
}
