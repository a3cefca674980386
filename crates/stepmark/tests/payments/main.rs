//! Is a payment ever made twice that must not be?
//!
//! An agent pays through a payment service, which is a real HTTP server that counts its calls by idempotency key. A seed
//! decides what the agent pays, how, and what happens meanwhile: processes die at any write and while they pay, stop and go
//! on after others took over, connections break, and callers resume, replay, fork, amend and rewind. What the seeds met is
//! printed, and nothing of it may be missing.

mod agent;
mod air;
mod api;
mod book;
#[cfg(unix)]
mod child;
mod draw;
mod errand;
mod fate;
mod http;
mod ids;
mod judge;
#[cfg(unix)]
mod kill;
mod process;
mod seeds;
mod sim;
mod till;
mod totals;

use seeds::{Place, run_all};

/// How many seeds the normal run has.
const MEMORY_SEEDS: u64 = 950;
const SQLITE_SEEDS: u64 = 50;

#[test]
fn sim_payments_in_memory_are_made_once() {
    run_all(Place::Memory, MEMORY_SEEDS);
}

#[test]
fn sim_payments_on_sqlite_are_made_once() {
    run_all(Place::Sqlite, SQLITE_SEEDS);
}
