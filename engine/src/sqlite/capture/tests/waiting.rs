//! Locks that somebody else has, changes while a database is read, limits.
