//! Compression and encryption for any Stepmark store.
//!
//! A [`Codec`] stands in front of a store. Who uses it sees what was written; the store below keeps large values compressed
//! and, with keys, everything that a thread holds sealed. Heads stay plain: names, addresses, kinds, lengths, hashes, steps,
//! sources, statuses, times and run ids, so that the store walks, sweeps and verifies without a key. `docs/format.md`,
//! section 3.10, draws what is stored.
//!
#![cfg_attr(all(feature = "compression", feature = "encryption"), doc = "```")]
#![cfg_attr(not(all(feature = "compression", feature = "encryption")), doc = "```ignore")]
//! use stepmark_codec::{Codec, Key, MasterKeys};
//! use stepmark_core::memory::MemoryStore;
//!
//! let keys = MasterKeys::new(Key::random()?); // or MasterKeys::from_env("STEPMARK_KEYS")?
//! let store = Codec::new().compressed().sealed(keys).around(MemoryStore::new());
//! # Ok::<(), stepmark_core::error::Error>(())
//! ```
//!
//! Read in this order: `store` is what a call goes through, `rows` and `values` what is done to records, `place` where sealed
//! content belongs, `seal` how it is sealed, `keys` where keys come from.

#![deny(clippy::missing_trait_methods)]

mod store;

mod blobs;
mod cache;
mod capabilities;
mod recode;
mod rows;
mod values;

#[cfg(feature = "compression")]
mod compress;
#[cfg(not(feature = "compression"))]
#[path = "absent/compress.rs"]
mod compress;

mod place;

#[cfg(feature = "encryption")]
mod keys;
#[cfg(feature = "encryption")]
mod seal;
#[cfg(not(feature = "encryption"))]
#[path = "absent/seal.rs"]
mod seal;

#[cfg(feature = "encryption")]
pub use keys::{FileKeys, Key, KeyOwner, KeyProvider, KeyRing, MasterKeys};
pub use recode::recode;
pub use store::{Codec, CodecStore};
