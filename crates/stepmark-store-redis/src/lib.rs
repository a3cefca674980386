//! Redis store of Stepmark: one script per commit, threads that expire.
//!
//! [`RedisStore`] implements the seam of `stepmark-core` on one Redis server (7 or newer). Every unit is checked and written
//! by one Lua script; all of a thread lies under two keys with its uid as hash tag, and expires at one moment if it has a
//! life. Section 15 of `docs/format.md` draws the keys and says what a kill leaves. Read the modules in this order: `store`,
//! `write`, `unit`, `check`, `read`, `bag`, `names`, then the scripts.
//!
//! # What an acknowledged commit survives
//!
//! The server decides, by `appendonly` and `appendfsync` in its settings. Whatever is lost, what is left is a beginning of
//! what was acknowledged, of whole commits: never a gap, never half of one.
//!
//! | server | its process is killed | its machine loses power |
//! | --- | --- | --- |
//! | `appendonly yes`, `appendfsync always` | nothing is lost | nothing is lost |
//! | `appendonly yes`, `appendfsync everysec` | at most what came within about 2 s: while a sync of the disk is late, the server acknowledges what it has not yet handed to the system | about as much |
//! | `appendonly yes`, `appendfsync no` | nothing is lost | what the system had not written: often half a minute |
//! | `appendonly no` | all since the last snapshot | all since the last snapshot |
//!
//! The column in the middle is proved by `tests/survival.rs`, which kills a real server and starts it again on its files;
//! the right one is what Redis promises. For runs that must not lose a step choose `always`, which costs one sync of the disk
//! for all commits that arrive together.

mod store;

mod check;
mod unit;
mod write;

mod blob;
mod cache;
mod children;
mod collect;
mod history;
mod ledger;
mod names;
mod read;
mod restore;
mod retention;
mod rows;
mod search;
mod sweep;
mod view;

mod bag;
mod keys;
mod records;

mod finish;
mod link;
mod migrate;

mod error;

pub use store::{RedisOptions, RedisStore};
