//! SQLite store of Stepmark: one file, one writer thread, group commit.
//!
//! [`Sqlite`] implements the seam of `stepmark-core`. Writes queue up for the one thread that owns the writing
//! connection; whatever waits is written in one transaction, and each member gets its own answer after the disk has it.
//! Reads run on a small pool of connections, one read transaction per call. Several processes may share a file.
//! `sql/schema.sql` explains the tables; read the modules in this order: `store`, `writer`, `desk`, `apply`, `read`.

mod store;
mod waiting;

mod writer;

mod desk;
mod log;

mod apply;
mod check;
mod cache;
mod children;
mod insert;
mod items;
mod ledger;
mod restore;
mod sweep;

mod history;
mod read;
mod reader;
mod records;
mod retention;
mod rows;

mod connect;
mod migrate;
mod queries;
mod search;
mod session;

mod error;

pub use connect::Synchronous;
pub use store::{Sqlite, SqliteOptions, Stats};
