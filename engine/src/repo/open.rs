//! Opening: the config's clear part, a key slot, the config, then the catalog brought up to date with the index.

use crate::base::event::Silent;
use crate::base::path::clean;
use crate::base::{
    Error, IndexId, KeyId, Kind, Observer, Phase, RepoId, Result, Warning, WarningKind, Whose,
};
use crate::catalog::Catalog;
use crate::chunk::{Chunker, ChunkerParams};
use crate::crypto::slot::{Derivations, MAX_SLOT_LEN, claimed_kind, unwrap};
use crate::crypto::{Credential, ObjectType, SlotKind};
use crate::format::index::Index;
use crate::format::object::Sealer;
use crate::format::{Config, config, index};
use crate::model::BlobKind;
use crate::repo::local::{CatalogCell, cache_failed};
use crate::repo::objects::{check_name, read_mirrored};
use crate::repo::{Repo, Session};
use crate::store::{Listing, ObjectName, Store};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Most key slots of a repository.
const MAX_SLOTS: usize = 64;
/// The same words whatever was given and whatever was wrong about it: which slots there are is nobody's business.
const GIVEN: &str = "the password or key that was given";

/// What a credential opened.
pub(crate) struct Opened {
    pub(crate) sealer: Sealer,
    pub(crate) config: Config,
    /// The key slot that the credential opened.
    pub(crate) slot: KeyId,
}

impl Repo {
    /// Opens a repository.
    ///
    /// # Errors
    /// [`Kind::WrongKey`] if the credential opens no slot, [`Kind::NewerFormat`] if the format is not this program's.
    pub fn open(
        store: Arc<dyn Store>,
        credential: &Credential,
        session: Session,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let opened = unlock(store.as_ref(), credential, observer)?;
        // Not before: a person may be asked for the password again, and nothing may move on the screen meanwhile.
        observer.phase(Phase::Opening);
        opened.into_repo(store, session, observer)
    }

    /// Loads index objects that the catalog does not know; if it knows some that are gone, loads all of them anew.
    pub fn refresh(&self, observer: &dyn Observer) -> Result<()> {
        self.with_catalog(|catalog| self.load_index_into(catalog, observer))
    }

