//! Redis store of Stepmark: one script per commit, threads that expire.
//!
//! [`RedisStore`] implements the seam of `stepmark-core` on one Redis server (7 or newer). Every unit is checked and written by
//! one Lua script; all of a thread lies under two keys with its uid as hash tag, and expires at one moment if it has a life.
//! `docs/format.md` draws the keys and says what a kill leaves. Read the modules in this order: `store`, `write`, `unit`,
//! `check`, `read`, `bag`, `names`, then the scripts.

mod store;

mod check;
mod unit;
mod write;

mod blob;
mod cache;
mod children;
mod history;
mod ledger;
mod names;
mod read;
mod view;

mod bag;
mod keys;
mod records;

mod finish;
mod link;
mod migrate;

mod error;

pub use store::{RedisOptions, RedisStore};
