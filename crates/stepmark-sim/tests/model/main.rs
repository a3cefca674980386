//! Does the whole engine do what a simple model of it says?
//!
//! A random graph, and a random sequence of verbs with faults, crashes and processes that are overtaken. After every
//! operation everything that is stored is compared with a model that knows neither the engine nor a store. A sequence that
//! fails is cut down and printed with the command that repeats it; what the sequences met is printed, and nothing of it
//! may be missing.

#![expect(
    clippy::match_same_arms,
    clippy::option_option,
    clippy::unused_self,
    clippy::large_enum_variant,
    clippy::needless_pass_by_value,
    clippy::disallowed_methods,
    clippy::needless_for_each,
    clippy::if_not_else,
    reason = "the model reads as rules, one arm for each case; its clock is the paused one of the test"
)]

mod answering;
mod answers;
mod asking;
mod bench;
mod board;
mod choice;
mod command;
mod compare;
mod drawn;
mod judge;
mod look;
mod loose;
mod machine;
mod nodes;
mod process;
mod reading;
mod running;
mod sequence;
mod settling;
mod stopping;
mod story;
mod trouble;
mod wanted;
mod world;
mod writing;

use sequence::{Place, run_all};

/// How many sequences the normal run makes.
const MEMORY_SEEDS: u64 = 250;
const SQLITE_SEEDS: u64 = 25;

#[test]
fn random_sequences_in_memory_do_what_the_model_says() {
    run_all(Place::Memory, MEMORY_SEEDS);
}

#[test]
fn random_sequences_on_sqlite_do_what_the_model_says() {
    run_all(Place::Sqlite, SQLITE_SEEDS);
}
