//! L5: decisions over manifests and records, without reading or writing anything.

pub mod lineage;
pub mod order;