    pub(crate) fn load_index_into(&self, catalog: &Catalog, observer: &dyn Observer) -> Result<()> {
        // In this order: an index that another program adds to both in between is not taken for gone.
        let mut known = catalog.known_indexes()?;
        let listing = self.store.list("index")?;
        warn_of_unreadable(&listing, observer);
        let present: HashSet<IndexId> = ids(&listing, IndexId::from_hex);
        let gone = known.iter().filter(|id| !listing.may_hold(&ObjectName::index(id))).count();
        let elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).take();
        if gone > 0 {
            observer.warn(&lacking(gone, elsewhere));
            catalog.clear_blobs()?;
            known.clear();
        }
        let missing = self.missing_packs();
        let (mut baseless, mut is_denied) = (0, is_denied(&listing));
        for id in present.iter().filter(|id| !known.contains(id)) {
            self.session.cancel.check()?;
            match self.read_index(id) {
                Ok(mut index) => {
                    // Not even for a moment: another thread would take what they held for stored.
                    index.packs.retain(|pack| !missing.contains(&pack.pack));
                    baseless += catalog.add_index(id, &index.packs)?;
                }
                Err(e) if e.is_unreadable() => {
                    is_denied |= e.kind() == Kind::Denied;
                    let what = "An index object cannot be used; what only it lists is not found";
                    observer.warn(&Warning::of_unreadable(None, what, &e));
                }
                // Another run replaced it since it was listed.
                Err(e) if e.kind() == Kind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        if is_denied {
            self.note_denied_index();
        }
        // Index objects are read in any order: only now it is known which bases are not there.
        if baseless > 0 {
            catalog.drop_orphans()?;
        }
        self.drop_missing(catalog)
    }

    fn read_index(&self, id: &IndexId) -> Result<Index> {
        let object = self.store.get(&ObjectName::index(id), index::MAX_LEN)?;
        let subject = id.short();
        check_name(&object, id.as_bytes(), "read index", &subject)?;
        Index::decode(&self.sealer.open(ObjectType::Index, &object, &subject)?)
    }
}

/// Index objects that this machine has seen are not there: lost, unless it has seen them in another copy.
fn lacking(gone: usize, elsewhere: Option<String>) -> Warning {
    let what = if gone == 1 { "an index object".to_owned() } else { format!("{gone} index objects") };
    let (kind, message) = match elsewhere {
        Some(place) => (
            WarningKind::OtherCopy,
            format!(
                "This machine used a copy of this repository at {place} last, and that has {what} that this one lacks: nothing \
                 is wrong if this one is older"
            ),
        ),
        None => (
            WarningKind::Damaged,
            format!(
                "The repository lacks {what} that this machine has seen: if this is no older copy of it, they are lost, and the \
                 next snapshot looks for the packs that they named"
            ),
        ),
    };
    Warning { kind, path: None, message }
}

impl Opened {
    pub(crate) fn into_repo(
        self,
        store: Arc<dyn Store>,
        session: Session,
        observer: &dyn Observer,
    ) -> Result<Repo> {
        let Self { sealer, config, slot } = self;
        let folder = session.cache_dir.as_ref().map(|dir| dir.join(sealer.repo.to_string()));
        let (catalog, reason) = Catalog::open(folder.as_deref(), &sealer.repo, sealer.bundle.mac_key())?;
        if let Some(why) = reason {
            warn_catalog(observer, &catalog, folder.as_deref(), &why);
        }
        let location = store.location();
        let elsewhere = catalog.last_location().filter(|last| *last != location);
        let noted = catalog.note_use(&location);
        let params = ChunkerParams { min: config.chunk_min, avg: config.chunk_avg, max: config.chunk_max };
        let chunker = Arc::new(Chunker::new(params, sealer.bundle.gear_table())?);
        let id_keys = BlobKind::ALL.map(|kind| sealer.bundle.id_key(kind));
        let repo = Repo {
            store,
            sealer,
            config,
            slot,
            local: CatalogCell::new(catalog),
            session,
            chunker,
            id_keys,
            decompressors: Mutex::default(),
            events: Mutex::default(),
            fresh: Mutex::default(),
            elsewhere: Mutex::new(elsewhere),
            lost: Mutex::default(),
        };
        repo.only_costs_time(noted);
        repo.refresh(observer)?;
        repo.tell_pending(observer);
        Ok(repo)
    }
}

fn warn_catalog(observer: &dyn Observer, catalog: &Catalog, folder: Option<&Path>, why: &str) {
    if catalog.disk_failed() {
        let folder = folder.map(|folder| clean(folder.as_os_str().as_bytes()));
        return observer.warn(&cache_failed(folder.as_deref(), why));
    }
    let what = if catalog.is_in_memory() { "cannot be kept" } else { "was made anew" };
    let message = format!("The local catalog {what}: {why}");
    observer.warn(&Warning { kind: WarningKind::CatalogRebuilt, path: None, message });
}

/// Proves that a credential opens a repository: a slot and the config, nothing else. Stores nothing.
pub fn verify_credential(store: &dyn Store, credential: &Credential) -> Result<RepoId> {
    Ok(unlock(store, credential, &Silent)?.sealer.repo)
}

/// What the key slots of a repository say opens it, each kind once. Nobody vouches for that: it is good for a question to
/// a person only.
///
/// # Errors
/// Fails if the slots cannot be listed.
pub fn claimed_kinds(store: &dyn Store) -> Result<Vec<SlotKind>> {
    let mut kinds = Vec::new();
    for (_, slot) in read_slots(store)?.readable {
        kinds.extend(claimed_kind(&slot).filter(|kind| !kinds.contains(kind)));
    }
    Ok(kinds)
}

fn unlock(store: &dyn Store, credential: &Credential, observer: &dyn Observer) -> Result<Opened> {
    // Each copy of the config is tried as a whole: what it says before a key is there may be altered.
    let Slots { readable: slots, unreadable } = read_slots(store)?;
    let derivations = RefCell::new(Derivations::default());
    read_mirrored(store, &ObjectName::config(), config::MAX_LEN, observer, |object| {
        let repo = config::repository_id(object)?;
        let (slot, sealer) =
            open_slots(&repo, &slots, unreadable.as_ref(), credential, &mut derivations.borrow_mut())?;
        let config = Config::open(&sealer, object)?;
        Ok(Opened { sealer, config, slot })
    })
    .map_err(|e| {
        if e.kind() == Kind::NotFound {
            Error::new(Kind::NoRepository, "open the repository at", store.location()).because(e)
        } else {
            e
        }
    })
}

/// Tries the credential once on each slot.
fn open_slots(
    repo: &RepoId,
    slots: &[(KeyId, Vec<u8>)],
    unreadable: Option<&Error>,
    credential: &Credential,
    derivations: &mut Derivations,
) -> Result<(KeyId, Sealer)> {
    if slots.is_empty() {
        let (kind, why) = match unreadable {
            Some(e) => (e.kind(), format!("no key slot can be read: {}", e.full_text())),
            None => (Kind::Damaged, "no key slot can be read".to_owned()),
        };
        return Err(Error::new(kind, "open the repository with", GIVEN).because(why).of(Whose::Repository));
    }
    let mut damaged = unreadable.map(Error::full_text);
    for (id, slot) in slots {
        match unwrap(repo, credential, derivations, slot, &id.short()) {
            Ok(Some(bundle)) => return Ok((*id, Sealer::new(*repo, bundle))),
            Ok(None) => {}
            Err(e) if matches!(e.kind(), Kind::Damaged | Kind::NewerFormat) => damaged = Some(e.full_text()),
            Err(e) => return Err(e),
        }
    }
    let wrong = Error::new(Kind::WrongKey, "open the repository with", GIVEN);
    Err(match damaged {
        Some(why) => wrong.because(format!("it does not open it, and a key slot cannot be read: {why}")),
        None => wrong.because("it does not open it"),
    })
}

/// The key slots of a repository.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Those whose bytes are what their names stand for, from both copies, in a stable order.
    pub(crate) readable: Vec<(KeyId, Vec<u8>)>,
    /// Why one of the others cannot be read, if there is one of which no copy can.
    pub(crate) unreadable: Option<Error>,
}

