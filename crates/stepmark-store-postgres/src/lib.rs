//! PostgreSQL store of Stepmark: one round trip per commit, group commit, any number of processes and machines.
//!
//! [`PostgresStore`] implements the seam of `stepmark-core`. Writes queue up for a few workers; what waits while they are
//! busy is written as one group, and each member gets its own answer after the server has it. A plain super-step is one
//! statement, fenced on its branch's row, and so are a new thread and a fork; everything else is a transaction under its
//! thread's row. Statements are unnamed
//! and typed and nothing depends on a session, so a pooler in transaction mode may stand between.
//! `sql/schema.sql` explains the tables; read the modules in this order: `store`, `writer`, `desk`, `apply`, `read`.

mod store;

mod writer;

mod desk;
mod direct;
mod step;

mod apply;
mod check;
mod cache;
mod children;
mod insert;
mod items;
mod search;
mod ledger;
mod lock;
mod restore;
mod sweep;

mod chains;
mod history;
mod place;
mod read;
mod reader;
mod records;
mod retention;
mod rows;

mod connect;
#[cfg(not(feature = "tls"))]
mod no_tls;
#[cfg(feature = "tls")]
mod tls;
mod migrate;
mod queries;
mod session;

mod error;

pub use deadpool_postgres;
pub use store::{PostgresOptions, PostgresStore, Stats};
