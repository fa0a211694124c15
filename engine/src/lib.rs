//! chatvault's engine: encrypted, deduplicated, incremental snapshots of folders of chat databases and media.
//!
//! The modules stand in the order of their layers; each imports lower ones only (`docs/architecture.md`). The engine
//! never prints, prompts, or reads the clock, the environment or the home folder: all of that is handed to it.

pub mod base;

pub mod chunk;
pub mod codec;
pub mod crypto;
pub mod filter;
pub mod model;
pub mod sys;

pub mod format;
pub mod sqlite;
pub mod store;

pub mod catalog;
pub mod source;

pub mod repo;

pub mod rules;

pub mod backup;
pub mod browse;
pub mod diff;
pub mod restore;