/// Reads all key slots.
pub(crate) fn read_slots(store: &dyn Store) -> Result<Slots> {
    let mut slots = BTreeMap::new();
    let mut failed: BTreeMap<Option<KeyId>, Error> = BTreeMap::new();
    let too_many = || Error::damaged("read", "the key slots", format!("there are more than {MAX_SLOTS}"));
    for prefix in ["keys", "mirror/keys"] {
        let listing = store.list(prefix)?;
        for unreadable in listing.unreadable {
            failed.entry(None).or_insert(unreadable.error);
        }
        for info in listing.objects {
            let Some(id) = info.name.as_str().rsplit('/').next().and_then(KeyId::from_hex) else { continue };
            if slots.contains_key(&id) {
                continue;
            }
            // Whoever can write to the store could make each attempt as long as he likes.
            if slots.len() >= MAX_SLOTS {
                return Err(too_many());
            }
            let read = store.get(&info.name, MAX_SLOT_LEN).and_then(|bytes| {
                check_name(&bytes, id.as_bytes(), "read key slot", &id.short()).map(|()| bytes)
            });
            match read {
                Ok(bytes) => {
                    slots.insert(id, bytes);
                }
                Err(e) if e.kind() == Kind::Gone => return Err(e),
                Err(e) => {
                    failed.entry(Some(id)).or_insert(e);
                }
            }
        }
    }
    // A folder that nobody could look into hides nothing if the other copy of it could be listed.
    let folder = failed.remove(&None).filter(|_| slots.is_empty());
    failed.retain(|id, _| id.is_some_and(|id| !slots.contains_key(&id)));
    let unreadable = failed.into_values().next().or(folder);
    Ok(Slots { readable: slots.into_iter().collect(), unreadable })
}

/// True if this user may not look at some of what was to be listed.
pub(crate) fn is_denied(listing: &Listing) -> bool {
    listing.unreadable.iter().any(|unreadable| unreadable.error.kind() == Kind::Denied)
}

/// Tells what a listing could not look at.
pub(crate) fn warn_of_unreadable(listing: &Listing, observer: &dyn Observer) {
    for unreadable in &listing.unreadable {
        let what = "Part of the repository cannot be listed, what is there is not found";
        observer.warn(&Warning::of_unreadable(None, what, &unreadable.error));
    }
}

/// The ids that the names of a listing end in; other names are ignored.
pub(crate) fn ids<T: Eq + std::hash::Hash>(
    listing: &Listing,
    parse: impl Fn(&str) -> Option<T>,
) -> HashSet<T> {
    listing.objects.iter().filter_map(|info| parse(info.name.last())).collect()
}
