//! What a caller may ask of a restore.

use crate::base::StoredPath;
use crate::filter::Patterns;
use crate::source::Owners;
use std::path::PathBuf;

/// What to restore, where to, and what may happen there.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// The folder that gets the files; made if it is not there.
    pub target: PathBuf,
    /// Only this path: the content of a folder, or the file itself, straight into the target. Without it everything,
    /// under the stored paths.
    pub path: Option<StoredPath>,
    /// The folder of the repository, if it is on this machine: the target must not lie in it, and nothing comes into it.
    pub repository: Option<PathBuf>,
    /// Only what these fit, with all that lies below, and the folders on the way there; without patterns everything.
    pub include: Patterns,
    /// Not what these fit, nor what lies below.
    pub exclude: Patterns,
    /// What happens to what stands in the way.
    pub overwrite: Overwrite,
    /// Removes from restored folders what the snapshot does not have there.
    pub delete: bool,
    /// Files and folders that are never removed, whatever the snapshot has.
    pub protected: Vec<PathBuf>,
    /// Reads every restored file again from the disk.
    pub verify: bool,
    /// Makes holes of all blocks of zeroes, not only of those that were holes.
    pub sparse: bool,
    /// Whose the restored entries are.
    pub ownership: Ownership,
    /// Restores pipes, sockets and devices too.
    pub special: bool,
    /// Overwrites and deletes also what is in no snapshot.
    pub discard: bool,
    /// The sources come back to where they were, and the target is `/`: what is only there must not be overwritten either.
    pub in_place: bool,
    /// Reads what may be overwritten, so that the plan names what really changes and what would be lost.
    pub compare: bool,
    /// Writes into folders that an app may be using.
    pub force: bool,
}

/// What happens to what stands in the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// Nothing is restored at all if anything stands in the way.
    #[default]
    Refuse,
    /// It is replaced, unless it is a file whose content, read and compared, is the stored one already.
    Always,
    /// As [`Overwrite::Always`], but a file of the stored size and time counts as the stored one without being read.
    IfChanged,
    /// It is replaced if it is older than what was stored.
    IfNewer,
    /// It stays.
    Never,
}

/// Whose the restored entries are.
#[derive(Clone, Debug, Default)]
pub enum Ownership {
    /// Whoever restores. Bits that lend an owner's rights are not set.
    #[default]
    Own,
    /// The stored owner and group by name where this machine has the name, else by number.
    Names(Owners),
    /// The stored owner and group by number.
    Numbers,
}
