//! The catalog in use, and what happens when it turns out to be unusable in the middle of work: one in memory takes its
//! place, filled from the index, and the bad one is deleted at the end. Nothing is lost by that but time.

use crate::base::event::Silent;
use crate::base::{Error, Kind, Observer, PackId, Result, Warning, WarningKind};
use crate::catalog::{Catalog, is_of_disk};
use crate::repo::Repo;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The catalog of an open repository.
#[derive(Debug)]
pub(crate) struct CatalogCell {
    current: RwLock<Arc<Catalog>>,
    bad: Mutex<Vec<Arc<Catalog>>>,
    untold: Mutex<Option<Warning>>,
    /// Packs that an index names and that are not there.
    missing: Mutex<Vec<PackId>>,
}

impl CatalogCell {
    pub(crate) fn new(catalog: Catalog) -> Self {
        Self {
            current: RwLock::new(Arc::new(catalog)),
            bad: Mutex::default(),
            untold: Mutex::default(),
            missing: Mutex::default(),
        }
    }
}

/// The warning that a catalog cannot be kept because of its disk.
pub(crate) fn cache_failed(folder: Option<&str>, why: &str) -> Warning {
    let place = folder.map(|folder| format!(" in {folder}")).unwrap_or_default();
    Warning {
        kind: WarningKind::CacheFailed,
        path: None,
        message: format!(
            "The cache{place} could not be written, because its disk is full or does not work: {why}"
        ),
    }
}

impl Drop for CatalogCell {
    fn drop(&mut self) {
        for catalog in std::mem::take(&mut *self.bad.lock().unwrap_or_else(PoisonError::into_inner)) {
            if let Ok(catalog) = Arc::try_unwrap(catalog) {
                // Where it cannot be deleted now, the next program that opens it finds it bad again.
                let _tried = catalog.destroy();
            }
        }
    }
}

impl Repo {
    /// The catalog in use.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.local.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Works with the catalog; if that fails because of the catalog itself, once more with a new one.
    pub(crate) fn with_catalog<T>(&self, work: impl Fn(&Catalog) -> Result<T>) -> Result<T> {
        let catalog = self.catalog();
        match work(&catalog) {
            Err(e) if e.kind() == Kind::Catalog && !catalog.is_in_memory() => {
                self.replace_catalog(&catalog, &e)?;
                drop(catalog);
                work(&self.catalog())
            }
            other => other,
        }
    }

    fn replace_catalog(&self, bad: &Arc<Catalog>, why: &Error) -> Result<()> {
        let mut current = self.local.current.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, bad) {
            return Ok(());
        }
        let (fresh, _) = Catalog::open(None, &self.sealer.repo, self.sealer.bundle.mac_key())?;
        self.load_index_into(&fresh, &Silent)?;
        let old = std::mem::replace(&mut *current, Arc::new(fresh));
        old.distrust();
        if is_of_disk(why) {
            // The catalog itself may be sound: the next run finds out.
            self.cache_failed(&old, why);
            return Ok(());
        }
        self.local.bad.lock().unwrap_or_else(PoisonError::into_inner).push(old);
        self.tell_later(Warning {
            kind: WarningKind::CatalogRebuilt,
            path: None,
            message: format!("The local catalog is damaged and will be made anew: {}", why.full_text()),
        });
        Ok(())
    }

    /// Has the observer told later that the disk of a catalog's folder is full or broken.
    fn cache_failed(&self, catalog: &Catalog, why: &Error) {
        self.tell_later(cache_failed(catalog.location().as_deref(), &why.full_text()));
    }

    /// The rest of a failure of the catalog that only costs time: told if it is the disk's.
    pub(crate) fn only_costs_time<T>(&self, result: Result<T>) {
        if let Err(e) = result
            && is_of_disk(&e)
        {
            self.cache_failed(&self.catalog(), &e);
        }
    }

    /// Ends the catalog's part of a run whose other parts are done.
    pub(crate) fn settle_catalog(&self) {
        self.only_costs_time(self.catalog().settle());
    }

    fn tell_later(&self, warning: Warning) {
        *self.local.untold.lock().unwrap_or_else(PoisonError::into_inner) = Some(warning);
    }

    /// Has packs forgotten that are not there, also by every later loading of the index in this run.
    pub(crate) fn miss(&self, packs: Vec<PackId>) -> Result<()> {
        // What rests on them is forgotten with them: asked now, or never.
        let touched = self.with_catalog(|catalog| catalog.resting_on(&catalog.blobs_of(&packs)?))?;
        *self.local.missing.lock().unwrap_or_else(PoisonError::into_inner) = packs;
        self.with_catalog(|catalog| self.drop_missing(catalog))?;
        let mut lost = Vec::new();
        for (kind, id) in touched {
            if !self.with_catalog(|catalog| catalog.contains(kind, &id))? {
                lost.push((kind, id));
            }
        }
        self.note_lost(lost);
        Ok(())
    }

    /// The packs that an index names and that are not there.
    pub(crate) fn missing_packs(&self) -> Vec<PackId> {
        self.local.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn drop_missing(&self, catalog: &Catalog) -> Result<()> {
        let missing = self.local.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.is_empty() { Ok(()) } else { catalog.drop_packs(&missing) }
    }

    /// Tells the observer, once, what came up where nobody listened: that the catalog had to be replaced, or that this
    /// user may not read something.
    pub(crate) fn tell_pending(&self, observer: &dyn Observer) {
        if let Some(warning) = self.take_denied() {
            observer.warn(&warning);
        }
        if let Some(warning) = self.local.untold.lock().unwrap_or_else(PoisonError::into_inner).take() {
            observer.warn(&warning);
        }
    }
}
