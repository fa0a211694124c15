//! One difference between two trees.

use crate::base::StoredPath;
use crate::model::node::Node;

/// What happened to a path. The letters are those of restic's `diff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modifier {
    /// `+`: only in the second tree.
    Added,
    /// `-`: only in the first tree.
    Removed,
    /// `M`: the content differs (of a link: its target; of a device: its numbers).
    Modified,
    /// `U`: only the metadata differs (mode, owner, times).
    Metadata,
    /// `T`: it is another kind of thing.
    TypeChanged,
}

impl Modifier {
    /// The letter.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Modified => 'M',
            Self::Metadata => 'U',
            Self::TypeChanged => 'T',
        }
    }
}

/// One difference: at least one of the two nodes is there.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where.
    pub path: StoredPath,
    /// What happened.
    pub modifier: Modifier,
    /// The node in the first tree.
    pub before: Option<Node>,
    /// The node in the second tree.
    pub after: Option<Node>,
}
