//! Contracts and data of Stepmark: ids, stored records, the store seam and the memory store.
//!
//! This crate knows no engine, no database and no network. Store authors build on it; application code
//! uses the `stepmark` crate, which re-exports what it needs. Read in this order:
//!
//! - [`id`]: newtypes for every address;
//! - [`value`], [`checkpoint`], [`pending`], [`memo`], [`interrupt`], [`effect`], [`child`], [`rows`]: the stored records, byte for byte as `docs/format.md` draws them;
//! - [`coding`]: what a codec may have made of their bytes;
//! - [`store`]: the seam, eight methods of [`store::CheckpointStore`], and [`shape`], which refuses malformed calls;
//! - [`ledger`]: what every store answers who asks for an effect;
//! - [`capability`]: what a store may offer besides;
//! - [`meter`]: what is told of a store while it works;
//! - [`memory`]: the reference store.

pub mod id;
pub mod wire;

pub mod checkpoint;
pub mod child;
pub mod coding;
pub mod effect;
pub mod interrupt;
pub mod materialise;
pub mod memo;
pub mod pending;
pub mod rows;
pub mod value;

pub mod capability;
pub mod error;
pub mod ledger;
pub mod load;
pub mod memory;
pub mod shape;
pub mod store;

#[cfg(feature = "metrics")]
pub mod meter;
#[cfg(not(feature = "metrics"))]
#[path = "absent/meter.rs"]
pub mod meter;

pub mod clock;
