//! Tests of the engine as a whole: one binary, one module for each subject. `docs/testing.md` says what each shows.

#[cfg(test)]
mod backup_restore;
#[cfg(test)]
mod between;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod databases;
#[cfg(test)]
mod document;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod lives;
#[cfg(test)]
mod model;
#[cfg(test)]
mod newer;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod source_text;
