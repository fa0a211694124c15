//! L2: open files, so that a restore that reads thousands of ranges opens each pack once.

use crate::store::ObjectName;
use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most files held open.
pub(super) const MAX_OPEN: usize = 64;

/// An open object and its length in bytes.
pub(super) type OpenFile = Arc<(File, u64)>;

/// The objects read last.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: HashMap<ObjectName, (u64, OpenFile)>,
    uses: u64,
}

impl OpenFiles {
    /// An object if it is open.
    pub(super) fn get(&self, name: &ObjectName) -> Option<OpenFile> {
        let state = &mut *self.state();
        state.uses += 1;
        let (last_use, file) = state.files.get_mut(name)?;
        *last_use = state.uses;
        Some(Arc::clone(file))
    }

    /// Keeps an object open; the one that was not used for longest goes.
    pub(super) fn put(&self, name: &ObjectName, file: &OpenFile) {
        let state = &mut *self.state();
        state.uses += 1;
        state.files.insert(name.clone(), (state.uses, Arc::clone(file)));
        if state.files.len() > MAX_OPEN
            && let Some(oldest) =
                state.files.iter().min_by_key(|(_, (last_use, _))| *last_use).map(|(name, _)| name.clone())
        {
            state.files.remove(&oldest);
        }
    }

    /// Closes an object.
    pub(super) fn forget(&self, name: &ObjectName) {
        self.state().files.remove(name);
    }

    /// Number of open files.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state().files.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
