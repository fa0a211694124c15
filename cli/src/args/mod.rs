//! What the command line can say, as clap and as values. Knows no repository.

pub(crate) mod filter;
pub(crate) mod global;
pub(crate) mod new_secret;
pub(crate) mod patterns;
pub(crate) mod secret;
pub(crate) mod select;
pub(crate) mod size;
pub(crate) mod strength;
pub(crate) mod tag;
pub(crate) mod time;
