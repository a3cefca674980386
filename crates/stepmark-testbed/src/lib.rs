//! Servers that tests start by themselves: where are their programs, how do they start, and what ends them?
//!
//! Every server is a real one, in a temporary folder, run by a user without privileges. It ends with the process that
//! started it, also when that one is killed. `cargo xtask test` starts one of each kind for the whole run and names it
//! in a variable; a test that runs alone starts its own. A program that is not installed is a failure that says the
//! command, never a silent skip.
#![allow(clippy::missing_panics_doc, reason = "tests want a panic that names the cause")]

mod guard;
mod home;
mod user;

mod moto;
mod pgbouncer;
mod postgres;
mod proxy;
mod redis;

pub use moto::{MotoServer, S3_ENDPOINT};
pub use pgbouncer::PgBouncer;
pub use postgres::{POSTGRES_URL, PostgresServer};
pub use proxy::{Cut, Proxy};
pub use redis::{REDIS_URL, RedisServer};
