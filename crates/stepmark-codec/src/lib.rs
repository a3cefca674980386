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
//! # What stays plain
//!
//! Names – of threads, branches, tags, nodes, channels, graphs, run ids, and the names under which callers know effects –
//! addresses, kinds, lengths, counts, hashes of stored bytes, steps, sources, statuses, times, and the drawings of graphs. So
//! put no secret into a name. Of items that threads share, namespaces, keys and times stay plain, and their values are sealed with the
//! store's own key: they are found by namespace, and filters and texts are refused. That two records are equal is not seen, but for equal blobs of one thread.
//!
//! # Keys
//!
//! | provider | a thread's key | can be destroyed alone |
//! | --- | --- | --- |
//! | `MasterKeys` | derived from a master key: an environment variable, or a file | no |
//! | `FileKeys` | random, in a small file of its own, wrapped by a master key | yes |
//! | your own `KeyProvider` | wherever your keys live | as you like |
//!
//! Rotate by giving a provider a newer key: what is written from then on is sealed with it, and older keys open what they
//! sealed. To let older keys go:
//!
//! - a master key that wraps thread keys: `FileKeys::rewrap`, in place, while everything runs;
//! - keys that sealed records: `recode` copies a thread, `recode_items` the items, and `recode_all` all of a scope, offline, to
//!   another store where all of it is sealed with the newest key, or with its first. Records are never changed where they are.
//!   Then `FileKeys::forget_before`, for threads and for [`KeyOwner::Store`], which sealed items and kept results.
//!
//! A destroyed key makes its thread unreadable in every copy and backup of the store, at once and for
//! ever: calls answer `Deleted` (key). Results of nodes that are kept for a while belong to no thread; the store's own key seals
//! them until their time is over, and those that a forgotten key sealed are made again. A wrong key is `Corrupt` (key), one that is not there `Missing` (key); both name the thread, and
//! nothing is lost.
//!
//! # Costs and limits
//!
//! A sealed record is about 35 bytes longer. Compression comes first, so lengths tell how well contents compress. Blobs are
//! shared within a thread, not between threads. Where another backend is moved to, [`recode`] seals while it copies; verbatim copies
//! (export, import, archives) need no key. Mixing is refused: a store is sealed from its first thread on.
//!
//! Read in this order: `store` is what a call goes through, `rows` and `values` what is done to records, `place` where sealed
//! content belongs, `seal` how it is sealed, `keys` where keys come from, `recode` how a thread
//! gets others.

#![deny(clippy::missing_trait_methods)]

mod store;

mod blobs;
mod cache;
mod capabilities;
mod items;
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
pub use recode::{recode, recode_all, recode_items};
pub use store::{Codec, CodecStore};
